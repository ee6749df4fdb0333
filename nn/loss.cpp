#include "weft/nn/loss.h"

#include <string>

#include "weft/error.h"

namespace weft::nn {
namespace {

Tensor difference(const char* owner, const Tensor& prediction, const Tensor& target) {
  if (!(prediction.shape() == target.shape())) {
    throw ShapeError(std::string(owner) + ": prediction " + to_string(prediction.shape()) + " and target " +
                     to_string(target.shape()) + " must have one shape");
  }
  return prediction - target;
}

Tensor reduced(const Tensor& losses, Reduction reduction) {
  if (reduction == Reduction::none) return losses;
  return reduction == Reduction::mean ? mean(losses) : sum(losses);
}

}  // namespace

Tensor mse_loss(const Tensor& prediction, const Tensor& target, Reduction reduction) {
  return reduced(square(difference("mse_loss", prediction, target)), reduction);
}

Tensor l1_loss(const Tensor& prediction, const Tensor& target, Reduction reduction) {
  return reduced(abs(difference("l1_loss", prediction, target)), reduction);
}

}  // namespace weft::nn
