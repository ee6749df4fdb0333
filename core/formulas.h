#pragma once

#include "core/scalar_macro.h"

/// Formulas of several steps, once for numbers and for vectors: V is either, T its number, and M has exp and erfc of V.
/// None of them leaves T's range before its result does. At infinity they are their limits; NaN stays NaN.
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

template <class T, class V>
WEFT_SCALAR V not_below(V x, T low) {
  const V bound = V{} + low;
  return x < bound ? bound : x;
}
template <class T, class V>
WEFT_SCALAR V not_above(V x, T high) {
  const V bound = V{} + high;
  return x > bound ? bound : x;
}
template <class V>
WEFT_SCALAR V minus_abs(V x) {
  return x > V{} ? -x : x;
}

/// e·unit = exp(-|x|), where e keeps the digits that a subnormal exponential loses; sum = 1 + exp(-|x|).
template <class V>
struct Tail {
  V e, unit, sum;
};
template <class T, class M, class V>
WEFT_SCALAR Tail<V> tail(V x) {
  const V one = V{} + T(1), unit = V{} + Range<T>::shift_exp, shift = V{} + Range<T>::shift, a = minus_abs(x);
  const V e = M::exp(a < -shift ? a + shift : a);
  return {e, a < -shift ? unit : one, a < -shift ? one : one + e};
}

template <class T, class M, class V>
WEFT_SCALAR V sigmoid(V x) {
  const V one = V{} + T(1), e = M::exp(minus_abs(x));
  return (x < V{} ? e : one) / (one + e);
}
template <class T, class M, class V>
WEFT_SCALAR V sigmoid_grad(V g, V x) {
  const V e = M::exp(minus_abs(x)), sum = e + T(1);
  return g * (e / (sum * sum));
}
/// 1 - tanh² = 1/cosh²
template <class T, class M, class V>
WEFT_SCALAR V tanh_grad(V g, V x) {
  const V e = M::exp(minus_abs(x) * T(2)), sum = e + T(1);
  return g * (T(4) * e / (sum * sum));
}

/// v·sigmoid(w), both of one sign.
template <class T, class M, class V>
WEFT_SCALAR V gated(V v, V w) {
  const Tail<V> t = tail<T, M>(w);
  const V result = (w < V{} ? v * t.e : v) / t.sum;
  return w < V{} ? result * t.unit : result;
}
/// The derivative of v·sigmoid(w), where p is v times that of w: sigmoid(w)·(1 + p·sigmoid(-w)).
template <class T, class M, class V>
WEFT_SCALAR V gated_grad(V g, V w, V p) {
  const Tail<V> t = tail<T, M>(w);
  const V one = V{} + T(1), inverse = one / t.sum;
  const V rises = (w < V{} ? t.e : one) * inverse, falls = (w < V{} ? one : t.e * t.unit) * inverse;
  const V result = rises * (one + p * falls);
  return g * (w < V{} ? result * t.unit : result);
}

template <class T, class M, class V>
WEFT_SCALAR V silu(V x) {
  const V v = not_below(x, -Range<T>::end);
  return gated<T, M>(v, v);
}
template <class T, class M, class V>
WEFT_SCALAR V silu_grad(V g, V x) {
  const V v = not_above(not_below(x, -Range<T>::end), Range<T>::end);
  return gated_grad<T, M>(g, v, v);
}

template <class T, class M, class V>
WEFT_SCALAR V gelu(V x) {
  const V v = not_below(x, -Range<T>::normal_end);
  return T(0.5) * v * M::erfc(v * T(-0.70710678118654752440));
}
template <class T, class M, class V>
WEFT_SCALAR V gelu_grad(V g, V x) {
  const V v = not_above(not_below(x, -Range<T>::normal_end), Range<T>::normal_end);
  const V cdf = T(0.5) * M::erfc(v * T(-0.70710678118654752440));
  const V density = T(0.39894228040143267794) * M::exp(T(-0.5) * v * v);
  return g * (cdf + v * density);
}

// (1 + tanh(u))/2 = sigmoid(2u) does not cancel; 2u = 2√(2/π)·(x + 0.044715x³).
template <class T, class M, class V>
WEFT_SCALAR V gelu_tanh(V x) {
  constexpr T scale = T(1.59576912160573071176);
  const V v = not_below(x, -Range<T>::cubic_end), u = not_above(v, Range<T>::cubic_end);
  return gated<T, M>(v, scale * (u + T(0.044715) * u * u * u));
}
template <class T, class M, class V>
WEFT_SCALAR V gelu_tanh_grad(V g, V x) {
  constexpr T scale = T(1.59576912160573071176);
  const V u = not_above(not_below(x, -Range<T>::cubic_end), Range<T>::cubic_end);
  const V slope = scale * (V{} + T(1) + T(3 * 0.044715) * u * u);
  return gated_grad<T, M>(g, scale * (u + T(0.044715) * u * u * u), u * slope);
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
