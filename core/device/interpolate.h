#pragma once

#include <array>
#include <cstdint>

#include "core/device/scalar_ops.h"

/// Where the elements of an interpolation come from. The CPU and CUDA kernels share it, so that the coordinates are
/// equal on both, bit by bit: sums and products of doubles that no compiler contracts.
namespace weft {

/// Output i of an axis lies at (i + shift)·step - shift of the input, not below 0 and not above the last.
struct InterpolateAxis {
  std::int64_t in = 1, out = 1;
  double step = 1, inverse = 1;  // inputs per output, at least 0; its reciprocal, as a guess only
  double shift = 0;              // 1/2: the edges of the maps coincide; 0: their first elements
  bool linear = false;           // between two neighbours; otherwise the one at the coordinate rounded down
};

/// The step between outputs without interpolation. A coordinate that is meant to be whole must not fall below that by
/// rounding, 49·(1/49) for one; raised so, it is right while coordinate·out stays below 2^49.
inline double nearest_step(double step) { return step * (1 + 0x1p-50); }

/// Sizes of an interpolation, memory as for ConvShape.
struct InterpolateShape {
  std::int64_t n = 0, c = 0;
  std::array<InterpolateAxis, 3> axes{};
};

/// An output is (1 - next)·x[index] + next·x[index + 1]; next is 0 at the last index.
struct InterpolateTap {
  std::int64_t index;
  double next;
};

WEFT_SCALAR InterpolateTap interpolate_tap(const InterpolateAxis& a, std::int64_t output) {
  const double at = (static_cast<double>(output) + a.shift) * a.step - a.shift;
  if (!(at > 0)) return {0, 0.0};
  const auto index = static_cast<std::int64_t>(at);
  if (index >= a.in - 1) return {a.in - 1, 0.0};
  return {index, a.linear ? at - static_cast<double>(index) : 0.0};
}

/// What input counts for in output, which takes it.
WEFT_SCALAR double interpolate_weight(const InterpolateAxis& a, std::int64_t input, std::int64_t output) {
  const InterpolateTap tap = interpolate_tap(a, output);
  return tap.index == input ? 1 - tap.next : tap.next;
}

/// The first output whose tap has the index or a later one; `out` if none. Taps never go back: the inverse of the
/// coordinate is a guess that rounding puts off by one or so.
WEFT_SCALAR std::int64_t interpolate_first(const InterpolateAxis& a, std::int64_t index) {
  if (index <= 0) return 0;
  if (index >= a.in) return a.out;
  const double guess = (static_cast<double>(index) + a.shift) * a.inverse - a.shift;
  std::int64_t output = guess < static_cast<double>(a.out) ? (guess > 0 ? static_cast<std::int64_t>(guess) : 0) : a.out;
  while (output > 0 && interpolate_tap(a, output - 1).index >= index) --output;
  while (output < a.out && interpolate_tap(a, output).index < index) ++output;
  return output;
}

struct InterpolateRange {
  std::int64_t begin, end;
};

/// The inputs that an output takes.
WEFT_SCALAR InterpolateRange interpolate_inputs(const InterpolateAxis& a, std::int64_t output) {
  const InterpolateTap tap = interpolate_tap(a, output);
  return {tap.index, tap.index + (tap.next > 0 ? 2 : 1)};
}

/// The outputs that take an input.
WEFT_SCALAR InterpolateRange interpolate_outputs(const InterpolateAxis& a, std::int64_t input) {
  InterpolateRange range{interpolate_first(a, a.linear ? input - 1 : input), interpolate_first(a, input + 1)};
  while (range.begin < range.end && interpolate_weight(a, input, range.begin) == 0) ++range.begin;
  return range;
}

}  // namespace weft
