#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/backend.h"
#include "cpu/threads.h"

// Every pass of a convolution is a product with columns: a matrix with one row per output position and one column per
// (tap, channel), gathered from a channels-last source. The forward and weight gradient passes gather x; the input
// gradient gathers the gradient of y, once per phase (positions of x that are congruent modulo the stride).
namespace weft::cpu {

std::int64_t ceil_div(std::int64_t a, std::int64_t b);  // b > 0
/// The equal parts, at least 1, that `total` is cut into, each at most `most`.
std::int64_t even_part(std::int64_t total, std::int64_t most);

struct Range {
  std::int64_t begin, end;
};
/// The i in [0, count) with 0 <= first + i·step < size.
Range inside(std::int64_t first, std::int64_t step, std::int64_t count, std::int64_t size);

/// One spatial axis: output o and tap t read source position o·step + offset + t·tap_step, which is padding outside
/// [0, in). Tap t is the filter's number first_tap + t·tap_stride; tap_step >= 1.
struct TapAxis {
  std::int64_t out = 1, in = 1, taps = 1;
  std::int64_t step = 1, offset = 0, tap_step = 1;
  std::int64_t first_tap = 0, tap_stride = 1;

  TapAxis slice(std::int64_t tap, std::int64_t count) const;
};

struct ConvColumns {
  std::int64_t n = 0, channels = 0;  ///< of the source
  std::array<TapAxis, 3> axes;

  std::int64_t rows() const { return n * axes[0].out * axes[1].out * axes[2].out; }
  std::int64_t taps() const { return axes[0].taps * axes[1].taps * axes[2].taps; }
};

/// The columns of x for the forward pass, without the outer taps that read padding everywhere.
ConvColumns forward_columns(const ConvShape& shape);

/// The positions first + i·stride of x on each axis, and the columns of y's gradient (one row per such position) whose
/// product with the flipped filter is the gradient there.
struct ConvPhase {
  std::array<std::int64_t, 3> first{};
  ConvColumns columns;
};
std::vector<ConvPhase> input_grad_phases(const ConvShape& shape);

/// When the source itself is the matrix of columns, its row stride in elements, else 0.
std::int64_t direct_row_stride(const ConvColumns& columns, std::int64_t groups);

/// Writes rows [first_row, first_row + rows) of the columns of source channels [first_channel, first_channel +
/// channels), dense, as (row, taps..., channel).
template <class T>
void gather_columns(const ConvColumns& columns, const T* source, std::int64_t first_row, std::int64_t rows,
                    std::int64_t first_channel, std::int64_t channels, T* out);

/// Calls f(tap, filter_tap) for every tap of the columns, in their order, with its row-major number in the whole filter.
template <class F>
void for_each_tap(const ConvColumns& columns, const std::array<std::int64_t, 3>& filter, F f) {
  const auto& [d, h, w] = columns.axes;
  std::int64_t tap = 0;
  for (std::int64_t i = 0; i < d.taps; ++i) {
    for (std::int64_t j = 0; j < h.taps; ++j) {
      for (std::int64_t k = 0; k < w.taps; ++k) {
        f(tap++, ((d.first_tap + i * d.tap_stride) * filter[1] + h.first_tap + j * h.tap_stride) * filter[2] +
                     w.first_tap + k * w.tap_stride);
      }
    }
  }
}

/// Rows per tile: columns of about half an L2 cache, at least 64 rows, near equal tiles.
std::int64_t rows_per_tile(std::int64_t rows, std::int64_t row_bytes);

/// Scratch slots of the passes; pack and sum belong to the calling thread and are shared by the tasks.
inline constexpr int kColumnsSlot = 0, kTileSlot = 1, kConvPackSlot = 2, kConvSumSlot = 3;

template <class T>
T* conv_scratch(int slot, std::int64_t count) {
  return static_cast<T*>(scratch(slot, static_cast<std::size_t>(count) * sizeof(T)));
}

template <class T>
void conv_forward(const ConvShape& shape, const T* x, const T* weight, const T* bias, T* y);
template <class T>
void conv_input_grad(const ConvShape& shape, const T* y_grad, const T* weight, T* x_grad);
template <class T>
void conv_weight_grad(const ConvShape& shape, const T* y_grad, const T* x, T* weight_grad);

}  // namespace weft::cpu
