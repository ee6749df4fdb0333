#include "core/device/integer.h"
#include "cpu/conv/depthwise_kernels.h"
#include "cpu/runtime/vector_loop.h"

namespace weft::cpu::WEFT_ISA {
namespace {

// Columns whose sums for three rows fit the registers with nine weights and one value: AVX-512 has 32 registers. With
// 16 registers, the weights are read from memory.
constexpr int kMostColumns = kVectorBytes == 64 ? 6 : 4;

/// Writes a whole cache line past the caches, where a vector is one.
template <class T>
[[gnu::always_inline]] inline void stream(T* p, Vec<T> v) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(p), reinterpret_cast<__m512i>(v));
#else
  store(p, v);
#endif
}

/// Makes what was streamed visible before what is written later.
inline void end_streaming() {
#if defined(__AVX512F__)
  _mm_sfence();
#endif
}

/// Asks for `count` vectors of the memory after the band, starting with vector `first`, for the second-level cache.
template <Streaming streaming, class T>
[[gnu::always_inline]] inline void fetch_next(const DepthwiseBand<T>& band, std::int64_t first, int count) {
  for (int i = 0; i < count; ++i) {
    const auto distance = static_cast<std::uintptr_t>(first + i) * kVectorBytes;
    __builtin_prefetch(reinterpret_cast<const void*>(band.next_source + distance), 0, 2);
    if (streaming == Streaming::no) __builtin_prefetch(reinterpret_cast<const void*>(band.next_out + distance), 0, 2);
  }
}

/// Bit j says whether the source has column first + j.
inline unsigned columns_inside(std::int64_t first, int count, std::int64_t columns) {
  unsigned inside = 0;
  for (int j = 0; j < count; ++j) {
    if (first + j >= 0 && first + j < columns) inside |= 1U << j;
  }
  return inside;
}

template <class P, class T>
[[gnu::always_inline]] inline void load_weight(const DepthwiseBand<T>& band, std::int64_t channel, P (&weight)[3][3]) {
  WEFT_UNROLL
  for (int r = 0; r < 3; ++r) {
    WEFT_UNROLL
    for (int t = 0; t < 3; ++t) {
      weight[r][t] = get<P>(band.weight + r * band.weight_row_stride + t * band.weight_stride + channel);
    }
  }
}

/// Adds the products of a line, from column `column` on, with rows first..last of the filter. sum[2 - r] is of the row
/// that meets it in row r.
template <int first, int last, int kColumns, class P, class T>
[[gnu::always_inline]] inline void add_line(const T* line, std::int64_t column, std::int64_t stride, unsigned inside,
                                            const P (&weight)[3][3], P (&sum)[3][kColumns]) {
  WEFT_UNROLL
  for (int j = 0; j < kColumns + 2; ++j) {
    if ((inside >> j & 1U) == 0) continue;
    const P value = get<P>(line + (column + j) * stride);
    WEFT_UNROLL
    for (int r = first; r <= last; ++r) {
      WEFT_UNROLL
      for (int t = 0; t < 3; ++t) {
        if (j >= t && j - t < kColumns) sum[2 - r][j - t] = mul_add<T>(value, weight[r][t], sum[2 - r][j - t]);
      }
    }
  }
}

template <Streaming streaming, int kColumns, class P, class T>
[[gnu::always_inline]] inline void write_row(const P (&sum)[kColumns], T* out, std::int64_t stride) {
  WEFT_UNROLL
  for (int b = 0; b < kColumns; ++b) {
    if constexpr (streaming == Streaming::yes) {
      stream(out + b * stride, sum[b]);
    } else {
      put(out + b * stride, sum[b]);
    }
  }
}

/// One vector of channels of kColumns columns, down all rows: each value of the source is loaded once for the nine
/// products that it takes part in. Fetches what follows the band, from vector `fetched` on.
template <Streaming streaming, int kColumns, class P, class T>
void tile(const DepthwiseBand<T>& band, std::int64_t column, std::int64_t channel, std::int64_t fetched) {
  const std::int64_t rows = band.end - band.begin, first = column + band.column_offset;
  const std::int64_t stride = band.source_stride, line = band.source_columns * stride;
  const std::int64_t out_stride = band.out_stride, out_line = band.columns * out_stride;
  const unsigned inside = columns_inside(first, kColumns + 2, band.source_columns);
  const P start = band.start == nullptr ? P{} : get<P>(band.start + channel);
  P weight[3][3], sum[3][kColumns];
  load_weight(band, channel, weight);
  WEFT_UNROLL
  for (int b = 0; b < kColumns; ++b) sum[0][b] = sum[1][b] = sum[2][b] = start;
  const std::int64_t first_row = band.begin + band.row_offset;
  T* out = band.out + band.begin * out_line + column * out_stride + channel;
  for (std::int64_t i = 0; i < rows + 2; ++i) {
    if (const std::int64_t row = first_row + i; row >= 0 && row < band.source_rows) {
      const T* const source = band.source + row * line + channel;
      if (i >= 2 && i < rows) {
        add_line<0, 2>(source, first, stride, inside, weight, sum);
      } else {
        if (i < rows) add_line<0, 0>(source, first, stride, inside, weight, sum);
        if (i >= 1 && i <= rows) add_line<1, 1>(source, first, stride, inside, weight, sum);
        if (i >= 2) add_line<2, 2>(source, first, stride, inside, weight, sum);
      }
    }
    if (i >= 2) {
      write_row<streaming>(sum[0], out, out_stride);
      out += out_line;
      if (sizeof(P) > sizeof(T) && band.next_source != 0) {
        fetch_next<streaming>(band, fetched + (i - 2) * kColumns, kColumns);
      }
    }
    WEFT_UNROLL
    for (int b = 0; b < kColumns; ++b) {
      sum[0][b] = sum[1][b];
      sum[1][b] = sum[2][b];
      sum[2][b] = start;
    }
  }
}

template <int kColumns, class T>
void tile_channels(const DepthwiseBand<T>& band, std::int64_t column) {
  constexpr std::int64_t kWidth = kLanes<T>;
  std::int64_t c = 0;
  if (band.channels < kWidth) {
    for (; c < band.channels; ++c) tile<Streaming::no, kColumns, T>(band, column, c, 0);
    return;
  }
  const std::int64_t rows = band.end - band.begin;
  std::int64_t fetched = column * rows * (band.channels / kWidth);
  for (; c + kWidth <= band.channels; c += kWidth, fetched += kColumns * rows) {
    if (band.streaming == Streaming::yes) {
      tile<Streaming::yes, kColumns, Vec<T>>(band, column, c, fetched);
    } else {
      tile<Streaming::no, kColumns, Vec<T>>(band, column, c, fetched);
    }
  }
  if (c < band.channels) tile<Streaming::no, kColumns, Vec<T>>(band, column, band.channels - kWidth, fetched);
}

template <class T, int kColumns = kMostColumns>
void tile_of(const DepthwiseBand<T>& band, std::int64_t column, std::int64_t columns) {
  if (columns == kColumns) return tile_channels<kColumns>(band, column);
  if constexpr (kColumns > 1) tile_of<T, kColumns - 1>(band, column, columns);
}

template <class T>
void band_of(const DepthwiseBand<T>& band) {
  std::int64_t column = 0;
  for (std::int64_t tiles = ceil_div(band.columns, kMostColumns); tiles > 0; --tiles) {
    const std::int64_t columns = ceil_div(band.columns - column, tiles);
    tile_of(band, column, columns);
    column += columns;
  }
  if (band.streaming == Streaming::yes) end_streaming();
}

}  // namespace

const DepthwiseBandKernels depthwise_band_kernels = {band_of<float>, band_of<double>};

}  // namespace weft::cpu::WEFT_ISA
