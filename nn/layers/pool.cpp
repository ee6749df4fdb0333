#include "weft/nn/layers_pool.h"

#include <string>

#include "nn/layers/check.h"

namespace weft::nn {
namespace {

constexpr const char* kMaxPool[] = {"MaxPool1d", "MaxPool2d", "MaxPool3d"};
constexpr const char* kMaxUnpool[] = {"MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"};
constexpr const char* kAvgPool[] = {"AvgPool1d", "AvgPool2d", "AvgPool3d"};
constexpr const char* kLPPool[] = {"LPPool1d", "LPPool2d", "LPPool3d"};
constexpr const char* kAdaptiveAvgPool[] = {"AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d"};
constexpr const char* kAdaptiveMaxPool[] = {"AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d"};

template <class Values>
void require_each(std::int64_t least, const char* owner, const char* what, const Values& values) {
  for (const std::int64_t value : values) require_at_least(least, owner, what, value);
}

template <int N>
void check_windows(const char* owner, const PerAxis<N>& kernel, const PerAxis<N>& stride,
                   const PerAxis<N>& padding = 0) {
  require_each(1, owner, "kernel", kernel);
  require_each(0, owner, "stride", stride);
  for (std::size_t i = 0; i < N; ++i) {
    if (padding[i] >= 0 && padding[i] <= kernel[i] / 2) continue;
    throw ValueError(std::string(owner) + ": padding must be at most half the kernel of " + std::to_string(kernel[i]) +
                     ", got " + std::to_string(padding[i]));
  }
}

}  // namespace

template <int N>
MaxPoolNd<N>::MaxPoolNd(PerAxis<N> kernel, const MaxPoolLayerOptions<N>& options)
    : options_{kernel, options.stride, options.padding, options.dilation, options.ceil_mode} {
  check_windows<N>(kMaxPool[N - 1], kernel, options.stride, options.padding);
  require_each(1, kMaxPool[N - 1], "dilation", options.dilation);
}

template <int N>
Tensor MaxPoolNd<N>::forward(const Tensor& x) {
  if constexpr (N == 1) return max_pool1d(x, options_);
  if constexpr (N == 2) return max_pool2d(x, options_);
  if constexpr (N == 3) return max_pool3d(x, options_);
}

template <int N>
MaxPoolResult MaxPoolNd<N>::forward_with_indices(const Tensor& x) const {
  if constexpr (N == 1) return max_pool1d_with_indices(x, options_);
  if constexpr (N == 2) return max_pool2d_with_indices(x, options_);
  if constexpr (N == 3) return max_pool3d_with_indices(x, options_);
}

template <int N>
MaxUnpoolNd<N>::MaxUnpoolNd(PerAxis<N> kernel, const MaxUnpoolLayerOptions<N>& options)
    : options_{kernel, options.stride, options.padding, 0} {
  check_windows<N>(kMaxUnpool[N - 1], kernel, options.stride, options.padding);
}

template <int N>
Tensor MaxUnpoolNd<N>::forward(const Tensor& x, const Tensor& indices, PerAxis<N> output_size) const {
  MaxUnpoolOptions<N> options = options_;
  options.output_size = output_size;
  if constexpr (N == 1) return max_unpool1d(x, indices, options);
  if constexpr (N == 2) return max_unpool2d(x, indices, options);
  if constexpr (N == 3) return max_unpool3d(x, indices, options);
}

template <int N>
AvgPoolNd<N>::AvgPoolNd(PerAxis<N> kernel, const AvgPoolLayerOptions<N>& options)
    : options_{kernel,
               options.stride,
               options.padding,
               options.ceil_mode,
               options.count_include_pad,
               options.divisor_override} {
  check_windows<N>(kAvgPool[N - 1], kernel, options.stride, options.padding);
  if (options.divisor_override == 0)
    throw ValueError(std::string(kAvgPool[N - 1]) + ": divisor_override must not be 0, got 0");
}

template <int N>
Tensor AvgPoolNd<N>::forward(const Tensor& x) {
  if constexpr (N == 1) return avg_pool1d(x, options_);
  if constexpr (N == 2) return avg_pool2d(x, options_);
  if constexpr (N == 3) return avg_pool3d(x, options_);
}

template <int N>
LPPoolNd<N>::LPPoolNd(double norm, PerAxis<N> kernel, const LPPoolLayerOptions<N>& options)
    : options_{norm, kernel, options.stride, options.ceil_mode} {
  check_windows<N>(kLPPool[N - 1], kernel, options.stride);
  require(norm > 0 && std::isfinite(norm), kLPPool[N - 1], "norm", "positive and finite", norm);
}

template <int N>
Tensor LPPoolNd<N>::forward(const Tensor& x) {
  if constexpr (N == 1) return lp_pool1d(x, options_);
  if constexpr (N == 2) return lp_pool2d(x, options_);
  if constexpr (N == 3) return lp_pool3d(x, options_);
}

template <int N>
AdaptiveAvgPoolNd<N>::AdaptiveAvgPoolNd(PerAxis<N> output_size) : output_size_(output_size) {
  require_each(1, kAdaptiveAvgPool[N - 1], "output_size", output_size);
}

template <int N>
Tensor AdaptiveAvgPoolNd<N>::forward(const Tensor& x) {
  if constexpr (N == 1) return adaptive_avg_pool1d(x, output_size_);
  if constexpr (N == 2) return adaptive_avg_pool2d(x, output_size_);
  if constexpr (N == 3) return adaptive_avg_pool3d(x, output_size_);
}

template <int N>
AdaptiveMaxPoolNd<N>::AdaptiveMaxPoolNd(PerAxis<N> output_size) : output_size_(output_size) {
  require_each(1, kAdaptiveMaxPool[N - 1], "output_size", output_size);
}

template <int N>
Tensor AdaptiveMaxPoolNd<N>::forward(const Tensor& x) {
  if constexpr (N == 1) return adaptive_max_pool1d(x, output_size_);
  if constexpr (N == 2) return adaptive_max_pool2d(x, output_size_);
  if constexpr (N == 3) return adaptive_max_pool3d(x, output_size_);
}

template <int N>
MaxPoolResult AdaptiveMaxPoolNd<N>::forward_with_indices(const Tensor& x) const {
  if constexpr (N == 1) return adaptive_max_pool1d_with_indices(x, output_size_);
  if constexpr (N == 2) return adaptive_max_pool2d_with_indices(x, output_size_);
  if constexpr (N == 3) return adaptive_max_pool3d_with_indices(x, output_size_);
}

#define WEFT_POOL_LAYERS(N)            \
  template class MaxPoolNd<N>;         \
  template class MaxUnpoolNd<N>;       \
  template class AvgPoolNd<N>;         \
  template class LPPoolNd<N>;          \
  template class AdaptiveAvgPoolNd<N>; \
  template class AdaptiveMaxPoolNd<N>;
WEFT_POOL_LAYERS(1)
WEFT_POOL_LAYERS(2)
WEFT_POOL_LAYERS(3)
#undef WEFT_POOL_LAYERS

Tensor GlobalAvgPool2d::forward(const Tensor& x) { return global_avg_pool2d(x); }

}  // namespace weft::nn
