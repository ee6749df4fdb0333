#pragma once

#include "core/backend.h"
#include "cuda/context.h"

namespace weft::cuda {

/// Backend::copy.
void copy(Context& context, const ConstView& in, const View& out);

}  // namespace weft::cuda
