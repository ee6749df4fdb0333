#pragma once

#include "core/device/backend.h"

namespace weft::cpu {

/// See Backend. out is f32.
void image_batch(const ImageBatchArguments& arguments, const ConstView& images, const ConstView& labels,
                 const ConstView& order, const View& clock, const View& out, const View& out_labels);

}  // namespace weft::cpu
