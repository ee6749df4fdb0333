#include "cpu/winograd.h"

#include <algorithm>
#include <array>
#include <type_traits>

#include "core/conv_plan.h"
#include "cpu/conv_product.h"
#include "cpu/memory.h"
#include "cpu/winograd_kernels.h"

namespace weft::cpu {

WEFT_SIMD_DEFINE(WinogradKernels, winograd_kernels)

namespace {

// A block's transformed tiles stay in the second-level cache, where depth allows more than two panels of them.
constexpr std::int64_t kBlockBytes = 640 << 10;
constexpr std::int64_t kLeastPanels = 4, kMostPanels = 8;
constexpr std::int64_t kTasks = 24;         // at least, where the shape allows
constexpr std::int64_t kWeightDepths = 64;  // of a task that transforms weights
// A weight gradient adds up chunks of tiles, which stay in the third-level cache where depth allows. Where its sums fit
// the second-level cache with a smaller chunk, slices of tiles have sums of their own.
constexpr std::int64_t kChunkBytes = 8 << 20, kLeastChunk = 256;
constexpr std::int64_t kSlices = 32, kSliceBytes = 1024 << 10, kSliceChunkBytes = 320 << 10;
constexpr std::int64_t kTransformTiles = 16, kSumRows = 64;  // of a task
constexpr std::int64_t kLine = 16;                           // elements, lest matrices share cache sets

template <class T>
const WinogradKernelsOf<T>& kernels() {
  if constexpr (std::is_same_v<T, float>) return winograd_kernels().f32;
  if constexpr (std::is_same_v<T, double>) return winograd_kernels().f64;
}

template <class T>
const WinogradSet<T>& kernels(int tile) {
  return tile == 2 ? kernels<T>().two : kernels<T>().four;
}

template <class T>
std::int64_t whole_vectors(std::int64_t channels) {
  const std::int64_t lanes = winograd_kernels().vector_bytes / static_cast<std::int64_t>(sizeof(T));
  return ceil_div(channels, lanes) * lanes;
}

/// Memory for the length of a scope, in large pages: what all threads share.
template <class T>
class Shared {
 public:
  explicit Shared(std::int64_t size)
      : bytes_(static_cast<std::size_t>(size) * sizeof(T)), data_(static_cast<T*>(allocate(bytes_))) {}
  ~Shared() { deallocate(data_, bytes_); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  T* data() const { return data_; }

 private:
  std::size_t bytes_;
  T* data_;
};

using Plane = std::array<std::int64_t, 2>;

/// The tiles of a 3x3 convolution's output, image by image and row by row. Padding is before the first element and may
/// be negative.
struct Grid {
  std::int64_t tile = 0, n = 0;
  Plane in{}, out{}, padding{}, tiles{};

  std::int64_t count() const { return n * tiles[0] * tiles[1]; }
  std::int64_t matrices() const { return (tile + 2) * (tile + 2); }
};

struct At {
  std::int64_t image = 0;
  Plane first{};  // output
};

At place(const Grid& grid, std::int64_t i) {
  const std::int64_t across = grid.tiles[1], down = grid.tiles[0];
  return {i / across / down, {i / across % down * grid.tile, i % across * grid.tile}};
}

Grid make_grid(int tile, std::int64_t n, Plane in, Plane out, Plane padding) {
  return {tile, n, in, out, padding, {ceil_div(out[0], tile), ceil_div(out[1], tile)}};
}

Grid forward_grid(int tile, const ConvShape& s) {
  return make_grid(tile, s.n, {s.in[1], s.in[2]}, {s.out[1], s.out[2]}, {s.padding[1], s.padding[2]});
}

/// x's gradient is the convolution of y's with the flipped filter.
Grid input_grad_grid(int tile, const ConvShape& s) {
  return make_grid(tile, s.n, {s.out[1], s.out[2]}, {s.in[1], s.in[2]}, {2 - s.padding[1], 2 - s.padding[2]});
}

/// The addresses of side² pixels of an image from `first` on, row by row; those outside of it are `zeros`.
template <class T>
void list_pixels(const T* image, Plane size, std::int64_t channels, Plane first, std::int64_t side, const T* zeros,
                 const T** pixels) {
  for (std::int64_t y = first[0]; y < first[0] + side; ++y) {
    const bool row = y >= 0 && y < size[0];
    for (std::int64_t x = first[1]; x < first[1] + side; ++x) {
      *pixels++ = row && x >= 0 && x < size[1] ? image + (y * size[1] + x) * channels : zeros;
    }
  }
}

/// The input of tile i, transformed.
template <class T>
void transform_input(const Grid& grid, const T* x, std::int64_t channels, const T* zeros, std::int64_t i,
                     const WinogradPlace<T>& to) {
  const T* pixels[36];
  const At at = place(grid, i);
  list_pixels(x + at.image * grid.in[0] * grid.in[1] * channels, grid.in, channels,
              {at.first[0] - grid.padding[0], at.first[1] - grid.padding[1]}, grid.tile + 2, zeros, pixels);
  kernels<T>(static_cast<int>(grid.tile)).input(pixels, channels, to);
}

/// A product of transformed tiles and weights, cut by shape and instruction set: blocks of tiles, in panels of rows,
/// and blocks of two vectors of columns.
template <class T>
struct Product {
  Grid grid;
  std::int64_t depth = 0, columns = 0, width = 0, padded = 0;  // width: of a block of columns; padded: all columns
  std::int64_t block = 1, blocks = 0, panel = 1, panel_size = 0, matrix = 0;
  std::int64_t groups = 1, group_blocks = 1;  // of blocks of columns; one task each
  bool shared = false;                        // blocks are transformed once for all groups
  const T *source = nullptr, *zeros = nullptr, *weight = nullptr, *bias = nullptr;
  T* out = nullptr;

  Product(const Grid& tiles, std::int64_t channels, std::int64_t out_channels)
      : grid(tiles), depth(channels), columns(out_channels) {
    const auto bytes = static_cast<std::int64_t>(sizeof(T));
    width = 2 * whole_vectors<T>(1);
    padded = whole_vectors<T>(columns);
    const std::int64_t rows = winograd_kernels().rows, depths = ceil_div(depth, kWinogradDepth) * kWinogradDepth;
    const std::int64_t panels = kBlockBytes / (grid.matrices() * std::max(depths, width) * bytes) / rows;
    block = even_part(grid.count(), std::clamp(panels, kLeastPanels, kMostPanels) * rows);
    blocks = ceil_div(grid.count(), block);
    panel = even_part(block, rows);
    panel_size = depths * panel;
    matrix = ceil_div(block, panel) * panel_size + kLine;
    const std::int64_t column_blocks = ceil_div(columns, width);
    group_blocks = blocks == 0 ? 1 : even_part(column_blocks, ceil_div(column_blocks, ceil_div(kTasks, blocks)));
    groups = ceil_div(column_blocks, group_blocks);
    shared = groups > 1;
  }

  std::int64_t tiles_size() const { return grid.matrices() * matrix; }
  /// Of the weights of a block of columns, `cols` wide.
  std::int64_t weight_matrix(std::int64_t cols) const { return depth * cols + kLine; }
  /// Where the block of columns that begins with `col` has its weights; at the end, the size of all.
  std::int64_t weight_offset(std::int64_t col) const {
    return grid.matrices() * (depth * col + ceil_div(col, width) * kLine);
  }
};

template <class T>
void transform_block(const Product<T>& g, std::int64_t block, std::int64_t begin, std::int64_t end, T* tiles) {
  const std::int64_t last = std::min(end, g.grid.count() - block * g.block);
  for (std::int64_t i = begin; i < last; ++i) {
    T* const to = tiles + i / g.panel * g.panel_size + i % g.panel * kWinogradDepth;
    transform_input(g.grid, g.source, g.depth, g.zeros, block * g.block + i,
                    WinogradPlace<T>{to, g.matrix, g.panel * kWinogradDepth});
  }
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
    const At at = place(grid, first + i);
    output.rows = static_cast<int>(std::min(grid.tile, grid.out[0] - at.first[0]));
    output.cols = static_cast<int>(std::min(grid.tile, grid.out[1] - at.first[1]));
    output.out = g.out + ((at.image * grid.out[0] + at.first[0]) * grid.out[1] + at.first[1]) * g.columns + col;
    kernels<T>(static_cast<int>(grid.tile)).output(output);
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
    p.depth = g.depth;
    p.left_step = g.panel * kWinogradDepth;
    for (std::int64_t m = 0; m < g.grid.matrices(); ++m) {
      p.right = weight + m * g.weight_matrix(width);
      for (std::int64_t row = 0; row < rows; row += g.panel) {
        p.rows = std::min(g.panel, rows - row);
        p.left = tiles + m * g.matrix + row / g.panel * g.panel_size;
        p.out = sums + m * matrix + row * width;
        kernels<T>().product(p);
      }
    }
    store_block(g, block, col, {sums, matrix}, width);
  }
}

/// Transforms all weights, in blocks of columns; `from` says where they lie.
template <class T>
void transform_weight(const Product<T>& g, const WinogradWeight<T>& from, T* to) {
  const std::int64_t parts = ceil_div(g.depth, kWeightDepths);
  parallel_for(ceil_div(g.columns, g.width) * parts, [&](std::int64_t task) {
    const std::int64_t col = task / parts * g.width, first = task % parts * kWeightDepths;
    WinogradWeight<T> weight = from;
    weight.weight += col * from.column_step;
    weight.first = first;
    weight.last = std::min(first + kWeightDepths, g.depth);
    weight.columns = std::min(g.width, g.columns - col);
    weight.width = std::min(g.width, g.padded - col);
    weight.matrix = g.weight_matrix(weight.width);
    weight.out = to + g.weight_offset(col);
    kernels<T>(static_cast<int>(g.grid.tile)).weight(weight);
  });
}

template <class T>
void run_product(Product<T>& g, const WinogradWeight<T>& from) {
  if (g.blocks == 0 || g.columns == 0) return;
  const Shared<T> weight(g.weight_offset(g.padded));
  T* const zeros = conv_scratch<T>(kConvWeightSlot, g.depth);
  std::fill(zeros, zeros + g.depth, T(0));
  transform_weight(g, from, weight.data());
  g.zeros = zeros;
  g.weight = weight.data();
  const Shared<T> tiles(g.shared ? g.blocks * g.tiles_size() : 0);
  T* const shared = tiles.data();
  if (g.shared) {
    const std::int64_t parts = ceil_div(g.block, kTransformTiles);
    parallel_for(g.blocks * parts, [&](std::int64_t i) {
      const std::int64_t block = i / parts, begin = i % parts * kTransformTiles;
      transform_block(g, block, begin, std::min(begin + kTransformTiles, g.block), shared + block * g.tiles_size());
    });
  }
  parallel_for(g.blocks * g.groups, [&](std::int64_t task) {
    const std::int64_t block = task / g.groups, own = g.shared ? 0 : g.tiles_size();
    T* const memory = conv_scratch<T>(kConvTaskSlot, own + g.grid.matrices() * (g.block * g.width + kLine));
    if (!g.shared) transform_block(g, block, 0, g.block, memory);
    multiply_block(g, block, task % g.groups, g.shared ? shared + block * g.tiles_size() : memory, memory + own);
  });
}

template <class T>
void forward(int tile, const ConvShape& shape, const T* x, const T* weight, const T* bias, T* y) {
  Product<T> g(forward_grid(tile, shape), shape.c, shape.k);
  g.source = x;
  g.bias = bias;
  g.out = y;
  WinogradWeight<T> from;
  from.weight = weight;
  from.tap = shape.c;
  from.depth_step = 1;
  from.column_step = 9 * shape.c;
  run_product(g, from);
}

template <class T>
void input_grad(int tile, const ConvShape& shape, const T* y_grad, const T* weight, T* x_grad) {
  Product<T> g(input_grad_grid(tile, shape), shape.k, shape.c);
  g.source = y_grad;
  g.out = x_grad;
  WinogradWeight<T> from;
  from.weight = weight + 8 * shape.c;
  from.tap = -shape.c;
  from.depth_step = 9 * shape.c;
  from.column_step = 1;
  run_product(g, from);
}

/// How a weight gradient is cut, by shape and instruction set: slices of the tiles, one task each where there are
/// several, and chunks of a slice, which are transformed and then added to its sums, `size` numbers: e² matrices of
/// (k, x_row).
template <class T>
struct SumPlan {
  Grid grid;
  ConvShape shape;
  std::int64_t x_row = 0, y_row = 0, matrix = 0, size = 0;
  std::int64_t slices = 1, slice = 0, chunk = 0;  // slice, chunk: tiles

  SumPlan(const Grid& tiles, const ConvShape& conv) : grid(tiles), shape(conv) {
    const auto bytes = static_cast<std::int64_t>(sizeof(T));
    x_row = whole_vectors<T>(shape.c) + kLine;
    y_row = whole_vectors<T>(shape.k) + kLine;
    matrix = shape.k * x_row + kLine;
    size = grid.matrices() * matrix;
    const std::int64_t tile_bytes = grid.matrices() * (x_row + y_row) * bytes;
    const bool small = size * bytes <= kSliceBytes;
    if (small) slices = std::clamp<std::int64_t>(grid.count() / kLeastChunk, 1, kSlices);
    slice = even_part(grid.count(), ceil_div(grid.count(), slices));
    slices = ceil_div(grid.count(), slice);
    chunk = slices > 1 ? std::max(kTransformTiles, kSliceChunkBytes / tile_bytes)
                       : std::max(kLeastChunk, kChunkBytes / tile_bytes);
    chunk = even_part(slice, chunk);
  }
  std::int64_t x_matrix() const { return chunk * x_row + kLine; }
  std::int64_t y_matrix() const { return chunk * y_row + kLine; }
};

/// Tiles [first, first + count) of both operands: e² matrices of rows (tile, channel) each.
template <class T>
void transform_chunk(const SumPlan<T>& plan, const T* y_grad, const T* x, const T* zeros, std::int64_t first,
                     std::int64_t count, T* x_tiles, T* y_tiles) {
  const Grid& grid = plan.grid;
  const std::int64_t filters = plan.shape.k;
  parallel_blocks(count, kTransformTiles, [&](std::int64_t begin, std::int64_t end) {
    const T* pixels[16];
    for (std::int64_t i = begin; i < end; ++i) {
      transform_input(grid, x, plan.shape.c, zeros, first + i,
                      WinogradPlace<T>{x_tiles + i * plan.x_row, plan.x_matrix(), kWinogradDepth});
      const At at = place(grid, first + i);
      list_pixels(y_grad + at.image * grid.out[0] * grid.out[1] * filters, grid.out, filters, at.first, grid.tile,
                  zeros, pixels);
      kernels<T>(static_cast<int>(grid.tile))
          .output_grad(pixels, filters, {y_tiles + i * plan.y_row, plan.y_matrix(), kWinogradDepth});
    }
  });
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
    p.depth = count;
    p.left = y_tiles + m * plan.y_matrix() + row;
    p.left_step = plan.y_row;
    p.right = x_tiles + m * plan.x_matrix();
    p.right_step = plan.x_row;
    p.out = sums + m * plan.matrix + row * plan.x_row;
    p.out_step = plan.x_row;
    p.add = add;
    kernels<T>().product_transposed(p);
  });
}

/// A task of its own or, of one slice alone, many.
template <class T>
void sum_slice(const SumPlan<T>& plan, std::int64_t slice, const T* y_grad, const T* x, const T* zeros, T* sums) {
  const std::int64_t begin = slice * plan.slice, end = std::min(begin + plan.slice, plan.grid.count());
  const Shared<T> x_tiles(plan.grid.matrices() * plan.x_matrix()), y_tiles(plan.grid.matrices() * plan.y_matrix());
  for (std::int64_t first = begin; first < end; first += plan.chunk) {
    const std::int64_t count = std::min(plan.chunk, end - first);
    transform_chunk(plan, y_grad, x, zeros, first, count, x_tiles.data(), y_tiles.data());
    add_chunk(plan, x_tiles.data(), y_tiles.data(), count, first > begin, sums);
  }
}

/// Adds the slices up in order and writes the gradient of filter k.
template <class T>
void write_filter(const SumPlan<T>& plan, std::int64_t k, T* sums, T* out) {
  T* const row = sums + k * plan.x_row;
  for (std::int64_t slice = 1; slice < plan.slices; ++slice) {
    for (std::int64_t m = 0; m < plan.grid.matrices(); ++m) {
      T* const to = row + m * plan.matrix;
      const T* const from = to + slice * plan.size;
      for (std::int64_t c = 0; c < plan.shape.c; ++c) to[c] += from[c];
    }
  }
  kernels<T>(static_cast<int>(plan.grid.tile)).weight_grad(row, plan.matrix, plan.shape.c, out);
}

template <class T>
void weight_grad(int tile, const ConvShape& shape, const T* y_grad, const T* x, T* out) {
  const Grid grid = forward_grid(tile, shape);
  const std::int64_t filter = 9 * shape.c;
  if (shape.k == 0 || filter == 0) return;
  if (grid.count() == 0) {
    std::fill_n(out, shape.k * filter, T(0));
    return;
  }
  const SumPlan<T> plan(grid, shape);
  T* const zeros = conv_scratch<T>(kConvWeightSlot, std::max(shape.c, shape.k));
  std::fill_n(zeros, std::max(shape.c, shape.k), T(0));
  const Shared<T> sums(plan.slices * plan.size);
  parallel_for(plan.slices,
               [&](std::int64_t slice) { sum_slice(plan, slice, y_grad, x, zeros, sums.data() + slice * plan.size); });
  parallel_for(shape.k, [&](std::int64_t k) { write_filter(plan, k, sums.data(), out + k * filter); });
}

}  // namespace

template <class T>
void winograd(ConvPass pass, int tile, const ConvShape& shape, const T* a, const T* b, const T* bias, T* out) {
  switch (pass) {
    case ConvPass::forward:
      return forward(tile, shape, a, b, bias, out);
    case ConvPass::input_grad:
      return input_grad(tile, shape, a, b, out);
    case ConvPass::weight_grad:
      return weight_grad(tile, shape, a, b, out);
  }
}

template void winograd<float>(ConvPass, int, const ConvShape&, const float*, const float*, const float*, float*);
template void winograd<double>(ConvPass, int, const ConvShape&, const double*, const double*, const double*, double*);

}  // namespace weft::cpu
