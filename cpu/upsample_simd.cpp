#include "cpu/upsample.h"

#include "cpu/long_sum.h"

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

/// Whether sums over the box need more than f32.
template <class T>
bool is_long(const UpsampleRow<T>& row, const WeightedRange<T>& columns) {
  const std::int64_t lines = (row.depth.end - row.depth.begin) * (row.height.end - row.height.begin);
  return sizeof(T) == sizeof(float) && lines * (columns.end - columns.begin) > kShortSum;
}

/// out (count packs) = the weighted sums of the box.
template <class Sums, class P, int count, class T>
[[gnu::always_inline]] inline void sum_box(const UpsampleRow<T>& row, const WeightedRange<T>& columns, const T* source,
                                           T* out) {
  constexpr int kWidth = static_cast<int>(sizeof(P) / sizeof(T));
  Sums sums;
  [[maybe_unused]] std::int64_t terms = 0;
  for_box(row, columns, source, [&](const T* p, T weight) {
    for (int i = 0; i < count; ++i) sums.add_product(i, get<P>(p + i * kWidth), weight);
    if constexpr (Sums::kRun < INT64_MAX) {
      if (++terms % Sums::kRun == 0) sums.end_run();
    }
  });
  sums.end_run();
  for (int i = 0; i < count; ++i) put(out + i * kWidth, sums.value(i));
}

/// A product and no sum, which keeps the sign of 0.
template <class P, int count, class T>
[[gnu::always_inline]] inline void multiply_pixel(const UpsampleRow<T>& row, const WeightedRange<T>& columns,
                                                  const T* source, T* out) {
  constexpr int kWidth = static_cast<int>(sizeof(P) / sizeof(T));
  for_box(row, columns, source, [&](const T* p, T weight) {
    for (int i = 0; i < count; ++i) put(out + i * kWidth, get<P>(p + i * kWidth) * weight);
  });
}

/// A function of its own, so that the sums of a few pixels keep the registers.
template <class P, int count, class T>
[[gnu::noinline]] void sum_long_box(const UpsampleRow<T>& row, const WeightedRange<T>& columns, const T* source,
                                    T* out) {
  sum_box<LongSums<T, P, count>, P, count>(row, columns, source, out);
}

template <class P, int count, class T>
[[gnu::always_inline]] inline void sum_packs(const UpsampleRow<T>& row, const WeightedRange<T>& columns,
                                             const T* source, T* out) {
  if (is_one_pixel(row, columns)) {
    multiply_pixel<P, count>(row, columns, source, out);
  } else if (is_long(row, columns)) {
    sum_long_box<P, count>(row, columns, source, out);
  } else {
    sum_box<ShortSums<T, P, count>, P, count>(row, columns, source, out);
  }
}

/// The channels of a pixel together, where they are few: one walk through its box.
template <class T, int kChannels>
void sum_few(const UpsampleRow<T>& row, const T* source, T* out) {
  for (std::int64_t pixel = 0; pixel < row.pixels; ++pixel, out += kChannels)
    sum_packs<T, kChannels>(row, row.columns[pixel], source, out);
}

template <class T>
void sum_many(const UpsampleRow<T>& row, const T* source, T* out) {
  for (std::int64_t pixel = 0; pixel < row.pixels; ++pixel, out += row.channels) {
    const WeightedRange<T> columns = row.columns[pixel];
    for_packs<Tail::overlapping, T>(row.channels, [&](auto packs, std::int64_t channel) {
      sum_packs<typename decltype(packs)::Pack, packs.kCount>(row, columns, source + channel, out + channel);
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
