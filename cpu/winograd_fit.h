#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>

#include "cpu/winograd_tiles.h"

// Which tiles Winograd's algorithm computes within the promise of ConvAlgo::automatic (weft/conv_algo.h). Its rounding
// errors grow with the largest pixel of a tile, an output's tolerance with the largest that the output sees.
namespace weft::cpu::tiles {

/// A tile's largest pixel over the least of the largest ones that its outputs see. In random trials the errors of
/// F(4x4) are 4.1e-6 X W at 64 and 2.6e-5 at 256.
inline constexpr int kMostRatio = 64;
/// The limit of a pixel, of a filter and of the product of both: the transforms enlarge it by up to 2304.
inline constexpr double kMostMagnitude = 0x1p100;

/// NaN and infinity stay what they are, so that comparisons with limits fail.
template <class T>
T value_of(Magnitude<T> bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// The largest pixel that a filter with this largest tap allows; negative where it allows none.
template <class T>
T most_for_filter(T filter) {
  constexpr T kMost = static_cast<T>(kMostMagnitude);
  return filter <= kMost ? std::min(kMost, kMost / filter) : T(-1);
}

/// Whether every output of the tile inside of the map sees, by its window of 3x3 pixels, at least a 64th of the tile's
/// largest.
template <class T>
bool windows_fit(const Grid& grid, const Tile& tile, const T* const* pixels, std::int64_t channels, T most) {
  const std::int64_t side = grid.tile + 2;
  Magnitude<T> largest[36];
  kernels<T>().largest(pixels, side * side, channels, largest);
  for (std::int64_t y = 0; y < tile.size[0]; ++y) {
    for (std::int64_t x = 0; x < tile.size[1]; ++x) {
      Magnitude<T> seen = 0;
      for (std::int64_t i = 0; i < 9; ++i) seen = std::max(seen, largest[(y + i / 3) * side + x + i % 3]);
      if (most > kMostRatio * value_of<T>(seen)) return false;
    }
  }
  return true;
}

/// Whether a tile of a product fits; `limit` is from most_for_filter.
template <class T>
bool tile_fits(const Grid& grid, const Tile& tile, const T* const* pixels, std::int64_t channels,
               const WinogradLargest<T>& largest, T limit) {
  const T most = value_of<T>(largest.all);
  if (!(most <= limit)) return false;
  // Every window holds one of these four, without the last row and column where it is among the first three.
  const int rows = grid.tile == 2 || tile.size[0] > 3 ? 2 : 1, cols = grid.tile == 2 || tile.size[1] > 3 ? 2 : 1;
  Magnitude<T> least = largest.middle[0][0];
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < cols; ++j) least = std::min(least, largest.middle[i][j]);
  }
  return most <= kMostRatio * value_of<T>(least) || windows_fit(grid, tile, pixels, channels, most);
}

/// Whether a tile of a weight gradient fits, by the largest magnitudes of both its operands.
template <class T>
bool sums_fit(Magnitude<T> x, Magnitude<T> y_grad) {
  constexpr T kMost = static_cast<T>(kMostMagnitude);
  const T a = value_of<T>(x), b = value_of<T>(y_grad);
  return a <= kMost && b <= kMost && a * b <= kMost;
}

/// Settles tiles [begin, end) after each is judged: where more than a quarter do not fit, none does, as one more tile
/// then costs more by the direct product than it saves. Returns whether any fits.
inline bool settle(std::uint8_t* unfit, std::int64_t begin, std::int64_t end) {
  const std::int64_t count = std::count(unfit + begin, unfit + end, std::uint8_t{1});
  if (4 * count <= end - begin) return true;
  std::fill(unfit + begin, unfit + end, std::uint8_t{1});
  return false;
}

/// Whether im2col of the whole call costs no more than these tiles that do not fit.
inline bool too_many(std::int64_t unfit, std::int64_t all) { return unfit > 0 && 2 * unfit >= all; }

/// The tiles of a pass that do not fit: a mark for each, 1 if it does not, how many were found until now, and the
/// largest magnitude of those that do. Once too many do not fit it stays so, in whatever order threads find them.
class Misfits {
 public:
  explicit Misfits(std::int64_t tiles) : tiles_(tiles), marks_(tiles) {}

  std::uint8_t* marks() const { return marks_.data(); }
  void add(std::int64_t found, std::int64_t largest_fit) {
    found_.fetch_add(found, std::memory_order_relaxed);
    std::int64_t known = largest_fit_.load(std::memory_order_relaxed);
    while (known < largest_fit && !largest_fit_.compare_exchange_weak(known, largest_fit, std::memory_order_relaxed)) {
    }
  }
  bool are_too_many() const { return too_many(found_.load(std::memory_order_relaxed), tiles_); }
  /// Bits, as Magnitude.
  std::int64_t largest_fit() const { return largest_fit_.load(std::memory_order_relaxed); }

 private:
  std::int64_t tiles_;
  Shared<std::uint8_t> marks_;
  std::atomic<std::int64_t> found_{0}, largest_fit_{0};
};

}  // namespace weft::cpu::tiles
