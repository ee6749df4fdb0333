#pragma once

#include <concepts>
#include <cstdint>
#include <memory>

#include "weft/nn/init.h"
#include "weft/nn/layers_activation.h"
#include "weft/nn/layers_conv.h"
#include "weft/nn/layers_interpolate.h"
#include "weft/nn/layers_norm.h"
#include "weft/nn/layers_pool.h"
#include "weft/nn/module.h"
#include "weft/ops.h"

/// The layers. Shapes, memory order and errors are those of the functions in weft/ops.h; constructors throw ValueError
/// on sizes and options out of range. Parameters start on the CPU in f32.
namespace weft::nn {

/// Applies its children "0", "1", ... in order. A batch norm followed by a ReLU runs as one fused function.
///
/// Sequential(Sequential(a)) is Sequential(a): one argument of the class's own type is copied, as everywhere in C++,
/// and a copy has the same children. Sequential().append(Sequential(a)) nests, its child's name being "0.0"; so does
/// Sequential(Sequential(a), b).
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
  /// The last layer of a Sequential that is a Sequential passes the residual on to its own last layer.
  Fused forward_fused(const Tensor& x, std::span<const Children::value_type> following,
                      const Tensor& residual) override;
  /// forward(x) + residual, which may be undefined. A batch norm at the end, with a ReLU or without, adds it itself.
  Tensor forward_add(const Tensor& x, const Tensor& residual);
};

/// body(x) + x, its layers being "body.0", "body.1", ... Residual(Sequential(a, b)) nests, "body.0.0" and "body.0.1",
/// and computes what Residual(a, b) does. Residual(Residual(a)) is Residual(a), one argument of the class's own type
/// being copied; Residual(Sequential(Residual(a))) nests.
class Residual final : public Module {
 public:
  template <std::derived_from<Module>... Ms>
  explicit Residual(const Ms&... layers) {
    (body_.append(layers), ...);
  }
  Tensor forward(const Tensor& x) override { return body_.forward_add(x, x); }
  Sequential& body() { return body_; }
  const Sequential& body() const { return body_; }

 private:
  Sequential body_ = register_module("body", Sequential());
};

/// (..., in) -> (..., out); weight (out, in), bias (out,).
class Linear final : public Module {
 public:
  Linear(std::int64_t in_features, std::int64_t out_features, const LayerOptions& options = {});
  Tensor forward(const Tensor& x) override;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }  ///< undefined without a bias
  /// As ConvNd's.
  Linear with_parameters(const Tensor& weight, const Tensor& bias) const;

 private:
  Linear(const Tensor& weight, const Tensor& bias);

  Tensor weight_, bias_;
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

}  // namespace weft::nn
