// Folding batch norm into the layer before it: the same outputs to rounding, and what does not fit.
#include "weft/nn/fold.h"

#include "tests/device.h"
#include "tests/nn_support.h"

namespace weft::nn {
namespace {

/// A trained norm's state, far from the initial one, in evaluation mode.
template <class Norm>
Norm used_norm(std::int64_t features, DType dtype, const BatchNormOptions& options = {}) {
  Norm norm(features, options);
  StateDict state = norm.state_dict();
  state["weight"] = (randn({features}) * 0.7 + 0.2).array();  // some negative
  state["bias"] = randn({features}).array();
  state["running_mean"] = (randn({features}) * 2).array();
  state["running_var"] = (rand({features}) * 3 + 0.05).array();
  norm.load_state_dict(state);
  norm.to(dtype);
  norm.eval();
  return norm;
}

/// The norm of the difference by the norm of `expected`.
double relative_difference(const Tensor& found, const Tensor& expected) {
  EXPECT_EQ(found.shape(), expected.shape());
  EXPECT_EQ(found.dtype(), expected.dtype());
  const Tensor a = found.detach().to(DType::f64), b = expected.detach().to(DType::f64);
  return std::sqrt(sum(square(a - b)).item<double>() / sum(square(b)).item<double>());
}

template <class Norm, class Layer>
void check(const std::string& what, Layer layer, std::int64_t outputs, const Shape& x_shape) {
  SCOPED_TRACE(what);
  for (const DType dtype : {DType::f32, DType::f64}) {
    layer.to(dtype);
    Norm norm = used_norm<Norm>(outputs, dtype, {.eps = 1e-3});
    const std::vector<double> weight_before = layer.weight().to(DType::f64).template to_vector<double>();
    Layer folded = fold_batch_norm(layer, norm);
    const Tensor x = randn(x_shape).to(dtype);
    EXPECT_LE(relative_difference(folded(x), norm(layer(x))), dtype == DType::f32 ? 1e-6 : 1e-14);
    EXPECT_EQ(folded.bias().shape(), Shape{outputs});
    EXPECT_EQ(folded.weight().array().layout().strides, layer.weight().array().layout().strides);
    EXPECT_EQ(layer.weight().to(DType::f64).template to_vector<double>(), weight_before);
    EXPECT_NE(folded.weight().array().data(), layer.weight().array().data());
  }
}

TEST(FoldBatchNorm, Convolutions) {
  check<BatchNorm2d>("plain", Conv2d(5, 8, 3), 8, {2, 5, 7, 6});
  check<BatchNorm2d>("no bias", Conv2d(5, 8, 3, {}, {.bias = false}), 8, {2, 5, 7, 6});
  check<BatchNorm2d>("groups", Conv2d(6, 9, {3, 2}, {.stride = 2, .padding = 1, .groups = 3}), 9, {2, 6, 7, 6});
  check<BatchNorm2d>("depthwise", Conv2d(6, 12, 3, {.dilation = 2, .groups = 6}, {.bias = false}), 12, {2, 6, 7, 6});
  check<BatchNorm2d>("reflecting", Conv2d(3, 4, 3, {.padding = 1, .padding_mode = PadMode::reflect}), 4, {2, 3, 5, 6});
  check<BatchNorm2d>("circular", Conv2d(3, 4, 3, {.padding = 2, .padding_mode = PadMode::circular}), 4, {2, 3, 5, 6});
  check<BatchNorm2d>("same", Conv2d(3, 4, 4, {.padding = PaddingRule::same}), 4, {2, 3, 5, 6});
  check<BatchNorm2d>("Conv", Conv(3, 7, 3, {.stride = 2}, {.bias = false}), 7, {2, 3, 9, 9});
  check<BatchNorm1d>("one axis", Conv1d(3, 7, 4), 7, {2, 3, 9});
  check<BatchNorm3d>("three axes", Conv3d(4, 6, {1, 2, 3}, {.groups = 2}), 6, {2, 4, 3, 4, 5});
}

TEST(FoldBatchNorm, TransposedConvolutions) {
  check<BatchNorm2d>("plain", ConvTranspose2d(5, 8, 3), 8, {2, 5, 4, 3});
  check<BatchNorm2d>("no bias", ConvTranspose2d(5, 8, 3, {.stride = 2, .output_padding = 1}, {.bias = false}), 8,
                     {2, 5, 4, 3});
  check<BatchNorm2d>("groups", ConvTranspose2d(6, 9, {3, 2}, {.padding = {1, 0}, .groups = 3}), 9, {2, 6, 4, 3});
  check<BatchNorm1d>("one axis", ConvTranspose1d(4, 6, 3, {.stride = 2, .groups = 2}), 6, {2, 4, 5});
  check<BatchNorm3d>("three axes", ConvTranspose3d(3, 2, 2), 2, {1, 3, 2, 3, 2});
}

TEST(FoldBatchNorm, LinearLayers) {
  check<BatchNorm1d>("plain", Linear(6, 5), 5, {7, 6});
  check<BatchNorm1d>("no bias", Linear(6, 5, {.bias = false}), 5, {7, 6});
}

TEST(FoldBatchNorm, Errors) {
  const Conv2d conv(3, 8, 3);
  BatchNorm2d norm(8), narrow(6);
  EXPECT_EQ(message_of<ValueError>([&] { fold_batch_norm(conv, norm); }),
            "fold_batch_norm: the norm is in training mode, where its statistics are the batch's");
  narrow.eval();
  EXPECT_EQ(message_of<ShapeError>([&] { fold_batch_norm(conv, narrow); }),
            "fold_batch_norm: the layer has 8 output channels but the norm 6 features");
  EXPECT_EQ(message_of<ShapeError>([&] { fold_batch_norm(ConvTranspose2d(3, 8, 3), narrow); }),
            "fold_batch_norm: the layer has 8 output channels but the norm 6 features");
  EXPECT_EQ(message_of<ShapeError>([&] { fold_batch_norm(ConvTranspose2d(6, 8, 3, {.groups = 2}), narrow); }),
            "fold_batch_norm: the layer has 8 output channels but the norm 6 features");
  EXPECT_EQ(message_of<ShapeError>([&] { fold_batch_norm(Linear(3, 8), narrow); }),
            "fold_batch_norm: the layer has 8 output channels but the norm 6 features");
  EXPECT_EQ(message_of<ValueError>([&] { fold_batch_norms(Sequential(conv, norm)); }),
            "fold_batch_norms: the model is in training mode");
}

TEST(FoldBatchNorm, TakesBothOnOneDevice) {
  WEFT_NEEDS_CUDA();
  const Conv2d conv(3, 8, 3);
  BatchNorm2d norm(8);
  norm.eval();
  norm.to(Device::cuda());
  EXPECT_EQ(message_of<DeviceError>([&] { fold_batch_norm(conv, norm); }),
            "fold_batch_norm: the layer is on cpu but the norm on cuda:0");
}

TEST(WithParameters, Errors) {
  EXPECT_EQ(message_of<ShapeError>([] { Conv2d(3, 8, 3).with_parameters({}, {}); }),
            "Conv2d: weight must be (8, 3, 3, 3), got none");
  EXPECT_EQ(message_of<ShapeError>([] {
              Conv1d(3, 8, 3).with_parameters(zeros({8, 3, 4}), {});
            }),
            "Conv1d: weight must be (8, 3, 3), got (8, 3, 4)");
  EXPECT_EQ(message_of<ShapeError>([] {
              ConvTranspose2d(4, 6, 3, {.groups = 2}).with_parameters(zeros({4, 3, 3, 3}), zeros({3}));
            }),
            "ConvTranspose2d: bias must be (6,), got (3,)");
  EXPECT_EQ(message_of<ShapeError>([] {
              Linear(3, 8).with_parameters(zeros({8, 3}), zeros({3}));
            }),
            "Linear: bias must be (8,), got (3,)");
}

/// Gives every norm below the statistics and parameters of use.
void use_norms(Module& module) {
  for (const auto& entry : module.named_children()) {
    if (auto* norm = dynamic_cast<BatchNorm2d*>(entry.second.get())) {
      norm->load_state_dict(used_norm<BatchNorm2d>(norm->running_mean().size(), DType::f32).state_dict());
    }
    use_norms(*entry.second);
  }
}

std::int64_t norms_of(const Module& module) {
  std::int64_t count = 0;
  for (const auto& entry : module.named_children()) {
    count += dynamic_cast<const BatchNorm*>(entry.second.get()) != nullptr ? 1 : 0;
    count += norms_of(*entry.second);
  }
  return count;
}

TEST(FoldBatchNorms, ResNet9GivesTheSameLogits) {
  for (const ResNet9 variant : {ResNet9::narrow, ResNet9::full}) {
    Sequential model = resnet9({.variant = variant});
    use_norms(model);
    model.eval();
    const NoGrad off;
    const Tensor x = randn({2, 3, 32, 32});
    for (const DType dtype : {DType::f32, DType::f64}) {
      model.to(dtype);
      const Tensor expected = model(x.to(dtype));
      Sequential folded = fold_batch_norms(model);
      EXPECT_EQ(norms_of(folded), 0);
      EXPECT_EQ(norms_of(model), 8);
      EXPECT_FALSE(folded.is_training());
      EXPECT_LE(relative_difference(folded(x.to(dtype)), expected), dtype == DType::f32 ? 1e-5 : 1e-13);
      EXPECT_LE(relative_difference(model(x.to(dtype)), expected), 0);
    }
  }
}

TEST(FoldBatchNorms, KeepsNamesAndWhatHasNoNorm) {
  Sequential model(Conv2d(3, 4, 3, {}, {.bias = false}), BatchNorm2d(4), ReLU(),
                   Residual(Conv(4, 4, 3), BatchNorm2d(4)), BatchNorm2d(4), Conv2d(4, 5, 1), ReLU(), BatchNorm2d(5),
                   Flatten(), Linear(80, 3), BatchNorm1d(3));
  use_norms(model);
  model.eval();
  const Sequential folded = fold_batch_norms(model);
  EXPECT_EQ(names_of(folded.named_parameters()),
            (std::vector<std::string>{"0.weight", "0.bias", "3.body.0.weight", "3.body.0.bias", "4.weight", "4.bias",
                                      "5.weight", "5.bias", "7.weight", "7.bias", "9.weight", "9.bias", "10.weight",
                                      "10.bias"}));
  EXPECT_EQ(&folded[5], &model[5]);
  const Tensor x = randn({2, 3, 6, 6});
  Sequential copy = folded;
  EXPECT_LE(relative_difference(copy(x), model(x)), 1e-5);
}

TEST(FoldBatchNorms, LeavesTheModesOfTheModelAlone) {
  const Dropout dropout(0.5);
  Sequential model(Conv2d(3, 4, 3), BatchNorm2d(4), Sequential(dropout));
  model.eval();
  Dropout(dropout).train();
  EXPECT_EQ(message_of<ValueError>([&] { fold_batch_norms(model); }),
            "fold_batch_norms: the model's 2.0 is in training mode");
  EXPECT_TRUE(dropout.is_training());
  EXPECT_FALSE(model.is_training());
}

}  // namespace
}  // namespace weft::nn
