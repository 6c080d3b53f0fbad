// Smooth activations and their derivatives by x, relative to the value itself to a few ulp: no difference of nearly
// equal numbers is taken (1 - y of a saturated y has no digits left), nor the builtin tanh. NaN is kept.
import package::accurate_exp::{Real, Bits, exp_nonpositive, exp_of_sum};

/// 1 / (1 + exp(-x)).
fn sigmoid(x: Real) -> Real {
  let e = exp_nonpositive(-abs(x));
  return select(e, Real(1.0), x >= Real()) / (1.0 + e);
}

fn sigmoid_derivative(x: Real) -> Real {
  let e = exp_nonpositive(-abs(x));
  return e / ((1.0 + e) * (1.0 + e));
}

/// Cephes' polynomial near 0, exponentials elsewhere.
fn accurate_tanh(x: Real) -> Real {
  let z = min(x * x, Real(1.0));
  let series = -0.3333328 + z * (0.1333144 + z * (-0.05373971 + z * (0.020639088 - z * 0.0057049887)));
  let e = exp_nonpositive(-2.0 * abs(x));
  let far = (1.0 - e) / (1.0 + e);
  return select(select(-far, far, x > Real()), x + x * z * series, abs(x) < Real(0.625));
}

fn tanh_derivative(x: Real) -> Real {
  let e = exp_nonpositive(-2.0 * abs(x));
  return 4.0 * e / ((1.0 + e) * (1.0 + e));
}

/// exp(-x^2 / 2): the square's leading bits are exact and the rest goes in apart.
fn bell(x: Real) -> Real {
  let high = bitcast<Real>(bitcast<Bits>(x) & Bits(0xfffff000u));
  return exp_of_sum(-0.5 * high * high, -0.5 * (x - high) * (x + high));
}

/// Distribution function of the standard normal, (1 + erf(x / sqrt(2))) / 2, given bell(x). Its tail over the bell is
/// u P(u) in u = 1 / (1 + 0.35 |x|) with a P of degree 8 fitted to 3.2e-8 relative for |x| <= 13.2.
fn normal_below(x: Real, e: Real) -> Real {
  let u = 1.0 / (1.0 + 0.35 * abs(x));
  let high = -0.022793471 + u * (0.15872614 + u * (-0.25533102 + u * (0.14379009 - u * 0.029109325)));
  let tail = e * u * (0.13962171 + u * (0.13985674 + u * (0.11986883 + u * (0.10537029 + u * high))));
  return select(tail, 1.0 - tail, x >= Real());
}

/// x times the normal distribution function: the exact form, PyTorch's default.
fn gelu(x: Real) -> Real {
  return x * normal_below(x, bell(x));
}

fn gelu_derivative(x: Real) -> Real {
  let e = bell(x);
  return normal_below(x, e) + 0.3989423 * x * e;
}

/// x sigmoid(x).
fn silu(x: Real) -> Real {
  return x * sigmoid(x);
}

fn silu_derivative(x: Real) -> Real {
  return sigmoid(x) * (1.0 + x * sigmoid(-x));
}
