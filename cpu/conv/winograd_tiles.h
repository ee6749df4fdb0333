#pragma once

#include <array>
#include <type_traits>

#include "core/device/conv_plan.h"
#include "core/device/integer.h"
#include "cpu/conv/winograd_kernels.h"
#include "cpu/runtime/backend.h"

// What the passes of cpu/conv/winograd.h share: the tiles of a map, and memory for them.
namespace weft::cpu::tiles {

inline constexpr std::int64_t kLine = 16;  // elements between matrices, which else would share cache sets

template <class T>
const WinogradSet<T>& kernels(std::int64_t tile) {
  return tile == 2 ? of<T>(winograd_kernels()).two : of<T>(winograd_kernels()).four;
}

template <class T>
std::int64_t whole_vectors(std::int64_t channels) {
  const std::int64_t lanes = winograd_kernels().vector_bytes / static_cast<std::int64_t>(sizeof(T));
  return round_up(channels, lanes);
}

/// Memory for the length of a scope, in large pages: what all threads share.
template <class T>
class Shared {
 public:
  explicit Shared(std::int64_t size)
      : bytes_(static_cast<std::size_t>(size) * sizeof(T)), data_(static_cast<T*>(backend().allocate(bytes_))) {}
  ~Shared() { backend().deallocate(data_, bytes_); }
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

/// A tile: its image, its first output, and its outputs inside of the map along each axis.
struct Tile {
  std::int64_t image = 0;
  Plane first{}, size{};
};

inline Tile tile_of(const Grid& grid, std::int64_t i) {
  const std::int64_t across = grid.tiles[1], down = grid.tiles[0];
  Tile tile{i / across / down, {i / across % down * grid.tile, i % across * grid.tile}, {}};
  for (std::size_t d = 0; d < 2; ++d) tile.size[d] = std::min(grid.tile, grid.out[d] - tile.first[d]);
  return tile;
}

inline Grid make_grid(int tile, std::int64_t n, Plane in, Plane out, Plane padding) {
  return {tile, n, in, out, padding, {ceil_div(out[0], tile), ceil_div(out[1], tile)}};
}

inline Grid forward_grid(int tile, const ConvShape& s) {
  return make_grid(tile, s.n, {s.in[1], s.in[2]}, {s.out[1], s.out[2]}, {s.padding[1], s.padding[2]});
}

/// x's gradient is the convolution of y's with the flipped filter.
inline Grid input_grad_grid(int tile, const ConvShape& s) {
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

/// The pixels that a tile reads, (tile + 2)² of them.
template <class T>
void list_input(const Grid& grid, const Tile& tile, const T* x, std::int64_t channels, const T* zeros,
                const T** pixels) {
  list_pixels(x + tile.image * grid.in[0] * grid.in[1] * channels, grid.in, channels,
              {tile.first[0] - grid.padding[0], tile.first[1] - grid.padding[1]}, grid.tile + 2, zeros, pixels);
}

/// The weight gradient of cpu/conv/winograd.h. `bounded` and the result: see winograd_bounded; true without it.
template <class T>
bool weight_grad(int tile, const ConvShape& shape, const T* y_grad, const T* x, T* out, bool bounded);

}  // namespace weft::cpu::tiles
