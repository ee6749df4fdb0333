// Properties of interpolate over random shapes: PyTorch's definition in plain loops, and its adjoint.
#include <cmath>

#include "tests/property_support.h"

namespace weft {
namespace {

struct Case {
  Shape x;
  InterpolateOptions options;
};

Case any_case() {
  Case c{{number(0, 2), number(1, 5)}, {}};
  const std::int64_t axes = number(1, 3);
  const bool by_size = number(0, 1) == 0;
  c.options.mode = number(0, 2) == 0 ? InterpolateMode::nearest : InterpolateMode::linear;
  c.options.align_corners = c.options.mode == InterpolateMode::linear && number(0, 1) == 0;
  for (std::int64_t i = 0; i < axes; ++i) {
    c.x.push_back(number(1, 7));
    if (by_size) {
      c.options.size.push_back(number(1, 12));
    } else {  // at least one output
      c.options.scale_factor.push_back(static_cast<double>(number(1, 30)) / 10 + 1 / static_cast<double>(c.x.back()));
    }
  }
  RC_LOG() << to_string(c.x) << (by_size ? " size " + to_string(c.options.size) : " factors")
           << (c.options.align_corners ? " corners aligned" : "") << " mode " << static_cast<int>(c.options.mode);
  return c;
}

/// Along an axis, the two elements that output i takes and the weight of the second.
struct Neighbours {
  std::int64_t first, second;
  double weight;
};

Neighbours neighbours(const Case& c, int axis, std::int64_t out, std::int64_t i) {
  const std::int64_t in = c.x[axis];
  const bool by_size = c.options.scale_factor.empty();
  const double factor = by_size ? 1 : c.options.scale_factor[static_cast<std::size_t>(axis - 2)];
  const auto place = static_cast<double>(i);
  if (c.options.mode == InterpolateMode::nearest) {
    const std::int64_t at = by_size ? i * in / out : static_cast<std::int64_t>(std::floor(place / factor + 1e-12));
    return {std::min(at, in - 1), std::min(at, in - 1), 0};
  }
  if (in == out) return {i, i, 0};
  const double step = by_size ? static_cast<double>(in) / static_cast<double>(out) : 1 / factor;
  double at = step * (place + 0.5) - 0.5;
  if (c.options.align_corners) at = out == 1 ? 0 : place * static_cast<double>(in - 1) / static_cast<double>(out - 1);
  at = std::fmax(at, 0);
  const auto below = static_cast<std::int64_t>(at);
  return {std::min(below, in - 1), std::min(below + 1, in - 1), at - static_cast<double>(below)};
}

/// One axis after the other; values in row-major order.
std::vector<double> definition(const Case& c, const Shape& y, std::vector<double> values) {
  Shape shape = c.x;
  for (int axis = 2; axis < c.x.rank(); ++axis) {
    std::int64_t outer = 1, inner = 1;
    for (int d = 0; d < axis; ++d) outer *= shape[d];
    for (int d = axis + 1; d < shape.rank(); ++d) inner *= shape[d];
    std::vector<double> result;
    for (std::int64_t o = 0; o < outer; ++o)
      for (std::int64_t i = 0; i < y[axis]; ++i)
        for (std::int64_t k = 0; k < inner; ++k) {
          const Neighbours n = neighbours(c, axis, y[axis], i);
          const auto value = [&](std::int64_t j) {
            return values[static_cast<std::size_t>((o * shape[axis] + j) * inner + k)];
          };
          result.push_back((1 - n.weight) * value(n.first) + n.weight * value(n.second));
        }
    values = std::move(result);
    shape[axis] = y[axis];
  }
  return values;
}

RC_GTEST_PROP(Interpolate, IsTheDefinition, ()) {
  const Case c = any_case();
  RC_TAG(c.x.rank() - 2);
  const Tensor x = randn(c.x, kF64);
  const Tensor y = interpolate(x, c.options);
  for (int axis = 2; axis < c.x.rank(); ++axis) {
    const auto at = static_cast<std::size_t>(axis - 2);
    const std::int64_t size =
        c.options.scale_factor.empty()
            ? c.options.size[axis - 2]
            : static_cast<std::int64_t>(std::floor(static_cast<double>(c.x[axis]) * c.options.scale_factor[at]));
    RC_ASSERT(y.size(axis) == size);
  }
  const std::vector<double> found = y.to_vector<double>();
  const std::vector<double> expected = definition(c, y.shape(), x.to_vector<double>());
  RC_ASSERT(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) RC_ASSERT(std::fabs(found[i] - expected[i]) <= 1e-12);
}

// ⟨interpolate(x), g⟩ = ⟨x, its gradient⟩, and the gradient's gradient is interpolate again.
RC_GTEST_PROP(Interpolate, HasItsGradientAsItsAdjoint, ()) {
  const Case c = any_case();
  Tensor x = randn(c.x, kF64);
  x.set_requires_grad(true);
  const Tensor y = interpolate(x, c.options);
  Tensor g = randn(y.shape(), kF64);
  g.set_requires_grad(true);
  const Tensor gradient = grad({y}, {x}, {g}, {.create_graph = true})[0];
  const double left = sum(y.detach() * g.detach()).item<double>();
  const double right = sum(x.detach() * gradient.detach()).item<double>();
  const double scale = 1 + sum(abs(y.detach() * g.detach())).item<double>();
  RC_ASSERT(std::fabs(left - right) <= 1e-11 * scale);
  const Tensor z = randn(c.x, kF64);
  const Tensor again = grad({gradient}, {g}, {z})[0];
  const std::vector<double> found = again.to_vector<double>();
  RC_ASSERT(found == interpolate(z, c.options).to_vector<double>());
}

}  // namespace
}  // namespace weft
