#include <algorithm>
#include <cstring>
#include <type_traits>

#include "core/device/integer.h"
#include "cpu/conv/depthwise_rows.h"

// 3x3 depthwise filters without gaps, at every position. A band is some adjacent rows of an image of the destination:
//
//   source   ─────────────────   one row more     A kernel walks down the band with 4 or 6 columns, one vector of
//            ─────────────────                    channels. The sums of three rows and the nine weights are in
//   band     ├────┬────┬────┤     of columns       registers: each element of the source is loaded once for the nine
//            │tile│tile│tile│                     products that it takes part in, and a row is written once it is
//            ├────┴────┴────┤                     complete.
//            ─────────────────   one row more
//
// A band is fetched into the second-level cache while the one before it is summed.
namespace weft::cpu {

WEFT_SIMD_DEFINE(DepthwiseBandKernels, depthwise_band_kernels)

namespace {

// The limit of a band, whichever is more: where rows are not very wide, a band fits a second-level cache together with
// the source that it reads and with the next band, which is being fetched.
constexpr std::int64_t kBandRows = 4, kBandBytes = 128 << 10;
// Columns that are a multiple of kCrowdedBytes apart share two sets of a first-level cache. Where results are not
// streamed, it pays to copy blocks of channels, kBlockBytes of each column, next to each other first.
constexpr std::int64_t kCrowdedBytes = 2048, kBlockBytes = 256;
constexpr std::int64_t kCacheLine = 64;            // streamed whole or not at all
constexpr std::int64_t kStreamedBytes = 32 << 20;  // of source and destination: more than last-level caches keep

bool is_three_taps(const TapAxis& axis) { return axis.taps == 3 && axis.step == 1 && axis.tap_step == 1; }

/// A band with all that bands have in common.
template <class T>
DepthwiseBand<T> any_band(const ConvColumns& columns, const std::array<std::int64_t, 3>& filter, const T* weight,
                          const T* start) {
  const auto& [depth, height, width] = columns.axes;
  const std::int64_t tap = (depth.first_tap * filter[1] + height.first_tap) * filter[2] + width.first_tap;
  DepthwiseBand<T> band;
  band.channels = band.source_stride = band.out_stride = columns.channels;
  band.source_rows = height.in;
  band.source_columns = width.in;
  band.columns = width.out;
  band.row_offset = height.offset;
  band.column_offset = width.offset;
  band.weight = weight + tap * band.channels;
  band.weight_row_stride = height.tap_stride * filter[2] * band.channels;
  band.weight_stride = width.tap_stride * band.channels;
  band.start = start;
  return band;
}

/// Whether whole cache lines can be written, and no cache would keep them.
template <class T>
bool can_stream(Isa isa, std::int64_t elements, std::int64_t channels, const T* out) {
  constexpr std::int64_t kBytes = sizeof(T);
  const bool whole = depthwise_kernels(isa).vector_bytes == kCacheLine && channels * kBytes % kCacheLine == 0;
  const bool aligned = reinterpret_cast<std::uintptr_t>(out) % static_cast<std::uintptr_t>(kCacheLine) == 0;
  return whole && aligned && elements * kBytes > kStreamedBytes;
}

/// Sums a band in blocks of channels, and first copies the source of each block together.
template <class T>
void sum_blocks(const DepthwiseBand<T>& band, Isa isa) {
  constexpr std::int64_t kBlock = kBlockBytes / static_cast<std::int64_t>(sizeof(T));
  const std::int64_t first = std::max<std::int64_t>(0, band.begin + band.row_offset);
  const std::int64_t last = std::max(first, std::min(band.source_rows, band.end + band.row_offset + 2));
  const std::int64_t columns = (last - first) * band.source_columns;
  T* const packed = static_cast<T*>(scratch(ScratchSlot::task, static_cast<std::size_t>(columns * kBlockBytes)));
  const auto fetched = static_cast<std::uintptr_t>((band.end - band.begin) * band.columns * kBlockBytes);
  DepthwiseBand<T> part = band;
  part.channels = part.source_stride = kBlock;
  part.source = packed;
  part.source_rows = last - first;
  part.row_offset -= first;
  for (std::int64_t channel = 0; channel < band.channels; channel += kBlock) {
    for (std::int64_t i = 0; i < columns; ++i) {
      const std::int64_t column = first * band.source_columns + i;
      std::memcpy(packed + i * kBlock, band.source + column * band.source_stride + channel, kBlockBytes);
    }
    part.weight = band.weight + channel;
    part.start = band.start == nullptr ? nullptr : band.start + channel;
    part.out = band.out + channel;
    of<T>(depthwise_band_kernels(isa))(part);
    if (band.next_source == 0) continue;
    part.next_source += fetched;
    part.next_out += fetched;
  }
}

}  // namespace

bool fits_bands(const ConvColumns& columns) {
  const auto& [depth, height, width] = columns.axes;
  const bool flat = depth.taps == 1 && depth.step == 1 && depth.offset == 0 && depth.in == depth.out;
  return flat && is_three_taps(height) && is_three_taps(width);
}

template <class T>
void depthwise_bands(Isa isa, const ConvColumns& columns, const std::array<std::int64_t, 3>& filter, const T* source,
                     const T* weight, const T* start, T* out) {
  const TapAxis& height = columns.axes[1];
  const std::int64_t images = columns.n * columns.axes[0].out;
  const std::int64_t source_line = columns.axes[2].in * columns.channels;
  const std::int64_t line = columns.axes[2].out * columns.channels;
  if (images * height.out * line == 0) return;
  DepthwiseBand<T> all = any_band(columns, filter, weight, start);
  const std::int64_t elements = images * (height.in * source_line + height.out * line);
  if (can_stream(isa, elements, columns.channels, out)) all.streaming = Streaming::yes;

  const std::int64_t line_bytes = line * static_cast<std::int64_t>(sizeof(T));
  const bool crowded =
      columns.channels * static_cast<std::int64_t>(sizeof(T)) % kCrowdedBytes == 0 && all.streaming == Streaming::no;
  const std::int64_t rows = even_part(height.out, std::max(kBandRows, kBandBytes / line_bytes));
  const std::int64_t bands = ceil_div(height.out, rows), total = images * bands;
  parallel_blocks(total, depthwise_grain(total, rows * line_bytes), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      DepthwiseBand<T> band = all;
      band.begin = i % bands * rows;
      band.end = std::min(band.begin + rows, height.out);
      band.source = source + i / bands * height.in * source_line;
      band.out = out + i / bands * height.out * line;
      if (i + 1 < last) {
        const std::int64_t read = std::clamp<std::int64_t>(band.end + height.offset + 2, 0, height.in);
        band.next_source = reinterpret_cast<std::uintptr_t>(band.source + read * source_line);
        band.next_out = reinterpret_cast<std::uintptr_t>(band.out + band.end * line);
      }
      crowded ? sum_blocks(band, isa) : of<T>(depthwise_band_kernels(isa))(band);
    }
  });
}

template void depthwise_bands<float>(Isa, const ConvColumns&, const std::array<std::int64_t, 3>&, const float*,
                                     const float*, const float*, float*);
template void depthwise_bands<double>(Isa, const ConvColumns&, const std::array<std::int64_t, 3>&, const double*,
                                      const double*, const double*, double*);

}  // namespace weft::cpu
