// A stranger's program: it sees installed headers and weft::weft alone.
#include <weft/weft.h>

#include <iostream>

int main() {
  auto model = weft::nn::resnet9({.classes = 10});
  const auto loss = weft::cross_entropy(model(weft::randn({4, 3, 32, 32})), weft::arange(0, 4));
  loss.backward();
  const auto gradient = model.parameters().front().grad();
  std::cout << "loss " << loss.item<float>() << ", gradient " << weft::to_string(gradient.shape()) << '\n';
  return gradient.defined() && gradient.shape() == weft::Shape{16, 3, 7, 7} ? 0 : 1;
}
