#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "cuda/runtime/runtime.h"

// Matrix products in BLAS's own terms: cublaslt.cpp calls cuBLASLt, tests/cuda_on_cpu computes the definition after
// checking every rule that cuBLASLt has.

namespace weft::cuda::blas {

enum class Type : std::uint8_t { f32, f64, bf16 };
enum class Compute : std::uint8_t {
  f32,   ///< f32 or bf16 data, f32 arithmetic and accumulation
  tf32,  ///< f32 data rounded to TF32 for the products, f32 accumulation
  f64,   ///< f64 data
};

/// D = alpha·op(A)·op(B) + beta·D, plus bias (m,) on every column unless it is null. All matrices are column-major:
/// op(A) is m x k, op(B) k x n, D m x n; A is (m x k, ld_a >= m) or, transposed, (k x m, ld_a >= k). `batch` products
/// lie batch_stride_* elements apart; f64 takes no bias. A and B have type `in`, D and bias type `out` (equal to `in`,
/// or f32 where `in` is bf16).
struct Product {
  Type in = Type::f32, out = Type::f32;
  Compute compute = Compute::f32;
  bool transpose_a = false, transpose_b = false;
  std::int64_t m = 0, n = 0, k = 0, batch = 1;  ///< all positive
  const void *a = nullptr, *b = nullptr;
  void* d = nullptr;
  std::int64_t ld_a = 0, ld_b = 0, ld_d = 0;
  std::int64_t batch_stride_a = 0, batch_stride_b = 0, batch_stride_d = 0;
  double alpha = 1, beta = 0;
  const void* bias = nullptr;
};

/// The library and its version, for people, or why it cannot be opened; opens it.
std::string description();

/// A handle of one device with its cache of descriptors and chosen algorithms. Used by one thread at a time.
class Handle;
Handle* create_handle();
void destroy_handle(Handle* handle) noexcept;

/// Enqueues the product. Same arguments, same bits: no algorithm that adds in an undetermined order is chosen.
/// `workspace` belongs to the call until the stream has passed it. Throws DeviceError naming the cuBLASLt call, or the
/// files looked for where cuBLASLt cannot be opened. In a capture too: descriptors and the choice of an algorithm have
/// no stream, and an algorithm that is refused has enqueued nothing.
void multiply(Handle* handle, const Product& product, void* workspace, std::size_t workspace_bytes,
              runtime::Stream stream);

}  // namespace weft::cuda::blas
