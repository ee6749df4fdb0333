#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/device/spatial.h"
#include "weft/conv_options.h"

/// Loops over three axes for tests of one to three.
namespace weft {

template <int N>
PerAxis<N> last(const Triple& values) {
  PerAxis<N> result = 0;
  std::copy(values.end() - N, values.end(), result.begin());
  return result;
}

/// f(Triple) for every place in row-major order.
template <class F>
void for_each(const Triple& sizes, const F& f) {
  for (std::int64_t i = 0; i < sizes[0]; ++i)
    for (std::int64_t j = 0; j < sizes[1]; ++j)
      for (std::int64_t k = 0; k < sizes[2]; ++k) f(Triple{i, j, k});
}

inline std::size_t flat(const Triple& sizes, const Triple& at) {
  return static_cast<std::size_t>((at[0] * sizes[1] + at[1]) * sizes[2] + at[2]);
}

inline std::size_t volume_of(const Triple& sizes) { return static_cast<std::size_t>(sizes[0] * sizes[1] * sizes[2]); }

}  // namespace weft
