#pragma once

#include "core/device/backend.h"

namespace weft::cpu {

/// A pass of Backend::conv by Winograd's F(tile x tile, 3x3), tile 2 or 4 (core/device/winograd_transform.h). shape:
/// filter {1, 3, 3}, stride, dilation and groups 1, in[0] and out[0] 1, padding[0] 0; any padding >= 0 on the other
/// axes and any sizes. bias (k,) or null; passes other than forward have none. T: float, double. The same bits for any
/// number of threads.
///
/// f32 errors beside double sums, random normal data on 8x8 maps, as norm of the error over norm of the result /
/// largest error over largest element. The inner size counts the channels that are summed, for the weight
/// gradient the images:
///
///   inner   pass                  cpu::conv      tile 2         tile 4
///       3   forward, input_grad   9e-8 / 2e-7    1e-7 / 2e-7    9e-7 / 3e-6
///      64   forward, input_grad   4e-7 / 1e-6    3e-7 / 4e-7    2e-6 / 5e-6
///     512   forward, input_grad   1e-6 / 2e-6    7e-7 / 8e-7    5e-6 / 1e-5
///       3   weight_grad           2e-7 / 4e-7    2e-7 / 3e-7    1e-6 / 3e-6
///      64   weight_grad           3e-7 / 4e-7    5e-7 / 7e-7    3e-6 / 1e-5
///     512   weight_grad           5e-7 / 6e-7    5e-7 / 6e-7    3e-6 / 7e-6
template <class T>
void winograd(ConvPass pass, int tile, const ConvShape& shape, const T* a, const T* b, const T* bias, T* out);

/// The same within the promise of ConvAlgo::automatic: tiles that cpu/conv/winograd_fit.h does not let Winograd's
/// algorithm compute go by a direct product. False where the whole should go by im2col: the filter is not finite or
/// above 2^100, most tiles do not fit, or a product sums over more than 4096 channels. `out` then has any values.
template <class T>
bool winograd_bounded(ConvPass pass, int tile, const ConvShape& shape, const T* a, const T* b, const T* bias, T* out);

}  // namespace weft::cpu
