#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <vector>

#include "weft/nn/init.h"
#include "weft/nn/layer.h"
#include "weft/nn/layers_activation.h"
#include "weft/nn/layers_conv.h"
#include "weft/nn/layers_interpolate.h"
#include "weft/nn/layers_norm.h"
#include "weft/nn/layers_pad.h"
#include "weft/nn/layers_pool.h"
#include "weft/nn/layers_shape.h"
#include "weft/ops.h"

/// The layers. Shapes, memory order and errors are those of the functions in weft/ops.h; constructors throw ValueError
/// on sizes and options out of range. Parameters start on the CPU in f32.
namespace weft::nn {

/// Applies its children "0", "1", ... in order. A batch norm followed by a ReLU runs as one fused function.
///
/// Sequential(Sequential(a)) is Sequential(a): one argument of the class's own type is copied, as everywhere in C++,
/// and a copy has the same children. Sequential().append(Sequential(a)) nests, its child's name being "0.0"; so does
/// Sequential(Sequential(a), b).
class Sequential final : public Layer {
 public:
  Sequential() = default;
  template <std::derived_from<Layer>... Ls>
  explicit Sequential(const Ls&... layers) {
    (append(layers), ...);
  }
  template <std::derived_from<Layer> L>
  Sequential& append(const L& layer) {
    return append(std::static_pointer_cast<Layer>(std::make_shared<L>(layer)));
  }
  Sequential& append(std::shared_ptr<Layer> layer);

  std::int64_t size() const { return static_cast<std::int64_t>(layers_->size()); }
  const std::vector<std::shared_ptr<Layer>>& layers() const { return *layers_; }
  /// Throws IndexError.
  Layer& operator[](std::int64_t index) const;
  Tensor forward(const Tensor& x) const override { return forward_add(x, {}); }
  /// The last layer of a Sequential that is a Sequential passes the residual on to its own last layer.
  Fused forward_fused(const Tensor& x, Following following, const Tensor& residual) const override;
  /// forward(x) + residual, which may be undefined. A batch norm at the end, with a ReLU or without, adds it itself.
  Tensor forward_add(const Tensor& x, const Tensor& residual) const;

 private:
  /// The children in their own type. Copies share them.
  std::shared_ptr<std::vector<std::shared_ptr<Layer>>> layers_ =
      std::make_shared<std::vector<std::shared_ptr<Layer>>>();
};

/// body(x) + x, its layers being "body.0", "body.1", ... Residual(Sequential(a, b)) nests, "body.0.0" and "body.0.1",
/// and computes what Residual(a, b) does. Residual(Residual(a)) is Residual(a), one argument of the class's own type
/// being copied; Residual(Sequential(Residual(a))) nests.
class Residual final : public Layer {
 public:
  template <std::derived_from<Layer>... Ls>
  explicit Residual(const Ls&... layers) {
    (body_.append(layers), ...);
  }
  Tensor forward(const Tensor& x) const override { return body_.forward_add(x, x); }
  Sequential& body() { return body_; }
  const Sequential& body() const { return body_; }

 private:
  Sequential body_ = register_module("body", Sequential());
};

/// (..., in) -> (..., out); weight (out, in), bias (out,).
class Linear final : public Layer {
 public:
  Linear(std::int64_t in_features, std::int64_t out_features, const LayerOptions& options = {});
  Tensor forward(const Tensor& x) const override;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }  ///< undefined without a bias
  /// As ConvNd's.
  Linear with_parameters(const Tensor& weight, const Tensor& bias) const;

 private:
  Linear(const Tensor& weight, const Tensor& bias);

  Tensor weight_, bias_;
};

class Identity final : public Layer {
 public:
  Tensor forward(const Tensor& x) const override;
};

/// x times a constant.
class Scale final : public Layer {
 public:
  explicit Scale(double factor) : factor_(factor) {}
  Tensor forward(const Tensor& x) const override;

 private:
  double factor_;
};

/// Joins the axes from first to last, all but the batch by default.
class Flatten final : public Layer {
 public:
  explicit Flatten(int first_axis = 1, int last_axis = -1) : first_axis_(first_axis), last_axis_(last_axis) {}
  Tensor forward(const Tensor& x) const override;

 private:
  int first_axis_, last_axis_;
};

/// In training zeroes each element with probability p in [0, 1] and scales the rest by 1/(1 - p).
class Dropout final : public Layer {
 public:
  explicit Dropout(double p = 0.5);
  Tensor forward(const Tensor& x) const override;

 private:
  double p_;
};

}  // namespace weft::nn
