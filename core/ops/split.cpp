#include <numeric>

#include "core/ops/op_support.h"

/// Views of the parts of an axis, and their inverse, copies along one.
namespace weft {

std::vector<Tensor> split(const Tensor& x, const std::vector<std::int64_t>& sizes, int axis) {
  const int at = layout::normalize_axis("split", axis, x.rank());
  const std::int64_t size = x.shape()[at];
  std::vector<std::int64_t> ends{0};
  for (const std::int64_t part : sizes) {
    std::int64_t end = 0;
    if (part < 0) throw ValueError("split: a size must not be " + std::to_string(part));
    if (__builtin_add_overflow(ends.back(), part, &end)) throw ValueError("split: the sum of the sizes overflows");
    ends.push_back(end);
  }
  if (ends.back() != size) {
    throw ValueError("split: the sizes add up to " + std::to_string(ends.back()) + ", not to the " +
                     std::to_string(size) + " of axis " + std::to_string(at) + " of " + to_string(x.shape()));
  }
  std::vector<Tensor> parts;
  for (std::size_t i = 0; i < sizes.size(); ++i) parts.push_back(slice(x, at, ends[i], ends[i + 1]));
  return parts;
}

std::vector<Tensor> split(const Tensor& x, std::int64_t size, int axis) {
  const int at = layout::normalize_axis("split", axis, x.rank());
  const std::int64_t whole = x.shape()[at];
  if (size < 0 || (size == 0 && whole != 0)) {
    throw ValueError("split: size " + std::to_string(size) + " must be positive for axis " + std::to_string(at) +
                     " of " + to_string(x.shape()));
  }
  if (whole == 0) return {slice(x, at, 0, 0)};
  std::vector<Tensor> parts;
  // The end of a part never overflows, because it is at most `whole`.
  for (std::int64_t start = 0, end = 0; start < whole; start = end) {
    end = size < whole - start ? start + size : whole;
    parts.push_back(slice(x, at, start, end));
  }
  return parts;
}

std::vector<Tensor> chunk(const Tensor& x, std::int64_t chunks, int axis) {
  const int at = layout::normalize_axis("chunk", axis, x.rank());
  if (chunks < 1) throw ValueError("chunk: chunks must be positive, got " + std::to_string(chunks));
  const std::int64_t whole = x.shape()[at];
  if (whole == 0) return std::vector<Tensor>(static_cast<std::size_t>(chunks), slice(x, at, 0, 0));
  return split(x, whole / chunks + (whole % chunks != 0 ? 1 : 0), at);
}

Tensor tile(const Tensor& x, const Dims& repeats) {
  const int rank = std::max(x.rank(), repeats.rank());
  Shape shape = x.shape();
  Dims counts = repeats;
  while (shape.rank() < rank) shape.insert(0, 1);
  while (counts.rank() < rank) counts.insert(0, 1);
  Shape result = shape;
  for (int i = 0; i < rank; ++i) {
    if (counts[i] < 0) throw ValueError("tile: repeats " + to_string(repeats) + " must not be negative");
    if (__builtin_mul_overflow(shape[i], counts[i], &result[i])) {
      throw ShapeError("tile: repeats " + to_string(repeats) + " of " + to_string(x.shape()) + " overflow axis " +
                       std::to_string(i));
    }
  }
  element_count(result);
  Tensor y = reshape(x, shape);
  // An axis is repeated together with those below it, from the last axis on: three axes serve any rank.
  for (int i = rank - 1; i >= 0; --i) {
    if (counts[i] == 1) continue;
    std::int64_t before = 1, below = 1;
    for (int j = 0; j < rank; ++j) (j < i ? before : below) *= shape[j];
    shape[i] = result[i];
    y = reshape(expand(reshape(y, {before, 1, below}), {before, counts[i], below}), shape);
  }
  // What is not repeated is a view of x here, and one element that is repeated lies in memory once.
  return element_count(result) == x.size() ? clone(y) : contiguous(y);
}

}  // namespace weft
