#include "weft/nn/layers_activation.h"

#include <cmath>

#include "layers/check.h"

namespace weft::nn {

Tensor ReLU::forward(const Tensor& x) const { return relu(x); }
Tensor GELU::forward(const Tensor& x) const { return gelu(x, tanh_approximation_); }
Tensor LeakyReLU::forward(const Tensor& x) const { return leaky_relu(x, slope_); }
Tensor ELU::forward(const Tensor& x) const { return elu(x, alpha_); }
Tensor SiLU::forward(const Tensor& x) const { return silu(x); }
Tensor ReLU6::forward(const Tensor& x) const { return relu6(x); }
Tensor Hardsigmoid::forward(const Tensor& x) const { return hardsigmoid(x); }
Tensor Hardswish::forward(const Tensor& x) const { return hardswish(x); }
Tensor Softmax::forward(const Tensor& x) const { return softmax(x, axis_); }
Tensor LogSoftmax::forward(const Tensor& x) const { return log_softmax(x, axis_); }
Tensor Tanh::forward(const Tensor& x) const { return tanh(x); }
Tensor Sigmoid::forward(const Tensor& x) const { return sigmoid(x); }

CELU::CELU(double alpha) : alpha_(alpha) {
  require(alpha != 0 && std::isfinite(alpha), "CELU", "alpha", "finite and not 0", alpha);
}
Tensor CELU::forward(const Tensor& x) const { return celu(x, alpha_); }

Softplus::Softplus(double beta, double threshold) : beta_(beta), threshold_(threshold) {
  require(beta != 0 && std::isfinite(beta), "Softplus", "beta", "finite and not 0", beta);
}
Tensor Softplus::forward(const Tensor& x) const { return softplus(x, beta_, threshold_); }

Hardtanh::Hardtanh(double low, double high) : low_(low), high_(high) {
  require(low <= high, "Hardtanh", "low", "at most high, " + to_string(Scalar(high)), low);
}
Tensor Hardtanh::forward(const Tensor& x) const { return hardtanh(x, low_, high_); }

}  // namespace weft::nn
