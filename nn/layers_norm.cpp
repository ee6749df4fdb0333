#include "core/backend.h"
#include "nn/check.h"
#include "weft/nn/layers.h"

namespace weft::nn {
namespace {

void check_rank(bool fits, const char* owner, const char* expected, const Tensor& x) {
  if (!fits) throw ShapeError(std::string(owner) + ": input must be " + expected + ", got " + to_string(x.shape()));
}

}  // namespace

BatchNorm::BatchNorm(std::int64_t features, const NormOptions& options) : options_(options) {
  require_at_least(1, "BatchNorm", "the number of features", features);
  require_not_negative("BatchNorm", "eps", options.eps);
  require(options.momentum >= 0 && options.momentum <= 1, "BatchNorm", "momentum", "in [0, 1]", options.momentum);
  weight_ = register_parameter("weight", ones({features}));
  bias_ = register_parameter("bias", zeros({features}));
  running_mean_ = register_buffer("running_mean", zeros({features}));
  running_var_ = register_buffer("running_var", ones({features}));
  batches_ = register_buffer("num_batches_tracked", zeros({}, {.dtype = DType::i64}));
}

Tensor BatchNorm::forward_fused(const Tensor& x, bool relu, const Tensor& residual) {
  check(x);
  const bool training = is_training();
  Tensor y = batch_norm(x, weight_, bias_, running_mean_, running_var_,
                        {.training = training,
                         .eps = options_.eps,
                         .momentum = options_.momentum,
                         .unbiased_running = options_.unbiased_running,
                         .relu = relu},
                        residual);
  if (training) {
    const Array& count = batches_.array();
    if (!one_.defined() || one_.device() != count.device()) one_ = Array::full({}, 1, DType::i64, count.device());
    backend(count.device()).accumulate(const_view(one_), mutable_view(count));
    count.storage()->bump_version();
  }
  return y;
}

void BatchNorm1d::check(const Tensor& x) const {
  check_rank(x.rank() == 2 || x.rank() == 3, "BatchNorm1d", "(N, C) or (N, C, L)", x);
}

void BatchNorm2d::check(const Tensor& x) const { check_rank(x.rank() == 4, "BatchNorm2d", "(N, C, H, W)", x); }

}  // namespace weft::nn
