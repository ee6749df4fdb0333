#pragma once

// Vectors of the instruction set a *_simd.cpp file is being compiled for. Only those files may include this header:
// everything is in namespace weft::cpu::WEFT_ISA, so each set has its own copy.

#include <cstdint>
#include <cstring>

#include "core/device/unroll.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace weft::cpu::WEFT_ISA {

#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 16;
#endif

template <class T>
inline constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

template <class T>
struct VecOf {
  typedef T type __attribute__((vector_size(kVectorBytes)));
};

/// kLanes<T> values of T with the compiler's element-wise operators.
template <class T>
using Vec = typename VecOf<T>::type;

template <class T>
inline Vec<T> load(const T* p) {  // p may be unaligned
  Vec<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

/// The first n < kLanes<T> elements at p; the other lanes are zero.
template <class T>
inline Vec<T> load_first(const T* p, std::int64_t n) {
  Vec<T> v{};
#if defined(__AVX512F__)
  const unsigned lanes = (1U << n) - 1U;
  if constexpr (sizeof(T) == 4) {
    v = _mm512_maskz_loadu_ps(static_cast<__mmask16>(lanes), p);
  } else {
    v = _mm512_maskz_loadu_pd(static_cast<__mmask8>(lanes), p);
  }
#else
  WEFT_UNROLL
  for (int i = 0; i < kLanes<T>; ++i) {
    if (i < n) v[i] = p[i];
  }
#endif
  return v;
}

template <class T>
inline void store(T* p, Vec<T> v) {
  std::memcpy(p, &v, sizeof v);
}

template <class T>
inline Vec<T> splat(T x) {
  return x - Vec<T>{};  // keeps the sign of zero
}

/// a·b + c; one rounding for float and double where the set has FMA. The build turns implicit contraction off.
template <class T>
inline Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return a * b + c;
}

#if defined(__AVX512F__)
template <>
inline Vec<float> fma<float>(Vec<float> a, Vec<float> b, Vec<float> c) {
  return _mm512_fmadd_ps(a, b, c);
}
template <>
inline Vec<double> fma<double>(Vec<double> a, Vec<double> b, Vec<double> c) {
  return _mm512_fmadd_pd(a, b, c);
}
#elif defined(__AVX2__)
template <>
inline Vec<float> fma<float>(Vec<float> a, Vec<float> b, Vec<float> c) {
  return _mm256_fmadd_ps(a, b, c);
}
template <>
inline Vec<double> fma<double>(Vec<double> a, Vec<double> b, Vec<double> c) {
  return _mm256_fmadd_pd(a, b, c);
}
#endif

}  // namespace weft::cpu::WEFT_ISA
