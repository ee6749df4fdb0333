#pragma once

#include "core/device/backend.h"

namespace weft::cpu {

void sgd(std::span<const OptimizerTensor> tensors, const SgdArguments& arguments, const ConstView& learning_rate);
void adam(std::span<const OptimizerTensor> tensors, const AdamArguments& arguments, const ConstView& learning_rate);

}  // namespace weft::cpu
