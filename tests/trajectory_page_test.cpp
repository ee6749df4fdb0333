// Three steps of the recipe dawnbench by the trainer against PyTorch, from the same initial state and data set:
// scripts/make_page_golden.py says how both are generated and what the golden file holds.
#include <gtest/gtest.h>

#include "tests/trajectory.h"

namespace weft {
namespace {

using trajectory::fnv1a;
using trajectory::unit;
using trajectory::word;

constexpr std::int64_t kBatch = 4, kImages = 9, kFirstEpoch = 4;
constexpr std::size_t kPicked = 16;
constexpr double kBound = 1e-9;

/// Gives a model in f64 the loader's batches.
class InDouble : public nn::Layer {
 public:
  explicit InDouble(const nn::Sequential& model) : model_(register_module("model", model)) {}
  Tensor forward(const Tensor& x) const override { return model_.forward(x.to(DType::f64)); }

 private:
  nn::Sequential model_;
};

nn::ImageDataset data_set() {
  nn::ImageDataset data;
  data.name = "generated";
  data.mean = {0.5f, 0.25f, 0.375f};
  data.stddev = {0.25f, 0.5f, 0.3125f};
  for (std::uint64_t i = 0; i < kImages * 3 * 32 * 32; ++i)
    data.images.push_back(static_cast<std::uint8_t>(256 * unit(word(fnv1a("page.images"), i))));
  for (std::uint64_t i = 0; i < kImages; ++i)
    data.labels.push_back(static_cast<std::uint8_t>(10 * unit(word(fnv1a("page.labels"), i))));
  return data;
}

double root_mean_square(const std::vector<double>& values) {
  double square = 0;
  for (const double value : values) square += value * value;
  return std::sqrt(square / static_cast<double>(values.size()));
}

void expect_state(const nn::Sequential& model, const TensorFile& golden, int step) {
  std::size_t compared = 0;
  for (const auto& [name, array] : model.state_dict()) {
    if (name.ends_with("num_batches_tracked")) continue;
    const std::vector<double> expected = golden.arrays.at(std::to_string(step) + "." + name).to_vector<double>();
    const std::vector<double> values = array.to_vector<double>();
    ASSERT_EQ(expected.size(), 1 + kPicked);
    EXPECT_NEAR(root_mean_square(values), expected[0], kBound * expected[0]) << name << " after step " << step;
    for (std::size_t j = 0; j < kPicked; ++j) {
      const std::size_t at = word(fnv1a("picked." + name), j) % values.size();
      EXPECT_NEAR(values[at], expected[1 + j], kBound * expected[0]) << name << " at " << at << " after step " << step;
    }
    ++compared;
  }
  EXPECT_EQ(compared, 41u);
}

TEST(TrajectoryOfPage, FollowsItsRecipe) {
  const TensorFile golden = load_safetensors(WEFT_GOLDEN_DIR "/page_trajectory.safetensors");
  const std::vector<double> losses = golden.arrays.at("loss").to_vector<double>();
  nn::Sequential model = nn::resnet9({.variant = nn::ResNet9::full});
  model.to(DType::f64);
  trajectory::set_initial_state(model);
  InDouble in_double(model);
  in_double.eval();  // the trainer trains all the same
  const nn::ImageDataset data = data_set();
  nn::Recipe recipe = nn::Recipe::make(nn::Recipe::Kind::dawnbench);
  recipe.batch_size = kBatch;
  nn::Trainer trainer(in_double, data, {.recipe = recipe, .seed = 11});
  trainer.set_epoch(kFirstEpoch);
  int step = 0;
  double sum = 0;
  const auto check = [&](const nn::Trainer::Step& now) {
    if (now.step == 0) sum = 0;
    EXPECT_EQ(now.steps, 2);
    sum += losses[static_cast<std::size_t>(step)];
    const nn::Metrics metrics = now.metrics();
    EXPECT_NEAR(metrics.loss * static_cast<double>(metrics.images), sum, kBound * sum) << "step " << step;
    expect_state(model, golden, step);
    return ++step < 3;
  };
  trainer.run_epoch(check);
  trainer.run_epoch(check);
  EXPECT_EQ(step, 3);
  EXPECT_TRUE(trainer.stopped());
}

}  // namespace
}  // namespace weft
