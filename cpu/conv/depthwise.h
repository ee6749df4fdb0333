#pragma once

#include "core/device/backend.h"
#include "cpu/runtime/simd.h"

namespace weft::cpu {

/// Backend::conv where groups == c and k is a multiple of it: filter i sees channel i / (k / c) alone. Directly,
/// without columns: every pass is a sum over taps with the channels as lanes. The same bits for any number of threads.
/// f32, f64.
template <class T>
void depthwise(ConvPass pass, const ConvShape& shape, const T* a, const T* b, const T* bias, T* out);
/// The same with the kernels of one instruction set, at most widest_isa().
template <class T>
void depthwise(Isa isa, ConvPass pass, const ConvShape& shape, const T* a, const T* b, const T* bias, T* out);

}  // namespace weft::cpu
