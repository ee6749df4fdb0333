#pragma once

#include "core/device/backend.h"

namespace weft::cpu::tiles {

/// The weight gradient of cpu/conv/winograd.h. `bounded` and the result: see winograd_bounded; true without it.
template <class T>
bool weight_grad(int tile, const ConvShape& shape, const T* y_grad, const T* x, T* out, bool bounded);

}  // namespace weft::cpu::tiles
