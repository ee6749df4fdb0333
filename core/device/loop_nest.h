#pragma once

#include <cstdint>
#include <initializer_list>

#include "core/device/backend.h"

namespace weft {

/// The axes that operands of one shape are walked along, at most four operands: axes of size 1 are dropped, the first
/// operand's strides are made positive and order the axes, and axes that every operand walks as one are merged. So a
/// dense operation in any memory order has a single axis.
class LoopNest {
 public:
  static constexpr int kOperands = 4;
  struct Axis {
    std::int64_t size = 1;
    std::int64_t stride[kOperands] = {1, 1, 1, 1};
  };

  LoopNest(const Shape& shape, std::initializer_list<ConstView> operands);

  std::int64_t size() const { return size_; }
  int operands() const { return operands_; }
  /// At least 2: absent axes have size 1.
  int rank() const { return rank_; }
  /// Axis 0 is the innermost.
  const Axis& axis(int i) const { return axes_[i]; }
  /// Address of operand `o` at an index per axis, those below `first` being 0.
  void* address(int o, const std::int64_t* index, int first = 0) const;
  /// Address of operand `o` where every index is 0.
  void* origin(int o) const { return data_[o]; }

 private:
  void insert(const Axis& axis);
  void make_positive();
  void merge();

  Axis axes_[kMaxRank];
  char* data_[kOperands] = {};
  std::int64_t bytes_[kOperands] = {};
  std::int64_t size_ = 1;
  int rank_ = 0;
  int operands_ = 0;
};

}  // namespace weft
