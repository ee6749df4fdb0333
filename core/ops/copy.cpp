#include <algorithm>

#include "core/ops/op_support.h"
#include "core/value/number.h"
#include "core/value/views.h"

namespace weft {

namespace {

// The same elements in other memory.
Tensor record_copy(std::string_view name, Array out, const Tensor& x) {
  return record(name, std::move(out), {x}, {},
                [](const SavedValues&, const Tensor& g) { return std::vector<Tensor>{g}; });
}

}  // namespace

Tensor contiguous(const Tensor& x) {
  return x.array().layout().is_row_major() ? x : record_copy("contiguous", x.array().contiguous(), x);
}

Tensor clone(const Tensor& x) { return record_copy("clone", x.array().clone(), x); }

Tensor to(const Tensor& x, const Device& device) {
  if (x.device() == device) return x;
  const Device from = x.device();
  return record("to", x.array().to(device), {x}, {},
                [from](const SavedValues&, const Tensor& g) { return std::vector<Tensor>{to(g, from)}; });
}

Tensor to(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  const DType from = x.dtype();
  Array out = x.array().to(dtype);
  if (!is_floating_point(dtype)) return Tensor(std::move(out));
  return record("to", std::move(out), {x}, {},
                [from](const SavedValues&, const Tensor& g) { return std::vector<Tensor>{to(g, from)}; });
}

Tensor concatenate(const std::vector<Tensor>& xs, int axis) {
  if (xs.empty()) throw ValueError("concatenate: needs at least one tensor");
  for (const Tensor& x : xs) common_device("concatenate", {xs[0], x});
  const int at = layout::normalize_axis("concatenate", axis, xs[0].rank());
  DType dtype = xs[0].dtype();
  Shape shape = xs[0].shape();
  std::vector<std::int64_t> starts{0};
  for (std::size_t i = 0; i < xs.size(); ++i) {
    dtype = promote(dtype, xs[i].dtype());
    Shape expected = xs[i].shape();
    if (expected.rank() == shape.rank()) expected[at] = shape[at];
    if (expected != shape) {
      throw ShapeError("concatenate: shapes " + to_string(xs[0].shape()) + " and " + to_string(xs[i].shape()) +
                       " differ beyond axis " + std::to_string(at));
    }
    std::int64_t end = 0;
    if (__builtin_add_overflow(starts.back(), xs[i].shape()[at], &end)) {
      throw ShapeError("concatenate: sizes along axis " + std::to_string(at) + " overflow");
    }
    starts.push_back(end);
  }
  shape[at] = starts.back();
  Array out = Array::empty_like(layout::dense_like(xs[0].array().layout(), shape), dtype, xs[0].device());
  for (std::size_t i = 0; i < xs.size(); ++i) {
    const Array window = out.view(layout::slice("concatenate", out.layout(), at, starts[i], starts[i + 1], 1));
    backend(out.device())->copy(const_view(xs[i].array()), mutable_view(window));
  }
  std::vector<DType> dtypes;
  std::transform(xs.begin(), xs.end(), std::back_inserter(dtypes), [](const Tensor& x) { return x.dtype(); });
  const auto backward = [at, starts, dtypes](const SavedValues& saved, const Tensor& g) {
    std::vector<Tensor> gradients(dtypes.size());
    for (std::size_t i = 0; i < dtypes.size(); ++i) {
      if (saved.needs(i)) gradients[i] = slice(g, at, starts[i], starts[i + 1]).to(dtypes[i]);
    }
    return gradients;
  };
  return record("concatenate", std::move(out), xs, {}, BackwardFunction(backward));
}

Tensor stack(const std::vector<Tensor>& xs, int axis) {
  if (xs.empty()) throw ValueError("stack: needs at least one tensor");
  common_device("stack", {xs[0]});
  const int at = layout::normalize_axis("stack", axis, xs[0].rank() + 1);
  std::vector<Tensor> rows;
  for (const Tensor& x : xs) {
    common_device("stack", {xs[0], x});
    if (x.shape() != xs[0].shape()) {
      throw ShapeError("stack: shapes " + to_string(xs[0].shape()) + " and " + to_string(x.shape()) + " differ");
    }
    rows.push_back(unsqueeze(x, at));
  }
  return concatenate(rows, at);
}

void check_edges(std::string_view op, const Shape& x, int axis, std::int64_t before, std::int64_t after, PadMode mode) {
  constexpr std::string_view kNames[] = {"constant", "reflect", "replicate", "circular"};
  const std::int64_t size = x[axis];
  std::int64_t most = mode == PadMode::circular ? size : size - 1;
  if (mode == PadMode::replicate) most = size > 0 ? INT64_MAX : 0;
  most = std::max<std::int64_t>(most, 0);
  std::int64_t total = 0;
  if (before >= 0 && after >= 0 && before <= most && after <= most && !__builtin_add_overflow(before, after, &total) &&
      !__builtin_add_overflow(total, size, &total)) {
    return;
  }
  throw ValueError(std::string(op) + ": " + std::string(kNames[static_cast<std::size_t>(mode)]) + " padding (" +
                   std::to_string(before) + ", " + std::to_string(after) + ") does not fit axis " +
                   std::to_string(axis) + " of " + to_string(x));
}

Tensor pad_edges(const Tensor& x, int axis, std::int64_t before, std::int64_t after, PadMode mode) {
  const std::int64_t size = x.shape()[axis];
  const auto part = [&](std::int64_t start, std::int64_t stop, std::int64_t amount) {
    const Tensor cut = slice(x, axis, start, stop);
    if (mode == PadMode::reflect) return flip(cut, axis);
    if (mode == PadMode::circular) return cut;
    Shape repeated = x.shape();
    repeated[axis] = amount;
    return expand(cut, repeated);
  };
  std::vector<Tensor> parts;
  if (before > 0) {
    parts.push_back(mode == PadMode::reflect    ? part(1, before + 1, before)
                    : mode == PadMode::circular ? part(size - before, size, before)
                                                : part(0, 1, before));
  }
  parts.push_back(x);
  if (after > 0) {
    parts.push_back(mode == PadMode::reflect    ? part(size - 1 - after, size - 1, after)
                    : mode == PadMode::circular ? part(0, after, after)
                                                : part(size - 1, size, after));
  }
  return parts.size() == 1 ? x : concatenate(parts, axis);
}

namespace {

// The size of an axis that is cropped by the negative amounts first, then padded by the positive ones.
std::int64_t padded_size(const Shape& x, int axis, std::int64_t before, std::int64_t after) {
  std::int64_t size = x[axis];
  bool possible = true;
  for (const std::int64_t amount : {std::min<std::int64_t>(before, 0), std::min<std::int64_t>(after, 0)}) {
    possible = possible && amount >= -size;
    if (possible) size += amount;
  }
  for (const std::int64_t amount : {std::max<std::int64_t>(before, 0), std::max<std::int64_t>(after, 0)})
    possible = possible && !__builtin_add_overflow(size, amount, &size);
  if (possible) return size;
  throw ValueError("pad: amounts (" + std::to_string(before) + ", " + std::to_string(after) + ") do not fit axis " +
                   std::to_string(axis) + " of " + to_string(x));
}

}  // namespace

Tensor pad(const Tensor& x, const std::vector<std::pair<std::int64_t, std::int64_t>>& padding, PadMode mode,
           Scalar value) {
  if (padding.size() != static_cast<std::size_t>(x.rank())) {
    throw ShapeError("pad: " + std::to_string(padding.size()) + " pairs of amounts for " + to_string(x.shape()));
  }
  Tensor y = x;
  if (mode != PadMode::constant) {
    for (int i = 0; i < x.rank(); ++i) {
      const auto [before, after] = padding[static_cast<std::size_t>(i)];
      check_edges("pad", x.shape(), i, before, after, mode);
    }
    for (int i = 0; i < x.rank(); ++i) {
      const auto [before, after] = padding[static_cast<std::size_t>(i)];
      y = pad_edges(y, i, before, after, mode);
    }
    return y;
  }
  Shape shape = x.shape();
  Dims starts = Dims::filled(x.rank(), 0);
  bool grows = false;
  for (int i = 0; i < x.rank(); ++i) {
    const auto [before, after] = padding[static_cast<std::size_t>(i)];
    shape[i] = padded_size(x.shape(), i, before, after);
    starts[i] = std::max<std::int64_t>(before, 0);
    grows |= before > 0 || after > 0;
  }
  if (grows) check_fits("pad", value, x.dtype());
  for (int i = 0; i < x.rank(); ++i) {
    const auto [before, after] = padding[static_cast<std::size_t>(i)];
    if (before >= 0 && after >= 0) continue;
    y = slice(y, i, -std::min<std::int64_t>(before, 0), x.shape()[i] + std::min<std::int64_t>(after, 0));
  }
  if (!grows) return y;
  const Shape inner = y.shape();
  const auto window = [starts, inner](const Layout& base) {
    Layout result = base;
    for (int i = 0; i < base.rank(); ++i) result = layout::slice("pad", result, i, starts[i], starts[i] + inner[i], 1);
    return result;
  };
  return embed("pad", y, layout::dense_like(y.array().layout(), shape), window, value);
}

namespace {

LayoutMap every(const std::array<bool, kMaxRank>& mask, std::int64_t step) {
  return [mask, step](const Layout& base) {
    Layout result = base;
    for (int i = 0; i < base.rank(); ++i) {
      if (mask[static_cast<std::size_t>(i)])
        result = layout::slice("dilate", result, i, std::nullopt, std::nullopt, step);
    }
    return result;
  };
}

std::int64_t dilation_step(std::string_view op, std::int64_t amount) {
  if (amount < 0 || amount == INT64_MAX)
    throw ValueError(std::string(op) + ": amount must not be " + std::to_string(amount));
  return amount + 1;
}

}  // namespace

Tensor dilate(const Tensor& x, const Axes& axes, std::int64_t amount) {
  const std::int64_t step = dilation_step("dilate", amount);
  const auto mask = layout::axes_mask("dilate", axes, x.rank());
  Shape shape = x.shape();
  for (int i = 0; i < x.rank(); ++i) {
    if (!mask[static_cast<std::size_t>(i)] || shape[i] == 0) continue;
    std::int64_t zeros = 0;
    if (__builtin_mul_overflow(shape[i] - 1, amount, &zeros) || __builtin_add_overflow(shape[i], zeros, &shape[i])) {
      throw ShapeError("dilate: amount " + std::to_string(amount) + " overflows axis " + std::to_string(i) + " of " +
                       to_string(x.shape()));
    }
  }
  return embed("dilate", x, layout::dense_like(x.array().layout(), shape), every(mask, step));
}

Tensor undilate(const Tensor& x, const Axes& axes, std::int64_t amount) {
  return view("undilate", x, every(layout::axes_mask("undilate", axes, x.rank()), dilation_step("undilate", amount)));
}

}  // namespace weft
