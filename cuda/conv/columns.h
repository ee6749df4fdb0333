#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/device/conv_plan.h"
#include "cuda/array/walk.h"
#include "weft/error.h"

// The columns of a convolution (core/device/conv_plan.h) as kernels see them.
namespace weft::cuda {

/// One axis: output o and tap t read place o·step + offset + t·tap_step of the source.
struct ColumnAxis {
  FastDivisor32 out, taps;
  std::int32_t in = 1, step = 1, offset = 0, tap_step = 1;

  ColumnAxis() = default;
  explicit ColumnAxis(const TapAxis& axis)
      : out(static_cast<std::uint32_t>(std::max<std::int64_t>(axis.out, 1))),
        taps(static_cast<std::uint32_t>(std::max<std::int64_t>(axis.taps, 1))),
        in(static_cast<std::int32_t>(axis.in)),
        step(static_cast<std::int32_t>(axis.step)),
        offset(static_cast<std::int32_t>(axis.offset)),
        tap_step(static_cast<std::int32_t>(axis.tap_step)) {}
};

/// value becomes its quotient; returns the remainder.
WEFT_DEVICE std::uint32_t take_digit(std::uint32_t& value, const FastDivisor32& divisor) {
  const std::uint32_t quotient = divisor.quotient(value);
  const std::uint32_t remainder = value - quotient * divisor.value;
  value = quotient;
  return remainder;
}

/// Kernels count places of an image, and the `inner` products of an output, in 32 bits. An output's first place and the
/// way from there to its last tap (which reads inside, core/device/conv_plan.h) must not wrap. Throws ShapeError
/// beyond.
inline void check_places(const ConvColumns& columns, std::int64_t inner) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;  // so that the sum of two fits 32 bits
  bool fits = columns.positions() < kMost && inner < kMost;
  for (const TapAxis& axis : columns.axes) {
    fits = fits && axis.in < kMost && std::abs(axis.offset) < kMost &&
           (axis.out == 0 || (axis.out - 1) <= kMost / axis.step) &&
           (axis.taps == 0 || (axis.taps - 1) <= kMost / axis.tap_step);
  }
  if (fits) return;
  throw ShapeError("conv: " + std::to_string(columns.positions()) + " output positions of " + std::to_string(inner) +
                   " products each reach beyond 2^30 places on a GPU");
}

/// Kernels count filters, channels of a group and groups in 32 bits. Throws ShapeError beyond.
inline void check_counts(const ConvShape& shape) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;  // so that the sum of two fits 32 bits
  const std::int64_t most = std::max({shape.k / shape.groups, shape.c / shape.groups, shape.groups});
  if (most < kMost) return;
  throw ShapeError("conv: " + std::to_string(shape.groups) + " groups of " + std::to_string(shape.c / shape.groups) +
                   " channels and " + std::to_string(shape.k / shape.groups) + " filters are beyond 2^30 on a GPU");
}

}  // namespace weft::cuda
