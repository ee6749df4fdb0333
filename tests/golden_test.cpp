// Ops against what PyTorch gave for them, forward and backward (scripts/make_op_golden.py has the same cases by name).
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "tests/trajectory.h"

namespace weft {
namespace {

using Inputs = std::vector<Tensor>;
using Function = std::function<Tensor(const Inputs&)>;

Tensor labels() { return Tensor::from<std::int64_t>({0, 2, 1, 4, 3, 2}, {6}); }
Tensor class_weights(const Tensor& like) { return Tensor::from<double>({0.5, 1, 2, 0.25, 1.5}, {5}).to(like.dtype()); }
// [-2, 2] to [0, 1].
Tensor share(const Tensor& x) { return (x + 2) * 0.25; }

Function padded(PadMode mode) {
  return [mode](const Inputs& t) {
    return conv2d(t[0], t[1], {}, {.stride = {2, 1}, .padding = {Sides{2, 1}, Sides{1, 2}}, .padding_mode = mode});
  };
}

Function interpolated(const InterpolateOptions& options) {
  return [options](const Inputs& t) { return interpolate(t[0], options); };
}

// The maxima and their indices in one tensor.
Tensor with_indices(const MaxPoolResult& result) { return result.output + result.indices.to(result.output.dtype()); }

Function averaged(AvgPool2dOptions options) {
  options.stride = {2, 3};
  options.padding = 1;
  options.ceil_mode = true;
  return [options](const Inputs& t) { return avg_pool2d(t[0], {3, 2}, options); };
}

const std::map<std::string, Function>& cases() {
  static const std::map<std::string, Function> all{
      {"conv1d",
       [](const Inputs& t) {
         return conv1d(t[0], t[1], t[2], {.stride = 2, .padding = 1, .dilation = 2, .groups = 2});
       }},
      {"conv1d_same", [](const Inputs& t) { return conv1d(t[0], t[1], {}, {.padding = PaddingRule::same}); }},
      {"conv1d_same_dilated",
       [](const Inputs& t) { return conv1d(t[0], t[1], {}, {.padding = PaddingRule::same, .dilation = 3}); }},
      {"conv2d",
       [](const Inputs& t) {
         return conv2d(t[0], t[1], t[2], {.stride = {2, 1}, .padding = {1, 2}, .dilation = {1, 2}});
       }},
      {"conv2d_depthwise", [](const Inputs& t) { return conv2d(t[0], t[1], {}, {.stride = 2, .groups = 3}); }},
      {"conv2d_reflect", padded(PadMode::reflect)},
      {"conv2d_replicate", padded(PadMode::replicate)},
      {"conv2d_circular", padded(PadMode::circular)},
      {"conv3d",
       [](const Inputs& t) {
         return conv3d(t[0], t[1], t[2], {.stride = {1, 2, 1}, .padding = {1, 0, 1}, .groups = 2});
       }},
      {"conv_transpose1d",
       [](const Inputs& t) {
         return conv_transpose1d(t[0], t[1], t[2], {.stride = 2, .padding = 1, .output_padding = 1, .dilation = 2});
       }},
      {"conv_transpose2d",
       [](const Inputs& t) {
         return conv_transpose2d(t[0], t[1], t[2],
                                 {.stride = {2, 3}, .padding = {1, 0}, .output_padding = {1, 2}, .groups = 2});
       }},
      {"conv_transpose3d",
       [](const Inputs& t) { return conv_transpose3d(t[0], t[1], {}, {.stride = 2, .padding = 1}); }},
      {"unfold",
       [](const Inputs& t) {
         return unfold(t[0], {2, 3}, {.stride = {2, 1}, .padding = {1, 1}, .dilation = {1, 2}});
       }},
      {"fold",
       [](const Inputs& t) {
         return fold(t[0], {5, 6}, {2, 3}, {.stride = {2, 2}, .padding = {1, 1}, .dilation = {1, 2}});
       }},
      {"leaky_relu", [](const Inputs& t) { return leaky_relu(t[0], 0.2); }},
      {"elu", [](const Inputs& t) { return elu(t[0], 1.3); }},
      {"celu", [](const Inputs& t) { return celu(t[0], 1.3); }},
      {"silu", [](const Inputs& t) { return silu(t[0]); }},
      {"softplus", [](const Inputs& t) { return softplus(t[0], 2, 3); }},
      {"hardtanh", [](const Inputs& t) { return hardtanh(t[0], -0.5, 0.7); }},
      {"relu6", [](const Inputs& t) { return relu6(t[0] * 6); }},
      {"hardsigmoid", [](const Inputs& t) { return hardsigmoid(t[0] * 4); }},
      {"hardswish", [](const Inputs& t) { return hardswish(t[0] * 4); }},
      {"gelu", [](const Inputs& t) { return gelu(t[0]); }},
      {"gelu_tanh", [](const Inputs& t) { return gelu(t[0], true); }},
      {"cross_entropy",
       [](const Inputs& t) {
         return cross_entropy(t[0], labels(), {.weight = class_weights(t[0]), .ignore_index = 2});
       }},
      {"cross_entropy_smooth",
       [](const Inputs& t) {
         return cross_entropy(t[0], labels(), {.label_smoothing = 0.1, .weight = class_weights(t[0])});
       }},
      {"cross_entropy_probabilities",
       [](const Inputs& t) { return cross_entropy(t[0], share(t[1]), {.weight = class_weights(t[0])}); }},
      {"nll_loss",
       [](const Inputs& t) {
         return nll_loss(t[0], labels(), {.reduction = Reduction::sum, .weight = class_weights(t[0])});
       }},
      {"smooth_l1_loss", [](const Inputs& t) { return nn::smooth_l1_loss(t[0], t[1], 0.3); }},
      {"huber_loss", [](const Inputs& t) { return nn::huber_loss(t[0], t[1], 0.3); }},
      {"bce_with_logits",
       [](const Inputs& t) {
         return nn::binary_cross_entropy_with_logits(
             t[0] * 3, share(t[1]), {.weight = class_weights(t[0]) * 0.5, .pos_weight = class_weights(t[0])});
       }},
      {"group_norm", [](const Inputs& t) { return group_norm(t[0], 3, t[1], t[2], 1e-3); }},
      {"layer_norm",
       [](const Inputs& t) {
         return layer_norm(t[0], {4, 5}, t[1], t[2], 1e-3);
       }},
      {"instance_norm", [](const Inputs& t) { return instance_norm(t[0], t[1], t[2], 1e-3); }},
      {"batch_norm", [](const Inputs& t) { return batch_norm(t[0], t[1], t[2], {}, {}, {.eps = 1e-3}); }},
      {"max_pool2d",
       [](const Inputs& t) {
         return max_pool2d(t[0], {3, 2}, {.stride = {2, 2}, .padding = {1, 1}});
       }},
      {"avg_pool2d",
       [](const Inputs& t) {
         return avg_pool2d(t[0], {3, 2}, {.stride = {2, 2}, .padding = {1, 1}});
       }},
      {"interpolate_nearest", interpolated({.scale_factor = {2.6}})},
      {"interpolate_nearest2d", interpolated({.size = {8, 3}})},
      {"interpolate_nearest3d", interpolated({.scale_factor = {2, 1.5, 0.7}})},
      {"interpolate_linear", interpolated({.scale_factor = {1.7}, .mode = InterpolateMode::linear})},
      {"interpolate_linear_down", interpolated({.size = {4}, .mode = InterpolateMode::linear})},
      {"interpolate_linear_kept", interpolated({.scale_factor = {1.3}, .mode = InterpolateMode::linear})},
      {"interpolate_bilinear", interpolated({.scale_factor = {2.3, 0.6}, .mode = InterpolateMode::linear})},
      {"interpolate_bilinear_corners",
       interpolated({.size = {9, 4}, .mode = InterpolateMode::linear, .align_corners = true})},
      {"interpolate_trilinear", interpolated({.size = {5, 3, 10}, .mode = InterpolateMode::linear})},
      {"interpolate_trilinear_corners",
       interpolated({.scale_factor = {1.9}, .mode = InterpolateMode::linear, .align_corners = true})},
      {"max_pool1d",
       [](const Inputs& t) {
         return with_indices(
             max_pool1d_with_indices(t[0], 3, {.stride = 2, .padding = 1, .dilation = 2, .ceil_mode = true}));
       }},
      {"max_pool2d_ceil",
       [](const Inputs& t) {
         return with_indices(max_pool2d_with_indices(
             t[0], {3, 2}, {.stride = {2, 3}, .padding = 1, .dilation = {1, 2}, .ceil_mode = true}));
       }},
      {"max_pool3d",
       [](const Inputs& t) {
         return with_indices(max_pool3d_with_indices(
             t[0], {2, 2, 3}, {.stride = {1, 2, 2}, .padding = {1, 0, 1}, .dilation = {2, 1, 1}}));
       }},
      {"max_unpool1d",
       [](const Inputs& t) {
         const MaxPoolResult pooled = max_pool1d_with_indices(t[0], 2);
         return max_unpool1d(pooled.output, pooled.indices, 2);
       }},
      {"max_unpool2d",
       [](const Inputs& t) {
         const MaxPoolResult pooled = max_pool2d_with_indices(t[0], {3, 2});
         return max_unpool2d(pooled.output, pooled.indices, {3, 2}, {}, {7, 6});
       }},
      {"max_unpool3d",
       [](const Inputs& t) {
         const MaxPoolResult pooled = max_pool3d_with_indices(t[0], 2);
         return max_unpool3d(pooled.output, pooled.indices, 2);
       }},
      {"avg_pool1d",
       [](const Inputs& t) {
         return avg_pool1d(t[0], 4, {.stride = 3, .padding = 2, .ceil_mode = true, .count_include_pad = false});
       }},
      {"avg_pool2d_ceil", averaged({.count_include_pad = true})},
      {"avg_pool2d_inside", averaged({.count_include_pad = false})},
      {"avg_pool2d_divisor", averaged({.count_include_pad = false, .divisor_override = 5})},
      {"avg_pool3d",
       [](const Inputs& t) {
         return avg_pool3d(t[0], {2, 3, 3}, {.stride = {2, 1, 2}, .padding = {1, 0, 1}, .ceil_mode = true});
       }},
      {"lp_pool1d", [](const Inputs& t) { return lp_pool1d(t[0] + 3, 3, 4, {.stride = 2, .ceil_mode = true}); }},
      {"lp_pool2d",
       [](const Inputs& t) {
         return lp_pool2d(t[0], 2, {3, 2}, {.stride = 2, .ceil_mode = true});
       }},
      {"lp_pool2d_sum", [](const Inputs& t) { return lp_pool2d(t[0], 1, 2); }},
      {"adaptive_avg_pool1d", [](const Inputs& t) { return adaptive_avg_pool1d(t[0], 3); }},
      {"adaptive_avg_pool2d",
       [](const Inputs& t) {
         return adaptive_avg_pool2d(t[0], {3, 6});
       }},
      {"adaptive_avg_pool3d",
       [](const Inputs& t) {
         return adaptive_avg_pool3d(t[0], {2, 2, 5});
       }},
      {"adaptive_max_pool1d", [](const Inputs& t) { return adaptive_max_pool1d(t[0], 3); }},
      {"adaptive_max_pool2d",
       [](const Inputs& t) {
         return adaptive_max_pool2d(t[0], {3, 6});
       }},
      {"adaptive_max_pool3d",
       [](const Inputs& t) {
         return adaptive_max_pool3d(t[0], {2, 2, 5});
       }},
  };
  return all;
}

class Golden : public testing::TestWithParam<std::string> {
 protected:
  static const TensorFile& file() {
    static const TensorFile& golden = *new TensorFile(load_safetensors(WEFT_GOLDEN_DIR "/ops.safetensors"));
    return golden;
  }
};

// The norm of the difference by the norm of `golden`.
double difference(const Tensor& found, const Array& golden) {
  EXPECT_EQ(found.shape(), golden.shape());
  const auto x = found.to(DType::f64).to_vector<double>(), y = golden.to_vector<double>();
  double square = 0, norm = 0;
  for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    square += (x[i] - y[i]) * (x[i] - y[i]);
    norm += y[i] * y[i];
  }
  return norm > 0 ? std::sqrt(square / norm) : std::sqrt(square);
}

TEST_P(Golden, ForwardAndGradientsArePyTorchs) {
  const auto& arrays = file().arrays;
  for (const DType dtype : {DType::f64, DType::f32}) {
    // PyTorch's gradients of these two have constants rounded to float.
    const bool rounded = GetParam() == "celu" || GetParam() == "hardsigmoid";
    const double tolerance = dtype == DType::f32 ? 1e-5 : rounded ? 1e-7 : 1e-10;
    Inputs inputs;
    for (auto found = arrays.find(GetParam() + ".grad.0"); found != arrays.end();
         found = arrays.find(GetParam() + ".grad." + std::to_string(inputs.size()))) {
      const std::string name = GetParam() + "." + std::to_string(inputs.size());
      inputs.push_back(trajectory::generated(name, found->second.shape(), 0, 2, dtype));
      inputs.back().set_requires_grad(true);
    }
    const Tensor y = cases().at(GetParam())(inputs);
    EXPECT_LE(difference(y, arrays.at(GetParam() + ".y")), tolerance) << name(dtype);
    const Tensor g = trajectory::generated(GetParam() + ".g", y.shape(), 0, 1, dtype);
    const std::vector<Tensor> gradients = grad({y}, inputs, {g});
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      EXPECT_LE(difference(gradients[i], arrays.at(GetParam() + ".grad." + std::to_string(i))), tolerance)
          << name(dtype) << ", gradient of input " << i;
    }
  }
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& entry : cases()) all.push_back(entry.first);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Ops, Golden, testing::ValuesIn(names()), [](const auto& test) { return test.param; });

TEST(GoldenFile, EveryCaseOfTheScriptIsTested) {
  std::size_t results = 0;
  for (const auto& entry : load_safetensors(WEFT_GOLDEN_DIR "/ops.safetensors").arrays) {
    results += entry.first.ends_with(".y") ? 1 : 0;
  }
  EXPECT_EQ(results, cases().size());
}

}  // namespace
}  // namespace weft
