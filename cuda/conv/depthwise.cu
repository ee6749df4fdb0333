#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/device/conv_plan.h"
#include "core/device/integer.h"
#include "cuda/array/chains.h"
#include "cuda/array/element.h"
#include "cuda/array/walk.h"
#include "cuda/conv/algorithms.h"

// Depthwise convolutions: channel k of y reads only channel c = k / (K / C) of x. gather_kernel replaces
//
//   for n, o, p, q, k:
//     y(n, o, p, q, k) = bias(k) + Σ over (t, r, s) of x(n, place of (o, p, q) and (t, r, s), c) · weight(k, t, r, s)
//
// and, phase by phase (core/device/conv_plan.h), the same for the input gradient. A thread makes a tile of kColumns
// neighbouring columns of one line, V channels of each:
//
//   a line of the source    | x x x x x x |     With three taps without gaps, each element is loaded once for all
//   the thread's sums          y y y y          columns that it takes part in.
//
// Its sums and the factors of a line are in registers; nothing is shared. Threads of a warp have neighbouring channels,
// so that they read and write whole transactions; the caches serve the lines that windows have in common.
// transpose_kernel first makes the filter (taps, k), where the factors of neighbouring channels are neighbours too.
//
// weight_sums_kernel replaces
//
//   for k, t, r, s:
//     weight_grad(k, t, r, s) = Σ over (n, o, p, q) of y_grad(n, o, p, q, k) · x(n, the same place, c)
//
//   block = split of the positions x up to kGroup taps on a line of the filter x tile of channels
//           256 threads: `lanes` vectors of V channels x `lines` positions, which walk through the split together
//
// Sums are in registers, then the lines of a block are added as a tree in shared memory. weight_merge_kernel adds the
// splits in order, in double.
namespace weft::cuda {
namespace {

constexpr int kThreads = 256;  // two blocks of gather_kernel leave each thread 128 registers
// Columns of a destination that one thread makes: more share each element that is loaded, but with any number of taps,
// where nothing is shared, two leave room for the sums of chains.
template <int kTaps>
constexpr int kColumns = kTaps == 0 ? 2 : 4;
constexpr int kGroup = 3;            // taps that share what a thread loads of y's gradient: a line of a 3x3 filter
constexpr int kMergers = 16;         // lines of a block, at least: a tile has 16 vectors of channels at most
constexpr std::int64_t kSteps = 32;  // positions of a thread, at least, for one sum that is merged
constexpr std::int64_t kSumBlocks = 4096;  // that splits make, at most: they fill a GPU

/// The taps of one axis as TapAxis has them.
struct Axis {
  std::int64_t in = 1, taps = 1, step = 1, offset = 0, tap_step = 1, first_tap = 0, tap_stride = 1;

  Axis() = default;
  explicit Axis(const TapAxis& axis)
      : in(axis.in),
        taps(axis.taps),
        step(axis.step),
        offset(axis.offset),
        tap_step(axis.tap_step),
        first_tap(axis.first_tap),
        tap_stride(axis.tap_stride) {}
};

/// One phase of a destination: thread t has vector t % vectors (of V channels) of tile t / vectors of a few columns.
struct Gather {
  std::int64_t threads = 0;
  FastDivisor64 vectors, tiles, height, depth;
  Axis axis[3];
  std::int64_t columns = 0;                                  ///< of the phase
  std::int64_t first[3] = {}, step[3] = {}, extent[3] = {};  ///< where the phase lies in the destination
  std::int64_t filter[3] = {};
  std::int64_t source_image = 0, source_channels = 0, weight_channels = 0,
               channels = 0;  ///< the last: of the destination
  FastDivisor64 shared;       ///< destination channels that read one of the source
  std::int64_t terms = 1;     ///< source channels that one of the destination reads
};

template <int V, class T>
WEFT_DEVICE Vector<T, V> vector_at(const T* data, std::int64_t at) {
  return *reinterpret_cast<const Vector<T, V>*>(data + at);
}

template <class T, int V>
WEFT_DEVICE void add_product(compute_t<T> (&sum)[V], const Vector<T, V>& value, const compute_t<T> (&factor)[V]) {
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) sum[j] = std::fma(widen(value.value[j]), factor[j], sum[j]);
}

/// total += sum, which begins again at zero; `lost` as in add_to.
template <int kCount, int V>
WEFT_DEVICE void take(float (&sum)[kCount][V], float (&total)[kCount][V], float (&lost)[kCount][V]) {
  WEFT_UNROLL
  for (int b = 0; b < kCount; ++b) {
    WEFT_UNROLL
    for (int v = 0; v < V; ++v) {
      add_to(total[b][v], lost[b][v], sum[b][v]);
      sum[b][v] = 0;
    }
  }
}

/// Sums of products in chains, counted by the thread.
template <class C, int kCount, int V>
struct ChainSums {
  static constexpr bool kChained = std::is_same_v<C, float>;
  C sum[kCount][V] = {};  // of the chain
  C total[kChained ? kCount : 1][V] = {}, lost[kChained ? kCount : 1][V] = {};
  int terms = 0;

  /// To be called once for a term of each sum.
  WEFT_DEVICE void count() {
    if constexpr (kChained) {
      if (++terms < kChain) return;
      take(sum, total, lost);
      terms = 0;
    }
  }
  /// Makes `sum` that of all terms.
  WEFT_DEVICE void finish() {
    if constexpr (kChained) {
      take(sum, total, lost);
      WEFT_UNROLL
      for (int b = 0; b < kCount; ++b) {
        WEFT_UNROLL
        for (int v = 0; v < V; ++v) sum[b][v] = total[b][v];
      }
    }
  }
};

/// The sums of a few columns: of three taps on a line as they are, for so few terms that they are a chain.
template <class C, int kTaps, int V>
struct ColumnSums {
  C sum[kColumns<kTaps>][V] = {};

  WEFT_DEVICE void count() {}
  WEFT_DEVICE void finish() {}
};
template <class C, int V>
struct ColumnSums<C, 0, V> : ChainSums<C, kColumns<0>, V> {};

template <int V, class C>
WEFT_DEVICE void load_factors(C (&factor)[V], const C* weight) {
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) factor[j] = weight[j];
}

/// sums += the products of one line of the source, from its column 0 on, and the taps from `weight` on. kTaps taps
/// without gaps, kStep apart from column to column, load each element once; 0: any.
template <class T, int V, int kTaps, int kStep>
WEFT_DEVICE void add_line(const Gather& g, std::int64_t column, const T* line, const compute_t<T>* weight,
                          ColumnSums<compute_t<T>, kTaps, V>& sums) {
  using C = compute_t<T>;
  auto& sum = sums.sum;
  const Axis& axis = g.axis[2];
  const std::int64_t tap_stride = axis.tap_stride * g.weight_channels;
  if constexpr (kTaps == 0) {
    for (std::int64_t t = 0; t < axis.taps; ++t) {
      C factor[V];
      load_factors(factor, weight + t * tap_stride);
      std::int64_t at = column * axis.step + axis.offset + t * axis.tap_step;
      WEFT_UNROLL
      for (int b = 0; b < kColumns<kTaps>; ++b, at += axis.step) {
        if (at >= 0 && at < axis.in) add_product<T>(sum[b], vector_at<V>(line, at * g.source_channels), factor);
      }
      sums.count();
    }
  } else {
    C factor[kTaps][V];
    WEFT_UNROLL
    for (int t = 0; t < kTaps; ++t) load_factors(factor[t], weight + t * tap_stride);
    const std::int64_t first = column * kStep + axis.offset;
    std::int64_t at = first * g.source_channels;
    WEFT_UNROLL
    for (int j = 0; j < (kColumns<kTaps> - 1) * kStep + kTaps; ++j, at += g.source_channels) {
      if (first + j < 0 || first + j >= axis.in) continue;
      const Vector<T, V> value = vector_at<V>(line, at);
      WEFT_UNROLL
      for (int t = 0; t < kTaps; ++t) {
        const int b = (j - t) / kStep;
        if (j >= t && (j - t) % kStep == 0 && b < kColumns<kTaps>) add_product<T>(sum[b], value, factor[t]);
      }
    }
  }
}

/// sums += all products of the source's channels from `source`, in the thread's image, on; tap 0 meets line (z, first).
template <class T, int V, int kTaps, int kStep>
WEFT_DEVICE void add_lines(const Gather& g, std::int64_t z, std::int64_t first, std::int64_t column, const T* source,
                           const compute_t<T>* weight, ColumnSums<compute_t<T>, kTaps, V>& sum) {
  const auto depth_taps = static_cast<int>(g.axis[0].taps), height_taps = static_cast<int>(g.axis[1].taps);
  for (int i = 0; i < depth_taps; ++i, z += g.axis[0].tap_step) {
    if (z < 0 || z >= g.axis[0].in) continue;
    std::int64_t y = first;
    for (int j = 0; j < height_taps; ++j, y += g.axis[1].tap_step) {
      if (y < 0 || y >= g.axis[1].in) continue;
      const std::int64_t line = (z * g.axis[1].in + y) * g.axis[2].in;
      const std::int64_t tap = (g.axis[0].first_tap + i * g.axis[0].tap_stride) * g.filter[1] + g.axis[1].first_tap +
                               j * g.axis[1].tap_stride;
      add_line<T, V, kTaps, kStep>(g, column, source + line * g.source_channels,
                                   weight + (tap * g.filter[2] + g.axis[2].first_tap) * g.weight_channels, sum);
    }
  }
}

/// out = bias + Σ over taps of source·weight; weight (taps, weight_channels).
template <class T, int V, int kTaps, int kStep>
WEFT_KERNEL_OF_BLOCKS(kThreads, 2)
gather_kernel(Gather g, const T* source, const compute_t<T>* weight, const compute_t<T>* bias, T* out) {
  using C = compute_t<T>;
  const std::int64_t thread = global_thread();
  if (thread >= g.threads) return;
  const std::int64_t tile = g.vectors.quotient(thread), channel = (thread - tile * g.vectors.value) * V;
  const std::int64_t line = g.tiles.quotient(tile), column = (tile - line * g.tiles.value) * kColumns<kTaps>;
  const std::int64_t slab = g.height.quotient(line), h = line - slab * g.height.value;
  const std::int64_t image = g.depth.quotient(slab), d = slab - image * g.depth.value;
  const std::int64_t out_line =
      ((image * g.extent[0] + g.first[0] + d * g.step[0]) * g.extent[1] + g.first[1] + h * g.step[1]) * g.extent[2];
  out += (out_line + g.first[2] + column * g.step[2]) * g.channels + channel;
  source += image * g.source_image;
  const std::int64_t z = d * g.axis[0].step + g.axis[0].offset, y = h * g.axis[1].step + g.axis[1].offset;
  ColumnSums<C, kTaps, V> sum;
  WEFT_UNROLL
  for (int b = 0; b < kColumns<kTaps>; ++b) {
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) sum.sum[b][j] = bias == nullptr ? C(0) : bias[channel + j];
  }
  if constexpr (V > 1) {  // a filter of each channel
    add_lines<T, V, kTaps, kStep>(g, z, y, column, source + channel, weight + channel, sum);
  } else {
    const std::int64_t from = g.shared.quotient(channel * g.terms);
    for (std::int64_t i = 0; i < g.terms; ++i) {
      add_lines<T, V, kTaps, kStep>(g, z, y, column, source + from + i, weight + channel * g.terms + i, sum);
    }
  }
  sum.finish();
  WEFT_UNROLL
  for (int b = 0; b < kColumns<kTaps>; ++b) {
    if (column + b >= g.columns) continue;
    *reinterpret_cast<Vector<T, V>*>(out + b * g.step[2] * g.channels) = narrow_all<T>(sum.sum[b]);
  }
}

/// out (taps, k) = weight (k, taps).
template <class C>
WEFT_KERNEL_OF(kThreads)
transpose_kernel(std::int64_t k, std::int64_t taps, const C* weight, C* out) {
  const std::int64_t i = global_thread();
  if (i >= k * taps) return;
  const std::int64_t tap = i / k;
  out[i] = weight[(i - tap * k) * taps + tap];
}

Gather gather_of(const ConvShape& s, bool forward, int width, int tile, const ConvPhase& phase) {
  const auto& axes = phase.columns.axes;
  const std::int64_t multiplier = s.k / s.c;
  Gather g;
  g.source_channels = forward ? s.c : s.k;
  g.weight_channels = s.k;
  g.channels = forward ? s.k : s.c;
  g.columns = axes[2].out;
  g.source_image = phase.columns.image();
  const std::int64_t vectors = g.channels / width, tiles = ceil_div(g.columns, tile);
  g.threads = s.n * axes[0].out * axes[1].out * tiles * vectors;
  if (g.threads == 0) return g;
  g.vectors = FastDivisor64(vectors);
  g.tiles = FastDivisor64(tiles);
  g.height = FastDivisor64(axes[1].out);
  g.depth = FastDivisor64(axes[0].out);
  g.shared = FastDivisor64(forward ? multiplier : 1);
  g.terms = forward ? 1 : multiplier;
  for (std::size_t i = 0; i < 3; ++i) {
    g.axis[i] = Axis(axes[i]);
    g.first[i] = phase.first[i];
    g.step[i] = forward ? 1 : s.stride[i];
    g.extent[i] = forward ? s.out[i] : s.in[i];
    g.filter[i] = s.filter[i];
  }
  return g;
}

template <class T, int V>
void gather(Context& context, const ConvShape& s, bool forward, const T* source, const compute_t<T>* weight,
            const compute_t<T>* bias, T* out) {
  using C = compute_t<T>;
  const std::int64_t taps = s.filter[0] * s.filter[1] * s.filter[2];
  const Scratch transposed(context, static_cast<std::size_t>(taps * s.k) * sizeof(C));
  launch({"depthwise_filter", blocks_for(taps * s.k, kThreads), kThreads, context.stream}, transpose_kernel<C>, s.k,
         taps, weight, transposed.as<C>());
  const auto launch_phase = [&](const ConvPhase& phase) {
    const Axis axis(phase.columns.axes[2]);
    const std::int64_t terms = phase.columns.taps() * (forward ? 1 : s.k / s.c);
    const bool three = axis.taps == 3 && axis.tap_step == 1 && axis.step <= 2 && terms <= kChain;
    const Gather g = gather_of(s, forward, V, three ? kColumns<3> : kColumns<0>, phase);
    const LaunchShape shape{"depthwise", blocks_for(g.threads, kThreads), kThreads, context.stream};
    auto* const kernel = !three           ? gather_kernel<T, V, 0, 1>
                         : axis.step == 1 ? gather_kernel<T, V, 3, 1>
                                          : gather_kernel<T, V, 3, 2>;
    launch(shape, kernel, g, source, transposed.as<C>(), bias, out);
  };
  if (forward) return launch_phase({{}, forward_columns(s)});
  for (const ConvPhase& phase : input_grad_phases(s)) launch_phase(phase);
}

/// How a grid covers the weight's gradient: a block's threads are `lanes` vectors of V channels by `lines` positions of
/// y's gradient, and walk through a split of them together; block b has tile b % tiles of the channels, group (b /
/// tiles) % groups of up to kGroup taps on one line of the filter, and split b / tiles / groups.
struct Sums {
  Axis axis[3];
  std::int64_t positions = 0, splits = 1, split_positions = 1, k = 0, x_channels = 0;
  std::int64_t tiles = 1, lanes = 1, lines = 1, groups = 1, line_groups = 1;
  FastDivisor64 width, height, depth, shared;
};

template <int V>
Sums sums_of(const ConvShape& s, const ConvColumns& columns) {
  Sums g;
  g.positions = columns.rows();
  g.k = s.k;
  g.x_channels = s.c;
  const std::int64_t vectors = s.k / V, most = kThreads / kMergers;
  g.tiles = ceil_div(vectors, most);
  g.lanes = ceil_div(vectors, g.tiles);
  g.lines = kThreads / g.lanes;
  g.line_groups = ceil_div(columns.axes[2].taps, kGroup);
  g.groups = columns.axes[0].taps * columns.axes[1].taps * g.line_groups;
  if (g.groups == 0 || g.positions == 0) {
    g.splits = 0;
    return g;
  }
  const std::int64_t wanted = std::clamp<std::int64_t>(kSumBlocks / (g.tiles * g.groups), 1, 256);
  g.split_positions = std::max(ceil_div(g.positions, wanted), g.lines * kSteps);
  g.splits = ceil_div(g.positions, g.split_positions);
  g.width = FastDivisor64(columns.axes[2].out);
  g.height = FastDivisor64(columns.axes[1].out);
  g.depth = FastDivisor64(columns.axes[0].out);
  g.shared = FastDivisor64(s.k / s.c);
  for (std::size_t i = 0; i < 3; ++i) g.axis[i] = Axis(columns.axes[i]);
  return g;
}

/// sums += what position p of y's gradient adds to taps t, t + 1, ... of line (i, j) of the filter.
template <class T, int V>
WEFT_DEVICE void add_position(const Sums& g, std::int64_t p, std::int64_t i, std::int64_t j, std::int64_t t,
                              const T* y_grad, const T* x, compute_t<T> (&sum)[kGroup][V]) {
  const std::int64_t line = g.width.quotient(p), w = p - line * g.width.value;
  const std::int64_t slab = g.height.quotient(line), h = line - slab * g.height.value;
  const std::int64_t image = g.depth.quotient(slab), d = slab - image * g.depth.value;
  const std::int64_t z = d * g.axis[0].step + g.axis[0].offset + i * g.axis[0].tap_step;
  const std::int64_t y = h * g.axis[1].step + g.axis[1].offset + j * g.axis[1].tap_step;
  if (z < 0 || z >= g.axis[0].in || y < 0 || y >= g.axis[1].in) return;
  const Vector<T, V> vector = vector_at<V>(y_grad, p * g.k);
  compute_t<T> gradient[V];
  WEFT_UNROLL
  for (int v = 0; v < V; ++v) gradient[v] = widen(vector.value[v]);
  const T* row = x + ((image * g.axis[0].in + z) * g.axis[1].in + y) * g.axis[2].in * g.x_channels;
  const std::int64_t first = w * g.axis[2].step + g.axis[2].offset;
  WEFT_UNROLL
  for (int b = 0; b < kGroup; ++b) {
    const std::int64_t at = first + (t + b) * g.axis[2].tap_step;
    if (t + b >= g.axis[2].taps || at < 0 || at >= g.axis[2].in) continue;
    add_product<T>(sum[b], vector_at<V>(row, at * g.x_channels), gradient);
  }
}

/// partials (splits, taps, k), in which taps are those of the columns.
template <class T, int V>
WEFT_KERNEL_OF(kThreads)
weight_sums_kernel(Sums g, const T* y_grad, const T* x, compute_t<T>* partials) {
  using C = compute_t<T>;
  WEFT_SHARED(C, shared, kThreads * V);
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t block = static_cast<std::int64_t>(blockIdx.x);
  const std::int64_t group = block / g.tiles % g.groups, split = block / g.tiles / g.groups;
  const std::int64_t lane = thread % g.lanes, line = thread / g.lanes;
  const std::int64_t channel = (block % g.tiles * g.lanes + lane) * V;
  const bool active = line < g.lines && channel < g.k;
  const std::int64_t filter_line = group / g.line_groups, first_tap = group % g.line_groups * kGroup;
  const std::int64_t i = filter_line / g.axis[1].taps, j = filter_line % g.axis[1].taps;
  ChainSums<C, kGroup, V> sums;
  if (active) {
    const std::int64_t begin = split * g.split_positions;
    const std::int64_t end = begin + g.split_positions < g.positions ? begin + g.split_positions : g.positions;
    const T* const x_channel = x + g.shared.quotient(channel);
    for (std::int64_t p = begin + line; p < end; p += g.lines) {
      add_position<T, V>(g, p, i, j, first_tap, y_grad + channel, x_channel, sums.sum);
      sums.count();
    }
    sums.finish();
  }
  C* const out = partials + ((split * g.axis[0].taps * g.axis[1].taps + filter_line) * g.axis[2].taps) * g.k;
  int half = 1;
  while (2 * half < g.lines) half *= 2;
  WEFT_UNROLL
  for (int b = 0; b < kGroup; ++b) {
    WEFT_UNROLL
    for (int v = 0; v < V; ++v) shared[v * kThreads + thread] = sums.sum[b][v];
    for (int distance = half; distance > 0; distance /= 2) {
      WEFT_BARRIER();
      if (line < distance && line + distance < g.lines) {
        const int other = thread + distance * static_cast<int>(g.lanes);
        WEFT_UNROLL
        for (int v = 0; v < V; ++v) shared[v * kThreads + thread] += shared[v * kThreads + other];
      }
    }
    if (active && line == 0 && first_tap + b < g.axis[2].taps) {
      WEFT_UNROLL
      for (int v = 0; v < V; ++v) out[(first_tap + b) * g.k + channel + v] = shared[v * kThreads + thread];
    }
    WEFT_BARRIER();
  }
}

/// Where the taps of columns lie in a whole filter; sizes[i] taps from first[i] on.
struct Kept {
  std::int64_t filter[3], first[3], sizes[3];
};

/// weight_grad (k, taps) = the sum of the splits in order, and zeros at the taps that the columns leave out.
template <class C>
WEFT_KERNEL_OF(kThreads)
weight_merge_kernel(Kept kept, std::int64_t k, std::int64_t splits, const C* partials, C* weight_grad) {
  const std::int64_t taps = kept.filter[0] * kept.filter[1] * kept.filter[2], i = global_thread();
  if (i >= k * taps) return;
  const std::int64_t channel = i % k, tap = i / k;  // of the filter
  const std::int64_t at[3] = {tap / kept.filter[2] / kept.filter[1] - kept.first[0],
                              tap / kept.filter[2] % kept.filter[1] - kept.first[1],
                              tap % kept.filter[2] - kept.first[2]};
  bool inside = true;
  std::int64_t place = 0, size = 1;
  WEFT_UNROLL
  for (int d = 0; d < 3; ++d) {
    inside = inside && at[d] >= 0 && at[d] < kept.sizes[d];
    place = place * kept.sizes[d] + at[d];
    size *= kept.sizes[d];
  }
  double sum = 0;
  for (std::int64_t split = 0; inside && split < splits; ++split) {
    sum += static_cast<double>(partials[(split * size + place) * k + channel]);
  }
  weight_grad[channel * taps + tap] = static_cast<C>(sum);
}

template <class T, int V>
void weight_grad(Context& context, const ConvShape& s, const T* y_grad, const T* x, compute_t<T>* out) {
  using C = compute_t<T>;
  const ConvColumns columns = forward_columns(s);
  const Sums g = sums_of<V>(s, columns);
  Kept kept{};
  for (std::size_t i = 0; i < 3; ++i) {
    kept.filter[i] = s.filter[i];
    kept.first[i] = columns.axes[i].first_tap;
    kept.sizes[i] = columns.axes[i].taps;
  }
  const std::int64_t elements = std::max<std::int64_t>(1, g.splits * columns.taps() * s.k);
  const Scratch partials(context, static_cast<std::size_t>(elements) * sizeof(C));
  launch({"depthwise_sums", g.splits * g.tiles * g.groups, kThreads, context.stream}, weight_sums_kernel<T, V>, g,
         y_grad, x, partials.as<C>());
  const std::int64_t taps = s.filter[0] * s.filter[1] * s.filter[2];
  launch({"depthwise_merge", blocks_for(s.k * taps, kThreads), kThreads, context.stream}, weight_merge_kernel<C>, kept,
         s.k, g.splits, partials.as<C>(), out);
}

template <class T, int V>
void depthwise_of(Context& context, const ConvCall& call) {
  using C = compute_t<T>;
  const ConvShape& s = call.shape;
  const ConstView &a = call.a, &b = call.b;
  if (call.pass == ConvPass::weight_grad) return weight_grad<T, V>(context, s, a.as<T>(), b.as<T>(), call.out.as<C>());
  gather<T, V>(context, s, call.pass == ConvPass::forward, a.as<T>(), b.as<C>(), call.bias.as<C>(), call.out.as<T>());
}

}  // namespace

void depthwise(CudaBackend& device, const ConvCall& call) {
  const ConvShape& shape = call.shape;
  const ConstView &a = call.a, &b = call.b;
  const View& out = call.out;
  if (shape.c == 0) return;
  if (shape.k == 0) return device.fill(out, 0);  // the input's gradient, or nothing
  dispatch_floating("depthwise convolution", a.dtype, [&]<class T>(Type<T>) {
    constexpr int kWidest = 16 / sizeof(T);
    const auto addresses = reinterpret_cast<std::uintptr_t>(a.data) | reinterpret_cast<std::uintptr_t>(b.data) |
                           reinterpret_cast<std::uintptr_t>(out.data);
    const bool wide = shape.k == shape.c && shape.c % kWidest == 0 && addresses % 16 == 0;
    (wide ? depthwise_of<T, kWidest> : depthwise_of<T, 1>)(device.context(), call);
  });
}

}  // namespace weft::cuda
