#include <algorithm>
#include <bit>

#include "core/device/integer.h"
#include "cpu/array/gather_kernels.h"
#include "cpu/array/nest.h"
#include "cpu/runtime/backend.h"
#include "cpu/runtime/threads.h"

namespace weft::cpu {

WEFT_SIMD_DEFINE(GatherKernels, gather_kernels)

namespace {

static_assert(static_cast<int>(DType::boolean) == 0 && static_cast<int>(DType::f16) == 4 &&
                  static_cast<int>(DType::f64) == kDTypes - 1,
              "the tables' columns are in the order of DType");

/// The axis along which `in` is dense, where `out` is dense along another one; else 0.
int transposed_axis(const Nest& nest) {
  if (nest.axis(0).stride[0] != 1 || nest.axis(0).stride[1] == 1) return 0;
  for (int k = 1; k < nest.rank(); ++k) {
    if (nest.axis(k).stride[1] == 1 && nest.axis(k).size > 1) return k;
  }
  return 0;
}

/// Axis 0 with axis `dense` in blocks that stay in the cache, the other axes outside them.
void transpose(const Nest& nest, int dense, TileLoop loop) {
  constexpr std::int64_t kBlock = 64;  // elements along both axes: 16 KB of f32 stay in the first-level cache
  const Nest::Axis& column = nest.axis(0);
  const Nest::Axis& row = nest.axis(dense);
  const std::int64_t width = std::min(column.size, std::max(kBlock, Nest::kGrain / 2 / row.size));
  const std::int64_t height = std::min(row.size, std::max(kBlock, Nest::kGrain / 2 / width));
  const std::int64_t columns = ceil_div(column.size, width);
  const std::int64_t rows = ceil_div(row.size, height);
  const std::int64_t tasks = nest.size() / (column.size * row.size) * rows * columns;

  parallel_blocks(tasks, std::max<std::int64_t>(1, Nest::kGrain / (width * height)),
                  [&](std::int64_t begin, std::int64_t end) {
                    Tile tile;
                    std::copy_n(column.stride, Tile::kOperands, tile.stride);
                    std::copy_n(row.stride, Tile::kOperands, tile.row_stride);
                    for (std::int64_t task = begin; task < end; ++task) {
                      std::int64_t index[kMaxRank] = {};
                      std::int64_t rest = task;
                      index[0] = rest % columns * width;
                      rest /= columns;
                      index[dense] = rest % rows * height;
                      rest /= rows;
                      for (int k = 1; k < nest.rank(); ++k) {
                        if (k == dense) continue;
                        index[k] = rest % nest.axis(k).size;
                        rest /= nest.axis(k).size;
                      }
                      tile.n = std::min(width, column.size - index[0]);
                      tile.rows = std::min(height, row.size - index[dense]);
                      for (int o = 0; o < 2; ++o) tile.data[o] = nest.address(o, index);
                      loop(tile);
                    }
                  });
}

}  // namespace

/// To bool is "is not zero"; floats become integers by truncation, saturating at the ends with NaN as 0; integers wrap.
void CpuBackend::copy(const ConstView& in, const View& out) {
  const DenormalMode keeps(false);
  const GatherKernels& kernels = gather_kernels();
  const Nest nest(out.shape, {out, in});
  if (in.dtype != out.dtype) {
    nest.for_tiles_in_parallel(kernels.convert[static_cast<int>(in.dtype)][static_cast<int>(out.dtype)]);
    return;
  }
  const int width = std::countr_zero(size_of(out.dtype));
  if (const int dense = transposed_axis(nest); dense != 0) {
    transpose(nest, dense, kernels.transpose[width]);
  } else {
    nest.for_tiles_in_parallel(kernels.copy[width]);
  }
}

void CpuBackend::fill(const View& out, Scalar value) {
  const double floating = value.as_double();
  const std::int64_t integer = value.is_floating_point() ? 0 : value.as_int();
  ConstView scalar;
  scalar.data = value.is_floating_point() ? static_cast<const void*>(&floating) : &integer;
  scalar.dtype = value.is_floating_point() ? DType::f64 : DType::i64;
  std::uint64_t element = 0;
  View converted;
  converted.data = &element;
  converted.dtype = out.dtype;
  copy(scalar, converted);
  copy({&element, out.shape, Strides::filled(out.rank(), 0), out.dtype}, out);
}

}  // namespace weft::cpu
