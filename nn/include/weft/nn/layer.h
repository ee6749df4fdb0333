#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "weft/nn/module.h"

namespace weft::nn {

/// A module that is a function of one tensor. Sequential and Residual hold layers.
///
///     class Net final : public weft::nn::Layer {
///      public:
///       weft::Tensor forward(const weft::Tensor& x) const override { return out_(weft::relu(in_(x))); }
///
///      private:
///       weft::nn::Linear in_ = register_module("in", weft::nn::Linear(784, 128));
///       weft::nn::Linear out_ = register_module("out", weft::nn::Linear(128, 10));
///     };
///
/// forward is const because a layer is a handle: running statistics are buffers that it writes in place.
class Layer : public Module {
 public:
  virtual Tensor forward(const Tensor& x) const = 0;
  /// forward(), except that running statistics (those on the CPU) and this thread's generator are as before where it
  /// throws.
  Tensor operator()(const Tensor& x) const;

  /// A layer's result in a Sequential, with what follows it as far as the layer computes that too.
  struct Fused {
    Tensor y;
    std::size_t layers = 0;     ///< how many of the following layers y includes
    bool has_residual = false;  ///< whether y includes the residual
  };
  using Following = std::span<const std::shared_ptr<Layer>>;
  /// Returns forward(x), and with it the first of the layers that follow, and after the last of them the sum with the
  /// residual, where this layer computes them in one function. An undefined residual is none. The default fuses
  /// nothing.
  virtual Fused forward_fused(const Tensor& x, Following following, const Tensor& residual) const;
  /// Returns whether forward(x) is relu(x), which a layer before it may take over.
  virtual bool is_relu() const { return false; }

 protected:
  Layer() = default;
  Layer(const Layer&) = default;
  Layer& operator=(const Layer&) = default;
};

}  // namespace weft::nn
