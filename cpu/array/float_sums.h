#pragma once

// Sums of f32 rows and columns, with 64 bytes of totals in double on every instruction set, so that they have the same
// bits on all of them. For reduce_simd.cpp.

#include "cpu/array/long_sum.h"
#include "cpu/array/tile.h"

namespace weft::cpu::WEFT_ISA {

inline constexpr int kSumWidth = 64 / static_cast<int>(sizeof(float));
inline constexpr int kSumParts = 64 / kVectorBytes;
inline constexpr int kSumRows = 32;              // of dense columns that are added in f32, in pairs
inline constexpr int kSumLanes = 8;              // of elements that do not lie beside one another
inline constexpr std::int64_t kMostFolded = 64;  // columns that are fewer are folded

/// The sum of `count` lanes, a power of two, as a binary tree.
template <class T, int count>
[[gnu::always_inline]] inline T sum_lanes(T (&lanes)[count]) {
  for (int half = count / 2; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  }
  return lanes[0];
}

template <int bytes>
struct Doubles {
  typedef double Type __attribute__((vector_size(bytes)));
};

/// The same of the lanes of a vector.
template <int bytes>
[[gnu::always_inline]] inline double sum_vector(typename Doubles<bytes>::Type v) {
  if constexpr (bytes == 16) {
    return v[0] + v[1];
  } else {
    typename Doubles<bytes / 2>::Type halves[2];
    std::memcpy(halves, &v, sizeof halves);
    return sum_vector<bytes / 2>(halves[0] + halves[1]);
  }
}

/// parts += the next `count` times 64 bytes, if that much lies before `end`; x moves on.
template <int count>
[[gnu::always_inline]] inline void add_rest(Vec<float> (&parts)[kSumParts], const float*& x, const float* end) {
  if (end - x < count * kSumWidth) return;
  WEFT_UNROLL
  for (int p = 0; p < kSumParts; ++p) parts[p] += pairwise<count>(x + p * kLanes<float>, kSumWidth);
  x += count * kSumWidth;
}

/// Masks of the last lanes of 64 bytes: those of the last i from element i on.
inline constexpr std::int32_t kLastLanes[2 * kSumWidth] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};

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
  if (x < end) {  // the last 64 bytes without what has been added
    WEFT_UNROLL
    for (int p = 0; p < kSumParts; ++p) {
      const int at = p * kLanes<float>;
      const auto kept = (Vec<std::int32_t>)load(end - kSumWidth + at) & load(kLastLanes + (end - x) + at);
      parts[p] += (Vec<float>)kept;
    }
  }
  WEFT_UNROLL
  for (int p = 0; p < kSumParts; ++p) add_wide(totals + 2 * p, parts[p]);
  WEFT_UNROLL
  for (int half = kSumParts; half > 0; half /= 2) {
    WEFT_UNROLL
    for (int v = 0; v < half; ++v) totals[v] += totals[v + half];
  }
  return sum_vector<kVectorBytes>(totals[0]);
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

/// sums = those of kSumRows rows of `count` vectors: of pairs of rows, one pair after another. Without a loop, whose
/// end would be guessed wrong again and again, the loads run ahead.
template <int count>
[[gnu::always_inline]] inline void add_many_rows(Vec<float> (&sums)[count], const float* x, std::int64_t stride) {
  WEFT_UNROLL
  for (Vec<float>& sum : sums) sum = Vec<float>{};
#pragma GCC unroll 1
  for (int row = 0; row < kSumRows; row += 2, x += 2 * stride) {
    WEFT_UNROLL
    for (int v = 0; v < count; ++v) sums[v] += load(x + v * kLanes<float>) + load(x + stride + v * kLanes<float>);
  }
}

/// sums = those of at most kShortSum rows, one after another.
template <int count>
[[gnu::always_inline]] inline void add_few_rows(Vec<float> (&sums)[count], const float* x, std::int64_t rows,
                                                std::int64_t stride) {
  WEFT_UNROLL
  for (Vec<float>& sum : sums) sum = Vec<float>{};
#pragma GCC unroll 1
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
    add_few_rows(sums, x, tile.rows, stride);
    std::memcpy(values, sums, sizeof values);
    return write(values);
  }
  Vec<double> totals[2 * count] = {};
  const auto add = [&] {
    WEFT_UNROLL
    for (int v = 0; v < count; ++v) add_wide(totals + 2 * v, sums[v]);
  };
  std::int64_t rows = tile.rows;
  for (; rows >= kSumRows; rows -= kSumRows, x += kSumRows * stride) {
    add_many_rows(sums, x, stride);
    add();
  }
  for (; rows > 0; rows -= kShortSum, x += kShortSum * stride) {
    add_few_rows(sums, x, rows < kShortSum ? rows : kShortSum, stride);
    add();
  }
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
void sum_columns_loop(const Tile& tile);

/// Columns that fill no whole number of 64 bytes, in rows that lie densely one after another: several rows are seen as
/// one that does.
template <class Out>
[[gnu::noinline]] void sum_folded_columns(const Tile& tile) {
  double totals[kMostFolded * kSumWidth];
  const std::int64_t fold = kSumWidth / (tile.n & -tile.n), width = fold * tile.n, wide_rows = tile.rows / fold;
  Tile wide = tile;
  wide.data[0] = totals;
  wide.rows = wide_rows;
  wide.n = width;
  wide.stride[0] = 1;
  wide.row_stride[1] = width;
  sum_columns_loop<double>(wide);
  const float* rest = static_cast<const float*>(tile.data[1]) + wide_rows * width;
  const std::int64_t left = (tile.rows - wide_rows * fold) * tile.n;
  for (std::int64_t i = 0; i < left; ++i) totals[i] += static_cast<double>(rest[i]);
  for (std::int64_t first = tile.n; first < width; first += tile.n) {
    for (std::int64_t i = 0; i < tile.n; ++i) totals[i] += totals[first + i];
  }
  Out* out = static_cast<Out*>(tile.data[0]);
  for (std::int64_t i = 0; i < tile.n; ++i) out[i * tile.stride[0]] = static_cast<Out>(totals[i]);
}

template <class Out>
void sum_columns_loop(const Tile& tile) {
  constexpr int kWide = kVectorBytes == 16 ? 8 : 4 * kSumParts;  // vectors
  constexpr std::int64_t kStep = kWide * kLanes<float>;
  const std::int64_t n = tile.n;
  std::int64_t column = 0;
  if (tile.stride[1] == 1) {
    if (n < kMostFolded && n % kSumWidth != 0 && tile.row_stride[1] == n && tile.rows > kShortSum)
      return sum_folded_columns<Out>(tile);
    for (; column + kStep <= n; column += kStep) sum_dense_columns<Out, kWide>(tile, column);
    for (; column + kSumWidth <= n; column += kSumWidth) sum_dense_columns<Out, kSumParts>(tile, column);
    if (column < n && n >= kSumWidth) return sum_dense_columns<Out, kSumParts>(tile, n - kSumWidth);  // some again
  }
  for (; column + kSumLanes <= n; column += kSumLanes) sum_few_columns<Out>(tile, column, kSumLanes);
  if (column < n) sum_few_columns<Out>(tile, column, static_cast<int>(n - column));
}

}  // namespace weft::cpu::WEFT_ISA
