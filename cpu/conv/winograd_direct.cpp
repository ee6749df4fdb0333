#include "cpu/conv/winograd_direct.h"

#include <algorithm>

#include "core/device/integer.h"
#include "cpu/conv/conv_kernels.h"
#include "cpu/conv/conv_product.h"

namespace weft::cpu::tiles {
namespace {

constexpr std::int64_t kChunkBytes = 8 << 20, kLeastTiles = 32;  // gathered at a time
constexpr std::int64_t kGatherTiles = 4;                         // of a task
constexpr std::int64_t kSumTiles = 16, kSumFilters = 64;         // of a partial sum, at most; of a task

/// A pixel of a map (n, size, channels).
template <class T>
T* at(T* map, Plane size, std::int64_t channels, std::int64_t image, std::int64_t y, std::int64_t x) {
  return map + ((image * size[0] + y) * size[1] + x) * channels;
}

/// Each tile's pixels, as an image of its own.
template <class T>
void gather_tiles(const DirectProduct<T>& p, const std::int64_t* numbers, std::int64_t count, T* images) {
  const std::int64_t pixels = p.grid.matrices();
  parallel_blocks(count, kGatherTiles, [&](std::int64_t begin, std::int64_t end) {
    const T* addresses[36];
    T* to = images + begin * pixels * p.inner;
    for (std::int64_t i = begin; i < end; ++i) {
      list_input(p.grid, tile_of(p.grid, numbers[i]), p.source, p.inner, p.zeros, addresses);
      for (std::int64_t j = 0; j < pixels; ++j, to += p.inner) std::copy_n(addresses[j], p.inner, to);
    }
  });
}

/// Adds up what the nine taps give, `images` each and `tap_size` apart, and the bias.
template <class T>
void scatter_tiles(const DirectProduct<T>& p, const std::int64_t* numbers, std::int64_t count, const T* images,
                   std::int64_t tap_size) {
  const std::int64_t side = p.grid.tile;
  parallel_blocks(count, kGatherTiles, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Tile tile = tile_of(p.grid, numbers[i]);
      for (std::int64_t j = 0; j < tile.size[0] * tile.size[1]; ++j) {
        const std::int64_t y = j / tile.size[1], x = j % tile.size[1];
        const T* const from = images + ((i * side + y) * side + x) * p.columns;
        T* const to = at(p.out, p.grid.out, p.columns, tile.image, tile.first[0] + y, tile.first[1] + x);
        for (std::int64_t k = 0; k < p.columns; ++k) {
          const auto pair = [&](std::int64_t tap) { return from[tap * tap_size + k] + from[(tap + 1) * tap_size + k]; };
          const T sum = ((pair(0) + pair(2)) + (pair(4) + pair(6))) + from[8 * tap_size + k];
          to[k] = p.bias == nullptr ? sum : sum + p.bias[k];
        }
      }
    }
  });
}

/// The rows of outputs of tiles, from tile `next` on, for which tap (i, j) reads x.
void list_rows(const Grid& grid, const ConvShape& shape, const std::vector<std::int64_t>& tiles, std::int64_t i,
               std::int64_t j, std::size_t& next, std::vector<ConvRows>& rows) {
  rows.clear();
  for (const std::size_t end = std::min<std::size_t>(next + kSumTiles, tiles.size()); next < end; ++next) {
    const Tile tile = tile_of(grid, tiles[next]);
    const Plane first{tile.first[0] - grid.padding[0] + i, tile.first[1] - grid.padding[1] + j};
    const Range lines = inside(first[0], 1, tile.size[0], grid.in[0]);
    const Range places = inside(first[1], 1, tile.size[1], grid.in[1]);
    if (places.begin >= places.end) continue;
    for (std::int64_t y = lines.begin; y < lines.end; ++y) {
      const std::int64_t from = (tile.image * grid.in[0] + first[0] + y) * grid.in[1] + first[1] + places.begin;
      const std::int64_t to =
          (tile.image * grid.out[0] + tile.first[0] + y) * grid.out[1] + tile.first[1] + places.begin;
      rows.push_back({from * shape.c, to * shape.k, places.end - places.begin});
    }
  }
}

}  // namespace

std::vector<std::int64_t> list_tiles(const std::uint8_t* marks, std::int64_t count) {
  std::vector<std::int64_t> numbers;
  for (std::int64_t i = 0; i < count; ++i) {
    if (marks[i] != 0) numbers.push_back(i);
  }
  return numbers;
}

template <class T>
void multiply_tiles(const DirectProduct<T>& p, const std::vector<std::int64_t>& tiles) {
  const auto all = static_cast<std::int64_t>(tiles.size());
  const std::int64_t side = p.grid.tile, padded = padded_columns<T>(p.columns);
  const std::int64_t source_size = p.grid.matrices() * p.inner, out_size = side * side * p.columns;
  const std::int64_t bytes = (source_size + 9 * out_size) * static_cast<std::int64_t>(sizeof(T));
  const std::int64_t chunk = even_part(all, std::max(kLeastTiles, kChunkBytes / bytes));
  const Shared<T> weight(padded * (1 + 9 * p.inner)), source(chunk * source_size), out(9 * chunk * out_size);
  T* const zeros = weight.data();
  std::fill_n(zeros, padded, T(0));
  // A product for each tap, so that its chain of rounded sums is no longer than that of Winograd's algorithm.
  std::vector<ConvProduct<T>> products;
  for (std::int64_t tap = 0; tap < 9; ++tap) {
    ConvProduct<T> product;
    product.columns.channels = p.inner;
    for (std::size_t d = 1; d < 3; ++d) {
      TapAxis& axis = product.columns.axes[d];
      axis.out = side;
      axis.in = side + 2;
      axis.offset = axis.first_tap = d == 1 ? tap / 3 : tap % 3;
    }
    T* const packed = zeros + padded * (1 + tap * p.inner);
    pack_weight(product.columns, {1, 3, 3}, 1, p.columns,
                {p.from.weight, 0, p.from.tap, p.from.inner_step, p.from.column_step}, packed);
    product.source = source.data();
    product.weight = packed;
    product.bias = zeros;
    product.out = out.data() + tap * chunk * out_size;
    product.channels = p.columns;
    product.extent = {1, side, side};
    products.push_back(product);
  }
  for (std::int64_t first = 0; first < all; first += chunk) {
    const std::int64_t* const numbers = tiles.data() + first;
    const std::int64_t count = std::min(chunk, all - first);
    gather_tiles(p, numbers, count, source.data());
    for (ConvProduct<T>& product : products) product.columns.n = count;
    multiply_products(products);
    scatter_tiles(p, numbers, count, out.data(), chunk * out_size);
  }
}

template <class T>
void add_weight_grad_tiles(const Grid& grid, const ConvShape& shape, const T* y_grad, const T* x,
                           const std::vector<std::int64_t>& tiles, T* weight_grad) {
  const std::int64_t blocks = ceil_div(shape.k, kSumFilters);
  parallel_for(9 * blocks, [&](std::int64_t task) {
    const std::int64_t tap = task / blocks, filter = task % blocks * kSumFilters;
    ConvSum<T> sum;
    sum.source = x;
    sum.y = y_grad + filter;
    sum.source_stride = shape.c;
    sum.y_stride = shape.k;
    sum.channels = shape.c;
    sum.cols = std::min(kSumFilters, shape.k - filter);
    sum.sum_stride = padded_columns<T>(sum.cols);
    sum.sum = conv_scratch<T>(ScratchSlot::task, shape.c * sum.sum_stride);
    std::vector<ConvRows> rows;
    for (std::size_t next = 0; next < tiles.size();) {
      list_rows(grid, shape, tiles, tap / 3, tap % 3, next, rows);
      if (rows.empty()) continue;
      sum.runs = rows.data();
      sum.run_count = static_cast<std::int64_t>(rows.size());
      std::fill_n(sum.sum, shape.c * sum.sum_stride, T(0));
      of<T>(conv_kernels()).sum(sum);
      for (std::int64_t k = 0; k < sum.cols; ++k) {
        T* const to = weight_grad + ((filter + k) * 9 + tap) * shape.c;
        for (std::int64_t c = 0; c < shape.c; ++c) to[c] += sum.sum[c * sum.sum_stride + k];
      }
    }
  });
}

template void multiply_tiles<float>(const DirectProduct<float>&, const std::vector<std::int64_t>&);
template void multiply_tiles<double>(const DirectProduct<double>&, const std::vector<std::int64_t>&);
template void add_weight_grad_tiles<float>(const Grid&, const ConvShape&, const float*, const float*,
                                           const std::vector<std::int64_t>&, float*);
template void add_weight_grad_tiles<double>(const Grid&, const ConvShape&, const double*, const double*,
                                            const std::vector<std::int64_t>&, double*);

}  // namespace weft::cpu::tiles
