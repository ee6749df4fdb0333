#include "core/device/conv_algo.h"
#include "core/ops/conv.h"

namespace weft {

namespace {

// The convolution whose input gradient this is: x is its output's gradient, its input the result.
Convolution transposed_sizes(ConvArguments a, const Shape& x, const Shape& weight) {
  const std::string prefix = std::string(a.op) + ": ";
  check_ranks(a, x, weight, "C, K/groups");
  if (a.same) throw ValueError(prefix + "padding \"same\" has no transposed form");
  check_arguments(a, weight);
  if (x[1] % a.groups != 0) {
    throw ShapeError(prefix + "groups " + std::to_string(a.groups) + " does not divide the " + std::to_string(x[1]) +
                     " input channels");
  }
  if (x[1] != weight[0]) {
    throw ShapeError(prefix + "input has " + std::to_string(x[1]) + " channels but weight " + to_string(weight) +
                     " expects " + std::to_string(weight[0]));
  }
  Convolution c;
  c.axes = a.axes;
  ConvShape& s = c.shape;
  s.n = x[0];
  s.k = x[1];
  s.groups = a.groups;
  s.stride = a.stride;
  s.padding = a.before;
  s.dilation = a.dilation;
  s.algo = a.algo;
  if (__builtin_mul_overflow(weight[1], a.groups, &s.c)) {
    throw ShapeError(prefix + "groups " + std::to_string(a.groups) + " overflows with weight " + to_string(weight));
  }
  for (int axis = 2; axis < x.rank(); ++axis) {
    const auto d = static_cast<std::size_t>(axis + 1 - a.axes);
    if (a.output_padding[d] >= a.stride[d] && a.output_padding[d] >= a.dilation[d]) {
      throw ValueError(prefix + "output_padding " + numbers(a.axes, a.output_padding) + " must be below stride " +
                       numbers(a.axes, a.stride) + " or dilation " + numbers(a.axes, a.dilation));
    }
    if (x[axis] == 0) throw ShapeError(prefix + "input " + to_string(x) + " is empty on axis " + std::to_string(axis));
    s.out[d] = x[axis];
    s.filter[d] = weight[axis];
    std::int64_t size = 0, cut = 0;
    if (__builtin_mul_overflow(x[axis] - 1, a.stride[d], &size) ||
        __builtin_add_overflow(size, kernel_reach(a, weight, d), &size) ||
        __builtin_add_overflow(size, a.output_padding[d], &size) || __builtin_add_overflow(size, 1, &size) ||
        __builtin_add_overflow(a.before[d], a.after[d], &cut)) {
      throw ShapeError(prefix + "stride " + numbers(a.axes, a.stride) + " or padding " + padding_numbers(a) +
                       " overflows with input " + to_string(x));
    }
    if (size <= cut) {
      throw ShapeError(prefix + "padding " + padding_numbers(a) + " leaves a result of " + std::to_string(size - cut) +
                       " on axis " + std::to_string(axis));
    }
    s.in[d] = size - cut;
  }
  check_result(a, c.x());
  check_padded(a, s);
  return c;
}

template <int N>
Tensor conv_transpose(std::string_view op, const Tensor& input, const Tensor& filter, const Tensor& offset,
                      const ConvTransposeOptions<N>& options) {
  if (input.rank() == N + 1) return squeeze(conv_transpose(op, unsqueeze(input, 0), filter, offset, options), {0});
  common_device(op, {input, filter});
  const Tensor x = autocast(input), weight = conv_parameter(op, x, filter), bias = autocast(offset);
  const Convolution c = transposed_sizes(conv_arguments(op, options), x.shape(), weight.shape());
  if (bias.defined()) {
    check_operands(op, x, bias);
    check_bias(op, bias, c.shape.c);
  }
  check_algo(op, N, c.shape, x.dtype());
  const Tensor y = conv_input_grad(c, x, weight);
  if (!bias.defined()) return y;
  Shape channels = Dims::filled(N + 1, 1);
  channels[0] = c.shape.c;
  return y + reshape(bias, channels);
}

}  // namespace

Tensor conv_transpose1d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const ConvTranspose1dOptions& options) {
  return conv_transpose("conv_transpose1d", x, weight, bias, options);
}

Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const ConvTranspose2dOptions& options) {
  return conv_transpose("conv_transpose2d", x, weight, bias, options);
}

Tensor conv_transpose3d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const ConvTranspose3dOptions& options) {
  return conv_transpose("conv_transpose3d", x, weight, bias, options);
}

}  // namespace weft
