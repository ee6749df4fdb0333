#pragma once

#include "core/device/backend.h"
#include "cuda/runtime/context.h"

namespace weft::cuda {

// As the methods of Backend, with the context's lock held and its device current.

void sgd(Context& context, std::span<const OptimizerTensor> tensors, const SgdArguments& arguments,
         const ConstView& learning_rate);
void adam(Context& context, std::span<const OptimizerTensor> tensors, const AdamArguments& arguments,
          const ConstView& learning_rate);

}  // namespace weft::cuda
