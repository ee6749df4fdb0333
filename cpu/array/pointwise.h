#pragma once

#include "core/device/backend.h"

namespace weft::cpu {

// Contracts at the methods of Backend. Dtypes that an op does not take throw DTypeError.
void arange(const View& out, Scalar start, Scalar step);
void unary(UnaryOp op, const ConstView& x, const View& out);
void binary(BinaryOp op, const ConstView& a, const ConstView& b, const View& out);
void where(const ConstView& condition, const ConstView& a, const ConstView& b, const View& out);
/// Adds in parallel along axes whose positions in out cannot meet, else in order.
void accumulate(const ConstView& in, const View& out);

}  // namespace weft::cpu
