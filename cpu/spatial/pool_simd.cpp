#include "cpu/spatial/pool.h"

#include "cpu/array/long_sum.h"

namespace weft::cpu::WEFT_ISA {
namespace {

/// Indices beside a vector: integers as wide as its elements, as comparisons give and selections take them.
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

/// A pixel of the source, and its flat position.
struct Pixel {
  std::int64_t d, h, w, at;
};

/// visit(pixel) for every pixel of a box, in order. Without kSteps all steps are 1.
template <bool kSteps, class Visit>
inline void for_box(const PoolRow& row, PoolRange columns, const Visit& visit) {
  const std::int64_t height = row.height.end - row.height.begin, width = columns.end - columns.begin;
  if (has_size(row.depth, 1) && height == width && (width == 1 || width == 2)) {
    const std::int64_t d = row.depth.begin, h = row.height.begin, w = columns.begin;
    const std::int64_t first = (d * row.source_height + h) * row.source_width + w;
    visit(Pixel{d, h, w, first});
    if (width == 1) return;
    visit(Pixel{d, h, w + 1, first + 1});
    visit(Pixel{d, h + 1, w, first + row.source_width});
    visit(Pixel{d, h + 1, w + 1, first + row.source_width + 1});
    return;
  }
  for (std::int64_t d = row.depth.begin; d < row.depth.end; d += kSteps ? row.depth_step : 1) {
    for (std::int64_t h = row.height.begin; h < row.height.end; h += kSteps ? row.height_step : 1) {
      const std::int64_t line = (d * row.source_height + h) * row.source_width;
      for (std::int64_t w = columns.begin; w < columns.end; w += kSteps ? row.column_step : 1)
        visit(Pixel{d, h, w, line + w});
    }
  }
}

template <bool kSteps, class T>
void largest_of(const PoolRow& row, const T* source, T* out, std::int32_t* indices) {
  const std::int64_t line = (row.depth.begin * row.source_height + row.height.begin) * row.source_width;
  for (std::int64_t pixel = 0; pixel < row.pixels; ++pixel, out += row.channels, indices += row.channels) {
    const PoolRange columns = row.columns[pixel];
    for_vectors<Tail::overlapping, T>(row.channels, [&](auto vectors, std::int64_t channel) {
      using P = typename decltype(vectors)::Vector;
      constexpr int kVectors = vectors.kCount, kWidth = vectors.kWidth;
      P best[kVectors];
      typename Indices<P>::Type index[kVectors];
      for (int i = 0; i < kVectors; ++i) {
        best[i] = get<P>(source + (line + columns.begin) * row.channels + channel + i * kWidth);
        index[i] = Indices<P>::all(line + columns.begin);
      }
      for_box<kSteps>(row, columns, [&](Pixel from) {
        const T* p = source + from.at * row.channels + channel;
        const auto here = Indices<P>::all(from.at);
        for (int i = 0; i < kVectors; ++i) {
          const P value = get<P>(p + i * kWidth);
          const auto better = (value > best[i]) | ((value != value) & (best[i] == best[i]));
          best[i] = better ? value : best[i];
          index[i] = better ? here : index[i];
        }
      });
      for (int i = 0; i < kVectors; ++i) {
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

/// Adds term(i, pixel), for each vector i, of every pixel of a box to sums.
template <class Sums, class Term>
[[gnu::always_inline]] inline void add_box(const PoolRow& row, PoolRange columns, Sums& sums, const Term& term) {
  constexpr int kVectors = Sums::kCount;
  if constexpr (Sums::kOneChain) {
    for_box<false>(row, columns, [&](Pixel pixel) {
      for (int i = 0; i < kVectors; ++i) sums.add(i, term(i, pixel));
    });
  } else if (columns.begin < columns.end) {
    for (std::int64_t d = row.depth.begin; d < row.depth.end; ++d) {
      for (std::int64_t h = row.height.begin; h < row.height.end; ++h) {
        const std::int64_t line = (d * row.source_height + h) * row.source_width;
        const auto add_run = [&](std::int64_t w, std::int64_t end) __attribute__((always_inline)) {
          typename Sums::Run run;
          for (int i = 0; i < kVectors; ++i) run[i] = term(i, Pixel{d, h, w, line + w});
          while (++w < end) {
            for (int i = 0; i < kVectors; ++i) run[i] += term(i, Pixel{d, h, w, line + w});
          }
          sums.add_run(run);
        };
        if constexpr (Sums::kWholeLines) {
          add_run(columns.begin, columns.end);
        } else {
          for (std::int64_t w = columns.begin; w < columns.end; w += row.plan.run)
            add_run(w, columns.end - w < row.plan.run ? columns.end : w + row.plan.run);
        }
      }
    }
  }
}

template <template <class, class, int> class Sums, class T>
void sum_pixels(const PoolRow& row, const T* source, double factor, T* out) {
  for (std::int64_t pixel = 0; pixel < row.pixels; ++pixel, out += row.channels) {
    for_vectors<Tail::overlapping, T>(row.channels, [&](auto vectors, std::int64_t channel) {
      using P = typename decltype(vectors)::Vector;
      constexpr int kVectors = vectors.kCount, kWidth = vectors.kWidth;
      Sums<T, P, kVectors> sums;
      add_box(row, row.columns[pixel], sums,
              [&](int i, Pixel from) { return get<P>(source + from.at * row.channels + channel + i * kWidth); });
      for (int i = 0; i < kVectors; ++i) put(out + channel + i * kWidth, sums.times(i, factor));
    });
  }
}

template <template <class, class, int> class Sums, class T>
void share_pixels(const PoolRow& row, const T* source, const PoolCounts& counts, T* out) {
  for (std::int64_t pixel = 0; pixel < row.pixels; ++pixel, out += row.channels) {
    for_vectors<Tail::overlapping, T>(row.channels, [&](auto vectors, std::int64_t channel) {
      using P = typename decltype(vectors)::Vector;
      constexpr int kVectors = vectors.kCount, kWidth = vectors.kWidth;
      Sums<T, P, kVectors> sums;
      add_box(row, row.columns[pixel], sums, [&](int i, Pixel from) {
        const T lines = static_cast<T>(counts.depth[from.d]) * static_cast<T>(counts.height[from.h]);
        const T factor = 1 / (lines * static_cast<T>(counts.column[from.w]));
        return get<P>(source + from.at * row.channels + channel + i * kWidth) * factor;
      });
      for (int i = 0; i < kVectors; ++i) put(out + channel + i * kWidth, sums.value(i));
    });
  }
}

template <template <class, class, int> class Sums, class T>
void match_pixels(const PoolRow& row, const T* source, const std::int32_t* indices, T* out) {
  for (std::int64_t pixel = 0; pixel < row.pixels; ++pixel, out += row.channels) {
    for_vectors<Tail::overlapping, T>(row.channels, [&](auto vectors, std::int64_t channel) {
      using P = typename decltype(vectors)::Vector;
      constexpr int kVectors = vectors.kCount, kWidth = vectors.kWidth;
      const auto wanted = Indices<P>::all(row.position + pixel);
      Sums<T, P, kVectors> sums;
      add_box(row, row.columns[pixel], sums, [&](int i, Pixel from) {
        const std::int64_t at = from.at * row.channels + channel + i * kWidth;
        return Indices<P>::load(indices + at) == wanted ? get<P>(source + at) : P{};
      });
      for (int i = 0; i < kVectors; ++i) put(out + channel + i * kWidth, sums.value(i));
    });
  }
}

template <class T>
void sum(const PoolRow& row, const T* source, double factor, T* out) {
  if (sizeof(T) == sizeof(double) || row.plan.sums == BoxSums::chain)
    return sum_pixels<ChainSums, T>(row, source, factor, out);
  (row.plan.sums == BoxSums::lines ? sum_pixels<RunSums, T> : sum_pixels<LongSums, T>)(row, source, factor, out);
}

template <class T>
void shares(const PoolRow& row, const T* source, const PoolCounts& counts, T* out) {
  if (sizeof(T) == sizeof(double) || row.plan.sums == BoxSums::chain)
    return share_pixels<ChainSums, T>(row, source, counts, out);
  (row.plan.sums == BoxSums::lines ? share_pixels<RunSums, T> : share_pixels<LongSums, T>)(row, source, counts, out);
}

template <class T>
void matching(const PoolRow& row, const T* source, const std::int32_t* indices, T* out) {
  if (sizeof(T) == sizeof(double) || row.plan.sums == BoxSums::chain)
    return match_pixels<ChainSums, T>(row, source, indices, out);
  (row.plan.sums == BoxSums::lines ? match_pixels<RunSums, T> : match_pixels<LongSums, T>)(row, source, indices, out);
}

}  // namespace

const PoolKernels pool_kernels = {{largest<float>, sum<float>, shares<float>, matching<float>},
                                  {largest<double>, sum<double>, shares<double>, matching<double>}};

}  // namespace weft::cpu::WEFT_ISA
