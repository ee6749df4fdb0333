#include "core/device/order.h"
#include "cuda/array/element.h"
#include "cuda/array/walk.h"
#include "cuda/runtime/backend.h"

// The order of the elements along one axis. A line of the other axes becomes entries of a key, an integer in the order
// of the elements, and a place. Blocks sort tiles of kTile entries in shared memory: an entry's rank is the number of
// those before it, counted by its thread. Then each launch merges neighbouring sorted runs in pairs, a thread for each
// entry: its place in the merged run is its own in its run plus the number of the other run's entries before it, found
// by bisection. So no two threads write one place, and equal keys keep their order.
//
//   entries of a line    ├ kTile ┤ kTile ┤ kTile ┤ rest ┤    tiles
//                        ├──── merged ───┤── merged ────┤    width kTile
//                        ├──────────── merged ──────────┤    width 2·kTile
namespace weft::cuda {

namespace {

constexpr int kTile = 256;  // the comparisons of a thread, which read one address together

/// The axis that is sorted: its size, how many places are taken of it, its strides in the indices and in x, and the
/// tiles that cover it.
struct SortAxis {
  std::int64_t size, taken, indices, x, tiles;
};

/// Sorts tile number blockIdx of all lines. The walk's operands are the indices and x; keys are inverted where the
/// order descends.
template <class T>
WEFT_KERNEL_OF(kTile)
sort_tile_kernel(Walk<2> lines, SortAxis axis, bool descending, const T* x, SortEntry* entries) {
  WEFT_SHARED(std::int64_t, keys, kTile);
  const std::int64_t line = blockIdx.x / axis.tiles;
  const std::int64_t first = (blockIdx.x - line * axis.tiles) * kTile;
  const std::int64_t rest = axis.size - first;
  const int count = rest < kTile ? static_cast<int>(rest) : kTile;
  const int thread = static_cast<int>(threadIdx.x);
  std::int64_t own = 0;
  if (thread < count) {
    own = scalar::order_key(x[lines(line).of[1] + (first + thread) * axis.x]);
    if (descending) own = ~own;
    keys[thread] = own;
  }
  WEFT_BARRIER();
  if (thread >= count) return;
  int rank = 0;
  for (int j = 0; j < count; ++j) {
    const std::int64_t key = keys[j];
    rank += key < own || (key == own && j < thread) ? 1 : 0;
  }
  entries[line * axis.size + first + rank] = {own, first + thread};
}

/// Merges the sorted runs of `width` entries of each line in pairs.
WEFT_KERNEL merge_kernel(std::int64_t total, std::int64_t size, std::int64_t width, const SortEntry* in,
                         SortEntry* out) {
  const std::int64_t i = global_thread();
  if (i >= total) return;
  const std::int64_t line = i / size * size, at = i - line;
  const std::int64_t begin = at / (2 * width) * (2 * width);
  const std::int64_t middle = begin + width < size ? begin + width : size;
  const std::int64_t end = middle + width < size ? middle + width : size;
  const SortEntry own = in[i];
  const bool is_left = at < middle;
  const std::int64_t other = is_left ? middle : begin;
  std::int64_t low = other, high = is_left ? end : middle;
  while (low < high) {
    const std::int64_t half = low + (high - low) / 2;
    const std::int64_t key = in[line + half].key;
    if (key < own.key || (!is_left && key == own.key)) {
      low = half + 1;
    } else {
      high = half;
    }
  }
  const std::int64_t in_own = is_left ? at - begin : at - middle;
  out[line + begin + in_own + (low - other)] = own;
}

WEFT_KERNEL places_kernel(Walk<2> lines, SortAxis axis, const SortEntry* entries, std::int64_t* indices) {
  const std::int64_t i = global_thread();
  if (i >= lines.size * axis.taken) return;
  const std::int64_t line = i / axis.taken, at = i - line * axis.taken;
  indices[lines(line).of[0] + at * axis.indices] = entries[line * axis.size + at].place;
}

}  // namespace

void CudaBackend::argsort(const ConstView& x, int at, bool descending, const View& indices) {
  Shape shape = x.shape;
  shape[at] = 1;
  View results = indices;
  ConstView elements = x;
  results.shape = elements.shape = shape;
  const LoopNest nest(shape, {results, elements});
  const SortAxis axis{x.shape[at], indices.shape[at], indices.strides[at], x.strides[at],
                      blocks_for(x.shape[at], kTile)};
  const std::int64_t total = nest.size() * axis.size;
  if (total == 0 || axis.taken == 0) return;
  const Walk<2> lines(nest);
  const std::size_t bytes = entries_bytes(total);
  const Scratch first(context_, bytes), second(context_, axis.tiles > 1 ? bytes : 0);
  SortEntry *sorted = first.as<SortEntry>(), *next = second.as<SortEntry>();
  dispatch<Takes::ordered>("sort", x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch({"sort", nest.size() * axis.tiles, kTile, context_.stream}, sort_tile_kernel<T>, lines, axis, descending,
           static_cast<const T*>(nest.origin(1)), sorted);
  });
  const std::int64_t blocks = blocks_for(total, kTile);
  for (std::int64_t width = kTile; width < axis.size; width *= 2) {
    launch({"sort", blocks, kTile, context_.stream}, merge_kernel, total, axis.size, width, sorted, next);
    std::swap(sorted, next);
  }
  launch({"sort", blocks_for(nest.size() * axis.taken, kTile), kTile, context_.stream}, places_kernel, lines, axis,
         sorted, static_cast<std::int64_t*>(nest.origin(0)));
}

}  // namespace weft::cuda
