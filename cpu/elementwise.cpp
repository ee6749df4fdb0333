#include "cpu/elementwise.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <numeric>
#include <string>

#include "cpu/elementwise_kernels.h"
#include "cpu/gather_kernels.h"
#include "cpu/nest.h"
#include "cpu/threads.h"
#include "weft/error.h"

namespace weft::cpu {

WEFT_SIMD_DEFINE(ElementwiseKernels, elementwise_kernels)

namespace {

TileLoop pick(const TileLoop (&row)[kDTypes], DType dtype, const char* op) {
  const TileLoop loop = row[static_cast<int>(dtype)];
  if (loop == nullptr) throw DTypeError(std::string(op) + ": no kernel for dtype " + std::string(name(dtype)));
  return loop;
}

#define WEFT_NAME(OP) #OP,
constexpr const char* kUnaryNames[] = {WEFT_UNARY_NUMERIC(WEFT_NAME) WEFT_UNARY_FLOAT(WEFT_NAME)
                                           WEFT_UNARY_PREDICATE(WEFT_NAME)};
constexpr const char* kBinaryNames[] = {WEFT_BINARY_NUMERIC(WEFT_NAME) WEFT_BINARY_FLOAT(WEFT_NAME)
                                            WEFT_BINARY_PREDICATE(WEFT_NAME)};
#undef WEFT_NAME

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

struct Walk {
  std::int64_t size = 1, out = 0, in = 0;  // strides in elements
};

/// Whether no two indices of axis `a` reach one position of out, whatever the indices of the other axes: its steps are
/// longer than all of theirs together, or all of its steps together shorter than the spacing of theirs.
bool apart(const Walk* axes, int count, int a) {
  std::int64_t extent = 0, spacing = 0;
  for (int k = 0; k < count; ++k) {
    if (k == a) continue;
    extent += (axes[k].size - 1) * std::abs(axes[k].out);
    spacing = std::gcd(spacing, axes[k].out);
  }
  const std::int64_t step = std::abs(axes[a].out);
  return step > extent || (step != 0 && (axes[a].size - 1) * step < spacing);
}

}  // namespace

void arange(const View& out, Scalar start, Scalar step) {
  if (start.is_floating_point() || step.is_floating_point() || is_floating_point(out.dtype)) {
    arange_blocks(out, start.as_double(), step.as_double());
  } else {
    arange_blocks(out, start.as_int(), step.as_int());
  }
}

void unary(UnaryOp op, const ConstView& x, const View& out) {
  const auto i = static_cast<int>(op);
  Nest(out.shape, {out, x}).run_parallel(pick(elementwise_kernels().unary[i], x.dtype, kUnaryNames[i]));
}

void binary(BinaryOp op, const ConstView& a, const ConstView& b, const View& out) {
  const auto i = static_cast<int>(op);
  Nest(out.shape, {out, a, b}).run_parallel(pick(elementwise_kernels().binary[i], a.dtype, kBinaryNames[i]));
}

void where(const ConstView& condition, const ConstView& a, const ConstView& b, const View& out) {
  Nest(out.shape, {out, condition, a, b})
      .run_parallel(elementwise_kernels().where[std::countr_zero(size_of(out.dtype))]);
}

void accumulate(const ConstView& in, const View& out) {
  const TileLoop add = pick(elementwise_kernels().binary[static_cast<int>(BinaryOp::add)], out.dtype, "accumulate");
  if (out.size() == 0) return;
  Walk axes[kMaxRank + 1];  // those that may meet, in row-major order
  int count = 0;
  for (int a = 0; a < out.rank(); ++a) {
    if (out.shape[a] > 1) axes[count++] = {out.shape[a], out.strides[a], in.strides[a]};
  }
  View out_apart{out.data, {}, {}, out.dtype};
  ConstView in_apart{in.data, {}, {}, in.dtype};
  for (int a = 0; a < count;) {
    if (!apart(axes, count, a)) {
      ++a;
      continue;
    }
    out_apart.shape.push_back(axes[a].size);
    out_apart.strides.push_back(axes[a].out);
    in_apart.strides.push_back(axes[a].in);
    std::copy(axes + a + 1, axes + count, axes + a);
    --count;
    a = 0;
  }
  if (count == 0) axes[count++] = Walk();

  const Nest nest(out_apart.shape, {out_apart, out_apart, in_apart});
  const Walk last = axes[count - 1];  // becomes the rows of a tile
  std::int64_t outer = 1;
  for (int k = 0; k + 1 < count; ++k) outer *= axes[k].size;
  const auto bytes = static_cast<std::int64_t>(size_of(out.dtype));
  const std::int64_t grain =
      std::max(Nest::kGrain / (outer * last.size), std::min<std::int64_t>(nest.axis(0).size, 512));
  parallel_blocks(nest.size(), grain, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t index[kMaxRank + 1] = {};
    for (std::int64_t step = 0; step < outer; ++step) {
      std::int64_t out_offset = 0, in_offset = 0;
      for (int k = 0; k + 1 < count; ++k) {
        out_offset += index[k] * axes[k].out;
        in_offset += index[k] * axes[k].in;
      }
      nest.run(begin, end, [&](const Tile& block) {
        Tile tile = block;
        tile.rows = last.size;
        for (std::int64_t row = 0; row < block.rows; ++row) {
          for (int o = 0; o < 3; ++o) {
            tile.data[o] = static_cast<char*>(block.data[o]) +
                           (row * block.row_stride[o] + (o == 2 ? in_offset : out_offset)) * bytes;
            tile.row_stride[o] = o == 2 ? last.in : last.out;
          }
          add(tile);
        }
      });
      for (int k = count - 2; k >= 0 && ++index[k] == axes[k].size; --k) index[k] = 0;
    }
  });
}

}  // namespace weft::cpu
