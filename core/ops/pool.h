#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/ops/conv.h"
#include "core/ops/op_support.h"

/// What the poolings share: one to three spatial axes as the last of the three of PoolShape.
namespace weft {

/// The options of an op, which is named by a literal.
struct PoolArguments {
  std::string_view op;
  int axes = 0;
  Triple kernel{1, 1, 1}, stride{1, 1, 1}, padding{}, dilation{1, 1, 1};
  bool ceil_mode = false;
};

template <template <int> class Options, int N>
PoolArguments pool_arguments(std::string_view op, const Options<N>& o) {
  PoolArguments a;
  a.op = op;
  a.axes = N;
  a.kernel = align(o.kernel, 1);
  a.stride = align(o.stride, 1);
  if constexpr (requires { o.padding; }) a.padding = align(o.padding, 0);
  if constexpr (requires { o.dilation; }) a.dilation = align(o.dilation, 1);
  if constexpr (requires { o.ceil_mode; }) a.ceil_mode = o.ceil_mode;
  return a;
}

/// A pooling whose sizes have been checked.
struct Pooling {
  std::string_view op;
  PoolShape shape;
  int axes = 0;

  Shape x() const { return join({shape.n, shape.c}, axes, shape.in); }
  Shape y() const { return join({shape.n, shape.c}, axes, shape.out); }
};

/// Throws ShapeError unless x has a batch axis, channels and so many spatial axes.
void check_pool_rank(std::string_view op, int axes, const Tensor& x);
/// Throws DTypeError, ShapeError or ValueError, naming the op.
Pooling regular_pooling(const PoolArguments& arguments, const Tensor& x);
Pooling adaptive_pooling(std::string_view op, int axes, const Triple& output_size, const Tensor& x);
/// The pooling from a tensor of output_size (0: the default on that axis) to y. Of the windows only the sizes hold.
Pooling unpooling(const PoolArguments& arguments, const Triple& output_size, const Tensor& y, const Tensor& indices);
/// Sets what averages divide by.
void set_divisor(Pooling& pooling, bool count_padding);

}  // namespace weft
