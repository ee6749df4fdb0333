#pragma once

#include "core/device/backend.h"
#include "cuda/runtime/context.h"

namespace weft::cuda {

/// As Backend::resample, with the context's lock held and its device current. f32, f64, bf16.
void resample(Context& context, ResamplePass pass, const ResampleShape& shape, const ConstView& in, const View& out);

}  // namespace weft::cuda
