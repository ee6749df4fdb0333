#include "weft/nn/layers.h"

#include "nn/check.h"

namespace weft::nn {
namespace {

Pool2dOptions pool_options(const char* owner, Pair kernel, const PoolOptions& options) {
  require_at_least(1, owner, "kernel height", kernel.height);
  require_at_least(1, owner, "kernel width", kernel.width);
  require_at_least(0, owner, "stride height", options.stride.height);
  require_at_least(0, owner, "stride width", options.stride.width);
  const Pair padding = options.padding;
  for (const auto& [size, amount] :
       {std::pair(kernel.height, padding.height), std::pair(kernel.width, padding.width)}) {
    if (amount >= 0 && amount <= size / 2) continue;
    throw ValueError(std::string(owner) + ": padding must be at most half the kernel of " + std::to_string(size) +
                     ", got " + std::to_string(amount));
  }
  return {kernel, options.stride, padding};
}

}  // namespace

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

Tensor ReLU::forward(const Tensor& x) { return relu(x); }
Tensor GELU::forward(const Tensor& x) { return gelu(x, tanh_approximation_); }
Tensor LeakyReLU::forward(const Tensor& x) { return leaky_relu(x, slope_); }
Tensor ELU::forward(const Tensor& x) { return elu(x, alpha_); }
Tensor SiLU::forward(const Tensor& x) { return silu(x); }
Tensor ReLU6::forward(const Tensor& x) { return relu6(x); }
Tensor Hardsigmoid::forward(const Tensor& x) { return hardsigmoid(x); }
Tensor Hardswish::forward(const Tensor& x) { return hardswish(x); }
Tensor Tanh::forward(const Tensor& x) { return tanh(x); }
Tensor Sigmoid::forward(const Tensor& x) { return sigmoid(x); }
Tensor Identity::forward(const Tensor& x) { return x; }
Tensor Scale::forward(const Tensor& x) { return x * factor_; }
Tensor Flatten::forward(const Tensor& x) { return flatten(x, first_axis_, last_axis_); }

CELU::CELU(double alpha) : alpha_(alpha) {
  require(alpha != 0 && std::isfinite(alpha), "CELU", "alpha", "finite and not 0", alpha);
}
Tensor CELU::forward(const Tensor& x) { return celu(x, alpha_); }

Softplus::Softplus(double beta, double threshold) : beta_(beta), threshold_(threshold) {
  require(beta != 0 && std::isfinite(beta), "Softplus", "beta", "finite and not 0", beta);
}
Tensor Softplus::forward(const Tensor& x) { return softplus(x, beta_, threshold_); }

Hardtanh::Hardtanh(double low, double high) : low_(low), high_(high) {
  require(low <= high, "Hardtanh", "low", "at most high, " + number(high), low);
}
Tensor Hardtanh::forward(const Tensor& x) { return hardtanh(x, low_, high_); }

Dropout::Dropout(double p) : p_(p) { require(p >= 0 && p <= 1, "Dropout", "p", "in [0, 1]", p); }
Tensor Dropout::forward(const Tensor& x) { return dropout(x, p_, is_training()); }

MaxPool2d::MaxPool2d(Pair kernel, const PoolOptions& options) : options_(pool_options("MaxPool2d", kernel, options)) {}
Tensor MaxPool2d::forward(const Tensor& x) { return max_pool2d(x, options_); }

AvgPool2d::AvgPool2d(Pair kernel, const PoolOptions& options) : options_(pool_options("AvgPool2d", kernel, options)) {}
Tensor AvgPool2d::forward(const Tensor& x) { return avg_pool2d(x, options_); }

Tensor GlobalAvgPool2d::forward(const Tensor& x) { return global_avg_pool2d(x); }

}  // namespace weft::nn
