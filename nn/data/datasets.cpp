#include "weft/nn/datasets.h"

#include "data/device_batches.h"
#include "weft/error.h"

namespace weft::nn {

void check_sample_index(const std::string& dataset, std::int64_t index, std::int64_t size) {
  if (index >= 0 && index < size) return;
  throw IndexError(dataset + ": index " + std::to_string(index) + " is outside [0, " + std::to_string(size) + ")");
}

std::int64_t common_first_size(const std::vector<Tensor>& tensors) {
  for (const Tensor& tensor : tensors) {
    if (tensor.shape().rank() == 0) throw ShapeError("TensorDataset: a tensor of shape () has no axis of samples");
    if (tensor.shape()[0] != tensors.front().shape()[0]) {
      throw ShapeError("TensorDataset: the first axes of shapes " + to_string(tensors.front().shape()) + " and " +
                       to_string(tensor.shape()) + " differ");
    }
  }
  return tensors.front().shape()[0];
}

std::vector<std::vector<std::int64_t>> random_split_indices(std::int64_t size, const std::vector<std::int64_t>& lengths,
                                                            std::uint64_t seed) {
  std::int64_t left = size;
  for (const std::int64_t length : lengths) {
    if (length < 0 || length > left) {
      throw ValueError("random_split: length " + std::to_string(length) + " is outside [0, " + std::to_string(left) +
                       "], the samples that are left of " + std::to_string(size));
    }
    left -= length;
  }
  if (left != 0) {
    throw ValueError("random_split: the lengths add up to " + std::to_string(size - left) + ", the data set has " +
                     std::to_string(size) + " samples");
  }
  const std::vector<std::int64_t> order = epoch_order(size, {.shuffle = true, .seed = seed}, 0);
  std::vector<std::vector<std::int64_t>> parts;
  auto first = order.begin();
  for (const std::int64_t length : lengths) {
    parts.emplace_back(first, first + length);
    first += length;
  }
  return parts;
}

LabelledImage ImageDataset::get(std::int64_t index) const {
  check_sample_index("ImageDataset", index, size());
  const Array image = Array::empty_like(Layout::channels_last({1, channels, height, width}), DType::f32, Device::cpu());
  const Array label = Array::empty({1}, DType::i64);
  image_batch({images, labels, channels, height, width}, {&index, 1}, 0, 0, image, label,
              image_batch_options(*this, {}));
  return {Tensor(image).select(0, 0), Tensor(label).select(0, 0)};
}

}  // namespace weft::nn
