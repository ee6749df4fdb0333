#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace weft {

inline constexpr int kMaxRank = 8;

/// Up to eight signed 64-bit numbers held in place: a shape, strides (in elements) or a list of axes.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<std::int64_t> values);
  explicit Dims(std::span<const std::int64_t> values);
  /// `rank` copies of `value`.
  static Dims filled(int rank, std::int64_t value);

  int rank() const { return rank_; }
  bool empty() const { return rank_ == 0; }
  std::int64_t& operator[](int i) { return values_[static_cast<std::size_t>(i)]; }
  std::int64_t operator[](int i) const { return values_[static_cast<std::size_t>(i)]; }
  std::int64_t back() const { return (*this)[rank_ - 1]; }
  const std::int64_t* begin() const { return values_.data(); }
  const std::int64_t* end() const { return values_.data() + rank_; }
  std::int64_t* begin() { return values_.data(); }
  std::int64_t* end() { return values_.data() + rank_; }

  /// Throws ShapeError beyond eight dimensions.
  void push_back(std::int64_t value);
  void insert(int at, std::int64_t value);
  void erase(int at);

  friend bool operator==(const Dims& a, const Dims& b);

 private:
  std::array<std::int64_t, kMaxRank> values_{};
  int rank_ = 0;
};

using Shape = Dims;
using Strides = Dims;

/// Axes of a reduction: `Axes::all()` (the default of every reduction), one axis, or a list; negative axes count from
/// the end. An empty list `{}` reduces nothing.
class Axes {
 public:
  Axes() = default;
  Axes(int axis) : list_{axis} {}  // NOLINT(google-explicit-constructor): sum(x, 1)
  Axes(std::initializer_list<std::int64_t> axes) : list_(axes) {}
  Axes(const Dims& axes) : list_(axes) {}  // NOLINT(google-explicit-constructor)
  static Axes all() {
    Axes axes;
    axes.all_ = true;
    return axes;
  }
  bool is_all() const { return all_; }
  const Dims& list() const { return list_; }

 private:
  Dims list_;
  bool all_ = false;
};

/// "(2, 3)", "(5,)", "()".
std::string to_string(const Dims& dims);

/// Product of the sizes. Throws ShapeError on a negative size or when it exceeds 2^63 - 1.
std::int64_t element_count(const Shape& shape);
/// Row-major (C order) strides.
Strides row_major_strides(const Shape& shape);

/// How an array lies in its storage. Strides and offset count elements; strides may be zero or negative.
struct Layout {
  Shape shape;
  Strides strides;
  std::int64_t offset = 0;

  Layout() = default;
  Layout(Shape s, Strides t, std::int64_t o = 0) : shape(s), strides(t), offset(o) {}
  static Layout row_major(const Shape& shape);
  /// NCHW shape over NHWC memory (rank 4), NCL over NLC (rank 3), NCDHW over NDHWC (rank 5).
  static Layout channels_last(const Shape& shape);

  int rank() const { return shape.rank(); }
  std::int64_t size() const { return element_count(shape); }
  /// Dense in the given order; axes of size 1 are ignored, and an empty layout is dense in every order.
  bool is_row_major() const;
  bool is_channels_last() const;
  /// Every address between the first and the last element is used exactly once, in any order of axes, none reversed.
  bool is_dense() const;
};

}  // namespace weft
