#include "weft/nn/layers_norm.h"

#include "layers/check.h"

namespace weft::nn {
namespace {

void check_rank(bool fits, const char* owner, const char* expected, const Tensor& x) {
  if (!fits) throw ShapeError(std::string(owner) + ": input must be " + expected + ", got " + to_string(x.shape()));
}

}  // namespace

BatchNorm::BatchNorm(std::int64_t features, const BatchNormOptions& options) : options_(options) {
  require_at_least(1, "BatchNorm", "the number of features", features);
  require_not_negative("BatchNorm", "eps", options.eps);
  require(options.momentum >= 0 && options.momentum <= 1, "BatchNorm", "momentum", "in [0, 1]", options.momentum);
  weight_ = register_parameter("weight", ones({features}));
  bias_ = register_parameter("bias", zeros({features}));
  running_mean_ = register_buffer("running_mean", zeros({features}));
  running_var_ = register_buffer("running_var", ones({features}));
  batches_ = register_buffer("num_batches_tracked", zeros({}, {.dtype = DType::i64}));
}

Tensor BatchNorm::forward_fused(const Tensor& x, bool relu, const Tensor& residual) const {
  check(x);
  return batch_norm(x, weight_, bias_, running_mean_, running_var_, options_,
                    {.training = is_training(), .relu = relu, .residual = residual, .batches = batches_});
}

Layer::Fused BatchNorm::forward_fused(const Tensor& x, Following following, const Tensor& residual) const {
  const bool rectifies = !following.empty() && following.front()->is_relu();
  const std::size_t layers = rectifies ? 1 : 0;
  // A residual of another shape or dtype broadcasts or promotes, as sums do.
  const bool adds = following.size() == layers && residual.defined() && residual.shape() == x.shape() &&
                    residual.dtype() == x.dtype();
  return {forward_fused(x, rectifies, adds ? residual : Tensor()), layers, adds};
}

void BatchNorm1d::check(const Tensor& x) const {
  check_rank(x.rank() == 2 || x.rank() == 3, "BatchNorm1d", "(N, C) or (N, C, L)", x);
}

void BatchNorm2d::check(const Tensor& x) const { check_rank(x.rank() == 4, "BatchNorm2d", "(N, C, H, W)", x); }

void BatchNorm3d::check(const Tensor& x) const { check_rank(x.rank() == 5, "BatchNorm3d", "(N, C, D, H, W)", x); }

GroupNorm::GroupNorm(std::int64_t groups, std::int64_t channels, const GroupNormOptions& options)
    : groups_(groups), eps_(options.eps) {
  require_at_least(1, "GroupNorm", "the number of groups", groups);
  require_at_least(1, "GroupNorm", "the number of channels", channels);
  require_not_negative("GroupNorm", "eps", eps_);
  if (channels % groups != 0) {
    throw ValueError("GroupNorm: " + std::to_string(groups) + " groups do not divide " + std::to_string(channels) +
                     " channels");
  }
  if (!options.affine) return;
  weight_ = register_parameter("weight", ones({channels}));
  bias_ = register_parameter("bias", zeros({channels}));
}

Tensor GroupNorm::forward(const Tensor& x) const { return group_norm(x, groups_, weight_, bias_, eps_); }

LayerNorm::LayerNorm(const Shape& normalized_shape, const LayerNormOptions& options)
    : normalized_shape_(normalized_shape), eps_(options.eps) {
  require_at_least(1, "LayerNorm", "the number of axes", normalized_shape.rank());
  for (const std::int64_t size : normalized_shape) require_at_least(1, "LayerNorm", "every size", size);
  require_not_negative("LayerNorm", "eps", eps_);
  if (!options.elementwise_affine) return;
  weight_ = register_parameter("weight", ones(normalized_shape));
  if (options.bias) bias_ = register_parameter("bias", zeros(normalized_shape));
}

Tensor LayerNorm::forward(const Tensor& x) const { return layer_norm(x, normalized_shape_, weight_, bias_, eps_); }

InstanceNorm::InstanceNorm(std::int64_t features, const InstanceNormOptions& options)
    : features_(features), eps_(options.eps) {
  require_at_least(1, "InstanceNorm", "the number of features", features);
  require_not_negative("InstanceNorm", "eps", eps_);
  if (!options.affine) return;
  weight_ = register_parameter("weight", ones({features}));
  bias_ = register_parameter("bias", zeros({features}));
}

Tensor InstanceNorm::forward(const Tensor& x) const {
  check(x);
  if (x.size(1) != features_) {
    throw ShapeError("InstanceNorm: input " + to_string(x.shape()) + " has not the " + std::to_string(features_) +
                     " features of the module");
  }
  return instance_norm(x, weight_, bias_, eps_);
}

void InstanceNorm1d::check(const Tensor& x) const { check_rank(x.rank() == 3, "InstanceNorm1d", "(N, C, L)", x); }
void InstanceNorm2d::check(const Tensor& x) const { check_rank(x.rank() == 4, "InstanceNorm2d", "(N, C, H, W)", x); }
void InstanceNorm3d::check(const Tensor& x) const { check_rank(x.rank() == 5, "InstanceNorm3d", "(N, C, D, H, W)", x); }

}  // namespace weft::nn
