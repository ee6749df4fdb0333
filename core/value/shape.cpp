#include "weft/shape.h"

#include <algorithm>

#include "weft/error.h"

namespace weft {

Dims::Dims(std::initializer_list<std::int64_t> values)
    : Dims(std::span<const std::int64_t>(values.begin(), values.size())) {}

Dims::Dims(std::span<const std::int64_t> values) {
  for (const std::int64_t value : values) push_back(value);
}

Dims Dims::filled(int rank, std::int64_t value) {
  Dims dims;
  for (int i = 0; i < rank; ++i) dims.push_back(value);
  return dims;
}

void Dims::push_back(std::int64_t value) {
  if (rank_ == kMaxRank) throw ShapeError("shape: at most 8 dimensions are supported");
  values_[static_cast<std::size_t>(rank_++)] = value;
}

void Dims::insert(int at, std::int64_t value) {
  push_back(value);
  std::rotate(begin() + at, end() - 1, end());
}

void Dims::erase(int at) {
  std::copy(begin() + at + 1, end(), begin() + at);
  values_[static_cast<std::size_t>(--rank_)] = 0;
}

bool operator==(const Dims& a, const Dims& b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

std::string to_string(const Dims& dims) {
  std::string text = "(";
  for (int i = 0; i < dims.rank(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(dims[i]);
  }
  return text + (dims.rank() == 1 ? ",)" : ")");
}

std::int64_t element_count(const Shape& shape) {
  std::int64_t count = 1;
  bool overflow = false;
  bool empty = false;
  for (const std::int64_t size : shape) {
    if (size < 0) throw ShapeError("shape: negative size in " + to_string(shape));
    empty |= size == 0;
    overflow |= size != 0 && __builtin_mul_overflow(count, size, &count);
  }
  if (empty) return 0;
  if (overflow) throw ShapeError("shape: " + to_string(shape) + " has more than 2^63 - 1 elements");
  return count;
}

Strides row_major_strides(const Shape& shape) {
  Strides strides = Dims::filled(shape.rank(), 1);
  std::int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = step;
    if (shape[i] > 1 && __builtin_mul_overflow(step, shape[i], &step)) {
      element_count(shape);  // throws, unless there are none
      step = 1;
    }
  }
  return strides;
}

Layout Layout::row_major(const Shape& shape) { return {shape, row_major_strides(shape), 0}; }

Layout Layout::channels_last(const Shape& shape) {
  const int rank = shape.rank();
  if (rank < 3) return row_major(shape);
  Shape memory{shape[0]};
  for (int i = 2; i < rank; ++i) memory.push_back(shape[i]);
  memory.push_back(shape[1]);
  const Strides packed = row_major_strides(memory);
  Strides strides{packed[0], packed[rank - 1]};
  for (int i = 2; i < rank; ++i) strides.push_back(packed[i - 1]);
  return {shape, strides, 0};
}

namespace {

bool same_strides(const Layout& layout, const Strides& expected) {
  if (layout.size() == 0) return true;
  for (int i = 0; i < layout.rank(); ++i) {
    if (layout.shape[i] != 1 && layout.strides[i] != expected[i]) return false;
  }
  return true;
}

}  // namespace

bool Layout::is_row_major() const { return same_strides(*this, row_major_strides(shape)); }

bool Layout::is_channels_last() const { return same_strides(*this, channels_last(shape).strides); }

bool Layout::is_dense() const {
  if (size() == 0) return true;
  std::array<bool, kMaxRank> done{};
  std::int64_t step = 1;
  for (int remaining = rank(); remaining > 0; --remaining) {  // the axis of each next larger stride in turn
    int next = -1;
    for (int i = 0; i < rank(); ++i) {
      if (!done[static_cast<std::size_t>(i)] && (shape[i] == 1 || strides[i] == step)) next = i;
    }
    if (next < 0) return false;
    done[static_cast<std::size_t>(next)] = true;
    step *= shape[next];
  }
  return true;
}

}  // namespace weft
