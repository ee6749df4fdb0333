// Stops a training under a one-cycle schedule halfway, saves it, and continues in another object with the same bits.
#include <weft/weft.h>
#include <iostream>

namespace nn = weft::nn;

constexpr int kSteps = 40;

struct Training {
  nn::Sequential model{nn::Linear(8, 16), nn::ReLU(), nn::Dropout(0.2), nn::Linear(16, 3)};
  nn::AdamW optimizer{model.parameters(), {.lr = 0}};

  void run(const weft::Tensor& x, const weft::Tensor& classes, int from, int to) {
    const auto rate = nn::Schedule::one_cycle({.peak = 0.02, .steps = kSteps});
    for (int step = from; step < to; ++step) {
      optimizer.set_lr(rate(step));
      optimizer.zero_grad();
      weft::cross_entropy(model(x), classes).backward();
      optimizer.step();
    }
  }
};

int main() {
  const weft::Tensor x = weft::randn({64, 8}), classes = argmax(x.slice(1, 0, 3), 1);
  Training whole, first, second;
  first.model.load_state_dict(whole.model.state_dict());

  weft::manual_seed(9);
  whole.run(x, classes, 0, kSteps);

  weft::manual_seed(9);
  first.run(x, classes, 0, kSteps / 2);
  nn::save("model.safetensors", first.model.state_dict());
  nn::save("optimizer.safetensors", first.optimizer.state_dict());
  const std::uint64_t random = weft::default_generator().offset();  // how far dropout has drawn

  weft::manual_seed(9);
  weft::default_generator().set_offset(random);
  second.model.load_state_dict(nn::load("model.safetensors"));
  second.optimizer.load_state_dict(nn::load("optimizer.safetensors"));
  second.run(x, classes, kSteps / 2, kSteps);

  double difference = 0;
  for (std::size_t i = 0; i < whole.model.parameters().size(); ++i)
    difference += norm(whole.model.parameters()[i] - second.model.parameters()[i]).item<double>();
  std::cout << "difference " << difference << '\n';
}
