#pragma once

#include "core/device/backend.h"
#include "weft/array.h"

/// Arrays as the device contract takes them.
namespace weft {

inline ConstView const_view(const Array& array) {
  return {array.data(), array.shape(), array.strides(), array.dtype()};
}
inline View mutable_view(const Array& array) { return {array.data(), array.shape(), array.strides(), array.dtype()}; }

}  // namespace weft
