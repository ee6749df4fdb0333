#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace weft {

/// How a convolution and its gradients are computed. Pinning one that does not apply is a ValueError.
///
/// The promise of `automatic` for f32 on the CPU, with timing too, where Winograd's algorithm may be chosen: let X be
/// the largest magnitude in an output's own 3x3 window over all channels, and W the sum over channels of the largest
/// magnitude of the filter's nine taps. Then |error| <= 5e-6·X·W before the bias is added, and an infinity or NaN
/// reaches no output that does not see it. For the input gradient, y's gradient takes the place of x. For the weight
/// gradient of filter k and channel c, |error| <= 5e-6 times the sum over tiles of 4x4 outputs (2x2 where the map is at
/// most 2 wide or high) of the largest |x_c| that the tile reads times the sum of its |g_k|. Long sums of equal terms,
/// whose rounding errors do not cancel, may err by up to 5e-6 of the sum of the terms' magnitudes by any algorithm.
/// Tiles for which Winograd's algorithm would break the promise go by a direct product. On a GPU `automatic` never
/// takes Winograd's algorithm, with timing neither.
enum class ConvAlgo : std::uint8_t {
  automatic,  ///< by a fixed table of shapes, dtypes and device, so that runs repeat
  reference,  ///< the definition in plain loops, with sums in double; slow
  im2col,     ///< products with gathered columns; for every convolution
  direct,     ///< no columns: depthwise (as many groups as channels), and 1x1 with stride 1 and no padding
  winograd,  ///< minimal filtering for 3x3 on two axes, stride 1, dilation 1, one group; f32 and f64. Pinned, it is the
             ///< bare algorithm, without the promise of `automatic`: one large pixel adds its rounding error to all
             ///< outputs of its tile, an infinity can make all of them NaN, and numbers from about 1e34 on overflow.
             ///< For regular data errors in f32 are up to 5e-6 of the norm, by im2col up to 1.2e-6
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
/// The most choices that a process keeps. When it has them, `automatic` takes what it takes without timing.
inline constexpr std::size_t kMaxConvChoices = 16'384;
/// The longest description of a piece of work, in bytes.
inline constexpr std::size_t kMaxConvWork = 512;
ConvChoices conv_choices();
/// Adds to the choices, those of this process first where both have one, until it has kMaxConvChoices. Throws
/// ValueError on an unknown algorithm, on more choices than that, and on a description over kMaxConvWork.
void add_conv_choices(const ConvChoices& choices);
void clear_conv_choices();

}  // namespace weft
