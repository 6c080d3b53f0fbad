// Exponential to about 1 ulp for arguments from -87.3 to 0 and 0 below, by exp(s) = 2^k exp(r) with |r| <= log(2) / 2
// and Cephes' polynomial. The builtin may be off by 2 |s| + 3 ulp. Four numbers at a time, or one with SCALAR.

@if(SCALAR) alias Real = f32;
@if(!SCALAR) alias Real = vec4f;
@if(SCALAR) alias Integer = i32;
@if(!SCALAR) alias Integer = vec4i;
@if(SCALAR) alias Bits = u32;
@if(!SCALAR) alias Bits = vec4u;

/// exp(a + b) for a <= 0 and a b that rounding might lose in the sum; NaN where `a` is NaN.
fn exp_of_sum(a: Real, b: Real) -> Real {
  let bounded = max(a, Real(-87.3));
  let k = floor((bounded + b) * 1.442695 + 0.5);
  // log(2) in two parts, of which k times the first is exact.
  let r = (bounded - k * 0.693359375) + k * 0.00021219444 + b;
  let high = 0.008333452 + r * (0.0013981999 + r * 0.00019875691);
  let power = 1.0 + (r + r * r * (0.5 + r * (0.16666666 + r * (0.041665796 + r * high))));
  let scaled = power * bitcast<Real>((Integer(k) + Integer(127)) * Integer(0x800000));
  let is_nan = (bitcast<Bits>(a) & Bits(0x7fffffffu)) > Bits(0x7f800000u);
  return select(select(scaled, Real(), a + b < Real(-87.3)), a, is_nan);
}

/// exp(a) for a <= 0; NaN is kept.
fn exp_nonpositive(a: Real) -> Real {
  return exp_of_sum(a, Real());
}
