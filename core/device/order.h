#pragma once

#include <cstdint>
#include <type_traits>

#include "core/device/convert.h"

namespace weft::scalar {

/// An integer that orders elements as sorting does: NaN is the largest, whatever its sign, and -0 equals +0. A negative
/// number's bits below its sign are inverted.
template <class T>
WEFT_SCALAR std::int64_t order_key(T x) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, Bfloat>) {
    return order_key(widen(x));
  } else if constexpr (std::is_floating_point_v<T>) {
    using Bits = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
    if (x != x) return INT64_MAX;
    if (x == T(0)) return 0;
    const Bits bits = bits_as<Bits>(x);
    constexpr Bits kMagnitude = static_cast<Bits>(~(std::uint64_t{1} << (8 * sizeof(T) - 1)));
    return bits < 0 ? bits ^ kMagnitude : bits;
  } else {
    return static_cast<std::int64_t>(x);
  }
}

}  // namespace weft::scalar
