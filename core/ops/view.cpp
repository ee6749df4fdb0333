#include <algorithm>

#include "core/ops/op_support.h"

namespace weft {

Tensor permute(const Tensor& x, const Dims& axes) {
  Array out = x.array().view(layout::permute(x.array().layout(), axes));
  Dims inverse = Dims::filled(x.rank(), 0);
  for (int i = 0; i < x.rank(); ++i) inverse[layout::normalize_axis("permute", axes[i], x.rank())] = i;
  return record("permute", std::move(out), {x}, {},
                [inverse](const SavedValues&, const Tensor& g) { return std::vector<Tensor>{permute(g, inverse)}; });
}

Tensor transpose(const Tensor& x, int a, int b) {
  Array out = x.array().view(layout::transpose(x.array().layout(), a, b));
  return record("transpose", std::move(out), {x}, {},
                [a, b](const SavedValues&, const Tensor& g) { return std::vector<Tensor>{transpose(g, a, b)}; });
}

Tensor slice(const Tensor& x, int axis, std::optional<std::int64_t> start, std::optional<std::int64_t> stop,
             std::int64_t step) {
  return view("slice", x, [=](const Layout& base) { return layout::slice("slice", base, axis, start, stop, step); });
}

Tensor select(const Tensor& x, int axis, std::int64_t index) {
  return view("select", x, [=](const Layout& base) { return layout::select(base, axis, index); });
}

Tensor expand(const Tensor& x, const Shape& shape) {
  Array out = x.array().view(layout::expand("expand", x.array().layout(), shape));
  const Shape from = x.shape();
  return record("expand", std::move(out), {x}, {},
                [from](const SavedValues&, const Tensor& g) { return std::vector<Tensor>{sum_to(g, from)}; });
}

namespace {

// A view with the same elements in the same order.
Tensor with_layout(std::string_view name, const Tensor& x, const Layout& layout) {
  const Shape from = x.shape();
  return record(name, x.array().view(layout), {x}, {},
                [from](const SavedValues&, const Tensor& g) { return std::vector<Tensor>{reshape(g, from)}; });
}

}  // namespace

Tensor squeeze(const Tensor& x, const Axes& axes) {
  return with_layout("squeeze", x, layout::squeeze(x.array().layout(), axes));
}

Tensor unsqueeze(const Tensor& x, int axis) {
  return with_layout("unsqueeze", x, layout::unsqueeze(x.array().layout(), axis));
}

Tensor reshape(const Tensor& x, const Shape& shape) {
  if (const auto layout = layout::reshape(x.array().layout(), shape)) return with_layout("reshape", x, *layout);
  return reshape(contiguous(x), shape);
}

Tensor flatten(const Tensor& x, int first_axis, int last_axis) {
  const int rank = std::max(x.rank(), 1);  // 0 dimensions count as one
  const int first = layout::normalize_axis("flatten", first_axis, rank);
  const int last = layout::normalize_axis("flatten", last_axis, rank);
  if (first > last) {
    throw ValueError("flatten: first axis " + std::to_string(first_axis) + " comes after last axis " +
                     std::to_string(last_axis));
  }
  if (x.rank() == 0) return reshape(x, {1});
  Shape shape, joined;
  for (int i = 0; i < x.rank(); ++i) {
    if (i < first || i > last) {
      shape.push_back(x.shape()[i]);
    } else {
      joined.push_back(x.shape()[i]);
      if (i == last) shape.push_back(element_count(joined));
    }
  }
  return reshape(x, shape);
}

Tensor flip(const Tensor& x, const Axes& axes) {
  Array out = x.array().view(layout::flip(x.array().layout(), axes));
  return record("flip", std::move(out), {x}, {},
                [axes](const SavedValues&, const Tensor& g) { return std::vector<Tensor>{flip(g, axes)}; });
}

Tensor as_strided(const Tensor& x, const Shape& shape, const Strides& strides, std::int64_t offset) {
  const auto map = [=](const Layout& base) { return layout::as_strided(base, shape, strides, offset); };
  if (is_recorded({x})) {
    Layout base = x.array().layout();
    base.offset = 0;
    const auto [first, last] = layout::extent(map(base));
    if (!base.is_dense() || first < 0 || last >= base.size()) {
      throw AutogradError("as_strided: a gradient needs a dense input that holds the whole view, not shape " +
                          to_string(x.shape()) + " with strides " + to_string(x.array().strides()) +
                          "; make it contiguous() first");
    }
  }
  return view("as_strided", x, map, true);
}

}  // namespace weft
