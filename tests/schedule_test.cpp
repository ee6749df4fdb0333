#include "weft/nn/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "weft/error.h"
#include "weft/io.h"

namespace {

using weft::ValueError;
using weft::nn::Schedule;

TEST(Schedule, ConstantIsConstant) {
  const Schedule rate = Schedule::constant(0.25);
  for (const double time : {-1.0, 0.0, 1e9}) EXPECT_EQ(rate(time), 0.25);
}

TEST(Schedule, PiecewiseLinearGoesThroughItsPoints) {
  const Schedule rate = Schedule::piecewise_linear({{0, 0}, {5, 0.4}, {24, 0}});
  EXPECT_EQ(rate(0), 0);
  EXPECT_DOUBLE_EQ(rate(2.5), 0.2);
  EXPECT_DOUBLE_EQ(rate(5), 0.4);
  EXPECT_DOUBLE_EQ(rate(14.5), 0.2);
  EXPECT_EQ(rate(24), 0);
  EXPECT_EQ(rate(-3), 0);
  EXPECT_EQ(rate(30), 0);
  EXPECT_EQ(Schedule::piecewise_linear({{1, 0.5}})(7), 0.5);
}

TEST(Schedule, CosineFallsFromStartToEnd) {
  const Schedule rate = Schedule::cosine({.start = 1, .end = 0.2, .steps = 10});
  EXPECT_DOUBLE_EQ(rate(0), 1);
  EXPECT_NEAR(rate(5), 0.6, 1e-15);
  EXPECT_NEAR(rate(2.5), 0.2 + 0.8 * (1 + std::sqrt(0.5)) / 2, 1e-15);
  EXPECT_DOUBLE_EQ(rate(10), 0.2);
  EXPECT_DOUBLE_EQ(rate(-1), 1);
  EXPECT_DOUBLE_EQ(rate(11), 0.2);
}

// The corners and middles of torch.optim.lr_scheduler.OneCycleLR(max_lr=1, total_steps=10).
TEST(Schedule, OneCycleHasPyTorchsTwoPhases) {
  const Schedule cosine = Schedule::one_cycle({.peak = 1, .steps = 10});
  EXPECT_DOUBLE_EQ(cosine(0), 0.04);
  EXPECT_NEAR(cosine(1), 0.52, 1e-15);
  EXPECT_NEAR(cosine(0.5), 1 - 0.96 * (1 + std::sqrt(0.5)) / 2, 1e-15);
  EXPECT_DOUBLE_EQ(cosine(2), 1);
  EXPECT_NEAR(cosine(5.5), (1 + 4e-6) / 2, 1e-15);
  EXPECT_NEAR(cosine(9), 4e-6, 1e-18);
  EXPECT_NEAR(cosine(50), 4e-6, 1e-18);
  EXPECT_DOUBLE_EQ(cosine(-1), 0.04);

  const Schedule linear = Schedule::one_cycle(
      {.peak = 2, .steps = 21, .rising = 0.5, .div_factor = 4, .final_div_factor = 5, .linear = true});
  EXPECT_DOUBLE_EQ(linear(0), 0.5);
  EXPECT_DOUBLE_EQ(linear(9.5), 2);
  EXPECT_DOUBLE_EQ(linear(4.75), 1.25);
  EXPECT_DOUBLE_EQ(linear(20), 0.1);
  EXPECT_DOUBLE_EQ(linear(14.75), 1.05);
}

TEST(Schedule, OneCycleMayLackOnePhase) {
  const Schedule falling = Schedule::one_cycle({.peak = 1, .steps = 3, .rising = 0});
  EXPECT_DOUBLE_EQ(falling(0), 1);
  EXPECT_NEAR(falling(2), 4e-6, 1e-18);
  const Schedule rising = Schedule::one_cycle({.peak = 1, .steps = 3, .rising = 1});
  EXPECT_DOUBLE_EQ(rising(0), 0.04);
  EXPECT_DOUBLE_EQ(rising(2), 1);
  EXPECT_DOUBLE_EQ(rising(9), 1);
}

// tests/golden/make_optim.py has the same schedules by name.
TEST(Schedule, StepsDecaysAndWarmUpsArePyTorchs) {
  const Schedule step = Schedule::step({.start = 0.1, .step_size = 7, .gamma = 0.3});
  const Schedule multi_step = Schedule::multi_step({.start = 0.1, .milestones = {4, 9, 9, 30}, .gamma = 0.5});
  const Schedule exponential = Schedule::exponential({.start = 0.1, .gamma = 0.9});
  const std::map<std::string, Schedule> schedules{{"step", step},
                                                  {"multi_step", multi_step},
                                                  {"exponential", exponential},
                                                  {"warmup_step", Schedule::warmup(5, 0.1, step)},
                                                  {"warmup_multi_step", Schedule::warmup(3, 0.25, multi_step)},
                                                  {"warmup_exponential", Schedule::warmup(10, 1.0 / 3, exponential)}};
  const auto golden = weft::load_safetensors(WEFT_GOLDEN_DIR "/optim.safetensors").arrays;
  std::size_t stored = 0;
  for (const auto& entry : golden) stored += entry.first.starts_with("schedule.") ? 1 : 0;
  EXPECT_EQ(stored, schedules.size());
  for (const auto& [name, rate] : schedules) {
    const std::vector<double> expected = golden.at("schedule." + name).to_vector<double>();
    for (std::size_t t = 0; t < expected.size(); ++t) {
      EXPECT_NEAR(rate(static_cast<double>(t)), expected[t], 1e-15) << name << ", step " << t;
    }
  }
}

TEST(Schedule, DecaysTakeFractionsAndTimesBeforeTheFirst) {
  const Schedule step = Schedule::step({.start = 2, .step_size = 0.5, .gamma = 0.5});
  EXPECT_EQ(step(0.25), 2);
  EXPECT_EQ(step(0.75), 1);
  EXPECT_EQ(step(-3), 2);
  const Schedule multi_step = Schedule::multi_step({.start = 2, .milestones = {0.5}, .gamma = 0.5});
  EXPECT_EQ(multi_step(0.25), 2);
  EXPECT_EQ(multi_step(0.5), 1);
  EXPECT_EQ(Schedule::multi_step({.start = 2})(9), 2);
  const Schedule exponential = Schedule::exponential({.start = 2, .gamma = 0.25});
  EXPECT_EQ(exponential(0.5), 1);
  EXPECT_EQ(exponential(-1), 2);
  const Schedule warmup = Schedule::warmup(2, 0.5, exponential);
  EXPECT_EQ(warmup(-1), 1);
  EXPECT_EQ(warmup(1), 1.5);
  EXPECT_EQ(warmup(2), 2);
  EXPECT_EQ(warmup(2.5), 1);
}

TEST(Schedule, BadOptionsNameTheValue) {
  EXPECT_THROW(Schedule(nullptr), ValueError);
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  EXPECT_THROW(Schedule::constant(-0.5), ValueError);
  EXPECT_THROW(Schedule::constant(nan), ValueError);
  EXPECT_THROW(Schedule::piecewise_linear({}), ValueError);
  EXPECT_THROW(Schedule::piecewise_linear({{0, 1}, {0, 2}}), ValueError);
  EXPECT_THROW(Schedule::piecewise_linear({{0, 1}, {nan, 2}}), ValueError);
  EXPECT_THROW(Schedule::piecewise_linear({{0, 1}, {1, -2}}), ValueError);
  EXPECT_THROW(Schedule::cosine({.start = 1, .end = 0, .steps = 0}), ValueError);
  EXPECT_THROW(Schedule::cosine({.start = infinity}), ValueError);
  EXPECT_THROW(Schedule::one_cycle({.peak = 1, .steps = 1}), ValueError);
  EXPECT_THROW(Schedule::one_cycle({.peak = 1, .steps = 9, .rising = 1.5}), ValueError);
  EXPECT_THROW(Schedule::one_cycle({.peak = 1, .steps = 9, .div_factor = 0}), ValueError);
  EXPECT_THROW(Schedule::one_cycle({.peak = 1, .steps = 9, .final_div_factor = -1}), ValueError);
  EXPECT_THROW(Schedule::step({.step_size = 0}), ValueError);
  EXPECT_THROW(Schedule::step({.start = -1}), ValueError);
  EXPECT_THROW(Schedule::step({.gamma = nan}), ValueError);
  EXPECT_THROW(Schedule::multi_step({.milestones = {3, 2}}), ValueError);
  EXPECT_THROW(Schedule::multi_step({.milestones = {-1}}), ValueError);
  EXPECT_THROW(Schedule::multi_step({.milestones = {infinity}}), ValueError);
  EXPECT_THROW(Schedule::exponential({.gamma = -0.5}), ValueError);
  EXPECT_THROW(Schedule::warmup(0, 0.5, Schedule::constant(1)), ValueError);
  EXPECT_THROW(Schedule::warmup(2, 1.5, Schedule::constant(1)), ValueError);
  try {
    Schedule::one_cycle({.peak = 1, .steps = 9, .rising = 1.5});
    FAIL();
  } catch (const ValueError& error) {
    EXPECT_STREQ(error.what(), "Schedule::one_cycle: rising must be in [0, 1], got 1.5");
  }
}

}  // namespace
