#include "core/device/integer.h"
#include "cpu/conv/conv_kernels.h"
#include "cpu/runtime/vec.h"

namespace weft::cpu::WEFT_ISA {
namespace {

using std::int64_t;

// Register tile: kRows x 2 vectors of sums, 2 of weights and a broadcast column fill 16 or 32 registers.
constexpr int kRows = kVectorBytes == 64 ? kConvRows : 6;

constexpr int kAhead = 24;  // rows of weights to prefetch: they stream from the second-level cache

// Between the rows of the packed panel: a cache line more than kConvInner, so that rows do not share cache sets.
template <class T>
constexpr int64_t kStride = kConvInner + 64 / static_cast<int>(sizeof(T));

template <int count, class T>
inline void copy_fixed(T* to, const T* from) {
  std::memcpy(to, from, count * sizeof(T));
}

template <class T>
inline void copy(T* to, const T* from, int64_t n) {
  constexpr int kL = kLanes<T>;
  if (n >= kL) {
    for (int64_t i = 0; i + kL <= n; i += kL) copy_fixed<kL>(to + i, from + i);
    copy_fixed<kL>(to + n - kL, from + n - kL);
    return;
  }
  if (kL > 8 && n >= 8) {
    copy_fixed<8>(to, from);
    copy_fixed<8>(to + n - 8, from + n - 8);
  } else if (kL > 4 && n >= 4) {
    copy_fixed<4>(to, from);
    copy_fixed<4>(to + n - 4, from + n - 4);
  } else {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i];
  }
}

template <class T>
void pack(const ConvPanel<T>& g) {
  T* to = g.workspace;
  for (int64_t i = 0; i < g.run_count; ++i) {
    const ConvRun& run = g.runs[i];
    const T* from = g.source + run.source;
    for (int64_t r = 0; r < g.rows; ++r) {
      if (r >= run.first_row && r < run.end_row) {
        copy(to + r * kStride<T>, from + r * g.source_stride, run.length);
      } else {
        for (int64_t p = 0; p < run.length; ++p) to[r * kStride<T> + p] = T{0};
      }
    }
    to += run.length;
  }
}

/// out (R, V vectors) = start + panel · weight block, chain by chain.
template <class T, int R, int V>
void multiply(const ConvPanel<T>& g, const T* weight, const T* start, int64_t start_stride, T* out,
              int64_t out_stride) {
  constexpr int kL = kLanes<T>;
  const T* a = g.workspace;
  int64_t i = 0;
  for (int64_t end = g.first_chain;; end = g.run_count) {
    const bool begins = start_stride == 0;  // then start is one more term of the chain, otherwise a sum of chains
    Vec<T> sum[R][V] = {};
    if (begins) {
      WEFT_UNROLL for (int v = 0; v < V; ++v) {
        const Vec<T> first = load(start + v * kL);
        WEFT_UNROLL for (int r = 0; r < R; ++r) sum[r][v] = first;
      }
    } else {
      WEFT_UNROLL for (int r = 0; r < R; ++r) {
        WEFT_UNROLL for (int v = 0; v < V; ++v) __builtin_prefetch(start + r * start_stride + v * kL, 1);
      }
    }
    for (; i < end; ++i) {
      const T* b = weight + g.runs[i].inner * (V * kL);
      for (const T* last = a + g.runs[i].length; a < last; ++a, b += V * kL) {
        WEFT_UNROLL for (int v = 0; v < V; ++v) __builtin_prefetch(b + (kAhead * V + v) * kL);
        Vec<T> row[V];
        WEFT_UNROLL for (int v = 0; v < V; ++v) row[v] = load(b + v * kL);
        WEFT_UNROLL for (int r = 0; r < R; ++r) {
          const Vec<T> x = splat(a[r * kStride<T>]);
          WEFT_UNROLL for (int v = 0; v < V; ++v) sum[r][v] = fma<T>(x, row[v], sum[r][v]);
        }
      }
    }
    if (!begins) {
      WEFT_UNROLL for (int r = 0; r < R; ++r) {
        WEFT_UNROLL for (int v = 0; v < V; ++v) sum[r][v] = load(start + r * start_stride + v * kL) + sum[r][v];
      }
    }
    WEFT_UNROLL for (int r = 0; r < R; ++r) {
      WEFT_UNROLL for (int v = 0; v < V; ++v) store(out + r * out_stride + v * kL, sum[r][v]);
    }
    if (end == g.run_count) return;
    start = out;
    start_stride = out_stride;
  }
}

template <class T, int V, int R = kRows>
inline void multiply_rows(const ConvPanel<T>& g, const T* weight, const T* start, int64_t start_stride, T* out,
                          int64_t out_stride) {
  if constexpr (R > 1) {
    if (g.rows < R) return multiply_rows<T, V, R - 1>(g, weight, start, start_stride, out, out_stride);
  }
  multiply<T, R, V>(g, weight, start, start_stride, out, out_stride);
}

/// Columns [col, col + cols) of out, cols <= V vectors: part of a block goes by way of a whole one.
template <class T, int V>
void multiply_block(const ConvPanel<T>& g, const T* weight, int64_t col, int64_t cols) {
  constexpr int64_t kWidth = V * kLanes<T>;
  if (cols == kWidth) {
    multiply_rows<T, V>(g, weight, g.start + col, g.start_stride, g.out + col, g.out_stride);
    return;
  }
  T whole[kRows * kWidth] = {};
  if (g.start_stride == 0) {
    multiply_rows<T, V>(g, weight, g.start + col, 0, whole, kWidth);
  } else {
    for (int64_t r = 0; r < g.rows; ++r) copy(whole + r * kWidth, g.start + r * g.start_stride + col, cols);
    multiply_rows<T, V>(g, weight, whole, kWidth, whole, kWidth);
  }
  for (int64_t r = 0; r < g.rows; ++r) copy(g.out + r * g.out_stride + col, whole + r * kWidth, cols);
}

template <class T>
void panel(const ConvPanel<T>& g) {
  constexpr int64_t kL = kLanes<T>;
  pack(g);
  const T* weight = g.weight;
  int64_t col = 0;
  for (; g.cols - col > kL; col += 2 * kL, weight += g.weight_inner * 2 * kL) {
    multiply_block<T, 2>(g, weight, col, g.cols - col < 2 * kL ? g.cols - col : 2 * kL);
  }
  if (col < g.cols) multiply_block<T, 1>(g, weight, col, g.cols - col);
}

/// sum (R, V vectors) += source columns [0, R) transposed · y, over all rows; kTail: of y only `cols` < a vector exist.
template <class T, int R, int V, bool kTail>
void accumulate(const ConvSum<T>& g, const T* source, const T* y, int64_t cols, T* sums) {
  constexpr int kL = kLanes<T>;
  Vec<T> sum[R][V] = {};
  for (int64_t i = 0; i < g.run_count; ++i) {
    const T* a = source + g.runs[i].source;
    const T* b = y + g.runs[i].y;
    for (int64_t row = g.runs[i].rows; row > 0; --row, a += g.source_stride, b += g.y_stride) {
      Vec<T> value[V];
      WEFT_UNROLL for (int v = 0; v < V; ++v) value[v] = kTail ? load_first(b, cols) : load(b + v * kL);
      WEFT_UNROLL for (int r = 0; r < R; ++r) {
        const Vec<T> x = splat(a[r]);
        WEFT_UNROLL for (int v = 0; v < V; ++v) sum[r][v] = fma<T>(x, value[v], sum[r][v]);
      }
    }
  }
  WEFT_UNROLL for (int r = 0; r < R; ++r) {
    WEFT_UNROLL for (int v = 0; v < V; ++v) {
      T* const to = sums + r * g.sum_stride + v * kL;
      store(to, load(to) + sum[r][v]);
    }
  }
}

template <class T, int V, bool kTail, int R = kRows>
inline void accumulate_channels(const ConvSum<T>& g, int64_t channels, const T* source, const T* y, int64_t cols,
                                T* sums) {
  if constexpr (R > 1) {
    if (channels < R) return accumulate_channels<T, V, kTail, R - 1>(g, channels, source, y, cols, sums);
  }
  accumulate<T, R, V, kTail>(g, source, y, cols, sums);
}

template <class T>
void sum(const ConvSum<T>& g) {
  constexpr int64_t kL = kLanes<T>;
  const int64_t tile = even_part(g.channels, kRows);
  for (int64_t col = 0; col < g.cols;) {
    const int64_t left = g.cols - col;
    for (int64_t c = 0; c < g.channels; c += tile) {
      const int64_t channels = g.channels - c < tile ? g.channels - c : tile;
      T* sums = g.sum + c * g.sum_stride + col;
      if (left >= 2 * kL) {
        accumulate_channels<T, 2, false>(g, channels, g.source + c, g.y + col, left, sums);
      } else if (left >= kL) {
        accumulate_channels<T, 1, false>(g, channels, g.source + c, g.y + col, left, sums);
      } else {
        accumulate_channels<T, 1, true>(g, channels, g.source + c, g.y + col, left, sums);
      }
    }
    col += left >= 2 * kL ? 2 * kL : kL;
  }
}

}  // namespace

const ConvKernels conv_kernels = {{panel<float>, sum<float>}, {panel<double>, sum<double>}, kRows, kVectorBytes};

}  // namespace weft::cpu::WEFT_ISA
