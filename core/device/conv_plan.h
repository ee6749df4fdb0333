#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/device/backend.h"

// The geometry of convolutions. Every pass is a product with columns: a matrix with one row per output position and one
// column per (tap, channel), gathered from a channels-last source. The forward and weight gradient passes gather x; the
// input gradient gathers the gradient of y, once per phase (positions of x that are congruent modulo the stride).
namespace weft {

struct Range {
  std::int64_t begin, end;
};
/// The i in [0, count) with 0 <= first + i·step < size; step > 0.
Range inside(std::int64_t first, std::int64_t step, std::int64_t count, std::int64_t size);

/// One spatial axis: output o and tap t read source position o·step + offset + t·tap_step, which is padding outside
/// [0, in). Tap t is the filter's number first_tap + t·tap_stride; tap_step >= 1.
struct TapAxis {
  std::int64_t out = 1, in = 1, taps = 1;
  std::int64_t step = 1, offset = 0, tap_step = 1;
  std::int64_t first_tap = 0, tap_stride = 1;

  /// The source position, or -1 for padding.
  std::int64_t position(std::int64_t o, std::int64_t tap) const {
    const std::int64_t at = o * step + offset + tap * tap_step;
    return at >= 0 && at < in ? at : -1;
  }
};

struct ConvColumns {
  std::int64_t n = 0, channels = 0;  ///< of the source
  std::array<TapAxis, 3> axes;

  std::int64_t positions() const { return axes[0].out * axes[1].out * axes[2].out; }
  std::int64_t rows() const { return n * positions(); }
  std::int64_t taps() const { return axes[0].taps * axes[1].taps * axes[2].taps; }
  std::int64_t image() const { return axes[0].in * axes[1].in * axes[2].in * channels; }
};

/// The columns of x for the forward pass, without the outer taps that read padding everywhere.
ConvColumns forward_columns(const ConvShape& shape);

/// The positions first + i·stride of x on each axis, and the columns of y's gradient (one row per such position) whose
/// product with the flipped filter is the gradient there.
struct ConvPhase {
  std::array<std::int64_t, 3> first{};
  ConvColumns columns;
};
/// The phases in the order of `first`. On an axis with many of them only those that have taps.
std::vector<ConvPhase> input_grad_phases(const ConvShape& shape);
/// Whether positions of x belong to none of these phases. Their gradient is 0.
bool has_gaps(const ConvShape& shape);

/// A tap of some columns: its place on each axis, and its row-major number in the whole filter.
struct ConvTap {
  std::array<std::int64_t, 3> at{};
  std::int64_t filter = 0;
};
/// All taps in row-major order, which is that of the columns.
std::vector<ConvTap> list_taps(const ConvColumns& columns, const std::array<std::int64_t, 3>& filter);

/// The gradient of a bias as a reduction: y's gradient (rows, k) to (1, k).
struct BiasSum {
  ConstView y_grad;
  View bias_grad;
};
BiasSum bias_sum(const ConvShape& shape, const ConstView& y_grad, const View& bias_grad);

}  // namespace weft
