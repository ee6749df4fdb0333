#include <algorithm>

#include "core/ops/op_support.h"

namespace weft {

namespace {

/// The elements of x (..., rows, columns) whose column less their row is within [low, high], and zeros elsewhere.
Tensor band(std::string_view op, const Tensor& x, std::int64_t diagonal, bool lower) {
  if (x.rank() < 2) {
    throw ShapeError(std::string(op) + ": input needs 2 or more dimensions (..., rows, columns), got " +
                     to_string(x.shape()));
  }
  check_computes(op, x.dtype(), x.device());
  const std::int64_t rows = x.size(-2), columns = x.size(-1);
  if (x.size() == 0) return clone(x);
  const TensorOptions options{.dtype = DType::i64, .device = x.device()};
  const std::int64_t shift = std::clamp(diagonal, -rows, columns);
  const Tensor column = arange(0, columns, 1, options);
  const Tensor limit = arange(shift, rows + shift, 1, options).unsqueeze(1);
  return where(lower ? less_equal(column, limit) : greater_equal(column, limit), x,
               full({}, 0, {.dtype = x.dtype(), .device = x.device()}));
}

}  // namespace

Tensor tril(const Tensor& x, std::int64_t diagonal) { return band("tril", x, diagonal, true); }
Tensor triu(const Tensor& x, std::int64_t diagonal) { return band("triu", x, diagonal, false); }

}  // namespace weft
