#include "weft/nn/layers_pad.h"

#include <utility>
#include <vector>

#include "weft/error.h"

namespace weft::nn {

template <PadMode mode>
Tensor ImagePad<mode>::forward(const Tensor& x) const {
  if (x.rank() != 3 && x.rank() != 4) {
    throw ShapeError("ImagePad: input must be (N, C, H, W) or (C, H, W), got " + to_string(x.shape()));
  }
  std::vector<std::pair<std::int64_t, std::int64_t>> padding(static_cast<std::size_t>(x.rank()) - 2);
  padding.emplace_back(sides_.top, sides_.bottom);
  padding.emplace_back(sides_.left, sides_.right);
  return pad(x, padding, mode, value_);
}

template class ImagePad<PadMode::constant>;
template class ImagePad<PadMode::reflect>;
template class ImagePad<PadMode::replicate>;
template class ImagePad<PadMode::circular>;

}  // namespace weft::nn
