#pragma once

#include <cstdint>

#include "core/device/loop_nest.h"
#include "cpu/array/tile.h"
#include "cpu/runtime/function_ref.h"

namespace weft::cpu {

/// A loop nest run as tiles.
class Nest : public LoopNest {
 public:
  using LoopNest::LoopNest;

  /// Elements [begin, end) in the nest's order, as tiles over the two innermost axes.
  void for_tiles(std::int64_t begin, std::int64_t end, FunctionRef<void(const Tile&)> body) const;
  /// All elements, in parallel by blocks of `grain`.
  void for_tiles_in_parallel(FunctionRef<void(const Tile&)> body, std::int64_t grain = kGrain) const;

  /// Elements per task: fewer are not worth waking a thread.
  static constexpr std::int64_t kGrain = 32768;
};

}  // namespace weft::cpu
