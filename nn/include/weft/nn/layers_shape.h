#pragma once

#include <cstdint>

#include "weft/nn/layer.h"

namespace weft::nn {

/// Splits one axis into axes of these sizes, one of which may be -1. Throws ShapeError where they do not fit.
class Unflatten final : public Layer {
 public:
  Unflatten(int axis, const Shape& sizes);
  Tensor forward(const Tensor& x) const override;

 private:
  int axis_;
  Shape sizes_;
};

/// (..., C r r, H, W) -> (..., C, H r, W r), r being the factor: sub-pixel convolution (Shi et al. 2016). Throws
/// ShapeError on fewer than three axes or channels that r r does not divide.
class PixelShuffle final : public Layer {
 public:
  explicit PixelShuffle(std::int64_t factor);
  Tensor forward(const Tensor& x) const override;

 private:
  std::int64_t factor_;
};

/// Rows of a weight (rows, features), standard normal at first, at indices of any shape: their shape + (features,).
class Embedding final : public Layer {
 public:
  Embedding(std::int64_t rows, std::int64_t features);
  Tensor forward(const Tensor& indices) const override;
  const Tensor& weight() const { return weight_; }

 private:
  Tensor weight_;
};

}  // namespace weft::nn
