#pragma once

// Sums of f32 rows and columns, with 64 bytes of totals in double on every instruction set, so that they have the same
// bits on all of them. For reduce_simd.cpp.

#include "cpu/long_sum.h"
#include "cpu/tile.h"

namespace weft::cpu::WEFT_ISA {

inline constexpr int kSumWidth = 64 / static_cast<int>(sizeof(float));
inline constexpr int kSumParts = 64 / kVectorBytes;
inline constexpr int kSumLanes = 8;  // of elements that do not lie beside one another
inline constexpr int kSumRows = 8;   // of dense columns that are added in f32

/// The sum of `count` lanes, a power of two, as a binary tree.
template <class T, int count>
[[gnu::always_inline]] inline T sum_lanes(T (&lanes)[count]) {
  for (int half = count / 2; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  }
  return lanes[0];
}

/// parts += the next `count` times 64 bytes, if that much lies before `end`; x moves on.
template <int count>
[[gnu::always_inline]] inline void add_rest(Vec<float> (&parts)[kSumParts], const float*& x, const float* end) {
  if (end - x < count * kSumWidth) return;
  WEFT_UNROLL
  for (int p = 0; p < kSumParts; ++p) parts[p] += pairwise<count>(x + p * kLanes<float>, kSumWidth);
  x += count * kSumWidth;
}

/// A row of at least 64 bytes whose elements are neighbours.
[[gnu::always_inline]] inline double sum_dense_row(const float* x, std::int64_t n) {
  Vec<double> totals[2 * kSumParts] = {};
  const float* const end = x + n;
  for (; end - x >= kShortSum * kSumWidth; x += kShortSum * kSumWidth) {
    WEFT_UNROLL
    for (int p = 0; p < kSumParts; ++p) add_wide(totals + 2 * p, pairwise<kShortSum>(x + p * kLanes<float>, kSumWidth));
  }
  Vec<float> parts[kSumParts] = {};
  add_rest<8>(parts, x, end);
  add_rest<4>(parts, x, end);
  add_rest<2>(parts, x, end);
  add_rest<1>(parts, x, end);
  WEFT_UNROLL
  for (int p = 0; p < kSumParts; ++p) add_wide(totals + 2 * p, parts[p]);
  double lanes[kSumWidth];
  std::memcpy(lanes, totals, sizeof lanes);
  for (int l = 0; x < end; ++x, ++l) lanes[l] += static_cast<double>(*x);
  return sum_lanes(lanes);
}

/// Every kSumLanes-th of `n` elements into each lane.
[[gnu::always_inline]] inline void add_strided(float (&lanes)[kSumLanes], const float* x, std::int64_t n,
                                               std::int64_t stride) {
  std::int64_t i = 0;
  for (; i + kSumLanes <= n; i += kSumLanes) {
    for (int l = 0; l < kSumLanes; ++l) lanes[l] += x[(i + l) * stride];
  }
  for (int l = 0; i < n; ++i, ++l) lanes[l] += x[i * stride];
}

/// A row of any stride; out of line, so that its addresses are not prepared where rows are dense.
[[gnu::noinline]] inline double sum_strided_row(const float* x, std::int64_t n, std::int64_t stride) {
  constexpr std::int64_t kShort = 2 * kSumLanes, kBlock = 4 * kSumLanes;
  if (n <= kShort) {
    float lanes[kSumLanes] = {};
    add_strided(lanes, x, n, stride);
    return static_cast<double>(sum_lanes(lanes));
  }
  double totals[kSumLanes] = {};
  for (; n >= kBlock; n -= kBlock, x += kBlock * stride) {
    for (int l = 0; l < kSumLanes; ++l) {
      const float* p = x + l * stride;
      totals[l] += static_cast<double>((p[0] + p[8 * stride]) + (p[16 * stride] + p[24 * stride]));
    }
  }
  float lanes[kSumLanes] = {};
  add_strided(lanes, x, n, stride);
  for (int l = 0; l < kSumLanes; ++l) totals[l] += static_cast<double>(lanes[l]);
  return sum_lanes(totals);
}

template <class Out>
void sum_rows_loop(const Tile& tile) {
  const float* x = static_cast<const float*>(tile.data[1]);
  Out* out = static_cast<Out*>(tile.data[0]);
  const bool dense = tile.stride[1] == 1 && tile.n >= kSumWidth;
  for (std::int64_t row = 0; row < tile.rows; ++row) {
    const float* first = x + row * tile.row_stride[1];
    out[row * tile.row_stride[0]] =
        static_cast<Out>(dense ? sum_dense_row(first, tile.n) : sum_strided_row(first, tile.n, tile.stride[1]));
  }
}

/// sums = those of `rows` rows of `count` vectors, one row after another.
template <int count>
[[gnu::always_inline]] inline void short_columns(Vec<float> (&sums)[count], const float* x, std::int64_t rows,
                                                 std::int64_t stride) {
  WEFT_UNROLL
  for (Vec<float>& sum : sums) sum = Vec<float>{};
  for (; rows > 0; --rows, x += stride) {
    WEFT_UNROLL
    for (int v = 0; v < count; ++v) sums[v] += load(x + v * kLanes<float>);
  }
}

/// `count` vectors of adjacent columns.
template <class Out, int count>
[[gnu::always_inline]] inline void sum_dense_columns(const Tile& tile, std::int64_t column) {
  const float* x = static_cast<const float*>(tile.data[1]) + column;
  const std::int64_t stride = tile.row_stride[1];
  Out* out = static_cast<Out*>(tile.data[0]) + column * tile.stride[0];
  const auto write = [&](const auto* values) {
    for (int l = 0; l < count * kLanes<float>; ++l) out[l * tile.stride[0]] = static_cast<Out>(values[l]);
  };
  Vec<float> sums[count];
  if (tile.rows <= kShortSum) {
    float values[count * kLanes<float>];
    short_columns(sums, x, tile.rows, stride);
    std::memcpy(values, sums, sizeof values);
    return write(values);
  }
  Vec<double> totals[2 * count] = {};
  const auto add_rows = [&](std::int64_t rows) __attribute__((always_inline)) {
    short_columns(sums, x, rows, stride);
    WEFT_UNROLL
    for (int v = 0; v < count; ++v) add_wide(totals + 2 * v, sums[v]);
    x += rows * stride;
  };
  std::int64_t rows = tile.rows;
  for (; rows >= kSumRows; rows -= kSumRows) add_rows(kSumRows);
  if (rows > 0) add_rows(rows);
  double values[count * kLanes<float>];
  std::memcpy(values, totals, sizeof values);
  write(values);
}

/// Up to kSumLanes columns of any stride, added as dense ones are.
template <class Out>
[[gnu::always_inline]] inline void sum_few_columns(const Tile& tile, std::int64_t column, int count) {
  const std::int64_t stride = tile.stride[1], step = tile.row_stride[1];
  const float* x = static_cast<const float*>(tile.data[1]) + column * stride;
  double totals[kSumLanes] = {};
  for (std::int64_t rows = tile.rows; rows > 0; rows -= kShortSum) {
    float sums[kSumLanes] = {};
    for (std::int64_t left = rows < kShortSum ? rows : kShortSum; left > 0; --left, x += step) {
      for (int l = 0; l < count; ++l) sums[l] += x[l * stride];
    }
    for (int l = 0; l < count; ++l) totals[l] += static_cast<double>(sums[l]);
  }
  Out* out = static_cast<Out*>(tile.data[0]) + column * tile.stride[0];
  for (int l = 0; l < count; ++l) out[l * tile.stride[0]] = static_cast<Out>(totals[l]);
}

template <class Out>
void sum_columns_loop(const Tile& tile) {
  constexpr int kWide = kVectorBytes == 16 ? 8 : 4 * kSumParts;  // vectors
  constexpr std::int64_t kStep = kWide * kLanes<float>;
  std::int64_t column = 0;
  if (tile.stride[1] == 1) {
    for (; column + kStep <= tile.n; column += kStep) sum_dense_columns<Out, kWide>(tile, column);
    for (; column + kSumWidth <= tile.n; column += kSumWidth) sum_dense_columns<Out, kSumParts>(tile, column);
  }
  for (; column + kSumLanes <= tile.n; column += kSumLanes) sum_few_columns<Out>(tile, column, kSumLanes);
  if (column < tile.n) sum_few_columns<Out>(tile, column, static_cast<int>(tile.n - column));
}

}  // namespace weft::cpu::WEFT_ISA
