#include "cpu/array/nest.h"

#include <algorithm>

#include "cpu/runtime/threads.h"

namespace weft::cpu {

void Nest::for_tiles(std::int64_t begin, std::int64_t end, FunctionRef<void(const Tile&)> body) const {
  if (begin >= end) return;
  std::int64_t index[kMaxRank] = {};
  std::int64_t rest = begin;
  for (int k = 0; k < rank() && rest > 0; ++k) {
    index[k] = rest % axis(k).size;
    rest /= axis(k).size;
  }
  Tile tile;
  std::copy_n(axis(0).stride, Tile::kOperands, tile.stride);
  std::copy_n(axis(1).stride, Tile::kOperands, tile.row_stride);
  const std::int64_t width = axis(0).size;
  while (begin < end) {
    if (index[0] != 0 || end - begin < width) {
      tile.rows = 1;
      tile.n = std::min(width - index[0], end - begin);
    } else {
      tile.rows = std::min(axis(1).size - index[1], (end - begin) / width);
      tile.n = width;
    }
    for (int o = 0; o < operands(); ++o) tile.data[o] = address(o, index);
    body(tile);
    begin += tile.rows * tile.n;
    index[0] += tile.n;
    if (index[0] < width) break;  // only the last tile ends inside a row
    index[0] = 0;
    index[1] += tile.rows;
    for (int k = 1; k + 1 < rank() && index[k] == axis(k).size; ++k) {
      index[k] = 0;
      ++index[k + 1];
    }
  }
}

void Nest::for_tiles_in_parallel(FunctionRef<void(const Tile&)> body, std::int64_t grain) const {
  parallel_blocks(size(), grain, [&](std::int64_t begin, std::int64_t end) { for_tiles(begin, end, body); });
}

}  // namespace weft::cpu
