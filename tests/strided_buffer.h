#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "core/device/backend.h"

namespace weft::testing {

using Random = std::mt19937_64;

inline std::int64_t pick(Random& random, std::int64_t low, std::int64_t high) {
  return std::uniform_int_distribution<std::int64_t>(low, high)(random);
}

/// Up to eight axes, at most about `limit` elements, sizes 0 and 1 among them.
inline Shape random_shape(Random& random, std::int64_t limit, bool allow_empty = true) {
  Shape shape = Shape::filled(static_cast<int>(pick(random, 0, kMaxRank)), 1);
  std::int64_t size = 1;
  for (int a = 0; a < shape.rank(); ++a) {
    if (size * 2 > limit || pick(random, 0, 3) == 0) continue;
    shape[a] = pick(random, 1, std::min<std::int64_t>(limit / size, pick(random, 0, 3) == 0 ? limit : 9));
    size *= shape[a];
  }
  if (allow_empty && shape.rank() > 0 && pick(random, 0, 19) == 0) {
    shape[static_cast<int>(pick(random, 0, shape.rank() - 1))] = 0;
  }
  return shape;
}

/// Memory with a strided view inside it: axes in random order, some reversed, some with gaps, and guard values around.
/// Broadcast buffers also have axes of stride 0. `dense` is row-major without gaps.
template <class T>
class Buffer {
 public:
  enum Kind { dense, strided, broadcast };

  Buffer(const Shape& shape, Kind kind, Random& random) : shape_(shape), strides_(Strides::filled(shape.rank(), 0)) {
    std::vector<int> order;
    for (int a = shape.rank() - 1; a >= 0; --a) order.push_back(a);
    if (kind != dense && pick(random, 0, 2) != 0) std::shuffle(order.begin(), order.end(), random);
    std::int64_t step = kind == dense ? 1 : pick(random, 0, 3) == 0 ? 2 : 1;
    first_ = kGuard;
    for (int a : order) {
      if (kind == broadcast && pick(random, 0, 3) == 0) continue;
      const bool reversed = kind != dense && pick(random, 0, 3) == 0;
      strides_[a] = reversed ? -step : step;
      if (reversed) first_ += step * std::max<std::int64_t>(0, shape[a] - 1);
      step *= std::max<std::int64_t>(1, shape[a]);
      if (kind != dense && pick(random, 0, 3) == 0) step += pick(random, 0, 2);
    }
    memory_.resize(static_cast<std::size_t>(step + 2 * kGuard));
    std::memset(memory_.data(), 0x5A, memory_.size() * sizeof(T));
    const std::int64_t size = element_count(shape);
    offsets_.reserve(static_cast<std::size_t>(size));
    std::vector<std::int64_t> index(kMaxRank);
    for (std::int64_t i = 0; i < size; ++i) {
      std::int64_t offset = first_;
      for (int a = 0; a < shape.rank(); ++a) offset += index[a] * strides_[a];
      offsets_.push_back(offset);
      for (int a = shape.rank() - 1; a >= 0 && ++index[a] == shape[a]; --a) index[a] = 0;
    }
  }

  std::int64_t size() const { return static_cast<std::int64_t>(offsets_.size()); }
  /// Element i in row-major order.
  T& operator[](std::int64_t i) { return memory_[offsets_[i]].value; }
  View view(DType dtype = dtype_of<T>) { return {&memory_[first_], shape_, strides_, dtype}; }

  template <class F>
  void generate(F f) {
    for (std::int64_t offset : offsets_) memory_[offset].value = f();
  }
  /// Every byte outside the view is as it was.
  void expect_guards() {
    std::vector<char> mine(memory_.size());
    for (std::int64_t offset : offsets_) mine[offset] = 1;
    for (std::size_t i = 0; i < memory_.size(); ++i) {
      if (mine[i]) continue;
      for (std::size_t b = 0; b < sizeof(T); ++b) {
        ASSERT_EQ(reinterpret_cast<const unsigned char*>(&memory_[i])[b], 0x5A)
            << "written outside the view " << to_string(shape_) << " with strides " << to_string(strides_);
      }
    }
  }

 private:
  static constexpr std::int64_t kGuard = 70;
  struct Cell {  // std::vector<bool> has no memory to point to
    T value;
  };
  Shape shape_;
  Strides strides_;
  std::int64_t first_ = 0;
  std::vector<Cell> memory_;
  std::vector<std::int64_t> offsets_;
};

}  // namespace weft::testing
