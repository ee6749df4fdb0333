#pragma once

#include "core/device/scalar_macro.h"

/// Formulas of several steps, once for numbers and for vectors: V is either, T its number, and M has functions of V:
/// not_below, not_above and minus_abs, through which NaN passes, erfc, exp of what is not positive, and tail. No
/// formula leaves T's range before its result does. At infinity they are their limits; NaN stays NaN.
namespace weft::scalar::formula {

template <class T>
struct Range {
  static constexpr T shift = 64, shift_exp = T(1.60381089054863785e-28);  // of exp(-64)
  static constexpr T end = 256;                                           // exp(shift - end) is 0
  static constexpr T normal_end = 16, cubic_end = 16;  // beyond, the Gaussian and gelu_tanh's exponential are 0
  static constexpr T large = T(0x1p60), small = T(0x1p-50), down = T(0x1p-70), up = T(0x1p90);  // for squares
};
template <>
struct Range<double> {
  static constexpr double shift = 512, shift_exp = 4.37749103705305113e-223, end = 2048;
  static constexpr double normal_end = 64, cubic_end = 32;
  static constexpr double large = 0x1p500, small = 0x1p-400, down = 0x1p-550, up = 0x1p650;
};

/// e·unit = exp(-|x|), where e keeps the digits that a subnormal exponential loses; sum = 1 + exp(-|x|). Where x is not
/// negative, one·unit = 1.
template <class V>
struct Tail {
  V e, one, unit, sum;
};

template <class T, class M, class V>
WEFT_SCALAR V sigmoid(V x) {
  const V one = V{} + T(1), e = M::exp(M::minus_abs(x));
  return (x < V{} ? e : one) / (one + e);
}
template <class T, class M, class V>
WEFT_SCALAR V sigmoid_grad(V g, V x) {
  const V e = M::exp(M::minus_abs(x)), sum = e + T(1);
  return g * (e / (sum * sum));
}
/// 1 - tanh² = 1/cosh²
template <class T, class M, class V>
WEFT_SCALAR V tanh_grad(V g, V x) {
  const V e = M::exp(M::minus_abs(x) * T(2)), sum = e + T(1);
  return g * (T(4) * e / (sum * sum));
}

/// v·sigmoid(w), both of one sign.
template <class T, class M, class V>
WEFT_SCALAR V gated(V v, V w) {
  const Tail<V> t = M::tail(w);
  const V result = (w < V{} ? v * t.e : v) / t.sum;
  return w < V{} ? result * t.unit : result;
}
/// The derivative of v·sigmoid(w), where p is v times that of w: sigmoid(w)·(1 + p·sigmoid(-w)).
template <class T, class M, class V>
WEFT_SCALAR V gated_grad(V g, V w, V p) {
  const Tail<V> t = M::tail(w);
  return g * (((w < V{} ? t.e : t.one) * t.sum + t.e * p) / (t.sum * t.sum) * t.unit);
}

template <class T, class M, class V>
WEFT_SCALAR V silu(V x) {
  const V v = M::not_below(x, -Range<T>::end);
  return gated<T, M>(v, v);
}
template <class T, class M, class V>
WEFT_SCALAR V silu_grad(V g, V x) {
  const V v = M::not_above(M::not_below(x, -Range<T>::end), Range<T>::end);
  return gated_grad<T, M>(g, v, v);
}

template <class T, class M, class V>
WEFT_SCALAR V gelu(V x) {
  const V twice = M::erfc(x * T(-0.70710678118654752440));
  return T(0.5) * M::not_below(x, -Range<T>::normal_end) * twice;
}
template <class T, class M, class V>
WEFT_SCALAR V gelu_grad(V g, V x) {
  const V v = M::not_above(M::not_below(x, -Range<T>::normal_end), Range<T>::normal_end);
  const V density = T(0.39894228040143267794) * M::exp(T(-0.5) * v * v);
  const V cdf = T(0.5) * M::erfc(x * T(-0.70710678118654752440));
  return g * (cdf + v * density);
}

// (1 + tanh(u))/2 = sigmoid(2u) does not cancel; 2u = 2√(2/π)·(x + 0.044715x³) = x·(linear + cubic·x²).
template <class T>
struct GeluTanh {
  static constexpr T linear = T(1.59576912160573071176), cubic = T(0.0713548162726002527);
};
template <class T, class M, class V>
WEFT_SCALAR V gelu_tanh(V x) {
  using C = GeluTanh<T>;
  const V v = M::not_below(x, -Range<T>::cubic_end), u = M::not_above(v, Range<T>::cubic_end);
  return gated<T, M>(v, u * (u * u * C::cubic + C::linear));
}
template <class T, class M, class V>
WEFT_SCALAR V gelu_tanh_grad(V g, V x) {
  using C = GeluTanh<T>;
  const V u = M::not_above(M::not_below(x, -Range<T>::cubic_end), Range<T>::cubic_end), square = u * u;
  return gated_grad<T, M>(g, u * (square * C::cubic + C::linear), u * (square * (3 * C::cubic) + C::linear));
}

/// u/(u² + v²)
template <class T>
WEFT_SCALAR T atan2_slope(T u, T v) {
  using R = Range<T>;
  const T a = u < T(0) ? -u : u, b = v < T(0) ? -v : v, size = a > b ? a : b;
  const T factor = size > R::large ? R::down : size < R::small ? R::up : T(1);
  const T x = u * factor, y = v * factor, result = x / (x * x + y * y) * factor;
  const bool infinite = (size - size != T(0)) & (a == a) & (b == b);
  return infinite ? T(0) : result;
}

}  // namespace weft::scalar::formula
