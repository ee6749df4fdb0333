#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "cpu/conv/winograd_tiles.h"

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

/// What tiles read of a map: each `side`² pixels, from the place of its first output plus `offset` on.
struct Reads {
  Plane size{}, offset{};
  std::int64_t side = 0;
};

inline Reads input_reads(const Grid& grid) { return {grid.in, {-grid.padding[0], -grid.padding[1]}, grid.tile + 2}; }
inline Reads output_reads(const Grid& grid) { return {grid.out, {}, grid.tile}; }

/// Rows of a map of n images, counted through all of them, and some of their columns.
struct Strip {
  std::int64_t row = 0, rows = 0, col = 0, cols = 0;
};

/// How many of the tiles [begin, end) are judged at once: some rows of tiles, or a part of one.
inline std::int64_t strip_tiles(const Grid& grid, std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t kTiles = 16;
  const std::int64_t across = grid.tiles[1], passed = begin % across;
  const bool whole = passed == 0 && across <= kTiles;
  return std::min(end - begin, whole ? kTiles / across * across : std::min(kTiles, across - passed));
}

/// The smallest strip that holds all pixels which tiles [begin, end) read; other pixels may lie between.
inline Strip strip_of(const Grid& grid, const Reads& reads, std::int64_t begin, std::int64_t end) {
  const Tile first = tile_of(grid, begin), last = tile_of(grid, end - 1);
  const auto clip = [&](const Tile& tile, std::size_t d, std::int64_t further) {
    return std::clamp<std::int64_t>(tile.first[d] + reads.offset[d] + further, 0, reads.size[d]);
  };
  const std::int64_t row = first.image * reads.size[0] + clip(first, 0, 0);
  const std::int64_t rows = last.image * reads.size[0] + clip(last, 0, reads.side) - row;
  if (end - begin > grid.tiles[1] - begin % grid.tiles[1]) return {row, rows, 0, reads.size[1]};
  const std::int64_t col = clip(first, 1, 0);
  return {row, rows, col, clip(last, 1, reads.side) - col};
}

/// body(pixel, count) for each run of pixels that lie together.
template <class Body>
void for_runs(const Strip& strip, std::int64_t width, const Body& body) {
  if (strip.cols == width) return body(strip.row * width, strip.rows * width);
  for (std::int64_t y = 0; y < strip.rows; ++y) body((strip.row + y) * width + strip.col, strip.cols);
}

/// Judges tiles of a product; `limit` is from most_for_filter.
template <class T>
class Judge {
 public:
  Judge(const Grid& grid, const T* source, std::int64_t channels, T limit)
      : grid_(grid), reads_(input_reads(grid)), source_(source), channels_(channels), limit_(limit) {}

  /// unfit[i - begin] = 1 for each tile i of [begin, end) that does not fit, else 0.
  void judge(std::int64_t begin, std::int64_t end, std::uint8_t* unfit) {
    strip_ = strip_of(grid_, reads_, begin, end);
    largest_.resize(static_cast<std::size_t>(strip_.rows * strip_.cols));
    WinogradRange<T> range;
    Magnitude<T>* to = largest_.data();
    for_runs(strip_, reads_.size[1], [&](std::int64_t pixel, std::int64_t count) {
      const WinogradRange<T> run = of<T>(winograd_kernels()).largest(source_ + pixel * channels_, count, channels_, to);
      range = {std::min(range.least, run.least), std::max(range.most, run.most)};
      to += count;
    });
    std::fill_n(unfit, end - begin, std::uint8_t{0});
    const T most = value_of<T>(range.most);
    if (every_window_has_pixels() && most <= limit_ && most <= kMostRatio * value_of<T>(range.least)) {
      largest_fit_ = std::max(largest_fit_, range.most);
      return;
    }
    for (std::int64_t i = begin; i < end; ++i) unfit[i - begin] = fits(tile_of(grid_, i)) ? 0 : 1;
    found_ += std::count(unfit, unfit + (end - begin), std::uint8_t{1});
  }

  std::int64_t found() const { return found_; }
  /// The largest magnitude of the tiles that fit.
  Magnitude<T> largest_fit() const { return largest_fit_; }

 private:
  bool every_window_has_pixels() const {
    const auto along = [&](std::size_t d) {
      return grid_.padding[d] <= 2 && grid_.out[d] <= grid_.in[d] + grid_.padding[d];
    };
    return along(0) && along(1);
  }

  bool fits(const Tile& tile) {
    const std::int64_t side = reads_.side;
    const auto range = [&](std::size_t d) { return inside(tile.first[d] + reads_.offset[d], 1, side, reads_.size[d]); };
    const Range rows = range(0), cols = range(1);
    const std::int64_t top = tile.image * reads_.size[0] + tile.first[0] + reads_.offset[0] - strip_.row;
    const std::int64_t left = tile.first[1] + reads_.offset[1] - strip_.col;
    Magnitude<T> seen[36] = {}, all = 0;
    for (std::int64_t y = rows.begin; y < rows.end; ++y) {
      for (std::int64_t x = cols.begin; x < cols.end; ++x) {
        const Magnitude<T> one = largest_[static_cast<std::size_t>((top + y) * strip_.cols + left + x)];
        seen[y * side + x] = one;
        all = std::max(all, one);
      }
    }
    const T most = value_of<T>(all);
    if (!(most <= limit_) || most > kMostRatio * value_of<T>(least_seen(tile, seen))) return false;
    largest_fit_ = std::max(largest_fit_, all);
    return true;
  }

  /// The least of what the tile's outputs inside of the map see, each the largest pixel of its window of 3x3.
  Magnitude<T> least_seen(const Tile& tile, const Magnitude<T>* seen) const {
    const auto largest = [](const Magnitude<T>* first, std::int64_t step) {
      return std::max(std::max(first[0], first[step]), first[2 * step]);
    };
    const std::int64_t side = reads_.side, cols = tile.size[1];
    Magnitude<T> across[36], least = WinogradRange<T>().least;
    for (std::int64_t y = 0; y < tile.size[0] + 2; ++y) {
      for (std::int64_t x = 0; x < cols; ++x) across[y * side + x] = largest(seen + y * side + x, 1);
    }
    for (std::int64_t y = 0; y < tile.size[0]; ++y) {
      for (std::int64_t x = 0; x < cols; ++x) least = std::min(least, largest(across + y * side + x, side));
    }
    return least;
  }

  Grid grid_;
  Reads reads_;
  const T* source_;
  std::int64_t channels_;
  T limit_;
  Strip strip_;
  std::vector<Magnitude<T>> largest_;  // of each pixel of the strip
  std::int64_t found_ = 0;
  Magnitude<T> largest_fit_ = 0;
};

/// The largest magnitude of a strip of a map.
template <class T>
Magnitude<T> most_of(const Strip& strip, std::int64_t width, std::int64_t channels, const T* map) {
  Magnitude<T> most = 0;
  for_runs(strip, width, [&](std::int64_t pixel, std::int64_t count) {
    most = std::max(most, of<T>(winograd_kernels()).most(map + pixel * channels, count * channels));
  });
  return most;
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
