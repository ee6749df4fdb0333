#pragma once

#include "core/device/backend.h"
#include "cuda/runtime/context.h"

// The reductions of Backend.
namespace weft::cuda {

void reduce(Context& context, ReduceOp op, const ConstView& x, const View& out);
void arg_reduce(Context& context, ArgReduceOp op, const ConstView& x, int axis, const View& out);

}  // namespace weft::cuda
