#include <algorithm>
#include <cmath>

#include "core/ops/pool.h"
#include "core/value/number.h"

namespace weft {

namespace {

/// Upper bound on a padded axis and on a window's extent, so that the sum of two cannot overflow.
constexpr std::int64_t kLargest = std::int64_t{1} << 61;

std::string prefix(std::string_view op) { return std::string(op) + ": "; }

template <int N>
void check_positive(std::string_view owner, std::string_view what, const PerAxis<N>& values) {
  for (const std::int64_t value : values) {
    if (value < 1) throw ValueError(prefix(owner) + std::string(what) + " " + numbers(values) + " must be positive");
  }
}

template <int N>
void check_windows(std::string_view owner, const PerAxis<N>& kernel, const MaxPoolOptions<N>& o) {
  check_positive(owner, "kernel", kernel);
  for (const std::int64_t stride : o.stride) {
    if (stride >= 0) continue;
    throw ValueError(prefix(owner) + "stride " + numbers(o.stride) + " must be positive, or 0 for the kernel");
  }
  check_positive(owner, "dilation", o.dilation);
  for (std::size_t i = 0; i < N; ++i) {
    if (o.padding[i] >= 0 && o.padding[i] <= kernel[i] / 2) continue;
    throw ValueError(prefix(owner) + "padding " + numbers(o.padding) + " must be between 0 and half the kernel " +
                     numbers(kernel));
  }
}

/// The kernel and the options, on the last of three axes; the kernel as a stride of 0. The sizes are to come.
template <int N>
Pooling pooling(std::string_view op, const PerAxis<N>& kernel, const MaxPoolOptions<N>& o) {
  Pooling p{op, {}, N};
  p.shape.kernel = align(kernel, 1);
  p.shape.stride = align(o.stride, 1);
  p.shape.padding = align(o.padding, 0);
  p.shape.dilation = align(o.dilation, 1);
  for (std::size_t d = 0; d < 3; ++d) {
    if (p.shape.stride[d] == 0) p.shape.stride[d] = p.shape.kernel[d];
  }
  return p;
}

void check_input(std::string_view op, int axes, const Tensor& x) {
  common_device(op, {x});
  check_float(op, x);
  check_pool_rank(op, axes, x);
}

// Positions are i32.
void check_map(std::string_view op, std::string_view what, const Shape& shape) {
  std::int64_t positions = 1;
  for (int i = 2; i < shape.rank(); ++i) {
    if (__builtin_mul_overflow(positions, shape[i], &positions) || positions > INT32_MAX) {
      throw ShapeError(prefix(op) + "a map of " + std::string(what) + " " + to_string(shape) +
                       " exceeds 2^31 - 1 positions");
    }
  }
}

/// A pooling of the batch, the channels and the spatial sizes of x. No spatial size may be 0.
Pooling pooling_of(std::string_view op, int axes, const Tensor& x) {
  check_input(op, axes, x);
  Pooling p{op, {}, axes};
  p.shape.n = x.shape()[0];
  p.shape.c = x.shape()[1];
  for (int i = 0; i < axes; ++i) {
    const std::int64_t size = x.shape()[i + 2];
    if (size == 0) throw ShapeError(prefix(op) + to_string(x.shape()) + " has no elements on a spatial axis");
    p.shape.in[static_cast<std::size_t>(i + 3 - axes)] = size;
  }
  check_map(op, "the input", x.shape());
  return p;
}

/// Sets one axis of the shape: out = (padded - reach) / stride + 1, rounded as PyTorch does. `given` has the options.
void set_axis(const Pooling& given, bool ceil_mode, std::size_t d, const Shape& x, PoolShape& s) {
  const PoolShape& a = given.shape;
  std::int64_t reach = 0, padded = 0;
  if (__builtin_mul_overflow(a.dilation[d], a.kernel[d] - 1, &reach) ||
      __builtin_mul_overflow(a.padding[d], 2, &padded) || __builtin_add_overflow(padded, s.in[d], &padded) ||
      padded > kLargest || reach > kLargest) {
    throw ShapeError(prefix(given.op) + "kernel " + numbers(given.axes, a.kernel) + ", dilation " +
                     numbers(given.axes, a.dilation) + " or padding " + numbers(given.axes, a.padding) +
                     " overflows with input " + to_string(x));
  }
  // Neither a longer stride nor a longer dilation finds other elements.
  const std::int64_t stride = std::min(a.stride[d], kLargest);
  const std::int64_t room = padded - reach - 1 + (ceil_mode ? stride - 1 : 0);
  if (room < 0) {
    throw ShapeError(prefix(given.op) + "kernel of " + std::to_string(reach + 1) +
                     " does not fit the padded input of " + std::to_string(padded) + " on axis " +
                     std::to_string(d + static_cast<std::size_t>(given.axes) - 1));
  }
  s.out[d] = room / stride + 1;
  if (ceil_mode && (s.out[d] - 1) * stride >= s.in[d] + a.padding[d]) --s.out[d];
  s.kernel[d] = a.kernel[d];
  s.padding[d] = a.padding[d];
  s.stride[d] = std::min(stride, padded);
  s.dilation[d] = a.kernel[d] == 1 ? 1 : std::min(a.dilation[d], padded);
}

}  // namespace

void check_pool_rank(std::string_view op, int axes, const Tensor& x) {
  constexpr std::string_view kAxes[] = {"(N, C, L)", "(N, C, H, W)", "(N, C, D, H, W)"};
  if (x.rank() == axes + 2) return;
  throw ShapeError(prefix(op) + "input needs " + std::to_string(axes + 2) + " dimensions " +
                   std::string(kAxes[axes - 1]) + " or " + std::to_string(axes + 1) + " without N, got " +
                   to_string(x.shape()));
}

template <int N>
void check_options(std::string_view owner, const PerAxis<N>& kernel, const MaxPoolOptions<N>& options) {
  check_windows(owner, kernel, options);
}

template <int N>
void check_options(std::string_view owner, const PerAxis<N>& kernel, const MaxUnpoolOptions<N>& options) {
  check_windows(owner, kernel, windows(options));
}

template <int N>
void check_options(std::string_view owner, const PerAxis<N>& kernel, const AvgPoolOptions<N>& options) {
  check_windows(owner, kernel, windows(options));
  if (options.divisor_override == 0) throw ValueError(prefix(owner) + "divisor_override must not be 0, got 0");
}

template <int N>
void check_options(std::string_view owner, double norm, const PerAxis<N>& kernel, const LPPoolOptions<N>& options) {
  check_windows(owner, kernel, windows(options));
  if (norm > 0 && std::isfinite(norm)) return;
  throw ValueError(prefix(owner) + "norm " + number(norm) + " must be positive and finite");
}

template <int N>
void check_output_size(std::string_view owner, const PerAxis<N>& output_size) {
  check_positive(owner, "output_size", output_size);
}

template <int N>
Pooling regular_pooling(std::string_view op, const PerAxis<N>& kernel, const MaxPoolOptions<N>& options,
                        const Tensor& x) {
  const Pooling given = pooling(op, kernel, options);
  Pooling p = pooling_of(op, N, x);
  for (std::size_t d = first_axis(N); d < 3; ++d) set_axis(given, options.ceil_mode, d, x.shape(), p.shape);
  check_result(op, p.y());
  return p;
}

Pooling adaptive_pooling(std::string_view op, int axes, const Triple& output_size, const Tensor& x) {
  Pooling p = pooling_of(op, axes, x);
  bool divides = true;
  for (std::size_t d = first_axis(axes); d < 3; ++d) {
    p.shape.out[d] = output_size[d];
    divides = divides && p.shape.in[d] % output_size[d] == 0;
  }
  check_map(op, "the result", p.y());
  check_result(op, p.y());
  p.shape.adaptive = !divides;
  for (std::size_t d = 0; divides && d < 3; ++d) p.shape.kernel[d] = p.shape.stride[d] = p.shape.in[d] / p.shape.out[d];
  return p;
}

template <int N>
Pooling unpooling(std::string_view op, const PerAxis<N>& kernel, const MaxUnpoolOptions<N>& options,
                  const PerAxis<N>& output_size, const Tensor& y, const Tensor& indices) {
  common_device(op, {y, indices});
  if (indices.dtype() != DType::i64) {
    throw DTypeError(prefix(op) + "indices are i64, not " + std::string(name(indices.dtype())));
  }
  if (indices.shape() != y.shape()) {
    throw ShapeError(prefix(op) + "indices " + to_string(indices.shape()) + " do not have the input's shape " +
                     to_string(y.shape()));
  }
  check_input(op, N, y);
  check_options(op, kernel, options);
  const PoolShape given = pooling(op, kernel, windows(options)).shape;
  const Triple wanted_size = align(output_size, 1);
  Pooling p{op, {}, N};
  p.shape.n = y.shape()[0];
  p.shape.c = y.shape()[1];
  for (std::size_t d = first_axis(N); d < 3; ++d) {
    const std::int64_t stride = given.stride[d];
    const int axis = static_cast<int>(d) + N - 1;
    const std::int64_t size = y.shape()[axis];
    if (size == 0) throw ShapeError(prefix(op) + to_string(y.shape()) + " has no elements on a spatial axis");
    std::int64_t usual = 0;
    if (__builtin_mul_overflow(size - 1, stride, &usual) ||
        __builtin_add_overflow(usual, given.kernel[d] - 2 * given.padding[d], &usual) || usual > kLargest) {
      throw ShapeError(prefix(op) + "kernel " + numbers(kernel) + " or stride " + numbers(N, given.stride) +
                       " overflows with input " + to_string(y.shape()));
    }
    const std::int64_t wanted = wanted_size[d] == 0 ? usual : wanted_size[d];
    if (wanted < 1 || wanted <= usual - stride || wanted - usual >= stride) {
      throw ValueError(prefix(op) + "output_size " + std::to_string(wanted) + " on axis " + std::to_string(axis) +
                       " must be positive and less than the stride " + std::to_string(stride) + " from " +
                       std::to_string(usual));
    }
    p.shape.out[d] = size;
    p.shape.in[d] = wanted;
  }
  check_map(op, "the result", p.x());
  check_result(op, p.x());
  return p;
}

#define WEFT_POOLINGS(N)                                                                                          \
  template void check_options(std::string_view, const PerAxis<N>&, const MaxPoolOptions<N>&);                     \
  template void check_options(std::string_view, const PerAxis<N>&, const MaxUnpoolOptions<N>&);                   \
  template void check_options(std::string_view, const PerAxis<N>&, const AvgPoolOptions<N>&);                     \
  template void check_options(std::string_view, double, const PerAxis<N>&, const LPPoolOptions<N>&);              \
  template void check_output_size(std::string_view, const PerAxis<N>&);                                           \
  template Pooling regular_pooling(std::string_view, const PerAxis<N>&, const MaxPoolOptions<N>&, const Tensor&); \
  template Pooling unpooling(std::string_view, const PerAxis<N>&, const MaxUnpoolOptions<N>&, const PerAxis<N>&,  \
                             const Tensor&, const Tensor&);
WEFT_POOLINGS(1)
WEFT_POOLINGS(2)
WEFT_POOLINGS(3)
#undef WEFT_POOLINGS

void set_divisor(Pooling& pooling, bool count_padding) {
  PoolShape& s = pooling.shape;
  s.count_padding = count_padding;
  s.divisor = s.adaptive ? 0 : 1;
  for (std::size_t d = 0; d < 3; ++d) {
    const std::int64_t reach = s.dilation[d] * (s.kernel[d] - 1) + 1;
    const bool whole = (s.out[d] - 1) * s.stride[d] + reach <= s.in[d] + 2 * s.padding[d];
    const bool alike = whole && (count_padding || s.padding[d] == 0);
    s.divisor = alike ? s.divisor * static_cast<double>(s.kernel[d]) : 0;
  }
}

}  // namespace weft
