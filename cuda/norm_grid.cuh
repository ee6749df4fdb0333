#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "cuda/context.h"
#include "cuda/element.h"
#include "cuda/walk.h"

// What the kernels of batch normalisation share: how they cover (rows, channels), and sums over rows.
namespace weft::cuda::norm {

inline constexpr int kThreads = 256;
inline constexpr int kLineBytes = 256;                                          // a block reads of one row, at most
inline constexpr int kMergeChannels = 8, kMergers = kThreads / kMergeChannels;  // 8 f64 are two sectors of memory

/// How a grid covers (rows, channels): a block's threads are `lanes` vectors of V neighbouring channels by `height`
/// rows, and walk down a slice of rows together; block b has tile b % tiles of the channels and slice b / tiles.
/// Threads beyond lanes·height, and lanes beyond the last channel, have no rows. A narrow row is as wide as the block,
/// so reads are coalesced all the same.
struct Grid {
  std::int64_t rows, channels;
  std::int64_t slices, slice_rows;
  int tiles, lanes, height;

  std::int64_t blocks() const { return slices * tiles; }
};

template <class T, int V>
Grid grid_of(const Context& context, const ConstView& x, int least_rows_per_thread) {
  constexpr std::int64_t kMostLanes = kLineBytes / (sizeof(T) * V);
  Grid grid{x.shape[0], x.shape[1], 0, 0, 0, 0, 0};
  const std::int64_t vectors = grid.channels / V, tiles = (vectors + kMostLanes - 1) / kMostLanes;
  grid.tiles = static_cast<int>(tiles);
  grid.lanes = static_cast<int>((vectors + tiles - 1) / tiles);
  grid.height = kThreads / grid.lanes;
  const std::int64_t least_rows = std::int64_t{grid.height} * least_rows_per_thread;
  const std::int64_t most_slices = std::max<std::int64_t>(8 * context.properties.multiprocessors / tiles, 1);
  const std::int64_t slices = std::clamp<std::int64_t>(grid.rows / least_rows, 1, most_slices);
  grid.slice_rows = std::max<std::int64_t>((grid.rows + slices - 1) / slices, 1);
  grid.slices = (grid.rows + grid.slice_rows - 1) / grid.slice_rows;
  return grid;
}

/// A thread's channels [channel, channel + V) and rows begin, begin + height, ... below end.
struct Place {
  std::int64_t slice, channel, begin, end;
  int line;
};

template <int V>
WEFT_DEVICE Place place_in(const Grid& grid) {
  const int block = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  Place place;
  place.slice = block / grid.tiles;
  place.channel = (static_cast<std::int64_t>(block % grid.tiles) * grid.lanes + thread % grid.lanes) * V;
  place.line = thread / grid.lanes;
  const std::int64_t first = place.slice * grid.slice_rows, last = first + grid.slice_rows;
  place.end = last < grid.rows ? last : grid.rows;
  place.begin = place.line < grid.height && place.channel < grid.channels ? first + place.line : place.end;
  return place;
}

template <int V, class T>
WEFT_DEVICE Pack<T, V> pack_at(const T* data, std::int64_t at) {
  return *reinterpret_cast<const Pack<T, V>*>(data + at);
}

/// use(load(at), at) for the first of the thread's elements in each of its rows, in order; kAtOnce loads are under way
/// together.
template <int kAtOnce, class Load, class Use>
WEFT_DEVICE void for_rows(const Grid& grid, const Place& place, const Load& load, const Use& use) {
  const std::int64_t step = grid.height * grid.channels;
  std::int64_t row = place.begin, at = row * grid.channels + place.channel;
  for (; row + (kAtOnce - 1) * grid.height < place.end; row += kAtOnce * grid.height, at += kAtOnce * step) {
    decltype(load(at)) loaded[kAtOnce];
    WEFT_UNROLL
    for (int i = 0; i < kAtOnce; ++i) loaded[i] = load(at + i * step);
    WEFT_UNROLL
    for (int i = 0; i < kAtOnce; ++i) use(loaded[i], at + i * step);
  }
  for (; row < place.end; row += grid.height, at += step) use(load(at), at);
}

/// merge(other thread) for the lines of a block, pairwise: line 0 ends up with all. Every thread must call it.
template <class Merge>
WEFT_DEVICE void merge_lines(const Grid& grid, int line, const Merge& merge) {
  int half = 1;
  while (2 * half < grid.height) half *= 2;
  for (; half > 0; half /= 2) {
    WEFT_BARRIER();
    if (line < half && line + half < grid.height) merge(static_cast<int>(threadIdx.x) + half * grid.lanes);
  }
}

/// A block's sum of `value` over its kMergers threads of a channel (thread t has channel t % kMergeChannels), pairwise.
WEFT_DEVICE double merge_sum(double* shared, double value) {
  const int thread = static_cast<int>(threadIdx.x);
  WEFT_BARRIER();
  shared[thread] = value;
  for (int half = kMergers / 2; half > 0; half /= 2) {
    WEFT_BARRIER();
    if (thread < half * kMergeChannels) shared[thread] += shared[thread + half * kMergeChannels];
  }
  WEFT_BARRIER();
  return shared[thread % kMergeChannels];
}

/// What comes before the ReLU, the same bits wherever it is computed.
template <class C>
WEFT_DEVICE C normalised(C x, C scale, C shift) {
  return std::fma(x, scale, shift);
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
