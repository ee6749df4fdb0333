#include "cpu/nest.h"

#include <algorithm>
#include <cstdlib>

#include "cpu/threads.h"

namespace weft::cpu {

Nest::Nest(const Shape& shape, std::initializer_list<ConstView> operands) {
  for (const ConstView& operand : operands) {
    data_[operands_] = static_cast<char*>(const_cast<void*>(operand.data));
    bytes_[operands_] = static_cast<std::int64_t>(size_of(operand.dtype));
    ++operands_;
  }
  for (std::int64_t size : shape) size_ *= size;
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
void Nest::insert(const Axis& axis) {
  int at = rank_++;
  for (; at > 0 && std::abs(axes_[at - 1].stride[0]) > std::abs(axis.stride[0]); --at) axes_[at] = axes_[at - 1];
  axes_[at] = axis;
}

void Nest::make_positive() {
  for (int k = 0; k < rank_; ++k) {
    if (axes_[k].stride[0] >= 0) continue;
    for (int o = 0; o < operands_; ++o) {
      data_[o] += (axes_[k].size - 1) * axes_[k].stride[o] * bytes_[o];
      axes_[k].stride[o] = -axes_[k].stride[o];
    }
  }
}

void Nest::merge() {
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

void* Nest::address(int o, const std::int64_t* index, int first) const {
  std::int64_t offset = 0;
  for (int k = first; k < rank_; ++k) offset += index[k] * axes_[k].stride[o];
  return data_[o] + offset * bytes_[o];
}

void Nest::run(std::int64_t begin, std::int64_t end, FunctionRef<void(const Tile&)> body) const {
  if (begin >= end) return;
  std::int64_t index[kMaxRank] = {};
  std::int64_t rest = begin;
  for (int k = 0; k < rank_ && rest > 0; ++k) {
    index[k] = rest % axes_[k].size;
    rest /= axes_[k].size;
  }
  Tile tile;
  std::copy_n(axes_[0].stride, Tile::kOperands, tile.stride);
  std::copy_n(axes_[1].stride, Tile::kOperands, tile.row_stride);
  const std::int64_t width = axes_[0].size;
  while (begin < end) {
    if (index[0] != 0 || end - begin < width) {
      tile.rows = 1;
      tile.n = std::min(width - index[0], end - begin);
    } else {
      tile.rows = std::min(axes_[1].size - index[1], (end - begin) / width);
      tile.n = width;
    }
    for (int o = 0; o < operands_; ++o) tile.data[o] = address(o, index);
    body(tile);
    begin += tile.rows * tile.n;
    index[0] += tile.n;
    if (index[0] < width) break;  // only the last tile ends inside a row
    index[0] = 0;
    index[1] += tile.rows;
    for (int k = 1; k + 1 < rank_ && index[k] == axes_[k].size; ++k) {
      index[k] = 0;
      ++index[k + 1];
    }
  }
}

void Nest::run_parallel(FunctionRef<void(const Tile&)> body, std::int64_t grain) const {
  parallel_blocks(size_, grain, [&](std::int64_t begin, std::int64_t end) { run(begin, end, body); });
}

}  // namespace weft::cpu
