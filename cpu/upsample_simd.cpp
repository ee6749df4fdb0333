#include "cpu/upsample.h"

#include "cpu/pack.h"

namespace weft::cpu::WEFT_ISA {
namespace {

template <class T>
bool is_one_pixel(const UpsampleRow<T>& row, const WeightedRange<T>& columns) {
  return row.depth.end - row.depth.begin == 1 && row.height.end - row.height.begin == 1 &&
         columns.end - columns.begin == 1;
}

template <class T>
std::int64_t pixel_of(const UpsampleRow<T>& row, std::int64_t d, std::int64_t h, std::int64_t w) {
  return (d * row.source_height + h) * row.source_width + w;
}

template <class T>
void weighted_sum(const UpsampleRow<T>& row, const T* source, T* out) {
  for (std::int64_t pixel = 0; pixel < row.pixels; ++pixel, out += row.channels) {
    const WeightedRange<T> columns = row.columns[pixel];
    const bool one = is_one_pixel(row, columns);
    for_packs<Tail::overlapping, T>(row.channels, [&](auto packs, std::int64_t channel) {
      using P = typename decltype(packs)::Pack;
      constexpr int kPacks = packs.kCount, kWidth = packs.kWidth;
      if (one) {
        const std::int64_t at = pixel_of(row, row.depth.begin, row.height.begin, columns.begin);
        const T weight = row.depth.weights[0] * row.height.weights[0] * columns.weights[0];
        for (int i = 0; i < kPacks; ++i)
          put(out + channel + i * kWidth, get<P>(source + at * row.channels + channel + i * kWidth) * weight);
        return;
      }
      P total[kPacks] = {};
      for (std::int64_t d = row.depth.begin; d < row.depth.end; ++d) {
        for (std::int64_t h = row.height.begin; h < row.height.end; ++h) {
          const T line = row.depth.weights[d - row.depth.begin] * row.height.weights[h - row.height.begin];
          const T* p = source + pixel_of(row, d, h, columns.begin) * row.channels + channel;
          for (std::int64_t w = 0; w < columns.end - columns.begin; ++w, p += row.channels) {
            const P weight = all<P>(static_cast<T>(line * columns.weights[w]));
            for (int i = 0; i < kPacks; ++i) total[i] = mul_add<T>(get<P>(p + i * kWidth), weight, total[i]);
          }
        }
      }
      for (int i = 0; i < kPacks; ++i) put(out + channel + i * kWidth, total[i]);
    });
  }
}

}  // namespace

const UpsampleKernels upsample_kernels = {weighted_sum<float>, weighted_sum<double>};

}  // namespace weft::cpu::WEFT_ISA
