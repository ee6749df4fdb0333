#include "core/op_support.h"

namespace weft {

namespace {

using Values = std::vector<Tensor>;

PoolShape pool_shape(std::string_view op, const Tensor& x, const Pool2dOptions& o) {
  check_float(op, x);
  check_rank(op, "input (N, C, H, W)", x, 4);
  const std::string prefix = std::string(op) + ": ";
  PoolShape s;
  s.n = x.shape()[0];
  s.c = x.shape()[1];
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int64_t size = x.shape()[static_cast<int>(i) + 2];
    const std::int64_t stride = o.stride[i] == 0 ? o.kernel[i] : o.stride[i];
    if (o.kernel[i] < 1 || stride < 1) {
      throw ValueError(prefix + "kernel " + std::to_string(o.kernel[i]) + " and stride " + std::to_string(stride) +
                       " must be positive");
    }
    if (o.padding[i] < 0 || o.padding[i] > o.kernel[i] / 2) {
      throw ValueError(prefix + "padding " + std::to_string(o.padding[i]) + " must be between 0 and half the kernel " +
                       std::to_string(o.kernel[i]));
    }
    if (size == 0) throw ShapeError(prefix + to_string(x.shape()) + " has no elements on a spatial axis");
    if (size + 2 * o.padding[i] < o.kernel[i]) {
      throw ShapeError(prefix + "kernel " + std::to_string(o.kernel[i]) + " does not fit " + to_string(x.shape()) +
                       " with padding " + std::to_string(o.padding[i]));
    }
    s.in[i + 1] = size;
    s.kernel[i + 1] = o.kernel[i];
    s.stride[i + 1] = stride;
    s.padding[i + 1] = o.padding[i];
    s.out[i + 1] = (size + 2 * o.padding[i] - o.kernel[i]) / stride + 1;
  }
  if (s.in[1] > INT32_MAX / std::max<std::int64_t>(s.in[2], 1))
    throw ShapeError(prefix + "a map of " + to_string(x.shape()) + " exceeds 2^31 - 1 positions");
  return s;
}

Shape input_shape(const PoolShape& s) { return {s.n, s.c, s.in[1], s.in[2]}; }
Shape output_shape(const PoolShape& s) { return {s.n, s.c, s.out[1], s.out[2]}; }

Array run(PoolPass pass, const PoolShape& s, const Array& in, const Array& indices, const Shape& shape) {
  const Array dense = channels_last(in);
  Array out = Array::empty_like(Layout::channels_last(shape), in.dtype(), in.device());
  const View index_view = indices.defined() ? mutable_view(indices) : View{};
  backend(in.device()).pool(pass, s, const_view(dense), index_view, mutable_view(out));
  return out;
}

// Both directions of a linear map between x and y: forward ? x -> y : y -> x. The gradient of each is the other.
Tensor linear_pool(std::string_view name, PoolPass forward_pass, PoolPass backward_pass, bool forward,
                   const PoolShape& s, const Tensor& in, const Array& indices) {
  Array out =
      run(forward ? forward_pass : backward_pass, s, in.array(), indices, forward ? output_shape(s) : input_shape(s));
  return record(name, std::move(out), {in}, {Save::constant(indices)}, [=](const SavedValues& saved, const Tensor& g) {
    return Values{linear_pool(name, forward_pass, backward_pass, !forward, s, g, saved[0].array())};
  });
}

}  // namespace

Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options) {
  const PoolShape s = pool_shape("max_pool2d", x, options);
  const Array indices = Array::empty_like(Layout::channels_last(output_shape(s)), DType::i32, x.device());
  Array out = run(PoolPass::max, s, x.array(), indices, output_shape(s));
  return record(
      "max_pool2d", std::move(out), {x}, {Save::constant(indices)}, [s](const SavedValues& saved, const Tensor& g) {
        return Values{
            linear_pool("max_pool2d", PoolPass::max_gather, PoolPass::max_scatter, false, s, g, saved[0].array())};
      });
}

Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options) {
  return linear_pool("avg_pool2d", PoolPass::average, PoolPass::average_grad, true,
                     pool_shape("avg_pool2d", x, options), x, Array());
}

Tensor global_avg_pool2d(const Tensor& x) {
  check_rank("global_avg_pool2d", "input (N, C, H, W)", x, 4);
  return mean(x, {2, 3}, true);
}

Tensor global_max_pool2d(const Tensor& x) {
  check_rank("global_max_pool2d", "input (N, C, H, W)", x, 4);
  return max_pool2d(x, {.kernel = {x.size(2), x.size(3)}});
}

}  // namespace weft
