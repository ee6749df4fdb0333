#include "cpu/conv/depthwise.h"

#include <limits>

#include "tests/depthwise_cases.h"
#include "tests/guarded.h"

namespace weft::cpu {
namespace {

using namespace depthwise_cases;  // NOLINT(google-build-using-namespace)

template <class T>
class Depthwise : public testing::Test {
 protected:
  static constexpr double kTolerance = std::is_same_v<T, float> ? 1e-6 : 1e-14;

  static Operands<T> random(const ConvShape& s, unsigned seed) {
    return operands<T>(s, seed, [](double value) { return static_cast<T>(value); });
  }
  static std::vector<T> computed(Isa isa, ConvPass pass, const ConvShape& s, const Operands<T>& in, bool bias) {
    Guarded<T> out(result_size(pass, s), std::numeric_limits<T>::quiet_NaN());
    depthwise(isa, pass, s, in.a(pass).data(), in.b(pass).data(), bias ? in.bias.data() : nullptr, out.data());
    return out.values();
  }
  static void check(const ConvShape& s, unsigned seed) {
    SCOPED_TRACE(describe(s));
    const Operands<T> in = random(s, seed);
    for (const ConvPass pass : kPasses) {
      for (const bool bias : {false, true}) {
        if (bias && pass != ConvPass::forward) continue;
        const std::vector<double> wanted = conv_expected(pass, s, in, bias);
        for (const Isa isa : isas()) {
          EXPECT_LE(relative_error(computed(isa, pass, s, in, bias), wanted), kTolerance)
              << "pass " << static_cast<int>(pass) << (bias ? " with bias, " : ", ") << name(isa);
        }
      }
    }
  }
};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Depthwise, Types);

/// All passes on every instruction set.
void check_depth(const ConvShape& s, Terms terms) {
  for (const ConvPass pass : kPasses) {
    const DeepPass deep(terms, s, pass);
    for (const Isa isa : isas()) {
      Guarded<float> out(result_size(pass, s), std::numeric_limits<float>::quiet_NaN());
      depthwise(isa, pass, s, deep.in.a(pass).data(), deep.in.b(pass).data(), deep.bias ? deep.in.bias.data() : nullptr,
                out.data());
      EXPECT_LE(deep.error(out.values()), 5e-6) << describe(s) << ", pass " << static_cast<int>(pass) << ", terms "
                                                << static_cast<int>(terms) << ", " << name(isa);
    }
  }
}

TEST(DepthwiseDepth, SumsOfManyTermsAreAccurate) {
  const Sizes ones{1, 1, 1};
  for (const Terms terms : kTerms) {
    check_depth(make(1, 3, 1, {1, 3, 1030}, {1, 2, 1000}, ones, {0, 0, 5}), terms);     // a long filter
    check_depth(make(1, 2, 2, {1, 52, 50}, {1, 40, 41}, {1, 3, 2}, {0, 3, 9}), terms);  // one of many lines
    check_depth(make(1, 17, 1, {2, 4, 600}, {1, 1, 3}, ones, {0, 0, 1}), terms);        // long rows
    check_depth(make(20, 2, 2, {1, 20, 21}, {1, 3, 3}, ones, {0, 1, 1}), terms);
    check_depth(make(300, 1, 1, {1, 9, 9}, {1, 3, 3}, {1, 2, 1}, {0, 1, 1}), terms);
    check_depth(make(2, 1, 3000, {1, 2, 2}, {1, 2, 2}, ones, {0, 1, 1}), terms);  // many filters of a channel
  }
}

TEST(DepthwiseDepth, AroundTheLengthsOfChains) {
  const Sizes ones{1, 1, 1};
  for (const std::int64_t whole : {256, 512, 2048}) {
    for (const std::int64_t depth : {whole - 1, whole, whole + 1}) {
      check_depth(make(1, 2, 1, {1, 1, depth + 1}, {1, 1, depth}, ones, {0, 0, 1}), Terms::tenth);
      check_depth(make(1, 5, 1, {1, 3, depth}, {1, 2, 1}, ones, {0, 1, 0}), Terms::third);
    }
  }
}

TYPED_TEST(Depthwise, AgreesWithPlainLoops) {
  for (const ConvShape& s : shapes()) this->check(s, 1);
}

TYPED_TEST(Depthwise, RandomShapesAgreeWithPlainLoops) {
  std::mt19937 random(20250703);
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution<std::int64_t>(low, high)(random); };
  for (int round = 0; round < 300; ++round) {
    Sizes in{1, 1, 1}, filter{1, 1, 1}, stride{1, 1, 1}, padding{0, 0, 0}, dilation{1, 1, 1}, after{0, 0, 0};
    const auto axes = static_cast<std::size_t>(pick(1, 3));
    for (std::size_t d = 3 - axes; d < 3; ++d) {
      in[d] = pick(1, axes == 3 ? 6 : 14);
      filter[d] = pick(1, 6);
      stride[d] = pick(1, 3);
      padding[d] = pick(0, 4);
      dilation[d] = pick(0, 2) == 0 ? pick(1, 3) : 1;
      after[d] = pick(0, 4);
    }
    const std::int64_t multiplier = pick(0, 2) == 0 ? pick(1, 4) : 1;
    this->check(make(pick(0, 3), pick(1, 40), multiplier, in, filter, stride, padding, dilation, after),
                static_cast<unsigned>(round));
    if (this->HasFailure()) FAIL() << "round " << round;
  }
}

// 3x3 filters without gaps: strips of all widths, bands of one row and more, and bands that end with a smaller one.
TYPED_TEST(Depthwise, StripsAndBandsAgreeWithPlainLoops) {
  for (std::int64_t width = 3; width < 16; ++width) {
    for (const std::int64_t padding : {0, 1, 2, 3}) {
      this->check(make(1, 19, 1, {1, width % 5 + 3, width}, {1, 3, 3}, {1, 1, 1}, {0, padding, padding}), 1);
    }
  }
  for (const std::int64_t height : {3, 4, 7, 11, 13}) {
    this->check(make(2, 320, 1, {1, height, 30}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}), 2);
    this->check(make(2, 325, 1, {1, height, 31}, {1, 3, 3}), 2);
  }
  for (const std::int64_t padding : {0, 1, 4}) {  // columns 4096 or 2048 bytes apart
    this->check(make(2, 512, 1, {1, 11, 9}, {1, 3, 3}, {1, 1, 1}, {0, padding, padding}), 3);
    this->check(make(1, 1024, 1, {1, 3, 4}, {1, 3, 3}, {1, 1, 1}, {0, padding, 1}), 3);
  }
  this->check(make(1, 512, 1, {1, 11, 9}, {1, 3, 3}, {1, 1, 1}, {0, 20, 3}), 3);  // bands of padding alone
  this->check(make(2, 48, 1, {3, 9, 8}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}), 3);
}

// Large results may be written past the caches, if they are aligned.
TYPED_TEST(Depthwise, LargeResultsDoNotDependOnAlignment) {
  using T = TypeParam;
  const ConvShape s = make(3, 64, 1, {1, 137, 167}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1});
  const Operands<T> in = this->random(s, 5);
  const std::vector<double> wanted = conv_expected(ConvPass::forward, s, in, true);
  constexpr std::size_t kLine = 64 / sizeof(T);
  std::vector<T> room(in.x.size() + 2 * kLine);
  const std::size_t aligned = kLine - reinterpret_cast<std::uintptr_t>(room.data()) / sizeof(T) % kLine;
  for (const Isa isa : isas()) {
    std::vector<T> found[2];
    for (const std::size_t offset : {0, 1}) {
      std::fill(room.begin(), room.end(), T(113));
      T* const out = room.data() + aligned + offset;
      depthwise(isa, ConvPass::forward, s, in.x.data(), in.weight.data(), in.bias.data(), out);
      found[offset].assign(out, out + in.x.size());
      EXPECT_EQ(out[-1], T(113));
      EXPECT_EQ(out[in.x.size()], T(113));
    }
    EXPECT_EQ(found[0], found[1]) << name(isa);
    EXPECT_LE(relative_error(found[0], wanted), this->kTolerance) << name(isa);
  }
}

// Enough rows for many tasks and slices.
TYPED_TEST(Depthwise, BitsDoNotDependOnThreads) {
  for (const ConvShape& s : {make(5, 67, 1, {1, 33, 40}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
                             make(3, 512, 1, {1, 14, 14}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
                             make(4, 35, 2, {1, 30, 31}, {1, 3, 5}, {1, 2, 2}, {0, 1, 1}),
                             make(3, 34, 1, {6, 12, 20}, {2, 3, 3}, {1, 1, 2}, {1, 1, 1})}) {
    SCOPED_TRACE(describe(s));
    const auto in = this->random(s, 3);
    for (const ConvPass pass : kPasses) {
      const std::vector<double> wanted = conv_expected(pass, s, in, false);
      expect_equal_on_any_threads([&] {
        const auto found = this->computed(widest_isa(), pass, s, in, false);
        EXPECT_LE(relative_error(found, wanted), 3 * this->kTolerance);
        return found;
      });
    }
  }
}

// What padding would multiply must not reach the result: infinity times zero is NaN.
TYPED_TEST(Depthwise, InfinityStaysWhereItsWindowsAre) {
  using T = TypeParam;
  const ConvShape s = make(1, 17, 1, {1, 12, 12}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1});
  Operands<T> in = this->random(s, 4);
  in.x[0] = in.y_grad[0] = std::numeric_limits<T>::infinity();  // channel 0 of the first pixel
  for (const Isa isa : isas()) {
    const std::vector<T> y = this->computed(isa, ConvPass::forward, s, in, false);
    for (std::size_t i = 0; i < y.size(); ++i) {
      const std::size_t pixel = i / 17;
      const bool reached = i % 17 == 0 && pixel / 12 < 2 && pixel % 12 < 2;
      EXPECT_EQ(std::isfinite(y[i]), !reached) << i << ", " << name(isa);
    }
    const std::vector<T> weight = this->computed(isa, ConvPass::weight_grad, s, in, false);
    for (std::size_t i = 0; i < weight.size(); ++i) {
      EXPECT_FALSE(std::isnan(weight[i])) << i;
      const bool reached = i / 9 == 0 && (i == 4 || i == 5 || i == 7 || i == 8 || i == 0 || i == 1 || i == 3);
      EXPECT_EQ(std::isfinite(weight[i]), !reached) << i << ", " << name(isa);
    }
  }
}

}  // namespace
}  // namespace weft::cpu
