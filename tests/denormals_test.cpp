// Denormal numbers as the library is told to treat them, and the caller's own mode left alone.
#include "cpu/runtime/denormals.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "cpu/runtime/threads.h"
#include "weft/weft.h"

namespace weft {
namespace {

constexpr float kDenormal = 1e-40F;
constexpr std::int64_t kMany = 1 << 18;  // elements, for every thread to get some

class Denormals : public testing::Test {
 protected:
  void SetUp() override {
    threads_ = cpu::thread_count();
    cpu::set_thread_count(3);
  }
  void TearDown() override {
    cpu::set_thread_count(threads_);
    cpu::set_thread_flushes(false);
    set_flush_denormals(false);
  }

 private:
  int threads_ = 1;
};

/// Results whose exact value is denormal, by kernels of every kind that computes.
std::vector<Tensor> tiny_results() {
  const Tensor x = full({kMany}, kDenormal), row = full({1, 64}, 1e-20F), column = full({64, 1}, 1e-20F);
  const Tensor image = full({1, 1, 8, 8}, 1e-20F), filter = full({1, 1, 1, 1}, 1e-20F);
  return {x * 0.5,
          x + x,
          exp(full({kMany}, -95.0F)),
          matmul(column, row),
          conv2d(image, filter),
          avg_pool2d(full({1, 1, 4, 4}, kDenormal), 2),
          x.sum(),
          relu(x) * 1.0};
}

TEST_F(Denormals, AreKeptUnlessTold) {
  EXPECT_FALSE(flush_denormals());
  for (const Tensor& y : tiny_results()) EXPECT_GT(y.min().item<float>(), 0) << to_string(y.shape());
}

TEST_F(Denormals, AreZeroInEveryThreadWhenTold) {
  set_flush_denormals(true);
  EXPECT_TRUE(flush_denormals());
  const std::vector<Tensor> results = tiny_results();
  set_flush_denormals(false);
  for (std::size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i].max().item<float>(), 0) << i;
    EXPECT_EQ(results[i].min().item<float>(), 0) << i;
  }
}

TEST_F(Denormals, AreKeptByCopiesAndConversions) {
  set_flush_denormals(true);
  const Tensor x = full({kMany, 2}, kDenormal);
  EXPECT_EQ(x.transpose(0, 1).contiguous().to_vector<float>(), std::vector<float>(2 * kMany, kDenormal));
  EXPECT_EQ(x.to(DType::f64).to_vector<double>(), std::vector<double>(2 * kMany, double{kDenormal}));
  const Tensor wide = full({kMany}, double{kDenormal}, {.dtype = DType::f64});
  EXPECT_EQ(wide.to(DType::f32).to_vector<float>(), std::vector<float>(kMany, kDenormal));
}

// A program that flushes them itself gets the same bits, and its mode back, when a call throws too.
TEST_F(Denormals, LeaveTheCallersModeAlone) {
  for (const bool callers : {false, true}) {
    for (const bool told : {false, true}) {
      const Tensor x = full({kMany}, kDenormal);
      cpu::set_thread_flushes(callers);
      set_flush_denormals(told);
      const Tensor y = x * 0.5;
      EXPECT_THROW(y + full({3}, 1.0F), ShapeError);
      EXPECT_EQ(cpu::thread_flushes(), callers);
      cpu::set_thread_flushes(false);
      set_flush_denormals(false);
      EXPECT_EQ(y.max().item<float>(), told ? 0 : kDenormal / 2);
      EXPECT_EQ(y.min().item<float>(), told ? 0 : kDenormal / 2);
    }
  }
}

}  // namespace
}  // namespace weft
