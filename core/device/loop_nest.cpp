#include "core/device/loop_nest.h"

#include <algorithm>
#include <cstdlib>

namespace weft {

LoopNest::LoopNest(const Shape& shape, std::initializer_list<ConstView> operands) {
  for (const ConstView& operand : operands) {
    data_[operands_] = static_cast<char*>(const_cast<void*>(operand.data));
    bytes_[operands_] = static_cast<std::int64_t>(size_of(operand.dtype));
    ++operands_;
  }
  size_ = element_count(shape);  // 0 also where the other sizes' product is more than can be counted
  if (size_ != 0) {
    for (int a = shape.rank() - 1; a >= 0; --a) {
      if (shape[a] == 1) continue;
      Axis axis;
      axis.size = shape[a];
      int o = 0;
      for (const ConstView& operand : operands) axis.stride[o++] = operand.strides[a];
      insert(axis);
    }
    make_positive();
    merge();
  }
  rank_ = std::max(rank_, 2);
}

// Before the first axis with a larger stride, so that equal ones keep their order.
void LoopNest::insert(const Axis& axis) {
  int at = rank_++;
  for (; at > 0 && std::abs(axes_[at - 1].stride[0]) > std::abs(axis.stride[0]); --at) axes_[at] = axes_[at - 1];
  axes_[at] = axis;
}

void LoopNest::make_positive() {
  for (int k = 0; k < rank_; ++k) {
    if (axes_[k].stride[0] >= 0) continue;
    for (int o = 0; o < operands_; ++o) {
      data_[o] += (axes_[k].size - 1) * axes_[k].stride[o] * bytes_[o];
      axes_[k].stride[o] = -axes_[k].stride[o];
    }
  }
}

void LoopNest::merge() {
  int kept = 0;
  for (int k = 1; k < rank_; ++k) {
    Axis& inner = axes_[kept];
    bool one_walk = true;
    for (int o = 0; o < operands_; ++o) one_walk &= axes_[k].stride[o] == inner.stride[o] * inner.size;
    if (one_walk) {
      inner.size *= axes_[k].size;
    } else {
      axes_[++kept] = axes_[k];
    }
  }
  std::fill(axes_ + std::min(kept + 1, rank_), axes_ + rank_, Axis());
  rank_ = std::min(kept + 1, rank_);
}

void* LoopNest::address(int o, const std::int64_t* index, int first) const {
  std::int64_t offset = 0;
  for (int k = first; k < rank_; ++k) offset += index[k] * axes_[k].stride[o];
  return data_[o] + offset * bytes_[o];
}

}  // namespace weft
