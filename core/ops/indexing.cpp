#include <algorithm>
#include <span>

#include "core/ops/op_support.h"
#include "core/value/number.h"
#include "core/value/views.h"
#include "weft/indexing.h"

namespace weft {

namespace {

[[noreturn]] void fail_index(std::string_view op, std::int64_t index, const Dims& position, const Shape& x, int axis) {
  throw IndexError(std::string(op) + ": index " + std::to_string(index) + " at " + to_string(position) +
                   " is outside [0, " + std::to_string(x[axis]) + "), axis " + std::to_string(axis) + " of " +
                   to_string(x));
}

// The indices as i64. Only the CPU can look at their values without waiting for them.
Array positions(std::string_view op, const Tensor& index, const Shape& x, int axis) {
  if (index.dtype() != DType::i64 && index.dtype() != DType::i32)
    throw DTypeError(std::string(op) + ": indices need dtype i64 or i32, not " + std::string(name(index.dtype())));
  Array result = index.array().to(DType::i64);
  if (!result.device().is_cpu() || result.size() == 0) return result;
  const Array dense = result.contiguous();
  const std::span values(dense.data_as<const std::int64_t>(), static_cast<std::size_t>(dense.size()));
  if (all_below(values, x[axis])) return result;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] >= 0 && values[i] < x[axis]) continue;
    fail_index(op, values[i], position_of(static_cast<std::int64_t>(i), index.shape()), x, axis);
  }
  return result;
}

// index has x's rank, and along the axes other than `axis` at most its size.
void check_fit(std::string_view op, std::string_view what, const Shape& index, const Shape& x, int axis) {
  bool fits = index.rank() == x.rank();
  for (int a = 0; fits && a < x.rank(); ++a) fits = a == axis || index[a] <= x[a];
  if (fits) return;
  throw ShapeError(std::string(op) + ": index " + to_string(index) + " does not fit " + std::string(what) + " " +
                   to_string(x) + (axis < 0 ? "" : " beside axis " + std::to_string(axis)));
}

// A tensor without axes as one of one element.
Tensor at_least_one_axis(const Tensor& x) { return x.rank() == 0 ? reshape(x, {1}) : x; }

Tensor add_at(std::string_view name, const Tensor& x, int axis, const Array& index, const Tensor& source);

// gather of checked indices.
Tensor take_at(std::string_view name, const Tensor& x, int axis, const Array& index) {
  Array out = Array::empty_like(layout::dense_like(x.array().layout(), index.shape()), x.dtype(), x.device());
  backend(x.device())->gather({const_view(x.array()), const_view(index), axis, mutable_view(out)});
  const Shape shape = x.shape();
  return record(name, std::move(out), {x}, {Save::constant("index", index)},
                [name, axis, shape](const SavedValues& saved, const Tensor& g) {
                  const Tensor zeros(Array::full(shape, 0, g.dtype(), g.device()));
                  return Values{add_at(name, zeros, axis, saved["index"].array(), g)};
                });
}

// scatter_add of checked operands.
Tensor add_at(std::string_view name, const Tensor& x, int axis, const Array& index, const Tensor& source) {
  check_computes(name, x.dtype(), x.device());
  constexpr std::int64_t kShortSum = 16;  // terms that f32 adds within a few units in the last place
  const bool widens = is_floating_point(x.dtype()) && x.dtype() != DType::f64 && index.shape()[axis] > kShortSum;
  const DType dtype = widens ? DType::f64 : x.dtype();
  Array out = widens ? x.array().to(dtype) : x.array().clone();
  const Array terms = source.array().to(dtype);
  backend(x.device())
      ->scatter({.source = const_view(terms),
                 .index = const_view(index),
                 .axis = axis,
                 .adds = true,
                 .out = mutable_view(out)});
  return record(name, out.to(x.dtype()), {x, source}, {Save::constant("index", index)},
                [name, axis](const SavedValues& saved, const Tensor& g) {
                  return Values{g, saved.needs(1) ? take_at(name, g, axis, saved["index"].array()) : Tensor()};
                });
}

// The first part of source that has the shape.
Tensor leading_part(const Tensor& source, const Shape& shape) {
  Tensor part = source;
  for (int a = 0; a < shape.rank(); ++a) {
    if (part.shape()[a] != shape[a]) part = slice(part, a, 0, shape[a]);
  }
  return part;
}

// Whether each write of a scatter is the last one to its place, (index's shape) bool. The writes are numbered from 1,
// because an index outside of the axis reads 0.
Array last_writes(const Array& index, int axis, const Shape& x) {
  const Device& device = index.device();
  const std::int64_t length = index.shape()[axis];
  Shape line = Shape::filled(index.rank(), 1);
  line[axis] = length;
  const Tensor order =
      expand(reshape(arange(1, length + 1, 1, {.dtype = DType::i64, .device = device}), line), index.shape());
  const Array written = Array::empty(x, DType::i64, device), read = Array::empty(index.shape(), DType::i64, device);
  const BackendHandle handle = backend(device);
  handle->scatter({const_view(order.array()), const_view(index), axis, false, mutable_view(written)});
  handle->gather({const_view(written), const_view(index), axis, mutable_view(read)});
  return equal(Tensor(read), order).array();
}

// scatter of checked operands.
Tensor put_at(const Tensor& x, int axis, const Array& index, const Tensor& source) {
  Array out = x.array().clone();
  backend(x.device())->scatter({const_view(source.array()), const_view(index), axis, false, mutable_view(out)});
  return record("scatter", std::move(out), {x, source}, {Save::constant("index", index)},
                [axis](const SavedValues& saved, const Tensor& g) {
                  const Array at = saved["index"].array();
                  const Tensor zero = scalar_like(g, 0);
                  Tensor x_grad, source_grad;
                  if (saved.needs(0)) x_grad = put_at(g, axis, at, expand(zero, at.shape()));
                  if (saved.needs(1)) {
                    const Tensor wins(last_writes(at, axis, g.shape()));
                    source_grad = where(wins, take_at("scatter", g, axis, at), zero);
                  }
                  return Values{x_grad, source_grad};
                });
}

// What scatter and scatter_add share: checks, then `write` of x, axis, index and the part of source that it reads.
template <class Write>
Tensor scattered(std::string_view op, const Tensor& x, int axis, const Tensor& index, const Tensor& source,
                 const Write& write) {
  common_device(op, {x, index, source});
  const int at = layout::normalize_axis(op, axis, std::max(x.rank(), 1));
  const Tensor to = at_least_one_axis(x), by = at_least_one_axis(index), from = at_least_one_axis(source);
  check_fit(op, "x", by.shape(), to.shape(), at);
  check_fit(op, "source", by.shape(), from.shape(), -1);
  if (x.dtype() != source.dtype()) {
    throw DTypeError(std::string(op) + ": source is " + std::string(name(source.dtype())) + " and x " +
                     std::string(name(x.dtype())));
  }
  const Array places = positions(op, by, to.shape(), at);
  const Tensor out = write(to, at, places, leading_part(from, by.shape()));
  return x.rank() == 0 ? reshape(out, {}) : out;
}

}  // namespace

Tensor take_along(std::string_view name, const Tensor& x, int axis, const Tensor& indices) {
  return take_at(name, x, axis, indices.array());
}

Tensor index_select(const Tensor& x, int axis, const Tensor& indices) {
  common_device("index_select", {x, indices});
  const int at = layout::normalize_axis("index_select", axis, std::max(x.rank(), 1));
  const Tensor from = at_least_one_axis(x), list = at_least_one_axis(indices);
  check_rank("index_select", "indices", list, 1);
  const Array places = positions("index_select", list, from.shape(), at);
  Layout line = places.layout();
  Shape shape = from.shape();
  shape[at] = places.size();
  Layout wide(shape, Strides::filled(shape.rank(), 0), line.offset);
  wide.strides[at] = line.strides[0];
  const Tensor out = take_at("index_select", from, at, places.view(wide));
  return x.rank() == 0 && indices.rank() == 0 ? reshape(out, {}) : out;
}

Tensor gather(const Tensor& x, int axis, const Tensor& index) {
  common_device("gather", {x, index});
  const int at = layout::normalize_axis("gather", axis, std::max(x.rank(), 1));
  const Tensor from = at_least_one_axis(x), by = at_least_one_axis(index);
  check_fit("gather", "x", by.shape(), from.shape(), at);
  const Tensor out = take_at("gather", from, at, positions("gather", by, from.shape(), at));
  return index.rank() == 0 ? reshape(out, {}) : out;
}

Tensor scatter(const Tensor& x, int axis, const Tensor& index, const Tensor& source) {
  return scattered("scatter", x, axis, index, source, put_at);
}

Tensor scatter(const Tensor& x, int axis, const Tensor& index, Scalar value) {
  common_device("scatter", {x, index});
  check_fits("scatter", value, x.dtype());
  const Tensor source = full({}, value, {.dtype = x.dtype(), .device = x.device()});
  return scatter(x, axis, index, expand(source, index.shape()));
}

Tensor scatter_add(const Tensor& x, int axis, const Tensor& index, const Tensor& source) {
  if (x.defined() && x.dtype() == DType::boolean) throw DTypeError("scatter_add: bool has no sums");
  return scattered("scatter_add", x, axis, index, source,
                   [](const Tensor& to, int at, const Array& places, const Tensor& from) {
                     return add_at("scatter_add", to, at, places, from);
                   });
}

Tensor masked_fill(const Tensor& x, const Tensor& mask, Scalar value) {
  common_device("masked_fill", {x, mask});
  if (mask.dtype() != DType::boolean)
    throw DTypeError("masked_fill: the mask needs dtype bool, not " + std::string(name(mask.dtype())));
  layout::broadcast("masked_fill", x.shape(), mask.shape());
  check_fits("masked_fill", value, x.dtype());
  return where(mask, full({}, value, {.dtype = x.dtype(), .device = x.device()}), x);
}

Tensor embedding(const Tensor& indices, const Tensor& weight) {
  common_device("embedding", {indices, weight});
  check_rank("embedding", "weight", weight, 2);
  const Array places = positions("embedding", indices, weight.shape(), 0).contiguous();
  const Layout rows({places.size(), weight.size(1)}, {1, 0}, places.layout().offset);
  Shape shape = indices.shape();
  shape.push_back(weight.size(1));
  return reshape(take_at("embedding", weight, 0, places.view(rows)), shape);
}

}  // namespace weft
