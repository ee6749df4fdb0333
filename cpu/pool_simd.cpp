#include "cpu/pool.h"

#include "cpu/long_sum.h"

namespace weft::cpu::WEFT_ISA {
namespace {

/// Indices beside a pack: integers as wide as its elements, as comparisons give and selections take them.
template <class P>
struct Indices {
  using Type = std::int32_t;
  static Type load(const std::int32_t* p) { return *p; }
  static void store(std::int32_t* p, Type indices) { *p = indices; }
  static Type all(std::int64_t index) { return static_cast<std::int32_t>(index); }
};

template <>
struct Indices<Vec<float>> {
  using Type = Vec<std::int32_t>;
  static Type load(const std::int32_t* p) { return get<Type>(p); }
  static void store(std::int32_t* p, Type indices) { put(p, indices); }
  static Type all(std::int64_t index) { return splat(static_cast<std::int32_t>(index)); }
};

template <>
struct Indices<Vec<double>> {
  using Type = Vec<std::int64_t>;
  typedef std::int32_t Narrow __attribute__((vector_size(kVectorBytes / 2)));
  static Type load(const std::int32_t* p) { return __builtin_convertvector(get<Narrow>(p), Type); }
  static void store(std::int32_t* p, Type indices) { put(p, __builtin_convertvector(indices, Narrow)); }
  static Type all(std::int64_t index) { return splat(index); }
};

bool has_size(PoolRange range, std::int64_t size) { return range.end - range.begin == size; }

/// visit(position) for every pixel of a box, in order. Without kSteps all steps are 1.
template <bool kSteps, class Visit>
inline void for_box(const PoolRow& row, PoolRange columns, const Visit& visit) {
  if (has_size(row.depth, 1) && has_size(row.height, 2) && has_size(columns, 2)) {
    const std::int64_t first =
        (row.depth.begin * row.source_height + row.height.begin) * row.source_width + columns.begin;
    visit(first);
    visit(first + 1);
    visit(first + row.source_width);
    visit(first + row.source_width + 1);
    return;
  }
  for (std::int64_t d = row.depth.begin; d < row.depth.end; d += kSteps ? row.depth_step : 1) {
    for (std::int64_t h = row.height.begin; h < row.height.end; h += kSteps ? row.height_step : 1) {
      const std::int64_t line = (d * row.source_height + h) * row.source_width;
      for (std::int64_t w = columns.begin; w < columns.end; w += kSteps ? row.column_step : 1) visit(line + w);
    }
  }
}

/// visit(position) for every pixel of a box, in order, and end_run() after at most kRun of them.
template <std::int64_t kRun, class Visit, class EndRun>
inline void for_runs(const PoolRow& row, PoolRange columns, const Visit& visit, const EndRun& end_run) {
  for (std::int64_t d = row.depth.begin; d < row.depth.end; ++d) {
    for (std::int64_t h = row.height.begin; h < row.height.end; ++h) {
      const std::int64_t line = (d * row.source_height + h) * row.source_width, last = line + columns.end;
      for (std::int64_t at = line + columns.begin; at < last;) {
        const std::int64_t end = last - at < kRun ? last : at + kRun;
        for (; at < end; ++at) visit(at);
        end_run();
      }
    }
  }
}

template <bool kSteps, class T>
void largest_of(const PoolRow& row, const T* source, T* out, std::int32_t* indices) {
  const std::int64_t line = (row.depth.begin * row.source_height + row.height.begin) * row.source_width;
  for (std::int64_t pixel = 0; pixel < row.pixels; ++pixel, out += row.channels, indices += row.channels) {
    const PoolRange columns = row.columns[pixel];
    for_packs<Tail::overlapping, T>(row.channels, [&](auto packs, std::int64_t channel) {
      using P = typename decltype(packs)::Pack;
      constexpr int kPacks = packs.kCount, kWidth = packs.kWidth;
      P best[kPacks];
      typename Indices<P>::Type index[kPacks];
      for (int i = 0; i < kPacks; ++i) {
        best[i] = get<P>(source + (line + columns.begin) * row.channels + channel + i * kWidth);
        index[i] = Indices<P>::all(line + columns.begin);
      }
      for_box<kSteps>(row, columns, [&](std::int64_t position) {
        const T* p = source + position * row.channels + channel;
        const auto here = Indices<P>::all(position);
        for (int i = 0; i < kPacks; ++i) {
          const P value = get<P>(p + i * kWidth);
          const auto better = (value > best[i]) | ((value != value) & (best[i] == best[i]));
          best[i] = better ? value : best[i];
          index[i] = better ? here : index[i];
        }
      });
      for (int i = 0; i < kPacks; ++i) {
        put(out + channel + i * kWidth, best[i]);
        Indices<P>::store(indices + channel + i * kWidth, index[i]);
      }
    });
  }
}

template <class T>
void largest(const PoolRow& row, const T* source, T* out, std::int32_t* indices) {
  const bool neighbours = row.depth_step == 1 && row.height_step == 1 && row.column_step == 1;
  (neighbours ? largest_of<false, T> : largest_of<true, T>)(row, source, out, indices);
}

/// add(position) for every pixel of a box, in order, to sums whose runs end in time.
template <class Sums, class Add>
[[gnu::always_inline]] inline void add_box(const PoolRow& row, PoolRange columns, Sums& sums, const Add& add) {
  if constexpr (Sums::kRun == INT64_MAX) {
    for_box<false>(row, columns, add);
  } else {
    for_runs<Sums::kRun>(row, columns, add, [&] { sums.end_run(); });
  }
}

template <template <class, class, int> class Sums, class T>
void sum_pixels(const PoolRow& row, const T* source, double factor, T* out) {
  for (std::int64_t pixel = 0; pixel < row.pixels; ++pixel, out += row.channels) {
    for_packs<Tail::overlapping, T>(row.channels, [&](auto packs, std::int64_t channel) {
      using P = typename decltype(packs)::Pack;
      constexpr int kPacks = packs.kCount, kWidth = packs.kWidth;
      Sums<T, P, kPacks> sums;
      add_box(row, row.columns[pixel], sums, [&](std::int64_t position) {
        const T* p = source + position * row.channels + channel;
        for (int i = 0; i < kPacks; ++i) sums.add(i, get<P>(p + i * kWidth));
      });
      for (int i = 0; i < kPacks; ++i) put(out + channel + i * kWidth, sums.times(i, factor));
    });
  }
}

template <class T>
void sum(const PoolRow& row, const T* source, double factor, T* out) {
  (row.is_long ? sum_pixels<LongSums, T> : sum_pixels<ShortSums, T>)(row, source, factor, out);
}

template <template <class, class, int> class Sums, class T>
void share_pixels(const PoolRow& row, const T* source, const PoolCounts& counts, T* out) {
  for (std::int64_t pixel = 0; pixel < row.pixels; ++pixel, out += row.channels) {
    const PoolRange columns = row.columns[pixel];
    for_packs<Tail::overlapping, T>(row.channels, [&](auto packs, std::int64_t channel) {
      using P = typename decltype(packs)::Pack;
      constexpr int kPacks = packs.kCount, kWidth = packs.kWidth;
      Sums<T, P, kPacks> sums;
      for (std::int64_t d = row.depth.begin; d < row.depth.end; ++d) {
        for (std::int64_t h = row.height.begin; h < row.height.end; ++h) {
          const std::int64_t line = (d * row.source_height + h) * row.source_width;
          const T lines = static_cast<T>(counts.depth[d]) * static_cast<T>(counts.height[h]);
          for (std::int64_t w = columns.begin; w < columns.end;) {
            const std::int64_t end = columns.end - w < sums.kRun ? columns.end : w + sums.kRun;
            for (; w < end; ++w) {
              const T* p = source + (line + w) * row.channels + channel;
              const T factor = 1 / (lines * static_cast<T>(counts.column[w]));
              for (int i = 0; i < kPacks; ++i) sums.add(i, get<P>(p + i * kWidth) * factor);
            }
            sums.end_run();
          }
        }
      }
      for (int i = 0; i < kPacks; ++i) put(out + channel + i * kWidth, sums.value(i));
    });
  }
}

template <class T>
void shares(const PoolRow& row, const T* source, const PoolCounts& counts, T* out) {
  (row.is_long ? share_pixels<LongSums, T> : share_pixels<ShortSums, T>)(row, source, counts, out);
}

template <template <class, class, int> class Sums, class T>
void match_pixels(const PoolRow& row, const T* source, const std::int32_t* indices, T* out) {
  for (std::int64_t pixel = 0; pixel < row.pixels; ++pixel, out += row.channels) {
    for_packs<Tail::overlapping, T>(row.channels, [&](auto packs, std::int64_t channel) {
      using P = typename decltype(packs)::Pack;
      constexpr int kPacks = packs.kCount, kWidth = packs.kWidth;
      const auto wanted = Indices<P>::all(row.position + pixel);
      Sums<T, P, kPacks> sums;
      add_box(row, row.columns[pixel], sums, [&](std::int64_t position) {
        const std::int64_t at = position * row.channels + channel;
        for (int i = 0; i < kPacks; ++i) {
          const auto chosen = Indices<P>::load(indices + at + i * kWidth) == wanted;
          sums.add(i, chosen ? get<P>(source + at + i * kWidth) : P{});
        }
      });
      for (int i = 0; i < kPacks; ++i) put(out + channel + i * kWidth, sums.value(i));
    });
  }
}

template <class T>
void matching(const PoolRow& row, const T* source, const std::int32_t* indices, T* out) {
  (row.is_long ? match_pixels<LongSums, T> : match_pixels<ShortSums, T>)(row, source, indices, out);
}

}  // namespace

const PoolKernels pool_kernels = {{largest<float>, sum<float>, shares<float>, matching<float>},
                                  {largest<double>, sum<double>, shares<double>, matching<double>}};

}  // namespace weft::cpu::WEFT_ISA
