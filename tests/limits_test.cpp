// Sizes and options up to 2^63 - 1, on tensors that are empty or expanded and so need no memory: each call gives its
// result or throws one of weft's errors. The build with sanitizers sees numbers that overflow on the way.
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/device/conv_plan.h"
#include "core/device/integer.h"
#include "core/device/overlap.h"
#include "tests/error_support.h"
#include "weft/weft.h"

namespace weft {
namespace {

constexpr std::int64_t kMost = INT64_MAX, kWide = std::int64_t{1} << 40;
const std::vector<std::int64_t> kAmounts{1, 2, 1LL << 44, 1LL << 57, 1LL << 59, 1LL << 60, 1LL << 61, 1LL << 62, kMost};

const TensorOptions kLeaf{.requires_grad = true};

void settles(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): as good as a result
  }
}

template <class Call>
void settles_with_gradients(const Call& call, const Shape& x_shape, const Shape& weight_shape) {
  settles([&] {
    const Tensor a = zeros(x_shape, kLeaf), b = zeros(weight_shape, kLeaf);
    sum(call(a, b)).backward();
  });
}

bool same(const Tensor& a, const Tensor& b) { return a.to_vector<float>() == b.to_vector<float>(); }

struct Operands {
  Shape x, weight;
};

TEST(Limits, IntegerDivisions) {
  static_assert(ceil_div(7, 3) == 3 && ceil_div(6, 3) == 2 && ceil_div(0, 3) == 0 && ceil_div(-7, 3) == -2);
  static_assert(ceil_div(kMost, 2) == (std::int64_t{1} << 62) && ceil_div<std::int64_t>(1, kMost) == 1);
  static_assert(ceil_div(std::size_t{SIZE_MAX}, 2) == std::size_t{1} << 63);
  static_assert(round_up(7, 4) == 8 && round_up(8, 4) == 8 && round_up(kMost - 63, 64) == kMost - 63);
  static_assert(even_part(10, 4) == 4 && even_part(9, 4) == 3 && even_part(0, 4) == 1 &&
                even_part(kMost, kMost) == kMost);
}

TEST(Limits, Convolutions) {
  const std::vector<Operands> operands{{{1, 1, 4}, {1, 1, 3}}, {{2, 6, 4}, {6, 1, 1}}, {{0, 1, 2}, {1, 1, 3}},
                                       {{1, 0, 4}, {2, 0, 3}}, {{2, 2, 0}, {2, 2, 1}}, {{1, 8, 3}, {8, 8, 2}}};
  for (const std::int64_t stride : kAmounts) {
    for (const std::int64_t padding : kAmounts) {
      for (const std::int64_t dilation : kAmounts) {
        for (const auto& [x, weight] : operands) {
          const std::int64_t groups = x[1] == weight[1] ? 1 : x[1];
          settles_with_gradients(
              [&](const Tensor& a, const Tensor& b) {
                return conv1d(a, b, {},
                              {.stride = stride, .padding = padding - 1, .dilation = dilation, .groups = groups});
              },
              x, weight);
          settles_with_gradients(
              [&](const Tensor& a, const Tensor& b) {
                return conv_transpose1d(
                    a, b, {}, {.stride = stride, .padding = padding - 1, .groups = groups, .dilation = dilation});
              },
              x, weight);
        }
      }
    }
  }
}

TEST(Limits, ConvolutionsOfEveryAlgorithm) {
  for (const ConvAlgo algo : {ConvAlgo::reference, ConvAlgo::im2col, ConvAlgo::direct, ConvAlgo::winograd}) {
    std::vector<std::int64_t> amounts = kAmounts;
    amounts.push_back(std::int64_t{1} << 36);  // which kernels meet
    for (const std::int64_t amount : amounts) {
      for (const Operands& o : {Operands{{1, 2, 4, 4}, {2, 1, 3, 3}}, Operands{{1, 2, 4, 4}, {4, 1, 1, 2}},
                                Operands{{1, 1, 4, 4}, {1, 1, 3, 3}}, Operands{{0, 2, 2, 2}, {2, 1, 3, 3}}}) {
        for (const Conv2dOptions& options :
             {Conv2dOptions{.stride = {amount, 1}, .padding = {amount / 2, 0}, .groups = o.x[1], .algo = algo},
              Conv2dOptions{.stride = amount, .padding = amount - 1, .groups = o.x[1], .algo = algo},
              Conv2dOptions{
                  .stride = amount, .padding = amount / 2, .dilation = amount / 4 + 1, .groups = o.x[1], .algo = algo},
              Conv2dOptions{.stride = {1, amount}, .dilation = {1, amount}, .groups = o.x[1], .algo = algo}}) {
          settles_with_gradients([&](const Tensor& a, const Tensor& b) { return conv2d(a, b, {}, options); }, o.x,
                                 o.weight);
        }
      }
    }
  }
}

TEST(Limits, EmptyConvolutionsOfAnySize) {
  const Tensor empty = zeros({0, 1, 2});
  const Tensor y = conv_transpose1d(empty, zeros({1, 1, 3}), {}, {.stride = 20000000});
  EXPECT_EQ(y.shape(), (Shape{0, 1, 20000003}));
  const Tensor wide = zeros({kWide, 0, kWide});
  EXPECT_EQ(conv1d(zeros({0, 1, kMost - 4}), zeros({2, 1, 3}), {}, {.padding = 1}).shape(), (Shape{0, 2, kMost - 4}));
  EXPECT_EQ(conv1d(wide, zeros({0, 0, kWide})).shape(), (Shape{kWide, 0, 1}));
  settles([&] { conv_transpose1d(wide, zeros({0, kWide, kWide})); });
  settles([&] { conv1d(wide, zeros({3, 0, 1})); });
  settles([&] { conv3d(zeros({1, 0, kWide, kWide, kWide}), zeros({0, 0, kWide, kWide, 2})); });
  settles([&] { conv2d(of_size({kWide, 1, kWide, 2}), zeros({1, 1, 1, 1})); });
  settles([&] { conv2d(of_size({2, 1, 4, 4}), of_size({kWide, 1, 2, 2})); });
  const Tensor bias = full({2}, 3.0F);
  EXPECT_EQ(sum(conv1d(zeros({1, 0, 4}), zeros({2, 0, 3}), bias)).item<float>(), 12);
  EXPECT_EQ(sum(conv1d(zeros({1, 1, 0}), zeros({2, 1, 1}), bias, {.padding = 2})).item<float>(), 24);
}

TEST(Limits, GradientsOfEmptyConvolutions) {
  const Tensor x = zeros({2, 0, 4}, kLeaf), w = zeros({3, 0, 2}, kLeaf);
  const Tensor bias = zeros({3}, kLeaf);
  sum(conv1d(x, w, bias)).backward();
  EXPECT_EQ(x.grad().shape(), x.shape());
  EXPECT_EQ(w.grad().shape(), w.shape());
  EXPECT_EQ(sum(bias.grad()).item<float>(), 18);
  const Tensor none = zeros({0, 1, 4}, kLeaf), filter = ones({3, 1, 2}, kLeaf);
  const Tensor offset = ones({3}, kLeaf);
  sum(conv1d(none, filter, offset)).backward();
  EXPECT_EQ(sum(filter.grad()).item<float>(), 0);
  EXPECT_EQ(sum(offset.grad()).item<float>(), 0);
}

TEST(Limits, PaddedImages) {
  const std::int64_t amount = std::int64_t{1} << 59;
  const std::string padded = std::to_string(2 * amount + 4);
  expect_error<ShapeError>("conv1d: an image of 2 channels padded to (" + padded + ",) exceeds 2^40 elements", [&] {
    conv1d(zeros({1, 2, 4}), zeros({1, 2, 3}), {}, {.stride = amount, .padding = amount});
  });
  expect_error<ShapeError>(
      "conv_transpose1d: an image of 3 channels padded to (" + std::to_string(amount + 3) + ",) exceeds 2^40 elements",
      [&] {
        conv_transpose1d(zeros({1, 1, 2}), zeros({1, 3, 3}), {}, {.stride = amount, .padding = amount / 2});
      });
  const Tensor x = reshape(arange(1.0, 5.0), {1, 1, 4}), w = full({1, 1, 1}, 2.0F);
  EXPECT_EQ(conv1d(x, w, {}, {.stride = kMost, .dilation = kMost}).item<float>(), 2);
  EXPECT_EQ(conv_transpose1d(slice(x, 2, 0, 1), w, {}, {.stride = kMost, .dilation = kMost}).item<float>(), 2);
}

// Positions of x that no output reads, in more phases than are listed one by one.
TEST(Limits, PhasesWithoutTaps) {
  ConvShape shape{.n = 1, .c = 1, .k = 1, .in = {1, 1, 40000003}, .filter = {1, 1, 3}, .out = {1, 1, 3}};
  shape.stride[2] = 20000000;
  EXPECT_EQ(input_grad_phases(shape).size(), 3U);
  EXPECT_TRUE(has_gaps(shape));
  shape.stride[2] = 3;
  EXPECT_EQ(input_grad_phases(shape).size(), 3U);
  EXPECT_FALSE(has_gaps(shape));
}

TEST(Limits, LongStridesAreAsByTheReference) {
  Generator generator(5);
  for (const std::int64_t stride : {17, 40}) {
    for (const std::int64_t dilation : {1, 7, 20}) {
      for (const std::int64_t groups : {1, 2, 4}) {
        for (const std::int64_t padding : {0, 3}) {
          const auto numbers = [&](const Shape& s) { return randint(-4, 5, s, {}, generator).to(DType::f32); };
          const Tensor g = numbers({2, 4, 3, 2}), w = numbers({4, 4 / groups, 1, 3}), h = numbers({4, 1, 3, 3});
          ConvTranspose2dOptions options{
              .stride = {stride, 18}, .padding = padding, .groups = groups, .dilation = {1, dilation}};
          const Tensor y = conv_transpose2d(g, w, {}, options);
          options.algo = ConvAlgo::reference;
          EXPECT_TRUE(same(y, conv_transpose2d(g, w, {}, options)));
          options.groups = 4;
          const Tensor expected = conv_transpose2d(g, h, {}, options);
          for (const ConvAlgo algo : {ConvAlgo::direct, ConvAlgo::im2col}) {
            options.algo = algo;
            EXPECT_TRUE(same(conv_transpose2d(g, h, {}, options), expected));
          }
        }
      }
    }
  }
}

// One phase has the taps of a 3x3 filter, and x has more positions than that.
TEST(Limits, OnePhaseOfManyIsNotTheWholeImage) {
  const Tensor g = ones({1, 16, 5, 5}), w = ones({16, 1, 3, 3});
  ConvTranspose2dOptions options{.stride = 20, .groups = 16, .dilation = 20};
  const Tensor y = conv_transpose2d(g, w, {}, options);
  options.algo = ConvAlgo::reference;
  EXPECT_TRUE(same(y, conv_transpose2d(g, w, {}, options)));
}

TEST(Limits, Windows) {
  for (const std::int64_t a : kAmounts) {
    for (const std::int64_t b : kAmounts) {
      for (const Shape& shape : {Shape{1, 2, 4}, Shape{0, 1, 2}, Shape{1, 0, 4}, Shape{0, kWide, 8}}) {
        const WindowOptions options{.stride = {a}, .padding = {b - 1}, .dilation = {b}};
        settles([&] { im2col(zeros(shape), {2}, options); });
        settles([&] { im2col(zeros(shape), {a}, {.stride = {b}, .padding = {a / 2}}); });
        settles([&] { unfold(zeros(shape), {2}, {.stride = {a}, .padding = {b / 2}}); });
        settles([&] { col2im(zeros({0, 4}), shape, {2}, options); });
        settles([&] { col2im(zeros({1, 2}), {1, 1, a}, {2}, {.stride = {b}, .padding = {b / 2}}); });
        settles([&] { fold(zeros({0, 4, 1}), {a}, {b}, options); });
        settles([&] { fold(zeros({1, 4, 1}), {a}, {2}, {.stride = {b}}); });
      }
    }
  }
}

TEST(Limits, Poolings) {
  for (const std::int64_t a : kAmounts) {
    for (const std::int64_t b : kAmounts) {
      for (const Shape& shape : {Shape{1, 2, 4}, Shape{0, 1, 2}, Shape{0, kWide, 4}, Shape{kWide, 0, 1LL << 30}}) {
        for (const bool ceil : {false, true}) {
          settles([&] { max_pool1d(zeros(shape), 2, {.stride = a, .padding = 1, .dilation = b, .ceil_mode = ceil}); });
          settles([&] { max_pool1d(zeros(shape), a, {.stride = b, .padding = a / 2, .ceil_mode = ceil}); });
          settles([&] { avg_pool1d(zeros(shape), a, {.stride = b, .padding = a / 2, .ceil_mode = ceil}); });
          settles([&] { lp_pool1d(zeros(shape), 2, a, {.stride = b, .ceil_mode = ceil}); });
        }
        settles([&] { adaptive_avg_pool1d(zeros(shape), a); });
        settles([&] { adaptive_max_pool1d(zeros(shape), b); });
        settles([&] {
          max_unpool1d(zeros(shape), zeros(shape, {.dtype = DType::i64}), a, {.stride = b, .padding = a / 2}, b);
        });
      }
    }
  }
  settles([] { max_pool2d(of_size({kWide, 1, 4, 4}), 2); });
  settles([] { global_avg_pool(of_size({1, kWide, 4})); });
}

TEST(Limits, ViewsOfEmptyAndExpandedTensors) {
  const Tensor empty = zeros({kWide, kWide, 0}), expanded = of_size({kMost, 1});
  expect_error<ShapeError>("shape: (1099511627776, 1099511627776) has more than 2^63 - 1 elements",
                           [&] { flatten(empty, 0, 1); });
  EXPECT_EQ(flatten(empty).shape(), (Shape{0}));
  EXPECT_EQ(contiguous(empty).shape(), empty.shape());
  EXPECT_EQ((empty + 1).shape(), empty.shape());
  EXPECT_EQ(sum(empty).item<float>(), 0);
  settles([&] { mean(empty, {0, 1}); });
  settles([&] { sum(empty, 2); });
  settles([&] { max(empty, {0, 1}); });
  settles([&] { var(empty, {0, 1}, INT64_MIN); });
  settles([&] { matmul(empty, zeros({0, 0})); });
  settles([&] { matmul(zeros({kWide, kWide, 0, 0}), zeros({0, 3})); });
  settles([&] { linear(empty, zeros({3, 0}), zeros({3})); });
  settles([&] { softmax(empty, 1); });
  settles([&] { where(empty.to(DType::boolean), empty, empty); });
  for (const std::int64_t amount : kAmounts) {
    for (const Tensor& x : {empty, expanded, zeros({0, 3}), zeros({3, 2})}) {
      for (const std::int64_t sign : {1, -1}) {
        settles([&] { slice(x, 0, sign * amount, {}, sign * amount); });
        settles([&] { slice(x, 1, {}, sign * amount, sign); });
        settles([&] { select(x, 0, sign * amount); });
        settles([&] { dilate(x, Axes::all(), sign * amount); });
        settles([&] { undilate(x, Axes::all(), sign * amount); });
        settles([&] { as_strided(x, {2, 2}, {sign * amount, amount}, amount); });
        settles([&] { as_strided(x, {2, 0, amount}, {amount, amount, sign * amount}, -amount); });
        std::vector<std::pair<std::int64_t, std::int64_t>> pairs(static_cast<std::size_t>(x.rank()));
        pairs[0] = {sign * amount, amount};
        pairs[1] = {amount, -amount};
        for (const PadMode mode : {PadMode::constant, PadMode::reflect, PadMode::replicate, PadMode::circular})
          settles([&] { pad(x, pairs, mode); });
      }
      settles([&] { expand(x, {amount, amount, x.size(0), x.size(1)}); });
      settles([&] { reshape(x, {amount, -1}); });
      settles([&] { reshape(x, {0, amount, amount}); });
      settles([&] { flip(x, 0); });
      settles([&] { concatenate({x, x, x}, 0); });
      settles([&] { stack({x, x}, 1); });
    }
  }
}

TEST(Limits, Creation) {
  EXPECT_EQ(one_hot(zeros({0}, {.dtype = DType::i64}), kMost).shape(), (Shape{0, kMost}));
  for (const std::int64_t amount : kAmounts) {
    for (const std::int64_t sign : {1, -1}) {
      settles([&] { arange(-kMost, sign * amount, sign * amount); });
      settles([&] { arange(0, sign * amount, INT64_MIN); });
      settles([&] { eye(0, sign * amount); });
      settles([&] { one_hot(zeros({2}, {.dtype = DType::i64}), sign * (amount - 1) - 1); });
      settles([&] { randint(INT64_MIN, sign * amount, {3}); });
      settles([&] { zeros({0, sign * amount, amount}); });
      settles([&] { randint(0, 2, {amount, amount, 0}); });
    }
  }
  for (const std::int64_t amount : kAmounts) {
    settles([&] { interpolate(zeros({0, amount, 2}), {.size = {INT32_MAX}}); });
    settles([&] { interpolate(zeros({0, 1, 2}), {.scale_factor = {static_cast<double>(amount)}}); });
    settles([&] { interpolate(zeros({0, 1, 2}), {.size = {amount}}); });
    settles([&] { group_norm(zeros({0, 2, 3}), amount); });
    settles([&] { group_norm(zeros({0, amount, 4}), 1); });
    settles([&] { layer_norm(zeros({0, amount, 4}), {amount, 4}); });
    settles([&] { instance_norm(zeros({0, amount, 4})); });
  }
}

TEST(Limits, AxesThatAreApart) {
  const View two{nullptr, {5, 4}, {4, 1}, DType::f32};
  const OverlapSplit dense = split_overlap(two, two);
  EXPECT_TRUE(dense.meeting.empty());
  EXPECT_EQ(dense.apart.rank(), 2);
  const View windows{nullptr, {3, 5, 4}, {20, 2, 1}, DType::f32};
  const OverlapSplit some = split_overlap(windows, windows);
  EXPECT_EQ(some.apart, (Shape{3}));
  EXPECT_EQ(some.meeting, (Shape{5, 4}));
  EXPECT_FALSE(many_meet({64, 64}, {64, 1}));
  EXPECT_TRUE(many_meet({64, 64}, {1, 1}));
  EXPECT_FALSE(many_meet({kWide, kWide, 0}, {kMost, kMost, 1}));
}

}  // namespace
}  // namespace weft
