#pragma once

#include "weft/weft.h"

namespace weft {

/// nn::resnet9 with convolutions that are, forward and backward, the functions of weft::composed: pad, dilate, flip,
/// copies of windows and matrix products. Its parameters have the sizes of nn::resnet9's.
nn::Sequential composed_resnet9(nn::ResNet9 variant);

}  // namespace weft
