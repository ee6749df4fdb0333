#pragma once

#include "core/device/backend.h"
#include "cuda/runtime/context.h"

namespace weft::cuda {

/// Backend::copy.
void copy(Context& context, const ConstView& in, const View& out);

}  // namespace weft::cuda
