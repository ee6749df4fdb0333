#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "weft/nn/trainer.h"
#include "weft/train_ops.h"

namespace weft::nn {

/// Sums over batches that stay on the device, in arrays of their own, until somebody asks.
class Tally {
 public:
  explicit Tally(const Device& device)
      : loss_(Array::full({}, 0, DType::f64, device)), hits_(Array::full({}, 0, DType::i64, device)) {}

  void start() {
    loss_.fill(0);
    hits_.fill(0);
    images_ = 0;
    start_ = std::chrono::steady_clock::now();
  }

  /// Rows of logits (rows, classes) with their labels (rows,) and losses (rows,), as cross_entropy took and gave them.
  /// On the device; can be part of a recorded step.
  void add(const Tensor& logits, const Tensor& labels, const Tensor& losses) {
    tally(logits.array().contiguous(), labels.array().to(DType::i64).contiguous(), losses.array().contiguous(), loss_,
          hits_);
  }
  /// On the host.
  void count(std::int64_t images) { images_ += images; }

  Metrics metrics() const {
    Metrics m;
    const auto count = static_cast<double>(std::max<std::int64_t>(images_, 1));
    m.loss = loss_.item<double>() / count;
    m.accuracy = static_cast<double>(hits_.item<std::int64_t>()) / count;
    m.images = images_;
    m.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    return m;
  }

 private:
  Array loss_, hits_;
  std::int64_t images_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace weft::nn
