#pragma once

#include <bit>
#include <cstddef>

// The sizes in which the memory caches of all devices keep blocks: four classes per power of two from 64 bytes up, so
// that at most a fifth of a block is unused.

namespace weft {

inline constexpr std::size_t kSmallestClass = 64;  ///< bytes

/// The class of a block of `bytes`: the smallest index with class_bytes(index) >= bytes. `bytes` is at most 2^63 - 1.
inline constexpr std::size_t class_index(std::size_t bytes) {
  if (bytes <= kSmallestClass) return 0;
  const int power = std::bit_width(bytes - 1) - 1;  // 2^power < bytes <= 2^(power + 1)
  const std::size_t quarter = ((bytes - 1) >> (power - 2)) & 3;
  return static_cast<std::size_t>(power - 6) * 4 + quarter + 1;
}

/// Bytes of a block of the class: 64, 80, 96, 112, 128, 160, ...
inline constexpr std::size_t class_bytes(std::size_t index) {
  if (index == 0) return kSmallestClass;
  const std::size_t power = (index - 1) / 4 + 6;
  return (std::size_t{1} << power) + (((index - 1) % 4 + 1) << (power - 2));
}

/// Classes there are: class_bytes(kClasses - 1) is 2^63.
inline constexpr std::size_t kClasses = 1 + 4 * (63 - 6);

static_assert(class_bytes(class_index(65)) == 80 && class_bytes(class_index(128)) == 128);
static_assert(class_index(std::size_t{1} << 63) == kClasses - 1);

}  // namespace weft
