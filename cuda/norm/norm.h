#pragma once

#include "core/device/backend.h"
#include "cuda/runtime/context.h"

namespace weft::cuda {

// As the methods of Backend, with the context's lock held and its device current. f32, f64, bf16.

void batch_norm(Context& context, const ConstView& x, const ConstView& weight, const ConstView& bias,
                const ConstView& residual, const BatchNormArguments& arguments, const View& y, const View& mean,
                const View& inverse_std, const View& scale, const View& shift, const View& running_mean,
                const View& running_var, const View& batches);

void batch_norm_inference(Context& context, const ConstView& x, const ConstView& weight, const ConstView& bias,
                          const ConstView& running_mean, const ConstView& running_var, const ConstView& residual,
                          const BatchNormArguments& arguments, const View& y);

void batch_norm_grad(Context& context, const ConstView& y_grad, const ConstView& x, const ConstView& mean,
                     const ConstView& inverse_std, const ConstView& scale, const ConstView& shift,
                     const BatchNormArguments& arguments, const View& x_grad, const View& weight_grad,
                     const View& bias_grad);

}  // namespace weft::cuda
