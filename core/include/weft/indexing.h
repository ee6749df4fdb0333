#pragma once

#include <cstdint>

#include "weft/tensor.h"

/// Elements by their indices, in order, and summed as they go. Indices are i64 or i32, take no gradient and do not
/// count from the end. On the CPU an index outside of the axis throws IndexError before anything is written. On a GPU
/// reading such an index gives NaN (of integers and bool 0), and writing to it has no effect. One number without axes
/// counts as an axis of size 1.
namespace weft {

/// x at the positions indices (n,) of the axis, whose size becomes n.
Tensor index_select(const Tensor& x, int axis, const Tensor& indices);
/// out[i, j, k] = x[i, index[i, j, k], k] for axis 1, as torch.gather. index has x's rank, and along the other axes at
/// most x's size.
Tensor gather(const Tensor& x, int axis, const Tensor& index);
/// x with out[i, index[i, j, k], k] = source[i, j, k] for axis 1. index has the rank of x and of source, along the
/// other axes at most x's size and along all at most source's. The last write in row-major order wins and alone takes a
/// gradient. Throws DTypeError unless source has x's dtype.
Tensor scatter(const Tensor& x, int axis, const Tensor& index, const Tensor& source);
/// The same with one number as every element of source. Throws ValueError when an integer dtype cannot hold it.
Tensor scatter(const Tensor& x, int axis, const Tensor& index, Scalar value);
/// x with out[i, index[i, j, k], k] += source[i, j, k] for axis 1, in row-major order; sums of more than 16 terms of
/// f32 are made in f64. Throws DTypeError of bool.
Tensor scatter_add(const Tensor& x, int axis, const Tensor& index, const Tensor& source);
/// value where mask (bool) holds, x elsewhere; both broadcast. Throws ValueError when an integer dtype cannot hold the
/// value.
Tensor masked_fill(const Tensor& x, const Tensor& mask, Scalar value);
/// Running sums along the axis: out at j is the sum of x at 0 to j. Those of f32 are added in f64; of bool, u8 and i32
/// they are i64.
Tensor cumsum(const Tensor& x, int axis);

/// Elements in order, and their places (i64) along the axis.
struct Sorted {
  Tensor values, indices;
};
/// Equal elements, -0 and +0 among them, keep their order. NaN is larger than all else.
Sorted sort(const Tensor& x, int axis = -1, bool descending = false);
/// The indices of sort.
Tensor argsort(const Tensor& x, int axis = -1, bool descending = false);
/// The first k elements of x in descending order, or where not `largest` in ascending order. Throws ValueError unless 0
/// <= k <= the axis's size.
Sorted topk(const Tensor& x, std::int64_t k, int axis = -1, bool largest = true);
/// The rows of weight (V, D) at indices of any shape: indices' shape + (D,).
Tensor embedding(const Tensor& indices, const Tensor& weight);

}  // namespace weft
