#include "harness_test.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <thread>

#include "cuda/runtime/launch.h"
#include "fiber.h"
#include "weft/error.h"

// Kernels as they are written for a GPU, right ones and wrong ones.

namespace weft::cuda {

namespace {

using cuda_on_cpu::Buffer;
using cuda_on_cpu::error_of;
using cuda_on_cpu::KernelError;
using cuda_on_cpu::Order;
using testing::HasSubstr;

constexpr int kThreads = 256;

template <class Test>
void in_every_order(Test test) {
  for (const Order order : {Order::forward, Order::reverse, Order::shuffled}) {
    SCOPED_TRACE(static_cast<int>(order));
    cuda_on_cpu::set_order(order);
    test();
  }
  cuda_on_cpu::set_order(Order::forward);
}

std::vector<float> ramp(std::int64_t count) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>(i % 101));
  return values;
}

template <class T>
WEFT_DEVICE T block_sum(T value) {
  WEFT_SHARED(T, partial, kThreads);
  const int t = static_cast<int>(threadIdx.x);
  WEFT_BARRIER();
  partial[t] = value;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    WEFT_BARRIER();
    if (t < half) partial[t] += partial[t + half];
  }
  WEFT_BARRIER();
  return partial[0];
}

// Both instantiations of block_sum have memory of their own, the two calls of one have the same.
WEFT_KERNEL block_sum_kernel(const float* x, float* y) {
  const float value = x[blockIdx.x * blockDim.x + threadIdx.x];
  const float sum = block_sum(value);
  const double count = block_sum(1.0);
  const float doubled = block_sum(2 * value);
  if (threadIdx.x == 0) y[blockIdx.x] = static_cast<float>((sum + doubled) / count);
}

WEFT_KERNEL warp_sum_kernel(const float* x, float* y) {
  float sum = x[blockIdx.x * blockDim.x + threadIdx.x];
  double down = sum;
  for (int mask = kWarp / 2; mask > 0; mask /= 2) sum += shuffle_xor(sum, mask);
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) down += shuffle_down(down, lanes);
  const int warp = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) / kWarp;
  if (threadIdx.x % kWarp == 0) y[warp] = sum + static_cast<float>(down);
}

// Each block counts its elements; the last one to be done adds the counts in the order of the blocks.
WEFT_KERNEL last_block_kernel(const float* x, float* sums, unsigned* counter, float* y) {
  const float sum = block_sum(x[blockIdx.x * blockDim.x + threadIdx.x]);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
  if (!last_block(counter, gridDim.x) || threadIdx.x != 0) return;
  float total = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) total += sums[i];
  *y += total;
}

WEFT_KERNEL grid_stride_kernel(const float* x, float* y, std::int64_t n) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += step) y[i] = 2 * x[i];
}

TEST(Harness, BlockReduction) {
  const Buffer<float> x(ramp(4 * kThreads)), y(4);
  in_every_order([&] {
    for (int i = 0; i < 4; ++i) y.data()[i] = -1;
    launch({"block_sum", 4, kThreads, nullptr}, block_sum_kernel, x.data(), y.data());
    for (int block = 0; block < 4; ++block) {
      float sum = 0;
      for (int i = 0; i < kThreads; ++i) sum += x.data()[block * kThreads + i];
      EXPECT_EQ(y.data()[block], 3 * sum / kThreads);
    }
  });
}

TEST(Harness, WarpReduction) {
  const Buffer<float> x(ramp(2 * kThreads)), y(2 * kThreads / kWarp);
  in_every_order([&] {
    launch({"warp_sum", 2, kThreads, nullptr}, warp_sum_kernel, x.data(), y.data());
    for (int warp = 0; warp < 2 * kThreads / kWarp; ++warp) {
      float sum = 0;
      for (int i = 0; i < kWarp; ++i) sum += x.data()[warp * kWarp + i];
      EXPECT_EQ(y.data()[warp], 2 * sum);
    }
  });
}

TEST(Harness, LastBlock) {
  in_every_order([] {
    const Buffer<float> x(ramp(5 * kThreads)), sums(5), y(std::vector<float>{0});
    const Buffer<unsigned> counter(std::vector<unsigned>{0});
    float expected = 0;
    for (const float value : x.values()) expected += value;
    for (int run = 1; run <= 2; ++run) {  // the counter is as it was
      launch({"last_block", 5, kThreads, nullptr}, last_block_kernel, x.data(), sums.data(), counter.data(), y.data());
      EXPECT_EQ(y.values()[0], static_cast<float>(run) * expected);
      EXPECT_EQ(counter.values()[0], 0u);
    }
  });
}

TEST(Harness, GridStride) {
  for (const std::int64_t n : {1, 1000, 5000}) {
    for (const std::int64_t blocks : {1, 3, 8}) {
      const Buffer<float> x(ramp(n));
      in_every_order([&] {
        const Buffer<float> y(n);
        launch({"grid_stride", blocks, 96, nullptr}, grid_stride_kernel, x.data(), y.data(), n);
        for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(y.data()[i], 2 * x.data()[i]);
      });
    }
  }
}

WEFT_KERNEL warps_apart_kernel(int* y) {
  const int t = static_cast<int>(threadIdx.x), lane = t % kWarp, warp = t / kWarp;
  struct Wide {
    double a;
    int b, c;
  };
  Wide value{0.5 * t, t, lane};
  for (int i = 0; i < warp; ++i) value = shuffle_xor(value, 1);
  WEFT_BARRIER();
  y[t] = value.a == 0.5 * value.b && value.c == value.b % kWarp ? value.b : -1;
}

TEST(Harness, WarpsShuffleApart) {
  const Buffer<int> y(128);
  in_every_order([&] {
    launch({"warps_apart", 1, 128, nullptr}, warps_apart_kernel, y.data());
    for (int t = 0; t < 128; ++t) EXPECT_EQ(y.data()[t], t / kWarp % 2 == 1 ? t ^ 1 : t);
  });
}

WEFT_KERNEL source_lanes_kernel(int* y) {
  const int t = static_cast<int>(threadIdx.x);
  y[3 * t] = shuffle_down(t, 3);
  y[3 * t + 1] = shuffle_xor(t, 64);
  y[3 * t + 2] = shuffle_xor(t, 5);
}

TEST(Harness, LanesWithoutSourceKeepTheirValue) {
  const Buffer<int> y(96);
  in_every_order([&] {
    launch({"source_lanes", 1, kWarp, nullptr}, source_lanes_kernel, y.data());
    for (int t = 0; t < kWarp; ++t) {
      EXPECT_EQ(y.data()[3 * t], t + 3 < kWarp ? t + 3 : t);
      EXPECT_EQ(y.data()[3 * t + 1], t);
      EXPECT_EQ(y.data()[3 * t + 2], t ^ 5);
    }
  });
}

WEFT_KERNEL no_op_kernel() {}

TEST(Harness, CountsKernels) {
  const std::uint64_t before = cuda_on_cpu::launches();
  launch({"no_op", 7, 1024, nullptr}, no_op_kernel);
  launch({"no_op", 0, 1024, nullptr}, no_op_kernel);
  EXPECT_EQ(cuda_on_cpu::launches(), before + 1);
}

TEST(Harness, HostThreadsTakeTurns) {
  const Buffer<float> x(ramp(4 * kThreads)), y(4), z(4);
  const auto work = [&](float* out) {
    for (int i = 0; i < 5; ++i) launch({"block_sum", 4, kThreads, nullptr}, block_sum_kernel, x.data(), out);
  };
  std::thread other(work, y.data());
  work(z.data());
  other.join();
  EXPECT_EQ(y.values(), z.values());
}

#if !WEFT_TSAN
WEFT_KERNEL order_kernel(int* next, int* ticket) { ticket[blockIdx.x * blockDim.x + threadIdx.x] = (*next)++; }

TEST(Harness, Orders) {
  const auto tickets = [](Order order) {
    const Buffer<int> next(std::vector<int>{0}), ticket(5 * 40);
    cuda_on_cpu::set_order(order);
    launch({"order", 5, 40, nullptr}, order_kernel, next.data(), ticket.data());
    cuda_on_cpu::set_order(Order::forward);
    return ticket.values();
  };
  std::vector<int> up(200), down(200);
  for (int i = 0; i < 200; ++i) up[static_cast<std::size_t>(i)] = i, down[static_cast<std::size_t>(i)] = 199 - i;
  EXPECT_EQ(tickets(Order::forward), up);
  EXPECT_EQ(tickets(Order::reverse), down);
  const auto shuffled = tickets(Order::shuffled);
  EXPECT_NE(shuffled, up);
  EXPECT_NE(shuffled, down);
  EXPECT_NE(shuffled, tickets(Order::shuffled));
  EXPECT_THAT(shuffled, testing::UnorderedElementsAreArray(up));
}
#endif

// After each mistake the harness runs a right kernel again.
void expect_usable() {
  const Buffer<float> x(ramp(kThreads)), y(1);
  launch({"block_sum", 1, kThreads, nullptr}, block_sum_kernel, x.data(), y.data());
  float sum = 0;
  for (const float value : x.values()) sum += value;
  EXPECT_EQ(y.data()[0], 3 * sum / kThreads);
}

template <class... P>
void expect_kernel_error(const std::string& part, std::int64_t blocks, int threads, void (*kernel)(P...), P... values) {
  in_every_order([&] {
    EXPECT_THROW(launch({"wrong", blocks, threads, nullptr}, kernel, values...), KernelError);
    EXPECT_THAT(error_of([&] {
                  launch({"wrong", blocks, threads, nullptr}, kernel, values...);
                }),
                HasSubstr("kernel wrong: " + part));
    expect_usable();
  });
}

WEFT_KERNEL missing_barrier_kernel(const float* x, float* y) {
  WEFT_SHARED(float, row, kThreads);
  row[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = row[kThreads - 1 - threadIdx.x];
}

TEST(Mistakes, MissingBarrier) {
  const Buffer<float> x(ramp(kThreads)), y(kThreads);
  const auto run = [&] {
    launch({"missing_barrier", 1, kThreads, nullptr}, missing_barrier_kernel, x.data(), y.data());
  };
#if WEFT_TSAN
  EXPECT_EXIT((run(), std::exit(0)), testing::ExitedWithCode(66), "data race");
#else
  int wrong = 0;
  in_every_order([&] {
    run();
    for (int i = 0; i < kThreads; ++i) wrong += y.data()[i] == x.data()[kThreads - 1 - i] ? 0 : 1;
  });
  EXPECT_GT(wrong, 0);
#endif
}

// The second phase may overwrite what another thread still reads: right in forward order, wrong in another.
WEFT_KERNEL missing_second_barrier_kernel(float* y) {
  WEFT_SHARED(float, cell, 1);
  float sum = 0;
  for (int i = 0; i < 3; ++i) {
    if (threadIdx.x == 0) cell[0] = static_cast<float>(i);
    WEFT_BARRIER();
    sum += cell[0];
  }
  y[threadIdx.x] = sum;
}

TEST(Mistakes, MissingSecondBarrier) {
  const Buffer<float> y(64);
  const auto run = [&] { launch({"second_barrier", 1, 64, nullptr}, missing_second_barrier_kernel, y.data()); };
#if WEFT_TSAN
  EXPECT_EXIT((run(), std::exit(0)), testing::ExitedWithCode(66), "data race");
#else
  int wrong = 0;
  in_every_order([&] {
    run();
    for (const float sum : y.values()) wrong += sum == 3 ? 0 : 1;
  });
  EXPECT_GT(wrong, 0);
#endif
}

WEFT_KERNEL half_barrier_kernel() {
  if (threadIdx.x < blockDim.x / 2) WEFT_BARRIER();
}

TEST(Mistakes, BarrierThatHalfOfTheThreadsReach) {
  expect_kernel_error("some threads ended while others wait at line ", 3, 64, half_barrier_kernel);
}

WEFT_KERNEL divergent_barrier_kernel() {
  if (threadIdx.x % 2 == 0) {
    WEFT_BARRIER();
  } else {
    WEFT_BARRIER();
  }
}

TEST(Mistakes, DivergentBarrier) {
  expect_kernel_error("threads of a block wait at different barriers (lines ", 2, 40, divergent_barrier_kernel);
}

WEFT_KERNEL uninitialised_kernel(float* y) {
  WEFT_SHARED(float, row, 64);
  if (blockIdx.x == 0) row[threadIdx.x] = 1;
  y[blockIdx.x * 64 + threadIdx.x] = row[threadIdx.x];
}

TEST(Mistakes, UninitialisedSharedMemoryIsNaN) {
  const Buffer<float> y(128);
  launch({"uninitialised", 2, 64, nullptr}, uninitialised_kernel, y.data());
  for (int i = 0; i < 64; ++i) {
    EXPECT_EQ(y.data()[i], 1);
    EXPECT_TRUE(std::isnan(y.data()[64 + i]));
  }
}

WEFT_KERNEL partial_shuffle_kernel(int* y) {
  int value = static_cast<int>(threadIdx.x);
  if (threadIdx.x != 37) value = shuffle_xor(value, 1);
  y[threadIdx.x] = value;
}

WEFT_KERNEL shuffle_or_barrier_kernel(int* y) {
  int value = static_cast<int>(threadIdx.x);
  if (threadIdx.x != 37) {
    value = shuffle_xor(value, 1);
  } else {
    WEFT_BARRIER();
  }
  y[threadIdx.x] = value;
}

WEFT_KERNEL divergent_shuffle_kernel(int* y) {
  int value = static_cast<int>(threadIdx.x);
  if (threadIdx.x % 2 == 0) {
    value = shuffle_xor(value, 1);
  } else {
    value = shuffle_xor(value, 1);
  }
  y[threadIdx.x] = value;
}

TEST(Mistakes, ShuffleNotReachedByAllLanes) {
  const Buffer<int> y(64);
  const char* const partial = "a shuffle is not reached by every lane of its warp (line ";
  expect_kernel_error(partial, 1, 64, partial_shuffle_kernel, y.data());
  expect_kernel_error(partial, 1, 64, shuffle_or_barrier_kernel, y.data());
  expect_kernel_error("lanes of a warp wait at different shuffles (lines ", 1, 64, divergent_shuffle_kernel, y.data());
  expect_kernel_error("a shuffle in a block of 48 threads, which are not whole warps", 1, 48, partial_shuffle_kernel,
                      y.data());
}

WEFT_KERNEL full_shared_kernel(float* y) {
  WEFT_SHARED(float, most, 12287);
  WEFT_SHARED(int, rest, 1);
  most[12286] = 1;
  rest[0] = 2;
  y[0] = most[12286] + static_cast<float>(rest[0]);
}
WEFT_KERNEL large_shared_kernel(float* y) {
  WEFT_SHARED(float, most, 12287);
  WEFT_SHARED(double, rest, 1);
  rest[0] = most[0];
  y[0] = static_cast<float>(rest[0]);
}

TEST(Mistakes, TooMuchSharedMemory) {
  const Buffer<float> y(1);
  launch({"full_shared", 1, 1, nullptr}, full_shared_kernel, y.data());
  EXPECT_EQ(y.data()[0], 3);
  expect_kernel_error("49160 bytes of shared memory, more than 49152", 1, 8, large_shared_kernel, y.data());
}

TEST(Mistakes, ShapesBeyondTheLimits) {
  const std::int64_t most = 0x7FFFFFFF;
  EXPECT_THAT(error_of([&] {
                launch({"shape", most + 1, 32, nullptr}, no_op_kernel);
              }),
              HasSubstr("kernel shape: a grid of 2147483648 blocks"));
  EXPECT_THROW(launch({"shape", -1, 32, nullptr}, no_op_kernel), ValueError);
  EXPECT_THROW(launch({"shape", 1, 1025, nullptr}, no_op_kernel), ValueError);
  EXPECT_THROW(launch({"shape", 1, 0, nullptr}, no_op_kernel), ValueError);
}

WEFT_KERNEL throwing_kernel() {
  WEFT_BARRIER();
  if (threadIdx.x == 3) throw std::out_of_range("thread 3");
  WEFT_BARRIER();
}

TEST(Mistakes, ExceptionsOfAKernelReachTheCaller) {
  in_every_order([&] {
    EXPECT_THROW(launch({"throwing", 2, 64, nullptr}, throwing_kernel), std::out_of_range);
    expect_usable();
  });
}

#if WEFT_ASAN
WEFT_KERNEL global_overrun_kernel(float* y) { y[threadIdx.x] = 1; }

WEFT_KERNEL shared_overrun_kernel(float* y, int distance) {
  WEFT_SHARED(float, before, 40);
  WEFT_SHARED(float, row, 40);
  float* const cell = row;
  before[threadIdx.x] = 0;
  cell[static_cast<int>(threadIdx.x) + distance] = 1;
  y[threadIdx.x] = row[threadIdx.x];
}

TEST(Sanitizers, OutOfBounds) {
  const Buffer<float> y(40);
  EXPECT_DEATH(launch({"overrun", 1, 41, nullptr}, global_overrun_kernel, y.data()), "AddressSanitizer");
  launch({"overrun", 1, 40, nullptr}, shared_overrun_kernel, y.data(), 0);
  for (const int distance : {1, -1}) {
    EXPECT_DEATH(launch({"overrun", 1, 40, nullptr}, shared_overrun_kernel, y.data(), distance), "AddressSanitizer");
  }
}
#endif

#if defined(WEFT_UBSAN)
struct alignas(16) Float4 {
  float x, y, z, w;
};
WEFT_KERNEL wide_load_kernel(const float* x, float* y, int offset) {
  const Float4 four = *reinterpret_cast<const Float4*>(x + offset);
  y[threadIdx.x] = four.x + four.y + four.z + four.w;
}
// An array of floats in shared memory is not aligned for wider loads.
WEFT_KERNEL wide_shared_load_kernel(float* y) {
  WEFT_SHARED(float, row, 8);
  for (int i = 0; i < 8; ++i) row[i] = 1;
  const Float4 four = *reinterpret_cast<const Float4*>(row);
  y[threadIdx.x] = four.x + four.y + four.z + four.w;
}

TEST(Sanitizers, MisalignedLoad) {
  const Buffer<float> x(ramp(8)), y(1);
  launch({"wide_load", 1, 1, nullptr}, wide_load_kernel, x.data(), y.data(), 4);
  EXPECT_EQ(y.data()[0], 22);
  EXPECT_DEATH(launch({"wide_load", 1, 1, nullptr}, wide_load_kernel, x.data(), y.data(), 1), "misaligned address");
  EXPECT_DEATH(launch({"wide_shared_load", 1, 1, nullptr}, wide_shared_load_kernel, y.data()), "misaligned address");
}
#endif

}  // namespace

}  // namespace weft::cuda
