#include "weft/nn/layers.h"

#include <utility>

#include "layers/check.h"
#include "weft/rollback.h"

namespace weft::nn {

Sequential& Sequential::append(std::shared_ptr<Layer> layer) {
  layers_->reserve(layers_->size() + 1);
  layers_->push_back(register_module(std::to_string(size()), std::move(layer)));
  return *this;
}

Layer& Sequential::operator[](std::int64_t index) const {
  if (index < 0 || index >= size()) {
    throw IndexError("Sequential: index " + std::to_string(index) + " of " + std::to_string(size()) + " layers");
  }
  return *(*layers_)[static_cast<std::size_t>(index)];
}

Tensor Sequential::forward_add(const Tensor& x, const Tensor& residual) const {
  const Rollback as_before;
  const Following layers(*layers_);
  Fused result{x};
  for (std::size_t i = 0; i < layers.size(); i += 1 + result.layers) {
    result = layers[i]->forward_fused(result.y, layers.subspan(i + 1), residual);
  }
  return residual.defined() && !result.has_residual ? result.y + residual : result.y;
}

Layer::Fused Sequential::forward_fused(const Tensor& x, Following following, const Tensor& residual) const {
  if (!following.empty()) return {forward(x)};
  return {forward_add(x, residual), 0, residual.defined()};
}

Tensor Identity::forward(const Tensor& x) const { return x; }
Tensor Scale::forward(const Tensor& x) const { return x * factor_; }
Tensor Flatten::forward(const Tensor& x) const { return flatten(x, first_axis_, last_axis_); }

Dropout::Dropout(double p) : p_(p) { require(p >= 0 && p <= 1, "Dropout", "p", "in [0, 1]", p); }
Tensor Dropout::forward(const Tensor& x) const { return dropout(x, p_, is_training()); }

}  // namespace weft::nn
