#include <algorithm>
#include <cmath>

#include "core/ops/pool.h"

namespace weft {

namespace {

/// Of a padded axis and of all a window reaches over: sums of two stay far from overflow.
constexpr std::int64_t kLargest = std::int64_t{1} << 61;

std::string prefix(std::string_view op) { return std::string(op) + ": "; }

void check_positive(const PoolArguments& a, std::string_view what, const Triple& values) {
  for (std::size_t d = first_axis(a.axes); d < 3; ++d) {
    if (values[d] < 1) {
      throw ValueError(prefix(a.op) + std::string(what) + " " + numbers(a.axes, values) + " must be positive");
    }
  }
}

// Resolves the stride 0.
void check_options(PoolArguments& a) {
  check_positive(a, "kernel", a.kernel);
  for (std::size_t d = first_axis(a.axes); d < 3; ++d) {
    if (a.stride[d] < 0) {
      throw ValueError(prefix(a.op) + "stride " + numbers(a.axes, a.stride) + " must be positive, or 0 for the kernel");
    }
  }
  check_positive(a, "dilation", a.dilation);
  for (std::size_t d = first_axis(a.axes); d < 3; ++d) {
    if (a.padding[d] < 0 || a.padding[d] > a.kernel[d] / 2) {
      throw ValueError(prefix(a.op) + "padding " + numbers(a.axes, a.padding) +
                       " must be between 0 and half the kernel " + numbers(a.axes, a.kernel));
    }
    if (a.stride[d] == 0) a.stride[d] = a.kernel[d];
  }
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

void check_result(std::string_view op, const Shape& shape) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return;
  std::int64_t count = 1;
  for (const std::int64_t size : shape) {
    if (__builtin_mul_overflow(count, size, &count)) {
      throw ShapeError(prefix(op) + "result " + to_string(shape) + " overflows");
    }
  }
}

// Batch, channels and spatial sizes, none of them 0.
Pooling of_input(std::string_view op, int axes, const Tensor& x) {
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

// (padded - reach) / stride + 1, rounded as PyTorch does; sets one axis of the shape.
void set_axis(const PoolArguments& a, std::size_t d, const Shape& x, PoolShape& s) {
  std::int64_t reach = 0, padded = 0;
  if (__builtin_mul_overflow(a.dilation[d], a.kernel[d] - 1, &reach) ||
      __builtin_mul_overflow(a.padding[d], 2, &padded) || __builtin_add_overflow(padded, s.in[d], &padded) ||
      padded > kLargest || reach > kLargest) {
    throw ShapeError(prefix(a.op) + "kernel " + numbers(a.axes, a.kernel) + ", dilation " +
                     numbers(a.axes, a.dilation) + " or padding " + numbers(a.axes, a.padding) +
                     " overflows with input " + to_string(x));
  }
  // Neither a longer stride nor a longer dilation finds other elements.
  const std::int64_t stride = std::min(a.stride[d], kLargest);
  const std::int64_t room = padded - reach - 1 + (a.ceil_mode ? stride - 1 : 0);
  if (room < 0) {
    throw ShapeError(prefix(a.op) + "kernel of " + std::to_string(reach + 1) + " does not fit the padded input of " +
                     std::to_string(padded) + " on axis " + std::to_string(d + static_cast<std::size_t>(a.axes) - 1));
  }
  s.out[d] = room / stride + 1;
  if (a.ceil_mode && (s.out[d] - 1) * stride >= s.in[d] + a.padding[d]) --s.out[d];
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

Pooling regular_pooling(const PoolArguments& arguments, const Tensor& x) {
  PoolArguments a = arguments;
  Pooling p = of_input(a.op, a.axes, x);
  check_options(a);
  for (std::size_t d = first_axis(a.axes); d < 3; ++d) set_axis(a, d, x.shape(), p.shape);
  check_result(a.op, p.y());
  return p;
}

Pooling adaptive_pooling(std::string_view op, int axes, const Triple& output_size, const Tensor& x) {
  Pooling p = of_input(op, axes, x);
  bool divides = true;
  for (std::size_t d = first_axis(axes); d < 3; ++d) {
    if (output_size[d] < 1) {
      throw ValueError(prefix(op) + "output_size " + numbers(axes, output_size) + " must be positive");
    }
    p.shape.out[d] = output_size[d];
    divides = divides && p.shape.in[d] % output_size[d] == 0;
  }
  check_map(op, "the result", p.y());
  check_result(op, p.y());
  p.shape.adaptive = !divides;
  for (std::size_t d = 0; divides && d < 3; ++d) p.shape.kernel[d] = p.shape.stride[d] = p.shape.in[d] / p.shape.out[d];
  return p;
}

Pooling unpooling(const PoolArguments& arguments, const Triple& output_size, const Tensor& y, const Tensor& indices) {
  PoolArguments a = arguments;
  common_device(a.op, {y, indices});
  if (indices.dtype() != DType::i64) {
    throw DTypeError(prefix(a.op) + "indices are i64, not " + std::string(name(indices.dtype())));
  }
  if (!(indices.shape() == y.shape())) {
    throw ShapeError(prefix(a.op) + "indices " + to_string(indices.shape()) + " do not have the input's shape " +
                     to_string(y.shape()));
  }
  check_input(a.op, a.axes, y);
  check_options(a);
  Pooling p{a.op, {}, a.axes};
  p.shape.n = y.shape()[0];
  p.shape.c = y.shape()[1];
  for (std::size_t d = first_axis(a.axes); d < 3; ++d) {
    const std::int64_t size = y.shape()[static_cast<int>(d) + a.axes - 1];
    if (size == 0) throw ShapeError(prefix(a.op) + to_string(y.shape()) + " has no elements on a spatial axis");
    std::int64_t usual = 0;
    if (__builtin_mul_overflow(size - 1, a.stride[d], &usual) ||
        __builtin_add_overflow(usual, a.kernel[d] - 2 * a.padding[d], &usual) || usual > kLargest) {
      throw ShapeError(prefix(a.op) + "kernel " + numbers(a.axes, a.kernel) + " or stride " +
                       numbers(a.axes, a.stride) + " overflows with input " + to_string(y.shape()));
    }
    const std::int64_t wanted = output_size[d] == 0 ? usual : output_size[d];
    if (wanted < 1 || wanted <= usual - a.stride[d] || wanted - usual >= a.stride[d]) {
      throw ValueError(prefix(a.op) + "output_size " + std::to_string(wanted) + " on axis " +
                       std::to_string(static_cast<int>(d) + a.axes - 1) +
                       " must be positive and less than the stride " + std::to_string(a.stride[d]) + " from " +
                       std::to_string(usual));
    }
    p.shape.out[d] = size;
    p.shape.in[d] = wanted;
  }
  check_map(a.op, "the result", p.x());
  check_result(a.op, p.x());
  return p;
}

void set_divisor(Pooling& pooling, bool count_padding) {
  PoolShape& s = pooling.shape;
  s.count_padding = count_padding;
  s.divisor = s.adaptive ? 0 : 1;
  for (std::size_t d = 0; d < 3; ++d) {
    const bool whole = (s.out[d] - 1) * s.stride[d] + s.kernel[d] <= s.in[d] + 2 * s.padding[d];
    const bool alike = whole && (count_padding || s.padding[d] == 0);
    s.divisor = alike ? s.divisor * static_cast<double>(s.kernel[d]) : 0;
  }
}

}  // namespace weft
