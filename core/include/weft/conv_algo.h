#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace weft {

/// How a convolution and its gradients are computed. Pinning one that does not apply is a ValueError.
enum class ConvAlgo : std::uint8_t {
  automatic,  ///< by a fixed table of shapes, dtypes and device, so that runs repeat
  reference,  ///< the definition in plain loops, with sums in double; slow
  im2col,     ///< products with gathered columns; for every convolution
  direct,     ///< no columns: depthwise (as many groups as channels), and 1x1 with stride 1 and no padding
  winograd,  ///< minimal filtering for 3x3 on two axes, stride 1, dilation 1, one group; f32 and f64. Errors in f32 are
             ///< up to 5e-6 of the norm, by im2col up to 1.2e-6; an infinity can make all of its tile NaN
  implicit_gemm,  ///< im2col whose columns a GPU gathers in the product itself, in one launch; on the CPU im2col, whose
                  ///< columns never leave the caches
};
/// "automatic", "reference", ...
std::string_view name(ConvAlgo algo);

/// With timing on, `automatic` times the algorithms that apply, once for each pass, shape, dtype and kind of device,
/// and keeps to the fastest. Their results differ in rounding, so runs repeat only with the same choices. Off at first;
/// for the whole process.
void set_conv_timing(bool on);
bool conv_timing();

/// What timing chose: names of algorithms by descriptions of the work. nn::save writes them into a checkpoint and
/// nn::load reads them back, so that a process which goes on from there computes alike.
using ConvChoices = std::map<std::string, std::string>;
ConvChoices conv_choices();
/// Adds to the choices, those of this process first where both have one. Throws ValueError on an unknown algorithm.
void add_conv_choices(const ConvChoices& choices);
void clear_conv_choices();

}  // namespace weft
