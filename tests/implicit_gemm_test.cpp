// A GPU's products with columns that are not kept, against plain loops in double precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/conv_on_device.h"
#include "tests/device.h"
#include "weft/ops.h"
#include "weft/precision.h"
#include "weft/random.h"

namespace weft {
namespace {

using scalar::Bfloat;

void check_all(ConvShape s) {
  s.algo = ConvAlgo::implicit_gemm;
  for (const Shifts& shifts : kShifts) {
    check_passes<float>(s, 1e-6, shifts);
    check_passes<double>(s, 1e-14, shifts);
    check_passes<Bfloat>(s, 4e-3, shifts);
    const PrecisionGuard precise(Precision::tf32);
    check_passes<float>(s, 1e-3, shifts);
  }
}

constexpr Triple kOnes{1, 1, 1}, kNone{0, 0, 0}, kEdge{0, 1, 1}, kThree{1, 3, 3};

TEST(ImplicitGemm, SmallAndOddSizes) {
  WEFT_NEEDS_CUDA();
  check_all(make_shape(2, 3, 5, {1, 7, 6}, kThree, {1, 2, 2}, kEdge));
  check_all(make_shape(1, 1, 1, kOnes, kOnes));
  check_all(make_shape(3, 4, 4, {1, 4, 4}, {1, 4, 2}, kOnes, {0, 2, 3}));  // sizes that are easily confused
  check_all(make_shape(2, 5, 3, {4, 3, 5}, {2, 3, 2}, {2, 2, 2}, {1, 1, 0}));
  check_all(make_shape(9, 16, 24, kOnes, kThree, kOnes, kEdge));  // one tap of nine reads anything
  check_all(make_shape(9, 5, 6, kOnes, kThree, kOnes, kEdge));
  check_all(make_shape(2, 8, 8, {1, 5, 5}, kOnes, {1, 2, 2}));  // phases without a tap
  check_all(make_shape(2, 6, 4, {1, 7, 9}, kThree, kOnes, {0, 2, 1}, {1, 2, 3}));
}

TEST(ImplicitGemm, Groups) {
  WEFT_NEEDS_CUDA();
  check_all(make_shape(2, 6, 9, {1, 5, 6}, kThree, kOnes, kEdge, kOnes, 3));
  check_all(make_shape(2, 16, 32, {1, 6, 5}, kThree, {1, 2, 1}, kEdge, kOnes, 2));
  check_all(make_shape(2, 7, 7, {1, 5, 6}, kThree, kOnes, kEdge, kOnes, 7));
}

// Several tiles each way, of every size; the last ones are not full.
TEST(ImplicitGemm, ManyTiles) {
  WEFT_NEEDS_CUDA();
  check_all(make_shape(3, 16, 136, {1, 12, 13}, kThree, kOnes, kEdge));
  check_all(make_shape(5, 8, 16, {1, 9, 14}, kThree, {1, 2, 2}, kEdge));
  check_all(make_shape(2, 72, 40, {1, 11, 9}, kThree, kOnes, kEdge));
}

// Nine phases, more than one launch takes.
TEST(ImplicitGemm, ManyPhases) {
  WEFT_NEEDS_CUDA();
  check_all(make_shape(2, 8, 8, {1, 10, 11}, {1, 5, 4}, {1, 3, 3}, {0, 2, 1}));
}

// Sums over many rows, which several blocks share.
TEST(ImplicitGemm, ManyRows) {
  WEFT_NEEDS_CUDA();
  check_all(make_shape(11, 3, 16, {1, 16, 15}, {1, 7, 7}, {1, 4, 4}, {0, 3, 3}));
  check_all(make_shape(7, 8, 8, {1, 14, 13}, kThree, kOnes, kEdge));
}

// Depths of the forward pass, the input's gradient and the weight's that are more than a chain of additions.
TEST(ImplicitGemm, SumsOfManyTermsAreAccurate) {
  WEFT_NEEDS_CUDA();
  const ConvShape forward = make_shape(1, 1500, 3, {1, 2, 3}, {1, 2, 2}),
                  input = make_shape(1, 3, 1500, {1, 2, 3}, kOnes);
  const ConvShape weight = make_shape(1, 2, 3, {1, 90, 91}, {1, 1, 2}, kOnes, {0, 0, 1});
  const ConvShape large = make_shape(70, 600, 70, kOnes, kOnes), narrow = make_shape(2, 1000, 9, kOnes, kOnes);
  for (const Terms terms : kTerms) {
    for (ConvShape s : {forward, input, weight}) {
      s.algo = ConvAlgo::implicit_gemm;
      check_depth(s, terms);
    }
  }
  for (ConvShape s : {large, narrow}) {
    s.algo = ConvAlgo::implicit_gemm;
    check_depth(s, Terms::tenth, kShifts[1]);
  }
}

TEST(ImplicitGemm, AroundTheLengthsOfChains) {
  WEFT_NEEDS_CUDA();
  for (const std::int64_t whole : {256, 512, 4096}) {
    for (const std::int64_t depth : {whole - 1, whole, whole + 1}) {
      for (ConvShape s : {make_shape(2, depth, 2, kOnes, kOnes), make_shape(2, 2, depth, kOnes, kOnes),
                          make_shape(depth, 2, 2, kOnes, kOnes)}) {
        s.algo = ConvAlgo::implicit_gemm;
        check_depth(s, Terms::third);
      }
    }
  }
}

/// The result of a pass of whose operands one holds an infinity: what it reaches by definition must be all that it
/// reaches.
template <class T>
void check_infinity(ConvShape s, ConvPass pass, double tolerance) {
  SCOPED_TRACE(describe(s) + " pass " + std::to_string(static_cast<int>(pass)));
  auto in = operands<T>(s, 5, [](double value) { return scalar::convert<T>(value); });
  std::vector<T>& gathered = pass == ConvPass::input_grad ? in.y_grad : in.x;
  gathered[gathered.size() * 3 / 4] = scalar::convert<T>(INFINITY);
  const Operands<double> wide{widened(in.x), widened(in.weight), widened(in.bias), widened(in.y_grad)};
  s.algo = ConvAlgo::implicit_gemm;
  const std::vector<double> found = conv_on_device(pass, s, in, false, {}).out;
  const std::vector<double> expected = conv_expected(pass, s, wide, false);
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(std::isfinite(found[i]), std::isfinite(expected[i])) << "element " << i;
    if (std::isfinite(found[i])) {
      ASSERT_NEAR(found[i], expected[i], tolerance * (1 + std::abs(expected[i])));
    }
  }
}

TEST(ImplicitGemm, InfinitiesReachWhatTheyMust) {
  WEFT_NEEDS_CUDA();
  const ConvShape shapes[] = {make_shape(2, 5, 3, {4, 3, 5}, {2, 3, 2}, {2, 2, 2}, {1, 1, 0}),
                              make_shape(2, 3, 5, {3, 7, 6}, {2, 2, 3}, {1, 2, 1}, {1, 0, 1}),
                              make_shape(2, 8, 16, {2, 5, 4}, {2, 3, 3}, {1, 2, 1}, {0, 1, 1})};
  for (const ConvShape& s : shapes) {
    for (const ConvPass pass : {ConvPass::forward, ConvPass::input_grad, ConvPass::weight_grad}) {
      check_infinity<float>(s, pass, 1e-5);
      check_infinity<Bfloat>(s, pass, 2e-2);
    }
  }
}

// Tiles enough that a GPU of 132 multiprocessors takes the largest ones, against im2col. The CPU takes them from fewer
// on.
TEST(ImplicitGemm, LargeTilesAgreeWithIm2col) {
  WEFT_NEEDS_A_REAL_GPU();
  const auto results = [](ConvAlgo algo, std::int64_t n, std::int64_t c, std::int64_t k, std::int64_t size) {
    manual_seed(7);
    const TensorOptions on_device{.device = Device::cuda()};
    const Tensor x = randn({n, c, size, size}, on_device), weight = randn({k, c, 3, 3}, on_device);
    const Tensor g = randn({n, k, size, size}, on_device);
    const Conv2dOptions options{.padding = 1, .algo = algo};
    const Tensor y = conv2d(x, weight, {}, options);
    const auto kind = y.dtype();
    return std::vector<Tensor>{y, conv2d_input_grad(g.to(kind), weight.to(kind), x.shape(), options),
                               conv2d_weight_grad(g.to(kind), x.to(kind), weight.shape(), options)};
  };
  for (const auto& [precision, tolerance] : std::vector<std::pair<Precision, double>>{
           {Precision::fp32, 1e-5}, {Precision::tf32, 2e-3}, {Precision::bf16, 1e-2}}) {
    const PrecisionGuard precise(precision);
    for (const Shape& s : {Shape{64, 16, 64, 24}, Shape{32, 32, 128, 16}, Shape{64, 64, 64, 24}}) {
      const std::vector<Tensor> found = results(ConvAlgo::implicit_gemm, s[0], s[1], s[2], s[3]);
      const std::vector<Tensor> expected = results(ConvAlgo::im2col, s[0], s[1], s[2], s[3]);
      for (std::size_t i = 0; i < found.size(); ++i) {
        EXPECT_LE(
            relative_error(found[i].to(DType::f64).to_vector<double>(), expected[i].to(DType::f64).to_vector<double>()),
            tolerance)
            << to_string(s) << " pass " << i;
      }
    }
  }
}

OnDevice<Bfloat> bfloats(const std::vector<float>& values) {
  std::vector<Bfloat> all;
  for (const float value : values) all.push_back(scalar::to_bfloat(value));
  return OnDevice<Bfloat>(DType::bf16, all, 0);
}

// Beside bf16, parameters are f32: weights are rounded to nearest even as they are multiplied, a bias not at all.
TEST(ImplicitGemm, ParametersOfBf16) {
  WEFT_NEEDS_CUDA();
  constexpr std::int64_t kFilters = 8;
  const BackendHandle device = backend(Device::cuda());
  for (const std::int64_t c : {1, 8}) {  // one at a time, and vectors
    ConvShape s = make_shape(1, c, kFilters, kOnes, kOnes);
    s.algo = ConvAlgo::implicit_gemm;
    const auto size = static_cast<std::size_t>(c);
    std::vector<float> row(size), weights(kFilters * size), biases(kFilters);
    std::vector<double> rounded, exact;
    row[0] = 1;
    for (std::size_t k = 0; k < kFilters; ++k) {
      weights[k * size] = 1.001f + 0.37f * static_cast<float>(k);
      rounded.push_back(double{scalar::widen(scalar::to_bfloat(weights[k * size]))});
      biases[k] = 4 + 0x1p-20f * static_cast<float>(k);
      exact.push_back(0x1p-20 * static_cast<double>(k));
    }
    const auto x = bfloats(row), y = bfloats(biases);
    const OnDevice<float> weight(DType::f32, weights, 0), bias(DType::f32, biases, 0);
    device->conv({.shape = s, .a = x.view(), .b = weight.view(), .out = y.view()});
    EXPECT_EQ(widened(y.values()), rounded);
    for (std::size_t k = 0; k < kFilters; ++k) weights[k * size] = -4;
    const OnDevice<float> fours(DType::f32, weights, 0);
    device->conv({.shape = s, .a = x.view(), .b = fours.view(), .bias = bias.view(), .out = y.view()});
    EXPECT_EQ(widened(y.values()), exact);
  }
}

// And their gradients, whatever the algorithm: sums that bf16 does not hold.
TEST(ImplicitGemm, GradientsOfBf16AreNotRounded) {
  WEFT_NEEDS_CUDA();
  constexpr std::int64_t kFilters = 8;
  const BackendHandle device = backend(Device::cuda());
  const auto check = [&](ConvAlgo algo, std::int64_t c, std::int64_t groups) {
    SCOPED_TRACE(std::string(name(algo)) + " " + std::to_string(c) + " channels");
    ConvShape s = make_shape(2, c, kFilters, kOnes, kOnes, kOnes, kNone, kOnes, groups);
    s.algo = algo;
    std::vector<float> rows(static_cast<std::size_t>(2 * c), 1), gradients(2 * kFilters, 1);
    std::fill(rows.begin() + c, rows.end(), 0x1p-10f);
    std::fill(gradients.begin() + kFilters, gradients.end(), 0x1p-10f);
    const auto x = bfloats(rows), y_grad = bfloats(gradients);
    const auto size = static_cast<std::size_t>(weight_size(s));
    const OnDevice<float> weight_grad(DType::f32, std::vector<float>(size), 0);
    const OnDevice<float> bias_grad(DType::f32, std::vector<float>(kFilters), 0);
    device->conv({.pass = ConvPass::weight_grad,
                  .shape = s,
                  .a = y_grad.view(),
                  .b = x.view(),
                  .out = weight_grad.view(),
                  .bias_grad = bias_grad.view()});
    EXPECT_EQ(widened(weight_grad.values()), std::vector<double>(size, 1 + 0x1p-20));
    EXPECT_EQ(widened(bias_grad.values()), std::vector<double>(kFilters, 1 + 0x1p-10));
  };
  for (const std::int64_t c : {1, 8}) {
    for (const ConvAlgo algo : {ConvAlgo::implicit_gemm, ConvAlgo::im2col, ConvAlgo::reference}) check(algo, c, 1);
  }
  check(ConvAlgo::direct, kFilters, kFilters);
}

TEST(ImplicitGemm, NothingToSum) {
  WEFT_NEEDS_CUDA();
  check_all(make_shape(0, 4, 8, {1, 5, 6}, kThree, kOnes, kEdge));
  check_all(make_shape(2, 0, 4, {1, 5, 6}, kThree, kOnes, kEdge));
  check_all(make_shape(2, 4, 0, {1, 5, 6}, kThree, {1, 2, 2}, kEdge));
  check_all(make_shape(2, 4, 4, {1, 0, 3}, kThree, kOnes, {0, 2, 1}));
}

}  // namespace
}  // namespace weft
