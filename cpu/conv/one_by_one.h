#pragma once

#include "core/device/backend.h"

namespace weft::cpu {

/// Backend::conv with a 1x1 filter, stride 1 and no padding (is_pointwise): one matrix product per group.
template <class T>
void pointwise(ConvPass pass, const ConvShape& shape, const T* a, const T* b, const T* bias, T* out);

}  // namespace weft::cpu
