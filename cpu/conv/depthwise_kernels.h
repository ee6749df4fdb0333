#pragma once

#include <cstdint>

#include "cpu/runtime/simd.h"

// The inner part of depthwise convolutions: rows of a destination, or rows' share of the weight's gradient, with the
// channels, which lie next to each other, as a vector's lanes.
namespace weft::cpu {

/// The last spatial axis: destination column o and tap t read source column o·step + offset + t·tap_step, which is
/// padding outside [0, in); step, tap_step >= 1.
struct DepthwiseAxis {
  std::int64_t out = 0, in = 0, taps = 0;
  std::int64_t step = 1, offset = 0, tap_step = 1;
};

/// A line of the source, from its column 0 on, and the taps that meet it: (taps, channels) with a stride of the caller.
template <class T>
struct DepthwiseLine {
  const T* source;
  const T* weight;
};

/// out (axis.out, channels) = start + Σ over lines and taps, one chain (cpu/array/chains.h), of source·weight. Strides
/// count elements from a column, or a tap, to the next.
template <class T>
struct DepthwiseRow {
  DepthwiseAxis axis;
  std::int64_t channels = 0;
  const DepthwiseLine<T>* lines = nullptr;
  std::int64_t line_count = 0;
  std::int64_t source_stride = 0, weight_stride = 0, out_stride = 0;
  const T* start = nullptr;  ///< (channels), or null for zeros
  T* out = nullptr;
  std::int64_t fresh_lines = 0;  ///< the last lines, which no row before has read
};

/// A line of the source, and sums (taps, width) of its products.
template <class T>
struct DepthwiseSumLine {
  const T* source;
  T* sums;
};

/// For each line and tap, sums += Σ over `rows` rows and their columns, one chain (cpu/array/chains.h), of y·source.
/// `width` is `channels` in whole vectors if they fill one at least. The last vector ends with the last channel: there,
/// channel c has its sum at width - (channels - c), otherwise at c.
template <class T>
struct DepthwiseSum {
  DepthwiseAxis axis;
  std::int64_t channels = 0, width = 0;
  const DepthwiseSumLine<T>* lines = nullptr;
  std::int64_t line_count = 0;
  const T* y = nullptr;
  std::int64_t rows = 0, source_row = 0, y_row = 0;  ///< the latter two: strides from a row to the next
  std::int64_t source_stride = 0, y_stride = 0;
  const T* next_source = nullptr;  ///< what follows all lines in memory; after it, y, is read next
  std::int64_t fresh = 0;          ///< elements that are read there for each of y; 0: none
};

template <class T>
struct DepthwiseKernelsOf {
  void (*row)(const DepthwiseRow<T>& row);
  void (*sum)(const DepthwiseSum<T>& sum);
};

struct DepthwiseKernels {
  DepthwiseKernelsOf<float> f32;
  DepthwiseKernelsOf<double> f64;
  int vector_bytes;
};
WEFT_SIMD_DECLARE(DepthwiseKernels, depthwise_kernels)

enum class Streaming { no, yes };

/// Rows [begin, end) of an image of the destination (rows, columns, channels), for a 3x3 filter without gaps:
/// out(h, w) = start + Σ over r, t < 3 of source(h + row_offset + r, w + column_offset + t)·weight(r, t), with zeros
/// around the source (source_rows, source_columns, channels). Strides count elements from a column, or a tap, to the
/// next.
template <class T>
struct DepthwiseBand {
  std::int64_t channels = 0, source_rows = 0, source_columns = 0, columns = 0, begin = 0, end = 0;
  std::int64_t row_offset = 0, column_offset = 0;
  const T* source = nullptr;
  const T* weight = nullptr;
  std::int64_t source_stride = 0, out_stride = 0;
  std::int64_t weight_row_stride = 0, weight_stride = 0;  ///< to the next r, to the next t
  const T* start = nullptr;                               ///< (channels), or null for zeros
  T* out = nullptr;
  std::uintptr_t next_source = 0, next_out = 0;  ///< addresses of what is read and written next, to be fetched, or 0
  Streaming streaming = Streaming::no;           ///< yes: for whole vectors of 64 bytes at multiples of 64
};

struct DepthwiseBandKernels {
  void (*f32)(const DepthwiseBand<float>& band);
  void (*f64)(const DepthwiseBand<double>& band);
};
WEFT_SIMD_DECLARE(DepthwiseBandKernels, depthwise_band_kernels)

}  // namespace weft::cpu
