// Averages of a module's state on the device of the test: against PyTorch's AveragedModel in a training
// (tests/golden/make_optim.py), exact evaluation, recorded updates, saved state and errors.
#include "weft/nn/ema.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <string>
#include <vector>

#include "tests/device.h"
#include "tests/error_support.h"
#include "tests/nn_support.h"

namespace weft::nn {
namespace {

using Numbers = std::vector<double>;

Numbers numbers(const Array& x) { return x.to(DType::f64).to_vector<double>(); }

/// One parameter, a buffer of integers and one of booleans.
class Parts final : public Module {
 public:
  explicit Parts(DType dtype = DType::f64) {
    weight_ = register_parameter("weight", Tensor(Array::full({2, 3}, 1, dtype)));
    count_ = register_buffer("count", Tensor(Array::full({}, 7, DType::i64)));
    mask_ = register_buffer("mask", Tensor(Array::full({2}, false, DType::boolean)));
    empty_ = register_buffer("empty", Tensor(Array::full({0}, 0, dtype)));
    to(kTestDevice);
  }
  void set(double weight, std::int64_t count) {
    for (auto [tensor, value] : {std::pair{weight_, Scalar(weight)}, {count_, Scalar(count)}, {mask_, Scalar(true)}}) {
      Array array = tensor.array();
      array.fill(value);
    }
  }

 private:
  Tensor weight_, count_, mask_, empty_;
};

double average_of(const EMA& ema) { return numbers(ema.state_dict().at("average.weight"))[5]; }

TEST(EMA, ATrainingsAveragesArePyTorchs) {
  const auto golden = load_safetensors(WEFT_GOLDEN_DIR "/optim.safetensors").arrays;
  const auto part = [&](const std::string& prefix) {
    StateDict state;
    for (const auto& [name, array] : golden) {
      if (name.starts_with(prefix)) state.emplace(name.substr(prefix.size()), array);
    }
    return state;
  };
  Sequential model(Linear(4, 5, {.bias = false}), BatchNorm1d(5), Tanh(), Linear(5, 1));
  model.to(DType::f64);
  model.to(kTestDevice);
  model.load_state_dict(part("train.first."));
  const Tensor x = Tensor(golden.at("train.x")).to(kTestDevice), y = Tensor(golden.at("train.y")).to(kTestDevice);
  const Schedule rate = Schedule::warmup(5, 0.1, Schedule::step({.start = 0.05, .step_size = 7, .gamma = 0.3}));
  AdamW optimizer(model.parameters(), {.weight_decay = 0.1});
  EMA ema(model, {.decay = 0.5});
  StepGraph step(kTestDevice);
  for (int t = 0; t < 20; ++t) {
    optimizer.set_lr(rate(t));
    step.run([&] {
      optimizer.zero_grad();
      mse_loss(model(x), y).backward();
      clip_grad_norm(model.parameters(), 0.5);
      optimizer.step();
      ema.update();
    });
  }
  EXPECT_EQ(step.is_captured(), kTestDevice != Device::cpu());
  const auto expect_state = [](const StateDict& found, const StateDict& expected) {
    EXPECT_EQ(expected.size(), 8u);
    for (const auto& [name, array] : expected) {
      const Numbers a = numbers(found.at(name)), b = numbers(array);
      ASSERT_EQ(a.size(), b.size());
      for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-10) << name << ", " << i;
    }
  };
  expect_state(model.state_dict(), part("train.last."));
  const StateDict before = cloned(model.state_dict());
  {
    const EMA::Evaluation evaluation(ema);
    expect_state(model.state_dict(), part("train.average."));
  }
  for (const auto& [name, array] : model.state_dict()) EXPECT_EQ(numbers(array), numbers(before.at(name))) << name;
}

TEST(EMA, DecaysWarmUp) {
  Parts parts;
  EMA warm(parts, {.decay = 0.15}), plain(parts, {.decay = 0.75, .warmup = false});
  parts.set(11, 9);
  warm.update();
  EXPECT_DOUBLE_EQ(average_of(warm), 1 + 10 * 0.9);  // the decay is 1/10
  warm.update();
  EXPECT_DOUBLE_EQ(average_of(warm), 10 + 1 * 0.85);  // less than 2/11
  plain.update();
  EXPECT_DOUBLE_EQ(average_of(plain), 1 + 10 * 0.25);
  const StateDict state = warm.state_dict();
  EXPECT_EQ(state.at("updates").item<std::int64_t>(), 2);
  EXPECT_EQ(state.at("average.count").item<std::int64_t>(), 9);  // copied, not averaged
  EXPECT_EQ(numbers(state.at("average.mask")), (Numbers{1, 1}));
}

TEST(EMA, EvaluationPutsTheBitsBack) {
  Parts parts;
  EMA ema(parts, {.decay = 0.75, .warmup = false});
  parts.set(std::numeric_limits<double>::denorm_min(), 9);
  const void* address = parts.state_dict().at("weight").data();
  {
    const EMA::Evaluation evaluation(ema);
    EXPECT_EQ(numbers(parts.state_dict().at("weight")), Numbers(6, 1));
    EXPECT_EQ(parts.state_dict().at("count").item<std::int64_t>(), 7);
    EXPECT_EQ(parts.state_dict().at("weight").data(), address);
    expect_error<ValueError>("EMA::update: the module holds the averages of an Evaluation", [&] { ema.update(); });
    expect_error<ValueError>("EMA::Evaluation: another one lives", [&] { const EMA::Evaluation second(ema); });
  }
  EXPECT_EQ(numbers(parts.state_dict().at("weight")), Numbers(6, std::numeric_limits<double>::denorm_min()));
  EXPECT_EQ(parts.state_dict().at("count").item<std::int64_t>(), 9);
  EXPECT_EQ(parts.state_dict().at("weight").data(), address);
  ema.update();
  EXPECT_DOUBLE_EQ(average_of(ema), 0.75);
}

TEST(EMA, NarrowTensorsHaveWideAverages) {
  Parts parts(DType::bf16);
  EMA ema(parts, {.decay = 0.9990234375, .warmup = false});
  parts.set(2, 0);
  ema.update();
  EXPECT_EQ(ema.state_dict().at("average.weight").dtype(), DType::f32);
  EXPECT_EQ(average_of(ema), 1 + 0x1p-10);  // bf16 has 8 bits
  const EMA::Evaluation evaluation(ema);
  EXPECT_EQ(parts.state_dict().at("weight").dtype(), DType::bf16);
  EXPECT_EQ(numbers(parts.state_dict().at("weight")), Numbers(6, 1));
}

TEST(EMA, AveragesFollowTheModule) {
  Parts parts(DType::f32);
  EMA ema(parts, {.decay = 0.75, .warmup = false});
  parts.to(DType::f64);
  parts.to(Device::cpu());
  parts.set(5, 0);
  ema.update();
  EXPECT_EQ(ema.state_dict().at("average.weight").dtype(), DType::f64);
  for (const auto& entry : ema.state_dict()) EXPECT_EQ(entry.second.device(), Device::cpu()) << entry.first;
  EXPECT_EQ(average_of(ema), 2);
}

TEST(EMA, AnEvaluationServesAModuleThatMoved) {
  Parts parts(DType::f32);
  EMA ema(parts, {.decay = 0.75, .warmup = false});
  parts.set(5, 0);
  ema.update();
  parts.to(DType::f64);
  parts.to(Device::cpu());
  {
    const EMA::Evaluation evaluation(ema);
    EXPECT_EQ(parts.state_dict().at("weight").dtype(), DType::f64);
    EXPECT_EQ(parts.state_dict().at("weight").device(), Device::cpu());
    EXPECT_EQ(numbers(parts.state_dict().at("weight"))[0], average_of(ema));
  }
  EXPECT_EQ(numbers(parts.state_dict().at("weight"))[0], 5);
}

TEST(EMA, LoadedStateGoesOnWithTheSameBits) {
  Parts parts;
  EMA ema(parts), resumed(parts);
  parts.set(3, 2);
  ema.update();
  const Array own = resumed.state_dict().at("average.weight");
  resumed.load_state_dict(cloned(ema.state_dict()));
  EXPECT_EQ(own.data(), resumed.state_dict().at("average.weight").data());  // a recorded update writes there
  parts.set(0.3, 5);
  for (EMA* each : {&ema, &resumed}) each->update();
  const StateDict expected = ema.state_dict();
  EXPECT_EQ(expected.size(), 5u);
  for (const auto& [name, array] : resumed.state_dict()) EXPECT_EQ(numbers(array), numbers(expected.at(name))) << name;
}

TEST(EMA, ErrorsChangeNothing) {
  Parts parts;
  expect_error<ValueError>("EMA: decay must be in [0, 1], got 1.5", [&] { EMA(parts, {.decay = 1.5}); });
  expect_error<ValueError>("EMA: the module has no parameters and no buffers", [] { const EMA ema{Tanh()}; });
  EMA ema(parts);
  StateDict state = cloned(ema.state_dict());
  state.at("average.weight") = Array::full({3, 2}, 9, DType::f64);
  state.at("average.count") = Array::full({}, 99, DType::i64);
  state.at("updates") = Array::full({}, 1.5, DType::f64);
  state.erase("average.mask");
  state.emplace("lr", Array::full({}, 1, DType::f64));
  expect_error<FormatError>(
      "EMA::load_state_dict: missing \"average.mask\"; unexpected \"lr\"; mismatched \"average.weight\" is (3, 2), "
      "expected (2, 3), \"updates\" is 1.5",
      [&] { ema.load_state_dict(state); });
  EXPECT_EQ(ema.state_dict().at("average.count").item<std::int64_t>(), 7);
}

}  // namespace
}  // namespace weft::nn
