#include "cpu/winograd.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "tests/winograd_reference.h"

namespace weft {
namespace {

constexpr ConvPass kPasses[] = {ConvPass::forward, ConvPass::input_grad, ConvPass::weight_grad};

/// The result of a pass, computed over NaNs between guards.
template <class T>
std::vector<T> computed(ConvPass pass, int tile, const ConvShape& s, const Operands<T>& in, bool bias) {
  Guarded<T> out(result_size(pass, s), std::numeric_limits<T>::quiet_NaN());
  cpu::winograd(pass, tile, s, in.a(pass).data(), in.b(pass).data(), bias ? in.bias.data() : nullptr, out.data());
  return out.values();
}

template <class T>
void check(const ConvShape& s) {
  const Operands<T> in = winograd_operands<T>(s);
  for (const ConvPass pass : kPasses) {
    for (const bool bias : {false, true}) {
      if (bias && pass != ConvPass::forward) continue;
      const std::vector<double> expected = conv_expected(pass, s, in, bias);
      for (const int tile : {2, 4}) {
        const std::vector<T> found = computed(pass, tile, s, in, bias);
        EXPECT_LE(winograd_error(found.data(), expected).norm, sizeof(T) == 8 ? 1e-12 : 1e-5)
            << describe(s) << (sizeof(T) == 8 ? " f64" : " f32") << " pass " << static_cast<int>(pass) << " tile "
            << tile << (bias ? " with bias" : "");
      }
    }
  }
}

TEST(Winograd, AgreesWithPlainLoops) {
  for (const ConvShape& shape : winograd_shapes()) {
    check<float>(shape);
    check<double>(shape);
  }
}

// More than one block of tiles, chunk of a weight gradient and block of columns.
TEST(Winograd, AgreesWithPlainLoopsBeyondABlock) {
  check<float>(winograd_shape(30, 24, 40, {18, 22}, {1, 1}));
  check<double>(winograd_shape(30, 24, 40, {18, 22}, {1, 1}));
  check<float>(winograd_shape(3, 260, 300, {8, 8}, {1, 1}));
}

TEST(Winograd, BitsAreTheSameOnAnyThreads) {
  for (const ConvShape& s : {winograd_shape(9, 17, 33, {15, 14}, {1, 2}), winograd_shape(3, 130, 100, {6, 6}, {1, 1}),
                             winograd_shape(40, 16, 24, {16, 16}, {1, 1})}) {
    const Operands<float> in = winograd_operands<float>(s);
    for (const ConvPass pass : kPasses) {
      for (const int tile : {2, 4}) {
        expect_equal_on_any_threads([&] { return computed(pass, tile, s, in, pass == ConvPass::forward); });
      }
    }
  }
}

// cpu/winograd.h has what was measured, a third to a half of this.
TEST(Winograd, ErrorsOfLargeTilesStaySmall) {
  for (const std::int64_t depth : {3, 64, 512}) {
    for (const ConvPass pass : kPasses) {
      const bool backward = pass == ConvPass::input_grad;
      const ConvShape s = winograd_shape(2, backward ? 32 : depth, backward ? depth : 32, {8, 8}, {1, 1});
      const Operands<float> in = winograd_operands<float>(s);
      const std::vector<double> expected = conv_expected(pass, s, in, false);
      for (const int tile : {2, 4}) {
        const std::vector<float> found = computed(pass, tile, s, in, false);
        const WinogradError error = winograd_error(found.data(), expected);
        EXPECT_LE(error.norm, tile == 2 ? 2e-6 : 1e-5);
        EXPECT_LE(error.largest, tile == 2 ? 2e-6 : 3e-5);
      }
    }
  }
}

}  // namespace
}  // namespace weft
