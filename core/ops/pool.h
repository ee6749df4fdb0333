#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/ops/conv.h"
#include "core/ops/op_support.h"
#include "weft/pool.h"

/// What the poolings share: one to three spatial axes as the last of the three of PoolShape.
namespace weft {

/// A pooling whose sizes have been checked. The op is named by a literal.
struct Pooling {
  std::string_view op;
  PoolShape shape;
  int axes = 0;

  Shape x() const { return join({shape.n, shape.c}, axes, shape.in); }
  Shape y() const { return join({shape.n, shape.c}, axes, shape.out); }
};

/// The windows of another kind of pooling, as those of a max pooling.
template <int N>
MaxPoolOptions<N> windows(const AvgPoolOptions<N>& o) {
  return {.stride = o.stride, .padding = o.padding, .dilation = o.dilation, .ceil_mode = o.ceil_mode};
}
template <int N>
MaxPoolOptions<N> windows(const LPPoolOptions<N>& o) {
  return {.stride = o.stride, .dilation = o.dilation, .ceil_mode = o.ceil_mode};
}
template <int N>
MaxPoolOptions<N> windows(const MaxUnpoolOptions<N>& o) {
  return {.stride = o.stride, .padding = o.padding};
}

/// Throws ShapeError unless x has a batch axis, channels and `axes` spatial axes.
void check_pool_rank(std::string_view op, int axes, const Tensor& x);
/// Throws DTypeError, ShapeError or ValueError, with the name of the op.
template <int N>
Pooling regular_pooling(std::string_view op, const PerAxis<N>& kernel, const MaxPoolOptions<N>& options,
                        const Tensor& x);
Pooling adaptive_pooling(std::string_view op, int axes, const Triple& output_size, const Tensor& x);
/// The pooling from a tensor of output_size (0: the default on that axis) to y. Of its windows only the sizes are set.
template <int N>
Pooling unpooling(std::string_view op, const PerAxis<N>& kernel, const MaxUnpoolOptions<N>& options,
                  const PerAxis<N>& output_size, const Tensor& y, const Tensor& indices);
/// Sets what averages divide by.
void set_divisor(Pooling& pooling, bool count_padding);
/// The averages of windows with gaps. The divisor is set.
Tensor dilated_average(const Pooling& p, const Tensor& x);

}  // namespace weft
