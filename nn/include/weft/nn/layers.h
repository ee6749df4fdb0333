#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <memory>
#include <string>

#include "weft/nn/init.h"
#include "weft/nn/module.h"
#include "weft/ops.h"

/// The layers. Shapes, memory order and errors are those of the functions in weft/ops.h; constructors throw ValueError
/// on sizes and options out of range. Parameters start on the CPU in f32.
namespace weft::nn {

/// A height and a width; one number stands for both.
struct Pair {
  std::int64_t height, width;
  Pair(std::int64_t both) : height(both), width(both) {}  // NOLINT(google-explicit-constructor): .stride = 2
  Pair(std::int64_t h, std::int64_t w) : height(h), width(w) {}
  operator PerAxis<2>() const { return {height, width}; }  // NOLINT(google-explicit-constructor)
};

/// Applies its children "0", "1", ... in order. A batch norm followed by a ReLU runs as one fused function.
class Sequential final : public Module {
 public:
  Sequential() = default;
  template <std::derived_from<Module>... Ms>
  explicit Sequential(const Ms&... modules) {
    (append(modules), ...);
  }
  template <std::derived_from<Module> M>
  Sequential& append(const M& module) {
    return append(std::static_pointer_cast<Module>(std::make_shared<M>(module)));
  }
  Sequential& append(std::shared_ptr<Module> module);

  std::int64_t size() const { return static_cast<std::int64_t>(named_children().size()); }
  /// Throws IndexError.
  Module& operator[](std::int64_t index) const;
  Tensor forward(const Tensor& x) override { return forward_add(x, {}); }
  /// forward(x) + residual, which may be undefined. A batch norm at the end, with a ReLU or without, adds it itself.
  Tensor forward_add(const Tensor& x, const Tensor& residual);
};

/// body(x) + x, its layers being "body.0", "body.1", ...
class Residual final : public Module {
 public:
  template <std::derived_from<Module>... Ms>
  explicit Residual(const Ms&... layers) {
    (body_.append(layers), ...);
  }
  Tensor forward(const Tensor& x) override { return body_.forward_add(x, x); }

 private:
  Sequential body_ = register_module("body", Sequential());
};

struct LinearOptions {
  bool bias = true;
  Init init = Init::pytorch;
};

/// (..., in) -> (..., out); weight (out, in), bias (out,).
class Linear final : public Module {
 public:
  Linear(std::int64_t in_features, std::int64_t out_features, const LinearOptions& options = {});
  Tensor forward(const Tensor& x) override;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }  ///< undefined without a bias

 private:
  Tensor weight_, bias_;
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

 private:
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

 private:
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
};

/// A convolution of an odd kernel k padded by (k - 1)/2 at any stride: (N, C, H, W) -> (N, K, ⌈H/stride⌉, ⌈W/stride⌉).
/// Throws ValueError on an even kernel.
class Conv final : public Module {
 public:
  Conv(std::int64_t in_channels, std::int64_t out_channels, Pair kernel, const SameConvOptions& options = {});
  Tensor forward(const Tensor& x) override;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }  ///< undefined without a bias

 private:
  weft::Conv2dOptions options_;
  Tensor weight_, bias_;
};

struct NormOptions {
  double eps = 1e-5;
  double momentum = 0.1;         ///< weight of the new value in the running statistics
  bool unbiased_running = true;  ///< PyTorch's running variance; false keeps the biased one
};

/// What BatchNorm1d, BatchNorm2d and BatchNorm3d share: weight and bias (C,), buffers running_mean, running_var (C,)
/// and num_batches_tracked (), an i64 counted on the device.
class BatchNorm : public Module {
 public:
  Tensor forward(const Tensor& x) override { return forward_fused(x, false); }
  /// forward(x), with relu what relu makes of that, plus a residual of x's shape and dtype unless it is undefined: in
  /// one function.
  Tensor forward_fused(const Tensor& x, bool relu, const Tensor& residual = {});

 protected:
  BatchNorm(std::int64_t features, const NormOptions& options);
  virtual void check(const Tensor& x) const = 0;

 private:
  NormOptions options_;
  Tensor weight_, bias_, running_mean_, running_var_, batches_;
  Array one_;
};

/// x (N, C) or (N, C, L). Throws ShapeError on other ranks.
class BatchNorm1d final : public BatchNorm {
 public:
  explicit BatchNorm1d(std::int64_t features, const NormOptions& options = {}) : BatchNorm(features, options) {}

 private:
  void check(const Tensor& x) const override;
};

/// x (N, C, H, W). Throws ShapeError on other ranks.
class BatchNorm2d final : public BatchNorm {
 public:
  explicit BatchNorm2d(std::int64_t channels, const NormOptions& options = {}) : BatchNorm(channels, options) {}

 private:
  void check(const Tensor& x) const override;
};

/// x (N, C, D, H, W). Throws ShapeError on other ranks.
class BatchNorm3d final : public BatchNorm {
 public:
  explicit BatchNorm3d(std::int64_t channels, const NormOptions& options = {}) : BatchNorm(channels, options) {}

 private:
  void check(const Tensor& x) const override;
};

struct GroupNormOptions {
  double eps = 1e-5;
  bool affine = true;  ///< has weight and bias (C,), ones and zeros at first
};

/// x (N, C, ...) as weft::group_norm. Throws ValueError when the groups do not divide the channels.
class GroupNorm final : public Module {
 public:
  GroupNorm(std::int64_t groups, std::int64_t channels, const GroupNormOptions& options = {});
  Tensor forward(const Tensor& x) override;

 private:
  std::int64_t groups_;
  double eps_;
  Tensor weight_, bias_;
};

struct LayerNormOptions {
  double eps = 1e-5;
  bool elementwise_affine = true;  ///< has a weight of the normalised shape, ones at first
  bool bias = true;                ///< and a bias, zeros at first
};

/// The last axes of x, which have to be of `normalized_shape`, as weft::layer_norm.
class LayerNorm final : public Module {
 public:
  explicit LayerNorm(const Shape& normalized_shape, const LayerNormOptions& options = {});
  explicit LayerNorm(std::int64_t size, const LayerNormOptions& options = {}) : LayerNorm(Shape{size}, options) {}
  Tensor forward(const Tensor& x) override;

 private:
  Shape normalized_shape_;
  double eps_;
  Tensor weight_, bias_;
};

struct InstanceNormOptions {
  double eps = 1e-5;
  bool affine = false;  ///< has weight and bias (C,), ones and zeros at first
};

/// What InstanceNorm1d, InstanceNorm2d and InstanceNorm3d share: weft::instance_norm, in training and evaluation alike.
/// Throws ShapeError when the input has not the features.
class InstanceNorm : public Module {
 public:
  Tensor forward(const Tensor& x) override;

 protected:
  InstanceNorm(std::int64_t features, const InstanceNormOptions& options);
  virtual void check(const Tensor& x) const = 0;

 private:
  std::int64_t features_;
  double eps_;
  Tensor weight_, bias_;
};

/// x (N, C, L). Throws ShapeError on other ranks.
class InstanceNorm1d final : public InstanceNorm {
 public:
  explicit InstanceNorm1d(std::int64_t features, const InstanceNormOptions& options = {})
      : InstanceNorm(features, options) {}

 private:
  void check(const Tensor& x) const override;
};

/// x (N, C, H, W). Throws ShapeError on other ranks.
class InstanceNorm2d final : public InstanceNorm {
 public:
  explicit InstanceNorm2d(std::int64_t features, const InstanceNormOptions& options = {})
      : InstanceNorm(features, options) {}

 private:
  void check(const Tensor& x) const override;
};

/// x (N, C, D, H, W). Throws ShapeError on other ranks.
class InstanceNorm3d final : public InstanceNorm {
 public:
  explicit InstanceNorm3d(std::int64_t features, const InstanceNormOptions& options = {})
      : InstanceNorm(features, options) {}

 private:
  void check(const Tensor& x) const override;
};

class ReLU final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

class GELU final : public Module {
 public:
  explicit GELU(bool tanh_approximation = false) : tanh_approximation_(tanh_approximation) {}
  Tensor forward(const Tensor& x) override;

 private:
  bool tanh_approximation_;
};

class LeakyReLU final : public Module {
 public:
  explicit LeakyReLU(double slope = 0.01) : slope_(slope) {}
  Tensor forward(const Tensor& x) override;

 private:
  double slope_;
};

class ELU final : public Module {
 public:
  explicit ELU(double alpha = 1) : alpha_(alpha) {}
  Tensor forward(const Tensor& x) override;

 private:
  double alpha_;
};

class CELU final : public Module {
 public:
  explicit CELU(double alpha = 1);
  Tensor forward(const Tensor& x) override;

 private:
  double alpha_;
};

class SiLU final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

class Softplus final : public Module {
 public:
  explicit Softplus(double beta = 1, double threshold = 20);
  Tensor forward(const Tensor& x) override;

 private:
  double beta_, threshold_;
};

class Hardtanh final : public Module {
 public:
  explicit Hardtanh(double low = -1, double high = 1);
  Tensor forward(const Tensor& x) override;

 private:
  double low_, high_;
};

class ReLU6 final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

class Hardsigmoid final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

class Hardswish final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

class Tanh final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

class Sigmoid final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

class Identity final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

/// x times a constant.
class Scale final : public Module {
 public:
  explicit Scale(double factor) : factor_(factor) {}
  Tensor forward(const Tensor& x) override;

 private:
  double factor_;
};

/// Joins the axes from first to last, all but the batch by default.
class Flatten final : public Module {
 public:
  explicit Flatten(int first_axis = 1, int last_axis = -1) : first_axis_(first_axis), last_axis_(last_axis) {}
  Tensor forward(const Tensor& x) override;

 private:
  int first_axis_, last_axis_;
};

/// In training zeroes each element with probability p in [0, 1] and scales the rest by 1/(1 - p).
class Dropout final : public Module {
 public:
  explicit Dropout(double p = 0.5);
  Tensor forward(const Tensor& x) override;

 private:
  double p_;
};

struct PoolOptions {
  Pair stride = 0;   ///< 0: the kernel's size
  Pair padding = 0;  ///< at most half the kernel
};

class MaxPool2d final : public Module {
 public:
  explicit MaxPool2d(Pair kernel, const PoolOptions& options = {});
  Tensor forward(const Tensor& x) override;

 private:
  Pool2dOptions options_;
};

class AvgPool2d final : public Module {
 public:
  explicit AvgPool2d(Pair kernel, const PoolOptions& options = {});
  Tensor forward(const Tensor& x) override;

 private:
  Pool2dOptions options_;
};

/// (N, C, H, W) -> (N, C, 1, 1).
class GlobalAvgPool2d final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

}  // namespace weft::nn
