#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "core/device/integer.h"
#include "cuda/array/element.h"
#include "cuda/array/walk.h"
#include "cuda/runtime/context.h"

// What the kernels of batch normalisation share: how they cover (rows, channels), and sums over rows. Forward, norm.cu
// replaces these loops, backward norm_grad.cu similar ones with Σ g and Σ g·(x - mean):
//
//   for each channel c:
//     mean(c) = Σ over rows of x(row, c) / rows          moments_kernel reads x once: two f64 for each channel and
//     var(c) = Σ over rows of (x(row, c) - mean(c))²     split, which its last blocks merge
//     for each row:
//       y(row, c) = (x(row, c) - mean(c))·scale(c) + shift(c)          apply_kernel reads x again
//
//               channels
//            ┌─────────┬─────────┐   A block has one tile of channels and one split of the rows. Its 256 threads are
//   split 0  │ block 0 │ block 1 │   `lanes` vectors of V channels x `height` rows, and walk down the split together.
//            ├─────────┼─────────┤   Sums are in registers, in f32 over a few rows and then in f64; the rows of the
//   split 1  │ block 2 │ block 3 │   block are added as a tree in shared memory.
//            └─────────┴─────────┘
//
// The last block of kGroup splits of a tile merges their sums from device memory, and the last of a tile's groups
// merges the groups. The order of all sums follows from the grid, not from which block is last. Few rows
// (norm_small.cuh) take one launch, whose blocks keep their rows in registers.
namespace weft::cuda::norm {

inline constexpr int kThreads = 256;    // with f64 sums of V channels, two or three blocks fit a multiprocessor
inline constexpr int kLineBytes = 256;  // of a row that a block reads: two cache lines, so that narrow rows stack up
inline constexpr int kGroup = 32;       // splits that one block merges, so that neither level of merging is long

/// How a grid covers (rows, channels): a block's threads are `lanes` vectors of V neighbouring channels by `height`
/// rows, and walk down a split of rows together; block b has tile first_tile + b % tiles of the channels and split
/// b / tiles. Threads beyond lanes·height, and lanes beyond the last channel, have no rows. A narrow row is as wide as
/// the block, so reads are coalesced all the same.
struct Grid {
  std::int64_t rows, channels;
  std::int64_t splits, split_rows;
  int tiles, lanes, height, first_tile = 0;

  std::int64_t blocks() const { return splits * tiles; }
  WEFT_HOST_DEVICE std::int64_t groups() const { return (splits + kGroup - 1) / kGroup; }
};

template <class T, int V>
Grid grid_of(const Context& context, const ConstView& x, int least_rows_per_thread) {
  constexpr std::int64_t kMostLanes = kLineBytes / (sizeof(T) * V);
  Grid grid{x.shape[0], x.shape[1], 0, 0, 0, 0, 0, 0};
  const std::int64_t vectors = grid.channels / V, tiles = ceil_div(vectors, kMostLanes);
  grid.tiles = static_cast<int>(tiles);
  grid.lanes = static_cast<int>(ceil_div(vectors, tiles));
  grid.height = kThreads / grid.lanes;
  const std::int64_t least_rows = std::int64_t{grid.height} * least_rows_per_thread;
  // Eight blocks for each multiprocessor: some work while others wait for memory.
  const std::int64_t most_splits = std::max<std::int64_t>(8 * context.properties.multiprocessors / tiles, 1);
  const std::int64_t splits = std::clamp<std::int64_t>(grid.rows / least_rows, 1, most_splits);
  grid.split_rows = std::max<std::int64_t>(ceil_div(grid.rows, splits), 1);
  grid.splits = ceil_div(grid.rows, grid.split_rows);
  return grid;
}

/// A thread's channels [channel, channel + V) and rows begin, begin + height, ... below end.
struct ThreadRows {
  std::int64_t split, channel, begin, end;
  int line;
};

template <int V>
WEFT_DEVICE ThreadRows rows_of_thread(const Grid& grid) {
  const int block = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  ThreadRows own;
  own.split = block / grid.tiles;
  const std::int64_t tile = grid.first_tile + block % grid.tiles;
  own.channel = (tile * grid.lanes + thread % grid.lanes) * V;
  own.line = thread / grid.lanes;
  const std::int64_t first = own.split * grid.split_rows, last = first + grid.split_rows;
  own.end = last < grid.rows ? last : grid.rows;
  own.begin = own.line < grid.height && own.channel < grid.channels ? first + own.line : own.end;
  return own;
}

template <int V, class T>
WEFT_DEVICE Vector<T, V> vector_at(const T* data, std::int64_t at) {
  return *reinterpret_cast<const Vector<T, V>*>(data + at);
}

/// use(load(at), at) for the first of the thread's elements in each of its rows, in order; kAtOnce loads are under way
/// together, and end() follows at most that number of rows.
template <int kAtOnce, class Load, class Use, class End>
WEFT_DEVICE void for_rows(const Grid& grid, const ThreadRows& own, const Load& load, const Use& use, const End& end) {
  const std::int64_t step = grid.height * grid.channels;
  std::int64_t row = own.begin, at = row * grid.channels + own.channel;
  for (; row + (kAtOnce - 1) * grid.height < own.end; row += kAtOnce * grid.height, at += kAtOnce * step) {
    decltype(load(at)) loaded[kAtOnce];
    WEFT_UNROLL
    for (int i = 0; i < kAtOnce; ++i) loaded[i] = load(at + i * step);
    WEFT_UNROLL
    for (int i = 0; i < kAtOnce; ++i) use(loaded[i], at + i * step);
    end();
  }
  for (; row < own.end; row += grid.height, at += step) use(load(at), at);
  end();
}

/// The sums of up to two kinds for V channels: of C over few rows, and of these in f64.
template <class C, int V>
struct Sums {
  C a[V] = {}, b[V] = {};
  double all_a[V] = {}, all_b[V] = {};

  WEFT_DEVICE void widen_all() {
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) {
      all_a[j] += static_cast<double>(a[j]);
      all_b[j] += static_cast<double>(b[j]);
      a[j] = b[j] = C(0);
    }
  }
};

/// merge(other thread) for the `height` lines of `width` threads of a block, pairwise: line 0 ends up with all. Every
/// thread must call it.
template <class Merge>
WEFT_DEVICE void merge_lines(int width, int height, int line, const Merge& merge) {
  int half = 1;
  while (2 * half < height) half *= 2;
  for (; half > 0; half /= 2) {
    WEFT_BARRIER();
    if (line < half && line + half < height) merge(static_cast<int>(threadIdx.x) + half * width);
  }
}

/// The sums of a block's threads, added up over its lines: line 0 ends up with all. `a` and `b` are shared, for
/// kThreads · V each. Every thread must call it.
template <class C, int V>
WEFT_DEVICE void add_lines(const Grid& grid, const ThreadRows& own, Sums<C, V>& sums, double* a, double* b) {
  const int thread = static_cast<int>(threadIdx.x);
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    a[j * kThreads + thread] = sums.all_a[j];
    b[j * kThreads + thread] = sums.all_b[j];
  }
  merge_lines(grid.lanes, grid.height, own.line, [&](int other) {
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) {
      a[j * kThreads + thread] += a[j * kThreads + other];
      b[j * kThreads + thread] += b[j * kThreads + other];
    }
  });
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    sums.all_a[j] = a[j * kThreads + thread];
    sums.all_b[j] = b[j * kThreads + thread];
  }
}

/// A block's threads when it merges what others found of a tile: `height` lines of one thread per channel, which take
/// parts line, line + height, ... in order. Threads of further lines, or beyond the last channel, have nothing.
struct Mergers {
  int width, height, line;
  std::int64_t channel;
  bool used;
};

/// Sums of neighbouring parts of `rows` rows: two f64 of each channel, (parts, 2, channels). Each part has partial_rows
/// rows, except the last one.
struct Partials {
  const double* first;
  std::int64_t count, partial_rows, rows;

  WEFT_DEVICE double rows_of(std::int64_t part) const {
    const std::int64_t left = rows - part * partial_rows;
    return static_cast<double>(left < partial_rows ? left : partial_rows);
  }
};

/// Two numbers of a channel, in the order of the partials: two sums, or the mean and the sum of centred squares.
struct ChannelPair {
  double a, b;
};

/// The sum of `value` over the mergers of a channel, for all of them. Every thread must call it.
WEFT_DEVICE double merge_sum(double* shared, const Mergers& mergers, double value) {
  const int thread = static_cast<int>(threadIdx.x);
  WEFT_BARRIER();
  shared[thread] = value;
  merge_lines(mergers.width, mergers.height, mergers.line, [&](int other) { shared[thread] += shared[other]; });
  WEFT_BARRIER();
  return shared[thread % mergers.width];
}

/// Merges the splits of a tile. Every block of a grid calls it after it has written its split's sums to `partials`
/// (splits + groups, 2, channels). The last block of kGroup splits merges these, the last such block of a tile merges
/// the groups and calls finish(channel, ChannelPair). All threads of a block call merge(Partials, Mergers). `counters`
/// has groups + 1 for each tile.
template <int V, class Merge, class Finish>
WEFT_DEVICE void merge_splits(const Grid& grid, const ThreadRows& own, double* partials, unsigned* counters,
                              const Merge& merge, const Finish& finish) {
  const std::int64_t groups = grid.groups(), group = own.split / kGroup, group_rows = kGroup * grid.split_rows;
  const std::int64_t first = group * kGroup, left = grid.splits - first, members = left < kGroup ? left : kGroup;
  const std::int64_t tile = static_cast<std::int64_t>(blockIdx.x) % grid.tiles;
  unsigned* const counter = counters + tile * (groups + 1);
  if (!last_block(counter + 1 + group, members)) return;
  const int thread = static_cast<int>(threadIdx.x), width = grid.lanes * V;
  Mergers mergers{width, kThreads / width, thread / width, (grid.first_tile + tile) * width + thread % width, false};
  mergers.used = mergers.line < mergers.height && mergers.channel < grid.channels;
  const std::int64_t rows_left = grid.rows - group * group_rows;
  const Partials of_group{partials + 2 * first * grid.channels, members, grid.split_rows,
                          rows_left < group_rows ? rows_left : group_rows};
  ChannelPair merged = merge(of_group, mergers);
  if (groups > 1) {
    double* const all = partials + 2 * grid.splits * grid.channels;
    if (mergers.line == 0 && mergers.used) {
      all[2 * group * grid.channels + mergers.channel] = merged.a;
      all[(2 * group + 1) * grid.channels + mergers.channel] = merged.b;
    }
    if (!last_block(counter, groups)) return;
    merged = merge(Partials{all, groups, group_rows, grid.rows}, mergers);
  }
  if (mergers.line == 0 && mergers.used) finish(mergers.channel, merged);
}

/// f64 that merge_splits needs.
inline std::size_t partials_of(const Grid& grid) {
  return 2 * static_cast<std::size_t>((grid.splits + grid.groups()) * grid.channels);
}

/// Calls launch(part of the grid) until all tiles are done: each part has the tiles that the counters suffice for.
template <class Launch>
void for_tiles(const Context& context, const Grid& grid, const Launch& launch) {
  const auto most = static_cast<int>(context.limits.counters_at_once / (grid.groups() + 1));
  Grid part = grid;
  for (part.first_tile = 0; part.first_tile < grid.tiles; part.first_tile += part.tiles) {
    part.tiles = std::min(most, grid.tiles - part.first_tile);
    launch(part);
  }
}

/// What comes before the ReLU, of x - mean: the same bits wherever it is computed.
template <class C>
WEFT_DEVICE C normalised(C centred, C scale, C shift) {
  return std::fma(centred, scale, shift);
}

/// body(std::integral_constant<int, V>{}) with V channels of 16 bytes where they divide a row and all data is aligned
/// to that, else 1.
template <class T, class Body, class... Data>
void with_width(std::int64_t channels, const Body& body, Data... data) {
  constexpr int kWidest = 16 / sizeof(T);
  if (channels % kWidest == 0 && ((reinterpret_cast<std::uintptr_t>(data) | ...) % 16 == 0)) {
    body(std::integral_constant<int, kWidest>{});
  } else {
    body(std::integral_constant<int, 1>{});
  }
}

}  // namespace weft::cuda::norm
