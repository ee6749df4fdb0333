#pragma once

#include "core/device/backend.h"

namespace weft::cpu {

/// Backend::conv by the definition (core/device/conv_reference.h).
template <class T>
void conv_reference(ConvPass pass, const ConvShape& shape, const T* a, const T* b, const T* bias, T* out);

}  // namespace weft::cpu
