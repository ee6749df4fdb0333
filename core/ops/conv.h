#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/device/spatial.h"
#include "core/ops/op_support.h"
#include "weft/conv.h"

/// What the convolutions share: one to three spatial axes as the last of the three of ConvShape.
namespace weft {

/// The numbers of N axes as the last of three.
template <int N>
Triple align(const PerAxis<N>& values, std::int64_t absent) {
  Triple result{absent, absent, absent};
  for (std::size_t i = 0; i < N; ++i) result[3 - N + i] = values[i];
  return result;
}

/// "(2, 1)"
template <int N>
std::string numbers(const PerAxis<N>& values) {
  return numbers(N, align(values, 0));
}

/// A convolution whose sizes have been checked.
struct Convolution {
  ConvShape shape;  ///< its padding is what comes before the first element
  int axes = 0;
  Triple padding_after{};

  Shape x() const { return join({shape.n, shape.c}, axes, shape.in); }
  Shape weight() const { return join({shape.k, shape.c / shape.groups}, axes, shape.filter); }
  Shape y() const { return join({shape.n, shape.k}, axes, shape.out); }
};

/// The options and the filter's sizes of a convolution. The other sizes are to come, and the padding of
/// PaddingRule::same.
template <template <int> class Options, int N>
Convolution without_sizes(const PerAxis<N>& kernel, const Options<N>& o) {
  Convolution c;
  c.axes = N;
  c.shape.filter = align(kernel, 1);
  c.shape.stride = align(o.stride, 1);
  c.shape.padding = align(o.padding.before, 0);
  c.padding_after = align(o.padding.after, 0);
  c.shape.dilation = align(o.dilation, 1);
  c.shape.groups = o.groups;
  c.shape.algo = o.algo;
  return c;
}

/// The spatial axes of a weight that has been checked by check_ranks.
template <int N>
PerAxis<N> kernel_of(const Shape& weight) {
  PerAxis<N> kernel = 1;
  for (int i = 0; i < N; ++i) kernel[static_cast<std::size_t>(i)] = weight[i + 2];
  return kernel;
}

/// All sizes, from the shapes of the input and the weight. It refuses what fits neither rank, options, groups nor 63
/// bits, so that nothing after it checks.
template <int N>
Convolution conv_sizes(std::string_view op, const Shape& x, const Shape& weight, const ConvOptions<N>& options);
/// The padding, as one list or as {before, after}.
std::string padding_numbers(const Convolution& c);
/// Checks the ranks, and that no size is negative and no kernel empty.
void check_ranks(std::string_view op, int axes, const Shape& x, const Shape& weight, std::string_view weight_axes);
/// Throws ShapeError where the number of elements overflows.
void check_result(std::string_view op, const Shape& shape);
/// Throws ShapeError where a padded image is so large that the numbers which kernels form might overflow: positions,
/// their strides and their distances in bytes. Nothing is computed with an empty image, which may have any size.
void check_padded(std::string_view op, const Convolution& c);
/// The same convolution without what finds no other element: a stride after the only output, the dilation of one tap.
/// No stride or dilation is longer than a padded axis, or than 2.
ConvShape within_padding(const ConvShape& shape);
/// dilation·(kernel - 1) of a spatial axis d of three. Throws ShapeError where it overflows.
std::int64_t kernel_reach(std::string_view op, const Convolution& c, const Shape& weight, std::size_t d);
/// Throws ShapeError where the gradient does not have the output's shape.
void check_output_grad(std::string_view op, const Tensor& output_grad, const Convolution& c);
/// One device, one dtype, floating.
void check_operands(std::string_view op, const Tensor& a, const Tensor& b);
/// A weight or bias as the passes take it beside x: of its device and parameter_dtype. It has x's dtype, or is f32
/// where x is bf16 by Precision::bf16.
Tensor conv_parameter(std::string_view op, const Tensor& x, const Tensor& parameter);
/// The bias is a vector of `channels`.
void check_bias(std::string_view op, const Tensor& bias, std::int64_t channels);

/// The three passes, closed under differentiation: each is bilinear, and its two gradients are the other two. Operands
/// have the convolution's shapes, one device and one dtype, but the weight, its gradient and the bias are f32 beside
/// bf16. Without axes the sizes in, filter and out are 1 and it is a linear layer: x (n, c), weight (k, c).
Tensor conv_forward(const Convolution& c, const Tensor& x, const Tensor& weight, const Tensor& bias);
Tensor conv_input_grad(const Convolution& c, const Tensor& output_grad, const Tensor& weight);
Tensor conv_weight_grad(const Convolution& c, const Tensor& output_grad, const Tensor& x);

}  // namespace weft
