#pragma once

#include "core/device/backend.h"
#include "cuda/runtime/context.h"

namespace weft::cuda {

/// As Backend::image_batch, with the context's lock held and its device current. out is f32, f64 or bf16.
void image_batch(Context& context, const ImageBatchArguments& arguments, const ConstView& images,
                 const ConstView& labels, const ConstView& order, const View& clock, const View& out,
                 const View& out_labels);

}  // namespace weft::cuda
