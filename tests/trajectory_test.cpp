// Five steps of training needle against PyTorch, from the same initial state and batches. scripts/make_golden.py made
// the golden file; its docstring says how state and batches are generated and what the file holds.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string_view>

#include "weft/weft.h"

namespace weft {
namespace {

constexpr int kSteps = 5;
constexpr int kProjections = 32;

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return hash;
}

// Number i of the stream of a hash: splitmix64.
std::uint64_t word(std::uint64_t hash, std::uint64_t i) {
  std::uint64_t z = hash + (i + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

double unit(std::uint64_t w) { return static_cast<double>(w >> 11) * 0x1p-53; }

// centre + scale·(2u - 1), rounded to float as both runs start from the same numbers.
Tensor generated(const std::string& name, const Shape& shape, double centre, double scale, DType dtype) {
  std::vector<float> values(static_cast<std::size_t>(element_count(shape)));
  const std::uint64_t hash = fnv1a(name);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(centre + scale * (2 * unit(word(hash, i)) - 1));
  return Tensor::from(std::span<const float>(values), shape).to(dtype);
}

Tensor labels(int step) {
  std::vector<std::int64_t> values(16);
  const std::uint64_t hash = fnv1a("labels." + std::to_string(step));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::int64_t>(10 * unit(word(hash, i)));
  return Tensor::from(std::span<const std::int64_t>(values), {16});
}

bool ends_with(const std::string& text, std::string_view end) { return text.ends_with(end); }

void set_initial_state(nn::Sequential& model) {
  nn::StateDict state = model.state_dict();
  for (auto& [name, array] : state) {
    const std::string layer = name.substr(0, name.rfind('.') + 1);
    const bool norm = state.contains(layer + "running_mean");
    if (ends_with(name, "num_batches_tracked") || ends_with(name, "running_mean") || ends_with(name, "running_var"))
      continue;
    Tensor value;
    if (norm) {
      value = generated(name, array.shape(), ends_with(name, "weight") ? 1 : 0, 0.1, array.dtype());
    } else {
      const Shape& weight = state.at(layer + "weight").shape();
      const double fan_in = static_cast<double>(element_count(weight)) / static_cast<double>(weight[0]);
      value = generated(name, array.shape(), 0, 1 / std::sqrt(fan_in), array.dtype());
    }
    array = value.array();
  }
  model.load_state_dict(state);
}

// How far a tensor is from the golden one, relative to its scale: the root mean square of 32 differences of projections
// onto random signs estimates the norm of the difference (Johnson and Lindenstrauss 1984).
double distance(const std::string& name, const Array& array, const Array& golden) {
  const std::vector<double> values = array.to(DType::f64).to_vector<double>();
  const std::vector<double> expected = golden.to_vector<double>();
  std::vector<double> projections(kProjections, 0.0);
  const std::uint64_t hash = fnv1a("signs." + name);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint64_t signs = word(hash, i);
    for (std::size_t j = 0; j < kProjections; ++j) projections[j] += (signs >> j & 1) != 0 ? -values[i] : values[i];
  }
  double square = 0;
  for (std::size_t j = 0; j < kProjections; ++j) square += std::pow(projections[j] - expected[1 + j], 2);
  return std::sqrt(square / kProjections) / expected[1 + kProjections];
}

std::unique_ptr<nn::Optimizer> make_optimizer(const std::string& name, const nn::Sequential& model) {
  if (name == "adam")
    return std::make_unique<nn::Adam>(model.parameters(), nn::AdamOptions{.lr = 1e-3, .weight_decay = 1e-3});
  return std::make_unique<nn::SGD>(model.parameters(),
                                   nn::SGDOptions{.lr = 0.05, .momentum = 0.9, .weight_decay = 5e-4, .nesterov = true});
}

Tensor batch_loss(nn::Sequential& model, int step, DType dtype) {
  return cross_entropy(model(generated("images." + std::to_string(step), {16, 3, 32, 32}, 0, 2, dtype)), labels(step));
}

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
  nn::Sequential model = nn::resnet9({.variant = nn::ResNet9::needle});
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
  nn::Sequential model = nn::resnet9({.variant = nn::ResNet9::needle});
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
