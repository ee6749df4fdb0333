#include "core/op_support.h"

namespace weft {

namespace {

using Values = std::vector<Tensor>;

std::string numbers(const std::array<std::int64_t, 2>& pair) {
  return "(" + std::to_string(pair[0]) + ", " + std::to_string(pair[1]) + ")";
}

void check_options(std::string_view op, const Conv2dOptions& o) {
  for (std::size_t i = 0; i < 2; ++i) {
    if (o.stride[i] < 1) throw ValueError(std::string(op) + ": stride " + numbers(o.stride) + " must be positive");
    if (o.padding[i] < 0)
      throw ValueError(std::string(op) + ": padding " + numbers(o.padding) + " must not be negative");
    if (o.dilation[i] < 1)
      throw ValueError(std::string(op) + ": dilation " + numbers(o.dilation) + " must be positive");
  }
  if (o.groups < 1) throw ValueError(std::string(op) + ": groups " + std::to_string(o.groups) + " must be positive");
}

// All the sizes, from the shapes of the input and the weight; validated here once.
ConvShape conv_shape(std::string_view op, const Shape& x, const Shape& weight, const Conv2dOptions& o) {
  check_options(op, o);
  const std::string prefix = std::string(op) + ": ";
  if (x.rank() != 4) throw ShapeError(prefix + "input needs 4 dimensions (N, C, H, W), got " + to_string(x));
  if (weight.rank() != 4)
    throw ShapeError(prefix + "weight needs 4 dimensions (K, C/groups, R, S), got " + to_string(weight));
  if (x[1] % o.groups != 0 || weight[0] % o.groups != 0) {
    throw ShapeError(prefix + "groups " + std::to_string(o.groups) + " does not divide the " + std::to_string(x[1]) +
                     " input and " + std::to_string(weight[0]) + " output channels");
  }
  if (x[1] / o.groups != weight[1]) {
    throw ShapeError(prefix + "input has " + std::to_string(x[1]) + " channels but weight " + to_string(weight) +
                     " expects " + std::to_string(weight[1] * o.groups));
  }
  ConvShape s;
  s.n = x[0];
  s.c = x[1];
  s.k = weight[0];
  s.groups = o.groups;
  for (std::size_t i = 0; i < 2; ++i) {
    const auto axis = static_cast<int>(i) + 2;
    s.in[i + 1] = x[axis];
    s.filter[i + 1] = weight[axis];
    s.stride[i + 1] = o.stride[i];
    s.padding[i + 1] = o.padding[i];
    s.dilation[i + 1] = o.dilation[i];
    std::int64_t reach = 0;
    std::int64_t padded = 0;
    if (weight[axis] < 1) throw ShapeError(prefix + "weight " + to_string(weight) + " has an empty kernel");
    if (__builtin_mul_overflow(o.dilation[i], weight[axis] - 1, &reach) ||
        __builtin_mul_overflow(o.padding[i], 2, &padded) || __builtin_add_overflow(padded, x[axis], &padded)) {
      throw ShapeError(prefix + "padding " + numbers(o.padding) + " or dilation " + numbers(o.dilation) + " overflows");
    }
    if (padded <= reach) {
      throw ShapeError(prefix + "kernel of " + std::to_string(reach + 1) + " does not fit the padded input of " +
                       std::to_string(padded) + " on axis " + std::to_string(axis));
    }
    s.out[i + 1] = (padded - reach - 1) / o.stride[i] + 1;
  }
  return s;
}

Shape output_shape(const ConvShape& s) { return {s.n, s.k, s.out[1], s.out[2]}; }

Array run(ConvPass pass, const ConvShape& s, const Array& a, const Array& b, const Array* bias, const Shape& shape) {
  const Array left = channels_last(a);
  const Array right = channels_last(b);
  Array out = Array::empty_like(Layout::channels_last(shape), a.dtype(), a.device());
  ConstView bias_view;
  if (bias != nullptr) bias_view = const_view(*bias);
  backend(a.device())
      .conv(pass, s, const_view(left), const_view(right), bias != nullptr ? &bias_view : nullptr, mutable_view(out));
  return out;
}

void check_operands(std::string_view op, const Tensor& a, const Tensor& b) {
  common_device(op, {a, b});
  check_float(op, a);
  if (a.dtype() != b.dtype()) {
    throw DTypeError(std::string(op) + ": operands are " + std::string(name(a.dtype())) + " and " +
                     std::string(name(b.dtype())));
  }
}

void check_output_grad(std::string_view op, const Tensor& output_grad, const ConvShape& s) {
  if (!(output_grad.shape() == output_shape(s))) {
    throw ShapeError(std::string(op) + ": output gradient " + to_string(output_grad.shape()) +
                     " does not have the output's shape " + to_string(output_shape(s)));
  }
}

}  // namespace

// The three passes are closed under differentiation: each is bilinear, and its two gradients are the other two.

Tensor conv2d(const Tensor& input, const Tensor& filter, const Tensor& offset, const Conv2dOptions& options) {
  const Tensor x = autocast(input), weight = autocast(filter), bias = autocast(offset);
  check_operands("conv2d", x, weight);
  const ConvShape s = conv_shape("conv2d", x.shape(), weight.shape(), options);
  Array bias_array;
  if (bias.defined()) {
    check_operands("conv2d", x, bias);
    if (!(bias.shape() == Shape{s.k})) {
      throw ShapeError("conv2d: bias " + to_string(bias.shape()) + " does not have the " + std::to_string(s.k) +
                       " output channels");
    }
    bias_array = bias.array().contiguous();
  }
  Array out =
      run(ConvPass::forward, s, x.array(), weight.array(), bias.defined() ? &bias_array : nullptr, output_shape(s));
  const Shape x_shape = x.shape();
  const Shape weight_shape = weight.shape();
  return record("conv2d", std::move(out), {x, weight, bias}, {Save::input(0), Save::input(1)},
                [=](const SavedValues& saved, const Tensor& g) {
                  return Values{saved.needs(0) ? conv2d_input_grad(g, saved[1], x_shape, options) : Tensor(),
                                saved.needs(1) ? conv2d_weight_grad(g, saved[0], weight_shape, options) : Tensor(),
                                saved.needs(2) ? sum(g, {0, 2, 3}) : Tensor()};
                });
}

Tensor conv2d_input_grad(const Tensor& output_grad, const Tensor& weight, const Shape& input_shape,
                         const Conv2dOptions& options) {
  check_operands("conv2d_input_grad", output_grad, weight);
  const ConvShape s = conv_shape("conv2d_input_grad", input_shape, weight.shape(), options);
  check_output_grad("conv2d_input_grad", output_grad, s);
  const Shape weight_shape = weight.shape();
  return record(
      "conv2d_input_grad", run(ConvPass::input_grad, s, output_grad.array(), weight.array(), nullptr, input_shape),
      {output_grad, weight}, {Save::input(0), Save::input(1)}, [=](const SavedValues& saved, const Tensor& g) {
        return Values{saved.needs(0) ? conv2d(g, saved[1], {}, options) : Tensor(),
                      saved.needs(1) ? conv2d_weight_grad(saved[0], g, weight_shape, options) : Tensor()};
      });
}

Tensor conv2d_weight_grad(const Tensor& output_grad, const Tensor& x, const Shape& weight_shape,
                          const Conv2dOptions& options) {
  check_operands("conv2d_weight_grad", output_grad, x);
  const ConvShape s = conv_shape("conv2d_weight_grad", x.shape(), weight_shape, options);
  check_output_grad("conv2d_weight_grad", output_grad, s);
  const Shape x_shape = x.shape();
  return record("conv2d_weight_grad",
                run(ConvPass::weight_grad, s, output_grad.array(), x.array(), nullptr, weight_shape), {output_grad, x},
                {Save::input(0), Save::input(1)}, [=](const SavedValues& saved, const Tensor& g) {
                  return Values{saved.needs(0) ? conv2d(saved[1], g, {}, options) : Tensor(),
                                saved.needs(1) ? conv2d_input_grad(saved[0], g, x_shape, options) : Tensor()};
                });
}

}  // namespace weft
