#include "core/ops/conv.h"

#include <algorithm>

namespace weft {

namespace {

std::string prefix(const ConvArguments& a) { return std::string(a.op) + ": "; }

void check_each(const ConvArguments& a, std::string_view what, const Triple& values, std::int64_t least) {
  for (std::size_t d = first_axis(a.axes); d < 3; ++d) {
    if (values[d] >= least) continue;
    throw ValueError(prefix(a) + std::string(what) + " " + numbers(a.axes, values) + " must " +
                     (least == 0 ? "not be negative" : "be positive"));
  }
}

std::string spatial_names(int axes, std::string_view three) {
  std::string names;
  for (std::size_t i = first_axis(axes); i < 3; ++i) names.append(", ").append(1, three[i]);
  return names;
}

}  // namespace

std::string padding_numbers(const ConvArguments& a) {
  return a.before == a.after ? numbers(a.axes, a.before)
                             : "{" + numbers(a.axes, a.before) + ", " + numbers(a.axes, a.after) + "}";
}

void check_ranks(const ConvArguments& a, const Shape& x, const Shape& weight, std::string_view weight_axes) {
  const int rank = a.axes + 2;
  const std::string dimensions = " needs " + std::to_string(rank) + " dimensions (";
  if (x.rank() != rank) {
    throw ShapeError(prefix(a) + "input" + dimensions + "N, C" + spatial_names(a.axes, a.axes == 1 ? "..L" : "DHW") +
                     ") or " + std::to_string(rank - 1) + " without N, got " + to_string(x));
  }
  if (weight.rank() != rank) {
    throw ShapeError(prefix(a) + "weight" + dimensions + std::string(weight_axes) +
                     spatial_names(a.axes, a.axes == 1 ? "..R" : "TRS") + "), got " + to_string(weight));
  }
  for (const std::int64_t size : x) {
    if (size < 0) throw ShapeError(prefix(a) + "input " + to_string(x) + " has a negative size");
  }
  for (int i = 0; i < rank; ++i) {
    if (weight[i] < 0) throw ShapeError(prefix(a) + "weight " + to_string(weight) + " has a negative size");
    if (i > 1 && weight[i] == 0) throw ShapeError(prefix(a) + "weight " + to_string(weight) + " has an empty kernel");
  }
}

std::int64_t kernel_reach(const ConvArguments& a, const Shape& weight, std::size_t d) {
  const std::int64_t size = weight[static_cast<int>(d) - (3 - a.axes) + 2];
  std::int64_t reach = 0;
  if (__builtin_mul_overflow(a.dilation[d], size - 1, &reach)) {
    throw ShapeError(prefix(a) + "dilation " + numbers(a.axes, a.dilation) + " overflows with weight " +
                     to_string(weight));
  }
  return reach;
}

void check_arguments(ConvArguments& a, const Shape& weight) {
  check_each(a, "stride", a.stride, 1);
  check_each(a, "padding", a.before, 0);
  check_each(a, "padding", a.after, 0);
  check_each(a, "dilation", a.dilation, 1);
  check_each(a, "output_padding", a.output_padding, 0);
  if (a.groups < 1) throw ValueError(prefix(a) + "groups " + std::to_string(a.groups) + " must be positive");
  if (!a.same) return;
  for (std::size_t d = first_axis(a.axes); d < 3; ++d) {
    if (a.stride[d] != 1) {
      throw ValueError(prefix(a) + "padding \"same\" needs stride 1, not " + numbers(a.axes, a.stride));
    }
    const std::int64_t total = kernel_reach(a, weight, d);
    a.before[d] = total / 2;
    a.after[d] = total - total / 2;
  }
}

void check_result(const ConvArguments& a, const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) {
    if (size == 0) return;
  }
  for (const std::int64_t size : shape) {
    if (__builtin_mul_overflow(count, size, &count)) {
      throw ShapeError(prefix(a) + "result " + to_string(shape) + " overflows");
    }
  }
}

void check_padded(const ConvArguments& a, const ConvShape& s) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;  // far from where bytes and addresses overflow
  Triple padded{1, 1, 1};
  std::int64_t count = std::max(s.c, s.k);
  bool empty = s.n == 0 || s.c == 0 || s.k == 0, fits = true;
  for (std::size_t d = 0; d < 3; ++d) {
    padded[d] = s.in[d] + a.before[d] + a.after[d];
    empty = empty || s.in[d] == 0;
    fits = fits && !__builtin_mul_overflow(count, padded[d], &count) && count <= kMost;
  }
  if (empty || fits) return;
  throw ShapeError(prefix(a) + "an image of " + std::to_string(std::max(s.c, s.k)) + " channels padded to " +
                   numbers(a.axes, padded) + " exceeds 2^40 elements");
}

ConvShape within_padding(const ConvShape& shape) {
  ConvShape s = shape;
  for (std::size_t d = 0; d < 3; ++d) {
    if (s.out[d] == 1) s.stride[d] = std::min(s.stride[d], std::max<std::int64_t>(s.in[d] + s.padding[d], 2));
    if (s.filter[d] == 1) s.dilation[d] = 1;
  }
  return s;
}

void check_output_grad(std::string_view op, const Tensor& output_grad, const Convolution& c) {
  if (output_grad.shape() == c.y()) return;
  throw ShapeError(std::string(op) + ": output gradient " + to_string(output_grad.shape()) +
                   " does not have the output's shape " + to_string(c.y()));
}

void check_operands(std::string_view op, const Tensor& a, const Tensor& b) {
  common_device(op, {a, b});
  check_float(op, a);
  if (a.dtype() != b.dtype()) {
    throw DTypeError(std::string(op) + ": operands are " + std::string(name(a.dtype())) + " and " +
                     std::string(name(b.dtype())));
  }
}

Tensor conv_parameter(std::string_view op, const Tensor& x, const Tensor& parameter) {
  common_device(op, {x, parameter});
  check_operands(op, x, autocast_dtype(parameter) == x.dtype() ? x : parameter);
  return parameter.to(parameter_dtype(x.dtype()));
}

void check_bias(std::string_view op, const Tensor& bias, std::int64_t channels) {
  if (!(bias.shape() == Shape{channels})) {
    throw ShapeError(std::string(op) + ": bias " + to_string(bias.shape()) + " does not have the " +
                     std::to_string(channels) + " output channels");
  }
}

}  // namespace weft
