#pragma once

#include "core/device/backend.h"
#include "cuda/runtime/context.h"

// The elementwise methods of Backend.
namespace weft::cuda {

void fill(Context& context, const View& out, Scalar value);
void arange(Context& context, const View& out, Scalar start, Scalar step);
void unary(Context& context, UnaryOp op, const ConstView& x, const View& out);
void binary(Context& context, BinaryOp op, const ConstView& a, const ConstView& b, const View& out);
void where(Context& context, const ConstView& condition, const ConstView& a, const ConstView& b, const View& out);
void accumulate(Context& context, const ConstView& in, const View& out);

}  // namespace weft::cuda
