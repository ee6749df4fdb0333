#include <cmath>
#include <limits>

#include "core/ops/op_support.h"
#include "core/value/number.h"

/// Reductions that are written in the other public ops.
namespace weft {

namespace {

using Mask = std::array<bool, kMaxRank>;

/// The shape of a result that has lost (or kept, with size 1) the masked axes.
Shape reduced_shape(const Shape& shape, const Mask& mask, bool keep_axes) {
  Shape result;
  for (int i = 0; i < shape.rank(); ++i) {
    const bool reduced = mask[static_cast<std::size_t>(i)];
    if (!reduced || keep_axes) result.push_back(reduced ? 1 : shape[i]);
  }
  return result;
}

/// Whether a result has no elements to reduce. A shape with another axis of size 0 has no results either.
bool of_nothing(const Shape& shape, const Mask& mask) {
  for (int i = 0; i < shape.rank(); ++i) {
    if (mask[static_cast<std::size_t>(i)] && shape[i] == 0) return true;
  }
  return false;
}

Tensor is_nonzero(const Tensor& x) {
  return x.dtype() == DType::boolean ? x.detach() : not_equal(x.detach(), scalar_like(x, 0));
}

/// x with the masked axes joined as its last one.
Tensor rows_of(const Tensor& x, const Mask& mask) {
  Dims order, shape;
  std::int64_t count = 1;
  for (int i = 0; i < x.rank(); ++i) {
    if (mask[static_cast<std::size_t>(i)]) continue;
    order.push_back(i);
    shape.push_back(x.shape()[i]);
  }
  for (int i = 0; i < x.rank(); ++i) {
    if (!mask[static_cast<std::size_t>(i)]) continue;
    order.push_back(i);
    count *= x.shape()[i];
  }
  shape.push_back(count);
  return reshape(permute(x, order), shape);
}

}  // namespace

Tensor any(const Tensor& x, const Axes& axes, bool keep_axes) {
  check_computes("any", x.dtype(), x.device());
  const Mask mask = layout::axes_mask("any", axes, x.rank());
  if (of_nothing(x.shape(), mask))
    return full(reduced_shape(x.shape(), mask, keep_axes), false, {.device = x.device()});
  return max(is_nonzero(x), axes, keep_axes);
}

Tensor all(const Tensor& x, const Axes& axes, bool keep_axes) {
  check_computes("all", x.dtype(), x.device());
  const Mask mask = layout::axes_mask("all", axes, x.rank());
  if (of_nothing(x.shape(), mask)) return full(reduced_shape(x.shape(), mask, keep_axes), true, {.device = x.device()});
  return min(is_nonzero(x), axes, keep_axes);
}

Tensor prod(const Tensor& x, const Axes& axes, bool keep_axes) {
  check_computes("prod", x.dtype(), x.device());
  const Mask mask = layout::axes_mask("prod", axes, x.rank());
  const Tensor input = is_floating_point(x.dtype()) ? x : x.to(DType::i64);
  if (mask == Mask{}) return input;
  if (of_nothing(x.shape(), mask)) return sum(input, axes, keep_axes) + 1;
  // The halves of each row are multiplied until one column is left. So a gradient is a product of the other elements,
  // never a quotient, which a 0 among them would spoil.
  Tensor rows = rows_of(input, mask), odd;
  for (std::int64_t count = rows.shape().back(); count > 1; count = rows.shape().back()) {
    if (count % 2 != 0) {
      const Tensor last = slice(rows, -1, count - 1, count);
      odd = odd.defined() ? odd * last : last;
    }
    rows = slice(rows, -1, 0, count / 2) * slice(rows, -1, count / 2, count / 2 * 2);
  }
  if (odd.defined()) rows = rows * odd;
  return reshape(rows, reduced_shape(x.shape(), mask, keep_axes));
}

namespace {

/// (Σ|x|ᵖ)^(1/p) for a finite p that is not 0. Both powers have an infinite slope at 0 for some p, where PyTorch takes
/// 0: zeros are left out of them.
Tensor finite_norm(const Tensor& x, double p, const Axes& axes, bool keep_axes) {
  if (p == 1) return sum(abs(x), axes, keep_axes);
  const Tensor one = scalar_like(x, 1), zero = scalar_like(x, 0);
  Tensor is_zero, powers;
  if (p == 2) {
    powers = square(x);
  } else {
    is_zero = equal(x.detach(), zero);
    powers = where(is_zero, zero, power(where(is_zero, one, abs(x)), p));
  }
  const Tensor total = sum(powers, axes, keep_axes);
  // A negative power of 0 is infinite, and the root of that is 0 again.
  const Tensor none = p < 0 ? any(is_zero, axes, keep_axes) : equal(total.detach(), zero);
  const Tensor positive = where(none, one, total);
  return where(none, zero, p == 2 ? sqrt(positive) : power(positive, 1 / p));
}

}  // namespace

Tensor norm(const Tensor& x, double p, const Axes& axes, bool keep_axes) {
  const Tensor input = floating("norm", x);
  const Mask mask = layout::axes_mask("norm", axes, x.rank());
  if (std::isnan(p)) throw ValueError("norm: p must not be " + number(p));
  if (of_nothing(x.shape(), mask) && (p < 0 || std::isinf(p))) {
    throw ShapeError("norm: p " + number(p) + " of " + to_string(x.shape()) +
                     ", which has no elements along the reduced axes");
  }
  if (std::isinf(p)) return p > 0 ? max(abs(input), axes, keep_axes) : min(abs(input), axes, keep_axes);
  if (p == 0) return sum(not_equal(input, scalar_like(input, 0)).to(input.dtype()), axes, keep_axes);
  return finite_norm(input, p, axes, keep_axes);
}

Tensor std(const Tensor& x, const Axes& axes, std::int64_t correction, bool keep_axes) {
  const Tensor variance = var(floating("std", x), axes, correction, keep_axes);
  const Tensor zero = scalar_like(variance, 0), none = equal(variance.detach(), zero);
  return where(none, zero, sqrt(where(none, scalar_like(variance, 1), variance)));
}

}  // namespace weft
