#include "core/value/layout.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "core/device/integer.h"
#include "weft/error.h"

namespace weft::layout {

namespace {

std::string prefix(std::string_view op) { return std::string(op) + ": "; }

}  // namespace

int normalize_axis(std::string_view op, std::int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) {
    throw IndexError(prefix(op) + "axis " + std::to_string(axis) + " is out of range for " + std::to_string(rank) +
                     " dimensions");
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

std::array<bool, kMaxRank> axes_mask(std::string_view op, const Axes& axes, int rank) {
  std::array<bool, kMaxRank> mask{};
  if (axes.is_all()) {
    std::fill_n(mask.begin(), rank, true);
    return mask;
  }
  for (const std::int64_t axis : axes.list()) {
    const auto i = static_cast<std::size_t>(normalize_axis(op, axis, rank));
    if (mask[i])
      throw ValueError(prefix(op) + "axis " + std::to_string(axis) + " is named twice in " + to_string(axes.list()));
    mask[i] = true;
  }
  return mask;
}

Layout permute(const Layout& x, const Dims& axes) {
  if (axes.rank() != x.rank()) {
    throw ShapeError("permute: axes " + to_string(axes) + " do not match the " + std::to_string(x.rank()) +
                     " dimensions of " + to_string(x.shape));
  }
  axes_mask("permute", axes, x.rank());
  Layout y = x;
  for (int i = 0; i < x.rank(); ++i) {
    const int from = normalize_axis("permute", axes[i], x.rank());
    y.shape[i] = x.shape[from];
    y.strides[i] = x.strides[from];
  }
  return y;
}

Layout transpose(const Layout& x, int a, int b) {
  a = normalize_axis("transpose", a, x.rank());
  b = normalize_axis("transpose", b, x.rank());
  Layout y = x;
  std::swap(y.shape[a], y.shape[b]);
  std::swap(y.strides[a], y.strides[b]);
  return y;
}

Layout slice(std::string_view op, const Layout& x, int axis, std::optional<std::int64_t> start,
             std::optional<std::int64_t> stop, std::int64_t step) {
  axis = normalize_axis(op, axis, x.rank());
  if (step == 0 || step == INT64_MIN) throw ValueError(prefix(op) + "step must not be " + std::to_string(step));
  const std::int64_t size = x.shape[axis];
  const std::int64_t low = step > 0 ? 0 : -1;
  const std::int64_t high = step > 0 ? size : size - 1;
  const auto resolve = [&](std::int64_t at) { return std::clamp(at < 0 ? at + size : at, low, high); };
  const std::int64_t first = start ? resolve(*start) : (step > 0 ? 0 : size - 1);
  const std::int64_t last = stop ? resolve(*stop) : (step > 0 ? size : -1);
  const std::int64_t span = step > 0 ? last - first : first - last;
  const std::int64_t count = span <= 0 ? 0 : ceil_div<std::int64_t>(span, std::abs(step));
  Layout y = x;
  y.shape[axis] = count;
  if (x.size() == 0) return y;  // its strides may be of any size, here and below
  if (count > 0) y.offset += first * x.strides[axis];
  if (count > 1) y.strides[axis] = x.strides[axis] * step;
  return y;
}

Layout select(const Layout& x, int axis, std::int64_t index) {
  axis = normalize_axis("select", axis, x.rank());
  const std::int64_t size = x.shape[axis];
  if (index < -size || index >= size) {
    throw IndexError("select: index " + std::to_string(index) + " is out of range for axis " + std::to_string(axis) +
                     " of size " + std::to_string(size));
  }
  Layout y = x;
  if (x.size() > 0) y.offset += (index < 0 ? index + size : index) * x.strides[axis];
  y.shape.erase(axis);
  y.strides.erase(axis);
  return y;
}

Layout expand(std::string_view op, const Layout& x, const Shape& shape) {
  const int added = shape.rank() - x.rank();
  const auto fail = [&] {
    throw ShapeError(prefix(op) + "shape " + to_string(x.shape) + " does not broadcast to " + to_string(shape));
  };
  if (added < 0) fail();
  Layout y{shape, Dims::filled(shape.rank(), 0), x.offset};
  for (int i = 0; i < shape.rank(); ++i) {
    const int from = i - added;
    if (from < 0) {
      if (shape[i] < 0) fail();
      continue;
    }
    if (shape[i] == -1) y.shape[i] = x.shape[from];
    if (y.shape[i] == x.shape[from]) {
      y.strides[i] = x.strides[from];
    } else if (x.shape[from] != 1 || shape[i] < 0) {
      fail();
    }
  }
  return y;
}

Layout squeeze(const Layout& x, const Axes& axes) {
  const auto mask = axes_mask("squeeze", axes, x.rank());
  Layout y{{}, {}, x.offset};
  for (int i = 0; i < x.rank(); ++i) {
    if (mask[static_cast<std::size_t>(i)] && x.shape[i] == 1) continue;
    if (mask[static_cast<std::size_t>(i)] && !axes.is_all()) {
      throw ShapeError("squeeze: axis " + std::to_string(i) + " of " + to_string(x.shape) + " has size " +
                       std::to_string(x.shape[i]) + ", not 1");
    }
    y.shape.push_back(x.shape[i]);
    y.strides.push_back(x.strides[i]);
  }
  return y;
}

Layout unsqueeze(const Layout& x, int axis) {
  axis = normalize_axis("unsqueeze", axis, x.rank() + 1);
  Layout y = x;
  y.shape.insert(axis, 1);
  y.strides.insert(axis, 0);
  return y;
}

Layout flip(const Layout& x, const Axes& axes) {
  const auto mask = axes_mask("flip", axes, x.rank());
  Layout y = x;
  if (x.size() == 0) return y;
  for (int i = 0; i < x.rank(); ++i) {
    if (!mask[static_cast<std::size_t>(i)] || x.shape[i] <= 1) continue;
    y.offset += (x.shape[i] - 1) * x.strides[i];
    y.strides[i] = -x.strides[i];
  }
  return y;
}

Layout as_strided(const Layout& x, const Shape& shape, const Strides& strides, std::int64_t offset) {
  if (shape.rank() != strides.rank()) {
    throw ShapeError("as_strided: shape " + to_string(shape) + " and strides " + to_string(strides) +
                     " differ in length");
  }
  if (element_count(shape) == 0) return Layout::row_major(shape);
  Layout y{shape, strides, 0};
  if (__builtin_add_overflow(x.offset, offset, &y.offset))
    throw IndexError("as_strided: offset " + std::to_string(offset) + " overflows");
  return y;
}

Shape reshaped(const Layout& x, const Shape& shape) {
  Shape result = shape;
  Shape known = shape;
  int unknown = -1;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] != -1) continue;
    if (unknown >= 0) throw ShapeError("reshape: more than one size of " + to_string(shape) + " is -1");
    unknown = i;
    known[i] = 1;
  }
  const auto fail = [&] {
    throw ShapeError("reshape: " + to_string(x.shape) + " has " + std::to_string(x.size()) +
                     " elements, which does not fit " + to_string(shape));
  };
  const std::int64_t count = element_count(known);
  if (unknown >= 0) {
    if (count == 0 || x.size() % count != 0) fail();
    result[unknown] = x.size() / count;
  } else if (count != x.size()) {
    fail();
  }
  return result;
}

std::optional<Layout> reshape(const Layout& x, const Shape& shape) {
  const Shape target = reshaped(x, shape);
  if (x.is_row_major()) return Layout{target, row_major_strides(target), x.offset};
  // Runs of x's axes that are dense among themselves are matched with runs of the new axes of the same product.
  Layout y{target, Dims::filled(target.rank(), 0), x.offset};
  Dims sizes;
  Dims steps;
  for (int i = 0; i < x.rank(); ++i) {
    if (x.shape[i] == 1) continue;
    if (!sizes.empty() && steps.back() == x.strides[i] * x.shape[i]) {
      sizes[sizes.rank() - 1] *= x.shape[i];
      steps[steps.rank() - 1] = x.strides[i];
    } else {
      sizes.push_back(x.shape[i]);
      steps.push_back(x.strides[i]);
    }
  }
  int axis = target.rank() - 1;
  for (int run = sizes.rank() - 1; run >= 0; --run) {
    std::int64_t left = sizes[run];
    std::int64_t step = steps[run];
    while (left > 1) {
      if (axis < 0 || left % target[axis] != 0) return std::nullopt;
      y.strides[axis] = step;
      step *= target[axis];
      left /= target[axis--];
    }
  }
  return y;
}

Shape broadcast(std::string_view op, const Shape& a, const Shape& b) {
  Shape result = a.rank() >= b.rank() ? a : b;
  const Shape& shorter = a.rank() >= b.rank() ? b : a;
  const int added = result.rank() - shorter.rank();
  for (int i = 0; i < shorter.rank(); ++i) {
    std::int64_t& size = result[i + added];
    if (size == shorter[i] || shorter[i] == 1) continue;
    if (size != 1)
      throw ShapeError(prefix(op) + "shapes " + to_string(a) + " and " + to_string(b) + " do not broadcast");
    size = shorter[i];
  }
  return result;
}

Shape with_reduced(const Shape& shape, const std::array<bool, kMaxRank>& mask) {
  Shape result = shape;
  for (int i = 0; i < shape.rank(); ++i) {
    if (mask[static_cast<std::size_t>(i)]) result[i] = 1;
  }
  return result;
}

Layout dense_like(const Layout& x, const Shape& shape) {
  const int rank = shape.rank();
  if (x.rank() != rank || !x.is_dense() || x.is_row_major()) return Layout::row_major(shape);
  std::array<int, kMaxRank> order{};  // axes from the slowest to the fastest in memory
  for (int i = 0; i < rank; ++i) order[static_cast<std::size_t>(i)] = i;
  std::stable_sort(order.begin(), order.begin() + rank, [&](int a, int b) { return x.strides[a] > x.strides[b]; });
  Layout y{shape, Dims::filled(rank, 1), 0};
  std::int64_t step = 1;
  for (int i = rank - 1; i >= 0; --i) {
    const int axis = order[static_cast<std::size_t>(i)];
    y.strides[axis] = step;
    if (__builtin_mul_overflow(step, std::max<std::int64_t>(shape[axis], 1), &step)) {
      element_count(shape);  // throws, unless there are none
      step = 1;
    }
  }
  return y;
}

std::pair<std::int64_t, std::int64_t> extent(const Layout& x) {
  if (x.size() == 0) return {0, -1};
  std::int64_t first = x.offset;
  std::int64_t last = x.offset;
  for (int i = 0; i < x.rank(); ++i) {
    std::int64_t reach = 0;
    std::int64_t& end = x.strides[i] < 0 ? first : last;
    if (__builtin_mul_overflow(x.shape[i] - 1, x.strides[i], &reach) || __builtin_add_overflow(end, reach, &end)) {
      throw IndexError("view: shape " + to_string(x.shape) + " with strides " + to_string(x.strides) +
                       " overflows 64 bits");
    }
  }
  return {first, last};
}

bool may_overlap(const Layout& x) {
  if (x.size() == 0) return false;
  std::vector<std::pair<std::int64_t, std::int64_t>> axes;  // distance of neighbours, from the first to the last
  for (int i = 0; i < x.rank(); ++i) {
    const std::int64_t step = std::abs(x.strides[i]);
    if (x.shape[i] > 1) axes.emplace_back(step, step * (x.shape[i] - 1));
  }
  std::sort(axes.begin(), axes.end());
  std::int64_t reach = 0;
  for (const auto& axis : axes) {
    if (axis.first <= reach) return true;
    reach += axis.second;
  }
  return false;
}

}  // namespace weft::layout
