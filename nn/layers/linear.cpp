#include <cmath>
#include <optional>

#include "layers/check.h"
#include "layers/initial.h"
#include "weft/nn/layers.h"
#include "weft/rollback.h"

namespace weft::nn {

/// U(±√(6/fan_in)) is He's for ReLU; PyTorch's U(±1/√fan_in) is the same with gain 1/√3.
Tensor initial_weight(const Shape& shape, Init init) {
  const auto [fan_in, fan_out] = init::calculate_fans(shape);
  std::optional<double> gain;
  if (init == Init::pytorch) gain = 1 / std::sqrt(3.0);
  return init::kaiming_uniform(fan_in, fan_out, {.shape = shape, .gain = gain});
}

Tensor initial_bias(std::int64_t outputs, const Shape& weight) {
  const double bound = 1 / std::sqrt(static_cast<double>(init::calculate_fans(weight).in));
  return init::uniform({outputs}, -bound, bound);
}

Linear::Linear(std::int64_t in_features, std::int64_t out_features, const LayerOptions& options) {
  require_at_least(1, "Linear", "in_features", in_features);
  require_at_least(1, "Linear", "out_features", out_features);
  const Rollback as_before;
  const Shape shape{out_features, in_features};
  weight_ = register_parameter("weight", initial_weight(shape, options.init));
  if (options.bias) bias_ = register_parameter("bias", initial_bias(out_features, shape));
}

Linear::Linear(const Tensor& weight, const Tensor& bias)
    : weight_(register_parameter("weight", weight.detach())),
      bias_(register_parameter("bias", bias.defined() ? bias.detach() : Tensor())) {}

Linear Linear::with_parameters(const Tensor& weight, const Tensor& bias) const {
  check_parameters("Linear", weight_, weight_.size(0), weight, bias);
  return Linear(weight, bias);
}

Tensor Linear::forward(const Tensor& x) const { return linear(x, weight_, bias_); }

}  // namespace weft::nn
