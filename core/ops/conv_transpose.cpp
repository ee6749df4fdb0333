#include "core/device/conv_algo.h"
#include "core/ops/conv.h"

namespace weft {

namespace {

constexpr std::string_view kNames[] = {"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"};

// The convolution whose input gradient this is: x is its output's gradient, its input the result.
template <int N>
Convolution transposed_sizes(const Shape& x, const Shape& weight, const ConvTransposeOptions<N>& options) {
  constexpr std::string_view kOp = kNames[N - 1];
  const std::string prefix = std::string(kOp) + ": ";
  check_ranks(kOp, N, x, weight, "C, K/groups");
  const PerAxis<N> kernel = kernel_of<N>(weight);
  check_options(kOp, kernel, options);
  Convolution c = without_sizes(kernel, options);
  ConvShape& s = c.shape;
  if (x[1] % s.groups != 0) {
    throw ShapeError(prefix + "groups " + std::to_string(s.groups) + " does not divide the " + std::to_string(x[1]) +
                     " input channels");
  }
  if (x[1] != weight[0]) {
    throw ShapeError(prefix + "input has " + std::to_string(x[1]) + " channels but weight " + to_string(weight) +
                     " expects " + std::to_string(weight[0]));
  }
  s.n = x[0];
  s.k = x[1];
  if (__builtin_mul_overflow(weight[1], s.groups, &s.c)) {
    throw ShapeError(prefix + "groups " + std::to_string(s.groups) + " overflows with weight " + to_string(weight));
  }
  const Triple output_padding = align(options.output_padding, 0);
  for (int axis = 2; axis < x.rank(); ++axis) {
    const auto d = static_cast<std::size_t>(axis + 1 - N);
    if (x[axis] == 0) throw ShapeError(prefix + "input " + to_string(x) + " is empty on axis " + std::to_string(axis));
    s.out[d] = x[axis];
    std::int64_t size = 0, cut = 0;
    if (__builtin_mul_overflow(x[axis] - 1, s.stride[d], &size) ||
        __builtin_add_overflow(size, kernel_reach(kOp, c, weight, d), &size) ||
        __builtin_add_overflow(size, output_padding[d], &size) || __builtin_add_overflow(size, 1, &size) ||
        __builtin_add_overflow(s.padding[d], c.padding_after[d], &cut)) {
      throw ShapeError(prefix + "stride " + numbers(options.stride) + " or padding " + padding_numbers(c) +
                       " overflows with input " + to_string(x));
    }
    if (size <= cut) {
      throw ShapeError(prefix + "padding " + padding_numbers(c) + " leaves a result of " + std::to_string(size - cut) +
                       " on axis " + std::to_string(axis));
    }
    s.in[d] = size - cut;
  }
  check_result(kOp, c.x());
  check_padded(kOp, c);
  return c;
}

}  // namespace

template <int N>
Tensor conv_transpose(const Tensor& input, const Tensor& filter, const Tensor& offset,
                      const ConvTransposeOptions<N>& options) {
  constexpr std::string_view kOp = kNames[N - 1];
  if (input.rank() == N + 1) return squeeze(conv_transpose<N>(unsqueeze(input, 0), filter, offset, options), {0});
  common_device(kOp, {input, filter});
  const Tensor x = autocast(input), weight = conv_parameter(kOp, x, filter), bias = autocast(offset);
  const Convolution c = transposed_sizes(x.shape(), weight.shape(), options);
  if (bias.defined()) {
    check_operands(kOp, x, bias);
    check_bias(kOp, bias, c.shape.c);
  }
  check_algo(kOp, N, c.shape, x.dtype());
  const Tensor y = conv_input_grad(c, x, weight);
  if (!bias.defined()) return y;
  Shape channels = Dims::filled(N + 1, 1);
  channels[0] = c.shape.c;
  return y + reshape(bias, channels);
}

template Tensor conv_transpose(const Tensor&, const Tensor&, const Tensor&, const ConvTransposeOptions<1>&);
template Tensor conv_transpose(const Tensor&, const Tensor&, const Tensor&, const ConvTransposeOptions<2>&);
template Tensor conv_transpose(const Tensor&, const Tensor&, const Tensor&, const ConvTransposeOptions<3>&);

}  // namespace weft
