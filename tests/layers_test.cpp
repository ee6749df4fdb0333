#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/nn_support.h"
#include "weft/weft.h"

namespace {

using namespace weft;      // NOLINT(google-build-using-namespace)
using namespace weft::nn;  // NOLINT(google-build-using-namespace)

TEST(Layers, BatchNormTakesNoChannels) {
  const Tensor x = zeros({4, 0}, {.requires_grad = true});
  const Tensor none = zeros({0});
  const Tensor y = batch_norm(x, none, none, {}, {});
  EXPECT_EQ(y.shape(), (Shape{4, 0}));
  y.sum().backward();
  EXPECT_EQ(x.grad().shape(), (Shape{4, 0}));
}

TEST(Init, FansCountTheReceptiveField) {
  const init::Fans fans = init::calculate_fans({16, 3, 7, 5});
  EXPECT_EQ(fans.in, 3 * 35);
  EXPECT_EQ(fans.out, 16 * 35);
  EXPECT_EQ(init::calculate_fans({4, 9}).in, 9);
  EXPECT_EQ(init::calculate_fans({4, 9}).out, 4);
  EXPECT_THROW(init::calculate_fans({4}), ShapeError);
}

/// Expects the values to fill [-bound, bound] and nothing beyond.
void expect_fills(const Tensor& x, double bound) {
  double largest = 0;
  for (const float value : x.to_vector<float>()) largest = std::max(largest, std::abs(static_cast<double>(value)));
  EXPECT_LE(largest, bound * (1 + 1e-6));
  EXPECT_GT(largest, bound * (1 - 40.0 / static_cast<double>(x.size())));
}

double deviation(const Tensor& x) { return std::sqrt(mean(square(x)).item<double>()); }

TEST(Init, DistributionsHaveTheirScale) {
  manual_seed(1);
  expect_fills(init::kaiming_uniform(50, 60), std::sqrt(6.0 / 50));
  expect_fills(init::kaiming_uniform(50, 60, {.gain = 1.0}), std::sqrt(3.0 / 50));
  expect_fills(init::xavier_uniform(50, 60), std::sqrt(6.0 / 110));
  EXPECT_EQ(init::kaiming_uniform(50, 60).shape(), (Shape{50, 60}));
  EXPECT_EQ(init::kaiming_uniform(9, 9, {.shape = Shape{8, 1, 3, 3}}).shape(), (Shape{8, 1, 3, 3}));
  EXPECT_NEAR(deviation(init::kaiming_normal(100, 200)), std::sqrt(2.0 / 100), 0.005);
  EXPECT_NEAR(deviation(init::xavier_normal(100, 200, {.gain = 2.0})), 2 * std::sqrt(2.0 / 300), 0.005);
  EXPECT_NEAR(deviation(init::normal({100, 100}, 0, 3)), 3, 0.1);
  EXPECT_EQ(init::ones({2}).to_vector<float>(), (std::vector<float>{1, 1}));
  EXPECT_EQ(init::zeros({2}, {.dtype = DType::f64}).to_vector<double>(), (std::vector<double>{0, 0}));
  EXPECT_THROW(init::kaiming_uniform(0, 5), ValueError);
  Generator a(7), b(7);
  EXPECT_EQ(init::uniform({9}, -1, 1, {.generator = &a}).to_vector<float>(),
            init::uniform({9}, -1, 1, {.generator = &b}).to_vector<float>());
}

TEST(Init, LayersStartInTheirRange) {
  manual_seed(2);
  const Conv2d pytorch(8, 64, 3), grouped(8, 64, 3, {.groups = 4});
  expect_fills(pytorch.weight(), 1 / std::sqrt(72.0));
  expect_fills(pytorch.bias(), 1 / std::sqrt(72.0));
  expect_fills(grouped.weight(), 1 / std::sqrt(18.0));
  const ConvTranspose2d transposed(64, 8, 3, {.groups = 2});
  expect_fills(transposed.weight(), 1 / std::sqrt(36.0));
  expect_fills(ConvTranspose1d(2, 64, 3).bias(), 1 / std::sqrt(192.0));
  expect_fills(Conv3d(2, 64, {1, 2, 3}).weight(), 1 / std::sqrt(12.0));
  const Conv2d kaiming(8, 64, 3, {}, {.init = Init::kaiming_uniform});
  expect_fills(kaiming.weight(), std::sqrt(6 / 72.0));
  expect_fills(kaiming.bias(), 1 / std::sqrt(72.0));
  const Linear linear(50, 80, {.init = Init::kaiming_uniform});
  expect_fills(linear.weight(), std::sqrt(6 / 50.0));
  expect_fills(linear.bias(), 1 / std::sqrt(50.0));
  expect_fills(Linear(50, 80).weight(), 1 / std::sqrt(50.0));
}

TEST(Init, SeedMakesModelsEqual) {
  manual_seed(11);
  const StateDict first = resnet9().state_dict(), second = resnet9().state_dict();
  manual_seed(11);
  const StateDict again = resnet9().state_dict();
  for (const auto& [name, array] : first) {
    if (array.dtype() != DType::f32) continue;
    EXPECT_EQ(array.to_vector<float>(), again.at(name).to_vector<float>()) << name;
  }
  EXPECT_NE(first.at("0.0.weight").to_vector<float>(), second.at("0.0.weight").to_vector<float>());
}

TEST(Layers, LinearIsItsFormula) {
  Linear layer(3, 2);
  EXPECT_EQ(layer.weight().shape(), (Shape{2, 3}));
  layer.load_state_dict({{"weight", Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3}).array()},
                         {"bias", Tensor::from<float>({10, 20}, {2}).array()}});
  EXPECT_EQ(layer(Tensor::from<float>({1, 0, -1, 2, 1, 0}, {2, 3})).to_vector<float>(),
            (std::vector<float>{8, 18, 14, 33}));
  EXPECT_FALSE(Linear(3, 2, {.bias = false}).bias().defined());
  EXPECT_THROW(Linear(0, 2), ValueError);
}

TEST(Layers, Conv2dHonoursPairs) {
  Conv2d layer(4, 6, {3, 5}, {.stride = {2, 1}, .padding = {0, 2}, .dilation = {2, 1}, .groups = 2});
  EXPECT_EQ(layer.weight().shape(), (Shape{6, 2, 3, 5}));
  EXPECT_TRUE(layer.weight().array().layout().is_channels_last());
  EXPECT_EQ(layer(randn({2, 4, 11, 9})).shape(), (Shape{2, 6, 4, 9}));
  EXPECT_EQ(Conv2d(3, 4, 3)(randn({1, 3, 8, 8})).shape(), (Shape{1, 4, 6, 6}));  // no padding by default
  EXPECT_THROW(Conv2d(3, 4, 0), ValueError);
  EXPECT_THROW(Conv2d(3, 4, 3, {.stride = 0}), ValueError);
  EXPECT_THROW(Conv2d(3, 4, 3, {.padding = {0, -1}}), ValueError);
  EXPECT_THROW(Conv2d(3, 4, 3, {.dilation = 0}), ValueError);
  EXPECT_THROW(Conv2d(3, 4, 3, {.groups = 2}), ValueError);
  EXPECT_THROW(Conv2d(3, 4, 3)(randn({1, 2, 8, 8})), ShapeError);
}

TEST(Layers, ConvolutionsHavePyTorchsShapes) {
  EXPECT_EQ(Conv1d(4, 6, 3, {.stride = 2, .groups = 2}).weight().shape(), (Shape{6, 2, 3}));
  EXPECT_EQ(Conv1d(4, 6, 3, {.stride = 2, .groups = 2})(randn({2, 4, 9})).shape(), (Shape{2, 6, 4}));
  EXPECT_EQ(Conv3d(2, 4, {1, 2, 3}).weight().shape(), (Shape{4, 2, 1, 2, 3}));
  EXPECT_EQ(Conv3d(2, 4, {1, 2, 3})(randn({2, 2, 4, 4, 4})).shape(), (Shape{2, 4, 4, 3, 2}));
  EXPECT_EQ(Conv2d(2, 3, {2, 4}, {.padding = PaddingRule::same})(randn({1, 2, 5, 6})).shape(), (Shape{1, 3, 5, 6}));
  const ConvTranspose2d up(4, 6, {3, 2}, {.stride = 2, .padding = 1, .output_padding = 1, .groups = 2});
  EXPECT_EQ(up.weight().shape(), (Shape{4, 3, 3, 2}));
  EXPECT_EQ(up.bias().shape(), (Shape{6}));
  EXPECT_TRUE(up.weight().array().layout().is_channels_last());
  EXPECT_EQ(ConvTranspose1d(3, 2, 4, {.stride = 3})(randn({2, 3, 5})).shape(), (Shape{2, 2, 16}));
  EXPECT_EQ(ConvTranspose3d(1, 2, 2, {.stride = {1, 2, 3}})(randn({1, 1, 2, 2, 2})).shape(), (Shape{1, 2, 3, 4, 5}));
  EXPECT_EQ(names_of(ConvTranspose3d(1, 2, 2).named_parameters()), (std::vector<std::string>{"weight", "bias"}));
  EXPECT_EQ(names_of(Conv1d(1, 2, 2, {}, {.bias = false}).named_parameters()), (std::vector<std::string>{"weight"}));
}

TEST(Layers, ConvolutionsAreTheirFunctions) {
  const Tensor line = randn({2, 3, 7}), plane = randn({2, 3, 6, 5}), volume = randn({1, 2, 3, 4, 3});
  for (const PadMode mode : {PadMode::constant, PadMode::reflect, PadMode::replicate, PadMode::circular}) {
    Conv1d one(3, 4, 3, {.padding = {{2, 1}}, .padding_mode = mode});
    EXPECT_EQ(largest_difference(one(line),
                                 conv1d(line, one.weight(), one.bias(), {.padding = {{2, 1}}, .padding_mode = mode})),
              0);
    Conv2d two(3, 4, {3, 2}, {.stride = {2, 1}, .padding = {2, 1}, .padding_mode = mode});
    const Tensor padded = pad(plane, {{0, 0}, {0, 0}, {2, 2}, {1, 1}}, mode);
    EXPECT_LT(largest_difference(two(plane), conv2d(padded, two.weight(), two.bias(), {.stride = {2, 1}})), 1e-6);
    Conv3d three(2, 2, 2, {.padding = 1, .dilation = {2, 1, 1}, .padding_mode = mode});
    EXPECT_EQ(largest_difference(three(volume), conv3d(volume, three.weight(), three.bias(),
                                                       {.padding = 1, .dilation = {2, 1, 1}, .padding_mode = mode})),
              0);
  }
  ConvTranspose2d up(3, 4, 3, {.stride = 2, .padding = 1, .output_padding = {0, 1}, .dilation = 2});
  EXPECT_EQ(largest_difference(up(plane),
                               conv_transpose2d(plane, up.weight(), up.bias(),
                                                {.stride = 2, .padding = 1, .output_padding = {0, 1}, .dilation = 2})),
            0);
}

TEST(Layers, ConvIsConv2dPaddedByHalfItsKernel) {
  for (const std::int64_t stride : {1, 2, 4}) {
    for (const PerAxis<2>& kernel : {PerAxis<2>(1), PerAxis<2>(7), PerAxis<2>(3, 5)}) {
      Conv conv(3, 4, kernel, {.stride = stride});
      Conv2d same(3, 4, kernel, {.stride = stride, .padding = {kernel[0] / 2, kernel[1] / 2}});
      same.load_state_dict(conv.state_dict());
      const Tensor x = randn({2, 3, 9, 8});
      const Tensor y = conv(x);
      EXPECT_EQ(y.shape(), (Shape{2, 4, (9 + stride - 1) / stride, (8 + stride - 1) / stride}));
      EXPECT_EQ(largest_difference(y, same(x)), 0);
    }
  }
  const Tensor x = randn({2, 4, 9, 8});
  Conv dilated(4, 6, {3, 5}, {.stride = 2, .dilation = {1, 2}, .groups = 2}, {.init = Init::kaiming_uniform});
  EXPECT_EQ(dilated(x).shape(), (Shape{2, 6, 5, 4}));
  EXPECT_EQ(largest_difference(dilated(x), conv2d(x, dilated.weight(), dilated.bias(), dilated.options())), 0);
  EXPECT_THROW(Conv(3, 4, 2), ValueError);
  EXPECT_THROW(Conv(3, 4, {3, 4}), ValueError);
  EXPECT_THROW(Conv(3, 4, 3, {.stride = -1}), ValueError);
  EXPECT_EQ(names_of(Conv(3, 4, 3, {}, {.bias = false}).named_parameters()), (std::vector<std::string>{"weight"}));
}

TEST(Layers, SequentialFusesNormAndReluExactly) {
  manual_seed(5);
  Sequential model(Conv2d(3, 8, 3), BatchNorm2d(8), ReLU(), Flatten(), Linear(128, 6), BatchNorm1d(6), ReLU());
  for (const bool training : {true, false}) {
    Tensor x = randn({4, 3, 6, 6});
    model.train(training);
    const StateDict start = cloned(model.state_dict());
    const Tensor weights = randn({4, 6});
    std::vector<Tensor> gradients[2];
    Tensor outputs[2];
    for (const int way : {0, 1}) {
      model.load_state_dict(start);
      model.zero_grad();
      outputs[way] = x;
      if (way == 0) {
        outputs[way] = model(x);
      } else {
        for (std::int64_t i = 0; i < model.size(); ++i) outputs[way] = model[i](outputs[way]);
      }
      sum(outputs[way] * weights).backward();
      for (const Tensor& parameter : model.parameters()) gradients[way].push_back(parameter.grad());
    }
    EXPECT_LT(largest_difference(outputs[0], outputs[1]), 1e-6);
    EXPECT_EQ(min(outputs[0]).item<float>(), 0);
    for (std::size_t i = 0; i < gradients[0].size(); ++i) {
      EXPECT_LT(largest_difference(gradients[0][i], gradients[1][i]), 2e-5) << i;
    }
  }
}

TEST(Layers, BatchNormChecksItsResidual) {
  const Tensor x = randn({4, 3}), w = ones({3}), b = zeros({3});
  EXPECT_THROW(batch_norm(x, w, b, {}, {}, {}, {.residual = zeros({4, 1})}), ShapeError);
  EXPECT_THROW(batch_norm(x, w, b, {}, {}, {}, {.residual = zeros({4, 3}, {.dtype = DType::f64})}), ShapeError);
  EXPECT_THROW(batch_norm(x, w, b, b, w, {}, {.training = false, .residual = zeros({3, 4})}), ShapeError);
}

TEST(Layers, BatchNormCountsBatches) {
  const Tensor w = ones({3}), b = zeros({3}), batches = zeros({}, {.dtype = DType::i64});
  const auto count = [&](const Shape& shape, const BatchNormOptions& options = {}) {
    batch_norm(zeros(shape), w, b, {}, {}, options, {.batches = batches});
    return batches.item<std::int64_t>();
  };
  const auto version = batches.array().storage()->version();
  EXPECT_EQ(count({4, 3}), 1);
  EXPECT_EQ(batches.array().storage()->version(), version + 1);
  EXPECT_EQ(count({0, 3}), 2);
  EXPECT_THROW(count({1, 3}), ValueError);
  EXPECT_THROW(count({4, 3}, {.eps = -1}), ValueError);
  EXPECT_THROW(batch_norm(zeros({4, 3}), w, b, {}, {}, {}, {.training = false, .batches = batches}), ValueError);
  batch_norm(zeros({4, 3}), w, b, b, w, {}, {.training = false, .batches = batches});
  EXPECT_EQ(batches.item<std::int64_t>(), 2);
  EXPECT_EQ(message_of<ShapeError>([&] {
              batch_norm(zeros({4, 3}), w, b, {}, {}, {}, {.batches = zeros({})});
            }),
            "batch_norm: the count of batches is a scalar of i64, not () of f32");
  EXPECT_THROW(batch_norm(zeros({4, 3}), w, b, {}, {}, {}, {.batches = zeros({1}, {.dtype = DType::i64})}), ShapeError);
}

/// A Residual whose last layers run as one function against the same layers one by one.
TEST(Layers, ResidualFusesItsSumExactly) {
  manual_seed(6);
  const auto conv = [] { return Conv2d(8, 8, 3, {.padding = 1}); };
  std::vector<Residual> models;
  models.emplace_back(conv(), BatchNorm2d(8), ReLU());
  models.emplace_back(conv(), BatchNorm2d(8));
  models.emplace_back(Sequential(conv(), BatchNorm2d(8), ReLU()),
                      Sequential(conv(), Sequential(BatchNorm2d(8), ReLU())));
  models.emplace_back(BatchNorm2d(8), ReLU(), conv());                                   // the sum is another function
  models.emplace_back(BatchNorm2d(8), Conv2d(8, 1, 3, {.padding = 1}), BatchNorm2d(1));  // it broadcasts
  const auto one_by_one = [](const auto& self, Sequential& layers, Tensor x) -> Tensor {
    for (std::int64_t i = 0; i < layers.size(); ++i) {
      auto* nested = dynamic_cast<Sequential*>(&layers[i]);
      x = nested != nullptr ? self(self, *nested, x) : layers[i](x);
    }
    return x;
  };
  for (std::size_t m = 0; m < models.size(); ++m) {
    SCOPED_TRACE(m);
    Residual& model = models[m];
    auto& body = dynamic_cast<Sequential&>(*model.named_children()[0].second);
    Tensor x = randn({4, 8, 5, 6}, {.requires_grad = true});
    const Tensor weights = randn({4, 8, 5, 6});
    for (const bool training : {true, false}) {
      model.train(training);
      const StateDict start = cloned(model.state_dict());
      std::vector<Tensor> gradients[2];
      Tensor outputs[2];
      for (const int way : {0, 1}) {
        model.load_state_dict(start);
        model.zero_grad();
        x.zero_grad();
        outputs[way] = way == 0 ? model(x) : one_by_one(one_by_one, body, x) + x;
        sum(outputs[way] * weights).backward();
        gradients[way].push_back(x.grad());
        for (const Tensor& parameter : model.parameters()) gradients[way].push_back(parameter.grad());
      }
      EXPECT_LT(largest_difference(outputs[0], outputs[1]), 1e-6);
      for (std::size_t i = 0; i < gradients[0].size(); ++i)
        EXPECT_LT(largest_difference(gradients[0][i], gradients[1][i]), 1e-4) << i;
    }
    const NoGrad no_grad;  // evaluation's own kernel
    EXPECT_LT(largest_difference(model(x), one_by_one(one_by_one, body, x) + x), 1e-5);
  }
}

TEST(Layers, SequentialNamesAndIndexes) {
  Sequential model;
  const Tensor x = randn({2, 3});
  EXPECT_EQ(largest_difference(model(x), x), 0);
  model.append(Linear(3, 3)).append(std::make_shared<Tanh>()).append(Residual(Linear(3, 3), Sigmoid()));
  EXPECT_EQ(names_of(model.named_parameters()),
            (std::vector<std::string>{"0.weight", "0.bias", "2.body.0.weight", "2.body.0.bias"}));
  EXPECT_EQ(model.size(), 3);
  EXPECT_THROW(model[3], IndexError);
  EXPECT_THROW(model[-1], IndexError);
  EXPECT_THROW(model.append(model), ValueError);
  const Tensor inner = model[1](model[0](x));
  const NamedTensors parameters = model.named_parameters();
  EXPECT_LT(largest_difference(model(x), sigmoid(linear(inner, named(parameters, "2.body.0.weight"),
                                                        named(parameters, "2.body.0.bias"))) +
                                             inner),
            1e-6);
}

// An argument of the class's own type is a copy of it, which holds the same modules.
TEST(Layers, OneSequentialNestsByAppend) {
  const auto names = [](const Module& model) { return names_of(model.named_parameters()); };
  using Names = std::vector<std::string>;
  const Linear a(3, 3, {.bias = false}), b(3, 3, {.bias = false});
  const Sequential inner(a);
  EXPECT_EQ(names(Sequential(Sequential(a))), Names{"0.weight"});
  EXPECT_EQ(names(Sequential(inner)), Names{"0.weight"});
  EXPECT_EQ(names(Sequential().append(Sequential(a))), Names{"0.0.weight"});
  EXPECT_EQ(names(Sequential(Sequential(a), b)), (Names{"0.0.weight", "1.weight"}));
  EXPECT_EQ(names(Residual(inner)), Names{"body.0.0.weight"});
  EXPECT_EQ(names(Residual(Sequential(a, b))), (Names{"body.0.0.weight", "body.0.1.weight"}));
  EXPECT_EQ(names(Residual(Residual(a))), Names{"body.0.weight"});
  EXPECT_EQ(names(Residual(Sequential(Residual(a)))), Names{"body.0.0.body.0.weight"});
  const Tensor x = randn({2, 3});
  EXPECT_EQ(Residual(Sequential(a, b))(x).to_vector<float>(), Residual(a, b)(x).to_vector<float>());
  EXPECT_EQ(Residual(Residual(a))(x).to_vector<float>(), (linear(x, a.weight()) + x).to_vector<float>());
}

TEST(Layers, BatchNormTracksItsStatistics) {
  for (const bool unbiased : {true, false}) {
    BatchNorm1d norm(1, {.momentum = 0.25, .unbiased_running = unbiased});
    const Tensor x = Tensor::from<float>({1, 3, 5, 7}, {4, 1});
    norm(x);
    StateDict state = norm.state_dict();
    EXPECT_EQ(state.size(), 5U);
    EXPECT_FLOAT_EQ(state.at("running_mean").item<float>(), 0.25 * 4);
    EXPECT_FLOAT_EQ(state.at("running_var").item<float>(), 0.75 + 0.25 * (unbiased ? 20.0 / 3 : 5.0));
    EXPECT_EQ(state.at("num_batches_tracked").item<std::int64_t>(), 1);
    EXPECT_EQ(state.at("num_batches_tracked").shape(), Shape{});
    norm.eval();
    const float expected = (7 - 1) / std::sqrt(state.at("running_var").item<float>() + 1e-5F);
    EXPECT_FLOAT_EQ(norm(x).to_vector<float>()[3], expected);
    EXPECT_EQ(norm.state_dict().at("num_batches_tracked").item<std::int64_t>(), 1);
  }
}

TEST(Layers, BatchNormChecksItsInput) {
  EXPECT_EQ(BatchNorm1d(3)(randn({2, 3, 5})).shape(), (Shape{2, 3, 5}));
  EXPECT_THROW(BatchNorm1d(3)(randn({2, 3, 4, 4})), ShapeError);
  EXPECT_THROW(BatchNorm2d(3)(randn({2, 3})), ShapeError);
  EXPECT_THROW(BatchNorm2d(4)(randn({2, 3, 4, 4})), ShapeError);
  BatchNorm2d norm(3);
  EXPECT_THROW(norm(randn({1, 3, 1, 1})), ValueError);
  EXPECT_EQ(norm.state_dict().at("num_batches_tracked").item<std::int64_t>(), 0);
  EXPECT_THROW(BatchNorm2d(0), ValueError);
  EXPECT_THROW(BatchNorm2d(3, {.eps = -1}), ValueError);
  EXPECT_THROW(BatchNorm2d(3, {.momentum = 1.5}), ValueError);
}

TEST(Layers, TheSmallOnesAreTheirFunctions) {
  const Tensor x = randn({2, 3, 4, 6});
  EXPECT_EQ(largest_difference(ReLU()(x), relu(x)), 0);
  EXPECT_EQ(largest_difference(GELU()(x), gelu(x)), 0);
  EXPECT_EQ(largest_difference(GELU(true)(x), gelu(x, true)), 0);
  EXPECT_GT(largest_difference(GELU(true)(x), gelu(x)), 0);
  EXPECT_EQ(largest_difference(Identity()(x), x), 0);
  EXPECT_EQ(largest_difference(Scale(0.125)(x), x / 8), 0);
  EXPECT_EQ(Flatten()(x).shape(), (Shape{2, 72}));
  EXPECT_EQ(Flatten(2, 3)(x).shape(), (Shape{2, 3, 24}));
  EXPECT_EQ(MaxPool2d(2)(x).shape(), (Shape{2, 3, 2, 3}));
  EXPECT_EQ(MaxPool2d(3, {.stride = 1, .padding = 1})(x).shape(), (Shape{2, 3, 4, 6}));
  EXPECT_EQ(AvgPool2d({2, 3})(x).shape(), (Shape{2, 3, 2, 2}));
  EXPECT_LT(largest_difference(AvgPool2d({4, 6})(x), GlobalAvgPool2d()(x)), 1e-6);
  EXPECT_THROW(MaxPool2d(0), ValueError);
  EXPECT_THROW(MaxPool2d(2, {.padding = 2}), ValueError);
  EXPECT_THROW(AvgPool2d(2, {.stride = -1}), ValueError);
}

TEST(Layers, DropoutDropsOnlyInTraining) {
  Dropout layer(0.25);
  const Tensor x = ones({100, 100});
  const std::vector<float> y = layer(x).to_vector<float>();
  const auto dropped = std::count(y.begin(), y.end(), 0.0F);
  EXPECT_NEAR(static_cast<double>(dropped) / 10000, 0.25, 0.03);
  EXPECT_FLOAT_EQ(*std::max_element(y.begin(), y.end()), 1 / 0.75F);
  layer.eval();
  EXPECT_EQ(largest_difference(layer(x), x), 0);
  EXPECT_THROW(Dropout(1.5), ValueError);
}

TEST(Losses, AreTheirFormulas) {
  const Tensor a = Tensor::from<float>({1, 2, 3}, {3}), b = Tensor::from<float>({3, 2, -1}, {3});
  EXPECT_FLOAT_EQ(mse_loss(a, b).item<float>(), 20.0F / 3);
  EXPECT_FLOAT_EQ(mse_loss(a, b, Reduction::sum).item<float>(), 20);
  EXPECT_EQ(l1_loss(a, b, Reduction::none).to_vector<float>(), (std::vector<float>{2, 0, 4}));
  EXPECT_FLOAT_EQ(l1_loss(a, b).item<float>(), 2);
  EXPECT_THROW(mse_loss(a, ones({1})), ShapeError);
  const Tensor logits = zeros({2, 4}), labels = zeros({2}, {.dtype = DType::i64});
  EXPECT_FLOAT_EQ(CrossEntropyLoss({.reduction = Reduction::sum})(logits, labels).item<float>(), 2 * std::log(4.0F));
}

}  // namespace
