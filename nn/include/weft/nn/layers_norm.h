#pragma once

#include <cstdint>
#include <string>

#include "weft/nn/layer.h"
#include "weft/ops.h"

namespace weft::nn {

/// What BatchNorm1d, BatchNorm2d and BatchNorm3d share: weight and bias (C,), buffers running_mean, running_var (C,)
/// and num_batches_tracked (), an i64 counted on the device.
class BatchNorm : public Layer {
 public:
  Tensor forward(const Tensor& x) const override { return forward_fused(x, false); }
  /// forward(x), with relu what relu makes of that, plus a residual of x's shape and dtype unless it is undefined: in
  /// one function.
  Tensor forward_fused(const Tensor& x, bool relu, const Tensor& residual = {}) const;
  /// Takes over a ReLU that follows, and after that the sum with a residual of x's shape and dtype.
  Fused forward_fused(const Tensor& x, Following following, const Tensor& residual) const override;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }
  const Tensor& running_mean() const { return running_mean_; }
  const Tensor& running_var() const { return running_var_; }
  const BatchNormOptions& options() const { return options_; }

 protected:
  BatchNorm(std::int64_t features, const BatchNormOptions& options);
  virtual void check(const Tensor& x) const = 0;

 private:
  BatchNormOptions options_;
  Tensor weight_, bias_, running_mean_, running_var_, batches_;
};

/// x (N, C) or (N, C, L). Throws ShapeError on other ranks.
class BatchNorm1d final : public BatchNorm {
 public:
  explicit BatchNorm1d(std::int64_t features, const BatchNormOptions& options = {}) : BatchNorm(features, options) {}

 private:
  void check(const Tensor& x) const override;
};

/// x (N, C, H, W). Throws ShapeError on other ranks.
class BatchNorm2d final : public BatchNorm {
 public:
  explicit BatchNorm2d(std::int64_t channels, const BatchNormOptions& options = {}) : BatchNorm(channels, options) {}

 private:
  void check(const Tensor& x) const override;
};

/// x (N, C, D, H, W). Throws ShapeError on other ranks.
class BatchNorm3d final : public BatchNorm {
 public:
  explicit BatchNorm3d(std::int64_t channels, const BatchNormOptions& options = {}) : BatchNorm(channels, options) {}

 private:
  void check(const Tensor& x) const override;
};

struct GroupNormOptions {
  double eps = 1e-5;
  bool affine = true;  ///< has weight and bias (C,), ones and zeros at first
};

/// x (N, C, ...) as weft::group_norm. Throws ValueError when the groups do not divide the channels.
class GroupNorm final : public Layer {
 public:
  GroupNorm(std::int64_t groups, std::int64_t channels, const GroupNormOptions& options = {});
  Tensor forward(const Tensor& x) const override;

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
class LayerNorm final : public Layer {
 public:
  explicit LayerNorm(const Shape& normalized_shape, const LayerNormOptions& options = {});
  explicit LayerNorm(std::int64_t size, const LayerNormOptions& options = {}) : LayerNorm(Shape{size}, options) {}
  Tensor forward(const Tensor& x) const override;

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
class InstanceNorm : public Layer {
 public:
  Tensor forward(const Tensor& x) const override;

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

}  // namespace weft::nn
