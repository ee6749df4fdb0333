#include "core/ops/pool.h"

#include "core/value/views.h"

namespace weft {

namespace {

// The names of an op with one, two and three spatial axes.
using OpNames = std::string_view[3];
constexpr OpNames kMaxPool = {"max_pool1d", "max_pool2d", "max_pool3d"};
constexpr OpNames kMaxPoolWithIndices = {"max_pool1d_with_indices", "max_pool2d_with_indices",
                                         "max_pool3d_with_indices"};
constexpr OpNames kMaxUnpool = {"max_unpool1d", "max_unpool2d", "max_unpool3d"};
constexpr OpNames kAvgPool = {"avg_pool1d", "avg_pool2d", "avg_pool3d"};
constexpr OpNames kLPPool = {"lp_pool1d", "lp_pool2d", "lp_pool3d"};
constexpr OpNames kAdaptiveAvgPool = {"adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"};
constexpr OpNames kAdaptiveMaxPool = {"adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"};
constexpr OpNames kAdaptiveMaxPoolWithIndices = {"adaptive_max_pool1d_with_indices", "adaptive_max_pool2d_with_indices",
                                                 "adaptive_max_pool3d_with_indices"};

Array pool_pass(PoolPass pass, const PoolShape& s, const Array& in, const Array& indices, const Shape& shape) {
  const Array dense = channels_last(in);
  Array out = Array::empty_like(Layout::channels_last(shape), in.dtype(), in.device());
  if (out.size() == 0) return out;  // without images or channels a map may be of any size: no kernel meets it
  const BackendHandle device = backend(in.device());
  if (pass == PoolPass::unpool) device->fill(mutable_view(out), 0);
  device->pool(pass, s, const_view(dense), indices.defined() ? mutable_view(indices) : View{}, mutable_view(out));
  return out;
}

// Both directions of a linear map between x and y: forward ? x -> y : y -> x. The gradient of each is the other.
Tensor linear_pool(PoolPass forward_pass, PoolPass backward_pass, bool forward, const Pooling& p, const Tensor& in,
                   const Array& indices) {
  Array out = pool_pass(forward ? forward_pass : backward_pass, p.shape, in.array(), indices, forward ? p.y() : p.x());
  return record(p.op, std::move(out), {in}, {Save::constant("indices", indices)},
                [=](const SavedValues& saved, const Tensor& g) {
                  return Values{linear_pool(forward_pass, backward_pass, !forward, p, g, saved["indices"].array())};
                });
}

struct Largest {
  Tensor output;
  Array indices;
};

Largest largest(const Pooling& p, const Tensor& x) {
  const Array indices = Array::empty_like(Layout::channels_last(p.y()), DType::i32, x.device());
  Array out = pool_pass(PoolPass::max, p.shape, x.array(), indices, p.y());
  const auto backward = [p](const SavedValues& saved, const Tensor& g) {
    return Values{linear_pool(PoolPass::max_gather, PoolPass::max_scatter, false, p, g, saved["indices"].array())};
  };
  return {record(p.op, std::move(out), {x}, {Save::constant("indices", indices)}, backward), indices};
}

// Whether x is (C, ...) with `axes` spatial axes, which is pooled as a batch of one.
bool has_no_batch(const Tensor& x, int axes) { return x.defined() && x.rank() == axes + 1; }

Tensor without_batch(const Tensor& y) { return squeeze(y, {0}); }
MaxPoolResult without_batch(const MaxPoolResult& y) { return {without_batch(y.output), without_batch(y.indices)}; }

MaxPoolResult with_indices(const Pooling& p, const Tensor& x) {
  const Largest found = largest(p, x);
  return {found.output, Tensor(found.indices).to(DType::i64)};
}

template <int N>
Pooling adaptive(std::string_view op, const PerAxis<N>& output_size, const Tensor& x) {
  check_output_size(op, output_size);
  return adaptive_pooling(op, N, align(output_size, 1), x);
}

template <int N>
Pooling max_pooling(std::string_view op, const PerAxis<N>& kernel, const MaxPoolOptions<N>& o, const Tensor& x) {
  check_options(op, kernel, o);
  return regular_pooling(op, kernel, o, x);
}

Tensor average(const Pooling& p, const Tensor& x) {
  if (p.shape.dilation != Triple{1, 1, 1}) return dilated_average(p, x);
  return linear_pool(PoolPass::average, PoolPass::average_grad, true, p, x, Array());
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
  const Array winners = pool_pass(PoolPass::unpool, p.shape, numbers.array(), indices, p.x());
  const Tensor winner(pool_pass(PoolPass::max_gather, p.shape, winners, indices, p.y()));
  const Tensor all(indices);
  return channels_last(where(equal(winner, numbers), all, scalar_like(all, -1)).array());
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

template <int N>
Tensor max_pool(const Tensor& x, PerAxis<N> kernel, const MaxPoolOptions<N>& o) {
  if (has_no_batch(x, N)) return without_batch(max_pool<N>(unsqueeze(x, 0), kernel, o));
  return largest(max_pooling(kMaxPool[N - 1], kernel, o, x), x).output;
}

template <int N>
MaxPoolResult max_pool_with_indices(const Tensor& x, PerAxis<N> kernel, const MaxPoolOptions<N>& o) {
  if (has_no_batch(x, N)) return without_batch(max_pool_with_indices<N>(unsqueeze(x, 0), kernel, o));
  return with_indices(max_pooling(kMaxPoolWithIndices[N - 1], kernel, o, x), x);
}

template <int N>
Tensor max_unpool(const Tensor& x, const Tensor& indices, PerAxis<N> kernel, const MaxUnpoolOptions<N>& o,
                  PerAxis<N> output_size) {
  if (has_no_batch(x, N) && has_no_batch(indices, N)) {
    return without_batch(max_unpool<N>(unsqueeze(x, 0), unsqueeze(indices, 0), kernel, o, output_size));
  }
  const Pooling p = unpooling(kMaxUnpool[N - 1], kernel, o, output_size, x, indices);
  Array where_to = indices_below(p, indices);
  if (is_recorded({x})) where_to = last_of_equals(p, where_to);
  return linear_pool(PoolPass::max_gather, PoolPass::unpool, false, p, x, where_to);
}

template <int N>
Tensor avg_pool(const Tensor& x, PerAxis<N> kernel, const AvgPoolOptions<N>& o) {
  if (has_no_batch(x, N)) return without_batch(avg_pool<N>(unsqueeze(x, 0), kernel, o));
  constexpr std::string_view kOp = kAvgPool[N - 1];
  check_options(kOp, kernel, o);
  Pooling p = regular_pooling(kOp, kernel, windows(o), x);
  set_divisor(p, o.count_include_pad);
  if (o.divisor_override) p.shape.divisor = static_cast<double>(*o.divisor_override);
  return average(p, x);
}

template <int N>
Tensor lp_pool(const Tensor& x, double norm, PerAxis<N> kernel, const LPPoolOptions<N>& o) {
  if (has_no_batch(x, N)) return without_batch(lp_pool<N>(unsqueeze(x, 0), norm, kernel, o));
  constexpr std::string_view kOp = kLPPool[N - 1];
  check_options(kOp, norm, kernel, o);
  Pooling p = regular_pooling(kOp, kernel, windows(o), x);
  set_divisor(p, true);
  double volume = 1;
  for (const std::int64_t size : p.shape.kernel) volume *= static_cast<double>(size);
  const bool whole = p.shape.divisor == volume;
  if (whole) p.shape.divisor = 1;
  const Tensor mean_or_sum = average(p, norm == 1 ? x : norm == 2 ? square(x) : power(x, norm));
  const Tensor total = whole ? mean_or_sum : mean_or_sum * volume;
  if (norm == 1) return total;
  // The root has no slope at 0, where PyTorch takes 0.
  const Tensor zero = zeros_like(total), empty = equal(total, zero), positive = where(empty, ones_like(total), total);
  return where(empty, zero, norm == 2 ? sqrt(positive) : power(positive, 1 / norm));
}

template <int N>
Tensor adaptive_avg_pool(const Tensor& x, PerAxis<N> output_size) {
  if (has_no_batch(x, N)) return without_batch(adaptive_avg_pool<N>(unsqueeze(x, 0), output_size));
  Pooling p = adaptive(kAdaptiveAvgPool[N - 1], output_size, x);
  set_divisor(p, true);
  return average(p, x);
}

template <int N>
Tensor adaptive_max_pool(const Tensor& x, PerAxis<N> output_size) {
  if (has_no_batch(x, N)) return without_batch(adaptive_max_pool<N>(unsqueeze(x, 0), output_size));
  return largest(adaptive(kAdaptiveMaxPool[N - 1], output_size, x), x).output;
}

template <int N>
MaxPoolResult adaptive_max_pool_with_indices(const Tensor& x, PerAxis<N> output_size) {
  if (has_no_batch(x, N)) return without_batch(adaptive_max_pool_with_indices<N>(unsqueeze(x, 0), output_size));
  return with_indices(adaptive(kAdaptiveMaxPoolWithIndices[N - 1], output_size, x), x);
}

#define WEFT_POOLINGS(N)                                                                                        \
  template Tensor max_pool(const Tensor&, PerAxis<N>, const MaxPoolOptions<N>&);                                \
  template MaxPoolResult max_pool_with_indices(const Tensor&, PerAxis<N>, const MaxPoolOptions<N>&);            \
  template Tensor max_unpool(const Tensor&, const Tensor&, PerAxis<N>, const MaxUnpoolOptions<N>&, PerAxis<N>); \
  template Tensor avg_pool(const Tensor&, PerAxis<N>, const AvgPoolOptions<N>&);                                \
  template Tensor lp_pool(const Tensor&, double, PerAxis<N>, const LPPoolOptions<N>&);                          \
  template Tensor adaptive_avg_pool(const Tensor&, PerAxis<N>);                                                 \
  template Tensor adaptive_max_pool(const Tensor&, PerAxis<N>);                                                 \
  template MaxPoolResult adaptive_max_pool_with_indices(const Tensor&, PerAxis<N>);
WEFT_POOLINGS(1)
WEFT_POOLINGS(2)
WEFT_POOLINGS(3)
#undef WEFT_POOLINGS

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
