#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/device/spatial.h"
#include "core/ops/op_support.h"

/// What the convolutions share: one to three spatial axes as the last of the three of ConvShape.
namespace weft {

/// The options of an op, which is named by a literal.
struct ConvArguments {
  std::string_view op;
  int axes = 0;
  Triple stride{1, 1, 1}, before{}, after{}, dilation{1, 1, 1}, output_padding{};
  bool same = false;
  std::int64_t groups = 1;
  PadMode padding_mode = PadMode::constant;
  ConvAlgo algo = ConvAlgo::automatic;
};

template <int N>
Triple align(const PerAxis<N>& values, std::int64_t absent) {
  Triple result{absent, absent, absent};
  for (std::size_t i = 0; i < N; ++i) result[3 - N + i] = values[i];
  return result;
}

template <template <int> class Options, int N>
ConvArguments conv_arguments(std::string_view op, const Options<N>& o) {
  ConvArguments a;
  a.op = op;
  a.axes = N;
  a.stride = align(o.stride, 1);
  a.before = align(o.padding.before, 0);
  a.after = align(o.padding.after, 0);
  a.dilation = align(o.dilation, 1);
  a.same = o.padding.same;
  a.groups = o.groups;
  a.algo = o.algo;
  if constexpr (requires { o.padding_mode; }) a.padding_mode = o.padding_mode;
  if constexpr (requires { o.output_padding; }) a.output_padding = align(o.output_padding, 0);
  return a;
}

/// A convolution whose sizes have been checked.
struct Convolution {
  ConvShape shape;
  int axes = 0;

  Shape x() const { return join({shape.n, shape.c}, axes, shape.in); }
  Shape weight() const { return join({shape.k, shape.c / shape.groups}, axes, shape.filter); }
  Shape y() const { return join({shape.n, shape.k}, axes, shape.out); }
};

/// All sizes, from the shapes of the input and the weight: what fits neither rank, groups nor 63 bits is refused here,
/// so that nothing after it checks. Resolves PaddingRule::same.
Convolution conv_sizes(ConvArguments& a, const Shape& x, const Shape& weight);
/// The padding, as one list or as {before, after}.
std::string padding_numbers(const ConvArguments& a);
/// "conv2d: stride (0, 1) must be positive". Resolves PaddingRule::same for the kernel.
void check_arguments(ConvArguments& a, const Shape& weight);
/// Ranks, and that the groups divide the first and second sizes that are named.
void check_ranks(const ConvArguments& a, const Shape& x, const Shape& weight, std::string_view weight_axes);
/// Throws ShapeError where the number of elements overflows.
void check_result(const ConvArguments& a, const Shape& shape);
/// Throws ShapeError where a padded image is so large that the numbers which kernels form might overflow: positions,
/// their strides and their distances in bytes. Nothing is computed with an empty image, which may have any size.
void check_padded(const ConvArguments& a, const ConvShape& shape);
/// The same convolution without what finds no other element: a stride after the only output, the dilation of one tap.
/// No stride or dilation is longer than a padded axis, or than 2.
ConvShape within_padding(const ConvShape& shape);
/// dilation·(kernel - 1) of a spatial axis d of three. Throws ShapeError where it overflows.
std::int64_t kernel_reach(const ConvArguments& a, const Shape& weight, std::size_t d);
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
