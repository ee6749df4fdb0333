#pragma once

#include "weft/weft.h"

namespace weft {

/// Returns nn::resnet9 with convolutions by the functions of weft::composed in both passes: pad, dilate, flip, copies
/// of windows and matrix products. The parameters have the shapes of nn::resnet9's.
nn::Sequential composed_resnet9(nn::ResNet9 variant);

}  // namespace weft
