#pragma once

#include "core/device/backend.h"
#include "cuda/runtime/context.h"

namespace weft::cuda {

// As the methods of Backend, with the context's lock held and its device current. f32, f64; softmax and tally also
// bf16.

void softmax(Context& context, bool log, const ConstView& x, const View& y);
void softmax_grad(Context& context, bool log, const ConstView& y, const ConstView& y_grad, const View& x_grad);
void cross_entropy(Context& context, const ConstView& logits, const ConstView& labels,
                   const CrossEntropyArguments& arguments, const View& losses, const View& count);
void cross_entropy_grad(Context& context, const ConstView& logits, const ConstView& labels,
                        const CrossEntropyArguments& arguments, const ConstView& losses_grad, const ConstView& count,
                        const View& logits_grad);
void tally(Context& context, const ConstView& logits, const ConstView& labels, const ConstView& losses,
           const View& loss_sum, const View& hits);

}  // namespace weft::cuda
