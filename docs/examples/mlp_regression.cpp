// Fits a network to a curve, with the norm of all gradients clipped to 1.
#include <weft/weft.h>
#include <cmath>
#include <iostream>
#include <vector>

namespace nn = weft::nn;

// Scales the gradients so that their norm is at most `most`, all on the device: no number comes to the host.
void clip_gradients(const std::vector<weft::Tensor>& parameters, double most) {
  std::vector<weft::Tensor> norms;
  for (const weft::Tensor& p : parameters) norms.push_back(norm(p.grad()));
  const weft::Tensor factor = minimum(most / (norm(weft::stack(norms)) + 1e-6), 1.0);
  for (weft::Tensor p : parameters) p.set_grad(p.grad() * factor);
}

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
    clip_gradients(model.parameters(), 1);
    optimizer.step();
  }
  std::cout << "root mean square error " << std::sqrt(loss.item<double>()) << '\n';
}
