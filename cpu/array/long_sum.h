#pragma once

// Sums of many f32 numbers that keep their accuracy: at most kShortSum are added in f32, and such short sums are added
// in double. For *_simd.cpp files only, as cpu/runtime/vec.h.

#include <cstdint>
#include <cstring>

#include "cpu/runtime/vector_loop.h"

namespace weft::cpu::WEFT_ISA {

/// Numbers that are added in f32: one after another, sums of equal ones are within 2.3e-7 of the sum of magnitudes.
inline constexpr int kShortSum = 16;

/// The doubles of a vector of floats, in their order.
[[gnu::always_inline]] inline void widen(Vec<float> v, Vec<double> (&wide)[2]) {
  typedef float Half __attribute__((vector_size(kVectorBytes / 2)));
  Half halves[2];
  std::memcpy(halves, &v, sizeof halves);
#if defined(__AVX512F__)  // for which g++ converts by parts
  for (int h = 0; h < 2; ++h) wide[h] = _mm512_maskz_cvtps_pd(0xff, halves[h]);
#else
  for (int h = 0; h < 2; ++h) wide[h] = __builtin_convertvector(halves[h], Vec<double>);
#endif
}

/// totals += v.
[[gnu::always_inline]] inline void add_wide(Vec<double>* totals, Vec<float> v) {
  Vec<double> wide[2];
  widen(v, wide);
  totals[0] += wide[0];
  totals[1] += wide[1];
}

/// The sum of `count` vectors, a power of two, that lie `stride` elements apart, as a binary tree.
template <int count>
[[gnu::always_inline]] inline Vec<float> pairwise(const float* x, std::int64_t stride) {
  if constexpr (count == 1) {
    return load(x);
  } else {
    return pairwise<count / 2>(x, stride) + pairwise<count / 2>(x + count / 2 * stride, stride);
  }
}

/// The sum in double of vectors of floats.
template <class P>
struct WideTotal {
  Vec<double> halves[2] = {};

  [[gnu::always_inline]] void add(P vector) { add_wide(halves, vector); }
  [[gnu::always_inline]] P times(double factor) const {
    typedef float Half __attribute__((vector_size(kVectorBytes / 2)));
    Half narrow[2];
    for (int h = 0; h < 2; ++h) narrow[h] = __builtin_convertvector(halves[h] * factor, Half);
    return get<P>(narrow);
  }
};

template <>
struct WideTotal<float> {
  double total = 0;

  void add(float x) { total += static_cast<double>(x); }
  float times(double factor) const { return static_cast<float>(total * factor); }
};

/// `count` sums of vectors of T, of at most kShortSum terms: one after another.
template <class T, class P, int count>
struct ChainSums {
  static constexpr int kCount = count;
  static constexpr bool kOneChain = true;

  P sum[count] = {};

  [[gnu::always_inline]] void add(int i, P value) { sum[i] += value; }
  [[gnu::always_inline]] void add_product(int i, P value, T weight) {
    sum[i] = mul_add<T>(value, all<P>(weight), sum[i]);
  }
  [[gnu::always_inline]] P value(int i) const { return sum[i]; }
  [[gnu::always_inline]] P times(int i, double factor) const { return sum[i] * static_cast<T>(factor); }
};

/// Sums of the sums of runs of terms. An element takes part in at most kShortSum additions: those of its run and those
/// of the runs.
template <class T, class P, int count>
struct RunSums : ChainSums<T, P, count> {
  static constexpr bool kOneChain = false, kWholeLines = true;
  using Run = P[count];

  [[gnu::always_inline]] void add_run(const Run& run) {
    for (int i = 0; i < count; ++i) this->add(i, run[i]);
  }
};

/// The same of any number of runs of at most kRun terms: groups of 8 runs, and the groups in double.
template <class T, class P, int count>
struct LongSums {
  static constexpr int kCount = count;
  static constexpr bool kOneChain = false, kWholeLines = false;
  static constexpr std::int64_t kRun = 8;
  using Run = P[count];

  ChainSums<T, P, count> group;
  WideTotal<P> totals[count];
  int runs = 0;
  bool has_totals = false;

  [[gnu::always_inline]] void add_run(const Run& run) {
    for (int i = 0; i < count; ++i) group.add(i, run[i]);
    if (++runs < kRun) return;
    for (int i = 0; i < count; ++i) {
      totals[i].add(group.sum[i]);
      group.sum[i] = P{};
    }
    runs = 0;
    has_totals = true;
  }
  [[gnu::always_inline]] P value(int i) const { return times(i, 1); }
  [[gnu::always_inline]] P times(int i, double factor) const {
    if (!has_totals) return group.times(i, factor);
    WideTotal<P> total = totals[i];
    total.add(group.sum[i]);
    return total.times(factor);
  }
};

template <class P, int count>
struct LongSums<double, P, count> : RunSums<double, P, count> {
  static constexpr bool kWholeLines = false;
};

}  // namespace weft::cpu::WEFT_ISA
