#pragma once

#include <cstdint>

#include "weft/conv.h"
#include "weft/nn/init.h"
#include "weft/nn/layer.h"

namespace weft::nn {

/// (N, C, H, W) -> (N, K, P, Q) as weft::conv2d, and alike with one and three spatial axes; weight (K, C/groups, R, S)
/// in channels-last memory, bias (K,).
template <int N>
class ConvNd final : public Layer {
 public:
  ConvNd(std::int64_t in_channels, std::int64_t out_channels, PerAxis<N> kernel, const ConvOptions<N>& options = {},
         const LayerOptions& layer = {});
  Tensor forward(const Tensor& x) const override;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }  ///< undefined without a bias
  const ConvOptions<N>& options() const { return options_; }
  /// A layer of the same options over these tensors, of this one's shapes; an undefined bias is none. Throws
  /// ShapeError.
  ConvNd with_parameters(const Tensor& weight, const Tensor& bias) const;

 private:
  ConvNd(const ConvOptions<N>& options, const Tensor& weight, const Tensor& bias);

  ConvOptions<N> options_;
  Tensor weight_, bias_;
};
using Conv1d = ConvNd<1>;
using Conv2d = ConvNd<2>;
using Conv3d = ConvNd<3>;

/// (N, C, H, W) -> (N, K, P, Q) as weft::conv_transpose2d, and alike with one and three spatial axes; weight (C,
/// K/groups, R, S) in channels-last memory, bias (K,).
template <int N>
class ConvTransposeNd final : public Layer {
 public:
  ConvTransposeNd(std::int64_t in_channels, std::int64_t out_channels, PerAxis<N> kernel,
                  const ConvTransposeOptions<N>& options = {}, const LayerOptions& layer = {});
  Tensor forward(const Tensor& x) const override;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }  ///< undefined without a bias
  const ConvTransposeOptions<N>& options() const { return options_; }
  /// As ConvNd's.
  ConvTransposeNd with_parameters(const Tensor& weight, const Tensor& bias) const;

 private:
  ConvTransposeNd(const ConvTransposeOptions<N>& options, const Tensor& weight, const Tensor& bias);

  ConvTransposeOptions<N> options_;
  Tensor weight_, bias_;
};
using ConvTranspose1d = ConvTransposeNd<1>;
using ConvTranspose2d = ConvTransposeNd<2>;
using ConvTranspose3d = ConvTransposeNd<3>;

/// A Conv2d of an odd kernel k with padding dilation·(k - 1)/2 at any stride: (N, C, H, W) -> (N, K, ⌈H/stride⌉,
/// ⌈W/stride⌉). Throws ValueError on an even kernel and on a padding among the options.
class Conv final : public Layer {
 public:
  Conv(std::int64_t in_channels, std::int64_t out_channels, PerAxis<2> kernel, const Conv2dOptions& options = {},
       const LayerOptions& layer = {});
  Tensor forward(const Tensor& x) const override { return conv_.forward(x); }
  const Tensor& weight() const { return conv_.weight(); }
  const Tensor& bias() const { return conv_.bias(); }  ///< undefined without a bias
  const Conv2dOptions& options() const { return conv_.options(); }
  /// As ConvNd's.
  Conv with_parameters(const Tensor& weight, const Tensor& bias) const;

 private:
  explicit Conv(const Conv2d& conv);

  Conv2d conv_;  ///< not a child: its parameters are registered under their own names
};

}  // namespace weft::nn
