#include "tests/fuzz/op_case.h"

// Functions of indices, sorting and running sums.

namespace weft::fuzz {

namespace {

using Tensors = std::vector<Tensor>;

/// i64 or i32, rarely another dtype.
Tensor indices(OpInput& in, const Shape& shape) {
  const DType usual = in.rarely(4) ? DType::i32 : DType::i64;
  return in.tensor(shape, in.rarely(32) ? in.dtype() : usual);
}

/// The indices inside of an axis, unless the input wants them as they are.
Tensor inside(const Tensor& index, std::int64_t size, bool raw) {
  return raw || size == 0 ? index : remainder(index, size);
}

std::int64_t axis_size(const Tensor& x, int axis) {
  const int at = axis < 0 ? axis + x.rank() : axis;
  return at >= 0 && at < x.rank() && x.shape()[at] < 1000 ? x.shape()[at] : 1;
}

/// A shape that mostly fits x beside the axis.
Shape index_shape(OpInput& in, const Shape& x, int axis) {
  Shape shape = x;
  for (std::int64_t& size : shape) {
    if (in.rarely(4)) size = size > 0 ? size - 1 : in.size();
  }
  if (axis >= 0 && axis < shape.rank()) shape[axis] = in.rarely(4) ? 30 : in.size();
  return shape;
}

Case selects(OpInput& in) {
  const Tensor x = in.tensor(in.huge(in.shape()));
  const int axis = in.axis(x.rank());
  const bool raw = in.rarely(8);
  const Tensor list = indices(in, in.rarely(16) ? in.shape(2) : Shape{in.size()});
  return {{x, list}, [=](const Tensors& t) {
            return Tensors{index_select(t[0], axis, inside(t[1], axis_size(t[0], axis), raw))};
          }};
}

Case gathers(OpInput& in) {
  const Shape shape = in.shape();
  const int axis = in.axis(shape.rank());
  const Tensor x = in.tensor(in.huge(shape)), index = indices(in, index_shape(in, shape, axis));
  const bool raw = in.rarely(8);
  return {{x, index},
          [=](const Tensors& t) { return Tensors{gather(t[0], axis, inside(t[1], axis_size(t[0], axis), raw))}; }};
}

Case scatters(OpInput& in) {
  const Shape shape = in.shape();
  const int axis = in.axis(shape.rank()), which = in.below(3);
  const DType dtype = in.dtype();
  const Shape by = index_shape(in, shape, axis);
  const Tensor x = in.tensor(in.huge(shape), dtype), index = indices(in, by);
  const Tensor source = in.tensor(in.rarely(8) ? in.shape() : by, in.rarely(16) ? in.dtype() : dtype);
  const double number = in.number();
  const bool raw = in.rarely(8);
  return {{x, index, source},
          [=](const Tensors& t) -> Tensors {
            const Tensor at = inside(t[1], axis_size(t[0], axis), raw);
            if (which == 0) return {scatter(t[0], axis, at, t[2])};
            if (which == 1) return {scatter(t[0], axis, at, number)};
            return {scatter_add(t[0], axis, at, t[2])};
          },
          which == 2 ? Match::close : Match::exact};
}

Case fills(OpInput& in) {
  const Shape shape = in.huge(in.shape());
  const Tensor x = in.tensor(in.rarely(2) ? in.broadcast(shape) : shape);
  const Tensor mask = in.tensor(in.broadcast(shape), in.rarely(16) ? in.dtype() : DType::boolean);
  const double number = in.number();
  return {{x, mask}, [=](const Tensors& t) { return Tensors{masked_fill(t[0], t[1], number)}; }};
}

Case embeddings(OpInput& in) {
  const Tensor weight = in.tensor(in.rarely(16) ? in.shape() : in.huge({in.size(), in.size()}));
  const Tensor list = indices(in, in.shape());
  const bool raw = in.rarely(8);
  return {{list, weight},
          [=](const Tensors& t) { return Tensors{embedding(inside(t[0], axis_size(t[1], 0), raw), t[1])}; }};
}

Case running_sums(OpInput& in) {
  const Tensor x = in.tensor(in.huge(in.shape()));
  const int axis = in.axis(x.rank());
  return {{x}, [=](const Tensors& t) { return Tensors{cumsum(t[0], axis)}; }, Match::close};
}

Case sorts(OpInput& in) {
  const Tensor x = in.tensor(in.huge(in.shape()));
  const int axis = in.axis(x.rank()), which = in.below(3);
  const bool descending = in.flag();
  const std::int64_t k = in.option(0, 4);
  return {{x}, [=](const Tensors& t) -> Tensors {
            if (which == 0) return {argsort(t[0], axis, descending)};
            const Sorted sorted = which == 1 ? sort(t[0], axis, descending) : topk(t[0], k, axis, descending);
            return {sorted.values, sorted.indices};
          }};
}

}  // namespace

std::span<const Draw> indexing_families() {
  static const Draw families[] = {selects, gathers, scatters, fills, embeddings, running_sums, sorts};
  return families;
}

}  // namespace weft::fuzz
