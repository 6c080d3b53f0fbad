import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FathomError } from '../engine/errors.ts';
import { parseSafetensors, type SafetensorsTensor, serializeSafetensors } from '../engine/safetensors.ts';

/** A file with this header text and so many bytes of data 0, 1, 2, ... */
function file(header: string | Uint8Array, dataBytes = 0, claimed?: bigint): Uint8Array {
  const text = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, claimed ?? BigInt(text.length), true);
  bytes.set(text, 8);
  for (let i = 0; i < dataBytes; i++) bytes[8 + text.length + i] = i;
  return bytes;
}

const entry = (dtype: string, shape: string, begin: number | string, end: number | string) =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":[${begin},${end}]}`;

function refuses(bytes: Uint8Array, ...parts: string[]): void {
  assert.throws(
    () => parseSafetensors(bytes, 'bad.safetensors'),
    (error) => {
      assert.ok(error instanceof FathomError, String(error));
      assert.equal(error.code, 'safetensors-invalid');
      assert.ok(!error.message.includes('\n'));
      for (const part of ['bad.safetensors', ...parts]) {
        assert.ok(error.message.includes(part), `"${error.message}" should include "${part}"`);
      }
      return true;
    },
  );
}

const raw = (data: ArrayBufferView) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

const makers = {
  F64: (bytes: ArrayBuffer) => new Float64Array(bytes),
  F32: (bytes: ArrayBuffer) => new Float32Array(bytes),
  I64: (bytes: ArrayBuffer) => new BigInt64Array(bytes),
  I32: (bytes: ArrayBuffer) => new Int32Array(bytes),
  U32: (bytes: ArrayBuffer) => new Uint32Array(bytes),
  U8: (bytes: ArrayBuffer) => new Uint8Array(bytes),
  BOOL: (bytes: ArrayBuffer) => new Uint8Array(bytes),
};

/** A tensor of any dtype and shape with any bits at all, NaN payloads among them. */
const anyTensor = fc
  .record({
    dtype: fc.constantFrom(...(Object.keys(makers) as (keyof typeof makers)[])),
    shape: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 }),
    seed: fc.uint8Array({ minLength: 27 * 8, maxLength: 27 * 8 }),
  })
  .map(({ dtype, shape, seed }) => {
    const items = shape.reduce((a, b) => a * b, 1);
    const size = { F64: 8, F32: 4, I64: 8, I32: 4, U32: 4, U8: 1, BOOL: 1 }[dtype];
    return {
      dtype,
      shape,
      data: makers[dtype](seed.slice(0, items * size).buffer as ArrayBuffer),
    } as SafetensorsTensor;
  });
const anyName = fc
  .oneof(fc.string({ unit: 'binary' }), fc.nat({ max: 99 }).map(String))
  .filter((name) => name !== '__proto__' && name !== '__metadata__');
const anyTensors = fc.array(fc.tuple(anyName, anyTensor), { maxLength: 6 }).map((pairs) => new Map(pairs));
const anyMetadata = fc.dictionary(
  fc.string().filter((key) => key !== '__proto__'),
  fc.string({ unit: 'binary' }),
  { maxKeys: 4, noNullPrototype: true },
);

test('tensors and metadata round-trip bit for bit and in order', () => {
  fc.assert(
    fc.property(anyTensors, anyMetadata, (tensors, metadata) => {
      const bytes = serializeSafetensors(tensors, metadata);
      const headerSize = new DataView(bytes.buffer).getBigUint64(0, true);
      assert.equal(headerSize % 8n, 0n);
      const back = parseSafetensors(bytes, 'x');
      assert.deepEqual(back.metadata, metadata);
      assert.deepEqual([...back.tensors.keys()], [...tensors.keys()]);
      for (const [name, { dtype, shape, data }] of tensors) {
        const read = back.tensors.get(name)!;
        assert.deepEqual([read.dtype, read.shape], [dtype, shape]);
        assert.deepEqual(raw(read.data), raw(data));
      }
    }),
  );
});

test('a NaN keeps its payload', () => {
  const payload = Uint32Array.of(0x7fc12345, 0xffc00001);
  const tensors = new Map<string, SafetensorsTensor>([
    ['n', { dtype: 'F32', shape: [2], data: new Float32Array(payload.buffer) }],
  ]);
  const back = parseSafetensors(serializeSafetensors(tensors), 'x').tensors.get('n')!;
  assert.deepEqual(new Uint32Array(back.data.buffer), payload);
});

test('a file with any bytes changed either parses or is refused with a FathomError', () => {
  const parseOrRefuse = (bytes: Uint8Array) => {
    try {
      parseSafetensors(bytes, 'x');
    } catch (error) {
      assert.ok(error instanceof FathomError, String(error));
    }
  };
  const change = fc.tuple(
    fc.nat(),
    fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(...[...'{}[]":,\\09-e '].map((c) => c.charCodeAt(0)))),
  );
  fc.assert(
    fc.property(
      anyTensors,
      anyMetadata,
      fc.array(change, { minLength: 1, maxLength: 4 }),
      fc.nat(),
      (tensors, metadata, changes, cut) => {
        const bytes = serializeSafetensors(tensors, metadata);
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        parseOrRefuse(bytes);
        parseOrRefuse(bytes.subarray(0, cut % (bytes.length + 1)));
      },
    ),
    { numRuns: 500 },
  );
  fc.assert(fc.property(fc.json(), fc.nat({ max: 20 }), (json, size) => parseOrRefuse(file(json, size))));
});

test('the order of the header is kept, numbers as names included', () => {
  const bytes = file(
    `{"b":${entry('U8', '[1]', 1, 2)},"1":${entry('U8', '[1]', 0, 1)},"0":${entry('U8', '[1]', 2, 3)}}`,
    3,
  );
  const { tensors } = parseSafetensors(bytes, 'x');
  assert.deepEqual(
    [...tensors].map(([name, { data }]) => [name, ...data]),
    [
      ['b', 1],
      ['1', 0],
      ['0', 2],
    ],
  );
});

test('the data of a serialized file are aligned, whatever the order', () => {
  const tensors = new Map<string, SafetensorsTensor>([
    ['bytes', { dtype: 'U8', shape: [3], data: Uint8Array.of(1, 2, 3) }],
    ['longs', { dtype: 'I64', shape: [1], data: BigInt64Array.of(-1n) }],
    ['floats', { dtype: 'F32', shape: [], data: Float32Array.of(1.5) }],
  ]);
  const bytes = serializeSafetensors(tensors, { by: 'test' });
  const size = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  assert.equal(
    new TextDecoder().decode(bytes.subarray(8, 8 + size)).trimEnd(),
    '{"__metadata__":{"by":"test"},"bytes":{"dtype":"U8","shape":[3],"data_offsets":[12,15]},' +
      '"longs":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"floats":{"dtype":"F32","shape":[],"data_offsets":[8,12]}}',
  );
});

test('16-bit floats are widened to F32', () => {
  const halves = Uint16Array.of(0x3c00, 0xc000, 0x7bff, 0x0001, 0x0400, 0x8000, 0x7c00, 0xfc00, 0x7e00);
  const bfloats = Uint16Array.of(0x3f80, 0xc000, 0x7f80, 0x8000, 0x0001, 0x7fc1);
  const bytes = file(`{"h":${entry('F16', '[9]', 0, 18)},"b":${entry('BF16', '[6]', 18, 30)}}`, 30);
  bytes.set(raw(halves), bytes.length - 30);
  bytes.set(raw(bfloats), bytes.length - 12);
  const { tensors } = parseSafetensors(bytes, 'x');
  const expected = [1, -2, 65504, 2 ** -24, 2 ** -14, -0, Infinity, -Infinity, Number.NaN];
  assert.deepEqual(tensors.get('h'), { dtype: 'F32', shape: [9], data: Float32Array.from(expected) });
  const bits = new Uint32Array(tensors.get('b')!.data.buffer);
  assert.deepEqual(
    [...bits],
    [...bfloats].map((value) => value * 2 ** 16),
  );
});

test('bytes that are a view into a larger buffer are read from their own start', () => {
  const bytes = file(`{"a":${entry('I32', '[1]', 0, 4)}}`, 4);
  const larger = new Uint8Array(bytes.length + 3);
  larger.set(bytes, 3);
  const tensor = parseSafetensors(larger.subarray(3), 'x').tensors.get('a')!;
  larger.fill(0);
  assert.deepEqual(tensor.data, Int32Array.of(0x03020100));
});

test('a file too short for its header size is refused', () => refuses(new Uint8Array(7), '7 bytes'));
test('a header longer than the file is refused', () =>
  refuses(file('{}', 0, 3n), 'header of 3 bytes', 'after 2'));
test('an absurd header size is refused', () => {
  refuses(file('{}', 0, 100_000_001n), '100000001');
  refuses(file('{}', 0, 2n ** 64n - 1n), '18446744073709551615');
});
test('a header that is not UTF-8 is refused', () => refuses(file(Uint8Array.of(0x7b, 0xff, 0x7d)), 'UTF-8'));
test('a header that is not JSON is refused', () => {
  for (const header of ['{"a":', '', '\ufeff{}']) refuses(file(header), 'not JSON');
});
test('a header that is not a JSON object is refused', () => {
  for (const header of ['[]', 'null', ' {}', '1']) refuses(file(header), 'JSON object');
});
test('a header nested too deeply is refused', () => {
  refuses(file(`{"w":${entry('U8', '[[1]]', 0, 1)}}`, 1), '"w" nested');
  refuses(file(`{"w":${'['.repeat(1e6)}${']'.repeat(1e6)}}`), '"w" nested');
});
test('a tensor that is not an object is refused', () => refuses(file('{"w":[1]}'), '"w"'));
test('metadata that are not strings are refused', () => refuses(file('{"__metadata__":{"k":1}}'), '"k"'));
test('a name used twice is refused', () => {
  const zero = entry('U8', '[0]', 0, 0);
  refuses(file(`{"w":${zero},"w":${zero}}`), '"w" twice');
  refuses(file(`{"w":${zero},"\\u0077":${zero}}`), '"w" twice');
  refuses(file('{"w":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}'), '"dtype" twice in "w"');
  refuses(file('{"__metadata__":{"k":"","k":""}}'), '"k" twice');
});
test('the name __proto__ is refused', () => {
  refuses(file(`{"__proto__":${entry('U8', '[0]', 0, 0)}}`), '__proto__');
  refuses(file('{"__metadata__":{"__proto__":"x"}}'), '__proto__');
});
test('an unknown dtype is refused', () => {
  for (const dtype of ['F8_E4M3', 'toString', ''])
    refuses(file(`{"w":${entry(dtype, '[0]', 0, 0)}}`), '"w"', 'dtype');
  refuses(file('{"w":{"shape":[0],"data_offsets":[0,0]}}'), '"w"', 'dtype missing');
});
test('an impossible shape is refused', () => {
  for (const shape of ['[-1]', '[0.5]', '[1e99]', '["1"]', 'null', '3']) {
    refuses(file(`{"w":${entry('U8', shape, 0, 1)}}`, 1), '"w"', 'shape');
  }
});
test('a shape with more values than can be counted is refused', () => {
  refuses(file(`{"w":${entry('F32', '[9007199254740991,9007199254740991]', 0, 4)}}`, 4), '"w"');
});
test('a huge shape with a zero in it is an empty tensor', () => {
  const shape = Array(30)
    .fill(2 ** 52)
    .concat(0);
  const { tensors } = parseSafetensors(file(`{"w":${entry('F32', JSON.stringify(shape), 0, 0)}}`), 'x');
  assert.deepEqual(tensors.get('w'), { dtype: 'F32', shape, data: new Float32Array(0) });
});
test('impossible offsets are refused', () => {
  for (const [begin, end] of [
    [-1, 0],
    [0.5, 1],
    [0, '1,2'],
    ['null', 1],
  ] as const) {
    refuses(file(`{"w":${entry('U8', '[1]', begin, end)}}`, 2), '"w"', 'offsets');
  }
  refuses(file(`{"w":${entry('U8', '[1]', 2, 1)}}`, 2), '"w"', 'not 2 to 1');
});
test('offsets that do not match shape and dtype are refused', () => {
  refuses(file(`{"w":${entry('F32', '[2]', 0, 4)}}`, 4), '"w"', 'needs 8 bytes');
});
test('misaligned offsets are refused', () => {
  refuses(file(`{"a":${entry('U8', '[1]', 0, 1)},"w":${entry('F32', '[1]', 1, 5)}}`, 5), '"w"', 'aligned');
});
test('overlapping tensors are refused', () => {
  refuses(file(`{"a":${entry('U8', '[2]', 0, 2)},"w":${entry('U8', '[2]', 1, 3)}}`, 3), '"w"', 'overlaps');
});
test('a hole between tensors is refused', () => {
  refuses(file(`{"a":${entry('U8', '[1]', 0, 1)},"w":${entry('U8', '[1]', 2, 3)}}`, 3), '"w"', 'hole');
});
test('a tensor beyond the end of the file is refused', () => {
  refuses(file(`{"w":${entry('U8', '[4]', 0, 4)}}`, 3), '"w"', '3 bytes');
});
test('bytes after the last tensor are refused', () => {
  refuses(file(`{"w":${entry('U8', '[1]', 0, 1)}}`, 3), '2 bytes that belong to no tensor');
});

test('what cannot be written is refused with the name of the tensor', () => {
  const data = new Float32Array(3);
  const refusesToWrite = (name: string, tensor: SafetensorsTensor) =>
    assert.throws(
      () => serializeSafetensors(new Map([[name, tensor]])),
      (error) =>
        error instanceof FathomError &&
        error.code === 'safetensors-unwritable' &&
        error.message.includes(`"${name}"`),
    );
  refusesToWrite('w', { dtype: 'F32', shape: [2], data });
  refusesToWrite('w', { dtype: 'F32', shape: [-3], data });
  refusesToWrite('w', { dtype: 'F64', shape: [3], data } as unknown as SafetensorsTensor);
  refusesToWrite('__proto__', { dtype: 'F32', shape: [3], data });
  refusesToWrite('__metadata__', { dtype: 'F32', shape: [3], data });
  assert.throws(() => serializeSafetensors(new Map(), JSON.parse('{"__proto__":"x"}')), FathomError);
});
