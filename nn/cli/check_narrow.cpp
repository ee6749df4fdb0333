#include "cli/check_narrow.h"

#include <cmath>

namespace weft::cli::check {

NarrowResNet9::NarrowResNet9(const Device& device) : device_(device) {
  add_layer(3, 16, 7, 4, true);
  add_layer(16, 32, 3, 2, true);
  add_layer(32, 32, 3, 1, true);
  add_layer(32, 32, 3, 1, true);
  add_layer(32, 64, 3, 2, true);
  add_layer(64, 128, 3, 2, true);
  add_layer(128, 128, 3, 1, true);
  add_layer(128, 128, 3, 1, true);
  add_layer(128, 128, 1, 1, false);
  add_layer(128, 10, 1, 1, false);
}

void NarrowResNet9::add_layer(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride, bool norm) {
  const auto seed = static_cast<unsigned>(100 + 4 * layers_.size());
  const auto leaf = [](const Tensor& x) { return Tensor(x.array(), true); };
  // Uniform with He's variance 2/(in·kernel²); numbers in [-2, 2) have 4/3.
  const double scale = std::sqrt(1.5 / static_cast<double>(in * kernel * kernel));
  Layer layer;
  layer.weight = leaf(draw({out, in, kernel, kernel}, DType::f32, device_, seed) * scale);
  layer.bias = leaf(draw({out}, DType::f32, device_, seed + 1) * 0.0625);
  layer.options = {.stride = stride, .padding = (kernel - 1) / 2};
  parameters_.insert(parameters_.end(), {layer.weight, layer.bias});
  if (norm) {
    layer.scale = draw_leaf({out}, DType::f32, device_, seed + 2, true);
    layer.shift = draw_leaf({out}, DType::f32, device_, seed + 3);
    parameters_.insert(parameters_.end(), {layer.scale, layer.shift});
  }
  layers_.push_back(std::move(layer));
}

Tensor NarrowResNet9::convolve(const Tensor& x, const Layer& layer) {
  if (way_ == Way::im2col) {
    Conv2dOptions options = layer.options;
    options.algo = ConvAlgo::im2col;
    return conv2d(x, layer.weight, layer.bias, options);
  }
  const Tensor y(composed::conv2d(x.detach(), layer.weight.detach(), layer.options).array(), true);
  composed_.push_back({x, &layer, y});
  return y + layer.bias.reshape({1, -1, 1, 1});
}

Tensor NarrowResNet9::block(const Tensor& x) {
  const Layer& layer = layers_[next_++];
  return batch_norm(convolve(x, layer), layer.scale, layer.shift, {}, {}, {}, {.relu = true});
}

Tensor NarrowResNet9::forward() {
  Tensor x = block(draw({kNarrowBatch, 3, 32, 32}, DType::f32, device_, 9));
  x = block(x);
  x = x + block(block(x));
  x = block(block(x));
  x = x + block(block(x));
  x = relu(convolve(x, layers_[next_]));
  return convolve(x, layers_[next_ + 1]).flatten(1);
}

// The graph of the step is cut at every convolution: y of each is a leaf. From the last one to the first, its gradient
// gives those of the weight and of x, from which the graph's next part goes on.
void NarrowResNet9::backward_composed(const Tensor& loss) {
  loss.backward({.retain_graph = true});
  for (auto at = composed_.rbegin(); at != composed_.rend(); ++at) {
    const Tensor x = at->x, gradient = at->y.grad();
    Tensor weight = at->layer->weight;
    weight.set_grad(
        composed::conv2d_weight_grad(gradient, x.detach(), weight.shape(), at->layer->options).contiguous());
    if (!x.requires_grad()) continue;
    x.backward(composed::conv2d_input_grad(gradient, weight.detach(), x.shape(), at->layer->options),
               {.retain_graph = true});
  }
}

Tensor NarrowResNet9::step(Way way) {
  way_ = way;
  next_ = 0;
  composed_.clear();
  const Tensor loss = cross_entropy(forward(), draw_labels({kNarrowBatch}, 10, device_, 10));
  if (way == Way::composed) {
    backward_composed(loss);
  } else {
    loss.backward();
  }
  return loss.detach();
}

}  // namespace weft::cli::check
