#include <algorithm>

#include "core/ops/op_support.h"
#include "core/value/views.h"
#include "weft/indexing.h"

namespace weft {

namespace {

// The axis of a checked x, which has at least one.
int sorted_axis(std::string_view op, const Tensor& x, int axis) {
  common_device(op, {x});
  check_computes(op, x.dtype(), x.device());
  return layout::normalize_axis(op, axis, std::max(x.rank(), 1));
}

// The first `count` places of x, which has axes, along the axis in order.
Tensor places_in_order(const Tensor& x, int axis, bool descending, std::int64_t count) {
  Shape shape = x.shape();
  shape[axis] = count;
  const Array indices = Array::empty_like(layout::dense_like(x.array().layout(), shape), DType::i64, x.device());
  backend(x.device())->argsort(const_view(x.array()), axis, descending, mutable_view(indices));
  return Tensor(indices);
}

}  // namespace

Tensor argsort(const Tensor& x, int axis, bool descending) {
  const int at = sorted_axis("argsort", x, axis);
  if (x.rank() == 0) return zeros({}, {.dtype = DType::i64, .device = x.device()});
  return places_in_order(x, at, descending, x.shape()[at]);
}

Sorted sort(const Tensor& x, int axis, bool descending) {
  const int at = sorted_axis("sort", x, axis);
  const Tensor indices = argsort(x, at, descending);
  return {x.rank() == 0 ? x : take_along("sort", x, at, indices), indices};
}

Sorted topk(const Tensor& x, std::int64_t k, int axis, bool largest) {
  const int at = sorted_axis("topk", x, axis);
  if (x.rank() == 0 && k == 1) return sort(x);
  const std::int64_t size = x.rank() == 0 ? 1 : x.shape()[at];
  if (k < 0 || k > size) {
    throw ValueError("topk: k " + std::to_string(k) + " is outside [0, " + std::to_string(size) +
                     "], the size of axis " + std::to_string(at) + " of " + to_string(x.shape()));
  }
  const Tensor from = x.rank() == 0 ? reshape(x, {1}) : x;
  const Tensor indices = places_in_order(from, at, largest, k);
  return {take_along("topk", from, at, indices), indices};
}

}  // namespace weft
