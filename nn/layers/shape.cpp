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
  Shape given;  // without -1
  for (const std::int64_t size : sizes_) {
    if (size != -1) given.push_back(size);
  }
  const bool fills = given.rank() < sizes_.rank();
  const std::int64_t known = element_count(given), whole = x.size(axis);
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
  if (x.rank() < 3 || x.size(-3) % r != 0 || x.size(-3) / r % r != 0) {
    throw ShapeError("PixelShuffle: input must be (..., C, H, W), C a multiple of " + std::to_string(r) +
                     " squared, got " + to_string(x.shape()));
  }
  const int first = x.rank() - 3;
  const std::int64_t channels = x.size(-3) / r / r, height = x.size(-2), width = x.size(-1);
  Shape images, shape = x.shape();
  for (int i = 0; i < first; ++i) images.push_back(shape[i]);
  shape[first] = channels;
  if (__builtin_mul_overflow(height, r, &shape[first + 1]) || __builtin_mul_overflow(width, r, &shape[first + 2])) {
    throw ShapeError("PixelShuffle: factor " + std::to_string(r) + " of input " + to_string(x.shape()) +
                     " gives more than 2^63 - 1 rows or columns");
  }
  return reshape(permute(reshape(x, {element_count(images), channels, r, r, height, width}), {0, 1, 4, 2, 5, 3}),
                 shape);
}

Embedding::Embedding(std::int64_t rows, std::int64_t features) {
  require_at_least(1, "Embedding", "the number of rows", rows);
  require_at_least(1, "Embedding", "the number of features", features);
  weight_ = register_parameter("weight", init::normal({rows, features}));
}

Tensor Embedding::forward(const Tensor& indices) const { return embedding(indices, weight_); }

}  // namespace weft::nn
