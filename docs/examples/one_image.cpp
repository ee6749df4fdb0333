// Classifies one image: bytes of a camera to a network without batch norms, whose work the convolutions have taken
// over.
#include <weft/weft.h>
#include <iostream>
#include <vector>

namespace nn = weft::nn;

int main() {
  weft::manual_seed(3);
  nn::Sequential model =
      nn::resnet9({.variant = nn::ResNet9::narrow, .classes = 10});  // load_state_dict has your weights
  model.eval();
  const nn::Sequential folded = nn::fold_batch_norms(model);

  // Bytes in the order rows, columns, colours, as cameras and decoders give them.
  const std::vector<std::uint8_t> bytes(32 * 32 * 3, 200);
  const auto pixels = weft::Tensor::from(std::span<const std::uint8_t>(bytes), {32, 32, 3});
  const weft::Tensor image = pixels.permute({2, 0, 1}).to(weft::DType::f32) / 255.0;  // (3, 32, 32), in [0, 1]

  const weft::NoGrad no_grad;
  const weft::Tensor batch = image.unsqueeze(0), scores = weft::softmax(folded(batch), 1);
  std::cout << "largest difference " << weft::max(abs(scores - weft::softmax(model(batch), 1))).item<double>() << '\n';
  std::cout << "class " << argmax(scores).item<std::int64_t>() << " with probability "
            << weft::max(scores).item<double>() << '\n';
}
