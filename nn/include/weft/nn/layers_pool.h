#pragma once

#include "weft/nn/layer.h"
#include "weft/pool.h"

/// Pooling over one to three spatial axes, as the functions of the same names in weft/pool.h; x may lack N too.
namespace weft::nn {

template <int N>
class MaxPoolNd final : public Layer {
 public:
  explicit MaxPoolNd(PerAxis<N> kernel, const MaxPoolOptions<N>& options = {});
  Tensor forward(const Tensor& x) const override;
  MaxPoolResult forward_with_indices(const Tensor& x) const;

 private:
  PerAxis<N> kernel_;
  MaxPoolOptions<N> options_;
};
using MaxPool1d = MaxPoolNd<1>;
using MaxPool2d = MaxPoolNd<2>;
using MaxPool3d = MaxPoolNd<3>;

/// The way back from forward_with_indices of a MaxPool with these options. Takes two tensors, so it is no Layer.
template <int N>
class MaxUnpoolNd final {
 public:
  explicit MaxUnpoolNd(PerAxis<N> kernel, const MaxUnpoolOptions<N>& options = {});
  Tensor forward(const Tensor& x, const Tensor& indices, PerAxis<N> output_size = 0) const;
  Tensor operator()(const Tensor& x, const Tensor& indices, PerAxis<N> output_size = 0) const {
    return forward(x, indices, output_size);
  }

 private:
  PerAxis<N> kernel_;
  MaxUnpoolOptions<N> options_;
};
using MaxUnpool1d = MaxUnpoolNd<1>;
using MaxUnpool2d = MaxUnpoolNd<2>;
using MaxUnpool3d = MaxUnpoolNd<3>;

template <int N>
class AvgPoolNd final : public Layer {
 public:
  explicit AvgPoolNd(PerAxis<N> kernel, const AvgPoolOptions<N>& options = {});
  Tensor forward(const Tensor& x) const override;

 private:
  PerAxis<N> kernel_;
  AvgPoolOptions<N> options_;
};
using AvgPool1d = AvgPoolNd<1>;
using AvgPool2d = AvgPoolNd<2>;
using AvgPool3d = AvgPoolNd<3>;

template <int N>
class LPPoolNd final : public Layer {
 public:
  LPPoolNd(double norm, PerAxis<N> kernel, const LPPoolOptions<N>& options = {});
  Tensor forward(const Tensor& x) const override;

 private:
  double norm_;
  PerAxis<N> kernel_;
  LPPoolOptions<N> options_;
};
using LPPool1d = LPPoolNd<1>;
using LPPool2d = LPPoolNd<2>;
using LPPool3d = LPPoolNd<3>;

template <int N>
class AdaptiveAvgPoolNd final : public Layer {
 public:
  explicit AdaptiveAvgPoolNd(PerAxis<N> output_size);
  Tensor forward(const Tensor& x) const override;

 private:
  PerAxis<N> output_size_;
};
using AdaptiveAvgPool1d = AdaptiveAvgPoolNd<1>;
using AdaptiveAvgPool2d = AdaptiveAvgPoolNd<2>;
using AdaptiveAvgPool3d = AdaptiveAvgPoolNd<3>;

template <int N>
class AdaptiveMaxPoolNd final : public Layer {
 public:
  explicit AdaptiveMaxPoolNd(PerAxis<N> output_size);
  Tensor forward(const Tensor& x) const override;
  MaxPoolResult forward_with_indices(const Tensor& x) const;

 private:
  PerAxis<N> output_size_;
};
using AdaptiveMaxPool1d = AdaptiveMaxPoolNd<1>;
using AdaptiveMaxPool2d = AdaptiveMaxPoolNd<2>;
using AdaptiveMaxPool3d = AdaptiveMaxPoolNd<3>;

/// (N, C, H, W) -> (N, C, 1, 1), or (C, H, W) -> (C, 1, 1).
class GlobalAvgPool2d final : public Layer {
 public:
  Tensor forward(const Tensor& x) const override;
};

/// (N, C, H, W) -> (N, C, 1, 1), or (C, H, W) -> (C, 1, 1).
class GlobalMaxPool2d final : public Layer {
 public:
  Tensor forward(const Tensor& x) const override;
};

}  // namespace weft::nn
