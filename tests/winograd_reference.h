#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "core/backend.h"
#include "tests/guarded.h"

// Shapes and plain double-precision loops for the tests of Winograd convolutions on both devices.
namespace weft {

using Pair = std::array<std::int64_t, 2>;  // along height and width

/// A 3x3 convolution; `after` is the padding behind the last element.
inline ConvShape winograd_shape(std::int64_t n, std::int64_t c, std::int64_t k, Pair in, Pair padding, Pair after) {
  ConvShape shape;
  shape.n = n;
  shape.c = c;
  shape.k = k;
  shape.filter = {1, 3, 3};
  for (std::size_t d = 0; d < 2; ++d) {
    shape.in[d + 1] = in[d];
    shape.padding[d + 1] = padding[d];
    shape.out[d + 1] = std::max<std::int64_t>(0, in[d] + padding[d] + after[d] - 2);
  }
  return shape;
}
inline ConvShape winograd_shape(std::int64_t n, std::int64_t c, std::int64_t k, Pair in, Pair padding) {
  return winograd_shape(n, c, k, in, padding, padding);
}

inline std::string describe(const ConvShape& s) {
  const auto list = [](std::int64_t a, std::int64_t b) { return std::to_string(a) + "x" + std::to_string(b); };
  return "n " + std::to_string(s.n) + " c " + std::to_string(s.c) + " k " + std::to_string(s.k) + " in " +
         list(s.in[1], s.in[2]) + " padding " + list(s.padding[1], s.padding[2]) + " out " + list(s.out[1], s.out[2]);
}

inline std::int64_t x_size(const ConvShape& s) { return s.n * s.in[1] * s.in[2] * s.c; }
inline std::int64_t weight_size(const ConvShape& s) { return s.k * 9 * s.c; }
inline std::int64_t y_size(const ConvShape& s) { return s.n * s.out[1] * s.out[2] * s.k; }
inline std::int64_t result_size(ConvPass pass, const ConvShape& s) {
  return pass == ConvPass::forward ? y_size(s) : pass == ConvPass::input_grad ? x_size(s) : weight_size(s);
}

/// Random normal operands of a pass, as Backend::conv takes them.
template <class T>
struct WinogradOperands {
  std::vector<T> x, weight, bias, y_grad;

  explicit WinogradOperands(const ConvShape& s)
      : x(normals<T>(x_size(s), 1)),
        weight(normals<T>(weight_size(s), 2)),
        bias(normals<T>(s.k, 3)),
        y_grad(normals<T>(y_size(s), 4)) {}
  const std::vector<T>& a(ConvPass pass) const { return pass == ConvPass::forward ? x : y_grad; }
  const std::vector<T>& b(ConvPass pass) const { return pass == ConvPass::weight_grad ? x : weight; }
};

template <class T>
std::vector<double> winograd_reference(ConvPass pass, const ConvShape& s, const WinogradOperands<T>& in, bool bias) {
  std::vector<double> result(static_cast<std::size_t>(result_size(pass, s)));
  const auto add = [&](std::int64_t ix, std::int64_t iw, std::int64_t iy) {
    const auto of = [](const std::vector<T>& v, std::int64_t i) { return static_cast<double>(v[std::size_t(i)]); };
    if (pass == ConvPass::forward) result[std::size_t(iy)] += of(in.x, ix) * of(in.weight, iw);
    if (pass == ConvPass::input_grad) result[std::size_t(ix)] += of(in.y_grad, iy) * of(in.weight, iw);
    if (pass == ConvPass::weight_grad) result[std::size_t(iw)] += of(in.y_grad, iy) * of(in.x, ix);
  };
  for (std::int64_t n = 0; n < s.n; ++n) {
    for (std::int64_t p = 0; p < s.out[1]; ++p) {
      for (std::int64_t q = 0; q < s.out[2]; ++q) {
        for (std::int64_t tap = 0; tap < 9; ++tap) {
          const std::int64_t h = p + tap / 3 - s.padding[1], w = q + tap % 3 - s.padding[2];
          if (h < 0 || h >= s.in[1] || w < 0 || w >= s.in[2]) continue;
          const std::int64_t ix = ((n * s.in[1] + h) * s.in[2] + w) * s.c;
          const std::int64_t iy = ((n * s.out[1] + p) * s.out[2] + q) * s.k;
          for (std::int64_t k = 0; k < s.k; ++k) {
            for (std::int64_t c = 0; c < s.c; ++c) add(ix + c, (k * 9 + tap) * s.c + c, iy + k);
          }
        }
      }
    }
  }
  for (std::size_t i = 0; bias && i < result.size(); ++i) {
    result[i] += static_cast<double>(in.bias[i % std::size_t(s.k)]);
  }
  return result;
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
