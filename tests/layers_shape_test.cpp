// Layers that move elements, and those of one function, against plain loops.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/nn_support.h"

namespace weft::nn {
namespace {

TEST(ShapeLayers, PixelShuffleMovesChannelsIntoImages) {
  for (const std::int64_t r : {1, 2, 3}) {
    const std::int64_t n = 2, c = 3, h = 2, w = 5;
    Tensor x = randn({n, c * r * r, h, w}, {.dtype = DType::f64});
    x.set_requires_grad(true);
    const Tensor y = PixelShuffle(r)(x);
    ASSERT_EQ(y.shape(), (Shape{n, c, h * r, w * r}));
    const auto in = x.to_vector<double>(), out = y.to_vector<double>();
    std::vector<double> expected(out.size());
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(out.size()); ++i) {
      const std::int64_t q = i % (w * r), p = i / (w * r) % (h * r), k = i / (w * r * h * r);
      const std::int64_t channel = k * r * r + p % r * r + q % r;  // k counts the images too
      expected[static_cast<std::size_t>(i)] = in[static_cast<std::size_t>((channel * h + p / r) * w + q / r)];
    }
    EXPECT_EQ(out, expected);
    sum(y * y).backward();
    EXPECT_LT(largest_difference(x.grad(), x * 2.0), 1e-15);
  }
  EXPECT_EQ(PixelShuffle(2)(zeros({0, 4, 2, 3})).shape(), (Shape{0, 1, 4, 6}));
  EXPECT_EQ(PixelShuffle(2)(zeros({8, 1, 1})).shape(), (Shape{2, 2, 2}));
  EXPECT_THROW(PixelShuffle(2)(zeros({6, 1, 1})), ShapeError);
  EXPECT_THROW(PixelShuffle(2)(zeros({4, 4})), ShapeError);
  EXPECT_THROW(PixelShuffle(0), ValueError);
  EXPECT_THROW(PixelShuffle{INT64_MAX}(zeros({4, 1, 1})), ShapeError);
  EXPECT_THROW(PixelShuffle{INT64_MAX}(zeros({0, 2, 1})), ShapeError);
}

TEST(ShapeLayers, UnflattenUndoesFlatten) {
  const Tensor x = randn({2, 3, 4, 5});
  EXPECT_EQ(largest_difference(Unflatten(1, {3, -1, 5})(Flatten()(x)), x), 0);
  EXPECT_EQ(Unflatten(-1, {5, 1})(x).shape(), (Shape{2, 3, 4, 5, 1}));
  EXPECT_EQ(Unflatten(0, {-1, 2})(zeros({0, 3})).shape(), (Shape{0, 2, 3}));
  EXPECT_EQ(message_of<ShapeError>([&] {
              Unflatten(1, {2, 2})(x);
            }),
            "Unflatten: axis 1 of input " + to_string(x.shape()) + " does not split into (2, 2)");
  EXPECT_THROW(Unflatten(1, {0, -1})(x), ShapeError);
  EXPECT_THROW(Unflatten(1, {std::int64_t{1} << 32, std::int64_t{1} << 32, -1})(x), ShapeError);
  EXPECT_THROW(Unflatten(4, {1})(x), IndexError);
  EXPECT_THROW(Unflatten(1, {-1, -1}), ValueError);
}

TEST(ShapeLayers, EmbeddingTakesRowsAndAddsTheirGradients) {
  const Embedding layer(4, 3);
  EXPECT_EQ(names_of(layer.named_parameters()), std::vector<std::string>{"weight"});
  const std::vector<std::int64_t> rows{2, 0, 2, 2, 3, 0};
  const Tensor y = layer(Tensor::from(std::span<const std::int64_t>(rows), {2, 3}));
  ASSERT_EQ(y.shape(), (Shape{2, 3, 3}));
  const auto weight = layer.weight().to_vector<float>(), out = y.to_vector<float>();
  for (std::size_t i = 0; i < out.size(); ++i) {
    EXPECT_EQ(out[i], weight[static_cast<std::size_t>(rows[i / 3]) * 3 + i % 3]);
  }
  sum(y).backward();
  EXPECT_EQ(layer.weight().grad().to_vector<float>(), (std::vector<float>{2, 2, 2, 0, 0, 0, 3, 3, 3, 1, 1, 1}));
  EXPECT_THROW(Embedding(0, 3), ValueError);
}

TEST(ShapeLayers, SoftmaxAndLargestOfAnImage) {
  const Tensor x = randn({2, 3, 4}, {.dtype = DType::f64});
  const auto in = x.to_vector<double>(), soft = Softmax(1)(x).to_vector<double>(),
             logs = LogSoftmax(1)(x).to_vector<double>(), largest = GlobalMaxPool2d()(x).to_vector<double>();
  for (std::size_t n = 0; n < 2; ++n) {
    EXPECT_EQ(largest[n], *std::max_element(&in[n * 12], &in[n * 12] + 12));
    for (std::size_t j = 0; j < 4; ++j) {
      double total = 0;
      for (std::size_t i = 0; i < 3; ++i) total += std::exp(in[n * 12 + i * 4 + j]);
      for (std::size_t i = 0; i < 3; ++i) {
        const std::size_t at = n * 12 + i * 4 + j;
        EXPECT_NEAR(soft[at], std::exp(in[at]) / total, 1e-14);
        EXPECT_NEAR(logs[at], in[at] - std::log(total), 1e-14);
      }
    }
  }
}

TEST(ShapeLayers, PadsTheSidesOfImages) {
  const std::vector<float> numbers{1, 2, 3, 4, 5, 6};
  const Tensor x = Tensor::from(std::span<const float>(numbers), {1, 2, 3});
  const Sides sides(2, 1, 1, 0);
  EXPECT_EQ(ConstantPad2d(sides, 9)(x).to_vector<float>(),
            (std::vector<float>{9, 9, 9, 9, 9, 9, 9, 9, 1, 2, 3, 9, 9, 9, 4, 5, 6, 9}));
  EXPECT_EQ(ReflectionPad2d(sides)(x).to_vector<float>(),
            (std::vector<float>{6, 5, 4, 5, 6, 5, 3, 2, 1, 2, 3, 2, 6, 5, 4, 5, 6, 5}));
  EXPECT_EQ(ReplicationPad2d(sides)(x).to_vector<float>(),
            (std::vector<float>{1, 1, 1, 2, 3, 3, 1, 1, 1, 2, 3, 3, 4, 4, 4, 5, 6, 6}));
  EXPECT_EQ(CircularPad2d(sides)(x).to_vector<float>(),
            (std::vector<float>{5, 6, 4, 5, 6, 4, 2, 3, 1, 2, 3, 1, 5, 6, 4, 5, 6, 4}));
  EXPECT_EQ(ZeroPad2d(1)(zeros({2, 0, 3, 4})).shape(), (Shape{2, 0, 5, 6}));
  EXPECT_THROW(ZeroPad2d(1)(zeros({3, 4})), ShapeError);
}

}  // namespace
}  // namespace weft::nn
