#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "weft/shape.h"

/// One to three spatial axes as the last of three.
namespace weft {

using Triple = std::array<std::int64_t, 3>;

/// The place of the first axis that is there.
inline std::size_t first_axis(int axes) { return static_cast<std::size_t>(3 - axes); }

/// The numbers of the axes that are there behind those of `dims`.
inline Shape join(Shape dims, int axes, const Triple& values) {
  for (std::size_t d = first_axis(axes); d < 3; ++d) dims.push_back(values[d]);
  return dims;
}

/// "(2, 1)": the axes that are there.
inline std::string numbers(int axes, const Triple& values) { return to_string(join({}, axes, values)); }

}  // namespace weft
