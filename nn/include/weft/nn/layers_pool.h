#pragma once

#include "weft/nn/layers_conv.h"
#include "weft/nn/module.h"
#include "weft/ops.h"

namespace weft::nn {

struct PoolOptions {
  Pair stride = 0;   ///< 0: the kernel's size
  Pair padding = 0;  ///< at most half the kernel
};

class MaxPool2d final : public Module {
 public:
  explicit MaxPool2d(Pair kernel, const PoolOptions& options = {});
  Tensor forward(const Tensor& x) override;

 private:
  Pool2dOptions options_;
};

class AvgPool2d final : public Module {
 public:
  explicit AvgPool2d(Pair kernel, const PoolOptions& options = {});
  Tensor forward(const Tensor& x) override;

 private:
  Pool2dOptions options_;
};

/// (N, C, H, W) -> (N, C, 1, 1).
class GlobalAvgPool2d final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

}  // namespace weft::nn
