// Fits a network to a curve, with the norm of all gradients clipped to 1.
#include <weft/weft.h>
#include <cmath>
#include <iostream>

namespace nn = weft::nn;

int main() {
  weft::manual_seed(5);
  const weft::Tensor x = weft::linspace(-3, 3, 256).reshape({-1, 1});
  const weft::Tensor y = sin(x) + 0.5 * x;
  nn::Sequential model(nn::Linear(1, 32), nn::Tanh(), nn::Linear(32, 32), nn::Tanh(), nn::Linear(32, 1));
  nn::SGD optimizer(model.parameters(), {.lr = 0.05, .momentum = 0.9});
  weft::Tensor loss;
  for (int step = 0; step < 600; ++step) {
    loss = nn::mse_loss(model(x), y);
    optimizer.zero_grad();
    loss.backward();
    nn::clip_grad_norm(model.parameters(), 1);
    optimizer.step();
  }
  std::cout << "root mean square error " << std::sqrt(loss.item<double>()) << '\n';
}
