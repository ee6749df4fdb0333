#include "core/device/scalar_ops.h"
#include "cuda/array/element.h"
#include "cuda/array/walk.h"
#include "cuda/matmul/gemm.h"
#include "cuda/runtime/backend.h"

namespace weft::cuda {

namespace {

constexpr int kTile = 16;  // a side of a tile, whose 256 elements have a thread each

/// Strides of one operand of the integer product.
struct Steps {
  std::int64_t batch, row, column;
};

/// Tile number blockIdx.x of out (batch, m, n), row by row; thread (row, column) of the tile makes one element.
template <class T>
WEFT_KERNEL_OF(kTile* kTile)
matmul_kernel(std::int64_t m, std::int64_t n, std::int64_t k, const T* a, Steps a_steps, const T* b, Steps b_steps,
              T* out) {
  WEFT_SHARED(T, left, kTile * kTile);
  WEFT_SHARED(T, right, kTile * kTile);
  const std::int64_t across = (n + kTile - 1) / kTile, down = (m + kTile - 1) / kTile;
  const std::int64_t tile = blockIdx.x % (across * down), batch = blockIdx.x / (across * down);
  const int y = static_cast<int>(threadIdx.x) / kTile, x = static_cast<int>(threadIdx.x) % kTile;
  const std::int64_t row = tile / across * kTile + y, column = tile % across * kTile + x;
  a += batch * a_steps.batch;
  b += batch * b_steps.batch;
  T sum = 0;
  for (std::int64_t first = 0; first < k; first += kTile) {
    left[threadIdx.x] = row < m && first + x < k ? a[row * a_steps.row + (first + x) * a_steps.column] : T(0);
    right[threadIdx.x] = first + y < k && column < n ? b[(first + y) * b_steps.row + column * b_steps.column] : T(0);
    WEFT_BARRIER();
    for (int i = 0; i < kTile; ++i) {
      sum = scalar::add()(sum, scalar::multiply()(left[y * kTile + i], right[i * kTile + x]));
    }
    WEFT_BARRIER();
  }
  if (row < m && column < n) out[(batch * m + row) * n + column] = sum;
}

template <class T>
void integers(Context& context, const ConstView& a, const ConstView& b, const View& out) {
  const std::int64_t m = out.shape[1], n = out.shape[2];
  const std::int64_t tiles = blocks_for(m, kTile) * blocks_for(n, kTile) * out.shape[0];
  launch({"matmul", tiles, kTile * kTile, context.stream}, matmul_kernel<T>, m, n, a.shape[2], a.as<T>(),
         Steps{a.strides[0], a.strides[1], a.strides[2]}, b.as<T>(), Steps{b.strides[0], b.strides[1], b.strides[2]},
         out.as<T>());
}

}  // namespace

/// Floating dtypes by cuBLASLt, integers by a tiled kernel.
void CudaBackend::matmul(const ConstView& a, const ConstView& b, Precision precision, const View& out) {
  switch (out.dtype) {
    case DType::i32:
      return integers<std::int32_t>(context_, a, b, out);
    case DType::i64:
      return integers<std::int64_t>(context_, a, b, out);
    case DType::u8:
      return integers<std::uint8_t>(context_, a, b, out);
    default:
      break;
  }
  const auto matrices = [](const ConstView& x) { return Matrices{x.data, x.strides[1], x.strides[2], x.strides[0]}; };
  Gemm g;
  g.precision = precision;
  g.in = g.out_type = out.dtype;
  g.batch = out.shape[0];
  g.m = out.shape[1];
  g.n = out.shape[2];
  g.k = a.shape[2];
  g.a = matrices(a);
  g.b = matrices(b);
  g.out = out.data;
  g.out_row = g.n;
  g.out_batch = g.m * g.n;
  gemm(*this, g);
}

}  // namespace weft::cuda
