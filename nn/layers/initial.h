#pragma once

#include "weft/nn/init.h"

/// How the parameters of linear layers and convolutions start.
namespace weft::nn {

Tensor initial_weight(const Shape& shape, Init init);
/// The bias (outputs,) beside a weight of that shape.
Tensor initial_bias(std::int64_t outputs, const Shape& weight);

}  // namespace weft::nn
