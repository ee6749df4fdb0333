#include "cpu/conv/winograd_tiles.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "core/device/integer.h"
#include "cpu/conv/conv_product.h"
#include "cpu/conv/winograd_direct.h"
#include "cpu/conv/winograd_fit.h"

namespace weft::cpu::tiles {
namespace {

// A weight gradient adds up chunks of tiles, which stay in the third-level cache where the inner size allows. Where its
// sums fit the second-level cache with a smaller chunk, splits of tiles have sums of their own.
constexpr std::int64_t kChunkBytes = 8 << 20, kLeastChunk = 256;
constexpr std::int64_t kSplits = 32, kSliceBytes = 1024 << 10, kSliceChunkBytes = 320 << 10;
constexpr std::int64_t kTransformTiles = 16, kSumRows = 64, kGrain = 1 << 14;  // of a task
constexpr std::int64_t kFloatTiles = 2048;  // are summed in float before they are added in double

/// How a weight gradient is cut, by shape and instruction set: splits of the tiles, one task each where there are
/// several, and chunks of a split, which are transformed and then added to its sums, `size` numbers: e² matrices of
/// (k, x_row).
template <class T>
struct SumPlan {
  Grid grid;
  ConvShape shape;
  std::int64_t x_row = 0, y_row = 0, matrix = 0, size = 0;
  std::int64_t splits = 1, split = 0, chunk = 0;  // split, chunk: tiles

  SumPlan(const Grid& tiles, const ConvShape& conv) : grid(tiles), shape(conv) {
    const auto bytes = static_cast<std::int64_t>(sizeof(T));
    x_row = whole_vectors<T>(shape.c) + kLine;
    y_row = whole_vectors<T>(shape.k) + kLine;
    matrix = shape.k * x_row + kLine;
    size = grid.matrices() * matrix;
    const std::int64_t tile_bytes = grid.matrices() * (x_row + y_row) * bytes;
    const bool small = size * bytes <= kSliceBytes;
    if (small) splits = std::clamp<std::int64_t>(grid.count() / kLeastChunk, 1, kSplits);
    split = even_part(grid.count(), ceil_div(grid.count(), splits));
    splits = ceil_div(grid.count(), split);
    chunk = splits > 1 ? std::max(kTransformTiles, kSliceChunkBytes / tile_bytes)
                       : std::max(kLeastChunk, kChunkBytes / tile_bytes);
    chunk = even_part(split, chunk);
  }
  std::int64_t x_matrix() const { return chunk * x_row + kLine; }
  std::int64_t y_matrix() const { return chunk * y_row + kLine; }
};

/// The operands of a weight gradient.
template <class T>
struct Operands {
  const T *y_grad = nullptr, *x = nullptr, *zeros = nullptr;
  Misfits* misfits = nullptr;  // the tiles that go to the direct product; null: none does
};

/// Row `row` of each matrix becomes zeros.
template <class T>
void clear_row(std::int64_t matrices, std::int64_t matrix, std::int64_t channels, T* row) {
  for (std::int64_t m = 0; m < matrices; ++m) std::fill_n(row + m * matrix, whole_vectors<T>(channels), T(0));
}

/// Marks those of tiles [begin, end) that do not fit and returns how many they are.
template <class T>
std::int64_t judge(const SumPlan<T>& plan, const Operands<T>& in, std::int64_t begin, std::int64_t end) {
  const Grid& grid = plan.grid;
  const auto fit = [&](std::int64_t first, std::int64_t last) {
    const Strip x = strip_of(grid, input_reads(grid), first, last), y = strip_of(grid, output_reads(grid), first, last);
    return sums_fit<T>(most_of(x, grid.in[1], plan.shape.c, in.x), most_of(y, grid.out[1], plan.shape.k, in.y_grad));
  };
  std::uint8_t* const marks = in.misfits->marks();
  std::fill(marks + begin, marks + end, std::uint8_t{0});
  if (fit(begin, end)) return 0;
  for (std::int64_t i = begin; i < end; ++i) marks[i] = fit(i, i + 1) ? 0 : 1;
  return std::count(marks + begin, marks + end, std::uint8_t{1});
}

/// Tiles [first, first + count) of both operands: e² matrices of rows (tile, channel) each, zeros for the tiles that do
/// not fit. Returns whether any fits.
template <class T>
bool transform_chunk(const SumPlan<T>& plan, const Operands<T>& in, std::int64_t first, std::int64_t count, T* x_tiles,
                     T* y_tiles) {
  const Grid& grid = plan.grid;
  const std::int64_t channels = plan.shape.c, filters = plan.shape.k;
  parallel_blocks(count, kTransformTiles, [&](std::int64_t begin, std::int64_t end) {
    const T* pixels[36];
    std::int64_t found = 0;
    for (std::int64_t i = begin, strip = begin; i < end; ++i) {
      if (in.misfits != nullptr && i == strip) {
        strip += strip_tiles(grid, first + i, first + end);
        found += judge(plan, in, first + i, first + strip);
      }
      if (in.misfits != nullptr && in.misfits->marks()[first + i] != 0) continue;
      const Tile tile = tile_of(grid, first + i);
      T *const x_to = x_tiles + i * plan.x_row, *const y_to = y_tiles + i * plan.y_row;
      list_input(grid, tile, in.x, channels, in.zeros, pixels);
      kernels<T>(grid.tile).input(pixels, channels, {x_to, plan.x_matrix(), kWinogradInner});
      list_pixels(in.y_grad + tile.image * grid.out[0] * grid.out[1] * filters, grid.out, filters, tile.first,
                  grid.tile, in.zeros, pixels);
      kernels<T>(grid.tile).output_grad(pixels, filters, {y_to, plan.y_matrix(), kWinogradInner});
    }
    if (in.misfits != nullptr) in.misfits->add(found, 0);
  });
  if (in.misfits == nullptr) return true;
  const std::uint8_t* const marks = in.misfits->marks() + first;
  if (!settle(in.misfits->marks(), first, first + count)) return false;
  for (std::int64_t i = 0; i < count; ++i) {
    if (marks[i] == 0) continue;
    clear_row(grid.matrices(), plan.x_matrix(), channels, x_tiles + i * plan.x_row);
    clear_row(grid.matrices(), plan.y_matrix(), filters, y_tiles + i * plan.y_row);
  }
  return true;
}

/// sums (+)= y's transformed gradientᵀ · the transformed x.
template <class T>
void add_chunk(const SumPlan<T>& plan, const T* x_tiles, const T* y_tiles, std::int64_t count, bool add, T* sums) {
  const std::int64_t filters = plan.shape.k, parts = ceil_div(filters, kSumRows);
  parallel_for(plan.grid.matrices() * parts, [&](std::int64_t task) {
    const std::int64_t m = task / parts, row = task % parts * kSumRows;
    WinogradProduct<T> p;
    p.rows = std::min(kSumRows, filters - row);
    p.cols = whole_vectors<T>(plan.shape.c);
    p.inner = count;
    p.left = y_tiles + m * plan.y_matrix() + row;
    p.left_step = plan.y_row;
    p.right = x_tiles + m * plan.x_matrix();
    p.right_step = plan.x_row;
    p.out = sums + m * plan.matrix + row * plan.x_row;
    p.out_step = plan.x_row;
    p.add = add;
    of<T>(winograd_kernels()).product_transposed(p);
  });
}

/// totals (+)= sums
template <class T>
void add_to_totals(const T* sums, std::int64_t size, bool add, double* totals) {
  parallel_blocks(size, kGrain, [&](std::int64_t i, std::int64_t end) {
    for (; i < end; ++i) totals[i] = (add ? totals[i] : 0) + static_cast<double>(sums[i]);
  });
}

/// Sums one split: one task among others, or, where there is one split, many tasks.
template <class T>
void sum_split(const SumPlan<T>& plan, std::int64_t split, const Operands<T>& in, T* sums) {
  const std::int64_t begin = split * plan.split, end = std::min(begin + plan.split, plan.grid.count());
  const Shared<T> x_tiles(plan.grid.matrices() * plan.x_matrix()), y_tiles(plan.grid.matrices() * plan.y_matrix());
  const bool deep = std::is_same_v<T, float> && end - begin > kFloatTiles;
  const Shared<double> totals(deep ? plan.size : 0);
  std::int64_t summed = 0;  // tiles in sums
  bool any = false;         // in totals
  for (std::int64_t first = begin; first < end; first += plan.chunk) {
    const std::int64_t count = std::min(plan.chunk, end - first);
    if (in.misfits != nullptr && in.misfits->are_too_many()) return;
    if (transform_chunk(plan, in, first, count, x_tiles.data(), y_tiles.data())) {
      add_chunk(plan, x_tiles.data(), y_tiles.data(), count, summed > 0, sums);
      summed += count;
    }
    if (!deep || summed == 0 || (summed < kFloatTiles && first + count < end)) continue;
    add_to_totals(sums, plan.size, any, totals.data());
    any = true;
    summed = 0;
  }
  if (any) {
    parallel_blocks(plan.size, kGrain, [&](std::int64_t i, std::int64_t last) {
      for (; i < last; ++i) sums[i] = static_cast<T>(totals.data()[i]);
    });
  } else if (summed == 0) {
    std::fill_n(sums, plan.size, T(0));
  }
}

/// Adds the splits up in order and writes the gradient of filter k.
template <class T>
void write_filter(const SumPlan<T>& plan, std::int64_t k, T* sums, T* out) {
  T* const row = sums + k * plan.x_row;
  for (std::int64_t split = 1; split < plan.splits; ++split) {
    for (std::int64_t m = 0; m < plan.grid.matrices(); ++m) {
      T* const to = row + m * plan.matrix;
      const T* const from = to + split * plan.size;
      for (std::int64_t c = 0; c < plan.shape.c; ++c) to[c] += from[c];
    }
  }
  kernels<T>(plan.grid.tile).weight_grad(row, plan.matrix, plan.shape.c, out);
}

}  // namespace

template <class T>
bool weight_grad(int tile, const ConvShape& shape, const T* y_grad, const T* x, T* out, bool bounded) {
  const Grid grid = forward_grid(tile, shape);
  const std::int64_t filter = 9 * shape.c, count = grid.count();
  if (shape.k == 0 || filter == 0) return true;
  if (count == 0) {
    std::fill_n(out, shape.k * filter, T(0));
    return true;
  }
  const SumPlan<T> plan(grid, shape);
  T* const zeros = conv_scratch<T>(ScratchSlot::shared, std::max(shape.c, shape.k));
  std::fill_n(zeros, std::max(shape.c, shape.k), T(0));
  const Shared<T> sums(plan.splits * plan.size);
  Misfits misfits(bounded ? count : 0);
  const Operands<T> in{y_grad, x, zeros, bounded ? &misfits : nullptr};
  parallel_for(plan.splits, [&](std::int64_t split) { sum_split(plan, split, in, sums.data() + split * plan.size); });
  if (misfits.are_too_many()) return false;
  std::vector<std::int64_t> unfit;
  if (bounded) unfit = list_tiles(misfits.marks(), count);
  if (too_many(static_cast<std::int64_t>(unfit.size()), count)) return false;
  parallel_for(shape.k, [&](std::int64_t k) { write_filter(plan, k, sums.data(), out + k * filter); });
  if (!unfit.empty()) add_weight_grad_tiles(grid, shape, y_grad, x, unfit, out);
  return true;
}

template bool weight_grad<float>(int, const ConvShape&, const float*, const float*, float*, bool);
template bool weight_grad<double>(int, const ConvShape&, const double*, const double*, double*, bool);

}  // namespace weft::cpu::tiles
