#include "weft/nn/layers_conv.h"

#include "core/autograd/rollback.h"
#include "nn/layers/check.h"
#include "nn/layers/initial.h"

namespace weft::nn {
namespace {

constexpr const char* kConvNames[] = {"Conv1d", "Conv2d", "Conv3d"};
constexpr const char* kConvTransposeNames[] = {"ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"};

template <class Values>
void require_each(std::int64_t least, const char* owner, const char* what, const Values& values) {
  for (const std::int64_t value : values) require_at_least(least, owner, what, value);
}

void check_channels(const char* owner, std::int64_t in_channels, std::int64_t out_channels, std::int64_t groups) {
  require_at_least(1, owner, "in_channels", in_channels);
  require_at_least(1, owner, "out_channels", out_channels);
  require_at_least(1, owner, "groups", groups);
  if (in_channels % groups != 0 || out_channels % groups != 0) {
    throw ValueError(std::string(owner) + ": " + std::to_string(groups) + " groups do not divide " +
                     std::to_string(in_channels) + " input and " + std::to_string(out_channels) + " output channels");
  }
}

/// The checks that both directions share.
template <class Options, class Kernel>
void check_options(const char* owner, const Kernel& kernel, const Options& options) {
  require_each(1, owner, "kernel", kernel);
  require_each(1, owner, "stride", options.stride);
  require_each(0, owner, "padding", options.padding.before);
  require_each(0, owner, "padding", options.padding.after);
  require_each(1, owner, "dilation", options.dilation);
}

template <class Kernel>
Shape weight_shape(std::int64_t first, std::int64_t second, const Kernel& kernel) {
  Shape shape{first, second};
  for (const std::int64_t size : kernel) shape.push_back(size);
  return shape;
}

Tensor initial_kernel(const Shape& shape, Init init) {
  const Tensor values = initial_weight(shape, init);
  Array weight = Array::empty_like(Layout::channels_last(shape), values.dtype(), values.device());
  weight.copy_from(values.array());
  return Tensor(weight);
}

/// A tensor of the array of `x`, for another layer to register.
Tensor leaf(const Tensor& x) { return x.defined() ? x.detach() : Tensor(); }

}  // namespace

template <int N>
ConvNd<N>::ConvNd(std::int64_t in_channels, std::int64_t out_channels, PerAxis<N> kernel,
                  const ConvLayerOptions<N>& options)
    : options_{options.stride, options.padding, options.dilation, options.groups, options.padding_mode, options.algo} {
  const char* owner = kConvNames[N - 1];
  check_options(owner, kernel, options);
  for (const std::int64_t stride : options.stride) {
    if (options.padding.same && stride != 1) {
      throw ValueError(std::string(owner) + ": padding \"same\" needs stride 1, got " + std::to_string(stride));
    }
  }
  check_channels(owner, in_channels, out_channels, options.groups);
  const Shape shape = weight_shape(out_channels, in_channels / options.groups, kernel);
  const Rollback as_before;
  weight_ = register_parameter("weight", initial_kernel(shape, options.init));
  bias_ = register_parameter("bias", options.bias ? initial_bias(out_channels, shape) : Tensor());
}

template <int N>
Tensor ConvNd<N>::forward(const Tensor& x) {
  if constexpr (N == 1) return conv1d(x, weight_, bias_, options_);
  if constexpr (N == 2) return conv2d(x, weight_, bias_, options_);
  if constexpr (N == 3) return conv3d(x, weight_, bias_, options_);
}

template <int N>
ConvNd<N>::ConvNd(const weft::ConvOptions<N>& options, const Tensor& weight, const Tensor& bias)
    : options_(options),
      weight_(register_parameter("weight", leaf(weight))),
      bias_(register_parameter("bias", leaf(bias))) {}

template <int N>
ConvNd<N> ConvNd<N>::with_parameters(const Tensor& weight, const Tensor& bias) const {
  check_parameters(kConvNames[N - 1], weight_, weight_.size(0), weight, bias);
  return ConvNd<N>(options_, weight, bias);
}

template class ConvNd<1>;
template class ConvNd<2>;
template class ConvNd<3>;

template <int N>
ConvTransposeNd<N>::ConvTransposeNd(std::int64_t in_channels, std::int64_t out_channels, PerAxis<N> kernel,
                                    const ConvTransposeLayerOptions<N>& options)
    : options_{options.stride, options.padding,  options.output_padding,
               options.groups, options.dilation, options.algo} {
  const char* owner = kConvTransposeNames[N - 1];
  check_options(owner, kernel, options);
  require_each(0, owner, "output_padding", options.output_padding);
  for (std::size_t i = 0; i < N; ++i) {
    const std::int64_t amount = options.output_padding[i];
    if (amount < options.stride[i] || amount < options.dilation[i]) continue;
    throw ValueError(std::string(owner) + ": output_padding must be below the stride of " +
                     std::to_string(options.stride[i]) + " or the dilation of " + std::to_string(options.dilation[i]) +
                     ", got " + std::to_string(amount));
  }
  if (options.padding.same) throw ValueError(std::string(owner) + ": padding \"same\" has no transposed form");
  check_channels(owner, in_channels, out_channels, options.groups);
  const Shape shape = weight_shape(in_channels, out_channels / options.groups, kernel);
  const Rollback as_before;
  weight_ = register_parameter("weight", initial_kernel(shape, options.init));
  bias_ = register_parameter("bias", options.bias ? initial_bias(out_channels, shape) : Tensor());
}

template <int N>
Tensor ConvTransposeNd<N>::forward(const Tensor& x) {
  if constexpr (N == 1) return conv_transpose1d(x, weight_, bias_, options_);
  if constexpr (N == 2) return conv_transpose2d(x, weight_, bias_, options_);
  if constexpr (N == 3) return conv_transpose3d(x, weight_, bias_, options_);
}

template <int N>
ConvTransposeNd<N>::ConvTransposeNd(const weft::ConvTransposeOptions<N>& options, const Tensor& weight,
                                    const Tensor& bias)
    : options_(options),
      weight_(register_parameter("weight", leaf(weight))),
      bias_(register_parameter("bias", leaf(bias))) {}

template <int N>
ConvTransposeNd<N> ConvTransposeNd<N>::with_parameters(const Tensor& weight, const Tensor& bias) const {
  check_parameters(kConvTransposeNames[N - 1], weight_, weight_.size(1) * options_.groups, weight, bias);
  return ConvTransposeNd<N>(options_, weight, bias);
}

template class ConvTransposeNd<1>;
template class ConvTransposeNd<2>;
template class ConvTransposeNd<3>;

Conv::Conv(std::int64_t in_channels, std::int64_t out_channels, Pair kernel, const SameConvOptions& options)
    : options_{.stride = options.stride,
               .padding = {(kernel.height - 1) / 2, (kernel.width - 1) / 2},
               .algo = options.algo} {
  if (kernel.height % 2 == 0 || kernel.width % 2 == 0) {
    throw ValueError("Conv: the kernel must be odd to be padded by (k - 1)/2, got " + std::to_string(kernel.height) +
                     "x" + std::to_string(kernel.width));
  }
  const PerAxis<2> sizes = kernel;
  check_options("Conv", sizes, options_);
  check_channels("Conv", in_channels, out_channels, 1);
  const Shape shape = weight_shape(out_channels, in_channels, sizes);
  const Rollback as_before;
  weight_ = register_parameter("weight", initial_kernel(shape, options.init));
  bias_ = register_parameter("bias", options.bias ? initial_bias(out_channels, shape) : Tensor());
}

Conv::Conv(const weft::Conv2dOptions& options, const Tensor& weight, const Tensor& bias)
    : options_(options),
      weight_(register_parameter("weight", leaf(weight))),
      bias_(register_parameter("bias", leaf(bias))) {}

Conv Conv::with_parameters(const Tensor& weight, const Tensor& bias) const {
  check_parameters("Conv", weight_, weight_.size(0), weight, bias);
  return Conv(options_, weight, bias);
}

Tensor Conv::forward(const Tensor& x) { return conv2d(x, weight_, bias_, options_); }

}  // namespace weft::nn
