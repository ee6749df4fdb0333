// Five steps of training the narrow ResNet9 against PyTorch, from the same initial state and batches.
#include <gtest/gtest.h>

#include "tests/trajectory.h"

namespace weft {
namespace {

using namespace trajectory;  // NOLINT(google-build-using-namespace)

class Trajectory : public testing::TestWithParam<std::string> {
 protected:
  static void SetUpTestSuite() {
    golden_ = new TensorFile(load_safetensors(WEFT_GOLDEN_DIR "/needle_trajectory.safetensors"));
  }
  static void TearDownTestSuite() {
    delete golden_;
    golden_ = nullptr;
  }
  const Array& golden(const std::string& name) const { return golden_->arrays.at(name); }
  static TensorFile* golden_;
};
TensorFile* Trajectory::golden_ = nullptr;

TEST(TrajectoryGenerator, MatchesTheScript) {
  EXPECT_EQ(fnv1a("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(word(0, 0), 0xe220a8397b1dcdafu);
  EXPECT_EQ(labels(0).to_vector<std::int64_t>(),
            (std::vector<std::int64_t>{6, 2, 9, 1, 9, 4, 7, 6, 7, 4, 9, 6, 4, 2, 8, 6}));
}

TEST_P(Trajectory, F64AgreesToOneInTenToTheEight) {
  nn::Sequential model = nn::resnet9({.variant = nn::ResNet9::narrow});
  model.to(DType::f64);
  set_initial_state(model);
  const auto optimizer = make_optimizer(GetParam(), model);
  const std::vector<double> losses = golden(GetParam() + ".loss").to_vector<double>();
  for (int step = 0; step < kSteps; ++step) {
    optimizer->zero_grad();
    const Tensor loss = batch_loss(model, step, DType::f64);
    EXPECT_NEAR(loss.item<double>(), losses[static_cast<std::size_t>(step)],
                1e-8 * losses[static_cast<std::size_t>(step)]);
    loss.backward();
    const std::string prefix = GetParam() + "." + std::to_string(step) + ".";
    for (const auto& [name, parameter] : model.named_parameters()) {
      EXPECT_LE(distance(name, parameter.grad().array(), golden(prefix + "grad." + name)), 1e-8)
          << prefix << "grad." << name;
    }
    optimizer->step();
    for (const auto& [name, parameter] : model.named_parameters()) {
      EXPECT_LE(distance(name, parameter.array(), golden(prefix + "param." + name)), 1e-8)
          << prefix << "param." << name;
    }
    for (const auto& [name, buffer] : model.named_buffers()) {
      if (ends_with(name, "num_batches_tracked")) continue;
      EXPECT_LE(distance(name, buffer.array(), golden(prefix + "buffer." + name)), 1e-8) << prefix << "buffer." << name;
    }
  }
}

TEST_P(Trajectory, F32LossesFollow) {
  nn::Sequential model = nn::resnet9({.variant = nn::ResNet9::narrow});
  set_initial_state(model);
  const auto optimizer = make_optimizer(GetParam(), model);
  const std::vector<double> losses = golden(GetParam() + ".loss").to_vector<double>();
  for (int step = 0; step < kSteps; ++step) {
    optimizer->zero_grad();
    const Tensor loss = batch_loss(model, step, DType::f32);
    const double expected = losses[static_cast<std::size_t>(step)];
    EXPECT_NEAR(loss.item<double>(), expected, (step == 0 ? 1e-6 : 2e-3) * expected) << "step " << step;
    loss.backward();
    optimizer->step();
  }
}

INSTANTIATE_TEST_SUITE_P(Optimizers, Trajectory, testing::Values("sgd", "adam"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace weft
