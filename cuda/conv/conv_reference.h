#pragma once

#include "core/backend.h"
#include "cuda/context.h"

namespace weft::cuda {

/// Backend::conv by the definition (core/conv_reference.h).
void conv_reference(Context& context, ConvPass pass, const ConvShape& shape, const ConstView& a, const ConstView& b,
                    const ConstView* bias, const View& out);

}  // namespace weft::cuda
