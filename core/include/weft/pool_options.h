#pragma once

#include <cstdint>
#include <optional>

#include "weft/conv_options.h"
#include "weft/tensor.h"

/// The options of pooling, for one, two or three spatial axes: length; height, width; depth, height, width. Padding is
/// on both sides and at most half the kernel. With ceil_mode a last window that the padded input holds in part counts
/// too, if it starts in the input or in the padding before it.
namespace weft {

template <int N>
struct MaxPoolOptions {
  PerAxis<N> kernel = 2;
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
  PerAxis<N> kernel = 2;
  PerAxis<N> stride = 0;  ///< 0: the kernel
  PerAxis<N> padding = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;  ///< the divisor counts the zeros of the padding too
  std::optional<std::int64_t> divisor_override = {};
};
using AvgPool1dOptions = AvgPoolOptions<1>;
using AvgPool2dOptions = AvgPoolOptions<2>;
using AvgPool3dOptions = AvgPoolOptions<3>;

template <int N>
struct LpPoolOptions {
  double norm = 2;  ///< p
  PerAxis<N> kernel = 2;
  PerAxis<N> stride = 0;  ///< 0: the kernel
  bool ceil_mode = false;
};
using LpPool1dOptions = LpPoolOptions<1>;
using LpPool2dOptions = LpPoolOptions<2>;
using LpPool3dOptions = LpPoolOptions<3>;

/// The options of the max pooling that is undone.
template <int N>
struct MaxUnpoolOptions {
  PerAxis<N> kernel = 2;
  PerAxis<N> stride = 0;  ///< 0: the kernel
  PerAxis<N> padding = 0;
  PerAxis<N> output_size = 0;  ///< less than a stride from the default; 0: (in - 1)·stride - 2·padding + kernel
};
using MaxUnpool1dOptions = MaxUnpoolOptions<1>;
using MaxUnpool2dOptions = MaxUnpoolOptions<2>;
using MaxUnpool3dOptions = MaxUnpoolOptions<3>;

struct MaxPoolResult {
  Tensor output;
  Tensor indices;  ///< i64, shaped like the output: each largest element's flat position in the input's spatial axes
};

}  // namespace weft
