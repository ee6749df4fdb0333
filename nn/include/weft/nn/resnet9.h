#pragma once

#include <cstdint>
#include <optional>

#include "weft/nn/layers.h"

namespace weft::nn {

enum class ResNet9 {
  narrow,  ///< quarter width, strided convolutions: 431,946 parameters; of CMU's deep learning systems course
  full,    ///< full width, max pooling: 6,573,120 parameters; David Page's for DAWNBench, 2018
};

struct ResNet9Options {
  ResNet9 variant = ResNet9::narrow;
  std::int64_t classes = 10;
  std::int64_t channels = 3;
  std::optional<Init> init = {};             ///< left out: Init::kaiming_uniform for narrow, Init::pytorch for full
  ConvAlgo conv_algo = ConvAlgo::automatic;  ///< of every convolution
};

/// A residual network of nine layers: images (N, channels, 32, 32) -> logits (N, classes). Throws ValueError on sizes
/// below 1.
Sequential resnet9(const ResNet9Options& options = {});

}  // namespace weft::nn
