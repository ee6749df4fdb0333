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

// The variance is as exact as without the mean, but for an outlier in the first row, which differences are taken from.
TEST(NormDevice, LargeMean) {
  WEFT_NEEDS_CUDA();
  for (const std::int64_t rows : {100, 4096, 20000}) {
    for (const std::int64_t channels : {3, 8}) {
      const Case c{rows, channels, 0, false, false, 1e4};
      Inputs<float> in(c);
      in.x[0] = 0;
      const Results found = run(c, in), r = expected(c, in, found);
      expect_near(found.y, r.y, 2e-3, "y");
      for (std::size_t i = 0; i < r.mean.size(); ++i) {
        EXPECT_NEAR(found.inverse_std[i] / r.inverse_std[i], 1, i == 0 ? 1e-3 : 2e-6) << rows << ", channel " << i;
      }
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
