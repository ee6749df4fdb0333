#pragma once

#include <vector>

#include "weft/tensor.h"

namespace weft::nn {

struct ClipGradNormOptions {
  double norm_type = 2;  ///< p of the p-norm; infinity is the largest magnitude
};

/// Scales the gradients of the parameters by min(1, max_norm / (norm + 1e-6)), where norm is that of all their elements
/// together, and returns the norm, which lies where the first gradient does. PyTorch's clip_grad_norm_. No number comes
/// to the host, so a StepGraph records it. Parameters without a gradient are left out; the norm of none is 0. An
/// infinite max_norm only measures. Each gradient becomes a new tensor: handles to the old one keep their values.
/// Throws ValueError on a negative max_norm, a norm_type that is not positive and an undefined parameter, and whatever
/// it throws, no gradient has changed.
Tensor clip_grad_norm(const std::vector<Tensor>& parameters, double max_norm, const ClipGradNormOptions& options = {});

/// Limits each element of the gradients to [-clip_value, clip_value]. PyTorch's clip_grad_value_. The gradients become
/// new tensors, and errors leave them, as in clip_grad_norm. Throws ValueError on a negative clip_value.
void clip_grad_value(const std::vector<Tensor>& parameters, double clip_value);

}  // namespace weft::nn
