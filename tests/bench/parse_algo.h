#pragma once

#include <string_view>

#include "weft/conv_algo.h"
#include "weft/error.h"

namespace weft {

/// The algorithm of that name(). Throws ValueError where there is none.
inline ConvAlgo parse_algo(std::string_view text) {
  for (const ConvAlgo algo : {ConvAlgo::automatic, ConvAlgo::reference, ConvAlgo::im2col, ConvAlgo::direct,
                              ConvAlgo::winograd, ConvAlgo::implicit_gemm}) {
    if (text == name(algo)) return algo;
  }
  throw ValueError("unknown algorithm " + std::string(text));
}

}  // namespace weft
