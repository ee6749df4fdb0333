#pragma once

#include <cstdint>
#include <initializer_list>

#include "core/backend.h"
#include "cpu/function_ref.h"
#include "cpu/tile.h"

namespace weft::cpu {

/// A loop nest over operands of one shape, at most four: axes of size 1 are dropped, the first operand's strides are
/// made positive and order the axes, and axes that every operand walks as one are merged. So a dense operation in any
/// memory order is a single loop.
class Nest {
 public:
  struct Axis {
    std::int64_t size = 1;
    std::int64_t stride[Tile::kOperands] = {1, 1, 1, 1};
  };

  Nest(const Shape& shape, std::initializer_list<ConstView> operands);

  std::int64_t size() const { return size_; }
  /// At least 2: absent axes have size 1.
  int rank() const { return rank_; }
  /// Axis 0 is the innermost.
  const Axis& axis(int i) const { return axes_[i]; }

  /// Elements [begin, end) in the nest's order, as tiles over the two innermost axes.
  void run(std::int64_t begin, std::int64_t end, FunctionRef<void(const Tile&)> body) const;
  /// All elements, in parallel by blocks of `grain`.
  void run_parallel(FunctionRef<void(const Tile&)> body, std::int64_t grain = kGrain) const;
  /// Address of operand `o` at an index per axis, those below `first` being 0.
  void* address(int o, const std::int64_t* index, int first = 0) const;

  /// Elements per task: fewer are not worth waking a thread.
  static constexpr std::int64_t kGrain = 32768;

 private:
  void insert(const Axis& axis);
  void make_positive();
  void merge();

  Axis axes_[kMaxRank];
  char* data_[Tile::kOperands] = {};
  std::int64_t bytes_[Tile::kOperands] = {};
  std::int64_t size_ = 1;
  int rank_ = 0;
  int operands_ = 0;
};

}  // namespace weft::cpu
