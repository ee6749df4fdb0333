// Exchanges weights with PyTorch by safetensors files. Names and shapes are PyTorch's, so that
//
//     safetensors.torch.save_file(model.state_dict(), "weights.safetensors")
//     model.load_state_dict(safetensors.torch.load_file("weights.safetensors"))
//
// write what this program reads, and read what it writes.
#include <weft/weft.h>
#include <iostream>

namespace nn = weft::nn;

// The names of the children give the names of the weights: "features.0.weight", "features.1.running_mean", ...
class Net final : public nn::Layer {
 public:
  weft::Tensor forward(const weft::Tensor& x) const override { return head_(mean(features_(x), {2, 3})); }

 private:
  nn::Sequential features_ =
      register_module("features", nn::Sequential(nn::Conv2d(3, 4, 3, {.padding = 1}), nn::BatchNorm2d(4), nn::ReLU()));
  nn::Linear head_ = register_module("head", nn::Linear(4, 2));
};

int main() {
  Net model;
  nn::save("weights.safetensors", model.state_dict());

  Net other;  // with other weights, until it loads these
  other.load_state_dict(nn::load("weights.safetensors"));
  for (const auto& entry : other.state_dict())
    std::cout << entry.first << ' ' << to_string(entry.second.shape()) << '\n';

  const weft::NoGrad no_grad;
  const weft::Tensor x = weft::randn({2, 3, 8, 8});
  model.eval();
  other.eval();
  std::cout << "difference " << norm(model(x) - other(x)).item<double>() << '\n';
}
