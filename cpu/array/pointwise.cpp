#include <algorithm>
#include <bit>
#include <string>

#include "core/device/overlap.h"
#include "cpu/array/gather_kernels.h"
#include "cpu/array/nest.h"
#include "cpu/array/pointwise_kernels.h"
#include "cpu/runtime/backend.h"
#include "cpu/runtime/threads.h"
#include "weft/error.h"

namespace weft::cpu {

WEFT_SIMD_DEFINE(ElementwiseKernels, elementwise_kernels)

namespace {

TileLoop pick(const TileLoop (&row)[kDTypes], DType dtype, const char* op) {
  const TileLoop loop = row[static_cast<int>(dtype)];
  if (loop == nullptr) throw DTypeError(std::string(op) + ": no kernel for dtype " + std::string(name(dtype)));
  return loop;
}

template <class T>
void arange_blocks(const View& out, T start, T step) {
  constexpr std::int64_t kBlock = 1024;
  using U = std::conditional_t<std::is_integral_v<T>, std::uint64_t, T>;  // integers wrap
  const TileLoop convert = gather_kernels().convert[static_cast<int>(dtype_of<T>)][static_cast<int>(out.dtype)];
  const std::int64_t stride = out.strides[0];
  const auto bytes = static_cast<std::int64_t>(size_of(out.dtype));
  parallel_blocks(out.size(), Nest::kGrain, [&](std::int64_t begin, std::int64_t end) {
    T block[kBlock];
    for (; begin < end; begin += kBlock) {
      Tile tile;
      tile.n = std::min(kBlock, end - begin);
      for (std::int64_t i = 0; i < tile.n; ++i) {
        block[i] = static_cast<T>(static_cast<U>(start) + static_cast<U>(begin + i) * static_cast<U>(step));
      }
      tile.data[0] = out.as<char>() + begin * stride * bytes;
      tile.data[1] = block;
      tile.stride[0] = stride;
      tile.stride[1] = 1;
      convert(tile);
    }
  });
}

}  // namespace

void CpuBackend::arange(const View& out, Scalar start, Scalar step) {
  const DenormalMode keeps(false);
  if (start.is_floating_point() || step.is_floating_point() || is_floating_point(out.dtype)) {
    arange_blocks(out, start.as_double(), step.as_double());
  } else {
    arange_blocks(out, start.as_int(), step.as_int());
  }
}

void CpuBackend::unary(UnaryOp op, const ConstView& x, const View& out) {
  const DenormalMode mode;
  const auto i = static_cast<int>(op);
  Nest(out.shape, {out, x}).for_tiles_in_parallel(pick(elementwise_kernels().unary[i], x.dtype, name(op)));
}

void CpuBackend::binary(BinaryOp op, const ConstView& a, const ConstView& b, const View& out) {
  const DenormalMode mode;
  const auto i = static_cast<int>(op);
  Nest(out.shape, {out, a, b}).for_tiles_in_parallel(pick(elementwise_kernels().binary[i], a.dtype, name(op)));
}

void CpuBackend::where(const ConstView& condition, const ConstView& a, const ConstView& b, const View& out) {
  const DenormalMode mode;
  Nest(out.shape, {out, condition, a, b})
      .for_tiles_in_parallel(elementwise_kernels().where[std::countr_zero(size_of(out.dtype))]);
}

/// Adds in parallel along axes whose positions in out cannot meet, otherwise in order.
void CpuBackend::accumulate(const ConstView& in, const View& out) {
  const DenormalMode mode;
  const TileLoop add = pick(elementwise_kernels().binary[static_cast<int>(BinaryOp::add)], out.dtype, "accumulate");
  if (out.size() == 0) return;
  OverlapSplit split = split_overlap(in, out);
  if (split.meeting.empty()) {
    split.meeting.push_back(1);
    split.meeting_out.push_back(0);
    split.meeting_in.push_back(0);
  }
  const View out_apart{out.data, split.apart, split.apart_out, out.dtype};
  const ConstView in_apart{in.data, split.apart, split.apart_in, in.dtype};
  const Nest nest(split.apart, {out_apart, out_apart, in_apart});
  const int last = split.meeting.rank() - 1;  // becomes the rows of a tile
  std::int64_t outer = 1;
  for (int k = 0; k < last; ++k) outer *= split.meeting[k];
  const auto bytes = static_cast<std::int64_t>(size_of(out.dtype));
  const std::int64_t grain =
      std::max(Nest::kGrain / (outer * split.meeting[last]), std::min<std::int64_t>(nest.axis(0).size, 512));
  parallel_blocks(nest.size(), grain, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t index[kMaxRank] = {};
    for (std::int64_t step = 0; step < outer; ++step) {
      std::int64_t out_offset = 0, in_offset = 0;
      for (int k = 0; k < last; ++k) {
        out_offset += index[k] * split.meeting_out[k];
        in_offset += index[k] * split.meeting_in[k];
      }
      nest.for_tiles(begin, end, [&](const Tile& block) {
        Tile tile = block;
        tile.rows = split.meeting[last];
        for (std::int64_t row = 0; row < block.rows; ++row) {
          for (int o = 0; o < 3; ++o) {
            tile.data[o] = static_cast<char*>(block.data[o]) +
                           (row * block.row_stride[o] + (o == 2 ? in_offset : out_offset)) * bytes;
            tile.row_stride[o] = (o == 2 ? split.meeting_in : split.meeting_out)[last];
          }
          add(tile);
        }
      });
      for (int k = last - 1; k >= 0 && ++index[k] == split.meeting[k]; --k) index[k] = 0;
    }
  });
}

}  // namespace weft::cpu
