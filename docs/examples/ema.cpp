// Trains a classifier and evaluates the moving average of its weights, which then leave again bit by bit.
#include <weft/weft.h>
#include <iostream>

namespace nn = weft::nn;

double accuracy(const nn::Layer& model, const weft::Tensor& x, const weft::Tensor& labels) {
  const weft::NoGrad no_grad;
  return equal(argmax(model(x), 1), labels).to(weft::DType::f32).mean().item<double>();
}

int main() {
  weft::manual_seed(11);
  const weft::Tensor x = weft::randn({512, 2});
  const weft::Tensor labels = greater(prod(x, 1), weft::zeros({})).to(weft::DType::i64);  // whether both have one sign
  nn::Sequential model(nn::Linear(2, 32), nn::ReLU(), nn::Linear(32, 2));
  nn::AdamW optimizer(model.parameters(), {.lr = 0.02});
  nn::EMA ema(model, {.decay = 0.98});
  const nn::Schedule rate = nn::Schedule::warmup(20, 0.1, nn::Schedule::step({.start = 0.02, .step_size = 150}));
  for (int step = 0; step < 300; ++step) {
    optimizer.set_lr(rate(step));
    optimizer.zero_grad();
    weft::cross_entropy(model(x), labels).backward();
    optimizer.step();
    ema.update();
  }
  const double own = accuracy(model, x, labels);
  {
    const nn::EMA::Evaluation evaluation(ema);  // the model has the averages until the end of this scope
    std::cout << "accuracy of the average " << accuracy(model, x, labels) << '\n';
  }
  std::cout << "difference " << accuracy(model, x, labels) - own << '\n';
}
