#pragma once

#include "weft/nn/layer.h"
#include "weft/ops.h"

namespace weft::nn {

/// (N, C, ...) with one to three spatial axes, as weft::interpolate.
class Upsample final : public Layer {
 public:
  explicit Upsample(const InterpolateOptions& options);
  Tensor forward(const Tensor& x) const override;

 private:
  InterpolateOptions options_;
};

/// Either size or scale_factor, for height and width or one number for both.
struct Upsampling2dOptions {
  Dims size = {};
  std::vector<double> scale_factor = {};
};

/// (N, C, H, W), the nearest element.
class UpsamplingNearest2d final : public Layer {
 public:
  explicit UpsamplingNearest2d(const Upsampling2dOptions& options);
  Tensor forward(const Tensor& x) const override;

 private:
  InterpolateOptions options_;
};

/// (N, C, H, W), bilinear with aligned corners.
class UpsamplingBilinear2d final : public Layer {
 public:
  explicit UpsamplingBilinear2d(const Upsampling2dOptions& options);
  Tensor forward(const Tensor& x) const override;

 private:
  InterpolateOptions options_;
};

}  // namespace weft::nn
