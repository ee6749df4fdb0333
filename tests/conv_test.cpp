#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "core/device/conv_algo.h"
#include "core/device/sanitizers.h"
#include "cpu/runtime/backend.h"
#include "cpu/runtime/threads.h"
#include "tests/conv_shapes.h"
#include "weft/error.h"

namespace weft::cpu {
namespace {

/// A result and, for its tolerance, the sum of the absolute values that went into each element.
struct Expected {
  std::vector<double> value, magnitude;
  explicit Expected(std::int64_t size) : value(size), magnitude(size) {}
  void add(std::size_t i, double term) {
    value[i] += term;
    magnitude[i] += std::abs(term);
  }
};

template <class T>
Operands<T> random(const ConvShape& s, unsigned seed) {
  return operands<T>(s, seed, [](double value) { return static_cast<T>(value); });
}

template <class T>
ConstView view(const std::vector<T>& values) {
  return {values.data(), Shape{static_cast<std::int64_t>(values.size())}, Strides{1}, dtype_of_type<T>::value};
}

constexpr std::int64_t kGuard = 32;

/// NaNs between guards, which must be left alone.
template <class T>
class Result {
 public:
  explicit Result(std::int64_t size) : buffer_(size + 2 * kGuard, T(12345)) {
    std::fill(buffer_.begin() + kGuard, buffer_.end() - kGuard, std::numeric_limits<T>::quiet_NaN());
  }
  View view() {
    const auto size = static_cast<std::int64_t>(buffer_.size()) - 2 * kGuard;
    return {buffer_.data() + kGuard, Shape{size}, Strides{1}, dtype_of_type<T>::value};
  }
  std::vector<T> values() const {
    for (std::int64_t i = 0; i < kGuard; ++i) {
      EXPECT_EQ(buffer_[i], T(12345)) << "before the output";
      EXPECT_EQ(buffer_[buffer_.size() - 1 - i], T(12345)) << "behind the output";
    }
    return {buffer_.begin() + kGuard, buffer_.end() - kGuard};
  }

 private:
  std::vector<T> buffer_;
};

/// CpuBackend::conv, by im2col where the shape names no algorithm.
template <class T>
std::vector<T> computed(ConvPass pass, ConvShape s, const Operands<T>& in, bool bias, const View& bias_grad = {}) {
  if (s.algo == ConvAlgo::automatic) s.algo = ConvAlgo::im2col;
  Result<T> out(result_size(pass, s));
  backend().conv({.pass = pass,
                  .shape = s,
                  .a = view(in.a(pass)),
                  .b = view(in.b(pass)),
                  .bias = bias ? view(in.bias) : ConstView{},
                  .out = out.view(),
                  .bias_grad = bias_grad});
  return out.values();
}

/// The sum of y's gradient, with a weight gradient that is the same as without it.
template <class T>
void check_bias_grad(const ConvShape& s, const Operands<T>& in) {
  SCOPED_TRACE("bias gradient");
  Expected want(s.k);
  for (std::size_t i = 0; i < in.y_grad.size(); ++i) want.add(i % s.k, static_cast<double>(in.y_grad[i]));
  Result<T> result(s.k);
  View view = result.view();
  const std::vector<T> with = computed(ConvPass::weight_grad, s, in, false, view);
  const std::vector<T> without = computed(ConvPass::weight_grad, s, in, false);
  EXPECT_EQ(with.size() * sizeof(T) == 0 ? 0 : std::memcmp(with.data(), without.data(), with.size() * sizeof(T)), 0);
  const std::vector<T> got = result.values();
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_LE(std::abs(static_cast<double>(got[i]) - want.value[i]),
              8 * std::numeric_limits<T>::epsilon() * want.magnitude[i])
        << "element " << i;
  }
}

template <class T>
void check(const ConvShape& s, std::uint32_t seed = 1) {
  SCOPED_TRACE(describe(s) + (sizeof(T) == 8 ? " f64" : " f32"));
  const Operands<T> in = random<T>(s, seed);
  for (const auto pass : {ConvPass::forward, ConvPass::input_grad, ConvPass::weight_grad}) {
    for (const bool bias : {false, true}) {
      if (bias && pass != ConvPass::forward) continue;
      SCOPED_TRACE("pass " + std::to_string(static_cast<int>(pass)) + (bias ? " with bias" : ""));
      Expected want(result_size(pass, s));
      for_each_term(pass, s, in, bias, [&](std::size_t i, double term) { want.add(i, term); });
      const std::vector<T> got = computed(pass, s, in, bias);
      ASSERT_EQ(got.size(), want.value.size());
      for (std::size_t i = 0; i < got.size(); ++i) {
        const double tolerance = 8 * std::numeric_limits<T>::epsilon() * want.magnitude[i];
        ASSERT_LE(std::abs(static_cast<double>(got[i]) - want.value[i]), tolerance)
            << "element " << i << ": " << got[i] << ", expected " << want.value[i];
      }
    }
  }
  check_bias_grad(s, in);
}

class ConvShapes : public testing::TestWithParam<ConvShape> {};

TEST_P(ConvShapes, AgreesWithPlainLoops) {
  check<float>(GetParam());
  check<double>(GetParam());
}

TEST_P(ConvShapes, BitsDoNotDependOnThreads) {
  const ConvShape& s = GetParam();
  const Operands<float> in = random<float>(s, 7);
  for (const auto pass : {ConvPass::forward, ConvPass::input_grad, ConvPass::weight_grad}) {
    set_thread_count(1);
    const std::vector<float> one = computed(pass, s, in, pass == ConvPass::forward);
    for (const int threads : {2, 3, 8}) {
      set_thread_count(threads);
      const std::vector<float> many = computed(pass, s, in, pass == ConvPass::forward);
      EXPECT_EQ(one.size() * sizeof(float) == 0 ? 0 : std::memcmp(one.data(), many.data(), one.size() * sizeof(float)),
                0)
          << describe(s) << " pass " << static_cast<int>(pass) << ", " << threads << " threads";
    }
  }
  set_thread_count(allowed_cpus());
}

const ConvShape kShapes[] = {
    // The layers of both models, with fewer images.
    make_shape(5, 3, 16, {1, 32, 32}, {1, 7, 7}, {1, 4, 4}, {0, 3, 3}),
    make_shape(9, 16, 32, {1, 8, 8}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}),
    make_shape(17, 32, 32, {1, 4, 4}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
    make_shape(33, 64, 128, {1, 2, 2}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}),
    make_shape(130, 64, 40, {1, 1, 1}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
    make_shape(2, 3, 64, {1, 32, 32}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
    make_shape(3, 256, 300, {1, 4, 4}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),   // a large filter: gradient in blocks
    make_shape(40, 270, 260, {1, 2, 2}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}),  // the same, trimmed, with remainders
    make_shape(2, 520, 520, {1, 4, 3}, {1, 2, 2}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}, 2),
    make_shape(300, 600, 24, {1, 1, 1}, {1, 1, 1}),  // several tiles of images
    make_shape(3, 12, 20, {1, 20, 17}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
    // C == H == W, and everything different.
    make_shape(4, 4, 4, {1, 4, 4}, {1, 4, 4}, {1, 1, 1}, {0, 2, 2}),
    make_shape(3, 5, 7, {1, 11, 6}, {1, 2, 5}, {1, 3, 2}, {0, 1, 4}),
    // Strides: remainders of (in + 2·padding - filter), larger than the filter, phases without taps.
    make_shape(2, 3, 5, {1, 10, 9}, {1, 3, 3}, {1, 2, 4}, {0, 0, 1}),
    make_shape(2, 6, 5, {1, 13, 17}, {1, 2, 2}, {1, 5, 7}, {0, 1, 0}),
    make_shape(3, 4, 6, {1, 5, 5}, {1, 1, 1}, {1, 3, 3}),
    make_shape(2, 3, 4, {1, 2, 3}, {1, 3, 3}, {1, 9, 8}, {0, 1, 1}),
    // Filters larger than the input, padding larger than half the filter, padding everywhere.
    make_shape(2, 3, 4, {1, 3, 2}, {1, 5, 7}, {1, 1, 1}, {0, 2, 3}),
    make_shape(2, 3, 4, {1, 4, 5}, {1, 3, 3}, {1, 1, 1}, {0, 5, 3}),
    make_shape(2, 3, 4, {1, 4, 5}, {1, 2, 3}, {1, 3, 2}, {0, 6, 4}),
    make_shape(2, 3, 4, {1, 1, 1}, {1, 5, 5}, {1, 2, 2}, {0, 7, 7}),
    make_shape(1, 1, 1, {1, 1, 1}, {1, 1, 1}),
    make_shape(2, 3, 4, {1, 7, 8}, {1, 3, 2}, {1, 2, 1}, {0, 1, 0}, {1, 1, 1}, 1, {0, 0, 1}),  // after: less, more
    // Dilation, alone and against the stride.
    make_shape(2, 3, 4, {1, 9, 10}, {1, 3, 3}, {1, 1, 1}, {0, 2, 0}, {1, 2, 3}),
    make_shape(2, 3, 4, {1, 12, 13}, {1, 3, 4}, {1, 2, 2}, {0, 2, 3}, {1, 2, 3}),
    make_shape(2, 5, 3, {1, 20, 19}, {1, 4, 3}, {1, 6, 4}, {0, 4, 5}, {1, 4, 6}),
    make_shape(2, 5, 3, {1, 1, 1}, {1, 3, 3}, {1, 1, 1}, {0, 2, 3}, {1, 2, 3}),
    // Nothing to gather: 1x1, a filter as large as its input, a mixture.
    make_shape(7, 9, 11, {1, 6, 5}, {1, 1, 1}),
    make_shape(70, 9, 11, {1, 3, 4}, {1, 3, 4}),
    make_shape(7, 9, 11, {3, 4, 5}, {1, 4, 5}),
    make_shape(6, 8, 10, {1, 3, 2}, {1, 3, 2}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}, 2),
    make_shape(6, 8, 10, {1, 3, 2}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}, 2),
    // Groups; depthwise, also with several filters per channel.
    make_shape(3, 6, 9, {1, 7, 6}, {1, 3, 3}, {1, 2, 1}, {0, 1, 1}, {1, 1, 1}, 3),
    make_shape(3, 20, 20, {1, 9, 8}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}, 20),
    make_shape(3, 35, 35, {1, 9, 8}, {1, 5, 3}, {1, 2, 3}, {0, 2, 1}, {1, 1, 2}, 35),
    make_shape(2, 7, 21, {1, 5, 8}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}, {1, 1, 1}, 7),
    make_shape(2, 5, 10, {2, 4, 3}, {2, 3, 3}, {1, 1, 2}, {1, 1, 1}, {1, 1, 1}, 5),
    // One and three spatial dimensions.
    make_shape(3, 4, 5, {1, 1, 37}, {1, 1, 5}, {1, 1, 3}, {0, 0, 2}, {1, 1, 2}),
    make_shape(2, 3, 4, {5, 6, 7}, {2, 3, 3}, {2, 1, 2}, {1, 1, 0}),
    make_shape(2, 3, 4, {7, 5, 6}, {3, 2, 3}, {2, 3, 1}, {2, 1, 3}, {2, 1, 2}),
    // Triple 0 and 1.
    make_shape(0, 3, 4, {1, 5, 5}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}),
    make_shape(2, 0, 4, {1, 5, 5}, {1, 3, 3}),
    make_shape(2, 3, 0, {1, 5, 5}, {1, 3, 3}),
    make_shape(2, 3, 4, {1, 2, 2}, {1, 3, 3}),
    make_shape(2, 3, 4, {1, 0, 3}, {1, 3, 3}, {1, 1, 1}, {0, 2, 2}),
    make_shape(1, 1, 1, {1, 5, 1}, {1, 3, 1}),
    // More rows than 65,535.
    make_shape(1, 1, 2, {1, 257, 259}, {1, 2, 3}, {1, 1, 1}, {0, 1, 1}),
};

INSTANTIATE_TEST_SUITE_P(Table, ConvShapes, testing::ValuesIn(kShapes),
                         [](const auto& row) { return std::to_string(row.index); });

TEST(Conv, RandomShapesAgreeWithPlainLoops) {
  std::mt19937 random(20240501);
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution<std::int64_t>(low, high)(random); };
  for (int round = 0; round < 500; ++round) {
    Triple in{1, 1, 1}, filter{1, 1, 1}, stride{1, 1, 1}, padding{0, 0, 0}, dilation{1, 1, 1}, after{0, 0, 0};
    const auto dimensions = static_cast<std::size_t>(pick(1, 3));
    for (std::size_t d = 3 - dimensions; d < 3; ++d) {
      in[d] = pick(1, dimensions == 3 ? 6 : 12);
      filter[d] = pick(1, 5);
      stride[d] = pick(1, 4);
      padding[d] = pick(0, 4);
      dilation[d] = pick(1, 3);
      after[d] = pick(0, 4);
    }
    const std::int64_t groups = pick(0, 2) == 0 ? pick(1, 6) : 1;
    const std::int64_t channels = pick(0, 2) == 0 ? 1 : pick(1, 9), filters = pick(1, 9);
    const ConvShape shape = make_shape(pick(0, 4), groups * channels, groups * filters, in, filter, stride, padding,
                                       dilation, groups, after);
    if (round % 2 == 0) check<float>(shape, static_cast<std::uint32_t>(round));
    if (round % 2 == 1) check<double>(shape, static_cast<std::uint32_t>(round));
    if (HasFailure()) FAIL() << "round " << round;
  }
}

/// All passes by one algorithm, or by each that applies.
void check_depth(ConvShape s, Terms terms, ConvAlgo only = ConvAlgo::automatic) {
  for (const auto pass : {ConvPass::forward, ConvPass::input_grad, ConvPass::weight_grad}) {
    const DeepPass deep(terms, s, pass);
    for (const ConvAlgo algo : {ConvAlgo::reference, ConvAlgo::im2col, ConvAlgo::direct}) {
      if (!applies(algo, s, DType::f32) || (only != ConvAlgo::automatic && algo != only)) continue;
      s.algo = algo;
      EXPECT_LE(deep.error(computed(pass, s, deep.in, deep.bias)), 5e-6)
          << describe(s) << ", " << name(algo) << ", pass " << static_cast<int>(pass) << ", terms "
          << static_cast<int>(terms);
    }
  }
}

constexpr Triple kOnes{1, 1, 1}, kEdge{0, 1, 1};

TEST(ConvDepth, SumsOfManyTermsAreAccurate) {
  for (const Terms terms : kTerms) {
    check_depth(make_shape(1, 3000, 3, {1, 2, 3}, {1, 2, 2}), terms);                   // deep forward
    check_depth(make_shape(1, 3, 3000, {1, 2, 3}, {1, 2, 2}, kOnes, kEdge), terms);     // deep input gradient
    check_depth(make_shape(3, 2, 3, {1, 70, 71}, {1, 3, 3}, kOnes, kEdge), terms);      // deep weight gradient, narrow
    check_depth(make_shape(2, 9, 2, {1, 80, 81}, {1, 2, 3}, {1, 2, 1}, kEdge), terms);  // and by lines
    check_depth(make_shape(9000, 10, 2, {1, 2, 1}, {1, 2, 1}), terms);                  // and by images
  }
}

TEST(ConvDepth, AroundTheLengthsOfChains) {
  for (const std::int64_t whole : {256, 512, 8192, 16384}) {
    for (const std::int64_t depth : {whole - 1, whole, whole + 1}) {
      check_depth(make_shape(2, depth, 2, {1, 1, 3}, kOnes), Terms::tenth);
      check_depth(make_shape(2, 2, depth, {1, 3, 1}, kOnes), Terms::third);
      check_depth(make_shape(1, 2, 2, {1, 1, depth}, {1, 1, 2}, kOnes, {0, 0, 1}), Terms::seven_tenths);
      check_depth(make_shape(depth, 9, 2, {1, 1, 1}, kOnes), Terms::above_one);
    }
  }
}

TEST(ConvDepth, OfMillionsOfTerms) {
#if WEFT_ASAN || WEFT_TSAN
  constexpr std::int64_t kSide = 200;
#else
  constexpr std::int64_t kSide = 800;
#endif
  for (const ConvAlgo algo : {ConvAlgo::im2col, ConvAlgo::direct}) {
    check_depth(make_shape(1, 1, 2, {1, kSide, kSide}, {1, 1, 1}), Terms::tenth, algo);
    check_depth(make_shape(2, kSide * kSide, 1, {1, 1, 1}, {1, 1, 1}), Terms::above_one, algo);
    check_depth(make_shape(2, 1, kSide * kSide, {1, 1, 1}, {1, 1, 1}), Terms::third, algo);
  }
  check_depth(make_shape(1, 1, 1, {1, 1, kSide * kSide}, {1, 1, 2}), Terms::third, ConvAlgo::im2col);
  check_depth(make_shape(1, 9, 1, {1, 1, kSide * kSide / 9}, {1, 1, 2}), Terms::third, ConvAlgo::im2col);
}

// No image, no channel, no filter, no output, and inputs of padding alone: what is left is zeros or the bias.
TEST(Conv, EveryAlgorithmTakesNothing) {
  const Triple ones{1, 1, 1}, edge{0, 1, 1};
  const ConvShape shapes[] = {
      make_shape(0, 4, 6, {1, 5, 6}, {1, 3, 3}, ones, edge),
      make_shape(2, 0, 6, {1, 5, 6}, {1, 3, 3}, ones, edge),
      make_shape(2, 4, 0, {1, 5, 6}, {1, 3, 3}, ones, edge),
      make_shape(2, 0, 0, {1, 5, 6}, {1, 3, 3}, ones, edge),
      make_shape(2, 4, 6, {1, 2, 2}, {1, 3, 3}),
      make_shape(2, 4, 6, {1, 0, 3}, {1, 3, 3}, ones, {0, 2, 1}),
      make_shape(0, 4, 6, {2, 3, 4}, {1, 1, 1}),
      make_shape(2, 0, 6, {2, 3, 4}, {1, 1, 1}),
      make_shape(2, 4, 0, {2, 3, 4}, {1, 1, 1}),
      make_shape(2, 4, 6, {2, 0, 4}, {1, 1, 1}),
      // Groups of no channels or no filters; depthwise.
      make_shape(2, 0, 6, {1, 5, 6}, {1, 3, 3}, ones, edge, ones, 3),
      make_shape(2, 6, 0, {1, 5, 6}, {1, 3, 3}, {1, 2, 2}, edge, ones, 3),
      make_shape(2, 6, 0, {2, 3, 4}, {1, 1, 1}, ones, {0, 0, 0}, ones, 2),
      make_shape(0, 4, 8, {1, 5, 6}, {1, 3, 3}, ones, edge, ones, 4),
      make_shape(2, 4, 0, {1, 5, 6}, {1, 3, 3}, {1, 2, 1}, edge, ones, 4),
      make_shape(2, 1, 0, {1, 5, 6}, {1, 3, 3}, ones, edge),
      make_shape(2, 4, 8, {1, 0, 3}, {1, 3, 3}, ones, {0, 2, 1}, ones, 4),
  };
  for (ConvShape shape : shapes) {
    for (const ConvAlgo algo : {ConvAlgo::automatic, ConvAlgo::reference, ConvAlgo::im2col, ConvAlgo::direct,
                                ConvAlgo::winograd, ConvAlgo::implicit_gemm}) {
      if (!applies(algo, shape, DType::f32)) continue;
      SCOPED_TRACE(name(algo));
      shape.algo = algo;
      check<float>(shape);
      check<double>(shape);
    }
  }
}

TEST(Conv, OtherDtypesAreRefused) {
  const std::vector<std::int32_t> values(1);
  std::vector<std::int32_t> out(1, 5);
  const ConvShape shape = make_shape(1, 1, 1, {1, 1, 1}, {1, 1, 1});
  const ConvCall call{
      .shape = shape, .a = view(values), .b = view(values), .out = View{out.data(), Shape{1}, Strides{1}, DType::i32}};
  EXPECT_THROW(backend().conv(call), DTypeError);
  EXPECT_EQ(out[0], 5);
}

}  // namespace
}  // namespace weft::cpu
