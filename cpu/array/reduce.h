#pragma once

#include "core/device/backend.h"

namespace weft::cpu {

/// See Backend. One axis at a time, the densest first, in chunks whose partial results are reduced again: the tree
/// depends on the layout of x alone. Integer sums wrap.
void reduce(ReduceOp op, const ConstView& x, const View& out);
void arg_reduce(ArgReduceOp op, const ConstView& x, int axis, const View& out);

}  // namespace weft::cpu
