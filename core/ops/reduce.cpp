#include <algorithm>
#include <limits>

#include "core/ops/op_support.h"
#include "core/value/views.h"

namespace weft {

namespace {

using Mask = std::array<bool, kMaxRank>;

Shape kept_shape(const Shape& shape, const Mask& mask, bool keep_axes) {
  if (keep_axes) return layout::with_reduced(shape, mask);
  Shape result;
  for (int i = 0; i < shape.rank(); ++i) {
    if (!mask[static_cast<std::size_t>(i)]) result.push_back(shape[i]);
  }
  return result;
}

bool reduces_nothing(const Mask& mask) { return mask == Mask{}; }

std::int64_t reduced_count(const Shape& shape, const Mask& mask) {
  std::int64_t count = 1;
  for (int i = 0; i < shape.rank(); ++i) {
    // Where this is more than can be counted the shape is empty, and nothing depends on the count.
    if (mask[static_cast<std::size_t>(i)] && __builtin_mul_overflow(count, shape[i], &count)) count = INT64_MAX;
  }
  return count;
}

// A row-major array seen without (or with) its reduced axes.
Array reshaped(const Array& array, const Shape& shape) { return array.view(Layout::row_major(shape)); }

}  // namespace

Tensor sum(const Tensor& x, const Axes& axes, bool keep_axes) {
  check_computes("sum", x.dtype(), x.device());
  const Mask mask = layout::axes_mask("sum", axes, x.rank());
  const Tensor input = is_floating_point(x.dtype()) ? x : x.to(DType::i64);
  if (reduces_nothing(mask)) return input;
  const Shape wide = layout::with_reduced(x.shape(), mask);
  Array out = reshaped(reduce_array(ReduceOp::sum, input.array(), mask), kept_shape(x.shape(), mask, keep_axes));
  const Shape shape = x.shape();
  return record("sum", std::move(out), {input}, {},
                [wide, shape](const SavedValues&, const Tensor& g) { return Values{expand(reshape(g, wide), shape)}; });
}

Tensor mean(const Tensor& x, const Axes& axes, bool keep_axes) {
  const Mask mask = layout::axes_mask("mean", axes, x.rank());
  return sum(floating("mean", x), axes, keep_axes) / static_cast<double>(reduced_count(x.shape(), mask));
}

namespace {

Tensor extreme(ReduceOp op, std::string_view name, const Tensor& x, const Axes& axes, bool keep_axes) {
  check_computes(name, x.dtype(), x.device());
  const Mask mask = layout::axes_mask(name, axes, x.rank());
  if (reduces_nothing(mask)) return x;
  if (reduced_count(x.shape(), mask) == 0) {
    throw ShapeError(std::string(name) + ": " + to_string(x.shape()) + " has no elements along the reduced axes");
  }
  const Shape wide = layout::with_reduced(x.shape(), mask);
  const Array out = reshaped(reduce_array(op, x.array(), mask), kept_shape(x.shape(), mask, keep_axes));
  Dims reduced;
  for (int i = 0; i < x.rank(); ++i) {
    if (mask[static_cast<std::size_t>(i)]) reduced.push_back(i);
  }
  return record(name, out, {x}, {Save::input("x", 0), Save::constant("extreme", out)},
                [wide, reduced](const SavedValues& saved, const Tensor& g) {
                  const Tensor hits = equal(saved["x"].detach(), reshape(saved["extreme"], wide)).to(g.dtype());
                  return Values{reshape(g, wide) * (hits / sum(hits, reduced, true))};
                });
}

}  // namespace

Tensor max(const Tensor& x, const Axes& axes, bool keep_axes) {
  return extreme(ReduceOp::max, "max", x, axes, keep_axes);
}
Tensor min(const Tensor& x, const Axes& axes, bool keep_axes) {
  return extreme(ReduceOp::min, "min", x, axes, keep_axes);
}

Tensor var(const Tensor& x, const Axes& axes, std::int64_t correction, bool keep_axes) {
  const Tensor input = floating("var", x);
  const std::int64_t count = reduced_count(x.shape(), layout::axes_mask("var", axes, x.rank()));
  const Tensor centred = input - mean(input, axes, true);
  const double divisor = static_cast<double>(count) - static_cast<double>(correction);
  const Tensor squares = sum(square(centred), axes, keep_axes);
  // The mean is rounded, and what is left of it counts in the squares: Σ(d - mean d)² = Σd² - (Σd)²/n. A constant: the
  // gradient of the mean takes care of it.
  const Tensor rest =
      square(sum(centred.detach(), axes, keep_axes)) / static_cast<double>(std::max<std::int64_t>(count, 1));
  return (squares - minimum(rest, squares.detach())) / std::max(divisor, 0.0);
}

Tensor logsumexp(const Tensor& x, const Axes& axes, bool keep_axes) {
  const Tensor input = floating("logsumexp", x);
  const Mask mask = layout::axes_mask("logsumexp", axes, x.rank());
  if (reduces_nothing(mask)) return input;
  const Shape shape = kept_shape(x.shape(), mask, keep_axes);
  if (reduced_count(x.shape(), mask) == 0) return log(sum(input, axes, keep_axes));  // of nothing: log 0
  const Tensor largest = max(input.detach(), axes, true);
  const Tensor shift = where(is_finite(largest), largest, scalar_like(largest, 0));  // ±infinity must not become NaN
  const Tensor total = sum(exp(input - shift), axes, true);
  const Tensor none = equal(total, scalar_like(total, 0));  // nothing but -infinity: gradient 0, not 0/0
  const Tensor logs = log(where(none, scalar_like(total, 1), total));
  return reshape(where(none, scalar_like(total, -std::numeric_limits<double>::infinity()), logs) + shift, shape);
}

namespace {

Tensor arg_extreme(ArgReduceOp op, std::string_view name, const Tensor& x, std::optional<int> axis, bool keep_axes) {
  check_computes(name, x.dtype(), x.device());
  const Tensor input = axis ? x.detach() : reshape(x.detach(), {-1});
  const int at = axis ? layout::normalize_axis(name, *axis, x.rank()) : 0;
  if (input.shape()[at] == 0)
    throw ShapeError(std::string(name) + ": " + to_string(x.shape()) + " has no elements to choose from");
  Mask mask{};
  mask[static_cast<std::size_t>(at)] = true;
  const Array out = Array::empty(layout::with_reduced(input.shape(), mask), DType::i64, x.device());
  backend(x.device())->arg_reduce(op, const_view(input.array()), at, mutable_view(out));
  const Shape shape = axis ? kept_shape(x.shape(), mask, keep_axes) : keep_axes ? Dims::filled(x.rank(), 1) : Shape{};
  return Tensor(reshaped(out, shape));
}

}  // namespace

Tensor argmax(const Tensor& x, std::optional<int> axis, bool keep_axes) {
  return arg_extreme(ArgReduceOp::argmax, "argmax", x, axis, keep_axes);
}
Tensor argmin(const Tensor& x, std::optional<int> axis, bool keep_axes) {
  return arg_extreme(ArgReduceOp::argmin, "argmin", x, axis, keep_axes);
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  layout::expand("sum_to", Layout::row_major(shape), x.shape());
  const int added = x.rank() - shape.rank();
  Dims axes;
  for (int i = 0; i < x.rank(); ++i) {
    if (i < added || (shape[i - added] == 1 && x.shape()[i] != 1)) axes.push_back(i);
  }
  return reshape(sum(x, axes, true), shape);
}

}  // namespace weft
