#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/nn_support.h"
#include "weft/weft.h"

namespace {

using namespace weft;      // NOLINT(google-build-using-namespace)
using namespace weft::nn;  // NOLINT(google-build-using-namespace)

void append_block(std::vector<std::string>& names, const std::string& prefix, bool bias) {
  names.push_back(prefix + ".0.weight");
  if (bias) names.push_back(prefix + ".0.bias");
  names.push_back(prefix + ".1.weight");
  names.push_back(prefix + ".1.bias");
}

TEST(ResNet9, NarrowHasPyTorchsNamesAndCount) {
  auto model = resnet9();
  std::vector<std::string> expected;
  for (const char* prefix : {"0", "1", "2.body.0", "2.body.1", "3", "4", "5.body.0", "5.body.1"}) {
    append_block(expected, prefix, true);
  }
  for (const char* name : {"7.weight", "7.bias", "9.weight", "9.bias"}) expected.emplace_back(name);
  EXPECT_EQ(names_of(model.named_parameters()), expected);
  EXPECT_EQ(model.parameter_count(), 431946);
  EXPECT_EQ(model.named_buffers().size(), 8U * 3);
  EXPECT_EQ(model.named_buffers()[2].first, "0.1.num_batches_tracked");
  EXPECT_EQ(model.state_dict().size(), 36U + 24);
  EXPECT_EQ(model.state_dict().at("0.0.weight").shape(), (Shape{16, 3, 7, 7}));
  EXPECT_EQ(model.state_dict().at("7.weight").shape(), (Shape{128, 128}));
}

TEST(ResNet9, FullHasPyTorchsNamesAndCount) {
  auto model = resnet9({.variant = ResNet9::full, .classes = 10});
  std::vector<std::string> expected;
  for (const char* prefix : {"0", "1", "3.body.0", "3.body.1", "4", "6", "8.body.0", "8.body.1"}) {
    append_block(expected, prefix, false);
  }
  expected.emplace_back("11.weight");
  EXPECT_EQ(names_of(model.named_parameters()), expected);
  EXPECT_EQ(model.parameter_count(), 6573120);
}

TEST(ResNet9, EveryConvolutionTakesTheAlgorithm) {
  for (const ResNet9 variant : {ResNet9::narrow, ResNet9::full}) {
    const Sequential model = resnet9({.variant = variant, .conv_algo = weft::ConvAlgo::im2col});
    int convolutions = 0;
    const std::function<void(const Module&)> visit = [&](const Module& module) {
      if (const auto* const conv = dynamic_cast<const Conv*>(&module)) {
        EXPECT_EQ(conv->options().algo, weft::ConvAlgo::im2col);
        ++convolutions;
      }
      for (const auto& [name, child] : module.named_children()) visit(*child);
    };
    visit(model);
    EXPECT_EQ(convolutions, 8);
  }
}

TEST(ResNet9, MapsImagesToLogits) {
  const Tensor gray = randn({2, 1, 32, 32});
  EXPECT_EQ(resnet9({.classes = 7, .channels = 1})(gray).shape(), (Shape{2, 7}));
  auto full = resnet9({.variant = ResNet9::full, .classes = 5});
  full.eval();
  NoGrad no_grad;
  EXPECT_EQ(full(randn({2, 3, 32, 32})).shape(), (Shape{2, 5}));
  EXPECT_THROW(resnet9({.classes = 0}), ValueError);
  EXPECT_THROW(resnet9({.channels = -3}), ValueError);
}

TEST(ResNet9, LearnsOneBatch) {
  manual_seed(3);
  auto model = resnet9();
  const Tensor images = randn({16, 3, 32, 32}), labels = randint(0, 10, {16});
  Adam optimizer(model.parameters());
  const CrossEntropyLoss criterion;
  std::vector<float> losses;
  for (int step = 0; step < 8; ++step) {
    const Tensor loss = criterion(model(images), labels);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    losses.push_back(loss.item<float>());
  }
  EXPECT_LT(losses.back(), losses.front() / 4);
  EXPECT_EQ(model.state_dict().at("0.1.num_batches_tracked").item<std::int64_t>(), 8);
}

class Tied final : public Layer {
 public:
  Tensor forward(const Tensor& x) const override { return second_(first_(x)) * scale_; }

 private:
  Linear first_ = register_module("first", Linear(3, 3));
  Linear second_ = register_module("second", first_);
  Tensor scale_ = register_parameter("scale", ones({3}));
};

TEST(Module, CopiesAreHandlesToOneState) {
  Tied model, copy = model;
  EXPECT_EQ(names_of(model.named_parameters()), (std::vector<std::string>{"scale", "first.weight", "first.bias"}));
  EXPECT_EQ(model.parameter_count(), 3 + 9 + 3);
  EXPECT_EQ(model.state_dict().size(), 5U);  // both names of the shared layer, as in PyTorch
  copy.eval();
  EXPECT_FALSE(model.is_training());
  EXPECT_FALSE(model.named_children()[1].second->is_training());
  sum(model(ones({2, 3}))).backward();
  for (const Tensor& parameter : copy.parameters()) EXPECT_TRUE(parameter.grad().defined());
  model.zero_grad();
  for (const Tensor& parameter : copy.parameters()) EXPECT_FALSE(parameter.grad().defined());
}

/// Two inputs and two outputs, which no Layer has.
class Both final : public Module {
 public:
  std::pair<Tensor, Tensor> operator()(const Tensor& a, const Tensor& b) const {
    return {(*left_)(a) + right_(b), norm_(b)};
  }
  const std::shared_ptr<Linear>& left() const { return left_; }

 private:
  std::shared_ptr<Linear> left_ = register_module("left", std::make_shared<Linear>(2, 3));
  Linear right_ = register_module("right", Linear(4, 3));
  BatchNorm1d norm_ = register_module("norm", BatchNorm1d(4));
};

TEST(Module, MayHaveSeveralInputsAndOutputs) {
  const Both model;
  EXPECT_EQ(model.named_children()[0].second, model.left());
  const auto [y, normalized] = model(ones({5, 2}), full({5, 4}, 3.0));
  EXPECT_EQ(y.shape(), (Shape{5, 3}));
  EXPECT_EQ(normalized.to_vector<float>(), std::vector<float>(20, 0));
  sum(y).backward();
  for (const auto& [name, parameter] : model.named_parameters()) {
    EXPECT_EQ(parameter.grad().defined(), name.rfind("norm", 0) != 0) << name;
  }
  // A const module's statistics move: they are buffers that all its handles share.
  EXPECT_EQ(model.state_dict().at("norm.num_batches_tracked").item<std::int64_t>(), 1);
  EXPECT_NEAR(model.state_dict().at("norm.running_mean").to_vector<float>()[0], 0.3, 1e-6);
}

class Registers final : public Layer {
 public:
  Tensor forward(const Tensor& x) const override { return x; }
  using Module::register_buffer;
  using Module::register_module;
  using Module::register_parameter;
};

TEST(Module, RefusesBadNamesAndCycles) {
  Registers module;
  EXPECT_TRUE(module.register_parameter("a", ones({2})).requires_grad());
  EXPECT_FALSE(module.register_parameter("none", Tensor()).defined());
  EXPECT_THROW(module.register_buffer("a", ones({2})), ValueError);
  EXPECT_THROW(module.register_parameter("", ones({2})), ValueError);
  EXPECT_THROW(module.register_parameter("a.b", ones({2})), ValueError);
  EXPECT_THROW(module.register_parameter("i", ones({2}, {.dtype = DType::i64})), DTypeError);
  EXPECT_THROW(module.register_module("child", std::shared_ptr<Module>()), ValueError);
  Registers parent;
  parent.register_module("child", module);
  EXPECT_THROW(module.register_module("parent", parent), ValueError);
  EXPECT_THROW(module.register_module("self", module), ValueError);
  EXPECT_EQ(module.state_dict().size(), 1U);
}

TEST(Module, LoadReportsEverythingAtOnceAndChangesNothing) {
  Sequential model(Linear(2, 3), BatchNorm1d(3));
  StateDict state = cloned(model.state_dict());
  for (auto& entry : state) entry.second.fill(9);
  state.erase("0.bias");
  state.erase("1.running_var");
  state["2.weight"] = Array::full({1}, 1.0);
  state["0.weight"] = Array::full({3, 4}, 1.0);
  try {
    model.load_state_dict(state);
    FAIL();
  } catch (const FormatError& error) {
    EXPECT_STREQ(error.what(), R"(load_state_dict: missing "0.bias", "1.running_var"; unexpected "2.weight"; )"
                               R"(mismatched "0.weight" is (3, 4), expected (3, 2))");
  }
  EXPECT_THROW(model.load_state_dict(state, false), FormatError);  // a shape that does not fit is never ignored
  EXPECT_EQ(model.state_dict().at("1.running_mean").to_vector<float>(), (std::vector<float>{0, 0, 0}));
  state.erase("0.weight");
  model.load_state_dict(state, false);
  EXPECT_EQ(model.state_dict().at("1.running_mean").to_vector<float>(), (std::vector<float>{9, 9, 9}));
  EXPECT_EQ(model.state_dict().at("1.running_var").to_vector<float>(), (std::vector<float>{1, 1, 1}));
}

TEST(Module, LoadConvertsAndKeepsTheMemoryOrder) {
  Conv2d from(3, 4, 3), onto(3, 4, 3);
  from.to(DType::f64);
  StateDict state;
  for (const auto& [name, array] : from.state_dict()) state.emplace(name, array.contiguous());
  const void* address = onto.weight().array().data();
  onto.load_state_dict(state);
  EXPECT_EQ(onto.weight().array().data(), address);
  EXPECT_EQ(onto.weight().dtype(), DType::f32);
  EXPECT_TRUE(onto.weight().array().layout().is_channels_last());
  EXPECT_EQ(largest_difference(onto.weight(), from.weight()), 0);
  onto.load_state_dict(onto.state_dict());
  EXPECT_EQ(largest_difference(onto.weight(), from.weight()), 0);
}

TEST(Module, ToConvertsInPlace) {
  Sequential model(Conv2d(3, 4, 3), BatchNorm2d(4));
  const std::vector<Tensor> before = model.parameters();
  sum(square(model(randn({2, 3, 5, 5})))).backward();
  model.to(DType::f64);
  EXPECT_EQ(before[0].dtype(), DType::f64);
  EXPECT_EQ(before[0].grad().dtype(), DType::f64);
  EXPECT_TRUE(before[0].requires_grad());
  EXPECT_TRUE(before[0].array().layout().is_channels_last());
  EXPECT_EQ(named(model.named_buffers(), "1.running_var").dtype(), DType::f64);
  EXPECT_EQ(named(model.named_buffers(), "1.num_batches_tracked").dtype(), DType::i64);
  EXPECT_EQ(model(randn({2, 3, 5, 5}, {.dtype = DType::f64})).dtype(), DType::f64);
  EXPECT_THROW(model.to(DType::i32), DTypeError);
  const void* address = before[0].array().data();
  model.to(Device::cpu());
  model.to(DType::f64);
  EXPECT_EQ(before[0].array().data(), address);
}

TEST(Checkpoint, RoundTrips) {
  const auto path = std::filesystem::temp_directory_path() / "weft_nn_test.safetensors";
  auto model = resnet9();
  model(randn({4, 3, 32, 32}));
  save(path, model.state_dict(), {{"model", "resnet9-narrow"}});
  const StateDict state = load(path);
  EXPECT_EQ(load_safetensors(path).metadata.at("model"), "resnet9-narrow");
  std::filesystem::remove(path);
  EXPECT_EQ(state.at("0.0.weight").strides(), (Strides{147, 49, 7, 1}));
  auto other = resnet9();
  other.load_state_dict(state);
  for (const auto& [name, array] : model.state_dict()) {
    EXPECT_EQ(largest_difference(Tensor(array), Tensor(other.state_dict().at(name))), 0) << name;
  }
  auto full = resnet9({.variant = ResNet9::full});
  EXPECT_THROW(full.load_state_dict(state), FormatError);
}

TEST(Module, LoadsWhatLiesInItsOwnArrays) {
  Sequential model(Linear(2, 2), Linear(2, 2));
  StateDict state = model.state_dict();
  const auto first = state.at("0.weight").to_vector<float>(), second = state.at("1.weight").to_vector<float>();
  const std::vector<float> turned{second[0], second[2], second[1], second[3]};
  state["0.weight"] = transpose(Tensor(state.at("1.weight")), 0, 1).array();
  state["1.weight"] = model.state_dict().at("0.weight");
  state["1.bias"] = state.at("1.bias").view(Layout({2}, {-1}, 1));
  const auto bias = model.state_dict().at("1.bias").to_vector<float>();
  model.load_state_dict(state);
  EXPECT_EQ(model.state_dict().at("0.weight").to_vector<float>(), turned);
  EXPECT_EQ(model.state_dict().at("1.weight").to_vector<float>(), first);
  EXPECT_EQ(model.state_dict().at("1.bias").to_vector<float>(), (std::vector<float>{bias[1], bias[0]}));
}

}  // namespace
