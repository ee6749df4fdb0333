// Trains a classifier on rows of float features that lie in memory: shuffled batches, and a test on rows kept apart.
#include <weft/weft.h>
#include <iostream>
#include <vector>

namespace nn = weft::nn;

int main() {
  constexpr std::int64_t kRows = 1000, kFeatures = 20, kBatch = 50;
  // The features of your program would stand here: here they are drawn, and the class says whether four of them add up
  // to more than 0.
  weft::manual_seed(7);
  std::vector<float> features = weft::randn({kRows, kFeatures}).to_vector<float>();
  std::vector<std::int64_t> classes;
  for (std::int64_t row = 0; row < kRows; ++row) {
    float sum = 0;
    for (std::int64_t i = 0; i < 4; ++i) sum += features[static_cast<std::size_t>(row * kFeatures + i)];
    classes.push_back(sum > 0 ? 1 : 0);
  }

  const auto x = weft::Tensor::from(std::span<const float>(features), {kRows, kFeatures});
  const auto y = weft::Tensor::from(std::span<const std::int64_t>(classes), {kRows});
  const std::vector<weft::Tensor> xs = split(x, {800, 200}), ys = split(y, {800, 200});

  nn::Sequential model(nn::Linear(kFeatures, 32), nn::ReLU(), nn::Linear(32, 2));
  nn::AdamW optimizer(model.parameters(), {.lr = 0.01});
  for (int epoch = 0; epoch < 10; ++epoch) {
    for (const weft::Tensor& rows : split(weft::randperm(xs[0].size(0)), kBatch)) {
      const weft::Tensor logits = model(index_select(xs[0], 0, rows));
      const weft::Tensor loss = weft::cross_entropy(logits, index_select(ys[0], 0, rows));
      optimizer.zero_grad();
      loss.backward();
      optimizer.step();
    }
  }
  const weft::NoGrad no_grad;
  model.eval();
  const weft::Tensor hits = equal(argmax(model(xs[1]), 1), ys[1]);
  std::cout << "accuracy " << mean(hits.to(weft::DType::f32)).item<double>() << '\n';
}
