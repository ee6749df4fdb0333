#include <string>

#include "cpu/matmul/gemm.h"
#include "cpu/runtime/backend.h"
#include "cpu/runtime/simd.h"
#include "cpu/runtime/threads.h"
#include "weft/error.h"

namespace weft::cpu {

namespace {

// One operand of gemm: a dense matrix, or the transpose of one.
template <class T>
struct Matrix {
  const T* data;
  bool transposed;
  std::int64_t leading;
};

// Matrix `index` of a batch, copied into `slot` unless gemm can read it in place.
template <class T>
Matrix<T> matrix(const ConstView& batch, std::int64_t index, ScratchSlot slot) {
  const T* data = batch.as<T>() + index * batch.strides[0];
  const std::int64_t rows = batch.shape[1];
  const std::int64_t columns = batch.shape[2];
  const std::int64_t down = batch.strides[1];
  const std::int64_t across = batch.strides[2];
  const auto dense = [](std::int64_t outer, std::int64_t outer_size, std::int64_t inner, std::int64_t inner_size) {
    return (inner == 1 || inner_size == 1) && (outer >= inner_size || outer_size == 1);
  };
  if (dense(down, rows, across, columns)) return {data, false, rows == 1 ? columns : down};
  if (dense(across, columns, down, rows)) return {data, true, columns == 1 ? rows : across};
  T* copied = static_cast<T*>(scratch(slot, static_cast<std::size_t>(rows * columns) * sizeof(T)));
  backend().copy({data, {rows, columns}, {down, across}, batch.dtype},
                 {copied, {rows, columns}, {columns, 1}, batch.dtype});
  return {copied, false, columns};
}

template <class T>
void multiply_batch(const ConstView& a, const ConstView& b, const View& out) {
  const std::int64_t m = a.shape[1];
  const std::int64_t k = a.shape[2];
  const std::int64_t n = b.shape[2];
  if (m == 0 || n == 0) return;
  const auto multiply = [&](std::int64_t i) {
    const Matrix<T> left = matrix<T>(a, i, ScratchSlot::task);
    const Matrix<T> right = matrix<T>(b, i, ScratchSlot::extra);
    gemm<T>({.trans_a = left.transposed,
             .trans_b = right.transposed,
             .m = m,
             .n = n,
             .k = k,
             .a = left.data,
             .lda = left.leading,
             .b = right.data,
             .ldb = right.leading,
             .c = out.as<T>() + i * m * n,
             .ldc = n});
  };
  const std::int64_t batch = out.shape[0];
  if (batch < thread_count()) {
    for (std::int64_t i = 0; i < batch; ++i) multiply(i);
  } else {
    parallel_for(batch, multiply);  // each alone in its thread, but cut as it would be in all: the same bits
  }
}

}  // namespace

void CpuBackend::matmul(const ConstView& a, const ConstView& b, Precision, const View& out) {
  const DenormalMode mode;
  switch (out.dtype) {
    case DType::f32:
      return multiply_batch<float>(a, b, out);
    case DType::f64:
      return multiply_batch<double>(a, b, out);
    case DType::i32:
      return multiply_batch<std::int32_t>(a, b, out);
    case DType::i64:
      return multiply_batch<std::int64_t>(a, b, out);
    case DType::u8:
      return multiply_batch<std::uint8_t>(a, b, out);
    default:
      throw DTypeError("matmul: " + std::string(name(out.dtype)) + " is not supported");
  }
}

/// Names the library of matrix products, therefore it stands here.
std::string CpuBackend::description() const {
  return std::to_string(thread_count()) + " threads, " + cpu::name(isa()) + " kernels, f32 matrix products by " +
         (gemm_uses_onednn() ? "oneDNN" : "weft");
}

}  // namespace weft::cpu
