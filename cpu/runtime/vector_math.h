#pragma once

// Functions of whole vectors for *_simd.cpp files. Most are the C library's: on x86-64 with glibc 2.35 or newer;
// elsewhere there is vector_exp alone, lane by lane. They are within 4 units in the last place, with libm's values at
// zeros, infinities, NaN and subnormal numbers, and a lane's value does not depend on the other lanes. log10 is not
// taken: it is not exact at powers of ten. The formulas of core/device/formulas.h take the exponential of
// cpu/runtime/vector_exp.h.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/device/scalar_ops.h"
#include "cpu/runtime/vector_exp.h"

#if defined(__x86_64__) && defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 35)
#define WEFT_VECTOR_MATH
#endif
#endif

namespace weft::cpu::WEFT_ISA {

#if defined(WEFT_VECTOR_MATH)

// The symbols of the x86-64 vector function ABI: a letter for the set, N for no mask, the lanes, a v for each operand.
#if defined(__AVX512F__)
#define WEFT_VECTOR_F32(NAME) __asm__("_ZGVeN16" NAME "f")
#define WEFT_VECTOR_F64(NAME) __asm__("_ZGVeN8" NAME)
#elif defined(__AVX2__)
#define WEFT_VECTOR_F32(NAME) __asm__("_ZGVdN8" NAME "f")
#define WEFT_VECTOR_F64(NAME) __asm__("_ZGVdN4" NAME)
#else
#define WEFT_VECTOR_F32(NAME) __asm__("_ZGVbN4" NAME "f")
#define WEFT_VECTOR_F64(NAME) __asm__("_ZGVbN2" NAME)
#endif
#define WEFT_VECTOR_UNARY(OP)                                                           \
  [[gnu::const]] Vec<float> vector_##OP(Vec<float>) noexcept WEFT_VECTOR_F32("v_" #OP); \
  [[gnu::const]] Vec<double> vector_##OP(Vec<double>) noexcept WEFT_VECTOR_F64("v_" #OP);
#define WEFT_VECTOR_BINARY(OP, NAME)                                                                  \
  [[gnu::const]] Vec<float> vector_##OP(Vec<float>, Vec<float>) noexcept WEFT_VECTOR_F32("vv_" NAME); \
  [[gnu::const]] Vec<double> vector_##OP(Vec<double>, Vec<double>) noexcept WEFT_VECTOR_F64("vv_" NAME);
#define WEFT_VECTOR_OVERLOAD(OP)              \
  template <class V>                          \
  inline V vector_function(scalar::OP, V x) { \
    return vector_##OP(x);                    \
  }
// clang-format off
#define WEFT_VECTOR_OPS(ROW)                                                                                         \
  ROW(exp) ROW(expm1) ROW(log) ROW(log1p) ROW(log2) ROW(tan) ROW(asin) ROW(acos) ROW(atan) ROW(sinh) ROW(cosh)       \
  ROW(tanh) ROW(erf) ROW(erfc)
// clang-format on
WEFT_VECTOR_OPS(WEFT_VECTOR_UNARY)
WEFT_VECTOR_UNARY(sin)
WEFT_VECTOR_UNARY(cos)
WEFT_VECTOR_BINARY(power, "pow")
WEFT_VECTOR_BINARY(atan2, "atan2")

// vector_function(op, x...) is the op of scalar_ops.h on each lane.
WEFT_VECTOR_OPS(WEFT_VECTOR_OVERLOAD)
// sin and cos may round to the number after 1.
template <class V>
V within_one(V y) {
  const V one = V{} + 1;
  y = y > one ? one : y;
  return y < -one ? -one : y;
}
template <class V>
V vector_function(scalar::sin, V x) {
  return within_one(vector_sin(x));
}
template <class V>
V vector_function(scalar::cos, V x) {
  return within_one(vector_cos(x));
}

// What the formulas of core/device/formulas.h take.
template <class V>
using lane_t = std::remove_reference_t<decltype(V{}[0])>;
struct VectorMath {
  template <class V>
  static inline V erfc(V x) {
    return vector_erfc(x);
  }
  template <class V>
  [[gnu::always_inline]] static inline V exp(V x) {
    return small_exp<lane_t<V>>(x);
  }
  template <class V>
  [[gnu::always_inline]] static inline V minus_abs(V x) {
    return WEFT_ISA::minus_abs<lane_t<V>>(x);
  }
  template <class V>
  [[gnu::always_inline]] static inline V not_below(V x, lane_t<V> low) {
    return WEFT_ISA::not_below<lane_t<V>>(x, V{} + low);
  }
  template <class V>
  [[gnu::always_inline]] static inline V not_above(V x, lane_t<V> high) {
    return WEFT_ISA::not_above<lane_t<V>>(x, V{} + high);
  }
  template <class V>
  [[gnu::always_inline]] static inline scalar::formula::Tail<V> tail(V x) {
    using T = lane_t<V>;
    using C = ExpConstants<T>;
    const V e = raised_exp<T>(minus_abs(x)), unit = V{} + C::unit;
    return {e, V{} + C::raise, unit, fma<T>(e, unit, V{} + T(1))};
  }
};
#define WEFT_VECTOR_FORMULA(OP)                           \
  template <class V>                                      \
  inline V vector_function(scalar::OP, V x) {             \
    return scalar::formula::OP<lane_t<V>, VectorMath>(x); \
  }
#define WEFT_VECTOR_FORMULA_GRAD(OP)                         \
  template <class V>                                         \
  inline V vector_function(scalar::OP, V g, V x) {           \
    return scalar::formula::OP<lane_t<V>, VectorMath>(g, x); \
  }
WEFT_VECTOR_FORMULA(sigmoid)
WEFT_VECTOR_FORMULA(silu)
WEFT_VECTOR_FORMULA(gelu)
WEFT_VECTOR_FORMULA(gelu_tanh)
WEFT_VECTOR_FORMULA_GRAD(sigmoid_grad)
WEFT_VECTOR_FORMULA_GRAD(tanh_grad)
WEFT_VECTOR_FORMULA_GRAD(silu_grad)
WEFT_VECTOR_FORMULA_GRAD(gelu_grad)
WEFT_VECTOR_FORMULA_GRAD(gelu_tanh_grad)
template <class V>
V vector_function(scalar::power, V a, V b) {
  const V one = V{} + 1;
  return ((a == 1) | (b == 0)) ? one : vector_power(a, b);  // also of NaN, where not every set's function keeps to it
}
template <class V>
V vector_function(scalar::atan2, V a, V b) {
  return vector_atan2(a, b);
}

#undef WEFT_VECTOR_OPS
#undef WEFT_VECTOR_FORMULA_GRAD
#undef WEFT_VECTOR_FORMULA
#undef WEFT_VECTOR_OVERLOAD
#undef WEFT_VECTOR_BINARY
#undef WEFT_VECTOR_UNARY
#undef WEFT_VECTOR_F64
#undef WEFT_VECTOR_F32

#else

template <class V>
V vector_exp(V x) {
  for (std::size_t lane = 0; lane < sizeof(V) / sizeof x[0]; ++lane) x[lane] = std::exp(x[lane]);
  return x;
}

#endif

/// Whether there is a vector_function of `operands` vectors of T.
template <class Op, class T, int operands>
constexpr bool has_vector_function() {
  if constexpr (!std::is_floating_point_v<T>) {
    return false;
  } else if constexpr (operands == 1) {
    return requires(Vec<T> x) { vector_function(Op(), x); };
  } else {
    return requires(Vec<T> x) { vector_function(Op(), x, x); };
  }
}

// load_first and store_first take the first `left` lanes, fewer than all; load_first gives `rest` in the others.
#if defined(__AVX512F__)
inline Vec<float> load_first(const float* p, std::int64_t left, float rest) {
  return _mm512_mask_loadu_ps(splat(rest), static_cast<__mmask16>((1U << left) - 1), p);
}
inline Vec<double> load_first(const double* p, std::int64_t left, double rest) {
  return _mm512_mask_loadu_pd(splat(rest), static_cast<__mmask8>((1U << left) - 1), p);
}
inline void store_first(float* p, std::int64_t left, Vec<float> v) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1U << left) - 1), v);
}
inline void store_first(double* p, std::int64_t left, Vec<double> v) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1U << left) - 1), v);
}
#elif defined(__AVX2__)
inline __m256i first_lanes(float, std::int64_t left) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(left)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline __m256i first_lanes(double, std::int64_t left) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(left), _mm256_setr_epi64x(0, 1, 2, 3));
}
inline Vec<float> load_first(const float* p, std::int64_t left, float rest) {
  const __m256i mask = first_lanes(rest, left);
  return _mm256_blendv_ps(splat(rest), _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask));
}
inline Vec<double> load_first(const double* p, std::int64_t left, double rest) {
  const __m256i mask = first_lanes(rest, left);
  return _mm256_blendv_pd(splat(rest), _mm256_maskload_pd(p, mask), _mm256_castsi256_pd(mask));
}
inline void store_first(float* p, std::int64_t left, Vec<float> v) {
  _mm256_maskstore_ps(p, first_lanes(float{}, left), v);
}
inline void store_first(double* p, std::int64_t left, Vec<double> v) {
  _mm256_maskstore_pd(p, first_lanes(double{}, left), v);
}
#else
template <class T>
inline Vec<T> load_first(const T* p, std::int64_t left, T rest) {
  T lanes[kLanes<T>];
  for (int i = 0; i < kLanes<T>; ++i) lanes[i] = i < left ? p[i] : rest;
  return load(lanes);
}
template <class T>
inline void store_first(T* p, std::int64_t left, Vec<T> v) {
  T lanes[kLanes<T>];
  store(lanes, v);
  for (int i = 0; i < kLanes<T> && i < left; ++i) p[i] = lanes[i];
}
#endif

/// The next kLanes<T> elements of a row of which `left` are left. After the last one stands `rest`, a number that every
/// function takes, such as 1.
template <class T>
inline Vec<T> load_lanes(const T* p, std::int64_t stride, std::int64_t left, T rest = 1) {
  if (stride == 1 && left >= kLanes<T>) return load(p);
  if (stride == 0) return splat(*p);
  if (left >= kLanes<T>) {
    Vec<T> v{};
    WEFT_UNROLL
    for (int i = 0; i < kLanes<T>; ++i) v[i] = p[i * stride];
    return v;
  }
  if (stride == 1) return load_first(p, left, rest);
  T lanes[kLanes<T>];
  for (int i = 0; i < kLanes<T>; ++i) lanes[i] = i < left ? p[i * stride] : rest;
  return load(lanes);
}

/// The first `left` lanes.
template <class T>
inline void store_lanes(T* p, std::int64_t stride, std::int64_t left, Vec<T> v) {
  if (stride == 1 && left >= kLanes<T>) return store(p, v);
  if (left >= kLanes<T>) {
    WEFT_UNROLL
    for (int i = 0; i < kLanes<T>; ++i) p[i * stride] = v[i];
    return;
  }
  if (stride == 1) return store_first(p, left, v);
  T lanes[kLanes<T>];
  store(lanes, v);
  for (int i = 0; i < kLanes<T> && i < left; ++i) p[i * stride] = lanes[i];
}

}  // namespace weft::cpu::WEFT_ISA
