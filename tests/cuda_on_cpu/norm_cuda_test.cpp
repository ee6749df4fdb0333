// The CUDA backend's batch normalisation as only the stand-in shows it: how many kernels it takes, on a device of how
// many multiprocessors, with how many counters and in which order of blocks. What it computes is compared with plain
// loops by norm_device_test.
#include <gtest/gtest.h>

#include "cuda/runtime/context.h"
#include "cuda_on_cpu.h"
#include "tests/norm_on_device.h"

namespace weft {
namespace {

using cuda_on_cpu::Order;
using namespace norm_on_device;  // NOLINT(google-build-using-namespace)

struct Kernels {
  std::uint64_t forward, backward;
};

/// Of the two calls, which must leave the device's counters at 0.
template <class T>
Kernels kernels(const BatchNorm<T>& norm) {
  const std::uint64_t start = cuda_on_cpu::launches();
  norm.forward();
  const std::uint64_t middle = cuda_on_cpu::launches();
  norm.backward();
  const std::uint64_t end = cuda_on_cpu::launches();
  const unsigned* const counters = cuda::context(0).counters;
  EXPECT_EQ(std::count(counters, counters + cuda::Limits::kCounters, 0u), cuda::Limits::kCounters);
  return {middle - start, end - middle};
}

template <class T>
void check_kernels(const Case& c) {
  SCOPED_TRACE(describe(c, kDType<T>));
  const Kernels taken = kernels(BatchNorm<T>(c, Inputs<T>(c)));
  const bool wide = c.shift == 0 && c.channels % (16 / sizeof(T)) == 0;
  EXPECT_EQ(taken.forward, c.rows <= (wide && sizeof(T) == 2 ? 2048 : 4096) ? 1u : 2u);
  EXPECT_EQ(taken.backward, c.channels == 0 ? 0u : c.rows <= 2048 ? 1u : 2u);
}

void check_kernels_of_all(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    check_kernels<float>(c);
    check_kernels<double>(c);
    check_kernels<Bfloat>(c);
  }
}

TEST(NormCuda, KernelsOfFewRows) { check_kernels_of_all(few_rows()); }

TEST(NormCuda, KernelsOfRowsAtTheLimits) { check_kernels_of_all(rows_at_the_limits()); }

TEST(NormCuda, ManyRowsOnALargeDevice) {
  cuda::Context& context = cuda::context(0);
  const int usual = context.properties.multiprocessors;
  check_kernels_of_all(many_rows());
  context.properties.multiprocessors = 132;
  check_kernels_of_all(many_rows());
  for (const Case& c : many_rows()) check_all(c);
  check<float>({4300, 512});
  context.properties.multiprocessors = usual;
}

TEST(NormCuda, MoreTilesThanCounters) {
  cuda::Context& context = cuda::context(0);
  for (const std::int64_t counters : {2, 5}) {
    context.limits.counters_at_once = counters;
    const Case c{4500, 200, 0};
    const Inputs<float> in(c);
    const BatchNorm<float> norm(c, in);
    const Kernels taken = kernels(norm);
    const Results found = norm.results(), r = expected(c, in, found);
    expect_near(found.y, r.y, 2e-5, "y");
    expect_near(found.x_grad, r.x_grad, 2e-5, "x_grad");
    EXPECT_EQ(found.batches, 8);
    EXPECT_EQ(taken.forward, counters == 2 ? 5u : 3u);  // four tiles of one group of slices
    context.limits.counters_at_once = cuda::Limits::kCounters;
  }
}

// Neither the order of blocks nor what ran before changes a bit. The last test, as it changes the order.
TEST(NormCuda, SameBitsInAnyOrder) {
  cuda::Context& context = cuda::context(0);
  const int usual = context.properties.multiprocessors;
  context.properties.multiprocessors = 132;
  for (const Case& c : {Case{300, 8}, Case{4500, 131}}) {
    const Inputs<float> in(c);
    const auto results = [&](Order order) {
      cuda_on_cpu::set_order(order);
      return run(c, in);
    };
    const Results forward = results(Order::forward);
    EXPECT_TRUE(forward == results(Order::forward));
    EXPECT_TRUE(forward == results(Order::reverse));
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(forward == results(Order::shuffled));
    cuda_on_cpu::set_order(Order::forward);
  }
  context.properties.multiprocessors = usual;
}

}  // namespace
}  // namespace weft
