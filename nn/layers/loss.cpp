#include "weft/nn/loss.h"

#include <cmath>
#include <limits>
#include <string>

#include "layers/check.h"
#include "weft/error.h"

namespace weft::nn {
namespace {

void check_pair(const char* owner, const char* what, const Tensor& prediction, const Tensor& target) {
  if (prediction.shape() == target.shape()) return;
  throw ShapeError(std::string(owner) + ": " + what + " " + to_string(prediction.shape()) + " and target " +
                   to_string(target.shape()) + " must have one shape");
}

Tensor difference(const char* owner, const Tensor& prediction, const Tensor& target) {
  check_pair(owner, "prediction", prediction, target);
  return prediction - target;
}

Tensor reduced(const Tensor& losses, Reduction reduction) {
  if (reduction == Reduction::none) return losses;
  return reduction == Reduction::mean ? mean(losses) : sum(losses);
}

// d²/(2·beta) where |d| < beta, |d| - beta/2 elsewhere. Also right where the dtype turns beta into 0 or infinity.
Tensor smooth_l1(const Tensor& d, double beta) {
  const Tensor size = abs(d);
  if (beta == 0 || (d.dtype() != DType::f64 && static_cast<float>(beta) == 0)) return size;
  const Tensor small = size < beta;
  const Tensor inside = where(small, d, 0);  // elsewhere d² may overflow
  return where(small, inside / beta * inside * 0.5, size - 0.5 * beta);
}

// d²/2 where |d| < delta, delta·(|d| - delta/2) elsewhere.
Tensor huber(const Tensor& d, double delta) {
  if (d.dtype() != DType::f64 && delta > std::numeric_limits<float>::max()) return d * 0.5 * d;
  const Tensor size = abs(d), small = size < delta;
  const Tensor inside = where(small, d, 0);
  return where(small, inside * 0.5 * inside, (size - 0.5 * delta) * delta);
}

void check_weight(const char* what, const Tensor& weight, const Tensor& logits) {
  bool fits = weight.rank() <= logits.rank();
  for (int i = 1; fits && i <= weight.rank(); ++i) fits = weight.size(-i) == 1 || weight.size(-i) == logits.size(-i);
  if (fits) return;
  throw ShapeError(std::string("binary_cross_entropy_with_logits: ") + what + " " + to_string(weight.shape()) +
                   " does not broadcast to logits " + to_string(logits.shape()));
}

}  // namespace

Tensor mse_loss(const Tensor& prediction, const Tensor& target, Reduction reduction) {
  return reduced(square(difference("mse_loss", prediction, target)), reduction);
}

Tensor l1_loss(const Tensor& prediction, const Tensor& target, Reduction reduction) {
  return reduced(abs(difference("l1_loss", prediction, target)), reduction);
}

Tensor smooth_l1_loss(const Tensor& prediction, const Tensor& target, double beta, Reduction reduction) {
  require_not_negative("smooth_l1_loss", "beta", beta);
  return reduced(smooth_l1(difference("smooth_l1_loss", prediction, target), beta), reduction);
}

Tensor huber_loss(const Tensor& prediction, const Tensor& target, double delta, Reduction reduction) {
  require(delta > 0 && std::isfinite(delta), "huber_loss", "delta", "finite and positive", delta);
  return reduced(huber(difference("huber_loss", prediction, target), delta), reduction);
}

Tensor binary_cross_entropy_with_logits(const Tensor& logits, const Tensor& target,
                                        const BinaryCrossEntropyOptions& options) {
  check_pair("binary_cross_entropy_with_logits", "logits", logits, target);
  if (!is_floating_point(logits.dtype())) {
    throw DTypeError("binary_cross_entropy_with_logits: logits need a floating dtype, not " +
                     std::string(name(logits.dtype())));
  }
  const Tensor x = logits.dtype() == DType::bf16 ? logits.to(DType::f32) : logits;
  const Tensor y = target.to(x.dtype());
  constexpr double kNever = std::numeric_limits<double>::infinity();
  // Logits may be infinite where the target gives the term no weight.
  Tensor positive = weighted(y, softplus(negative(x), 1, kNever));
  if (options.pos_weight.defined()) {
    check_weight("pos_weight", options.pos_weight, x);
    positive = weighted(options.pos_weight.to(x.dtype()), positive);
  }
  Tensor losses = positive + weighted(1 - y, softplus(x, 1, kNever));
  if (options.weight.defined()) {
    check_weight("weight", options.weight, x);
    losses = weighted(options.weight.to(x.dtype()), losses);
  }
  return reduced(losses, options.reduction);
}

}  // namespace weft::nn
