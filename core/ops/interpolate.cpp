#include <cmath>

#include "core/ops/op_support.h"
#include "core/value/number.h"
#include "core/value/views.h"

namespace weft {

namespace {

constexpr std::string_view kName = "interpolate";

std::string to_string(const std::vector<double>& values) {
  std::string text;
  for (const double value : values) text.append(text.empty() ? "(" : ", ").append(number(value));
  return text + (values.size() == 1 ? ",)" : ")");
}

[[noreturn]] void fail_size(const Tensor& x, const std::string& what) {
  throw ShapeError(std::string(kName) + ": " + what + " of " + weft::to_string(x.shape()) + " exceeds 2^31 - 1");
}

template <class Numbers>
void check_count(const Tensor& x, const char* what, const Numbers& numbers, std::int64_t count) {
  if (count == 0 || count == 1 || count == x.rank() - 2) return;
  throw ValueError(std::string(kName) + ": " + what + " " + to_string(numbers) + " has " + std::to_string(count) +
                   " numbers for the " + std::to_string(x.rank() - 2) + " spatial axes of " +
                   weft::to_string(x.shape()));
}

void check_input(const Tensor& x) {
  check_float(kName, x);
  const std::string prefix = std::string(kName) + ": ";
  if (x.rank() < 3 || x.rank() > 5) {
    throw ShapeError(prefix + "input needs 3 to 5 dimensions (N, C, ...), got " + weft::to_string(x.shape()));
  }
  for (int axis = 2; axis < x.rank(); ++axis) {
    if (x.size(axis) == 0) {
      throw ShapeError(prefix + weft::to_string(x.shape()) + " has no elements on a spatial axis");
    }
    if (x.size(axis) > INT32_MAX) fail_size(x, "axis " + std::to_string(axis));
  }
}

/// The spatial axis of x that is given a size or else a factor.
InterpolateAxis interpolate_axis(const Tensor& x, int axis, const InterpolateOptions& o) {
  InterpolateAxis a;
  a.in = x.size(axis);
  const auto at = static_cast<std::size_t>(axis - 2);
  double factor = 0;
  if (o.scale_factor.empty()) {
    a.out = o.size[o.size.rank() == 1 ? 0 : axis - 2];
  } else {
    factor = o.scale_factor[o.scale_factor.size() == 1 ? 0 : at];
    const double size = std::floor(static_cast<double>(a.in) * factor);
    if (size < 1) {
      throw ShapeError(std::string(kName) + ": scale_factor " + number(factor) + " leaves nothing of axis " +
                       std::to_string(axis) + " of " + weft::to_string(x.shape()));
    }
    if (size > INT32_MAX) fail_size(x, "scale_factor " + number(factor) + " times axis " + std::to_string(axis));
    a.out = static_cast<std::int64_t>(size);
  }
  const bool linear = o.mode == InterpolateMode::linear;
  if (linear && a.out == a.in) return a;  // whatever the factor
  a.linear = linear;
  if (o.align_corners) {
    a.step = a.out > 1 ? static_cast<double>(a.in - 1) / static_cast<double>(a.out - 1) : 0;
  } else {
    a.step = factor > 0 ? 1 / factor : static_cast<double>(a.in) / static_cast<double>(a.out);
    if (!linear) a.step = nearest_step(a.step);
    a.shift = linear ? 0.5 : 0;
  }
  a.inverse = a.step > 0 ? 1 / a.step : 0;
  return a;
}

struct Interpolation {
  InterpolateShape sizes;
  Shape x, y;
};

Interpolation interpolation(const Tensor& x, const InterpolateOptions& o) {
  check_input(x);
  check_options(kName, o);
  check_count(x, "size", o.size, o.size.rank());
  check_count(x, "scale_factor", o.scale_factor, static_cast<std::int64_t>(o.scale_factor.size()));
  Interpolation r{{x.size(0), x.size(1), {}}, x.shape(), {x.size(0), x.size(1)}};
  std::int64_t bytes = static_cast<std::int64_t>(size_of(x.dtype()));
  for (int axis = 2; axis < x.rank(); ++axis) {
    InterpolateAxis& a = r.sizes.axes[static_cast<std::size_t>(axis + 3 - x.rank())];
    a = interpolate_axis(x, axis, o);
    r.y.push_back(a.out);
  }
  bool fits = true;  // without the images or channels that may be none, as their strides count it too
  for (const std::int64_t size : r.y)
    fits = !__builtin_mul_overflow(bytes, size > 0 ? size : std::int64_t{1}, &bytes) && fits;
  if (!fits) throw ShapeError(std::string(kName) + ": result " + weft::to_string(r.y) + " overflows");
  return r;
}

// Both directions; the gradient of each is the other.
Tensor interpolate_pass(InterpolatePass pass, const Interpolation& r, const Tensor& in) {
  const bool forward = pass == InterpolatePass::forward;
  const Array dense = channels_last(in.array());
  Array out = Array::empty_like(Layout::channels_last(forward ? r.y : r.x), in.dtype(), in.device());
  backend(in.device())->interpolate(pass, r.sizes, const_view(dense), mutable_view(out));
  return record(kName, std::move(out), {in}, {}, [forward, r](const SavedValues&, const Tensor& g) {
    return Values{interpolate_pass(forward ? InterpolatePass::adjoint : InterpolatePass::forward, r, g)};
  });
}

}  // namespace

void check_options(std::string_view owner, const InterpolateOptions& options) {
  const std::string prefix = std::string(owner) + ": ";
  if (options.size.empty() && options.scale_factor.empty())
    throw ValueError(prefix + "neither size nor scale_factor is given");
  if (!options.size.empty() && !options.scale_factor.empty()) {
    throw ValueError(prefix + "both size " + to_string(options.size) + " and scale_factor " +
                     to_string(options.scale_factor) + " are given");
  }
  for (const std::int64_t size : options.size) {
    if (size < 1 || size > INT32_MAX) {
      throw ValueError(prefix + "size " + to_string(options.size) + " must be from 1 to 2^31 - 1 on every axis");
    }
  }
  for (const double factor : options.scale_factor) {
    if (!(factor > 0) || !std::isfinite(factor)) {
      throw ValueError(prefix + "scale_factor " + to_string(options.scale_factor) + " must be positive and finite");
    }
  }
  if (options.mode != InterpolateMode::nearest && options.mode != InterpolateMode::linear) {
    throw ValueError(prefix + "there is no mode " + std::to_string(static_cast<int>(options.mode)));
  }
  if (options.align_corners && options.mode == InterpolateMode::nearest)
    throw ValueError(prefix + "align_corners has no meaning in mode nearest");
}

Tensor interpolate(const Tensor& x, const InterpolateOptions& options) {
  return interpolate_pass(InterpolatePass::forward, interpolation(x, options), x);
}

}  // namespace weft
