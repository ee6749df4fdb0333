#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "core/device/integer.h"
#include "cpu/array/nest.h"
#include "cpu/array/reduce_kernels.h"
#include "cpu/runtime/backend.h"
#include "weft/error.h"

namespace weft::cpu {

WEFT_SIMD_DEFINE(ReduceKernels, reduce_kernels)

namespace {

struct Axis {
  std::int64_t size = 1;
  std::int64_t x = 0;    // strides in elements
  std::int64_t out = 0;  // not used on a reduced axis
};

class AxisList {
 public:
  void push(const Axis& axis) { axes_[count_++] = axis; }
  void drop_first() { std::copy(axes_ + 1, axes_ + count_--, axes_); }
  Axis* begin() { return axes_; }
  Axis* end() { return axes_ + count_; }
  const Axis* begin() const { return axes_; }
  const Axis* end() const { return axes_ + count_; }
  int count() const { return count_; }

 private:
  Axis axes_[kMaxRank];
  int count_ = 0;
};

/// Whether the inner loop runs along a kept axis: one is denser in x than the reduced axis, or that is short.
bool by_columns(const AxisList& kept, std::int64_t size, std::int64_t stride) {
  constexpr std::int64_t kShort = 16;
  for (const Axis& axis : kept) {
    if (axis.size >= kShort && size < kShort) return true;
    if (axis.x != 0 && std::abs(axis.x) < std::abs(stride)) return true;
  }
  return false;
}

/// out = op of x along one reduced axis, whose size and x-stride are given, for each index of the kept axes. `columns`
/// as from by_columns.
void reduce_axis(const ReduceLoops& loops, bool columns, const void* x, DType x_dtype, void* out, DType out_dtype,
                 const AxisList& kept, std::int64_t size, std::int64_t stride) {
  ConstView from{x, {}, {}, x_dtype}, to{out, {}, {}, out_dtype};
  for (const Axis& axis : kept) {
    from.shape.push_back(axis.size);
    from.strides.push_back(axis.x);
    to.strides.push_back(axis.out);
  }
  const Nest nest(from.shape, {from, to});
  const std::int64_t block = Nest::kGrain / size;
  const std::int64_t grain = columns ? std::max<std::int64_t>(64, block / 64 * 64) : std::max<std::int64_t>(1, block);
  const auto x_bytes = static_cast<std::int64_t>(size_of(x_dtype));
  const auto out_bytes = static_cast<std::int64_t>(size_of(out_dtype));
  nest.for_tiles_in_parallel(
      [&](const Tile& outputs) {
        Tile tile;
        tile.rows = columns ? size : outputs.n;
        tile.n = columns ? outputs.n : size;
        (columns ? tile.stride : tile.row_stride)[0] = outputs.stride[1];
        (columns ? tile.stride : tile.row_stride)[1] = outputs.stride[0];
        (columns ? tile.row_stride : tile.stride)[1] = stride;
        for (std::int64_t row = 0; row < outputs.rows; ++row) {
          tile.data[0] = static_cast<char*>(outputs.data[1]) + row * outputs.row_stride[1] * out_bytes;
          tile.data[1] = static_cast<char*>(outputs.data[0]) + row * outputs.row_stride[0] * x_bytes;
          (columns ? loops.columns : loops.rows)(tile);
        }
      },
      grain);
}

TileLoop pick(const TileLoop (&row)[kDTypes], DType dtype) {
  const TileLoop loop = row[static_cast<int>(dtype)];
  if (loop == nullptr) throw DTypeError("reduce: no kernel for dtype " + std::string(name(dtype)));
  return loop;
}

/// Sorted by stride, those that lie densely inside one another merged. Strides are positive.
AxisList merged(AxisList axes) {
  std::stable_sort(axes.begin(), axes.end(), [](const Axis& a, const Axis& b) { return a.x < b.x; });
  AxisList result;
  for (const Axis& axis : axes) {
    if (result.count() > 0) {
      Axis& last = result.end()[-1];
      if (axis.x == last.x * last.size) {
        last.size *= axis.size;
        continue;
      }
    }
    result.push(axis);
  }
  return result;
}

/// Gives the axes dense strides of `out` in the order of their strides of x; returns the number of elements.
std::int64_t make_dense(AxisList& axes) {
  Axis* order[kMaxRank];
  int count = 0;
  for (Axis& axis : axes) order[count++] = &axis;
  std::stable_sort(order, order + count, [](const Axis* a, const Axis* b) { return std::abs(a->x) < std::abs(b->x); });
  std::int64_t size = 1;
  for (int i = 0; i < count; ++i) order[i]->out = std::exchange(size, size * order[i]->size);
  return size;
}

/// Lists the axes of x that out keeps and those that it reduces, the latter with positive strides. Returns the address
/// where they begin.
const char* list_axes(const ConstView& x, const View& out, AxisList& kept, AxisList& reduced) {
  const char* data = x.as<char>();
  for (int a = 0; a < x.rank(); ++a) {
    if (x.shape[a] == 1) continue;
    if (out.shape[a] != 1) {
      kept.push({x.shape[a], x.strides[a], out.strides[a]});
      continue;
    }
    if (x.strides[a] < 0) data += (x.shape[a] - 1) * x.strides[a] * static_cast<std::int64_t>(size_of(x.dtype));
    reduced.push({x.shape[a], std::abs(x.strides[a]), 0});
  }
  return data;
}

/// How an axis is reduced: along rows or columns of the kept axes, in `count` splits of up to `size` elements.
struct AxisSplits {
  bool columns;
  std::int64_t size, count;
};

AxisSplits splits_of(const AxisList& kept, const Axis& axis) {
  const bool columns = by_columns(kept, axis.size, axis.x);
  const std::int64_t size = columns ? 256 : 16384;
  return {columns, size, std::max<std::int64_t>(1, ceil_div(axis.size, size))};
}

/// Reduces the first of the axes `reduced` in splits. Returns the partial results, dense in the order of x's axes with
/// the splits outermost, and makes `kept` and `reduced` the axes of these.
std::unique_ptr<char[]> reduce_first_axis(const ReduceLoops& loops, const char* data, DType dtype, DType partial_dtype,
                                          AxisList& kept, AxisList& reduced) {
  const Axis axis = *reduced.begin();
  const AxisSplits splits = splits_of(kept, axis);
  const std::size_t partial_bytes = size_of(partial_dtype);
  reduced.drop_first();
  AxisList rest = reduced;
  for (const Axis& k : kept) rest.push(k);
  const std::int64_t dense = make_dense(rest);
  auto partial = std::make_unique_for_overwrite<char[]>(static_cast<std::size_t>(dense * splits.count) * partial_bytes);

  const std::int64_t whole = axis.size / splits.size, left = axis.size % splits.size;
  AxisList all = rest;
  if (whole > 1) all.push({whole, splits.size * axis.x, dense});
  if (whole > 0) {
    reduce_axis(loops, splits.columns, data, dtype, partial.get(), partial_dtype, all, splits.size, axis.x);
  }
  if (left > 0) {
    reduce_axis(loops, splits.columns, data + whole * splits.size * axis.x * static_cast<std::int64_t>(size_of(dtype)),
                dtype, partial.get() + static_cast<std::size_t>(whole * dense) * partial_bytes, partial_dtype, rest,
                left, axis.x);
  }
  const Axis* walked = rest.begin();
  for (Axis& r : reduced) r.x = walked++->out;
  for (Axis& k : kept) k.x = walked++->out;
  if (splits.count > 1) reduced.push({splits.count, dense, 0});
  return partial;
}

}  // namespace

/// Reduces one axis at a time, the densest first, in chunks whose partial results are reduced again: the tree depends
/// on the layout of x alone. Integer sums wrap.
void CpuBackend::reduce(ReduceOp op, const ConstView& x, const View& out) {
  const DenormalMode mode;
  const ReduceKernels& kernels = reduce_kernels();
  const auto o = static_cast<int>(op);
  ReduceLoops loops{pick(kernels.rows[o], x.dtype), pick(kernels.columns[o], x.dtype)};
  if (out.size() == 0) return;
  if (x.size() == 0) return fill(out, 0);
  AxisList kept, reduced;
  const char* data = list_axes(x, out, kept, reduced);
  if (reduced.count() == 0) return copy(x, out);

  // Partial sums of f32 are f64.
  const bool widens = op == ReduceOp::sum && x.dtype == DType::f32;
  ReduceLoops partial_loops = widens ? kernels.first_sums : loops;
  const DType partial_dtype = widens ? DType::f64 : x.dtype;
  DType dtype = x.dtype;
  std::unique_ptr<char[]> partial;
  for (;;) {
    reduced = merged(reduced);
    const Axis axis = *reduced.begin();
    if (const AxisSplits splits = splits_of(kept, axis); splits.count == 1 && reduced.count() == 1) {
      return reduce_axis(loops, splits.columns, data, dtype, out.data, out.dtype, kept, axis.size, axis.x);
    }
    partial = reduce_first_axis(partial_loops, data, dtype, partial_dtype, kept, reduced);
    data = partial.get();
    if (widens) {
      constexpr auto kF64 = static_cast<int>(DType::f64);
      partial_loops = {kernels.rows[o][kF64], kernels.columns[o][kF64]};
      loops = kernels.last_sums;
      dtype = DType::f64;
    }
  }
}

void CpuBackend::arg_reduce(ArgReduceOp op, const ConstView& x, int axis, const View& out) {
  const DenormalMode mode;
  const ReduceKernels& kernels = reduce_kernels();
  const auto o = static_cast<int>(op);
  const ReduceLoops loops{pick(kernels.arg_rows[o], x.dtype), pick(kernels.arg_columns[o], x.dtype)};
  if (out.size() == 0) return;
  AxisList kept;
  for (int a = 0; a < x.rank(); ++a) {
    if (a != axis && x.shape[a] != 1) kept.push({x.shape[a], x.strides[a], out.strides[a]});
  }
  const bool columns = by_columns(kept, x.shape[axis], x.strides[axis]);
  reduce_axis(loops, columns, x.data, x.dtype, out.data, out.dtype, kept, x.shape[axis], x.strides[axis]);
}

}  // namespace weft::cpu
