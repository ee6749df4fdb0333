#include "weft/nn/layers_pool.h"

namespace weft::nn {
namespace {

constexpr const char* kMaxPool[] = {"MaxPool1d", "MaxPool2d", "MaxPool3d"};
constexpr const char* kMaxUnpool[] = {"MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"};
constexpr const char* kAvgPool[] = {"AvgPool1d", "AvgPool2d", "AvgPool3d"};
constexpr const char* kLPPool[] = {"LPPool1d", "LPPool2d", "LPPool3d"};
constexpr const char* kAdaptiveAvgPool[] = {"AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d"};
constexpr const char* kAdaptiveMaxPool[] = {"AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d"};

}  // namespace

template <int N>
MaxPoolNd<N>::MaxPoolNd(PerAxis<N> kernel, const MaxPoolOptions<N>& options) : kernel_(kernel), options_(options) {
  check_options(kMaxPool[N - 1], kernel, options);
}

template <int N>
Tensor MaxPoolNd<N>::forward(const Tensor& x) const {
  return max_pool<N>(x, kernel_, options_);
}

template <int N>
MaxPoolResult MaxPoolNd<N>::forward_with_indices(const Tensor& x) const {
  return max_pool_with_indices<N>(x, kernel_, options_);
}

template <int N>
MaxUnpoolNd<N>::MaxUnpoolNd(PerAxis<N> kernel, const MaxUnpoolOptions<N>& options)
    : kernel_(kernel), options_(options) {
  check_options(kMaxUnpool[N - 1], kernel, options);
}

template <int N>
Tensor MaxUnpoolNd<N>::forward(const Tensor& x, const Tensor& indices, PerAxis<N> output_size) const {
  return max_unpool<N>(x, indices, kernel_, options_, output_size);
}

template <int N>
AvgPoolNd<N>::AvgPoolNd(PerAxis<N> kernel, const AvgPoolOptions<N>& options) : kernel_(kernel), options_(options) {
  check_options(kAvgPool[N - 1], kernel, options);
}

template <int N>
Tensor AvgPoolNd<N>::forward(const Tensor& x) const {
  return avg_pool<N>(x, kernel_, options_);
}

template <int N>
LPPoolNd<N>::LPPoolNd(double norm, PerAxis<N> kernel, const LPPoolOptions<N>& options)
    : norm_(norm), kernel_(kernel), options_(options) {
  check_options(kLPPool[N - 1], norm, kernel, options);
}

template <int N>
Tensor LPPoolNd<N>::forward(const Tensor& x) const {
  return lp_pool<N>(x, norm_, kernel_, options_);
}

template <int N>
AdaptiveAvgPoolNd<N>::AdaptiveAvgPoolNd(PerAxis<N> output_size) : output_size_(output_size) {
  check_output_size(kAdaptiveAvgPool[N - 1], output_size);
}

template <int N>
Tensor AdaptiveAvgPoolNd<N>::forward(const Tensor& x) const {
  return adaptive_avg_pool<N>(x, output_size_);
}

template <int N>
AdaptiveMaxPoolNd<N>::AdaptiveMaxPoolNd(PerAxis<N> output_size) : output_size_(output_size) {
  check_output_size(kAdaptiveMaxPool[N - 1], output_size);
}

template <int N>
Tensor AdaptiveMaxPoolNd<N>::forward(const Tensor& x) const {
  return adaptive_max_pool<N>(x, output_size_);
}

template <int N>
MaxPoolResult AdaptiveMaxPoolNd<N>::forward_with_indices(const Tensor& x) const {
  return adaptive_max_pool_with_indices<N>(x, output_size_);
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

Tensor GlobalAvgPool2d::forward(const Tensor& x) const { return global_avg_pool2d(x); }
Tensor GlobalMaxPool2d::forward(const Tensor& x) const { return global_max_pool2d(x); }

}  // namespace weft::nn
