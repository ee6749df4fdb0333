#include "core/conv_plan.h"

#include <algorithm>
#include <numeric>

namespace weft {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return a > 0 ? (a - 1) / b + 1 : -(-a / b); }

std::int64_t even_part(std::int64_t total, std::int64_t most) {
  return total == 0 ? 1 : ceil_div(total, ceil_div(total, most));
}

Range inside(std::int64_t first, std::int64_t step, std::int64_t count, std::int64_t size) {
  const std::int64_t begin = std::clamp<std::int64_t>(ceil_div(-first, step), 0, count);
  return {begin, std::clamp(ceil_div(size - first, step), begin, count)};
}

namespace {

/// Drops the taps at either end that no output reads inside the source.
TapAxis trim(TapAxis axis) {
  const auto reads_source = [&](std::int64_t tap) {
    const Range outputs = inside(axis.offset + tap * axis.tap_step, axis.step, axis.out, axis.in);
    return outputs.begin < outputs.end;
  };
  std::int64_t begin = 0, end = axis.taps;
  while (begin < end && !reads_source(begin)) ++begin;
  while (end > begin && !reads_source(end - 1)) --end;
  axis.taps = end - begin;
  axis.offset += begin * axis.tap_step;
  axis.first_tap += begin * axis.tap_stride;
  return axis;
}

/// Positions first + i·stride of x. Output p contributes through tap r where p·stride + r·dilation = position +
/// padding, so the taps that hit are r = r0 + m·(stride / g), g = gcd(stride, dilation), and p falls by dilation / g
/// from one to the next: listed backwards they walk up the output.
TapAxis phase_axis(const ConvShape& shape, std::size_t d, std::int64_t first) {
  const std::int64_t stride = shape.stride[d], dilation = shape.dilation[d];
  const std::int64_t common = std::gcd(stride, dilation), spacing = stride / common;
  TapAxis axis;
  axis.out = ceil_div(shape.in[d] - first, stride);
  axis.in = shape.out[d];
  axis.taps = 0;
  for (std::int64_t r0 = 0; r0 < std::min(spacing, shape.filter[d]); ++r0) {
    const std::int64_t distance = first + shape.padding[d] - r0 * dilation;
    if (distance % stride != 0) continue;
    axis.taps = ceil_div(shape.filter[d] - r0, spacing);
    axis.tap_step = dilation / common;
    axis.offset = distance / stride - (axis.taps - 1) * axis.tap_step;
    axis.tap_stride = -spacing;
    axis.first_tap = r0 + (axis.taps - 1) * spacing;
    break;
  }
  return trim(axis);
}

}  // namespace

ConvColumns forward_columns(const ConvShape& shape) {
  ConvColumns columns{shape.n, shape.c, {}};
  for (std::size_t d = 0; d < 3; ++d) {
    TapAxis axis;
    axis.out = shape.out[d];
    axis.in = shape.in[d];
    axis.taps = shape.filter[d];
    axis.step = shape.stride[d];
    axis.offset = -shape.padding[d];
    axis.tap_step = shape.dilation[d];
    columns.axes[d] = trim(axis);
  }
  return columns;
}

std::vector<ConvPhase> input_grad_phases(const ConvShape& shape) {
  std::array<std::vector<TapAxis>, 3> axes;
  for (std::size_t d = 0; d < 3; ++d) {
    for (std::int64_t first = 0; first < std::min(shape.stride[d], shape.in[d]); ++first) {
      axes[d].push_back(phase_axis(shape, d, first));
    }
  }
  std::vector<ConvPhase> phases;
  for (std::size_t i = 0; i < axes[0].size(); ++i) {
    for (std::size_t j = 0; j < axes[1].size(); ++j) {
      for (std::size_t k = 0; k < axes[2].size(); ++k) {
        phases.push_back({{static_cast<std::int64_t>(i), static_cast<std::int64_t>(j), static_cast<std::int64_t>(k)},
                          {shape.n, shape.k, {axes[0][i], axes[1][j], axes[2][k]}}});
      }
    }
  }
  return phases;
}

std::vector<ConvTap> list_taps(const ConvColumns& columns, const std::array<std::int64_t, 3>& filter) {
  const auto& [depth, height, width] = columns.axes;
  std::vector<ConvTap> taps;
  taps.reserve(static_cast<std::size_t>(columns.taps()));
  for (std::int64_t i = 0; i < depth.taps; ++i) {
    for (std::int64_t j = 0; j < height.taps; ++j) {
      for (std::int64_t k = 0; k < width.taps; ++k) {
        const std::int64_t line =
            (depth.first_tap + i * depth.tap_stride) * filter[1] + height.first_tap + j * height.tap_stride;
        taps.push_back({{i, j, k}, line * filter[2] + width.first_tap + k * width.tap_stride});
      }
    }
  }
  return taps;
}

BiasSum bias_sum(const ConvShape& shape, const ConstView& y_grad, const View& bias_grad) {
  const std::int64_t rows = shape.n * shape.out[0] * shape.out[1] * shape.out[2];
  return {{y_grad.data, {rows, shape.k}, {shape.k, 1}, y_grad.dtype},
          {bias_grad.data, {1, shape.k}, {shape.k, 1}, bias_grad.dtype}};
}

}  // namespace weft
