// A GPU's depthwise convolution against the same plain loops as the CPU's.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/depthwise_cases.h"
#include "tests/device.h"
#include "tests/on_device.h"

namespace weft {
namespace {

using namespace depthwise_cases;  // NOLINT(google-build-using-namespace)
using scalar::Bfloat;

/// Elements of 16 aligned bytes are taken together; `shift` moves the output off that.
template <class T>
void check(DType dtype, ConvShape s, double tolerance, std::int64_t shift) {
  SCOPED_TRACE(describe(s) + " " + std::string(name(dtype)) + " shift " + std::to_string(shift));
  const auto in = operands<T>(s, 5, [](double value) { return scalar::convert<T>(value); });
  const Operands<double> wide{widened(in.x), widened(in.weight), widened(in.bias), widened(in.y_grad)};
  s.algo = ConvAlgo::direct;
  for (const ConvPass pass : kPasses) {
    for (const bool bias : {false, true}) {
      if (bias && pass != ConvPass::forward) continue;
      const OnDevice<T> a(dtype, in.a(pass), 0), b(dtype, in.b(pass), 0), biases(dtype, in.bias, 0);
      const T nan = scalar::convert<T>(std::nan(""));
      const OnDevice<T> out(dtype, std::vector<T>(static_cast<std::size_t>(result_size(pass, s)), nan), shift);
      const ConstView bias_view = biases.view();
      backend(Device::cuda()).conv(pass, s, a.view(), b.view(), bias ? &bias_view : nullptr, out.view(), nullptr);
      EXPECT_LE(relative_error(widened(out.values()), conv_expected(pass, s, wide, bias)), tolerance)
          << "pass " << static_cast<int>(pass) << (bias ? " with bias" : "");
    }
  }
}

TEST(DepthwiseDevice, AgreesWithPlainLoops) {
  WEFT_NEEDS_CUDA();
  for (const ConvShape& s : shapes()) {
    for (const std::int64_t shift : {0, 1}) {
      check<float>(DType::f32, s, 1e-6, shift);
      check<double>(DType::f64, s, 1e-14, shift);
      check<Bfloat>(DType::bf16, s, 4e-3, shift);
    }
  }
}

// Several slices of positions, several tiles of channels.
TEST(DepthwiseDevice, ManyPositionsAndChannels) {
  WEFT_NEEDS_CUDA();
  const ConvShape many = make(5, 8, 1, {1, 40, 41}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1});
  const ConvShape wide = make(3, 200, 1, {1, 14, 13}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1});
  for (const ConvShape& s : {many, wide}) {
    check<float>(DType::f32, s, 1e-6, 0);
    check<double>(DType::f64, s, 1e-14, 0);
    check<Bfloat>(DType::bf16, s, 4e-3, 0);
  }
}

}  // namespace
}  // namespace weft
