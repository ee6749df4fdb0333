#pragma once

#include <string_view>
#include <vector>

#include "weft/shape.h"

namespace weft {

/// nearest: the element at the output's coordinate rounded down, as PyTorch's "nearest". linear: between the two
/// neighbours of each axis, as PyTorch's "linear", "bilinear" and "trilinear".
enum class InterpolateMode { nearest, linear };

/// Either size or scale_factor, with one number for each spatial axis or one for all.
struct InterpolateOptions {
  Dims size = {};                         ///< of the output
  std::vector<double> scale_factor = {};  ///< output = input·factor, rounded down
  InterpolateMode mode = InterpolateMode::nearest;
  bool align_corners = false;  ///< linear: the outermost elements of input and output coincide, not their edges
};

/// Throws ValueError, with the name `owner`, on options that fit no input.
void check_options(std::string_view owner, const InterpolateOptions& options);

}  // namespace weft
