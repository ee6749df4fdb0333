#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "weft/conv_options.h"
#include "weft/tensor.h"

/// The options of pooling, for one, two or three spatial axes: length; height, width; depth, height, width. The kernel
/// is an argument of its own. Padding is on both sides and at most half the kernel. With ceil_mode a last window that
/// the padded input holds in part counts too, if it starts in the input or in the padding before it.
namespace weft {

template <int N>
struct MaxPoolOptions {
  PerAxis<N> stride = 0;  ///< 0: the kernel
  PerAxis<N> padding = 0;
  PerAxis<N> dilation = 1;  ///< the distance of a window's elements
  bool ceil_mode = false;
};
using MaxPool1dOptions = MaxPoolOptions<1>;
using MaxPool2dOptions = MaxPoolOptions<2>;
using MaxPool3dOptions = MaxPoolOptions<3>;

template <int N>
struct AvgPoolOptions {
  PerAxis<N> stride = 0;  ///< 0: the kernel
  PerAxis<N> padding = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;  ///< the divisor counts the zeros of the padding too
  std::optional<std::int64_t> divisor_override = {};
  PerAxis<N> dilation = 1;  ///< the distance of a window's elements; PyTorch has none
};
using AvgPool1dOptions = AvgPoolOptions<1>;
using AvgPool2dOptions = AvgPoolOptions<2>;
using AvgPool3dOptions = AvgPoolOptions<3>;

template <int N>
struct LPPoolOptions {
  PerAxis<N> stride = 0;  ///< 0: the kernel
  bool ceil_mode = false;
  PerAxis<N> dilation = 1;  ///< the distance of a window's elements; PyTorch has none
};
using LPPool1dOptions = LPPoolOptions<1>;
using LPPool2dOptions = LPPoolOptions<2>;
using LPPool3dOptions = LPPoolOptions<3>;

/// The options of the max pooling that is undone.
template <int N>
struct MaxUnpoolOptions {
  PerAxis<N> stride = 0;  ///< 0: the kernel
  PerAxis<N> padding = 0;
};
using MaxUnpool1dOptions = MaxUnpoolOptions<1>;
using MaxUnpool2dOptions = MaxUnpoolOptions<2>;
using MaxUnpool3dOptions = MaxUnpoolOptions<3>;

/// Throws ValueError, with the name of the function or layer `owner`, on a kernel or on options that fit no input:
/// "max_pool2d: kernel (2, 0) must be positive". The functions and the layers call the same check.
template <int N>
void check_options(std::string_view owner, const PerAxis<N>& kernel, const MaxPoolOptions<N>& options);
template <int N>
void check_options(std::string_view owner, const PerAxis<N>& kernel, const MaxUnpoolOptions<N>& options);
template <int N>
void check_options(std::string_view owner, const PerAxis<N>& kernel, const AvgPoolOptions<N>& options);
/// The norm must be positive and finite.
template <int N>
void check_options(std::string_view owner, double norm, const PerAxis<N>& kernel, const LPPoolOptions<N>& options);
/// Throws ValueError, with the name `owner`, unless every size of an adaptive pooling's result is positive.
template <int N>
void check_output_size(std::string_view owner, const PerAxis<N>& output_size);

struct MaxPoolResult {
  Tensor output;
  Tensor indices;  ///< i64, shaped like the output: each largest element's flat position in the input's spatial axes
};

}  // namespace weft
