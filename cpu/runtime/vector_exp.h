#pragma once

// The exponential of numbers that are not positive, as code that the compiler puts into the loops that call it. For
// *_simd.cpp files only, as cpu/runtime/vec.h.

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <limits>

#include "cpu/runtime/vec.h"

namespace weft::cpu::WEFT_ISA {

/// exp(r) = 1 + r + r²·(terms[0] + terms[1]·r + ...) for |r| <= log(2)/2, within a tenth of half a unit.
template <class T>
struct ExpConstants;
template <>
struct ExpConstants<float> {
  using Bits = std::int32_t;
  static constexpr int digits = 23;                           // after the first
  static constexpr float raise = 0x1p64F, unit = 0x1p-64F;    // what raised_exp multiplies with, and its inverse
  static constexpr float least = -131;                        // from here on every use of the exponential gives 0
  static constexpr float round = 0x1.8p23F, bias = 127 + 64;  // added, they leave a whole number's bits at the end
  static constexpr float log2e = 0x1.715476p0F;               // 1/log(2)
  static constexpr float high = 0x1.63p-1F, low = -0x1.bd0106p-13F;  // log(2); whole multiples of high are exact
  static constexpr float terms[] = {0x1.fffffcp-2F, 0x1.555492p-3F, 0x1.5558bp-5F, 0x1.12398ep-7F, 0x1.6a4d34p-10F};
};
template <>
struct ExpConstants<double> {
  using Bits = std::int64_t;
  static constexpr int digits = 52;
  static constexpr double raise = 0x1p512, unit = 0x1p-512;
  static constexpr double least = -1060;
  static constexpr double round = 0x1.8p52, bias = 1023 + 512;
  static constexpr double log2e = 0x1.71547652b82fep0;
  static constexpr double high = 0x1.62e42feep-1, low = 0x1.a39ef35793c76p-33;
  static constexpr double terms[] = {0x1.000000000000ap-1,  0x1.5555555555509p-3,  0x1.555555555074dp-5,
                                     0x1.1111111124e06p-7,  0x1.6c16c18450f6cp-10, 0x1.a01a0136ce2b8p-13,
                                     0x1.a01999c514daap-16, 0x1.71df0df2631bbp-19, 0x1.28ada4a2ca842p-22,
                                     0x1.ad9f8d4ebb476p-26};
};

/// x, or `low` where x is less; NaN stays.
template <class T>
inline Vec<T> not_below(Vec<T> x, Vec<T> low) {
  return x < low ? low : x;
}
/// x, or `high` where x is more; NaN stays.
template <class T>
inline Vec<T> not_above(Vec<T> x, Vec<T> high) {
  return x > high ? high : x;
}

// One instruction, where g++ makes several of the comparison. It gives the second operand where one is NaN.
#if defined(__AVX512F__)  // a mask, since g++ warns of the undefined vector that the others take
#define WEFT_EXTREME(NAME, LANES, ...) _mm512_maskz_##NAME(LANES, __VA_ARGS__)
#elif defined(__AVX2__)
#define WEFT_EXTREME(NAME, LANES, ...) _mm256_##NAME(__VA_ARGS__)
#elif defined(__SSE2__)
#define WEFT_EXTREME(NAME, LANES, ...) _mm_##NAME(__VA_ARGS__)
#endif
#if defined(WEFT_EXTREME)
#define WEFT_BOUND(OP, T, NAME, LANES)          \
  template <>                                   \
  inline Vec<T> OP<T>(Vec<T> x, Vec<T> bound) { \
    return WEFT_EXTREME(NAME, LANES, bound, x); \
  }
WEFT_BOUND(not_below, float, max_ps, 0xffff)
WEFT_BOUND(not_below, double, max_pd, 0xff)
WEFT_BOUND(not_above, float, min_ps, 0xffff)
WEFT_BOUND(not_above, double, min_pd, 0xff)
#undef WEFT_BOUND
#undef WEFT_EXTREME
#endif

/// -|x|
template <class T>
[[gnu::always_inline]] inline Vec<T> minus_abs(Vec<T> x) {
  using Bits = typename ExpConstants<T>::Bits;
  constexpr Bits sign = std::numeric_limits<Bits>::min();
  return __builtin_bit_cast(Vec<T>, __builtin_bit_cast(Vec<Bits>, x) | sign);
}

/// exp(x) = fraction·2^k for x <= 0, where rounded = round + bias + k. The fraction, about 1, is within a unit in the
/// last place.
template <class T>
struct ExpParts {
  Vec<T> fraction, rounded;
};
template <class T>
[[gnu::always_inline]] inline Vec<T> whole_of(const ExpParts<T>& parts) {
  return parts.rounded - (ExpConstants<T>::round + ExpConstants<T>::bias);
}
template <class T>
[[gnu::always_inline]] inline ExpParts<T> exp_parts(Vec<T> x) {
  using C = ExpConstants<T>;
  const auto all = [](T value) { return Vec<T>{} + value; };
  x = not_below<T>(x, all(C::least));
  ExpParts<T> parts;
  parts.rounded = fma<T>(x, all(C::log2e), all(C::round + C::bias));
  const Vec<T> k = whole_of(parts);
  const Vec<T> r = fma<T>(k, all(-C::low), fma<T>(k, all(-C::high), x));
  constexpr int count = sizeof C::terms / sizeof C::terms[0];
  Vec<T> sum = all(C::terms[count - 1]);
  if constexpr (count % 2 == 1) {
    WEFT_UNROLL
    for (int i = count - 2; i >= 0; --i) sum = fma<T>(sum, r, all(C::terms[i]));
  } else {  // many, of which the even and the odd ones do not wait for each other
    const Vec<T> square = r * r;
    Vec<T> even = all(C::terms[count - 2]);
    WEFT_UNROLL
    for (int i = count - 3; i >= 0; i -= 2) {
      sum = fma<T>(sum, square, all(C::terms[i]));
      even = fma<T>(even, square, all(C::terms[i - 1]));
    }
    sum = fma<T>(sum, r, even);
  }
  sum = fma<T>(sum, r, all(1));
  parts.fraction = fma<T>(sum, r, all(1));
  return parts;
}

/// exp(x)·raise for x <= 0: an exponential that would be subnormal has all its digits. NaN stays NaN.
template <class T>
[[gnu::always_inline]] inline Vec<T> raised_exp(Vec<T> x) {
  using C = ExpConstants<T>;
  const ExpParts<T> parts = exp_parts<T>(x);
  const auto power = __builtin_bit_cast(Vec<typename C::Bits>, parts.rounded) << C::digits;  // the bits of 2^k·raise
  return parts.fraction * __builtin_bit_cast(Vec<T>, power);
}

/// exp(x) for x <= 0. NaN stays NaN.
template <class T>
[[gnu::always_inline]] inline Vec<T> small_exp(Vec<T> x) {
#if defined(__AVX512F__)
  const ExpParts<T> parts = exp_parts<T>(x);
  if constexpr (sizeof(T) == sizeof(float)) {
    return _mm512_maskz_scalef_ps(0xffff, parts.fraction, whole_of(parts));
  } else {
    return _mm512_maskz_scalef_pd(0xff, parts.fraction, whole_of(parts));
  }
#else
  return raised_exp<T>(x) * ExpConstants<T>::unit;
#endif
}

}  // namespace weft::cpu::WEFT_ISA
