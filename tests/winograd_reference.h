#pragma once

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
