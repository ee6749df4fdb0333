#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "tests/nn_support.h"
#include "weft/weft.h"

namespace {

using namespace weft;      // NOLINT(google-build-using-namespace)
using namespace weft::nn;  // NOLINT(google-build-using-namespace)

constexpr double kInf = std::numeric_limits<double>::infinity();

Tensor labels_of(std::initializer_list<std::int64_t> labels) {
  return Tensor::from<std::int64_t>(labels, {static_cast<std::int64_t>(labels.size())});
}

TEST(CrossEntropy, WrongArguments) {
  const Tensor z = randn({4, 3}), labels = labels_of({0, 1, 2, 0});
  EXPECT_EQ(message_of<ShapeError>([&] { cross_entropy(randn({4}), labels); }),
            "cross_entropy: logits needs the shape (N, classes) or (N, classes, ...), got (4,)");
  EXPECT_EQ(message_of<ShapeError>([&] {
              cross_entropy(z, labels_of({0, 1}));
            }),
            "cross_entropy: labels (2,) do not match the rows of logits (4, 3)");
  EXPECT_EQ(message_of<ShapeError>([&] {
              cross_entropy(randn({4, 3, 2}), labels);
            }),
            "cross_entropy: labels (4,) do not match the rows of logits (4, 3, 2)");
  EXPECT_EQ(message_of<DTypeError>([&] { cross_entropy(z, zeros({4})); }),
            "cross_entropy: labels need an integer dtype, not f32");
  EXPECT_EQ(message_of<DTypeError>([&] {
              cross_entropy(z, zeros({4, 3}, {.dtype = DType::i64}));
            }),
            "cross_entropy: probabilities need a floating dtype, not i64");
  EXPECT_EQ(message_of<ValueError>([&] { cross_entropy(z, softmax(z), {.ignore_index = 1}); }),
            "cross_entropy: ignore_index 1 applies to labels, but the target holds probabilities (4, 3)");
  EXPECT_EQ(message_of<ShapeError>([&] { cross_entropy(z, labels, {.weight = ones({4})}); }),
            "cross_entropy: weight (4,) does not match the classes of logits (4, 3)");
  EXPECT_EQ(message_of<DTypeError>([&] { cross_entropy(z, labels, {.weight = ones({3}, {.dtype = DType::i64})}); }),
            "cross_entropy: weight needs a floating dtype, not i64");
  EXPECT_EQ(message_of<ValueError>([&] { cross_entropy(z, labels, {.label_smoothing = 1.5}); }),
            "cross_entropy: label_smoothing must be in [0, 1], not 1.5");
  EXPECT_EQ(message_of<DTypeError>([&] { cross_entropy(z.to(DType::i64), labels); }),
            "cross_entropy: takes f32 or f64, not i64");
}

TEST(CrossEntropy, NegligibleClassesDoNotSpoilWeightedLosses) {
  const double inf = kInf;
  const Tensor z(Tensor::from<double>({-inf, 1, 2, 0, 1e4, -1e4}, {2, 3}).array(), true);
  const CrossEntropyOptions options{.weight = Tensor::from<double>({1, 2, 3}, {3}), .ignore_index = 9};
  const Tensor loss = cross_entropy(z, labels_of({2, 1}), options);
  const double first = std::log(1 + std::exp(-1.0));
  EXPECT_NEAR(loss.item<double>(), 3 * first / 5, 1e-15);
  loss.backward();
  for (const double slope : z.grad().to_vector<double>()) EXPECT_TRUE(std::isfinite(slope));
}

TEST(CrossEntropy, IgnoredRowsTakeNoGradient) {
  const Tensor z(randn({3, 4}).array(), true);
  cross_entropy(z, labels_of({1, -7, 2}), {.ignore_index = -7}).backward();
  const std::vector<float> slopes = z.grad().to_vector<float>();
  for (std::size_t i = 0; i < 12; ++i) EXPECT_EQ(slopes[i] == 0, i / 4 == 1) << i;
}

// As in PyTorch: -100 does not count unless something else is said; other labels without a class are refused.
TEST(CrossEntropy, LabelsOf100BelowZeroDoNotCount) {
  const Tensor z = randn({4, 3}, {.dtype = DType::f64}), p = log_softmax(z);
  const Tensor some = labels_of({2, -100, 0, -100}), none = labels_of({-100, -100, -100, -100});
  const double expected = -(p.to_vector<double>()[2] + p.to_vector<double>()[6]) / 2;
  EXPECT_NEAR(cross_entropy(z, some).item<double>(), expected, 1e-14);
  EXPECT_NEAR(nll_loss(p, some).item<double>(), expected, 1e-14);
  EXPECT_NEAR(CrossEntropyLoss()(z, some).item<double>(), expected, 1e-14);
  EXPECT_EQ(cross_entropy(z, none, {.reduction = Reduction::sum}).item<double>(), 0);
  EXPECT_TRUE(std::isnan(cross_entropy(z, none).item<double>()));
  EXPECT_EQ(nll_loss(p, none, {.reduction = Reduction::sum}).item<double>(), 0);
  for (const std::optional<std::int64_t>& other : {std::optional<std::int64_t>{}, std::optional<std::int64_t>{1}}) {
    EXPECT_EQ(message_of<IndexError>([&] { cross_entropy(z, some, {.ignore_index = other}); }),
              "cross_entropy: label -100 at (1,) is outside [0, 3): logits (4, 3) have 3 classes");
    EXPECT_EQ(message_of<IndexError>([&] { nll_loss(p, some, {.ignore_index = other}); }),
              "nll_loss: label -100 at (1,) is outside [0, 3): log_probabilities (4, 3) have 3 classes");
  }
}

TEST(CrossEntropy, RefusesLabelsWithoutAClass) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  const Tensor z(randn({4, 3}).array(), true), weight = ones({3});
  for (const std::int64_t label : std::vector<std::int64_t>{-1, -99, -101, 3, -kMost - 1, kMost}) {
    const Tensor labels = labels_of({2, 0, label, -100});
    const std::string rest = "label " + std::to_string(label) + " at (2,) is outside [0, 3): ";
    for (const Reduction reduction : {Reduction::none, Reduction::mean, Reduction::sum}) {
      for (const Tensor& weights : {Tensor(), weight}) {
        EXPECT_EQ(message_of<IndexError>([&] {
                    cross_entropy(z, labels, {0, reduction, weights});
                  }),
                  "cross_entropy: " + rest + "logits (4, 3) have 3 classes");
        EXPECT_EQ(message_of<IndexError>([&] {
                    nll_loss(z, labels, {reduction, weights});
                  }),
                  "nll_loss: " + rest + "log_probabilities (4, 3) have 3 classes");
      }
    }
  }
  EXPECT_FALSE(z.grad().defined());
}

// Named by their place in the target's shape, however that lies in memory; a label that is ignored may be any.
TEST(CrossEntropy, FindsLabelsOfEveryLayoutAndDType) {
  const Tensor z = randn({2, 5, 3, 4});
  std::vector<std::int64_t> numbers(24, 4);
  numbers[2 * 6 + 1] = 5;  // (2, 0, 1) of (4, 3, 2)
  const Tensor far = Tensor::from(std::span<const std::int64_t>(numbers), {4, 3, 2});
  const Tensor strided = permute(far, {2, 1, 0}), reversed = flip(flip(strided, 0).contiguous(), 0);
  for (const Tensor& layout : {strided, reversed, contiguous(strided)}) {
    for (const DType dtype : {DType::u8, DType::i32, DType::i64}) {
      EXPECT_EQ(message_of<IndexError>([&] { cross_entropy(z, layout.to(dtype)); }),
                "cross_entropy: label 5 at (1, 0, 2) is outside [0, 5): logits (2, 5, 3, 4) have 5 classes");
      EXPECT_TRUE(std::isfinite(cross_entropy(z, layout.to(dtype), {.ignore_index = 5}).item<float>()));
      EXPECT_TRUE(std::isfinite(nll_loss(z, layout.to(dtype), {.ignore_index = 5}).item<float>()));
    }
  }
  EXPECT_EQ(message_of<IndexError>([&] {
              nll_loss(zeros({1, 0}), labels_of({0}));
            }),
            "nll_loss: label 0 at (0,) is outside [0, 0): log_probabilities (1, 0) have 0 classes");
  EXPECT_EQ(cross_entropy(zeros({0, 3}), labels_of({}), {.reduction = Reduction::sum}).item<float>(), 0);
}

TEST(CrossEntropy, ProbabilitiesTakeAnIgnoredLabelOfNoClass) {
  const Tensor z = randn({4, 3}), target = softmax(randn({4, 3}));
  const float expected = cross_entropy(z, target, {.ignore_index = std::nullopt}).item<float>();
  EXPECT_EQ(cross_entropy(z, target).item<float>(), expected);
  EXPECT_EQ(cross_entropy(z, target, {.ignore_index = -1}).item<float>(), expected);
  EXPECT_EQ(message_of<ValueError>([&] { cross_entropy(z, target, {.ignore_index = 0}); }),
            "cross_entropy: ignore_index 0 applies to labels, but the target holds probabilities (4, 3)");
}

// A class that takes no part may have a logit of -infinity, whose log softmax is -infinity too.
TEST(CrossEntropy, WhatDoesNotCountMayBeInfinite) {
  constexpr float kFar = std::numeric_limits<float>::infinity();
  const Tensor z = Tensor::from<float>({-kFar, 0, 0}, {1, 3}, {.requires_grad = true});
  const Tensor loss = cross_entropy(z, Tensor::from<float>({0, 1, 0}, {1, 3}));
  EXPECT_NEAR(loss.item<float>(), std::log(2.0), 1e-7);
  loss.backward();
  EXPECT_EQ(z.grad().to_vector<float>(), (std::vector<float>{0, -0.5F, 0.5F}));
  const Tensor weight = Tensor::from<float>({0, 1, 1}, {3});
  const Tensor masked =
      cross_entropy(Tensor::from<float>({-kFar, 0, 0, -kFar, 0, 0}, {2, 3}), labels_of({0, 1}), {.weight = weight});
  EXPECT_NEAR(masked.item<float>(), std::log(2.0), 1e-7);
  EXPECT_EQ(cross_entropy(z, labels_of({0})).item<float>(), kFar);
  const Tensor smoothed = cross_entropy(z, labels_of({0}), {.label_smoothing = 1});
  EXPECT_EQ(smoothed.item<float>(), kFar);
  EXPECT_EQ(nll_loss(Tensor::from<float>({-kFar, -1, -1, -1}, {2, 2}), labels_of({0, 1}),
                     {.weight = Tensor::from<float>({0, 1}, {2})})
                .item<float>(),
            1);
}

TEST(BinaryCrossEntropy, InfiniteLogitsOfTheRightSignCostNothing) {
  constexpr float kFar = std::numeric_limits<float>::infinity();
  const Tensor z = Tensor::from<float>({kFar, -kFar, kFar, -kFar}, {4}, {.requires_grad = true});
  const Tensor losses =
      binary_cross_entropy_with_logits(z, Tensor::from<float>({1, 0, 0, 1}, {4}), {.reduction = Reduction::none});
  EXPECT_EQ(losses.to_vector<float>(), (std::vector<float>{0, 0, kFar, kFar}));
  sum(losses).backward();
  EXPECT_EQ(z.grad().to_vector<float>(), (std::vector<float>{0, 0, 1, -1}));
}

TEST(NllLoss, WrongArguments) {
  const Tensor p = log_softmax(randn({4, 3})), labels = labels_of({0, 1, 2, 0});
  EXPECT_EQ(message_of<ShapeError>([&] { nll_loss(randn({4}), labels); }),
            "nll_loss: log_probabilities needs the shape (N, classes) or (N, classes, ...), got (4,)");
  EXPECT_EQ(message_of<ShapeError>([&] {
              nll_loss(p, labels_of({0, 1}));
            }),
            "nll_loss: labels (2,) do not match the rows of log_probabilities (4, 3)");
  EXPECT_EQ(message_of<DTypeError>([&] { nll_loss(p, zeros({4})); }),
            "nll_loss: labels need an integer dtype, not f32");
  EXPECT_EQ(message_of<ShapeError>([&] {
              nll_loss(p, labels, {.weight = ones({1, 3})});
            }),
            "nll_loss: weight (1, 3) does not match the classes of log_probabilities (4, 3)");
}

TEST(NllLoss, IsCrossEntropyBehindLogSoftmax) {
  const Tensor z = randn({5, 4}, {.dtype = DType::f64}), labels = labels_of({3, 0, 1, 1, 2});
  const Tensor weight = Tensor::from<double>({1, 0.5, 2, 0}, {4});
  EXPECT_NEAR(nll_loss(log_softmax(z), labels, {.weight = weight, .ignore_index = 0}).item<double>(),
              cross_entropy(z, labels, {.weight = weight, .ignore_index = 0}).item<double>(), 1e-14);
}

TEST(SmoothL1, WrongArguments) {
  const Tensor a = randn({2, 3});
  EXPECT_EQ(message_of<ShapeError>([&] { smooth_l1_loss(a, randn({3})); }),
            "smooth_l1_loss: prediction (2, 3) and target (3,) must have one shape");
  EXPECT_EQ(message_of<ValueError>([&] { smooth_l1_loss(a, a, -0.5); }),
            "smooth_l1_loss: beta must be finite and not negative, got -0.5");
  EXPECT_EQ(message_of<ShapeError>([&] { huber_loss(a, randn({3})); }),
            "huber_loss: prediction (2, 3) and target (3,) must have one shape");
  EXPECT_EQ(message_of<ValueError>([&] { huber_loss(a, a, 0); }),
            "huber_loss: delta must be finite and positive, got 0");
}

TEST(SmoothL1, GradientsAtTheKinksAndOfLargeDifferences) {
  Tensor x = Tensor::from<float>({0, 0.5, -0.5, 3e38F, -3e38F}, {5}, {.requires_grad = true});
  smooth_l1_loss(x, zeros({5}), 0.5, Reduction::sum).backward();
  EXPECT_EQ(x.grad().to_vector<float>(), (std::vector<float>{0, 1, -1, 1, -1}));
  x.zero_grad();
  smooth_l1_loss(x, zeros({5}), 0, Reduction::sum).backward();
  EXPECT_EQ(x.grad().to_vector<float>(), (std::vector<float>{0, 1, -1, 1, -1}));
}

TEST(BinaryCrossEntropy, WrongArguments) {
  const Tensor z = randn({2, 3});
  const auto bce = binary_cross_entropy_with_logits;
  EXPECT_EQ(message_of<ShapeError>([&] { bce(z, randn({3}), {}); }),
            "binary_cross_entropy_with_logits: logits (2, 3) and target (3,) must have one shape");
  EXPECT_EQ(message_of<DTypeError>([&] { bce(z.to(DType::i64), z, {}); }),
            "binary_cross_entropy_with_logits: logits need a floating dtype, not i64");
  EXPECT_EQ(message_of<ShapeError>([&] { bce(z, z, {.weight = ones({2})}); }),
            "binary_cross_entropy_with_logits: weight (2,) does not broadcast to logits (2, 3)");
  EXPECT_EQ(message_of<ShapeError>([&] {
              bce(z, z, {.pos_weight = ones({1, 2, 3})});
            }),
            "binary_cross_entropy_with_logits: pos_weight (1, 2, 3) does not broadcast to logits (2, 3)");
}

TEST(BinaryCrossEntropy, LargeLogitsAreExact) {
  const Tensor z = Tensor::from<float>({1e4F, -1e4F, 3e38F, -3e38F, -30, 30}, {6}, {.requires_grad = true});
  const Tensor y = Tensor::from<float>({1, 0, 0, 1, 0, 1}, {6});
  const Tensor losses = binary_cross_entropy_with_logits(z, y, {.reduction = Reduction::none});
  const std::vector<float> found = losses.to_vector<float>();
  const std::vector<double> expected = {0, 0, 3e38, 3e38, std::exp(-30.0), std::exp(-30.0)};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-6 * expected[i]) << i;
  sum(losses).backward();
  const std::vector<float> slopes = z.grad().to_vector<float>();
  const std::vector<double> steep = {0, 0, 1, -1, std::exp(-30.0), -std::exp(-30.0)};
  for (std::size_t i = 0; i < steep.size(); ++i) EXPECT_NEAR(slopes[i], steep[i], 1e-6 * std::abs(steep[i])) << i;
}

TEST(BinaryCrossEntropy, TakesIntegerTargets) {
  const Tensor z = randn({4}), y = labels_of({0, 1, 1, 0});
  EXPECT_EQ(binary_cross_entropy_with_logits(z, y).item<float>(),
            binary_cross_entropy_with_logits(z, y.to(DType::f32)).item<float>());
}

TEST(SmoothL1, BoundsBeyondTheRangeOfFloats) {
  const auto losses = [](const auto& loss, const std::vector<float>& d) {
    const Tensor x =
        Tensor::from(std::span<const float>(d), {static_cast<std::int64_t>(d.size())}, {.requires_grad = true});
    const Tensor each = loss(x, zeros_like(x.detach()));
    each.backward(ones_like(each.detach()));
    return std::pair(each.template to_vector<float>(), x.grad().template to_vector<float>());
  };
  using Floats = std::vector<float>;
  for (const double delta : {1e38, 3.4e38, 1e39, 1e300}) {
    const auto [values, slopes] =
        losses([&](const Tensor& x, const Tensor& y) { return huber_loss(x, y, delta, Reduction::none); },
               {0.0f, 1e-4f, 2.0f});
    EXPECT_EQ(values, (Floats{0, 0.5f * 1e-4f * 1e-4f, 2})) << delta;
    EXPECT_EQ(slopes, (Floats{0, 1e-4f, 2})) << delta;
  }
  for (const double beta : {1e-46, 1e-40}) {
    const auto [values, slopes] = losses(
        [&](const Tensor& x, const Tensor& y) { return smooth_l1_loss(x, y, beta, Reduction::none); }, {0, -1, 3});
    EXPECT_EQ(values, (Floats{0, 1, 3})) << beta;
    EXPECT_EQ(slopes, (Floats{0, -1, 1})) << beta;
  }
  const auto [values, slopes] = losses(
      [](const Tensor& x, const Tensor& y) { return smooth_l1_loss(x, y, 1e39, Reduction::none); }, {0, 1, -1e30f});
  EXPECT_EQ(values, (Floats{0, 0, 0}));
  EXPECT_EQ(slopes, (Floats{0, 0, 0}));
}

}  // namespace
