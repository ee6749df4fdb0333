#include "tests/bench/composed.h"

#include "core/autograd/autograd.h"

namespace weft {
namespace {

class ComposedConv final : public nn::Layer {
 public:
  ComposedConv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride, bool bias)
      : options_{.stride = stride, .padding = (kernel - 1) / 2} {
    const nn::Conv made(in, out, kernel, {.stride = stride}, {.bias = bias});  // for its initial values
    weight_ = register_parameter("weight", made.weight());
    if (bias) bias_ = register_parameter("bias", made.bias());
  }

  Tensor forward(const Tensor& x) const override {
    const auto backward = [options = options_](const SavedValues& saved, const Tensor& gradient) {
      const Tensor input = saved["x"], weight = saved["weight"];
      std::vector<Tensor> gradients(2);
      if (saved.needs(0)) {
        gradients[0] = composed::conv2d_input_grad(gradient, weight, input.shape(), options).to(input.dtype());
      }
      gradients[1] =
          composed::conv2d_weight_grad(gradient, input, weight.shape(), options).to(weight.dtype()).contiguous();
      return gradients;
    };
    const Tensor y = record("composed_conv2d", composed::conv2d(x.detach(), weight_.detach(), options_).array(),
                            {x, weight_}, {Save::input("x", 0), Save::input("weight", 1)}, backward);
    return bias_.defined() ? y + bias_.to(y.dtype()).reshape({1, -1, 1, 1}) : y;
  }

 private:
  Conv2dOptions options_;
  Tensor weight_, bias_;
};

nn::Sequential block(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride, bool bias) {
  return nn::Sequential(ComposedConv(in, out, kernel, stride, bias), nn::BatchNorm2d(out), nn::ReLU());
}

nn::Sequential narrow() {
  const auto residual = [](std::int64_t width) {
    return nn::Residual(block(width, width, 3, 1, true), block(width, width, 3, 1, true));
  };
  return nn::Sequential(block(3, 16, 7, 4, true), block(16, 32, 3, 2, true), residual(32), block(32, 64, 3, 2, true),
                        block(64, 128, 3, 2, true), residual(128), nn::Flatten(), nn::Linear(128, 128), nn::ReLU(),
                        nn::Linear(128, 10));
}

nn::Sequential full() {
  const auto layer = [](std::int64_t in, std::int64_t out) { return block(in, out, 3, 1, false); };
  return nn::Sequential(layer(3, 64), layer(64, 128), nn::MaxPool2d(2), nn::Residual(layer(128, 128), layer(128, 128)),
                        layer(128, 256), nn::MaxPool2d(2), layer(256, 512), nn::MaxPool2d(2),
                        nn::Residual(layer(512, 512), layer(512, 512)), nn::MaxPool2d(4), nn::Flatten(),
                        nn::Linear(512, 10, {.bias = false}), nn::Scale(0.125));
}

}  // namespace

nn::Sequential composed_resnet9(nn::ResNet9 variant) { return variant == nn::ResNet9::narrow ? narrow() : full(); }

}  // namespace weft
