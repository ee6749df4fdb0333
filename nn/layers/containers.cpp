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
  const auto& children = named_children();
  Tensor y = x;
  for (std::size_t i = 0; i < children.size(); ++i) {
    Module& child = *children[i].second;
    if (auto* norm = dynamic_cast<BatchNorm*>(&child)) {
      const bool rectified = i + 1 < children.size() && dynamic_cast<ReLU*>(children[i + 1].second.get()) != nullptr;
      if (rectified) ++i;
      // A residual of another shape or dtype broadcasts or promotes, as sums do.
      const bool adds = i + 1 == children.size() && residual.defined() && residual.shape() == y.shape() &&
                        residual.dtype() == y.dtype();
      y = norm->forward_fused(y, rectified, adds ? residual : Tensor());
      if (adds) return y;
    } else if (auto* nested = dynamic_cast<Sequential*>(&child); nested != nullptr && i + 1 == children.size()) {
      return nested->forward_add(y, residual);
    } else {
      y = child.forward(y);
    }
  }
  return residual.defined() ? y + residual : y;
}

Tensor Identity::forward(const Tensor& x) { return x; }
Tensor Scale::forward(const Tensor& x) { return x * factor_; }
Tensor Flatten::forward(const Tensor& x) { return flatten(x, first_axis_, last_axis_); }

Dropout::Dropout(double p) : p_(p) { require(p >= 0 && p <= 1, "Dropout", "p", "in [0, 1]", p); }
Tensor Dropout::forward(const Tensor& x) { return dropout(x, p_, is_training()); }

}  // namespace weft::nn
