#include "layers/check.h"
#include "weft/nn/optim.h"

namespace weft::nn {
namespace {

std::vector<std::string> sgd_state(const SGDOptions& options) {
  if (options.momentum == 0) return {};
  return {"momentum"};
}

}  // namespace

SGD::SGD(std::vector<Tensor> parameters, const SGDOptions& options)
    : Optimizer("SGD", std::move(parameters), options.lr, sgd_state(options), false), options_(options) {
  require(options.momentum >= 0 && options.momentum < 1, "SGD", "momentum", "in [0, 1)", options.momentum);
  require_not_negative("SGD", "weight_decay", options.weight_decay);
  require(!options.nesterov || options.momentum > 0, "SGD", "momentum with nesterov", "positive", options.momentum);
}

void SGD::update(std::span<const ParameterStep> parameters, const Array& rate) {
  sgd_step(parameters,
           {.momentum = options_.momentum,
            .weight_decay = options_.weight_decay,
            .nesterov = options_.nesterov,
            .buffer_holds_steps = options_.buffer_holds_steps},
           rate);
}

Adam::Adam(std::vector<Tensor> parameters, const AdamOptions& options)
    : Adam("Adam", std::move(parameters), options, false) {}

Adam::Adam(const std::string& name, std::vector<Tensor> parameters, const AdamOptions& options, bool decoupled)
    : Optimizer(name, std::move(parameters), options.lr, {"exp_avg", "exp_avg_sq"}, true),
      options_(options),
      decoupled_(decoupled) {
  require(options.beta1 >= 0 && options.beta1 < 1, name, "beta1", "in [0, 1)", options.beta1);
  require(options.beta2 >= 0 && options.beta2 < 1, name, "beta2", "in [0, 1)", options.beta2);
  require_not_negative(name, "eps", options.eps);
  require_not_negative(name, "weight_decay", options.weight_decay);
}

void Adam::update(std::span<const ParameterStep> parameters, const Array& rate) {
  adam_step(parameters,
            {.beta1 = options_.beta1,
             .beta2 = options_.beta2,
             .eps = options_.eps,
             .weight_decay = options_.weight_decay,
             .decoupled = decoupled_},
            rate);
}

AdamW::AdamW(std::vector<Tensor> parameters, const AdamWOptions& options)
    : Adam("AdamW", std::move(parameters),
           {.lr = options.lr,
            .beta1 = options.beta1,
            .beta2 = options.beta2,
            .eps = options.eps,
            .weight_decay = options.weight_decay},
           true) {}

}  // namespace weft::nn
