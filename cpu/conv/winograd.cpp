#include "cpu/conv/winograd.h"

#include <algorithm>
#include <vector>

#include "core/device/integer.h"
#include "cpu/conv/conv_product.h"
#include "cpu/conv/winograd_direct.h"
#include "cpu/conv/winograd_fit.h"
#include "cpu/conv/winograd_tiles.h"

namespace weft::cpu {

WEFT_SIMD_DEFINE(WinogradKernels, winograd_kernels)

namespace tiles {
namespace {

// A block's transformed tiles stay in the second-level cache, where the inner size allows more than two panels of them.
constexpr std::int64_t kBlockBytes = 640 << 10;
constexpr std::int64_t kLeastPanels = 4, kMostPanels = 8;
constexpr std::int64_t kTasks = 24;                       // at least, where the shape allows
constexpr std::int64_t kWeightInner = 64;                 // of a task that transforms weights
constexpr std::int64_t kMostInner = 64 * kWinogradInner;  // whose chains of sums keep the promise
constexpr std::int64_t kTransformTiles = 16;              // of a task

/// A product of transformed tiles and weights, cut by shape and instruction set: blocks of tiles, in panels of rows,
/// and blocks of two vectors of columns.
template <class T>
struct Product {
  Grid grid;
  std::int64_t inner = 0, columns = 0, width = 0, padded = 0;  // width: of a block of columns; padded: all columns
  std::int64_t block = 1, blocks = 0, panel = 1, panel_size = 0, matrix = 0;
  std::int64_t groups = 1, group_blocks = 1;  // of blocks of columns; one task each
  bool shared = false;                        // blocks are transformed once for all groups
  const T *source = nullptr, *zeros = nullptr, *weight = nullptr, *bias = nullptr;
  T* out = nullptr;
  Misfits* misfits = nullptr;       // the tiles that go to the direct product; null: none does
  T limit = most_for_filter(T(1));  // of a tile's magnitudes, with `misfits`

  Product(const Grid& tiles, std::int64_t channels, std::int64_t out_channels)
      : grid(tiles), inner(channels), columns(out_channels) {
    const auto bytes = static_cast<std::int64_t>(sizeof(T));
    width = 2 * whole_vectors<T>(1);
    padded = whole_vectors<T>(columns);
    const std::int64_t rows = winograd_kernels().rows, inner_count = round_up(inner, kWinogradInner);
    const std::int64_t panels = kBlockBytes / (grid.matrices() * std::max(inner_count, width) * bytes) / rows;
    block = even_part(grid.count(), std::clamp(panels, kLeastPanels, kMostPanels) * rows);
    blocks = ceil_div(grid.count(), block);
    panel = even_part(block, rows);
    panel_size = inner_count * panel;
    matrix = ceil_div(block, panel) * panel_size + kLine;
    const std::int64_t column_blocks = ceil_div(columns, width);
    group_blocks = blocks == 0 ? 1 : even_part(column_blocks, ceil_div(column_blocks, ceil_div(kTasks, blocks)));
    groups = ceil_div(column_blocks, group_blocks);
    shared = groups > 1;
  }

  std::int64_t tiles_size() const { return grid.matrices() * matrix; }
  /// Of the weights of a block of columns, `cols` wide.
  std::int64_t weight_matrix(std::int64_t cols) const { return inner * cols + kLine; }
  /// Where the block of columns that begins with `col` has its weights; at the end, the size of all.
  std::int64_t weight_offset(std::int64_t col) const {
    return grid.matrices() * (inner * col + ceil_div(col, width) * kLine);
  }
};

template <class T>
void transform_block(const Product<T>& g, std::int64_t block, std::int64_t begin, std::int64_t end, T* tiles) {
  const std::int64_t last = std::min(end, g.grid.count() - block * g.block);
  const T* pixels[36];
  Judge<T> judge(g.grid, g.source, g.inner, g.limit);
  for (std::int64_t i = begin, strip = begin; i < last; ++i) {
    const std::int64_t number = block * g.block + i;
    if (g.misfits != nullptr && i == strip) {
      strip += strip_tiles(g.grid, number, block * g.block + last);
      judge.judge(number, block * g.block + strip, g.misfits->marks() + number);
    }
    T* const to = tiles + i / g.panel * g.panel_size + i % g.panel * kWinogradInner;
    list_input(g.grid, tile_of(g.grid, number), g.source, g.inner, g.zeros, pixels);
    kernels<T>(g.grid.tile).input(pixels, g.inner, {to, g.matrix, g.panel * kWinogradInner});
  }
  if (g.misfits != nullptr) g.misfits->add(judge.found(), judge.largest_fit());
}

/// Whether im2col computes all, so that nothing more need be done.
template <class T>
bool is_lost(const Product<T>& g) {
  return g.misfits != nullptr && g.misfits->are_too_many();
}

/// After all of a block is transformed: whether Winograd's algorithm computes any of its tiles.
template <class T>
bool settle_block(const Product<T>& g, std::int64_t block) {
  if (g.misfits == nullptr) return true;
  return settle(g.misfits->marks(), block * g.block, std::min((block + 1) * g.block, g.grid.count()));
}

/// Stores one block of columns, from `col` on, of a block's products.
template <class T>
void store_block(const Product<T>& g, std::int64_t block, std::int64_t col, const WinogradOutput<T>& from,
                 std::int64_t width) {
  const Grid& grid = g.grid;
  const std::int64_t first = block * g.block, tiles = std::min(g.block, grid.count() - first);
  WinogradOutput<T> output = from;
  output.channels = std::min(g.width, g.columns - col);
  output.bias = g.bias == nullptr ? nullptr : g.bias + col;
  output.col_step = g.columns;
  output.row_step = grid.out[1] * g.columns;
  for (std::int64_t i = 0; i < tiles; ++i, output.from += width) {
    if (g.misfits != nullptr && g.misfits->marks()[first + i] != 0) continue;
    const Tile tile = tile_of(grid, first + i);
    output.rows = static_cast<int>(tile.size[0]);
    output.cols = static_cast<int>(tile.size[1]);
    output.out = g.out + ((tile.image * grid.out[0] + tile.first[0]) * grid.out[1] + tile.first[1]) * g.columns + col;
    kernels<T>(grid.tile).output(output);
  }
}

/// A block of tiles times a group of blocks of columns. `sums` has room for one block of them.
template <class T>
void multiply_block(const Product<T>& g, std::int64_t block, std::int64_t group, const T* tiles, T* sums) {
  const std::int64_t rows = std::min(g.block, g.grid.count() - block * g.block);
  const std::int64_t begin = group * g.group_blocks * g.width;
  const std::int64_t end = std::min(begin + g.group_blocks * g.width, g.columns);
  for (std::int64_t col = begin; col < end; col += g.width) {
    const std::int64_t width = std::min(g.width, g.padded - col), matrix = g.block * width + kLine;
    const T* const weight = g.weight + g.weight_offset(col);
    WinogradProduct<T> p;
    p.cols = p.out_step = p.right_step = width;
    p.inner = g.inner;
    p.left_step = g.panel * kWinogradInner;
    for (std::int64_t m = 0; m < g.grid.matrices(); ++m) {
      p.right = weight + m * g.weight_matrix(width);
      for (std::int64_t row = 0; row < rows; row += g.panel) {
        p.rows = std::min(g.panel, rows - row);
        p.left = tiles + m * g.matrix + row / g.panel * g.panel_size;
        p.out = sums + m * matrix + row * width;
        of<T>(winograd_kernels()).product(p);
      }
    }
    store_block(g, block, col, {sums, matrix}, width);
  }
}

/// Transforms all weights, in blocks of columns; `from` says where they lie. Returns the largest magnitude of a tap.
template <class T>
Magnitude<T> transform_weight(const Product<T>& g, const WinogradWeight<T>& from, T* to) {
  const std::int64_t parts = ceil_div(g.inner, kWeightInner), tasks = ceil_div(g.columns, g.width) * parts;
  std::vector<Magnitude<T>> largest(static_cast<std::size_t>(tasks));
  parallel_for(tasks, [&](std::int64_t task) {
    const std::int64_t col = task / parts * g.width, first = task % parts * kWeightInner;
    WinogradWeight<T> weight = from;
    weight.weight += col * from.column_step;
    weight.first = first;
    weight.last = std::min(first + kWeightInner, g.inner);
    weight.columns = std::min(g.width, g.columns - col);
    weight.width = std::min(g.width, g.padded - col);
    weight.matrix = g.weight_matrix(weight.width);
    weight.out = to + g.weight_offset(col);
    largest[static_cast<std::size_t>(task)] = kernels<T>(g.grid.tile).weight(weight);
  });
  Magnitude<T> all = 0;
  for (const Magnitude<T> one : largest) all = std::max(all, one);
  return all;
}

/// All blocks, where they are shared. any: 1 for those of which any tile fits.
template <class T>
void transform_blocks(const Product<T>& g, T* shared, std::vector<std::uint8_t>& any) {
  const std::int64_t parts = ceil_div(g.block, kTransformTiles);
  parallel_for(g.blocks * parts, [&](std::int64_t i) {
    if (is_lost(g)) return;
    const std::int64_t block = i / parts, begin = i % parts * kTransformTiles;
    transform_block(g, block, begin, std::min(begin + kTransformTiles, g.block), shared + block * g.tiles_size());
  });
  for (std::int64_t block = 0; block < g.blocks && !is_lost(g); ++block) {
    any.push_back(settle_block(g, block) ? 1 : 0);
  }
}

/// The products of all tiles that fit; `shared` and `any` are those of shared blocks.
template <class T>
void multiply_blocks(const Product<T>& g, const T* shared, const std::vector<std::uint8_t>& any) {
  parallel_for(g.blocks * g.groups, [&](std::int64_t task) {
    const std::int64_t block = task / g.groups, own = g.shared ? 0 : g.tiles_size();
    if (is_lost(g) || (g.shared && any[static_cast<std::size_t>(block)] == 0)) return;
    T* const memory = conv_scratch<T>(ScratchSlot::task, own + g.grid.matrices() * (g.block * g.width + kLine));
    if (!g.shared) {
      transform_block(g, block, 0, g.block, memory);
      if (!settle_block(g, block)) return;
    }
    multiply_block(g, block, task % g.groups, g.shared ? shared + block * g.tiles_size() : memory, memory + own);
  });
}

/// `bounded` and the result: see winograd_bounded.
template <class T>
bool run_product(Product<T>& g, const WinogradWeight<T>& from, bool bounded) {
  if (g.blocks == 0 || g.columns == 0) return true;
  if (bounded && g.inner > kMostInner) return false;
  const std::int64_t count = g.grid.count();
  Misfits misfits(bounded ? count : 0);
  if (bounded) g.misfits = &misfits;
  T* const zeros = conv_scratch<T>(ScratchSlot::shared, g.inner);
  std::fill(zeros, zeros + g.inner, T(0));
  g.zeros = zeros;
  // Shared blocks are few, so that the weight's transform takes long beside theirs.
  const Shared<T> tiles(g.shared ? g.blocks * g.tiles_size() : 0);
  std::vector<std::uint8_t> any;
  if (g.shared) transform_blocks(g, tiles.data(), any);
  if (is_lost(g)) return false;
  const Shared<T> weight(g.weight_offset(g.padded));
  g.limit = most_for_filter(value_of<T>(transform_weight(g, from, weight.data())));
  if (bounded && !(value_of<T>(static_cast<Magnitude<T>>(misfits.largest_fit())) <= g.limit)) return false;
  g.weight = weight.data();
  multiply_blocks(g, static_cast<const T*>(tiles.data()), any);
  if (!bounded) return true;
  if (is_lost(g)) return false;
  const std::vector<std::int64_t> unfit = list_tiles(misfits.marks(), count);
  if (too_many(static_cast<std::int64_t>(unfit.size()), count)) return false;
  if (!unfit.empty()) multiply_tiles<T>({g.grid, g.inner, g.columns, g.source, zeros, g.bias, g.out, from}, unfit);
  return true;
}

template <class T>
bool forward(int tile, const ConvShape& shape, const T* x, const T* weight, const T* bias, T* y, bool bounded) {
  Product<T> g(forward_grid(tile, shape), shape.c, shape.k);
  g.source = x;
  g.bias = bias;
  g.out = y;
  WinogradWeight<T> from;
  from.weight = weight;
  from.tap = shape.c;
  from.inner_step = 1;
  from.column_step = 9 * shape.c;
  return run_product(g, from, bounded);
}

template <class T>
bool input_grad(int tile, const ConvShape& shape, const T* y_grad, const T* weight, T* x_grad, bool bounded) {
  Product<T> g(input_grad_grid(tile, shape), shape.k, shape.c);
  g.source = y_grad;
  g.out = x_grad;
  WinogradWeight<T> from;
  from.weight = weight + 8 * shape.c;
  from.tap = -shape.c;
  from.inner_step = 9 * shape.c;
  from.column_step = 1;
  return run_product(g, from, bounded);
}

template <class T>
bool winograd_of(ConvPass pass, int tile, const ConvShape& shape, const T* a, const T* b, const T* bias, T* out,
                 bool bounded) {
  switch (pass) {
    case ConvPass::forward:
      return forward(tile, shape, a, b, bias, out, bounded);
    case ConvPass::input_grad:
      return input_grad(tile, shape, a, b, out, bounded);
    case ConvPass::weight_grad:
      return weight_grad(tile, shape, a, b, out, bounded);
  }
  return true;
}

}  // namespace
}  // namespace tiles

template <class T>
void winograd(ConvPass pass, int tile, const ConvShape& shape, const T* a, const T* b, const T* bias, T* out) {
  tiles::winograd_of(pass, tile, shape, a, b, bias, out, false);
}

template <class T>
bool winograd_bounded(ConvPass pass, int tile, const ConvShape& shape, const T* a, const T* b, const T* bias, T* out) {
  return tiles::winograd_of(pass, tile, shape, a, b, bias, out, true);
}

template void winograd<float>(ConvPass, int, const ConvShape&, const float*, const float*, const float*, float*);
template void winograd<double>(ConvPass, int, const ConvShape&, const double*, const double*, const double*, double*);
template bool winograd_bounded<float>(ConvPass, int, const ConvShape&, const float*, const float*, const float*,
                                      float*);
template bool winograd_bounded<double>(ConvPass, int, const ConvShape&, const double*, const double*, const double*,
                                       double*);

}  // namespace weft::cpu
