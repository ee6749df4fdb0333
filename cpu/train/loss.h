#pragma once

#include "core/device/backend.h"

namespace weft::cpu {

void softmax(bool log, const ConstView& x, const View& y);
void softmax_grad(bool log, const ConstView& y, const ConstView& y_grad, const View& x_grad);

void cross_entropy(const ConstView& logits, const ConstView& labels, const CrossEntropyArguments& arguments,
                   const View& losses, const View& count);
void cross_entropy_grad(const ConstView& logits, const ConstView& labels, const CrossEntropyArguments& arguments,
                        const ConstView& losses_grad, const ConstView& count, const View& logits_grad);

void tally(const ConstView& logits, const ConstView& labels, const ConstView& losses, const View& loss_sum,
           const View& hits);

}  // namespace weft::cpu
