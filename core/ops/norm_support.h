#pragma once

#include "core/ops/op_support.h"

/// What the ops that normalise share.
namespace weft {

/// A normalised input with 1/√(variance + eps).
struct Normal {
  Tensor values, inverse_std;
};

/// (x - mean)/√(variance + eps) over the axes in public ops, for gradients of gradients: everything is computed again
/// from x. mean, rest and inverse_std are what Backend::batch_norm found, with size 1 along the axes. They serve as
/// constants that keep the digits and the range: what is left of the mean once they are subtracted is small, and so are
/// the squares of what is multiplied by inverse_std.
Normal composed_normal(const Tensor& x, const Axes& axes, const Tensor& mean, const Tensor& rest,
                       const Tensor& inverse_std, double eps);

}  // namespace weft
