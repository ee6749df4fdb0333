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

namespace {

/// A layout over memory from `first` on, whatever the layout of that memory.
LayoutMap at(Layout x, std::int64_t first) {
  if (x.size() == 0) {
    x = Layout::row_major(x.shape);
  } else {
    x.offset -= first;
  }
  return [x](const Layout& memory) {
    Layout y = x;
    y.offset += memory.offset;
    return y;
  };
}

/// as_strided of an x with gaps, with elements that share memory, or of memory beyond x. Its gradient goes by way of
/// all the memory that x and the view touch.
Tensor view_of_memory(const Tensor& x, const Layout& to) {
  Array out = x.array().view(to);
  const Layout from = x.array().layout();
  const auto [x_first, x_last] = layout::extent(from);
  const auto [first, last] = layout::extent(to);
  const bool has_x = from.size() > 0, has_view = to.size() > 0;
  const std::int64_t begin = !has_x ? first : !has_view ? x_first : std::min(first, x_first);
  const std::int64_t end = !has_x ? last : !has_view ? x_last : std::max(last, x_last);
  const Layout memory = Layout::row_major({end - begin + 1});
  const LayoutMap of_x = at(from, begin), of_view = at(to, begin);
  const bool shares = layout::may_overlap(from);
  const auto backward = [=](const SavedValues&, const Tensor& g) {
    Tensor gradient = view("as_strided", embed("as_strided", g, memory, of_view, 0, true), of_x, true);
    if (shares) {
      const Tensor once = ones(from.shape, {.dtype = g.dtype(), .device = g.device()});
      gradient = gradient / view("as_strided", embed("as_strided", once, memory, of_x, 0, true), of_x, true);
    }
    return std::vector<Tensor>{gradient};
  };
  return record("as_strided", std::move(out), {x}, {}, BackwardFunction(backward));
}

}  // namespace

Tensor as_strided(const Tensor& x, const Shape& shape, const Strides& strides, std::int64_t offset) {
  const auto map = [=](const Layout& base) { return layout::as_strided(base, shape, strides, offset); };
  if (is_recorded({x})) {
    Layout base = x.array().layout();
    base.offset = 0;
    const auto [first, last] = layout::extent(map(base));
    if (!base.is_dense() || first < 0 || last >= base.size()) return view_of_memory(x, map(x.array().layout()));
  }
  return view("as_strided", x, map, true);
}

}  // namespace weft
