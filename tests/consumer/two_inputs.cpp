// A stranger's module of two inputs: it learns a distance, and is copied, saved and loaded as weft's own modules are.
#include <weft/weft.h>

#include <filesystem>
#include <iostream>

namespace {

class Distance final : public weft::nn::Module {
 public:
  weft::Tensor operator()(const weft::Tensor& a, const weft::Tensor& b) const {
    return scale_ * weft::abs(embed_(a) - embed_(b));
  }

 private:
  weft::nn::Linear embed_ = register_module("embed", weft::nn::Linear(3, 1));
  weft::Tensor scale_ = register_parameter("scale", weft::ones({1}));
};

double difference(const weft::Tensor& a, const weft::Tensor& b) { return weft::max(weft::abs(a - b)).item<double>(); }

}  // namespace

int main() {
  weft::manual_seed(3);
  const weft::Tensor a = weft::randn({256, 3}), b = weft::randn({256, 3});
  const weft::Tensor direction = weft::Tensor::from({1.0F, -2.0F, 0.5F}, {3, 1});
  const weft::Tensor distance = weft::abs(weft::matmul(a - b, direction));

  Distance model;
  weft::nn::Adam optimizer(model.parameters(), {.lr = 0.05});
  weft::Tensor loss;
  for (int step = 0; step < 300; ++step) {
    loss = weft::nn::mse_loss(model(a, b), distance);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
  }

  const std::filesystem::path file = "two_inputs.safetensors";
  weft::nn::save(file, model.state_dict());
  Distance loaded;
  loaded.load_state_dict(weft::nn::load(file));
  const Distance copy = weft::nn::clone(model, [] { return Distance(); });
  const double loaded_difference = difference(model(a, b), loaded(a, b));
  const double copy_difference = difference(model(a, b), copy(a, b));
  std::cout << "loss " << loss.item<double>() << ", loaded " << loaded_difference << ", copied " << copy_difference;
  for (const auto& [name, parameter] : model.named_parameters()) {
    std::cout << ", " << name << ' ' << weft::to_string(parameter.shape());
  }
  std::cout << '\n';
  const bool named = model.state_dict().contains("embed.weight") && model.state_dict().contains("scale");
  return loss.item<double>() < 1e-4 && loaded_difference == 0 && copy_difference == 0 && named ? 0 : 1;
}
