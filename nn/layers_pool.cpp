#include "weft/nn/layers_pool.h"

#include <string>
#include <utility>

#include "nn/check.h"

namespace weft::nn {
namespace {

Pool2dOptions pool_options(const char* owner, Pair kernel, const PoolOptions& options) {
  require_at_least(1, owner, "kernel height", kernel.height);
  require_at_least(1, owner, "kernel width", kernel.width);
  require_at_least(0, owner, "stride height", options.stride.height);
  require_at_least(0, owner, "stride width", options.stride.width);
  const Pair padding = options.padding;
  for (const auto& [size, amount] :
       {std::pair(kernel.height, padding.height), std::pair(kernel.width, padding.width)}) {
    if (amount >= 0 && amount <= size / 2) continue;
    throw ValueError(std::string(owner) + ": padding must be at most half the kernel of " + std::to_string(size) +
                     ", got " + std::to_string(amount));
  }
  return {kernel, options.stride, padding};
}

}  // namespace

MaxPool2d::MaxPool2d(Pair kernel, const PoolOptions& options) : options_(pool_options("MaxPool2d", kernel, options)) {}
Tensor MaxPool2d::forward(const Tensor& x) { return max_pool2d(x, options_); }

AvgPool2d::AvgPool2d(Pair kernel, const PoolOptions& options) : options_(pool_options("AvgPool2d", kernel, options)) {}
Tensor AvgPool2d::forward(const Tensor& x) { return avg_pool2d(x, options_); }

Tensor GlobalAvgPool2d::forward(const Tensor& x) { return global_avg_pool2d(x); }

}  // namespace weft::nn
