// A GPU's batch normalisation against plain loops: few rows in one kernel, more in two.
#include <gtest/gtest.h>

#include "tests/device.h"
#include "tests/norm_on_device.h"

namespace weft {
namespace {

using namespace norm_on_device;  // NOLINT(google-build-using-namespace)

TEST(NormDevice, FewRows) {
  WEFT_NEEDS_CUDA();
  for (const Case& c : few_rows()) check_all(c);
}

TEST(NormDevice, RowsAtTheLimits) {
  WEFT_NEEDS_CUDA();
  for (const Case& c : rows_at_the_limits()) check_all(c);
}

TEST(NormDevice, ManyRows) {
  WEFT_NEEDS_CUDA();
  for (const Case& c : many_rows()) check_all(c);
  check<float>({4300, 512});
}

// The mean is subtracted with all its digits, also where the first row is an outlier, and squares may leave the range.
TEST(NormDevice, ValuesFarFromZero) {
  WEFT_NEEDS_CUDA();
  const std::vector<std::pair<double, double>> spreads = {{0, 1},     {1e3, 1},    {1e4, 1}, {-1e7, 9},
                                                          {1e8, 100}, {0, 1e30},   {100, 0}, {-1e7, 0},
                                                          {0.1, 0},   {1e3, 0.01}, {1e4, 1}, {0, 1e-30}};
  const auto channels = static_cast<std::int64_t>(spreads.size());
  for (const std::int64_t rows : {2, 33, 1111, 5003}) {
    const Case c{rows, channels, 0, false, false};
    Inputs<float> in(c);
    for (std::size_t k = 0; k < spreads.size(); ++k) {
      const auto column = normals<float>(rows, 7 + static_cast<unsigned>(k), spreads[k].first, spreads[k].second);
      for (std::int64_t i = 0; i < rows; ++i) in.x[static_cast<std::size_t>(i * channels) + k] = column[i];
    }
    in.x[10] = 0;
    const Results found = run(c, in), r = expected(c, in, found);
    const std::vector<double> mean = summed_mean(found);
    for (std::size_t i = 0; i < r.y.size(); ++i) {
      const std::size_t k = i % spreads.size();
      const double z = (in.x[i] - r.mean[k]) * r.inverse_std[k], w = std::abs(in.weight[k]);
      const std::string what = std::to_string(rows) + " rows, channel " + std::to_string(k);
      ASSERT_NEAR(found.y[i], r.y[i], 6e-7 * (w * (1 + std::abs(z)) + std::abs(in.bias[k]))) << what;
      if (spreads[k].second == 0) {
        ASSERT_EQ(found.y[i], in.bias[k]) << what;
      }
      ASSERT_NEAR(mean[k], r.mean[k], 1e-7 * (std::abs(r.mean[k]) * 1e-6 + 1 / r.inverse_std[k])) << what;
      ASSERT_NEAR(found.inverse_std[k] / r.inverse_std[k], 1, 6e-7) << what;
      const double size = std::abs(r.scale[k]) * (3 + std::abs(in.y_grad[i]) + std::abs(z));
      ASSERT_NEAR(found.x_grad[i], r.x_grad[i], 1e-6 * size) << what;
      ASSERT_NEAR(found.weight_grad[k], r.weight_grad[k], 1e-6 * static_cast<double>(rows)) << what;
    }
  }
}

TEST(NormDevice, SquaresOutOfTheRangeOfDouble) {
  WEFT_NEEDS_CUDA();
  for (const std::int64_t rows : {2, 5002}) {
    const Case c{rows, 2, 0, false, false};
    Inputs<double> in(c);
    for (std::int64_t i = 0; i < rows; ++i) {
      in.x[2 * i] = i % 2 == 0 ? 1e200 : -1e200;
      in.x[2 * i + 1] = 1e200;
    }
    const Results found = run(c, in);
    for (std::int64_t i = 0; i < rows; ++i) {
      ASSERT_NEAR(found.y[2 * i], in.bias[0] + (i % 2 == 0 ? in.weight[0] : -in.weight[0]), 1e-12);
      ASSERT_EQ(found.y[2 * i + 1], in.bias[1]);
    }
  }
}

TEST(NormDevice, NaNStaysInItsChannel) {
  WEFT_NEEDS_CUDA();
  const Case c{100, 8, 0, true, false};
  Inputs<float> in(c);
  in.x[33] = std::nanf("");  // channel 1
  const Results found = run(c, in);
  for (std::size_t i = 0; i < found.y.size(); ++i) EXPECT_EQ(std::isnan(found.y[i]), i % 8 == 1) << i;
}

// On a GPU, blocks end in another order each time.
TEST(NormDevice, SameBitsEachTime) {
  WEFT_NEEDS_CUDA();
  for (const Case& c : {Case{300, 8}, Case{4500, 131}}) {
    const Inputs<float> in(c);
    const Results first = run(c, in);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(run(c, in) == first) << describe(c, DType::f32);
  }
}

}  // namespace
}  // namespace weft
