#include "weft/nn/layer.h"

#include "weft/rollback.h"

namespace weft::nn {

Tensor Layer::operator()(const Tensor& x) const {
  const Rollback as_before;
  return forward(x);
}

Layer::Fused Layer::forward_fused(const Tensor& x, Following /*following*/, const Tensor& /*residual*/) const {
  return {forward(x)};
}

}  // namespace weft::nn
