#include <algorithm>
#include <type_traits>

#include "cpu/depthwise_rows.h"

namespace weft::cpu {

WEFT_SIMD_DEFINE(DepthwiseBandKernels, depthwise_band_kernels)

namespace {

constexpr std::int64_t kBandRows = 4, kBandBytes = 128 << 10;  // of a destination, at least; two fit a second level
constexpr std::int64_t kTaskBytes = 128 << 10;                 // of a destination, at least
constexpr std::int64_t kCacheLine = 64;                        // parts of one must not be streamed one by one
constexpr std::int64_t kStreamedBytes = 32 << 20;  // of source and destination, more than last-level caches keep

bool is_three_taps(const TapAxis& axis) { return axis.taps == 3 && axis.step == 1 && axis.tap_step == 1; }

template <class T>
void run(const DepthwiseBand<T>& band, Isa isa) {
  if constexpr (std::is_same_v<T, float>) {
    depthwise_band_kernels(isa).f32(band);
  } else {
    depthwise_band_kernels(isa).f64(band);
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
  constexpr std::int64_t kBytes = sizeof(T);
  const auto& [depth, height, width] = columns.axes;
  const std::int64_t k = columns.channels, images = columns.n * depth.out;
  const std::int64_t source_line = width.in * k, line = width.out * k;
  if (images * height.out * line == 0) return;
  const std::int64_t tap = (depth.first_tap * filter[1] + height.first_tap) * filter[2] + width.first_tap;

  DepthwiseBand<T> all;
  all.channels = k;
  all.source_rows = height.in;
  all.source_columns = width.in;
  all.columns = width.out;
  all.row_offset = height.offset;
  all.column_offset = width.offset;
  all.weight = weight + tap * k;
  all.weight_row_stride = height.tap_stride * filter[2] * k;
  all.weight_stride = width.tap_stride * k;
  all.start = start;
  const std::int64_t vector_bytes = depthwise_kernels(isa).vector_bytes;
  const bool aligned = reinterpret_cast<std::uintptr_t>(out) % static_cast<std::uintptr_t>(vector_bytes) == 0;
  const bool large = images * (height.in * source_line + height.out * line) * kBytes > kStreamedBytes;
  if (large && aligned && k * kBytes % vector_bytes == 0 && vector_bytes == kCacheLine) all.streaming = Streaming::yes;

  const std::int64_t band_rows = even_part(height.out, std::max(kBandRows, kBandBytes / (line * kBytes)));
  const std::int64_t bands = ceil_div(height.out, band_rows), total = images * bands;
  const std::int64_t grain =
      std::max(ceil_div(total, kDepthwiseTasks * thread_count()), ceil_div(kTaskBytes, band_rows * line * kBytes));
  parallel_blocks(total, grain, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      DepthwiseBand<T> band = all;
      band.begin = i % bands * band_rows;
      band.end = std::min(band.begin + band_rows, height.out);
      band.source = source + i / bands * height.in * source_line;
      band.out = out + i / bands * height.out * line;
      if (i + 1 < last) {
        const std::int64_t read = std::clamp<std::int64_t>(band.end + height.offset + 2, 0, height.in);
        band.next_source = band.source + read * source_line;
        band.next_out = band.out + band.end * line;
      }
      run(band, isa);
    }
  });
}

template void depthwise_bands<float>(Isa, const ConvColumns&, const std::array<std::int64_t, 3>&, const float*,
                                     const float*, const float*, float*);
template void depthwise_bands<double>(Isa, const ConvColumns&, const std::array<std::int64_t, 3>&, const double*,
                                      const double*, const double*, double*);

}  // namespace weft::cpu
