// Trains LeNet-5 (LeCun et al. 1998, with ReLU and max pooling) on pictures that weft draws itself, and tests it on
// others.
#include <weft/weft.h>
#include <iostream>

namespace nn = weft::nn;

int main() {
  weft::manual_seed(1);
  const nn::ImageDataset train = nn::builtin_images(nn::Split::train, 3000);
  const nn::ImageDataset test = nn::builtin_images(nn::Split::test, 500);
  nn::Sequential lenet(nn::Conv2d(3, 6, 5), nn::ReLU(), nn::MaxPool2d(2),   // (6, 14, 14)
                       nn::Conv2d(6, 16, 5), nn::ReLU(), nn::MaxPool2d(2),  // (16, 5, 5)
                       nn::Flatten(), nn::Linear(400, 120), nn::ReLU(), nn::Linear(120, 84), nn::ReLU(),
                       nn::Linear(84, 10));

  nn::DataLoader loader(train, {.batch_size = 50, .shuffle = true});
  nn::Adam optimizer(lenet.parameters(), {.lr = 2e-3});
  for (int epoch = 1; epoch <= 3; ++epoch) {
    double total = 0;
    for (auto& [images, labels] : loader) {
      const weft::Tensor loss = weft::cross_entropy(lenet(images), labels);
      optimizer.zero_grad();
      loss.backward();
      optimizer.step();
      total += loss.item<double>();
    }
    std::cout << "epoch " << epoch << ": loss " << total / static_cast<double>(loader.size()) << '\n';
  }
  std::cout << "accuracy " << nn::evaluate(lenet, test, weft::Device::cpu()).accuracy << '\n';
}
