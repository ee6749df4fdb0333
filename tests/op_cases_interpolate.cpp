#include <algorithm>
#include <cmath>

#include "tests/op_cases.h"

namespace weft::cases {

namespace {

struct InterpolateRow {
  const char* what;
  Sizes x;
  InterpolateOptions options;
};

/// PyTorch's definition along one axis: what each of `size` elements counts for in output i of `out`.
std::vector<double> line_weights(std::int64_t size, std::int64_t out, double factor, const InterpolateOptions& o,
                                 std::int64_t i) {
  std::vector<double> weights(static_cast<std::size_t>(size));
  const auto at = [&](std::int64_t j) -> double& { return weights[static_cast<std::size_t>(std::min(j, size - 1))]; };
  const double step = factor > 0 ? 1 / factor : static_cast<double>(size) / static_cast<double>(out);
  if (size == out && o.mode == InterpolateMode::linear) {
    at(i) = 1;
  } else if (o.mode == InterpolateMode::nearest) {
    at(factor > 0 ? static_cast<std::int64_t>(std::floor(static_cast<double>(i) / factor + 1e-12)) : i * size / out) =
        1;
  } else {
    double x = step * (static_cast<double>(i) + 0.5) - 0.5;
    if (o.align_corners) x = out == 1 ? 0 : static_cast<double>(i * (size - 1)) / static_cast<double>(out - 1);
    x = std::max(x, 0.0);
    const double below = std::floor(x);
    at(static_cast<std::int64_t>(below)) += 1 - (x - below);
    at(static_cast<std::int64_t>(below) + 1) += x - below;
  }
  return weights;
}

/// Axis by axis.
Plain interpolated(const Plain& x, const InterpolateOptions& o) {
  Plain y = x;
  for (std::size_t axis = 2; axis < x.shape.size(); ++axis) {
    const std::size_t given = axis - 2;
    const double factor = o.scale_factor.empty() ? 0 : o.scale_factor[o.scale_factor.size() == 1 ? 0 : given];
    const std::int64_t size = x.shape[axis];
    const std::int64_t out = factor > 0 ? static_cast<std::int64_t>(std::floor(static_cast<double>(size) * factor))
                                        : o.size[o.size.rank() == 1 ? 0 : static_cast<int>(given)];
    Sizes shape = y.shape;
    shape[axis] = out;
    y = generate(shape, [&](Index index) {
      const std::vector<double> weights = line_weights(size, out, factor, o, index[axis]);
      double total = 0;
      for (std::int64_t j = 0; j < size; ++j) {
        index[axis] = j;
        total += weights[static_cast<std::size_t>(j)] * y.at(index);
      }
      return total;
    });
  }
  return y;
}

}  // namespace

std::vector<OpCase> interpolate_cases() {
  const InterpolateRow both_modes[] = {
      {"twice", {2, 3, 4}, {.scale_factor = {2}}},
      {"twice", {2, 19, 3, 4}, {.scale_factor = {2}}},
      {"twice", {1, 5, 2, 3, 2}, {.scale_factor = {2}}},
      {"C == H == W", {2, 4, 4, 4}, {.size = {7}}},
      {"up by no whole number", {2, 16, 3, 5}, {.size = {7, 11}}},
      {"down", {2, 3, 9, 7}, {.size = {4, 3}}},
      {"to one", {2, 8, 5, 4}, {.size = {1}}},
      {"from one", {2, 3, 1, 1}, {.size = {4, 3}}},
      {"one to one", {1, 2, 1}, {.size = {1}}},
      {"an axis that stays", {2, 3, 5, 3}, {.size = {5, 8}}},
      {"up, down and stay", {1, 3, 5, 4, 3}, {.size = {3, 9, 3}}},
      {"a factor that cuts", {2, 3, 5}, {.scale_factor = {1.7}}},
      {"factors", {1, 4, 5, 6}, {.scale_factor = {2.6, 0.45}}},
      {"a factor that keeps the size", {1, 2, 3, 2}, {.scale_factor = {1.3}}},
      {"factors", {1, 2, 3, 4, 2}, {.scale_factor = {1.5, 0.8, 3.3}}},
      {"far down by a factor", {1, 2, 23}, {.scale_factor = {0.1}}},
      {"no image", {0, 3, 4, 4}, {.scale_factor = {2}}},
      {"no channel", {2, 0, 4}, {.size = {3}}},
  };
  std::vector<OpCase> rows;
  const auto add = [&rows](const InterpolateRow& given, const char* how, InterpolateMode mode, bool align_corners) {
    InterpolateOptions o = given.options;
    o.mode = mode;
    o.align_corners = align_corners;
    OpCase row{.op = "interpolate", .what = how, .inputs = {{given.x}}};
    row.what.append(", ").append(given.what);
    row.run = [o](const std::vector<Tensor>& x) { return interpolate(x[0], o); };
    row.reference = [o](const std::vector<Plain>& x) { return interpolated(x[0], o); };
    row.exact = mode == InterpolateMode::nearest;
    rows.push_back(row);
  };
  for (const InterpolateRow& given : both_modes) {
    add(given, "nearest", InterpolateMode::nearest, false);
    add(given, "linear", InterpolateMode::linear, false);
    add(given, "linear, corners aligned", InterpolateMode::linear, true);
  }
  return rows;
}

}  // namespace weft::cases
