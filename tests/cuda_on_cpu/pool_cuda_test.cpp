// Pooling on the device against the CPU, counted in 32 bits (with windows of 2x2 of their own) and, as beyond 2^31, in
// 64. Channels are those of whole vectors, or one too many for them.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <span>

#include "cuda/runtime/context.h"
#include "weft/weft.h"

namespace weft {
namespace {

using Results = std::vector<std::vector<double>>;

struct Case {
  Shape x;  // (N, C, H, W)
  std::int64_t kernel;
  MaxPool2dOptions options;
};

std::vector<Case> cases() {
  const MaxPool2dOptions squares{.stride = {2, 2}}, dilated{.dilation = {2, 3}};
  const MaxPool2dOptions padded{.stride = {2, 2}, .padding = {1, 1}};
  std::vector<Case> all;
  for (const std::int64_t channels : {8, 24, 9}) {
    for (const Shape& x : {Shape{3, channels, 6, 10}, Shape{2, channels, 7, 5}}) {
      all.push_back({x, 2, squares});
      all.push_back({x, 2, dilated});
      all.push_back({x, 3, padded});
    }
  }
  return all;
}

/// y, its indices, the gradient of x and an average pool with its gradient: of numbers with ties, -0, NaN and
/// infinities.
Results results(const Case& c, DType dtype, const Device& device) {
  manual_seed(5);
  const Tensor plain = round(randn(c.x) * 2);
  std::vector<float> values = plain.to_vector<float>();
  values[3] = std::numeric_limits<float>::quiet_NaN();
  values[17] = -std::numeric_limits<float>::infinity();
  values[40] = std::numeric_limits<float>::infinity();
  values[55] = -0.0f;
  const Tensor x(Tensor::from(std::span<const float>(values), c.x).to(dtype).array().to(device), true);
  const MaxPoolResult largest = max_pool2d_with_indices(x, c.kernel, c.options);
  const Tensor average = avg_pool2d(x, c.kernel, {.stride = c.options.stride, .count_include_pad = false});
  const Tensor weights(round(randn(largest.output.shape()) * 4).to(dtype).array().to(device));
  sum(largest.output * weights).backward();
  Results all;
  for (const Tensor& t : {largest.output, largest.indices, x.grad(), average})
    all.push_back(t.to(DType::f64).to_vector<double>());
  return all;
}

void expect_same(const Results& found, const Results& expected, double average_tolerance) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(found[i].size(), expected[i].size()) << "result " << i;
    for (std::size_t j = 0; j < expected[i].size(); ++j) {
      const double a = found[i][j], b = expected[i][j];
      if (std::isnan(a) && std::isnan(b)) continue;
      if (i == 3 && std::isfinite(b)) {
        ASSERT_NEAR(a, b, average_tolerance) << "average " << j;
      } else {
        ASSERT_EQ(a, b) << "result " << i << ", element " << j;
        ASSERT_EQ(std::signbit(a), std::signbit(b)) << "result " << i << ", element " << j;
      }
    }
  }
}

TEST(PoolCuda, CountsIn32BitsAndIn64) {
  cuda::Context& context = cuda::context(0);
  const std::int64_t usual = context.limits.narrow_end;
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64}) {
    for (const Case& c : cases()) {
      SCOPED_TRACE(std::string(name(dtype)) + " " + to_string(c.x) + " kernel " + std::to_string(c.kernel));
      // The CPU does not compute in bf16, whose numbers here are exact in f32.
      const Results expected = results(c, dtype == DType::bf16 ? DType::f32 : dtype, Device::cpu());
      const double tolerance = dtype == DType::bf16 ? 0.02 : 1e-5;
      for (const std::int64_t end : {usual, std::int64_t{0}}) {
        context.limits.narrow_end = end;
        expect_same(results(c, dtype, Device::cuda()), expected, tolerance);
      }
      context.limits.narrow_end = usual;
    }
  }
}

}  // namespace
}  // namespace weft
