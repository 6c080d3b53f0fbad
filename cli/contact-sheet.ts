import { encode } from 'fast-png';
import { fit } from '../data/image.ts';
import { type Examples, type ImageSet, imageAt, type Pixels, type Task } from '../data/index.ts';
import { type Html, html } from '../report/html.ts';
import { FONT, textWidth, toPng } from '../report/render.ts';
import { COLOURS } from '../report/theme.ts';

/** Images of a class, and pairs of input and target in a row of a dense task. */
const ACROSS = 10;
/** Pairs of a dense task above one another. */
const PAIRS = 3;
/** Classes below one another before another column begins. */
const MOST_ROWS = 24;
/** Pixels of the picture that an image is about as large as, and between two. */
const CELL = 80;
const GAP = 4;
/** The SVG has half as many units as the picture has pixels. */
const UNIT = 2;
const MARGIN = 14;
const HEADING = 44;
const MOST_LABEL = 200;

/** Pixels of a sheet, RGB on white. */
interface Canvas {
  width: number;
  height: number;
  data: Uint8Array;
}

/** One line of images with what stands before it. */
interface Row {
  title: string;
  note: string;
  images: ImageSet<Pixels>;
  positions: Uint32Array;
  /** Pixels between this row and the next, if they are not the usual. */
  after?: number;
}

/**
 * Some training images of each class with its name, or inputs above what is to be predicted of them, as PNG. The same
 * task gives the same bytes.
 */
export async function drawContactSheet(task: Task): Promise<Uint8Array> {
  const rows = task.classes > 0 ? classRows(task) : pairRows(task.train);
  const perColumn = Math.ceil(rows.length / Math.ceil(rows.length / MOST_ROWS));
  const widths = rows.flatMap(({ title, note }) => [textWidth(title, 11, true), textWidth(note, 9)]);
  // Whole units, so that pixels lie on those of the picture.
  const label = Math.ceil(Math.min(MOST_LABEL, Math.max(...widths))) + 10;
  const column = label + (ACROSS * (cellOf(rows[0]!.images).width + GAP)) / UNIT + MARGIN;
  const parts: Html[] = [];
  let [bottom, lowest] = [0, 0];
  for (const [i, row] of rows.entries()) {
    const x = MARGIN + Math.floor(i / perColumn) * column;
    const y = i % perColumn === 0 ? HEADING : bottom;
    const canvas = drawRow(row);
    parts.push(placeRow(row, canvas, x, y, label));
    bottom = y + (canvas.height + (row.after ?? GAP)) / UNIT;
    lowest = Math.max(lowest, bottom);
  }
  const { height, width, channels } = task.train.images;
  const about = `${task.description} (${height} x ${width} x ${channels})`;
  const columns = Math.ceil(rows.length / perColumn) * column;
  const size = {
    width: Math.ceil(MARGIN + Math.max(columns, textWidth(about, 10) + MARGIN)),
    height: Math.ceil(lowest + MARGIN),
  };
  const svg = html`<svg xmlns="http://www.w3.org/2000/svg" width="${size.width}" height="${size.height}" font-family="${FONT}" fill="${COLOURS.ink}">
<rect width="100%" height="100%" fill="${COLOURS.paper}"/>
<text x="${MARGIN}" y="20" font-size="13" font-weight="bold">${task.name}</text>
<text x="${MARGIN}" y="34" font-size="10" fill="${COLOURS.muted}">${about}</text>
${parts}</svg>`;
  return await toPng(svg.text);
}

function classRows({ train, classNames }: Task): Row[] {
  return classNames.map((title, label) => {
    const members = train.index.filter((_, i) => train.labels[i] === label);
    const note = `${members.length} to train on`;
    return { title, note, images: train.images, positions: members.slice(0, ACROSS) };
  });
}

function pairRows({ images, index, targets = images }: Examples): Row[] {
  return Array.from({ length: Math.min(PAIRS, Math.ceil(index.length / ACROSS)) }, (_, line) => {
    const positions = index.slice(line * ACROSS, (line + 1) * ACROSS);
    return [
      { title: 'input', note: '', images, positions, after: 0 },
      { title: 'target', note: '', images: targets, positions, after: 4 * GAP },
    ];
  }).flat();
}

function placeRow({ title, note }: Row, canvas: Canvas, x: number, y: number, label: number): Html {
  const middle = y + canvas.height / UNIT / 2;
  const png = Buffer.from(encode({ ...canvas, channels: 3 })).toString('base64');
  return html`<text x="${x}" y="${middle}" font-size="11" font-weight="bold">${shortened(title, label - 10)}</text>
<text x="${x}" y="${middle + 12}" font-size="9" fill="${COLOURS.muted}">${note}</text>
<image x="${x + label}" y="${y}" width="${canvas.width / UNIT}" height="${canvas.height / UNIT}" href="data:image/png;base64,${png}"/>
`;
}

/** What an image is drawn as large as: a whole number of times its size, or shrunk. */
function cellOf({ height, width }: ImageSet<Pixels>): { height: number; width: number } {
  const larger = Math.max(height, width);
  const zoom = larger <= CELL ? Math.round(CELL / larger) : CELL / larger;
  return { height: Math.max(1, Math.round(zoom * height)), width: Math.max(1, Math.round(zoom * width)) };
}

function drawRow({ images, positions }: Row): Canvas {
  const cell = cellOf(images);
  const width = ACROSS * (cell.width + GAP) - GAP;
  const canvas = { width, height: cell.height, data: new Uint8Array(3 * width * cell.height).fill(255) };
  for (const [i, position] of positions.entries()) {
    const pixels = toBytes(images, position, cell);
    const left = i * (cell.width + GAP);
    for (let y = 0; y < cell.height; y++) {
      canvas.data.set(pixels.subarray(3 * y * cell.width, 3 * (y + 1) * cell.width), 3 * (y * width + left));
    }
  }
  return canvas;
}

/** An image in RGB bytes of a size; floats beyond 0 to 1 are brought there, and channels after three left out. */
function toBytes(
  images: ImageSet<Pixels>,
  position: number,
  cell: { height: number; width: number },
): Uint8Array {
  const { height, width, channels } = images;
  const values = imageAt(images, position);
  const [low, high] = rangeOf(values);
  const rgb = new Uint8Array(3 * height * width);
  for (let i = 0; i < rgb.length; i++) {
    const channel = channels < 3 ? 0 : i % 3;
    rgb[i] = Math.round((255 * (values[Math.floor(i / 3) * channels + channel]! - low)) / (high - low));
  }
  if (cell.height < height || cell.width < width) {
    return fit(
      { height, width, channels: 3, values: rgb, white: 255 },
      { ...cell, channels: 3 },
      'bytes',
    ) as Uint8Array;
  }
  const zoom = cell.width / width;
  const enlarged = new Uint8Array(3 * cell.height * cell.width);
  for (let i = 0; i < enlarged.length; i++) {
    const pixel = Math.floor(i / 3);
    const [y, x] = [Math.floor(pixel / cell.width / zoom), Math.floor((pixel % cell.width) / zoom)];
    enlarged[i] = rgb[3 * (y * width + x) + (i % 3)]!;
  }
  return enlarged;
}

/** The values of black and white. */
function rangeOf(values: Uint8Array | Float32Array): [number, number] {
  if (values instanceof Uint8Array) return [0, 255];
  let [low, high] = [0, 1];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}

function shortened(text: string, width: number): string {
  if (textWidth(text, 11, true) <= width) return text;
  let end = text.length;
  while (end > 1 && textWidth(`${text.slice(0, end)}…`, 11, true) > width) end--;
  return `${text.slice(0, end)}…`;
}
