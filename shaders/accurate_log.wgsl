// Natural logarithm to about 1 ulp. The builtin is off by 2e-4 relative near 1 on software adapters, which is
// where the loss of a sure and right network lies.

const ln2 = 0.6931471805599453;

/// log(1 + x) for x >= 0: x itself is kept where 1 + x would round it away.
fn log1p(x: f32) -> f32 {
  let u = 1.0 + x;
  let parts = frexp(u);
  let low = parts.fract < 0.70710677;
  let mantissa = select(parts.fract, parts.fract * 2.0, low);
  let exponent = f32(parts.exp - select(0, 1, low));
  // f = mantissa - 1, exact for exponent 0 by taking it from x.
  let f = select(mantissa - 1.0, x, exponent == 0.0);
  let s = f / (2.0 + f);
  let z = s * s;
  let series = 2.0 * s * (1.0 + z * (0.33333334 + z * (0.2 + z * (0.14285715 + z * (0.11111111 + z * 0.09090909)))));
  return exponent * ln2 + series;
}
