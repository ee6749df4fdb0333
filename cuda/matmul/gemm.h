#pragma once

#include <cstdint>

#include "cuda/runtime/backend.h"

namespace weft::cuda {

/// A batch of matrices of any strides, in elements.
struct Matrices {
  const void* data = nullptr;
  std::int64_t row = 0, column = 0, batch = 0;
};

/// out (m, n), row-major with rows `out_row` apart, = a (m, k) times b (k, n) + (accumulate ? out : 0) + bias (n,)
/// unless null; `batch` of them. a and b are f32, f64 or bf16 (`in`), out and bias are `in`, or f32 for bf16. Sums of
/// bf16 are f32; products of f32 are computed in `precision`, fp32 or tf32.
struct Gemm {
  DType in = DType::f32, out_type = DType::f32;
  Precision precision = Precision::fp32;
  std::int64_t m = 0, n = 0, k = 0, batch = 1;
  Matrices a, b;
  void* out = nullptr;
  std::int64_t out_row = 0, out_batch = 0;
  bool accumulate = false;
  const void* bias = nullptr;
};
void gemm(CudaBackend& device, const Gemm& gemm);

}  // namespace weft::cuda
