#pragma once

#include <cstdint>
#include <string>

#include "weft/nn/init.h"
#include "weft/nn/module.h"
#include "weft/ops.h"

namespace weft::nn {

/// A height and a width; one number stands for both.
struct Pair {
  std::int64_t height, width;
  Pair(std::int64_t both) : height(both), width(both) {}  // NOLINT(google-explicit-constructor): .stride = 2
  Pair(std::int64_t h, std::int64_t w) : height(h), width(w) {}
  operator PerAxis<2>() const { return {height, width}; }  // NOLINT(google-explicit-constructor)
};

template <int N>
struct ConvLayerOptions {
  PerAxis<N> stride = 1;
  Padding<N> padding = 0;
  PerAxis<N> dilation = 1;
  std::int64_t groups = 1;
  bool bias = true;
  PadMode padding_mode = PadMode::constant;  ///< constant: zeros
  Init init = Init::pytorch;
  ConvAlgo algo = ConvAlgo::automatic;
};

/// (N, C, H, W) -> (N, K, P, Q) as weft::conv2d, and alike with one and three spatial axes; weight (K, C/groups, R, S)
/// in channels-last memory, bias (K,).
template <int N>
class ConvNd final : public Module {
 public:
  ConvNd(std::int64_t in_channels, std::int64_t out_channels, PerAxis<N> kernel,
         const ConvLayerOptions<N>& options = {});
  Tensor forward(const Tensor& x) override;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }  ///< undefined without a bias
  const weft::ConvOptions<N>& options() const { return options_; }
  /// A layer of the same options over these tensors, of this one's shapes; an undefined bias is none. Throws
  /// ShapeError.
  ConvNd with_parameters(const Tensor& weight, const Tensor& bias) const;

 private:
  ConvNd(const weft::ConvOptions<N>& options, const Tensor& weight, const Tensor& bias);

  weft::ConvOptions<N> options_;
  Tensor weight_, bias_;
};
using Conv1d = ConvNd<1>;
using Conv2d = ConvNd<2>;
using Conv3d = ConvNd<3>;

template <int N>
struct ConvTransposeLayerOptions {
  PerAxis<N> stride = 1;
  Padding<N> padding = 0;
  PerAxis<N> output_padding = 0;
  std::int64_t groups = 1;
  bool bias = true;
  PerAxis<N> dilation = 1;
  Init init = Init::pytorch;
  ConvAlgo algo = ConvAlgo::automatic;
};

/// (N, C, H, W) -> (N, K, P, Q) as weft::conv_transpose2d, and alike with one and three spatial axes; weight (C,
/// K/groups, R, S) in channels-last memory, bias (K,).
template <int N>
class ConvTransposeNd final : public Module {
 public:
  ConvTransposeNd(std::int64_t in_channels, std::int64_t out_channels, PerAxis<N> kernel,
                  const ConvTransposeLayerOptions<N>& options = {});
  Tensor forward(const Tensor& x) override;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }  ///< undefined without a bias
  const weft::ConvTransposeOptions<N>& options() const { return options_; }
  /// As ConvNd's.
  ConvTransposeNd with_parameters(const Tensor& weight, const Tensor& bias) const;

 private:
  ConvTransposeNd(const weft::ConvTransposeOptions<N>& options, const Tensor& weight, const Tensor& bias);

  weft::ConvTransposeOptions<N> options_;
  Tensor weight_, bias_;
};
using ConvTranspose1d = ConvTransposeNd<1>;
using ConvTranspose2d = ConvTransposeNd<2>;
using ConvTranspose3d = ConvTransposeNd<3>;

struct SameConvOptions {
  Pair stride = 1;
  bool bias = true;
  Init init = Init::pytorch;
  ConvAlgo algo = ConvAlgo::automatic;
};

/// A convolution of an odd kernel k padded by (k - 1)/2 at any stride: (N, C, H, W) -> (N, K, ⌈H/stride⌉, ⌈W/stride⌉).
/// Throws ValueError on an even kernel.
class Conv final : public Module {
 public:
  Conv(std::int64_t in_channels, std::int64_t out_channels, Pair kernel, const SameConvOptions& options = {});
  Tensor forward(const Tensor& x) override;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }  ///< undefined without a bias
  const weft::Conv2dOptions& options() const { return options_; }
  /// As ConvNd's.
  Conv with_parameters(const Tensor& weight, const Tensor& bias) const;

 private:
  Conv(const weft::Conv2dOptions& options, const Tensor& weight, const Tensor& bias);

  weft::Conv2dOptions options_;
  Tensor weight_, bias_;
};

}  // namespace weft::nn
