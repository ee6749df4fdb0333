#pragma once

#include "core/backend.h"

namespace weft::cpu {

/// Backend::conv by the definition (core/conv_reference.h).
template <class T>
void conv_reference(ConvPass pass, const ConvShape& shape, const T* a, const T* b, const T* bias, T* out);

}  // namespace weft::cpu
