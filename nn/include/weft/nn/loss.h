#pragma once

#include "weft/ops.h"

namespace weft::nn {

/// weft::cross_entropy with its options kept.
class CrossEntropyLoss {
 public:
  explicit CrossEntropyLoss(const CrossEntropyOptions& options = {}) : options_(options) {}
  Tensor operator()(const Tensor& logits, const Tensor& target) const {
    return cross_entropy(logits, target, options_);
  }

 private:
  CrossEntropyOptions options_;
};

/// (prediction - target)² and |prediction - target|, reduced. Throws ShapeError unless both have one shape.
Tensor mse_loss(const Tensor& prediction, const Tensor& target, Reduction reduction = Reduction::mean);
Tensor l1_loss(const Tensor& prediction, const Tensor& target, Reduction reduction = Reduction::mean);
/// With d = prediction - target: d²/(2·beta) where |d| < beta, |d| - beta/2 elsewhere; l1_loss for beta = 0 (Girshick
/// 2015). Throws ValueError when beta is negative, ShapeError unless both have one shape.
Tensor smooth_l1_loss(const Tensor& prediction, const Tensor& target, double beta = 1,
                      Reduction reduction = Reduction::mean);
/// delta·smooth_l1_loss (Huber 1964). Throws ValueError unless delta is positive.
Tensor huber_loss(const Tensor& prediction, const Tensor& target, double delta = 1,
                  Reduction reduction = Reduction::mean);

struct BinaryCrossEntropyOptions {
  Reduction reduction = Reduction::mean;
  Tensor weight = {};      ///< of the losses, broadcast to their shape; undefined: 1
  Tensor pos_weight = {};  ///< of the targets' positive part, broadcast to their shape; undefined: 1
};
/// -weight·(pos_weight·target·log σ(logits) + (1 - target)·log(1 - σ(logits))), exact for logits of any size. Logits of
/// a floating dtype, target of any; bf16 logits give f32. Throws ShapeError unless both have one shape that the weights
/// broadcast to.
Tensor binary_cross_entropy_with_logits(const Tensor& logits, const Tensor& target,
                                        const BinaryCrossEntropyOptions& options = {});

}  // namespace weft::nn
