#include <algorithm>
#include <cmath>

#include "core/ops/op_support.h"
#include "core/value/number.h"
#include "core/value/views.h"

namespace weft {

Tensor empty(const Shape& shape, const TensorOptions& options) {
  return Tensor(Array::empty(shape, options.dtype.value_or(DType::f32), options.device), options.requires_grad);
}

Tensor full(const Shape& shape, Scalar value, const TensorOptions& options) {
  return Tensor(Array::full(shape, value, options.dtype, options.device), options.requires_grad);
}

Tensor zeros(const Shape& shape, const TensorOptions& options) { return full(shape, 0.0, options); }
Tensor ones(const Shape& shape, const TensorOptions& options) { return full(shape, 1.0, options); }

Tensor full_like(const Tensor& x, Scalar value) {
  check_fits("full_like", value, x.dtype());
  Array out = Array::empty_like(x.array().layout(), x.dtype(), x.device());
  backend(x.device())->fill(mutable_view(out), value);
  return Tensor(std::move(out));
}

Tensor zeros_like(const Tensor& x) { return full_like(x, 0); }
Tensor ones_like(const Tensor& x) { return full_like(x, 1); }

namespace {

DType arange_dtype(std::initializer_list<Scalar> numbers) {
  for (const Scalar& number : numbers) {
    if (number.dtype() == DType::f32) return DType::f32;
  }
  return DType::i64;
}

}  // namespace

Tensor arange(Scalar start, Scalar stop, Scalar step, const TensorOptions& options) {
  if (step.as_double() == 0) throw ValueError("arange: step must not be 0");
  std::int64_t count = 0;
  Scalar last = start;
  if (start.is_floating_point() || stop.is_floating_point() || step.is_floating_point()) {
    const double span = std::ceil((stop.as_double() - start.as_double()) / step.as_double());
    if (!(std::abs(span) < 0x1p62))
      throw ValueError("arange: the range from " + to_string(start) + " to " + to_string(stop) + " has no length");
    count = static_cast<std::int64_t>(std::max(span, 0.0));
    last = start.as_double() + std::max(span - 1, 0.0) * step.as_double();
  } else {
    const __int128 span = static_cast<__int128>(stop.as_int()) - start.as_int();
    const __int128 by = step.as_int();
    const __int128 whole = span / by + (span % by != 0 ? 1 : 0);
    if ((span > 0) == (by > 0) && span != 0) {
      if (whole > INT64_MAX) throw ShapeError("arange: more than 2^63 - 1 elements");
      count = static_cast<std::int64_t>(whole);
      last = static_cast<std::int64_t>(start.as_int() + (whole - 1) * by);
    }
  }
  const DType dtype = options.dtype.value_or(arange_dtype({start, stop, step}));
  for (const Scalar& end : {start, last}) {
    if (count > 0) check_fits("arange", end, dtype);
  }
  check_computes("arange", dtype, options.device);
  Array out = Array::empty({count}, dtype, options.device);
  backend(options.device)->arange(mutable_view(out), start, step);
  return Tensor(std::move(out), options.requires_grad);
}

Tensor linspace(Scalar start, Scalar stop, std::int64_t steps, const TensorOptions& options) {
  if (steps < 0) throw ValueError("linspace: steps must not be " + std::to_string(steps));
  const DType dtype = options.dtype.value_or(DType::f32);
  for (const Scalar& end : {start, stop}) check_fits("linspace", end, dtype);
  const double first = start.as_double(), last = stop.as_double();
  const double step = steps > 1 ? (last - first) / static_cast<double>(steps - 1) : 0;
  // Each half counts from its own end, so that both ends are exact.
  const TensorOptions wide{.dtype = DType::f64, .device = options.device};
  const std::int64_t half = steps / 2;
  std::vector<Tensor> halves;
  if (steps == 1 || half > 0) halves.push_back(arange(0, std::max<std::int64_t>(half, 1), 1, wide) * step + first);
  if (steps > 1) halves.push_back(arange(half - steps + 1, 1, 1, wide) * step + last);
  const Tensor numbers = halves.empty() ? empty({0}, wide) : concatenate(halves);
  return Tensor(numbers.to(dtype).array(), options.requires_grad);
}

Tensor eye(std::int64_t rows, std::optional<std::int64_t> columns, const TensorOptions& options) {
  const std::int64_t width = columns.value_or(rows);
  Array out = Array::full({rows, width}, 0, options.dtype.value_or(DType::f32), options.device);
  const std::int64_t diagonal = std::min(rows, width);
  if (diagonal > 0) {
    const Array view = out.view(Layout({diagonal}, {width + 1}));
    backend(options.device)->fill(mutable_view(view), 1);
  }
  return Tensor(std::move(out), options.requires_grad);
}

Tensor one_hot(const Tensor& indices, std::int64_t classes, DType dtype) {
  if (!is_integer(indices.dtype()))
    throw DTypeError("one_hot: indices need an integer dtype, not " + std::string(name(indices.dtype())));
  if (classes < 0) throw ValueError("one_hot: classes must not be " + std::to_string(classes));
  if (indices.size() == 0) {
    Shape shape = indices.shape();
    shape.push_back(classes);
    return zeros(shape, {.dtype = dtype, .device = indices.device()});
  }
  const Tensor numbers = arange(0, classes, 1, {.dtype = DType::i64, .device = indices.device()});
  return equal(unsqueeze(indices, -1), numbers).to(dtype);
}

}  // namespace weft
