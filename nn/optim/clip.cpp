#include "weft/nn/clip.h"

#include <cmath>
#include <string>
#include <utility>

#include "layers/check.h"
#include "weft/ops.h"

namespace weft::nn {
namespace {

constexpr double kEps = 1e-6;  // PyTorch's, so that gradients of 0 are divided by something

/// The parameters that have a gradient.
std::vector<Tensor> with_gradient(const std::string& owner, const std::vector<Tensor>& parameters) {
  std::vector<Tensor> found;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!parameters[i].defined()) throw ValueError(owner + ": parameter " + std::to_string(i) + " is undefined");
    if (parameters[i].grad().defined()) found.push_back(parameters[i]);
  }
  return found;
}

/// Gives each parameter what `change` makes of its gradient; all are made before any is replaced.
template <class Change>
void replace_gradients(std::vector<Tensor>& parameters, const Change& change) {
  std::vector<Tensor> changed;
  changed.reserve(parameters.size());
  for (const Tensor& parameter : parameters) changed.push_back(change(parameter.grad()));
  for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].set_grad(changed[i]);
}

/// The norm of the elements of all gradients together: the norm of their norms, in the widest dtype among them.
Tensor norm_of_gradients(const std::vector<Tensor>& parameters, double p) {
  DType dtype = DType::f32;
  std::vector<Tensor> norms;
  for (const Tensor& parameter : parameters) {
    const Tensor gradient = parameter.grad();
    if (gradient.size() == 0) continue;  // it has no largest magnitude
    dtype = promote(dtype, gradient.dtype());
    norms.push_back(norm(gradient, p));
  }
  const Device device = parameters.front().grad().device();
  if (norms.empty()) return Tensor(Array::full({}, 0, dtype, device));
  for (Tensor& each : norms) each = each.to(device).to(dtype);
  return norm(stack(norms), p);
}

}  // namespace

Tensor clip_grad_norm(const std::vector<Tensor>& parameters, double max_norm, const ClipGradNormOptions& options) {
  constexpr const char* kName = "clip_grad_norm";
  require(max_norm >= 0, kName, "max_norm", "not negative", max_norm);
  require(options.norm_type > 0, kName, "norm_type", "positive", options.norm_type);
  std::vector<Tensor> clipped = with_gradient(kName, parameters);
  if (clipped.empty()) return Tensor(Array::full({}, 0, DType::f32));
  const NoGrad no_grad;
  const Tensor total = norm_of_gradients(clipped, options.norm_type);
  const Tensor factor = clamp(max_norm / (total + kEps), {}, 1.0);
  replace_gradients(
      clipped, [&](const Tensor& gradient) { return gradient * factor.to(gradient.device()).to(gradient.dtype()); });
  return total;
}

void clip_grad_value(const std::vector<Tensor>& parameters, double clip_value) {
  constexpr const char* kName = "clip_grad_value";
  require(clip_value >= 0, kName, "clip_value", "not negative", clip_value);
  std::vector<Tensor> clipped = with_gradient(kName, parameters);
  const NoGrad no_grad;
  replace_gradients(clipped, [&](const Tensor& gradient) { return clamp(gradient, -clip_value, clip_value); });
}

}  // namespace weft::nn
