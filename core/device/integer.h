#pragma once

#include <cstdint>
#include <type_traits>

#include "core/device/scalar_macro.h"

// Integer arithmetic that every part of a plan needs. No intermediate value exceeds the result, so that a sum such as
// a + b - 1 cannot overflow.
namespace weft {

/// The smallest integer that is at least a / b; b > 0.
template <class T>
WEFT_SCALAR constexpr T ceil_div(T a, std::type_identity_t<T> b) {
  return static_cast<T>(a / b + (a % b > 0 ? 1 : 0));
}

/// The smallest multiple of `step` that is at least `value`; step > 0.
template <class T>
WEFT_SCALAR constexpr T round_up(T value, std::type_identity_t<T> step) {
  return static_cast<T>(ceil_div(value, step) * step);
}

/// The size of the equal parts that `total` is cut into, each at most `most`; at least 1. The last part may be smaller.
template <class T>
WEFT_SCALAR constexpr T even_part(T total, std::type_identity_t<T> most) {
  return total == 0 ? T{1} : ceil_div(total, ceil_div(total, most));
}

}  // namespace weft
