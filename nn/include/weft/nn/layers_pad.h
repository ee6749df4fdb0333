#pragma once

#include <cstdint>

#include "weft/nn/layer.h"
#include "weft/ops.h"

namespace weft::nn {

/// How much is added at the sides of an image. Negative amounts crop in the constant mode.
struct Sides {
  Sides(std::int64_t all) : left(all), right(all), top(all), bottom(all) {}
  Sides(std::int64_t left_side, std::int64_t right_side, std::int64_t top_side, std::int64_t bottom_side)
      : left(left_side), right(right_side), top(top_side), bottom(bottom_side) {}
  std::int64_t left, right, top, bottom;
};

/// Pads (N, C, H, W) or (C, H, W) at the sides of the images, as weft::pad in this mode. Throws ShapeError on other
/// ranks.
template <PadMode mode>
class ImagePad final : public Layer {
 public:
  explicit ImagePad(const Sides& sides, double value = 0) requires(mode == PadMode::constant)
      : sides_(sides), value_(value) {}
  explicit ImagePad(const Sides& sides) requires(mode != PadMode::constant) : sides_(sides) {}
  Tensor forward(const Tensor& x) const override;

 private:
  Sides sides_;
  double value_ = 0;
};
using ConstantPad2d = ImagePad<PadMode::constant>;
using ZeroPad2d = ImagePad<PadMode::constant>;
using ReflectionPad2d = ImagePad<PadMode::reflect>;
using ReplicationPad2d = ImagePad<PadMode::replicate>;
using CircularPad2d = ImagePad<PadMode::circular>;

}  // namespace weft::nn
