#include "core/device/integer.h"
#include "cpu/conv/winograd_kernels.h"
#include "cpu/runtime/vec.h"

#include "core/device/winograd_transform.h"

namespace weft::cpu::WEFT_ISA {
namespace {

using std::int64_t;

// Register tile: kRows x 2 vectors of sums, 2 of the right operand and a broadcast of the left fill 16 or 32 registers.
constexpr int kRows = kVectorBytes == 64 ? 14 : 6;

constexpr int kChain = 2 * kWinogradInner;  // products that are summed before the sum is added to others

constexpr int kAhead = 16;  // rows of the right operand to prefetch: they stream from the second-level cache

template <class T>
inline void store_first(T* p, Vec<T> v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
}

/// body(get, channel, count) for each vector of channels, where get(p) is the vector at p + channel, and count < its
/// lanes in the last.
template <class T, class Body>
inline void for_vectors(int64_t channels, const Body& body) {
  constexpr int64_t kL = kLanes<T>;
  int64_t c = 0;
  for (; c + kL <= channels; c += kL) body([c](const T* p) { return load(p + c); }, c, kL);
  const int64_t count = channels - c;
  if (count > 0) body([c, count](const T* p) { return load_first(p + c, count); }, c, count);
}

template <class T>
inline void put(T* p, Vec<T> v, int64_t count) {
  if (count == kLanes<T>) {
    store(p, v);
  } else {
    store_first(p, v, count);
  }
}

template <class T, int kBytes>
struct MagnitudesIn {
  typedef Magnitude<T> type __attribute__((vector_size(kBytes)));
};
template <class T>
using Magnitudes = typename MagnitudesIn<T, kVectorBytes>::type;

/// most = the larger of it and v's magnitudes, lane by lane.
template <class T>
inline void enlarge(Magnitudes<T>& most, Vec<T> v) {
  constexpr Magnitude<T> kAllButSign = static_cast<Magnitude<T>>(~(Magnitude<T>{1} << (8 * sizeof(T) - 1)));
  Magnitudes<T> bits;
  std::memcpy(&bits, &v, sizeof v);
  bits &= kAllButSign;
  most = bits > most ? bits : most;
}

/// The largest of all lanes, by halves.
template <class T, int kBytes = kVectorBytes>
inline Magnitude<T> largest_lane(typename MagnitudesIn<T, kBytes>::type v) {
  if constexpr (kBytes == 2 * sizeof(T)) {
    return v[0] > v[1] ? v[0] : v[1];
  } else {
    typename MagnitudesIn<T, kBytes / 2>::type low, high;
    std::memcpy(&low, &v, kBytes / 2);
    std::memcpy(&high, reinterpret_cast<const char*>(&v) + kBytes / 2, kBytes / 2);
    return largest_lane<T, kBytes / 2>(high > low ? high : low);
  }
}

// The first and second halves of two vectors, their lanes in turns.
template <class V, class Lanes>
inline void interleave(V a, V b, V& low, V& high, Lanes) {
  if constexpr (Lanes::value == 16) {
    low = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    high = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  } else if constexpr (Lanes::value == 8) {
    low = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    high = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  } else if constexpr (Lanes::value == 4) {
    low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  } else {
    low = __builtin_shufflevector(a, b, 0, 2);
    high = __builtin_shufflevector(a, b, 1, 3);
  }
}

template <int lanes>
struct Lanes {
  static constexpr int value = lanes;
};

/// Prefetches the pixels of the next tile, m further on in the row, that this one does not read.
template <class T, class Map, int m>
inline void transform_tile(const T* const* pixels, int64_t channels, const WinogradPlace<T>& place) {
  const int64_t next = m * channels;
  for_vectors<T>(channels, [&](const auto& get, int64_t c, int64_t) {
    T* const out = place.data + c / kWinogradInner * place.block + c % kWinogradInner;
    winograd::both_sides<Map, Vec<T>>(
        [&](int i, int j) {
          const T* const pixel = pixels[i * Map::kIn + j];
          if (j >= Map::kIn - m) __builtin_prefetch(pixel + c + next);
          return get(pixel);
        },
        [&](int i, int j, Vec<T> v) { store(out + (i * Map::kOut + j) * place.matrix, v); });
  });
}

template <class T, int m>
void input(const T* const* pixels, int64_t channels, const WinogradPlace<T>& place) {
  transform_tile<T, winograd::Input<m, T>, m>(pixels, channels, place);
}

template <class T, int m>
void output_grad(const T* const* pixels, int64_t channels, const WinogradPlace<T>& place) {
  transform_tile<T, winograd::OutputGrad<m, T>, m>(pixels, channels, place);
}

/// The largest magnitudes of `count` numbers, lane by lane.
template <class T>
inline Magnitudes<T> largest_of(const T* numbers, int64_t count) {
  constexpr int64_t kL = kLanes<T>;
  Magnitudes<T> most{}, other{};  // two chains, each of which waits for itself
  int64_t i = 0;
  for (; i + 2 * kL <= count; i += 2 * kL) {
    enlarge<T>(most, load(numbers + i));
    enlarge<T>(other, load(numbers + i + kL));
  }
  if (i + kL <= count) {
    enlarge<T>(most, load(numbers + i));
    i += kL;
  }
  if (i < count) enlarge<T>(other, load_first(numbers + i, count - i));
  return other > most ? other : most;
}

/// Lane i is the largest of lanes of pixel (first + i·step); those from `last` on count as the last.
template <class T, int lanes, int first = 0>
inline Magnitudes<T> largest_of_each(const T* pixels, int64_t last, int64_t channels) {
  constexpr int kStep = kLanes<T> / lanes;
  if constexpr (lanes == 1) {
    return largest_of(pixels + (first < last ? first : last) * channels, channels);
  } else {
    Magnitudes<T> low, high;
    interleave(largest_of_each<T, lanes / 2, first>(pixels, last, channels),
               largest_of_each<T, lanes / 2, first + kStep>(pixels, last, channels), low, high, Lanes<kLanes<T>>{});
    return high > low ? high : low;
  }
}

template <class T>
WinogradRange<T> largest(const T* pixels, int64_t count, int64_t channels, Magnitude<T>* out) {
  constexpr int64_t kL = kLanes<T>;
  WinogradRange<T> range;
  if (count == 0) return range;
  Magnitudes<T> most{}, least = range.least - Magnitudes<T>{};
  for (int64_t i = 0; i < count; i += kL) {
    const int64_t n = count - i < kL ? count - i : kL;
    const Magnitudes<T> each = largest_of_each<T, kLanes<T>>(pixels + i * channels, n - 1, channels);
    std::memcpy(out + i, &each, static_cast<std::size_t>(n) * sizeof(T));
    most = each > most ? each : most;
    least = each < least ? each : least;
  }
  range.most = largest_lane<T>(most);
  range.least = ~largest_lane<T>(~least);  // ~ turns the order around
  return range;
}

template <class T>
Magnitude<T> most(const T* numbers, int64_t count) {
  return largest_lane<T>(largest_of(numbers, count));
}

template <class T, int m>
void output(const WinogradOutput<T>& g) {
  using Map = winograd::Output<m, T>;
  constexpr int64_t kL = kLanes<T>;
  for (int64_t c = 0; c < g.channels; c += kL) {
    const int64_t count = g.channels - c < kL ? g.channels - c : kL;
    const Vec<T> bias = g.bias == nullptr ? Vec<T>{} : count == kL ? load(g.bias + c) : load_first(g.bias + c, count);
    winograd::both_sides<Map, Vec<T>>([&](int i, int j) { return load(g.from + (i * Map::kIn + j) * g.matrix + c); },
                                      [&](int i, int j, Vec<T> v) {
                                        if (i < g.rows && j < g.cols)
                                          put(g.out + i * g.row_step + j * g.col_step + c, v + bias, count);
                                      });
  }
}

template <class T, int m>
void weight_grad(const T* from, int64_t matrix, int64_t channels, T* out) {
  using Map = winograd::WeightGrad<m, T>;
  for_vectors<T>(channels, [&](const auto& get, int64_t c, int64_t count) {
    winograd::both_sides<Map, Vec<T>>([&](int i, int j) { return get(from + (i * Map::kIn + j) * matrix); },
                                      [&](int i, int j, Vec<T> v) { put(out + (i * 3 + j) * channels + c, v, count); });
  });
}

/// Row i of the result is column i of v: each pass interleaves the first half of the rows with the second.
template <class T>
inline void transpose(Vec<T> (&v)[kLanes<T>]) {
  constexpr int kL = kLanes<T>;
  for (int pass = 1; pass < kL; pass *= 2) {
    Vec<T> next[kL];
    WEFT_UNROLL for (int i = 0; i < kL / 2; ++i) {
      interleave(v[i], v[i + kL / 2], next[2 * i], next[2 * i + 1], Lanes<kL>{});
    }
    WEFT_UNROLL for (int i = 0; i < kL; ++i) v[i] = next[i];
  }
}

/// taps[t][d] = the columns at `from`, `columns` < or = a vector of them, for inner indices [0, inner_count).
template <class T>
inline void gather_taps(const WinogradWeight<T>& g, const T* from, int64_t inner_count, int64_t columns,
                        Vec<T> (&taps)[9][kLanes<T>]) {
  constexpr int kL = kLanes<T>;
  for (int t = 0; t < 9; ++t) {
    const T* const tap = from + t * g.tap;
    if (g.column_step == 1) {
      for (int64_t d = 0; d < inner_count; ++d) {
        const T* const row = tap + d * g.inner_step;
        taps[t][d] = columns == kL ? load(row) : load_first(row, columns);
      }
      continue;
    }
    for (int i = 0; i < kL; ++i) {
      const T* const column = tap + i * g.column_step;
      taps[t][i] = i >= columns ? Vec<T>{} : inner_count == kL ? load(column) : load_first(column, inner_count);
    }
    transpose<T>(taps[t]);
  }
}

template <class T, int m>
Magnitude<T> weight(const WinogradWeight<T>& g) {
  using Map = winograd::Weight<m, T>;
  constexpr int64_t kL = kLanes<T>;
  Vec<T> taps[9][kL];
  Magnitudes<T> most{};
  for (int64_t c = 0; c < g.width; c += kL) {
    const int64_t columns = g.columns - c < kL ? g.columns - c : kL;
    for (int64_t d = g.first; d < g.last; d += kL) {
      const int64_t inner_count = g.last - d < kL ? g.last - d : kL;
      gather_taps(g, g.weight + d * g.inner_step + c * g.column_step, inner_count, columns, taps);
      for (int64_t i = 0; i < inner_count; ++i) {
        T* const out = g.out + (d + i) * g.width + c;
        winograd::both_sides<Map, Vec<T>>(
            [&](int r, int s) {
              const Vec<T> v = taps[r * 3 + s][i];
              enlarge<T>(most, v);
              return v;
            },
            [&](int r, int s, Vec<T> v) { store(out + (r * Map::kOut + s) * g.matrix, v); });
      }
    }
  }
  return largest_lane<T>(most);
}

/// out (R, V vectors) (+)= left · right: sums of kChain products each, added up in order.
template <class T, int R, int V, bool kTransposed>
void multiply(const WinogradProduct<T>& g, const T* left, const T* right, T* out) {
  constexpr int kL = kLanes<T>;
  constexpr int kRowStep = kTransposed ? 1 : kWinogradInner;
  const int64_t right_step = kTransposed ? g.right_step : V * kL;
  const int64_t left_step = kTransposed ? g.left_step : 1;
  const T* b = right;
  bool add = g.add;
  for (int64_t inner = g.inner; inner > 0 || !add;) {
    Vec<T> sum[R][V] = {};
    const int64_t end = inner > kChain ? inner - kChain : 0;
    for (; inner > end; inner -= kWinogradInner) {
      const T* a = left;
      for (int64_t p = inner < kWinogradInner ? inner : kWinogradInner; p > 0; --p, a += left_step, b += right_step) {
        WEFT_UNROLL for (int v = 0; v < V; ++v) __builtin_prefetch(b + kAhead * right_step + v * kL);
        Vec<T> row[V];
        WEFT_UNROLL for (int v = 0; v < V; ++v) row[v] = load(b + v * kL);
        WEFT_UNROLL for (int r = 0; r < R; ++r) {
          const Vec<T> x = splat(a[r * kRowStep]);
          WEFT_UNROLL for (int v = 0; v < V; ++v) sum[r][v] = fma<T>(x, row[v], sum[r][v]);
        }
      }
      left += kTransposed ? kWinogradInner * left_step : g.left_step;
    }
    if (add) {
      WEFT_UNROLL for (int r = 0; r < R; ++r) {
        WEFT_UNROLL for (int v = 0; v < V; ++v) sum[r][v] += load(out + r * g.out_step + v * kL);
      }
    }
    WEFT_UNROLL for (int r = 0; r < R; ++r) {
      WEFT_UNROLL for (int v = 0; v < V; ++v) store(out + r * g.out_step + v * kL, sum[r][v]);
    }
    add = true;
  }
}

template <class T, int V, bool kTransposed, int R = kRows>
inline void multiply_rows(const WinogradProduct<T>& g, int64_t rows, const T* left, const T* right, T* out) {
  if constexpr (R > 1) {
    if (rows < R) return multiply_rows<T, V, kTransposed, R - 1>(g, rows, left, right, out);
  }
  multiply<T, R, V, kTransposed>(g, left, right, out);
}

template <class T>
void product(const WinogradProduct<T>& g) {
  if (g.cols > kLanes<T>) {
    multiply_rows<T, 2, false>(g, g.rows, g.left, g.right, g.out);
  } else {
    multiply_rows<T, 1, false>(g, g.rows, g.left, g.right, g.out);
  }
}

template <class T>
void product_transposed(const WinogradProduct<T>& g) {
  constexpr int64_t kL = kLanes<T>;
  const int64_t parts = ceil_div(g.rows, kRows), part = ceil_div(g.rows, parts);
  for (int64_t col = 0; col < g.cols; col += 2 * kL) {
    for (int64_t row = 0; row < g.rows; row += part) {
      const int64_t rows = g.rows - row < part ? g.rows - row : part;
      T* const out = g.out + row * g.out_step + col;
      if (g.cols - col > kL) {
        multiply_rows<T, 2, true>(g, rows, g.left + row, g.right + col, out);
      } else {
        multiply_rows<T, 1, true>(g, rows, g.left + row, g.right + col, out);
      }
    }
  }
}

template <class T, int m>
constexpr WinogradSet<T> kSet = {input<T, m>, output_grad<T, m>, weight<T, m>, output<T, m>, weight_grad<T, m>};

template <class T>
constexpr WinogradKernelsOf<T> kKernels = {kSet<T, 2>, kSet<T, 4>, product<T>, product_transposed<T>,
                                           largest<T>, most<T>};

}  // namespace

const WinogradKernels winograd_kernels = {kKernels<float>, kKernels<double>, kRows, kVectorBytes};

}  // namespace weft::cpu::WEFT_ISA
