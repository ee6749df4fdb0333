#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/conv_shapes.h"
#include "tests/guarded.h"

// Shapes, operands and errors for the tests of Winograd convolutions on both devices.
namespace weft {

using Pair = std::array<std::int64_t, 2>;  // along height and width

/// A 3x3 convolution; `after` is the padding behind the last element.
inline ConvShape winograd_shape(std::int64_t n, std::int64_t c, std::int64_t k, Pair in, Pair padding, Pair after) {
  return make_shape(n, c, k, {1, in[0], in[1]}, {1, 3, 3}, {1, 1, 1}, {0, padding[0], padding[1]}, {1, 1, 1}, 1,
                    {0, after[0], after[1]});
}
inline ConvShape winograd_shape(std::int64_t n, std::int64_t c, std::int64_t k, Pair in, Pair padding) {
  return winograd_shape(n, c, k, in, padding, padding);
}

/// Normally distributed.
template <class T>
Operands<T> winograd_operands(const ConvShape& s) {
  return {normals<T>(x_size(s), 1), normals<T>(weight_size(s), 2), normals<T>(s.k, 3), normals<T>(y_size(s), 4)};
}

/// ‖found - expected‖ / ‖expected‖, and the largest difference over the largest element; 0 for nothing.
struct WinogradError {
  double norm = 0, largest = 0;
};
template <class T>
WinogradError winograd_error(const T* found, const std::vector<double>& expected) {
  double difference = 0, total = 0, most = 0, scale = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double d = static_cast<double>(found[i]) - expected[i];
    if (std::isnan(d)) return {d, d};
    difference += d * d;
    total += expected[i] * expected[i];
    most = std::max(most, std::abs(d));
    scale = std::max(scale, std::abs(expected[i]));
  }
  return {difference == 0 ? 0 : std::sqrt(difference / total), most == 0 ? 0 : most / scale};
}

/// What the promise of ConvAlgo::automatic allows the errors of a pass, times 5e-6: for each output X·W, for each tap
/// of a weight gradient the sum over tiles of the largest |x_c| times the sum of |g_k| (weft/conv_algo.h).
template <class T>
std::vector<double> winograd_allowance(ConvPass pass, const ConvShape& s, const Operands<T>& in) {
  const auto of = [](T value) { return std::abs(static_cast<double>(value)); };
  const auto channels = static_cast<std::size_t>(s.c), filters = static_cast<std::size_t>(s.k);
  std::vector<double> all(static_cast<std::size_t>(result_size(pass, s)));
  if (pass == ConvPass::weight_grad) {
    const std::int64_t tile = std::min(s.out[1], s.out[2]) > 2 ? 4 : 2, across = (s.out[2] + tile - 1) / tile;
    const std::int64_t down = (s.out[1] + tile - 1) / tile;
    const auto tiles = static_cast<std::size_t>(s.n * down * across);
    std::vector<double> largest(tiles * channels), sums(tiles * filters);
    for (std::size_t i = 0; i < tiles; ++i) {
      const auto at = static_cast<std::int64_t>(i);
      const std::int64_t image = at / (down * across), y0 = at / across % down * tile, x0 = at % across * tile;
      for (std::int64_t y = 0; y < tile + 2; ++y) {
        for (std::int64_t x = 0; x < tile + 2; ++x) {
          const std::int64_t row = y0 + y - s.padding[1], col = x0 + x - s.padding[2];
          if (row >= 0 && row < s.in[1] && col >= 0 && col < s.in[2]) {
            const auto pixel = static_cast<std::size_t>((image * s.in[1] + row) * s.in[2] + col) * channels;
            for (std::size_t c = 0; c < channels; ++c) {
              largest[i * channels + c] = std::max(largest[i * channels + c], of(in.x[pixel + c]));
            }
          }
          if (y < tile && x < tile && y0 + y < s.out[1] && x0 + x < s.out[2]) {
            const auto place = static_cast<std::size_t>((image * s.out[1] + y0 + y) * s.out[2] + x0 + x) * filters;
            for (std::size_t k = 0; k < filters; ++k) sums[i * filters + k] += of(in.y_grad[place + k]);
          }
        }
      }
    }
    for (std::size_t k = 0; k < filters; ++k) {
      for (std::size_t c = 0; c < channels; ++c) {
        double total = 0;
        for (std::size_t i = 0; i < tiles; ++i) total += largest[i * channels + c] * sums[i * filters + k];
        for (std::size_t tap = 0; tap < 9; ++tap) all[(k * 9 + tap) * channels + c] = total;
      }
    }
    return all;
  }
  const bool forward = pass == ConvPass::forward;
  const std::size_t columns = forward ? filters : channels;
  std::vector<double> seen(all.size() / std::max<std::size_t>(columns, 1)), weights(columns);
  for_each_product(s, [&](std::size_t x, std::size_t, std::size_t y) {
    double& most = forward ? seen[y / filters] : seen[x / channels];
    most = std::max(most, forward ? of(in.x[x]) : of(in.y_grad[y]));
  });
  for (std::size_t k = 0; k < filters; ++k) {
    for (std::size_t c = 0; c < channels; ++c) {
      double most = 0;
      for (std::size_t tap = 0; tap < 9; ++tap) most = std::max(most, of(in.weight[(k * 9 + tap) * channels + c]));
      weights[forward ? k : c] += most;
    }
  }
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = seen[i / columns] * weights[i % columns];
  return all;
}

/// Odd shapes: remainders on both axes, maps smaller than a tile, every padding, sizes 0 and 1.
inline std::vector<ConvShape> winograd_shapes() {
  return {
      winograd_shape(2, 3, 5, {8, 8}, {1, 1}),         winograd_shape(2, 17, 33, {7, 9}, {1, 1}),
      winograd_shape(1, 33, 17, {6, 5}, {0, 2}),       winograd_shape(3, 1, 1, {5, 10}, {2, 0}),
      winograd_shape(2, 16, 32, {4, 4}, {1, 1}),       winograd_shape(5, 5, 5, {5, 5}, {1, 1}),
      winograd_shape(4, 32, 16, {1, 1}, {1, 1}),       winograd_shape(3, 4, 6, {1, 1}, {3, 2}),
      winograd_shape(2, 6, 7, {2, 3}, {1, 0}),         winograd_shape(2, 6, 7, {3, 2}, {0, 1}),
      winograd_shape(2, 70, 40, {6, 11}, {3, 3}),      winograd_shape(1, 130, 65, {5, 6}, {2, 3}),
      winograd_shape(2, 5, 9, {9, 4}, {0, 5}),         winograd_shape(2, 5, 9, {4, 7}, {0, 3}, {4, 1}),
      winograd_shape(2, 5, 9, {7, 4}, {2, 0}, {0, 2}), winograd_shape(1, 9, 8, {13, 15}, {0, 0}),
      winograd_shape(40, 20, 24, {4, 5}, {1, 1}),      winograd_shape(19, 8, 64, {8, 8}, {1, 1}),
      winograd_shape(0, 3, 4, {8, 8}, {1, 1}),         winograd_shape(2, 0, 4, {6, 6}, {1, 1}),
      winograd_shape(2, 3, 0, {6, 6}, {1, 1}),         winograd_shape(2, 0, 0, {6, 6}, {1, 1}),
      winograd_shape(2, 3, 4, {0, 3}, {2, 1}),         winograd_shape(2, 3, 4, {2, 2}, {0, 0}),
      winograd_shape(2, 3, 4, {0, 2}, {1, 1}),
  };
}

}  // namespace weft
