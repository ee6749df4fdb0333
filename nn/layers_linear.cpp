#include <cmath>
#include <optional>

#include "nn/check.h"
#include "weft/nn/layers.h"

namespace weft::nn {
namespace {

/// U(±√(6/fan_in)) is He's for ReLU; PyTorch's U(±1/√fan_in) is the same with gain 1/√3.
Tensor initial_weight(const Shape& shape, Init init) {
  const auto [fan_in, fan_out] = init::calculate_fans(shape);
  std::optional<double> gain;
  if (init == Init::pytorch) gain = 1 / std::sqrt(3.0);
  return init::kaiming_uniform(fan_in, fan_out, {.shape = shape, .gain = gain});
}

Tensor initial_bias(const Shape& weight) {
  const double bound = 1 / std::sqrt(static_cast<double>(init::calculate_fans(weight).in));
  return init::uniform({weight[0]}, -bound, bound);
}

struct ConvParameters {
  Tensor weight, bias;
};

ConvParameters initial_conv(const char* owner, std::int64_t in_channels, std::int64_t out_channels, Pair kernel,
                            std::int64_t groups, bool bias, Init init) {
  require_at_least(1, owner, "in_channels", in_channels);
  require_at_least(1, owner, "out_channels", out_channels);
  require_at_least(1, owner, "kernel height", kernel.height);
  require_at_least(1, owner, "kernel width", kernel.width);
  require_at_least(1, owner, "groups", groups);
  if (in_channels % groups != 0 || out_channels % groups != 0) {
    throw ValueError(std::string(owner) + ": " + std::to_string(groups) + " groups do not divide " +
                     std::to_string(in_channels) + " input and " + std::to_string(out_channels) + " output channels");
  }
  const Shape shape{out_channels, in_channels / groups, kernel.height, kernel.width};
  const Tensor values = initial_weight(shape, init);
  Array weight = Array::empty_like(Layout::channels_last(shape), values.dtype(), values.device());
  weight.copy_from(values.array());
  return {Tensor(weight), bias ? initial_bias(shape) : Tensor()};
}

void check_strides(const char* owner, Pair stride) {
  require_at_least(1, owner, "stride height", stride.height);
  require_at_least(1, owner, "stride width", stride.width);
}

}  // namespace

Linear::Linear(std::int64_t in_features, std::int64_t out_features, const LinearOptions& options) {
  require_at_least(1, "Linear", "in_features", in_features);
  require_at_least(1, "Linear", "out_features", out_features);
  const Shape shape{out_features, in_features};
  weight_ = register_parameter("weight", initial_weight(shape, options.init));
  if (options.bias) bias_ = register_parameter("bias", initial_bias(shape));
}

Tensor Linear::forward(const Tensor& x) { return linear(x, weight_, bias_); }

Conv2d::Conv2d(std::int64_t in_channels, std::int64_t out_channels, Pair kernel, const ConvOptions& options)
    : options_{options.stride, options.padding, options.dilation, options.groups} {
  check_strides("Conv2d", options.stride);
  require_at_least(0, "Conv2d", "padding height", options.padding.height);
  require_at_least(0, "Conv2d", "padding width", options.padding.width);
  require_at_least(1, "Conv2d", "dilation height", options.dilation.height);
  require_at_least(1, "Conv2d", "dilation width", options.dilation.width);
  const ConvParameters start =
      initial_conv("Conv2d", in_channels, out_channels, kernel, options.groups, options.bias, options.init);
  weight_ = register_parameter("weight", start.weight);
  bias_ = register_parameter("bias", start.bias);
}

Tensor Conv2d::forward(const Tensor& x) { return conv2d(x, weight_, bias_, options_); }

Conv::Conv(std::int64_t in_channels, std::int64_t out_channels, Pair kernel, const SameConvOptions& options)
    : options_{options.stride, Pair((kernel.height - 1) / 2, (kernel.width - 1) / 2)} {
  if (kernel.height % 2 == 0 || kernel.width % 2 == 0) {
    throw ValueError("Conv: the kernel must be odd to be padded by (k - 1)/2, got " + std::to_string(kernel.height) +
                     "x" + std::to_string(kernel.width));
  }
  check_strides("Conv", options.stride);
  const ConvParameters start = initial_conv("Conv", in_channels, out_channels, kernel, 1, options.bias, options.init);
  weight_ = register_parameter("weight", start.weight);
  bias_ = register_parameter("bias", start.bias);
}

Tensor Conv::forward(const Tensor& x) { return conv2d(x, weight_, bias_, options_); }

}  // namespace weft::nn
