#pragma once

#include "core/device/backend.h"
#include "cuda/runtime/context.h"

namespace weft::cuda {

/// Backend::conv by the definition (core/device/conv_reference.h).
void conv_reference(Context& context, ConvPass pass, const ConvShape& shape, const ConstView& a, const ConstView& b,
                    const ConstView* bias, const View& out);

}  // namespace weft::cuda
