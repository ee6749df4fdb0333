#include "cpu/spatial/interpolate.h"

#include "cpu/array/long_sum.h"

namespace weft::cpu::WEFT_ISA {
namespace {

/// Where a line of the source begins.
template <class T>
std::int64_t line_at(const InterpolateRow<T>& row, std::int64_t d, std::int64_t h) {
  return (d * row.source_height + h) * row.source_width * row.channels;
}

/// The lines that a row of the destination depends on, where they are one or two.
template <class T>
struct Lines {
  Lines(const InterpolateRow<T>& row, const T* source)
      : count((row.depth.end - row.depth.begin) * (row.height.end - row.height.begin)) {
    if (count != 1 && count != 2) return;
    const std::int64_t last_d = row.depth.end - 1, last_h = row.height.end - 1;
    first[0] = source + line_at(row, row.depth.begin, row.height.begin);
    first[1] = source + line_at(row, last_d, last_h);
    weight[0] = row.depth.weights[0] * row.height.weights[0];
    weight[1] = row.depth.weights[last_d - row.depth.begin] * row.height.weights[last_h - row.height.begin];
  }
  /// Whether a box with these columns has one or two of each.
  bool are_few(const WeightedRange<T>& columns) const {
    const std::int64_t width = columns.end - columns.begin;
    return (count == 1 || count == 2) && (width == 1 || width == 2);
  }

  std::int64_t count;
  const T* first[2] = {};
  T weight[2] = {};
};

/// out (count vectors) = the weighted sums of a box of few lines and columns, `channel` elements on.
template <class P, int count, class T>
[[gnu::always_inline]] inline void sum_corners(const Lines<T>& lines, const WeightedRange<T>& columns,
                                               std::int64_t channels, std::int64_t channel, T* out) {
  constexpr int kWidth = static_cast<int>(sizeof(P) / sizeof(T));  // NOLINT(bugprone-sizeof-expression)
  const bool wide = columns.end - columns.begin == 2;
  const std::int64_t at = columns.begin * channels + channel;
  const T* p = lines.first[0] + at;
  const T weight = lines.weight[0] * columns.weights[0];
  if (!wide && lines.count == 1) {  // a product and no sum, which keeps the sign of 0
    for (int i = 0; i < count; ++i) put(out + i * kWidth, get<P>(p + i * kWidth) * weight);
    return;
  }
  P sums[count] = {};
  const auto add = [&](const T* from, T by) __attribute__((always_inline)) {
    for (int i = 0; i < count; ++i) sums[i] = mul_add<T>(get<P>(from + i * kWidth), all<P>(by), sums[i]);
  };
  add(p, weight);
  if (wide) add(p + channels, lines.weight[0] * columns.weights[1]);
  if (lines.count == 2) {
    p = lines.first[1] + at;
    add(p, lines.weight[1] * columns.weights[0]);
    if (wide) add(p + channels, lines.weight[1] * columns.weights[1]);
  }
  for (int i = 0; i < count; ++i) put(out + i * kWidth, sums[i]);
}

/// out (count vectors) = the weighted sums of any box.
template <class Sums, class P, int count, class T>
[[gnu::always_inline]] inline void sum_box(const InterpolateRow<T>& row, const WeightedRange<T>& columns,
                                           std::int64_t channels, const T* source, T* out) {
  constexpr int kWidth = static_cast<int>(sizeof(P) / sizeof(T));  // NOLINT(bugprone-sizeof-expression)
  const std::int64_t width = columns.end - columns.begin;
  Sums sums;
  for (std::int64_t d = row.depth.begin; d < row.depth.end; ++d) {
    for (std::int64_t h = row.height.begin; h < row.height.end; ++h) {
      const T line = row.depth.weights[d - row.depth.begin] * row.height.weights[h - row.height.begin];
      const T* p = source + ((d * row.source_height + h) * row.source_width + columns.begin) * channels;
      if constexpr (Sums::kOneChain) {
        for (std::int64_t w = 0; w < width; ++w, p += channels) {
          const T weight = line * columns.weights[w];
          for (int i = 0; i < count; ++i) sums.add_product(i, get<P>(p + i * kWidth), weight);
        }
      } else {
        for (std::int64_t w = 0; w < width;) {
          const std::int64_t end = Sums::kWholeLines || width - w < row.plan.run ? width : w + row.plan.run;
          typename Sums::Run run = {};
          for (; w < end; ++w, p += channels) {
            const P weight = all<P>(line * columns.weights[w]);
            for (int i = 0; i < count; ++i) run[i] = mul_add<T>(get<P>(p + i * kWidth), weight, run[i]);
          }
          sums.add_run(run);
        }
      }
    }
  }
  for (int i = 0; i < count; ++i) put(out + i * kWidth, sums.value(i));
}

/// The channels of a pixel together, where they are few: one walk through its box.
template <template <class, class, int> class Sums, int kChannels, class T>
void sum_few(const InterpolateRow<T>& row, const T* source, T* out) {
  const Lines<T> lines(row, source);
  for (std::int64_t pixel = 0; pixel < row.pixels; ++pixel, out += kChannels) {
    const WeightedRange<T> columns = row.columns[pixel];
    if (lines.are_few(columns)) {
      sum_corners<T, kChannels>(lines, columns, kChannels, 0, out);
    } else {
      sum_box<Sums<T, T, kChannels>, T, kChannels>(row, columns, kChannels, source, out);
    }
  }
}

template <template <class, class, int> class Sums, class T>
void sum_many(const InterpolateRow<T>& row, const T* source, T* out) {
  const Lines<T> lines(row, source);
  for (std::int64_t pixel = 0; pixel < row.pixels; ++pixel, out += row.channels) {
    const WeightedRange<T> columns = row.columns[pixel];
    const bool few = lines.are_few(columns);
    for_vectors<Tail::overlapping, T>(row.channels, [&](auto vectors, std::int64_t channel) {
      using P = typename decltype(vectors)::Vector;
      constexpr int kVectors = vectors.kCount;
      if (few) {
        sum_corners<P, kVectors>(lines, columns, row.channels, channel, out + channel);
      } else {
        sum_box<Sums<T, P, kVectors>, P, kVectors>(row, columns, row.channels, source + channel, out + channel);
      }
    });
  }
}

template <template <class, class, int> class Sums, class T>
void sum_row(const InterpolateRow<T>& row, const T* source, T* out) {
  switch (row.channels) {
    case 1:
      return sum_few<Sums, 1>(row, source, out);
    case 2:
      return sum_few<Sums, 2>(row, source, out);
    case 3:
      return sum_few<Sums, 3>(row, source, out);
    case 4:
      return sum_few<Sums, 4>(row, source, out);
    default:
      return sum_many<Sums>(row, source, out);
  }
}

template <class T>
void weighted_sum(const InterpolateRow<T>& row, const T* source, T* out) {
  if (sizeof(T) == sizeof(double) || row.plan.sums == BoxSums::chain) return sum_row<ChainSums>(row, source, out);
  (row.plan.sums == BoxSums::lines ? sum_row<RunSums, T> : sum_row<LongSums, T>)(row, source, out);
}

}  // namespace

const InterpolateKernels interpolate_kernels = {weighted_sum<float>, weighted_sum<double>};

}  // namespace weft::cpu::WEFT_ISA
