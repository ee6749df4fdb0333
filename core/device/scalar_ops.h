#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "core/device/formulas.h"
#include "core/device/scalar_macro.h"

/// The pointwise functions as functors, compiled by g++ for the CPU and by nvcc for the GPU. A new one is a functor
/// here, its name in a list below, a declaration in ops.h, a gradient in ops/unary.cpp or ops/binary.cpp and a row in
/// tests/op_cases.h; no backend is edited.

// clang-format off
// T -> T for u8, i32, i64, f32, f64.
#define WEFT_UNARY_NUMERIC(OP) OP(negative) OP(abs) OP(sign) OP(square)
// T -> T for f32, f64.
#define WEFT_UNARY_FLOAT(OP)                                                                                         \
  OP(reciprocal) OP(sqrt) OP(rsqrt) OP(exp) OP(expm1) OP(log) OP(log1p) OP(log2) OP(log10) OP(sin) OP(cos) OP(tan)   \
  OP(asin) OP(acos) OP(atan) OP(sinh) OP(cosh) OP(tanh) OP(erf) OP(erfc) OP(sigmoid) OP(relu) OP(gelu)               \
  OP(gelu_tanh) OP(silu) OP(hardsigmoid) OP(hardswish) OP(floor) OP(ceil) OP(round)
// T -> bool for every dtype but f16 and bf16.
#define WEFT_UNARY_PREDICATE(OP) OP(is_nan) OP(is_finite) OP(logical_not)
// (T, T) -> T for u8, i32, i64, f32, f64.
#define WEFT_BINARY_NUMERIC(OP)                                                                                      \
  OP(add) OP(subtract) OP(multiply) OP(floor_divide) OP(remainder) OP(power) OP(maximum) OP(minimum)
// (T, T) -> T for f32, f64. X_grad(g, v) is g times the derivative of X, v being X's output for relu and its input for
// the others.
#define WEFT_BINARY_FLOAT(OP)                                                                                        \
  OP(divide) OP(weighted) OP(atan2) OP(atan2_slope) OP(relu_grad) OP(sigmoid_grad) OP(tanh_grad) OP(silu_grad)       \
  OP(gelu_grad) OP(gelu_tanh_grad) OP(hardswish_grad)
// (T, T) -> bool for every dtype but f16 and bf16.
#define WEFT_BINARY_PREDICATE(OP)                                                                                    \
  OP(equal) OP(not_equal) OP(less) OP(less_equal) OP(greater) OP(greater_equal) OP(logical_and) OP(logical_or)       \
  OP(logical_xor)
// clang-format on

namespace weft {

#define WEFT_ENUMERATOR(NAME) NAME,
enum class UnaryOp : std::uint8_t {
  WEFT_UNARY_NUMERIC(WEFT_ENUMERATOR) WEFT_UNARY_FLOAT(WEFT_ENUMERATOR) WEFT_UNARY_PREDICATE(WEFT_ENUMERATOR) count
};
enum class BinaryOp : std::uint8_t {
  WEFT_BINARY_NUMERIC(WEFT_ENUMERATOR) WEFT_BINARY_FLOAT(WEFT_ENUMERATOR) WEFT_BINARY_PREDICATE(WEFT_ENUMERATOR) count
};
#undef WEFT_ENUMERATOR

/// "negative", "add", ...: a literal.
#define WEFT_NAME(NAME) #NAME,
constexpr const char* name(UnaryOp op) {
  constexpr const char* kNames[] = {WEFT_UNARY_NUMERIC(WEFT_NAME) WEFT_UNARY_FLOAT(WEFT_NAME)
                                        WEFT_UNARY_PREDICATE(WEFT_NAME)};
  return kNames[static_cast<int>(op)];
}
constexpr const char* name(BinaryOp op) {
  constexpr const char* kNames[] = {WEFT_BINARY_NUMERIC(WEFT_NAME) WEFT_BINARY_FLOAT(WEFT_NAME)
                                        WEFT_BINARY_PREDICATE(WEFT_NAME)};
  return kNames[static_cast<int>(op)];
}
#undef WEFT_NAME

/// Whether the op's result is a bool.
#define WEFT_IS(NAME) || op == Op::NAME
constexpr bool is_predicate(UnaryOp op) {
  using Op = UnaryOp;
  return false WEFT_UNARY_PREDICATE(WEFT_IS);
}
constexpr bool is_predicate(BinaryOp op) {
  using Op = BinaryOp;
  return false WEFT_BINARY_PREDICATE(WEFT_IS);
}
#undef WEFT_IS

}  // namespace weft

namespace weft::scalar {

template <class T>
inline constexpr bool kIsFloat = std::is_floating_point_v<T>;

// Wrapping integer arithmetic: signed overflow is undefined in C++, so it goes through the unsigned type.
template <class T>
struct Wrap {
  using type = T;
};
template <>
struct Wrap<std::int32_t> {
  using type = std::uint32_t;
};
template <>
struct Wrap<std::int64_t> {
  using type = std::uint64_t;
};
template <class T>
using wrap_t = typename Wrap<T>::type;

struct negative {
  template <class T>
  WEFT_SCALAR T operator()(T x) const {
    if constexpr (kIsFloat<T>) return -x;
    return static_cast<T>(wrap_t<T>(0) - static_cast<wrap_t<T>>(x));
  }
};
struct abs {
  template <class T>
  WEFT_SCALAR T operator()(T x) const {
    if constexpr (kIsFloat<T>) return std::fabs(x);
    return x < T(0) ? negative()(x) : x;
  }
};
struct sign {
  template <class T>
  WEFT_SCALAR T operator()(T x) const {
    const T result = static_cast<T>((x > T(0)) - (x < T(0)));
    return x != x ? x : result;
  }
};
struct square {
  template <class T>
  WEFT_SCALAR T operator()(T x) const {
    return static_cast<T>(static_cast<wrap_t<T>>(x) * static_cast<wrap_t<T>>(x));
  }
};
struct reciprocal {
  template <class T>
  WEFT_SCALAR T operator()(T x) const {
    return T(1) / x;
  }
};
struct rsqrt {
  template <class T>
  WEFT_SCALAR T operator()(T x) const {
    return T(1) / std::sqrt(x);
  }
};

#define WEFT_SCALAR_CMATH(NAME, FUNCTION) \
  struct NAME {                           \
    template <class T>                    \
    WEFT_SCALAR T operator()(T x) const { \
      return std::FUNCTION(x);            \
    }                                     \
  };
WEFT_SCALAR_CMATH(sqrt, sqrt)
WEFT_SCALAR_CMATH(exp, exp)
WEFT_SCALAR_CMATH(expm1, expm1)
WEFT_SCALAR_CMATH(log, log)
WEFT_SCALAR_CMATH(log1p, log1p)
WEFT_SCALAR_CMATH(log2, log2)
WEFT_SCALAR_CMATH(log10, log10)
WEFT_SCALAR_CMATH(sin, sin)
WEFT_SCALAR_CMATH(cos, cos)
WEFT_SCALAR_CMATH(tan, tan)
WEFT_SCALAR_CMATH(asin, asin)
WEFT_SCALAR_CMATH(acos, acos)
WEFT_SCALAR_CMATH(atan, atan)
WEFT_SCALAR_CMATH(sinh, sinh)
WEFT_SCALAR_CMATH(cosh, cosh)
WEFT_SCALAR_CMATH(tanh, tanh)
WEFT_SCALAR_CMATH(erf, erf)
WEFT_SCALAR_CMATH(erfc, erfc)
WEFT_SCALAR_CMATH(floor, floor)
WEFT_SCALAR_CMATH(ceil, ceil)
WEFT_SCALAR_CMATH(round, nearbyint)
#undef WEFT_SCALAR_CMATH

// What the formulas take.
struct Cmath {
  template <class T>
  WEFT_SCALAR static T exp(T x) {
    return std::exp(x);
  }
  template <class T>
  WEFT_SCALAR static T erfc(T x) {
    return std::erfc(x);
  }
  template <class T>
  WEFT_SCALAR static T minus_abs(T x) {
    return -std::fabs(x);
  }
  template <class T>
  WEFT_SCALAR static T not_below(T x, T low) {
    return x < low ? low : x;
  }
  template <class T>
  WEFT_SCALAR static T not_above(T x, T high) {
    return x > high ? high : x;
  }
  template <class T>
  WEFT_SCALAR static formula::Tail<T> tail(T x) {
    using R = formula::Range<T>;
    const bool far = x < -R::shift;
    const T e = std::exp(far ? x + R::shift : minus_abs(x));
    return {e, T(1), far ? R::shift_exp : T(1), far ? T(1) : T(1) + e};
  }
};
#define WEFT_SCALAR_FORMULA(NAME)         \
  struct NAME {                           \
    template <class T>                    \
    WEFT_SCALAR T operator()(T x) const { \
      return formula::NAME<T, Cmath>(x);  \
    }                                     \
  };
WEFT_SCALAR_FORMULA(sigmoid)
WEFT_SCALAR_FORMULA(silu)
WEFT_SCALAR_FORMULA(gelu)
WEFT_SCALAR_FORMULA(gelu_tanh)
#undef WEFT_SCALAR_FORMULA
struct relu {
  template <class T>
  WEFT_SCALAR T operator()(T x) const {
    return x <= T(0) ? T(0) : x;  // NaN stays NaN
  }
};
struct hardsigmoid {
  template <class T>
  WEFT_SCALAR T operator()(T x) const {
    return x <= T(-3) ? T(0) : x >= T(3) ? T(1) : (x + T(3)) / T(6);
  }
};
struct hardswish {
  template <class T>
  WEFT_SCALAR T operator()(T x) const {
    return x <= T(-3) ? T(0) : x >= T(3) ? x : x * (x + T(3)) / T(6);
  }
};

struct is_nan {
  template <class T>
  WEFT_SCALAR bool operator()(T x) const {
    return x != x;
  }
};
struct is_finite {
  template <class T>
  WEFT_SCALAR bool operator()(T x) const {
    if constexpr (kIsFloat<T>) return x - x == T(0);
    return true;
  }
};
struct logical_not {
  template <class T>
  WEFT_SCALAR bool operator()(T x) const {
    return x == T(0);
  }
};

#define WEFT_SCALAR_WRAPPED(NAME, OPERATOR)                                                \
  struct NAME {                                                                            \
    template <class T>                                                                     \
    WEFT_SCALAR T operator()(T a, T b) const {                                             \
      return static_cast<T>(static_cast<wrap_t<T>>(a) OPERATOR static_cast<wrap_t<T>>(b)); \
    }                                                                                      \
  };
WEFT_SCALAR_WRAPPED(add, +)
WEFT_SCALAR_WRAPPED(subtract, -)
WEFT_SCALAR_WRAPPED(multiply, *)
#undef WEFT_SCALAR_WRAPPED

struct divide {
  template <class T>
  WEFT_SCALAR T operator()(T a, T b) const {
    return a / b;
  }
};
// Floored division and its remainder, Python's and NumPy's // and %. Integers: anything by 0 is 0, and the smallest by
// -1 wraps.
struct remainder {
  template <class T>
  WEFT_SCALAR T operator()(T a, T b) const {
    if constexpr (kIsFloat<T>) {
      const T r = std::fmod(a, b);
      return r != T(0) && (r < T(0)) != (b < T(0)) ? r + b : r;
    } else {
      if (b == T(0)) return T(0);
      if constexpr (std::is_signed_v<T>) {
        if (b == T(-1)) return T(0);
      }
      const T r = static_cast<T>(a % b);
      return r != T(0) && (r < T(0)) != (b < T(0)) ? static_cast<T>(r + b) : r;
    }
  }
};
struct floor_divide {
  template <class T>
  WEFT_SCALAR T operator()(T a, T b) const {
    if constexpr (kIsFloat<T>) {
      if (b == T(0)) return a / b;
      const T r = std::fmod(a, b);
      const T quotient = (a - r) / b;  // whole but for rounding
      const T down = std::floor(quotient);
      const T truncated = quotient - down > T(0.5) ? down + T(1) : down;
      return r != T(0) && (r < T(0)) != (b < T(0)) ? truncated - T(1) : truncated;
    } else {
      if (b == T(0)) return T(0);
      if constexpr (std::is_signed_v<T>) {
        if (b == T(-1)) return negative()(a);
      }
      const T q = static_cast<T>(a / b);
      return a % b != T(0) && (a < T(0)) != (b < T(0)) ? static_cast<T>(q - 1) : q;
    }
  }
};
// Integers: by squaring, wrapping; a negative exponent gives the value rounded towards zero (0 unless the base is 1 or
// -1).
struct power {
  template <class T>
  WEFT_SCALAR T operator()(T a, T b) const {
    if constexpr (kIsFloat<T>) {
      return std::pow(a, b);
    } else {
      if (b < T(0)) {
        if (a == T(1)) return T(1);
        if (a == static_cast<T>(-1)) return b % 2 == 0 ? T(1) : static_cast<T>(-1);
        return T(0);
      }
      wrap_t<T> result = 1;
      wrap_t<T> base = static_cast<wrap_t<T>>(a);
      for (wrap_t<T> e = static_cast<wrap_t<T>>(b); e != 0; e = static_cast<wrap_t<T>>(e >> 1)) {
        if (e & 1) result = static_cast<wrap_t<T>>(result * base);
        base = static_cast<wrap_t<T>>(base * base);
      }
      return static_cast<T>(result);
    }
  }
};
struct maximum {
  template <class T>
  WEFT_SCALAR T operator()(T a, T b) const {
    return ((a > b) | (a != a)) ? a : b;  // NaN wins; without branches, for vectors
  }
};
struct minimum {
  template <class T>
  WEFT_SCALAR T operator()(T a, T b) const {
    return ((a < b) | (a != a)) ? a : b;
  }
};
struct atan2 {
  template <class T>
  WEFT_SCALAR T operator()(T a, T b) const {
    return std::atan2(a, b);
  }
};
/// u/(u² + v²), 0 where an operand is infinite.
struct atan2_slope {
  template <class T>
  WEFT_SCALAR T operator()(T u, T v) const {
    return formula::atan2_slope(u, v);
  }
};
/// weight·x, 0 where the weight is 0 and x infinite.
struct weighted {
  template <class T>
  WEFT_SCALAR T operator()(T weight, T x) const {
    return ((weight == T(0)) & (x == x)) ? T(0) : weight * x;
  }
};
struct relu_grad {
  template <class T>
  WEFT_SCALAR T operator()(T g, T y) const {
    return y > T(0) ? g : T(0);
  }
};
#define WEFT_SCALAR_FORMULA(NAME)              \
  struct NAME {                                \
    template <class T>                         \
    WEFT_SCALAR T operator()(T g, T x) const { \
      return formula::NAME<T, Cmath>(g, x);    \
    }                                          \
  };
WEFT_SCALAR_FORMULA(sigmoid_grad)
WEFT_SCALAR_FORMULA(tanh_grad)
WEFT_SCALAR_FORMULA(silu_grad)
WEFT_SCALAR_FORMULA(gelu_grad)
WEFT_SCALAR_FORMULA(gelu_tanh_grad)
#undef WEFT_SCALAR_FORMULA
struct hardswish_grad {
  template <class T>
  WEFT_SCALAR T operator()(T g, T x) const {
    return x <= T(-3) ? T(0) : x >= T(3) ? g : g * ((x + T(1.5)) / T(3));
  }
};

#define WEFT_SCALAR_PREDICATE(NAME, EXPRESSION)   \
  struct NAME {                                   \
    template <class T>                            \
    WEFT_SCALAR bool operator()(T a, T b) const { \
      return EXPRESSION;                          \
    }                                             \
  };
WEFT_SCALAR_PREDICATE(equal, a == b)
WEFT_SCALAR_PREDICATE(not_equal, a != b)
WEFT_SCALAR_PREDICATE(less, a < b)
WEFT_SCALAR_PREDICATE(less_equal, a <= b)
WEFT_SCALAR_PREDICATE(greater, a > b)
WEFT_SCALAR_PREDICATE(greater_equal, a >= b)
WEFT_SCALAR_PREDICATE(logical_and, (a != T(0)) & (b != T(0)))
WEFT_SCALAR_PREDICATE(logical_or, (a != T(0)) | (b != T(0)))
WEFT_SCALAR_PREDICATE(logical_xor, (a != T(0)) != (b != T(0)))
#undef WEFT_SCALAR_PREDICATE

}  // namespace weft::scalar
