#include "core/ops/op_support.h"
#include "core/value/views.h"
#include "weft/indexing.h"

namespace weft {

Tensor cumsum(const Tensor& x, int axis) {
  common_device("cumsum", {x});
  check_computes("cumsum", x.dtype(), x.device());
  const int at = layout::normalize_axis("cumsum", axis, std::max(x.rank(), 1));
  const Tensor input = is_floating_point(x.dtype()) ? x : x.to(DType::i64);
  if (x.rank() == 0) return input;
  Array out = Array::empty_like(input.array().layout(), input.dtype(), x.device());
  backend(x.device())->cumsum(const_view(input.array()), at, mutable_view(out));
  return record("cumsum", std::move(out), {input}, {},
                [at](const SavedValues&, const Tensor& g) { return Values{flip(cumsum(flip(g, at), at), at)}; });
}

}  // namespace weft
