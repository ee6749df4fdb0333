#include "weft/nn/layers_conv.h"

#include "layers/check.h"
#include "layers/initial.h"
#include "weft/rollback.h"

namespace weft::nn {
namespace {

constexpr const char* kConvNames[] = {"Conv1d", "Conv2d", "Conv3d"};
constexpr const char* kConvTransposeNames[] = {"ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"};

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

/// The Conv2d of a Conv, whose name the errors have.
Conv2d padded_conv2d(std::int64_t in_channels, std::int64_t out_channels, const PerAxis<2>& kernel,
                     const Conv2dOptions& options, const LayerOptions& layer) {
  check_options("Conv", kernel, options);
  check_channels("Conv", in_channels, out_channels, options.groups);
  const std::string sizes = std::to_string(kernel[0]) + "x" + std::to_string(kernel[1]);
  if (kernel[0] % 2 == 0 || kernel[1] % 2 == 0)
    throw ValueError("Conv: the kernel must be odd to be padded by (k - 1)/2, got " + sizes);
  Conv2dOptions padded = options;
  for (std::size_t i = 0; i < 2; ++i) {
    if (options.padding.same || options.padding.before[i] != 0 || options.padding.after[i] != 0)
      throw ValueError("Conv: the padding follows from the kernel, and no option may give it");
    std::int64_t amount = 0;
    if (__builtin_mul_overflow(options.dilation[i], (kernel[i] - 1) / 2, &amount)) {
      throw ValueError("Conv: dilation " + std::to_string(options.dilation[i]) + " overflows with the kernel " + sizes);
    }
    padded.padding.before[i] = padded.padding.after[i] = amount;
  }
  return {in_channels, out_channels, kernel, padded, layer};
}

}  // namespace

template <int N>
ConvNd<N>::ConvNd(std::int64_t in_channels, std::int64_t out_channels, PerAxis<N> kernel, const ConvOptions<N>& options,
                  const LayerOptions& layer)
    : options_(options) {
  check_options(kConvNames[N - 1], kernel, options);
  check_channels(kConvNames[N - 1], in_channels, out_channels, options.groups);
  const Shape shape = weight_shape(out_channels, in_channels / options.groups, kernel);
  const Rollback as_before;
  weight_ = register_parameter("weight", initial_kernel(shape, layer.init));
  bias_ = register_parameter("bias", layer.bias ? initial_bias(out_channels, shape) : Tensor());
}

template <int N>
Tensor ConvNd<N>::forward(const Tensor& x) const {
  return conv<N>(x, weight_, bias_, options_);
}

template <int N>
ConvNd<N>::ConvNd(const ConvOptions<N>& options, const Tensor& weight, const Tensor& bias)
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
                                    const ConvTransposeOptions<N>& options, const LayerOptions& layer)
    : options_(options) {
  check_options(kConvTransposeNames[N - 1], kernel, options);
  check_channels(kConvTransposeNames[N - 1], in_channels, out_channels, options.groups);
  const Shape shape = weight_shape(in_channels, out_channels / options.groups, kernel);
  const Rollback as_before;
  weight_ = register_parameter("weight", initial_kernel(shape, layer.init));
  bias_ = register_parameter("bias", layer.bias ? initial_bias(out_channels, shape) : Tensor());
}

template <int N>
Tensor ConvTransposeNd<N>::forward(const Tensor& x) const {
  return conv_transpose<N>(x, weight_, bias_, options_);
}

template <int N>
ConvTransposeNd<N>::ConvTransposeNd(const ConvTransposeOptions<N>& options, const Tensor& weight, const Tensor& bias)
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

Conv::Conv(std::int64_t in_channels, std::int64_t out_channels, PerAxis<2> kernel, const Conv2dOptions& options,
           const LayerOptions& layer)
    : Conv(padded_conv2d(in_channels, out_channels, kernel, options, layer)) {}

Conv::Conv(const Conv2d& conv) : conv_(conv) {
  register_parameter("weight", conv_.weight());
  register_parameter("bias", conv_.bias());
}

Conv Conv::with_parameters(const Tensor& weight, const Tensor& bias) const {
  check_parameters("Conv", conv_.weight(), conv_.weight().size(0), weight, bias);
  return Conv(conv_.with_parameters(weight, bias));
}

}  // namespace weft::nn
