#include "weft/nn/layers.h"

#include "layers/check.h"
#include "weft/rollback.h"

namespace weft::nn {

Sequential& Sequential::append(std::shared_ptr<Module> module) {
  register_module(std::to_string(size()), std::move(module));
  return *this;
}

Module& Sequential::operator[](std::int64_t index) const {
  if (index < 0 || index >= size()) {
    throw IndexError("Sequential: index " + std::to_string(index) + " of " + std::to_string(size()) + " modules");
  }
  return *named_children()[static_cast<std::size_t>(index)].second;
}

Tensor Sequential::forward_add(const Tensor& x, const Tensor& residual) {
  const Rollback as_before;
  const std::span<const Children::value_type> children(named_children());
  Fused result{x};
  for (std::size_t i = 0; i < children.size(); i += 1 + result.layers) {
    result = children[i].second->forward_fused(result.y, children.subspan(i + 1), residual);
  }
  return residual.defined() && !result.has_residual ? result.y + residual : result.y;
}

Module::Fused Sequential::forward_fused(const Tensor& x, std::span<const Children::value_type> following,
                                        const Tensor& residual) {
  if (!following.empty()) return {forward(x)};
  return {forward_add(x, residual), 0, residual.defined()};
}

Tensor Identity::forward(const Tensor& x) { return x; }
Tensor Scale::forward(const Tensor& x) { return x * factor_; }
Tensor Flatten::forward(const Tensor& x) { return flatten(x, first_axis_, last_axis_); }

Dropout::Dropout(double p) : p_(p) { require(p >= 0 && p <= 1, "Dropout", "p", "in [0, 1]", p); }
Tensor Dropout::forward(const Tensor& x) { return dropout(x, p_, is_training()); }

}  // namespace weft::nn
