#pragma once

// Kernels of channels whose values lie one after another: each row is a channel. For norm_simd.cpp.

#include <type_traits>

#include "cpu/array/float_sums.h"

namespace weft::cpu::WEFT_ISA {

/// Vectors that are summed apart, because each addition waits for the one before it.
inline constexpr int kRowVectors = 4;
/// Additions of T in a chain, at most.
inline constexpr std::int64_t kRowChain = 16;

template <class T>
struct MaskOf {
  using Element = std::int32_t;
};
template <>
struct MaskOf<double> {
  using Element = std::int64_t;
};

/// Ones in the upper half: a vector from element i on keeps its last i lanes.
template <class T>
struct LastLanes {
  typename MaskOf<T>::Element mask[2 * kLanes<T>];
  constexpr LastLanes() : mask() {
    for (int i = kLanes<T>; i < 2 * kLanes<T>; ++i) mask[i] = -1;
  }
};
template <class T>
inline constexpr LastLanes<T> kLastLanesOf;

/// What add_row's term does to a value: nothing, or zeros replace the lanes that were added before.
struct KeepAll {
  template <class P>
  P operator()(P value) const {
    return value;
  }
};
template <class T>
struct KeepLast {
  Vec<typename MaskOf<T>::Element> mask;
  [[gnu::always_inline]] Vec<T> operator()(Vec<T> value) const { return (Vec<T>)((decltype(mask))value & mask); }
};

/// sums += parts, in double.
template <class T>
[[gnu::always_inline]] inline void add_to_total(Vec<double> (&total)[2], Vec<T> part) {
  if constexpr (sizeof(T) == sizeof(float)) {
    add_wide(total, part);
  } else {
    total[0] += part;
  }
}

/// totals = the sums over a row of `n` of what term(keep, at, sums) adds to `count` sums for the vector at element
/// `at`; keep says which lanes of an addend count.
template <class T, int count, class Term>
[[gnu::always_inline]] inline void add_row(std::int64_t n, double (&totals)[count], const Term& term) {
  constexpr std::int64_t kWidth = kLanes<T>, kStep = kRowVectors * kWidth;
  if (n < kWidth) {
    T sums[count] = {};
    for (std::int64_t at = 0; at < n; ++at) term(KeepAll{}, at, sums);
    for (int s = 0; s < count; ++s) totals[s] = static_cast<double>(sums[s]);
    return;
  }
  Vec<double> wide[count][2] = {};
  for (std::int64_t at = 0; at < n;) {
    Vec<T> sums[kRowVectors][count] = {};
    const std::int64_t end = n - at < kRowChain * kStep ? n : at + kRowChain * kStep;
    for (; end - at >= kStep; at += kStep) {
      WEFT_UNROLL
      for (int p = 0; p < kRowVectors; ++p) term(KeepAll{}, at + p * kWidth, sums[p]);
    }
    if (end - at >= 2 * kWidth) {
      term(KeepAll{}, at, sums[0]);
      term(KeepAll{}, at + kWidth, sums[1]);
      at += 2 * kWidth;
    }
    if (end - at >= kWidth) {
      term(KeepAll{}, at, sums[2]);
      at += kWidth;
    }
    if (at < end) {
      term(KeepLast<T>{load(kLastLanesOf<T>.mask + (end - at))}, end - kWidth, sums[3]);
      at = end;
    }
    WEFT_UNROLL
    for (int s = 0; s < count; ++s) add_to_total<T>(wide[s], (sums[0][s] + sums[1][s]) + (sums[2][s] + sums[3][s]));
  }
  WEFT_UNROLL
  for (int s = 0; s < count; ++s) totals[s] = sum_vector<kVectorBytes>(wide[s][0] + wide[s][1]);
}

template <class T>
void row_moments(std::int64_t rows, std::int64_t n, const T* x, T* origin, double* sum, double* squares) {
  const double inverse = 1 / static_cast<double>(n);
  for (std::int64_t row = 0; row < rows; ++row, x += n) {
    double total[1], moments[2];
    const T first = x[0];
    add_row<T>(n, total, [&](auto keep, std::int64_t at, auto& sums) {
      using P = std::remove_reference_t<decltype(sums[0])>;
      sums[0] += keep(get<P>(x + at) - all<P>(first));
    });
    const T middle = static_cast<T>(static_cast<double>(first) + total[0] * inverse);
    add_row<T>(n, moments, [&](auto keep, std::int64_t at, auto& sums) {
      using P = std::remove_reference_t<decltype(sums[0])>;
      const P difference = keep(get<P>(x + at) - all<P>(middle));
      sums[0] += difference;
      sums[1] = mul_add<T>(difference, difference, sums[1]);
    });
    origin[row] = middle;
    sum[row] = moments[0];
    squares[row] = moments[1];
  }
}

template <class T>
void row_apply(std::int64_t rows, std::int64_t n, const T* x, const T* mean, const T* scale, const T* shift, T* y) {
  for (std::int64_t row = 0; row < rows; ++row, x += n, y += n) {
    const T m = mean[row], a = scale[row], b = shift[row];
    for_vectors<Tail::overlapping, T>(n, [&](auto vectors, std::int64_t column) {
      using P = typename decltype(vectors)::Vector;
      for (int i = 0; i < vectors.kCount; ++i) {
        const std::int64_t at = column + i * vectors.kWidth;
        put(y + at, mul_add<T>(get<P>(x + at) - all<P>(m), all<P>(a), all<P>(b)));
      }
    });
  }
}

template <class T>
void row_grad_sums(std::int64_t rows, std::int64_t n, const T* y_grad, const T* x, const T* mean, double* sum,
                   double* product) {
  for (std::int64_t row = 0; row < rows; ++row, x += n, y_grad += n) {
    double totals[2];
    const T m = mean[row];
    add_row<T>(n, totals, [&](auto keep, std::int64_t at, auto& sums) {
      using P = std::remove_reference_t<decltype(sums[0])>;
      const P gradient = keep(get<P>(y_grad + at));
      sums[0] += gradient;
      sums[1] = mul_add<T>(gradient, get<P>(x + at) - all<P>(m), sums[1]);
    });
    sum[row] = totals[0];
    product[row] = totals[1];
  }
}

template <class T>
void row_grad_apply(std::int64_t rows, std::int64_t n, const T* y_grad, const T* x, const T* mean, const T* scale,
                    const T* b, const T* c, T* x_grad) {
  for (std::int64_t row = 0; row < rows; ++row, x += n, y_grad += n, x_grad += n) {
    const T m = mean[row], f = scale[row], g = b[row], h = c[row];
    for_vectors<Tail::overlapping, T>(n, [&](auto vectors, std::int64_t column) {
      using P = typename decltype(vectors)::Vector;
      for (int i = 0; i < vectors.kCount; ++i) {
        const std::int64_t at = column + i * vectors.kWidth;
        const P centred = get<P>(x + at) - all<P>(m);
        put(x_grad + at, all<P>(f) * mul_add<T>(centred, all<P>(g), get<P>(y_grad + at) + all<P>(h)));
      }
    });
  }
}

}  // namespace weft::cpu::WEFT_ISA
