#include "core/device/conv_plan.h"

#include <algorithm>
#include <numeric>

#include "core/device/integer.h"

namespace weft {

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

struct AxisPhase {
  std::int64_t first = 0;
  TapAxis axis;
};

/// Positions first + i·stride of x. Output p contributes through tap r where p·stride + r·dilation = position +
/// padding, so the taps that hit are r = r0 + m·(stride / g), g = gcd(stride, dilation), and p falls by dilation / g
/// from one to the next: listed backwards they walk up the output.
class AxisPhases {
 public:
  AxisPhases(const ConvShape& shape, std::size_t d)
      : stride_(shape.stride[d]),
        dilation_(shape.dilation[d]),
        padding_(shape.padding[d]),
        in_(shape.in[d]),
        out_(shape.out[d]),
        filter_(shape.filter[d]),
        common_(std::gcd(stride_, dilation_)),
        first_taps_(std::min(stride_ / common_, filter_)) {}

  std::vector<AxisPhase> list() const {
    std::vector<AxisPhase> phases;
    if (lists_all()) {
      for (std::int64_t first = 0; first < count(); ++first) phases.push_back({first, axis(first, first_tap(first))});
      return phases;
    }
    for (std::int64_t r0 = 0; r0 < first_taps_; ++r0) {  // no two of them have one phase
      const std::int64_t rest = (r0 * dilation_ - padding_) % stride_, first = rest < 0 ? rest + stride_ : rest;
      if (first >= in_) continue;
      const AxisPhase phase{first, axis(first, r0)};
      if (phase.axis.taps > 0) phases.push_back(phase);
    }
    std::sort(phases.begin(), phases.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    return phases;
  }

  bool lists_all() const { return count() <= kFewPhases; }
  /// All phases, with taps or without.
  std::int64_t count() const { return std::min(stride_, in_); }

 private:
  static constexpr std::int64_t kFewPhases = 16;

  /// The first tap that hits, or -1.
  std::int64_t first_tap(std::int64_t first) const {
    for (std::int64_t r0 = 0; r0 < first_taps_; ++r0) {
      if ((first + padding_ - r0 * dilation_) % stride_ == 0) return r0;
    }
    return -1;
  }

  TapAxis axis(std::int64_t first, std::int64_t r0) const {
    const std::int64_t spacing = stride_ / common_;
    TapAxis axis;
    axis.out = ceil_div(in_ - first, stride_);
    axis.in = out_;
    axis.taps = 0;
    if (r0 >= 0) {
      axis.taps = ceil_div(filter_ - r0, spacing);
      axis.tap_step = dilation_ / common_;
      axis.offset = (first + padding_ - r0 * dilation_) / stride_ - (axis.taps - 1) * axis.tap_step;
      axis.tap_stride = -spacing;
      axis.first_tap = r0 + (axis.taps - 1) * spacing;
    }
    return trim(axis);
  }

  std::int64_t stride_, dilation_, padding_, in_, out_, filter_, common_, first_taps_;
};

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
  std::array<std::vector<AxisPhase>, 3> axes;
  for (std::size_t d = 0; d < 3; ++d) axes[d] = AxisPhases(shape, d).list();
  std::vector<ConvPhase> phases;
  for (const AxisPhase& depth : axes[0]) {
    for (const AxisPhase& height : axes[1]) {
      for (const AxisPhase& width : axes[2]) {
        phases.push_back(
            {{depth.first, height.first, width.first}, {shape.n, shape.k, {depth.axis, height.axis, width.axis}}});
      }
    }
  }
  return phases;
}

bool has_gaps(const ConvShape& shape) {
  for (std::size_t d = 0; d < 3; ++d) {
    const AxisPhases phases(shape, d);
    if (!phases.lists_all() && static_cast<std::int64_t>(phases.list().size()) < phases.count()) return true;
  }
  return false;
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
