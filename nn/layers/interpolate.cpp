#include "weft/nn/layers_interpolate.h"

#include <string>

#include "weft/error.h"

namespace weft::nn {
namespace {

InterpolateOptions checked(const char* owner, const InterpolateOptions& options) {
  check_options(owner, options);
  return options;
}

Tensor interpolate_2d(const char* owner, const Tensor& x, const InterpolateOptions& options) {
  if (x.rank() != 4) throw ShapeError(std::string(owner) + ": input must be (N, C, H, W), got " + to_string(x.shape()));
  return interpolate(x, options);
}

}  // namespace

Upsample::Upsample(const InterpolateOptions& options) : options_(checked("Upsample", options)) {}
Tensor Upsample::forward(const Tensor& x) const { return interpolate(x, options_); }

UpsamplingNearest2d::UpsamplingNearest2d(const Upsampling2dOptions& options)
    : options_(checked("UpsamplingNearest2d", {options.size, options.scale_factor})) {}
Tensor UpsamplingNearest2d::forward(const Tensor& x) const {
  return interpolate_2d("UpsamplingNearest2d", x, options_);
}

UpsamplingBilinear2d::UpsamplingBilinear2d(const Upsampling2dOptions& options)
    : options_(checked("UpsamplingBilinear2d", {options.size, options.scale_factor, InterpolateMode::linear, true})) {}
Tensor UpsamplingBilinear2d::forward(const Tensor& x) const {
  return interpolate_2d("UpsamplingBilinear2d", x, options_);
}

}  // namespace weft::nn
