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

/// visit(first channel's address, weight) for every pixel of a box, in order.
template <class T, class Visit>
inline void for_box(const UpsampleRow<T>& row, const WeightedRange<T>& columns, const T* source, const Visit& visit) {
  for (std::int64_t d = row.depth.begin; d < row.depth.end; ++d) {
    for (std::int64_t h = row.height.begin; h < row.height.end; ++h) {
      const T line = row.depth.weights[d - row.depth.begin] * row.height.weights[h - row.height.begin];
      const T* p = source + pixel_of(row, d, h, columns.begin) * row.channels;
      for (std::int64_t w = 0; w < columns.end - columns.begin; ++w, p += row.channels)
        visit(p, line * columns.weights[w]);
    }
  }
}

/// The channels of a pixel together, where they are few: one walk through its box.
template <class T, int kChannels>
void sum_few(const UpsampleRow<T>& row, const T* source, T* out) {
  for (std::int64_t pixel = 0; pixel < row.pixels; ++pixel, out += kChannels) {
    const WeightedRange<T> columns = row.columns[pixel];
    T total[kChannels] = {};
    if (is_one_pixel(row, columns)) {
      for_box(row, columns, source, [&](const T* p, T weight) {
        for (int c = 0; c < kChannels; ++c) total[c] = p[c] * weight;
      });
    } else {
      for_box(row, columns, source, [&](const T* p, T weight) {
        for (int c = 0; c < kChannels; ++c) total[c] = mul_add<T>(p[c], weight, total[c]);
      });
    }
    for (int c = 0; c < kChannels; ++c) out[c] = total[c];
  }
}

template <class T>
void sum_many(const UpsampleRow<T>& row, const T* source, T* out) {
  for (std::int64_t pixel = 0; pixel < row.pixels; ++pixel, out += row.channels) {
    const WeightedRange<T> columns = row.columns[pixel];
    const bool one = is_one_pixel(row, columns);
    for_packs<Tail::overlapping, T>(row.channels, [&](auto packs, std::int64_t channel) {
      using P = typename decltype(packs)::Pack;
      constexpr int kPacks = packs.kCount, kWidth = packs.kWidth;
      P total[kPacks] = {};
      if (one) {  // a product and no sum keeps the sign of 0
        for_box(row, columns, source + channel, [&](const T* p, T weight) {
          for (int i = 0; i < kPacks; ++i) total[i] = get<P>(p + i * kWidth) * weight;
        });
      } else {
        for_box(row, columns, source + channel, [&](const T* p, T weight) {
          for (int i = 0; i < kPacks; ++i) total[i] = mul_add<T>(get<P>(p + i * kWidth), all<P>(weight), total[i]);
        });
      }
      for (int i = 0; i < kPacks; ++i) put(out + channel + i * kWidth, total[i]);
    });
  }
}

template <class T>
void weighted_sum(const UpsampleRow<T>& row, const T* source, T* out) {
  switch (row.channels) {
    case 1:
      return sum_few<T, 1>(row, source, out);
    case 2:
      return sum_few<T, 2>(row, source, out);
    case 3:
      return sum_few<T, 3>(row, source, out);
    case 4:
      return sum_few<T, 4>(row, source, out);
    default:
      return sum_many(row, source, out);
  }
}

}  // namespace

const UpsampleKernels upsample_kernels = {weighted_sum<float>, weighted_sum<double>};

}  // namespace weft::cpu::WEFT_ISA
