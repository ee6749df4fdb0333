#pragma once

#include "core/device/backend.h"

/// Algorithms of CpuBackend::conv that need no header of their own. T: float, double. bias (k,) or null.
namespace weft::cpu {

/// The definition in plain loops (core/device/conv_reference.h).
template <class T>
void conv_reference(ConvPass pass, const ConvShape& shape, const T* a, const T* b, const T* bias, T* out);
/// One matrix product per group. The filter is 1x1, with stride 1 and no padding (is_one_by_one).
template <class T>
void conv_one_by_one(ConvPass pass, const ConvShape& shape, const T* a, const T* b, const T* bias, T* out);

}  // namespace weft::cpu
