#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/conv_shapes.h"

// Depthwise convolutions for the tests of both backends.
namespace weft::depthwise_cases {

using Sizes = Triple;

inline constexpr ConvPass kPasses[] = {ConvPass::forward, ConvPass::input_grad, ConvPass::weight_grad};

/// `after` as in make_shape.
inline ConvShape make(std::int64_t n, std::int64_t c, std::int64_t multiplier, Sizes in, Sizes filter,
                      Sizes stride = {1, 1, 1}, Sizes padding = {0, 0, 0}, Sizes dilation = {1, 1, 1},
                      Sizes after = {-1, -1, -1}) {
  return make_shape(n, c, c * multiplier, in, filter, stride, padding, dilation, std::max<std::int64_t>(c, 1), after);
}

inline std::vector<ConvShape> shapes() {
  return {
      // 3x3 and 5x5 filters, strides 1 and 2: rows of one to several tiles, whole vectors and remainders of channels.
      make(2, 64, 1, {1, 14, 14}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
      make(2, 33, 1, {1, 9, 23}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
      make(3, 17, 1, {1, 8, 9}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}),
      make(1, 40, 1, {1, 7, 16}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}),
      make(2, 24, 1, {1, 12, 11}, {1, 5, 5}, {1, 1, 1}, {0, 2, 2}),
      make(2, 19, 1, {1, 11, 12}, {1, 5, 5}, {1, 2, 2}, {0, 2, 2}),
      make(1, 3, 1, {1, 6, 7}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
      make(1, 1, 1, {1, 5, 6}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
      make(2, 16, 1, {1, 5, 20}, {1, 3, 3}),
      // C == H == W; other filters and strides, with remainders of (in + 2·padding - filter).
      make(3, 5, 1, {1, 5, 5}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
      make(2, 17, 1, {1, 17, 17}, {1, 4, 2}, {1, 3, 2}, {0, 2, 1}),
      make(2, 18, 1, {1, 10, 9}, {1, 7, 7}, {1, 2, 1}, {0, 3, 3}),
      make(2, 7, 1, {1, 13, 17}, {1, 2, 2}, {1, 5, 7}, {0, 1, 0}),  // strides larger than the filter
      make(3, 33, 1, {1, 5, 5}, {1, 1, 1}, {1, 3, 3}),
      make(2, 64, 1, {1, 4, 5}, {1, 1, 1}),
      // 1x1 maps, filters larger than the input, padding beyond half the filter, padding everywhere.
      make(3, 17, 1, {1, 1, 1}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
      make(2, 16, 1, {1, 3, 2}, {1, 5, 7}, {1, 1, 1}, {0, 2, 3}),
      make(2, 33, 1, {1, 4, 5}, {1, 3, 3}, {1, 1, 1}, {0, 5, 3}),
      make(2, 4, 1, {1, 4, 5}, {1, 2, 3}, {1, 3, 2}, {0, 6, 4}),
      make(2, 17, 1, {1, 1, 1}, {1, 5, 5}, {1, 2, 2}, {0, 7, 7}),
      make(2, 17, 1, {1, 7, 8}, {1, 3, 2}, {1, 2, 1}, {0, 1, 0}, {1, 1, 1}, {0, 0, 1}),
      // Dilation, alone and against the stride.
      make(2, 17, 1, {1, 9, 10}, {1, 3, 3}, {1, 1, 1}, {0, 2, 3}, {1, 2, 3}),
      make(2, 33, 1, {1, 12, 13}, {1, 3, 4}, {1, 2, 2}, {0, 2, 3}, {1, 2, 3}),
      make(2, 5, 1, {1, 20, 19}, {1, 4, 3}, {1, 6, 4}, {0, 4, 5}, {1, 4, 6}),
      // Several filters of a channel.
      make(2, 17, 2, {1, 9, 8}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
      make(2, 11, 3, {1, 7, 8}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}),
      make(3, 1, 3, {1, 5, 6}, {1, 5, 2}, {1, 1, 2}, {0, 2, 1}, {1, 2, 1}),
      make(2, 32, 2, {4, 5, 6}, {2, 3, 3}, {2, 1, 1}, {1, 1, 1}),
      // One and three spatial axes.
      make(3, 64, 1, {1, 1, 37}, {1, 1, 3}, {1, 1, 1}, {0, 0, 1}),
      make(3, 33, 1, {1, 1, 37}, {1, 1, 5}, {1, 1, 3}, {0, 0, 2}, {1, 1, 2}),
      make(2, 17, 1, {5, 6, 7}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}),
      make(2, 20, 1, {7, 5, 6}, {3, 2, 3}, {2, 3, 1}, {2, 1, 3}, {2, 1, 2}),
      // Nothing.
      make(0, 16, 1, {1, 5, 5}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}),
      make(2, 0, 1, {1, 5, 5}, {1, 3, 3}),
      make(2, 17, 1, {1, 2, 2}, {1, 3, 3}),
      make(2, 3, 2, {1, 0, 3}, {1, 3, 3}, {1, 1, 1}, {0, 2, 2}),
      // No filters: the gradient of x is zeros.
      make(2, 17, 0, {1, 5, 6}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
      make(3, 8, 0, {3, 4, 5}, {2, 1, 3}, {2, 1, 2}),
  };
}

}  // namespace weft::depthwise_cases
