#include "core/ops/conv.h"

#include <algorithm>

namespace weft {

namespace {

std::string prefix(std::string_view op) { return std::string(op) + ": "; }

template <int N>
void check_each(std::string_view owner, std::string_view what, const PerAxis<N>& values, std::int64_t least) {
  for (const std::int64_t value : values) {
    if (value >= least) continue;
    throw ValueError(prefix(owner) + std::string(what) + " " + numbers(values) + " must " +
                     (least == 0 ? "not be negative" : "be positive"));
  }
}

void check_positive(std::string_view owner, std::string_view what, std::int64_t value) {
  if (value < 1)
    throw ValueError(prefix(owner) + std::string(what) + " " + std::to_string(value) + " must be positive");
}

// Checks what both directions have.
template <template <int> class Options, int N>
void check_shared_options(std::string_view owner, const PerAxis<N>& kernel, const Options<N>& o) {
  check_each(owner, "kernel", kernel, 1);
  check_each(owner, "stride", o.stride, 1);
  check_each(owner, "padding", o.padding.before, 0);
  check_each(owner, "padding", o.padding.after, 0);
  check_each(owner, "dilation", o.dilation, 1);
  check_positive(owner, "groups", o.groups);
}

std::string undivided(std::string_view owner, std::int64_t groups, std::int64_t in, std::int64_t out) {
  return prefix(owner) + "groups " + std::to_string(groups) + " does not divide the " + std::to_string(in) +
         " input and " + std::to_string(out) + " output channels";
}

std::string spatial_names(int axes, std::string_view three) {
  std::string names;
  for (std::size_t i = first_axis(axes); i < 3; ++i) names.append(", ").append(1, three[i]);
  return names;
}

// Sets the sizes of an output of x (N, C, ...), on the axes of c.
void set_output(std::string_view op, const Shape& x, const Shape& weight, Convolution& c) {
  ConvShape& s = c.shape;
  for (int axis = 2; axis < x.rank(); ++axis) {
    const auto d = static_cast<std::size_t>(axis + 1 - c.axes);
    s.in[d] = x[axis];
    const std::int64_t reach = kernel_reach(op, c, weight, d);
    std::int64_t padded = 0;
    if (__builtin_add_overflow(s.padding[d], c.padding_after[d], &padded) ||
        __builtin_add_overflow(padded, x[axis], &padded)) {
      throw ShapeError(prefix(op) + "padding " + padding_numbers(c) + " overflows with input " + to_string(x));
    }
    if (padded <= reach) {
      throw ShapeError(prefix(op) + "kernel of " + std::to_string(static_cast<std::uint64_t>(reach) + 1) +
                       " does not fit the padded input of " + std::to_string(padded) + " on axis " +
                       std::to_string(axis));
    }
    s.out[d] = (padded - reach - 1) / s.stride[d] + 1;
  }
}

}  // namespace

template <int N>
void check_options(std::string_view owner, const PerAxis<N>& kernel, const ConvOptions<N>& options) {
  check_shared_options(owner, kernel, options);
  if (!options.padding.same) return;
  for (const std::int64_t stride : options.stride) {
    if (stride == 1) continue;
    throw ValueError(prefix(owner) + "padding \"same\" needs stride 1, not " + numbers(options.stride));
  }
}

template <int N>
void check_options(std::string_view owner, const PerAxis<N>& kernel, const ConvTransposeOptions<N>& options) {
  if (options.padding.same) throw ValueError(prefix(owner) + "padding \"same\" has no transposed form");
  check_shared_options(owner, kernel, options);
  check_each(owner, "output_padding", options.output_padding, 0);
  for (std::size_t i = 0; i < N; ++i) {
    if (options.output_padding[i] < options.stride[i] || options.output_padding[i] < options.dilation[i]) continue;
    throw ValueError(prefix(owner) + "output_padding " + numbers(options.output_padding) + " must be below stride " +
                     numbers(options.stride) + " or dilation " + numbers(options.dilation));
  }
}

void check_channels(std::string_view owner, std::int64_t in_channels, std::int64_t out_channels, std::int64_t groups) {
  check_positive(owner, "in_channels", in_channels);
  check_positive(owner, "out_channels", out_channels);
  check_positive(owner, "groups", groups);
  if (in_channels % groups != 0 || out_channels % groups != 0)
    throw ValueError(undivided(owner, groups, in_channels, out_channels));
}

template <int N>
Convolution conv_sizes(std::string_view op, const Shape& x, const Shape& weight, const ConvOptions<N>& options) {
  check_ranks(op, N, x, weight, "K, C/groups");
  const PerAxis<N> kernel = kernel_of<N>(weight);
  check_options(op, kernel, options);
  Convolution c = without_sizes(kernel, options);
  ConvShape& s = c.shape;
  for (std::size_t d = first_axis(N); options.padding.same && d < 3; ++d) {
    const std::int64_t total = kernel_reach(op, c, weight, d);
    s.padding[d] = total / 2;
    c.padding_after[d] = total - total / 2;
  }
  if (x[1] % s.groups != 0 || weight[0] % s.groups != 0) throw ShapeError(undivided(op, s.groups, x[1], weight[0]));
  std::int64_t expected = 0;
  if (__builtin_mul_overflow(weight[1], s.groups, &expected)) {
    throw ShapeError(prefix(op) + "groups " + std::to_string(s.groups) + " overflows with weight " + to_string(weight));
  }
  if (x[1] != expected) {
    throw ShapeError(prefix(op) + "input has " + std::to_string(x[1]) + " channels but weight " + to_string(weight) +
                     " expects " + std::to_string(expected));
  }
  s.n = x[0];
  s.c = x[1];
  s.k = weight[0];
  set_output(op, x, weight, c);
  check_result(op, c.y());
  check_padded(op, c);
  return c;
}

std::string padding_numbers(const Convolution& c) {
  const std::string before = numbers(c.axes, c.shape.padding);
  return c.shape.padding == c.padding_after ? before : "{" + before + ", " + numbers(c.axes, c.padding_after) + "}";
}

void check_ranks(std::string_view op, int axes, const Shape& x, const Shape& weight, std::string_view weight_axes) {
  const int rank = axes + 2;
  const std::string dimensions = " needs " + std::to_string(rank) + " dimensions (";
  if (x.rank() != rank) {
    throw ShapeError(prefix(op) + "input" + dimensions + "N, C" + spatial_names(axes, axes == 1 ? "..L" : "DHW") +
                     ") or " + std::to_string(rank - 1) + " without N, got " + to_string(x));
  }
  if (weight.rank() != rank) {
    throw ShapeError(prefix(op) + "weight" + dimensions + std::string(weight_axes) +
                     spatial_names(axes, axes == 1 ? "..R" : "TRS") + "), got " + to_string(weight));
  }
  for (const std::int64_t size : x) {
    if (size < 0) throw ShapeError(prefix(op) + "input " + to_string(x) + " has a negative size");
  }
  for (int i = 0; i < rank; ++i) {
    if (weight[i] < 0) throw ShapeError(prefix(op) + "weight " + to_string(weight) + " has a negative size");
    if (i > 1 && weight[i] == 0) throw ShapeError(prefix(op) + "weight " + to_string(weight) + " has an empty kernel");
  }
}

std::int64_t kernel_reach(std::string_view op, const Convolution& c, const Shape& weight, std::size_t d) {
  std::int64_t reach = 0;
  if (__builtin_mul_overflow(c.shape.dilation[d], c.shape.filter[d] - 1, &reach)) {
    throw ShapeError(prefix(op) + "dilation " + numbers(c.axes, c.shape.dilation) + " overflows with weight " +
                     to_string(weight));
  }
  return reach;
}

void check_result(std::string_view op, const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) {
    if (size == 0) return;
  }
  for (const std::int64_t size : shape) {
    if (__builtin_mul_overflow(count, size, &count)) {
      throw ShapeError(prefix(op) + "result " + to_string(shape) + " overflows");
    }
  }
}

void check_padded(std::string_view op, const Convolution& c) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;  // far from where bytes and addresses overflow
  const ConvShape& s = c.shape;
  Triple padded{1, 1, 1};
  std::int64_t count = std::max(s.c, s.k);
  bool empty = s.n == 0 || s.c == 0 || s.k == 0, fits = true;
  for (std::size_t d = 0; d < 3; ++d) {
    padded[d] = s.in[d] + s.padding[d] + c.padding_after[d];
    empty = empty || s.in[d] == 0;
    fits = fits && !__builtin_mul_overflow(count, padded[d], &count) && count <= kMost;
  }
  if (empty || fits) return;
  throw ShapeError(prefix(op) + "an image of " + std::to_string(std::max(s.c, s.k)) + " channels padded to " +
                   numbers(c.axes, padded) + " exceeds 2^40 elements");
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
  if (bias.shape() != Shape{channels}) {
    throw ShapeError(std::string(op) + ": bias " + to_string(bias.shape()) + " does not have the " +
                     std::to_string(channels) + " output channels");
  }
}

#define WEFT_CONVOLUTIONS(N)                                                                        \
  template void check_options(std::string_view, const PerAxis<N>&, const ConvOptions<N>&);          \
  template void check_options(std::string_view, const PerAxis<N>&, const ConvTransposeOptions<N>&); \
  template Convolution conv_sizes(std::string_view, const Shape&, const Shape&, const ConvOptions<N>&);
WEFT_CONVOLUTIONS(1)
WEFT_CONVOLUTIONS(2)
WEFT_CONVOLUTIONS(3)
#undef WEFT_CONVOLUTIONS

}  // namespace weft
