#pragma once

#include "cli/check.h"

namespace weft::cli::check {

inline constexpr std::int64_t kNarrowBatch = 8;

/// A training step of the narrow ResNet9, written in functions, so that every convolution can be computed in a given
/// way. Weights, images and labels are drawn, the same on every device.
class NarrowResNet9 {
 public:
  enum class Way {
    im2col,    ///< im2col and a matrix product each; the linear layers as 1x1 convolutions
    composed,  ///< pad, dilate, flip and matmul, forward and backward by the definitions in weft::composed
  };
  /// The products of a step by im2col: 10 layers forward and 10 weight gradients; 6 input gradients of stride 1, and 3
  /// of stride 2 in four phases each. The images take no gradient.
  static constexpr std::uint64_t kProducts = 10 + 10 + 6 + 3 * 4;

  explicit NarrowResNet9(const Device& device);
  /// Forward and backward; returns the loss.
  Tensor step(Way way);
  const Tensors& parameters() const { return parameters_; }

 private:
  struct Layer {
    Tensor weight, bias;
    Conv2dOptions options;
    Tensor scale, shift;  ///< of the batch norm that follows, if one does
  };
  /// A convolution whose gradients `backward` computes by their definitions.
  struct Composed {
    Tensor x;
    const Layer* layer;
    Tensor y;
  };

  void add_layer(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride, bool norm);
  Tensor convolve(const Tensor& x, const Layer& layer);
  Tensor block(const Tensor& x);
  Tensor forward();
  void backward_composed(const Tensor& loss);

  Device device_;
  Way way_ = Way::im2col;
  std::vector<Layer> layers_;
  std::size_t next_ = 0;  ///< layer of the forward pass
  std::vector<Composed> composed_;
  Tensors parameters_;
};

}  // namespace weft::cli::check
