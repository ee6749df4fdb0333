// The pooling layers: their functions with the options that were given, and what they say of options that do not fit.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/nn_support.h"

namespace weft::nn {
namespace {

TEST(PoolLayers, OneAxis) {
  const Tensor x = randn({2, 3, 11});
  EXPECT_EQ(largest_difference(MaxPool1d(3, {.stride = 2, .padding = 1, .dilation = 2, .ceil_mode = true})(x),
                               max_pool1d(x, 3, {.stride = 2, .padding = 1, .dilation = 2, .ceil_mode = true})),
            0);
  EXPECT_EQ(
      largest_difference(AvgPool1d(4, {.stride = 3, .padding = 2, .ceil_mode = true, .count_include_pad = false})(x),
                         avg_pool1d(x, 4, {.stride = 3, .padding = 2, .ceil_mode = true, .count_include_pad = false})),
      0);
  EXPECT_EQ(largest_difference(LPPool1d(2, 4, {.stride = 3, .ceil_mode = true})(x),
                               lp_pool1d(x, 2, 4, {.stride = 3, .ceil_mode = true})),
            0);
  EXPECT_EQ(largest_difference(AdaptiveAvgPool1d(4)(x), adaptive_avg_pool1d(x, 4)), 0);
  EXPECT_EQ(largest_difference(AdaptiveMaxPool1d(4)(x), adaptive_max_pool1d(x, 4)), 0);
  const MaxPoolResult pooled = MaxPool1d(2).forward_with_indices(x);
  EXPECT_EQ(MaxUnpool1d(2)(pooled.output, pooled.indices).shape(), (Shape{2, 3, 10}));
  EXPECT_EQ(MaxUnpool1d(2)(pooled.output, pooled.indices, 11).shape(), x.shape());
}

TEST(PoolLayers, TwoAxes) {
  const Tensor x = randn({2, 3, 8, 7});
  EXPECT_EQ(largest_difference(
                MaxPool2d({3, 2}, {.stride = {2, 3}, .padding = 1, .dilation = {1, 2}, .ceil_mode = true})(x),
                max_pool2d(x, {3, 2}, {.stride = {2, 3}, .padding = 1, .dilation = {1, 2}, .ceil_mode = true})),
            0);
  EXPECT_EQ(
      largest_difference(
          AvgPool2d(3, {.stride = 2, .padding = 1, .divisor_override = 5})(x),
          avg_pool2d(
              x, 3, {.stride = 2, .padding = 1, .ceil_mode = false, .count_include_pad = true, .divisor_override = 5})),
      0);
  EXPECT_EQ(largest_difference(LPPool2d(2, {3, 2})(x), lp_pool2d(x, 2, {3, 2})), 0);
  EXPECT_EQ(largest_difference(AdaptiveAvgPool2d({3, 9})(x), adaptive_avg_pool2d(x, {3, 9})), 0);
  EXPECT_EQ(largest_difference(AdaptiveMaxPool2d({3, 9})(x), adaptive_max_pool2d(x, {3, 9})), 0);
  const MaxPoolResult pooled = MaxPool2d(3, {.stride = 2, .padding = 1}).forward_with_indices(x);
  EXPECT_EQ(largest_difference(MaxUnpool2d(3, {.stride = 2, .padding = 1})(pooled.output, pooled.indices, {8, 7}),
                               max_unpool2d(pooled.output, pooled.indices, 3, {.stride = 2, .padding = 1}, {8, 7})),
            0);
}

TEST(PoolLayers, ThreeAxes) {
  const Tensor x = randn({1, 2, 4, 6, 5});
  EXPECT_EQ(largest_difference(MaxPool3d({2, 3, 1})(x), max_pool3d(x, {2, 3, 1})), 0);
  EXPECT_EQ(largest_difference(AvgPool3d({2, 3, 1})(x), avg_pool3d(x, {2, 3, 1})), 0);
  EXPECT_EQ(largest_difference(LPPool3d(2, 2)(x), lp_pool3d(x, 2, 2)), 0);
  EXPECT_EQ(largest_difference(AdaptiveAvgPool3d({3, 2, 5})(x), adaptive_avg_pool3d(x, {3, 2, 5})), 0);
  EXPECT_EQ(largest_difference(AdaptiveMaxPool3d({3, 2, 5})(x), adaptive_max_pool3d(x, {3, 2, 5})), 0);
  const MaxPoolResult pooled = MaxPool3d(2).forward_with_indices(x);
  EXPECT_EQ(MaxUnpool3d(2)(pooled.output, pooled.indices, {4, 6, 5}).shape(), x.shape());
}

TEST(PoolLayers, WithoutABatch) {
  const Tensor x = randn({3, 8, 6});
  EXPECT_EQ(MaxPool2d(2)(x).shape(), (Shape{3, 4, 3}));
  EXPECT_EQ(AvgPool2d(2)(x).shape(), (Shape{3, 4, 3}));
  EXPECT_EQ(LPPool2d(2, 2)(x).shape(), (Shape{3, 4, 3}));
  EXPECT_EQ(AdaptiveAvgPool2d(5)(x).shape(), (Shape{3, 5, 5}));
  EXPECT_EQ(AdaptiveMaxPool2d(5)(x).shape(), (Shape{3, 5, 5}));
  EXPECT_EQ(GlobalAvgPool2d()(x).shape(), (Shape{3, 1, 1}));
  const MaxPoolResult pooled = MaxPool2d(2).forward_with_indices(x);
  EXPECT_EQ(pooled.indices.shape(), (Shape{3, 4, 3}));
  EXPECT_EQ(MaxUnpool2d(2)(pooled.output, pooled.indices).shape(), x.shape());
}

TEST(PoolLayers, AdaptiveMaximaWithIndices) {
  const Tensor x = randn({2, 3, 4, 6, 5});
  const auto expect_alike = [](const MaxPoolResult& found, const MaxPoolResult& expected) {
    EXPECT_EQ(largest_difference(found.output, expected.output), 0);
    EXPECT_EQ(found.indices.to_vector<std::int64_t>(), expected.indices.to_vector<std::int64_t>());
  };
  const Tensor line = select(select(x, 3, 0), 2, 0), plane = select(x, 2, 0);
  expect_alike(AdaptiveMaxPool1d(3).forward_with_indices(line), adaptive_max_pool1d_with_indices(line, 3));
  expect_alike(AdaptiveMaxPool2d({2, 4}).forward_with_indices(plane), adaptive_max_pool2d_with_indices(plane, {2, 4}));
  expect_alike(AdaptiveMaxPool3d({2, 4, 3}).forward_with_indices(x), adaptive_max_pool3d_with_indices(x, {2, 4, 3}));
}

TEST(PoolLayers, RejectOptionsOutOfRange) {
  const auto message = message_of<ValueError>;
  EXPECT_EQ(message([] { MaxPool1d layer(0); }), "MaxPool1d: kernel (0,) must be positive");
  EXPECT_EQ(message([] {
              MaxPool3d layer(2, {.dilation = {1, 0, 1}});
            }),
            "MaxPool3d: dilation (1, 0, 1) must be positive");
  EXPECT_EQ(message([] { AvgPool2d layer(2, {.stride = -1}); }),
            "AvgPool2d: stride (-1, -1) must be positive, or 0 for the kernel");
  EXPECT_EQ(message([] { AvgPool1d layer(3, {.padding = 2}); }),
            "AvgPool1d: padding (2,) must be between 0 and half the kernel (3,)");
  EXPECT_EQ(message([] { AvgPool3d layer(2, {.divisor_override = 0}); }),
            "AvgPool3d: divisor_override must not be 0, got 0");
  EXPECT_EQ(message([] { LPPool2d layer(0, 2); }), "LPPool2d: norm 0 must be positive and finite");
  EXPECT_EQ(message([] { LPPool1d layer(2, 0); }), "LPPool1d: kernel (0,) must be positive");
  EXPECT_EQ(message([] { AdaptiveAvgPool2d layer({3, 0}); }), "AdaptiveAvgPool2d: output_size (3, 0) must be positive");
  EXPECT_EQ(message([] { AdaptiveMaxPool1d layer(-1); }), "AdaptiveMaxPool1d: output_size (-1,) must be positive");
  EXPECT_EQ(message([] { MaxUnpool2d layer(2, {.padding = -1}); }),
            "MaxUnpool2d: padding (-1, -1) must be between 0 and half the kernel (2, 2)");
}

}  // namespace
}  // namespace weft::nn
