#pragma once

#include <cstddef>
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

namespace weft {

/// What a line becomes to be sorted: an element's key, and its place in the line.
struct SortEntry {
  std::int64_t key, place;
};

/// The bytes of `count` entries; SIZE_MAX, which no device has, where they are more than that.
inline std::size_t entries_bytes(std::int64_t count) {
  std::size_t bytes = 0;
  return __builtin_mul_overflow(static_cast<std::size_t>(count), sizeof(SortEntry), &bytes) ? SIZE_MAX : bytes;
}

}  // namespace weft
