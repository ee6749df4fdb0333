#include "core/ops/pool.h"

#include <cmath>

#include "core/value/number.h"
#include "core/value/views.h"

namespace weft {

namespace {

using Values = std::vector<Tensor>;

Array run(PoolPass pass, const PoolShape& s, const Array& in, const Array& indices, const Shape& shape) {
  const Array dense = channels_last(in);
  Array out = Array::empty_like(Layout::channels_last(shape), in.dtype(), in.device());
  if (out.size() == 0) return out;  // without images or channels a map may be of any size: no kernel meets it
  Backend& device = backend(in.device());
  if (pass == PoolPass::unpool) device.fill(mutable_view(out), 0);
  device.pool(pass, s, const_view(dense), indices.defined() ? mutable_view(indices) : View{}, mutable_view(out));
  return out;
}

// Both directions of a linear map between x and y: forward ? x -> y : y -> x. The gradient of each is the other.
Tensor linear_pool(PoolPass forward_pass, PoolPass backward_pass, bool forward, const Pooling& p, const Tensor& in,
                   const Array& indices) {
  Array out = run(forward ? forward_pass : backward_pass, p.shape, in.array(), indices, forward ? p.y() : p.x());
  return record(p.op, std::move(out), {in}, {Save::constant(indices)}, [=](const SavedValues& saved, const Tensor& g) {
    return Values{linear_pool(forward_pass, backward_pass, !forward, p, g, saved[0].array())};
  });
}

struct Largest {
  Tensor output;
  Array indices;
};

Largest largest(const Pooling& p, const Tensor& x) {
  const Array indices = Array::empty_like(Layout::channels_last(p.y()), DType::i32, x.device());
  Array out = run(PoolPass::max, p.shape, x.array(), indices, p.y());
  const auto backward = [p](const SavedValues& saved, const Tensor& g) {
    return Values{linear_pool(PoolPass::max_gather, PoolPass::max_scatter, false, p, g, saved[0].array())};
  };
  return {record(p.op, std::move(out), {x}, {Save::constant(indices)}, backward), indices};
}

// (C, ...) with so many spatial axes, which is pooled as a batch of one.
bool has_no_batch(const Tensor& x, int axes) { return x.defined() && x.rank() == axes + 1; }

Tensor without_batch(const Tensor& y) { return squeeze(y, {0}); }
MaxPoolResult without_batch(const MaxPoolResult& y) { return {without_batch(y.output), without_batch(y.indices)}; }

MaxPoolResult with_indices(const Pooling& p, const Tensor& x) {
  const Largest found = largest(p, x);
  return {found.output, Tensor(found.indices).to(DType::i64)};
}

template <int N>
Tensor max_pool(std::string_view op, const Tensor& x, const MaxPoolOptions<N>& o) {
  if (has_no_batch(x, N)) return without_batch(max_pool(op, unsqueeze(x, 0), o));
  return largest(regular_pooling(pool_arguments(op, o), x), x).output;
}

template <int N>
MaxPoolResult max_pool_with_indices(std::string_view op, const Tensor& x, const MaxPoolOptions<N>& o) {
  if (has_no_batch(x, N)) return without_batch(max_pool_with_indices(op, unsqueeze(x, 0), o));
  return with_indices(regular_pooling(pool_arguments(op, o), x), x);
}

template <int N>
Tensor adaptive_max_pool(std::string_view op, const Tensor& x, const PerAxis<N>& output_size) {
  if (has_no_batch(x, N)) return without_batch(adaptive_max_pool(op, unsqueeze(x, 0), output_size));
  return largest(adaptive_pooling(op, N, align(output_size, 1), x), x).output;
}

template <int N>
MaxPoolResult adaptive_max_pool_with_indices(std::string_view op, const Tensor& x, const PerAxis<N>& output_size) {
  if (has_no_batch(x, N)) return without_batch(adaptive_max_pool_with_indices(op, unsqueeze(x, 0), output_size));
  return with_indices(adaptive_pooling(op, N, align(output_size, 1), x), x);
}

Tensor average(const Pooling& p, const Tensor& x) {
  return linear_pool(PoolPass::average, PoolPass::average_grad, true, p, x, Array());
}

template <int N>
Tensor avg_pool(std::string_view op, const Tensor& x, const AvgPoolOptions<N>& o) {
  if (has_no_batch(x, N)) return without_batch(avg_pool(op, unsqueeze(x, 0), o));
  Pooling p = regular_pooling(pool_arguments(op, o), x);
  set_divisor(p, o.count_include_pad);
  if (o.divisor_override) {
    if (*o.divisor_override == 0) throw ValueError(std::string(op) + ": divisor_override must not be 0, got 0");
    p.shape.divisor = static_cast<double>(*o.divisor_override);
  }
  return average(p, x);
}

template <int N>
Tensor adaptive_avg_pool(std::string_view op, const Tensor& x, const PerAxis<N>& output_size) {
  if (has_no_batch(x, N)) return without_batch(adaptive_avg_pool(op, unsqueeze(x, 0), output_size));
  Pooling p = adaptive_pooling(op, N, align(output_size, 1), x);
  set_divisor(p, true);
  return average(p, x);
}

template <int N>
Tensor lp_pool(std::string_view op, const Tensor& x, const LpPoolOptions<N>& o) {
  if (has_no_batch(x, N)) return without_batch(lp_pool(op, unsqueeze(x, 0), o));
  Pooling p = regular_pooling(pool_arguments(op, o), x);
  if (!(o.norm > 0 && std::isfinite(o.norm))) {
    throw ValueError(std::string(op) + ": norm " + number(o.norm) + " must be positive and finite");
  }
  set_divisor(p, true);
  double volume = 1;
  for (const std::int64_t size : p.shape.kernel) volume *= static_cast<double>(size);
  const bool whole = p.shape.divisor == volume;
  if (whole) p.shape.divisor = 1;
  const Tensor mean_or_sum = average(p, o.norm == 1 ? x : o.norm == 2 ? square(x) : power(x, o.norm));
  const Tensor total = whole ? mean_or_sum : mean_or_sum * volume;
  if (o.norm == 1) return total;
  // The root has no slope at 0, where PyTorch takes 0.
  const Tensor zero = zeros_like(total), empty = equal(total, zero), positive = where(empty, ones_like(total), total);
  return where(empty, zero, o.norm == 2 ? sqrt(positive) : power(positive, 1 / o.norm));
}

// The indices as i32; those outside of x, and those that a later equal one of the same image overwrites, as -1.
Array indices_below(const Pooling& p, const Tensor& indices) {
  const std::int64_t positions = p.shape.in[0] * p.shape.in[1] * p.shape.in[2];
  const Tensor inside =
      logical_and(greater_equal(indices, scalar_like(indices, 0)), less(indices, scalar_like(indices, positions)));
  return channels_last(where(inside, indices, scalar_like(indices, -1)).to(DType::i32).array());
}

Array last_of_equals(const Pooling& p, const Array& indices) {
  const std::int64_t count = p.shape.out[0] * p.shape.out[1] * p.shape.out[2];
  Shape image = p.y();
  image[0] = image[1] = 1;
  const TensorOptions options{.dtype = DType::f64, .device = indices.device()};
  const Tensor numbers = expand(reshape(arange(0, count, 1, options), image), p.y());
  const Array winners = run(PoolPass::unpool, p.shape, numbers.array(), indices, p.x());
  const Tensor winner(run(PoolPass::max_gather, p.shape, winners, indices, p.y()));
  const Tensor all(indices);
  return channels_last(where(equal(winner, numbers), all, scalar_like(all, -1)).array());
}

template <int N>
Tensor max_unpool(std::string_view op, const Tensor& x, const Tensor& indices, const MaxUnpoolOptions<N>& o) {
  if (has_no_batch(x, N) && has_no_batch(indices, N)) {
    return without_batch(max_unpool(op, unsqueeze(x, 0), unsqueeze(indices, 0), o));
  }
  const Pooling p = unpooling(pool_arguments(op, o), align(o.output_size, 1), x, indices);
  Array where_to = indices_below(p, indices);
  if (is_recorded({x})) where_to = last_of_equals(p, where_to);
  return linear_pool(PoolPass::max_gather, PoolPass::unpool, false, p, x, where_to);
}

Axes spatial_axes(std::string_view op, const Tensor& x) {
  if (x.rank() < 3 || x.rank() > 5) {
    throw ShapeError(std::string(op) + ": input needs 3 to 5 dimensions, got " + to_string(x.shape()));
  }
  Dims axes;
  for (int i = 2; i < x.rank(); ++i) axes.push_back(i);
  return axes;
}

}  // namespace

Tensor max_pool1d(const Tensor& x, const MaxPool1dOptions& options) { return max_pool("max_pool1d", x, options); }
Tensor max_pool2d(const Tensor& x, const MaxPool2dOptions& options) { return max_pool("max_pool2d", x, options); }
Tensor max_pool3d(const Tensor& x, const MaxPool3dOptions& options) { return max_pool("max_pool3d", x, options); }

MaxPoolResult max_pool1d_with_indices(const Tensor& x, const MaxPool1dOptions& options) {
  return max_pool_with_indices("max_pool1d_with_indices", x, options);
}
MaxPoolResult max_pool2d_with_indices(const Tensor& x, const MaxPool2dOptions& options) {
  return max_pool_with_indices("max_pool2d_with_indices", x, options);
}
MaxPoolResult max_pool3d_with_indices(const Tensor& x, const MaxPool3dOptions& options) {
  return max_pool_with_indices("max_pool3d_with_indices", x, options);
}

Tensor max_unpool1d(const Tensor& x, const Tensor& indices, const MaxUnpool1dOptions& options) {
  return max_unpool("max_unpool1d", x, indices, options);
}
Tensor max_unpool2d(const Tensor& x, const Tensor& indices, const MaxUnpool2dOptions& options) {
  return max_unpool("max_unpool2d", x, indices, options);
}
Tensor max_unpool3d(const Tensor& x, const Tensor& indices, const MaxUnpool3dOptions& options) {
  return max_unpool("max_unpool3d", x, indices, options);
}

Tensor avg_pool1d(const Tensor& x, const AvgPool1dOptions& options) { return avg_pool("avg_pool1d", x, options); }
Tensor avg_pool2d(const Tensor& x, const AvgPool2dOptions& options) { return avg_pool("avg_pool2d", x, options); }
Tensor avg_pool3d(const Tensor& x, const AvgPool3dOptions& options) { return avg_pool("avg_pool3d", x, options); }

Tensor lp_pool1d(const Tensor& x, const LpPool1dOptions& options) { return lp_pool("lp_pool1d", x, options); }
Tensor lp_pool2d(const Tensor& x, const LpPool2dOptions& options) { return lp_pool("lp_pool2d", x, options); }
Tensor lp_pool3d(const Tensor& x, const LpPool3dOptions& options) { return lp_pool("lp_pool3d", x, options); }

Tensor adaptive_avg_pool1d(const Tensor& x, PerAxis<1> output_size) {
  return adaptive_avg_pool("adaptive_avg_pool1d", x, output_size);
}
Tensor adaptive_avg_pool2d(const Tensor& x, PerAxis<2> output_size) {
  return adaptive_avg_pool("adaptive_avg_pool2d", x, output_size);
}
Tensor adaptive_avg_pool3d(const Tensor& x, PerAxis<3> output_size) {
  return adaptive_avg_pool("adaptive_avg_pool3d", x, output_size);
}
Tensor adaptive_max_pool1d(const Tensor& x, PerAxis<1> output_size) {
  return adaptive_max_pool("adaptive_max_pool1d", x, output_size);
}
Tensor adaptive_max_pool2d(const Tensor& x, PerAxis<2> output_size) {
  return adaptive_max_pool("adaptive_max_pool2d", x, output_size);
}
Tensor adaptive_max_pool3d(const Tensor& x, PerAxis<3> output_size) {
  return adaptive_max_pool("adaptive_max_pool3d", x, output_size);
}

MaxPoolResult adaptive_max_pool1d_with_indices(const Tensor& x, PerAxis<1> output_size) {
  return adaptive_max_pool_with_indices("adaptive_max_pool1d_with_indices", x, output_size);
}
MaxPoolResult adaptive_max_pool2d_with_indices(const Tensor& x, PerAxis<2> output_size) {
  return adaptive_max_pool_with_indices("adaptive_max_pool2d_with_indices", x, output_size);
}
MaxPoolResult adaptive_max_pool3d_with_indices(const Tensor& x, PerAxis<3> output_size) {
  return adaptive_max_pool_with_indices("adaptive_max_pool3d_with_indices", x, output_size);
}

Tensor global_avg_pool(const Tensor& x) { return mean(x, spatial_axes("global_avg_pool", x), true); }

Tensor global_max_pool(const Tensor& x) {
  const Triple one{1, 1, 1};
  spatial_axes("global_max_pool", x);
  return largest(adaptive_pooling("global_max_pool", x.rank() - 2, one, x), x).output;
}

Tensor global_avg_pool2d(const Tensor& x) {
  if (has_no_batch(x, 2)) return without_batch(global_avg_pool2d(unsqueeze(x, 0)));
  check_pool_rank("global_avg_pool2d", 2, x);
  return mean(x, {2, 3}, true);
}

Tensor global_max_pool2d(const Tensor& x) {
  if (has_no_batch(x, 2)) return without_batch(global_max_pool2d(unsqueeze(x, 0)));
  const Triple one{1, 1, 1};
  return largest(adaptive_pooling("global_max_pool2d", 2, one, x), x).output;
}

}  // namespace weft
