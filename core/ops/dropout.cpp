#include "core/ops/op_support.h"
#include "core/value/number.h"
#include "weft/random.h"
#include "weft/rollback.h"

namespace weft {

Tensor dropout(const Tensor& x, double p, bool training) {
  if (!(p >= 0 && p <= 1)) throw ValueError("dropout: p must be in [0, 1], not " + number(p));
  check_float("dropout", x);
  if (!training || p == 0) return x;
  const Rollback as_before;
  const Tensor kept = greater_equal(rand(x.shape(), {.device = x.device()}), scalar_like(x, p));
  return x * (kept.to(x.dtype()) * (p < 1 ? 1 / (1 - p) : 0.0));
}

}  // namespace weft
