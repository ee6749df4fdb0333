#include "weft/nn/layers_shape.h"

#include "layers/check.h"
#include "weft/indexing.h"
#include "weft/nn/init.h"
#include "weft/ops.h"

namespace weft::nn {

Unflatten::Unflatten(int axis, const Shape& sizes) : axis_(axis), sizes_(sizes) {
  require_at_least(1, "Unflatten", "the number of sizes", sizes.rank());
  int unknown = 0;
  for (const std::int64_t size : sizes) {
    require_at_least(-1, "Unflatten", "every size", size);
    if (size == -1) ++unknown;
  }
  require(unknown <= 1, "Unflatten", "the number of sizes -1", "at most 1", unknown);
}

Tensor Unflatten::forward(const Tensor& x) const {
  const int axis = axis_ < 0 ? axis_ + x.rank() : axis_;
  if (axis < 0 || axis >= x.rank()) {
    throw IndexError("Unflatten: axis " + std::to_string(axis_) + " of input " + to_string(x.shape()));
  }
  std::int64_t known = 1;
  bool fills = false;
  for (const std::int64_t size : sizes_) {
    fills = fills || size == -1;
    if (size != -1) known *= size;
  }
  const std::int64_t whole = x.size(axis);
  if (fills ? known == 0 || whole % known != 0 : known != whole) {
    throw ShapeError("Unflatten: axis " + std::to_string(axis_) + " of input " + to_string(x.shape()) +
                     " does not split into " + to_string(sizes_));
  }
  std::vector<std::int64_t> shape;
  for (int i = 0; i < x.rank(); ++i) {
    if (i != axis) {
      shape.push_back(x.size(i));
      continue;
    }
    for (const std::int64_t size : sizes_) shape.push_back(size == -1 ? whole / known : size);
  }
  return reshape(x, Shape(shape));
}

PixelShuffle::PixelShuffle(std::int64_t factor) : factor_(factor) {
  require_at_least(1, "PixelShuffle", "the factor", factor);
}

Tensor PixelShuffle::forward(const Tensor& x) const {
  const std::int64_t r = factor_;
  if (x.rank() < 3 || x.size(-3) % (r * r) != 0) {
    throw ShapeError("PixelShuffle: input must be (..., C, H, W), C a multiple of " + std::to_string(r * r) + ", got " +
                     to_string(x.shape()));
  }
  std::int64_t images = 1;
  Shape shape = x.shape();
  for (int i = 0; i < x.rank() - 3; ++i) images *= shape[i];
  const std::int64_t channels = x.size(-3) / (r * r), height = x.size(-2), width = x.size(-1);
  shape[x.rank() - 3] = channels;
  shape[x.rank() - 2] = height * r;
  shape[x.rank() - 1] = width * r;
  return reshape(permute(reshape(x, {images, channels, r, r, height, width}), {0, 1, 4, 2, 5, 3}), shape);
}

Embedding::Embedding(std::int64_t rows, std::int64_t features) {
  require_at_least(1, "Embedding", "the number of rows", rows);
  require_at_least(1, "Embedding", "the number of features", features);
  weight_ = register_parameter("weight", init::normal({rows, features}));
}

Tensor Embedding::forward(const Tensor& indices) const { return embedding(indices, weight_); }

}  // namespace weft::nn
