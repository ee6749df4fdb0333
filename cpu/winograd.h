#pragma once

#include "core/backend.h"

namespace weft::cpu {

/// A pass of Backend::conv by Winograd's F(tile x tile, 3x3), tile 2 or 4 (core/winograd_transform.h). shape: filter
/// {1, 3, 3}, stride, dilation and groups 1, in[0] and out[0] 1, padding[0] 0; any padding >= 0 on the other axes and
/// any sizes. bias (k,) or null; passes other than forward have none. T: float, double. The same bits for any number of
/// threads.
template <class T>
void winograd(ConvPass pass, int tile, const ConvShape& shape, const T* a, const T* b, const T* bias, T* out);

}  // namespace weft::cpu
