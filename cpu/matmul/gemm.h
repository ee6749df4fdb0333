#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/runtime/simd.h"

namespace weft::cpu {

/// The product C = op(A)·op(B), or C += with `accumulate`; otherwise C is never read. op(A) is (m, k), op(B) (k, n), C
/// (m, n), all row-major with the leading dimensions (elements per stored row) lda, ldb, ldc; op transposes the stored
/// matrix. k = 0 is a product of zeros. C overlaps neither A nor B. T: float, double, int32_t, int64_t, uint8_t;
/// integers wrap.
template <class T>
struct GemmArgs {
  bool trans_a = false, trans_b = false;
  std::int64_t m = 0, n = 0, k = 0;
  const T* a = nullptr;
  std::int64_t lda = 0;
  const T* b = nullptr;
  std::int64_t ldb = 0;
  bool accumulate = false;
  T* c = nullptr;
  std::int64_t ldc = 0;
};

/// Runs on all threads; small products stay in the caller. The bits depend on shape, instruction set and transposes,
/// never on the number of threads. The own kernel's float sums err by less than 5e-6 of their terms' magnitudes at any
/// k.
template <class T>
void gemm(const GemmArgs<T>& product);

/// The same in the calling thread alone, uncut: a tile of gemm.
template <class T>
void gemm_tile(const GemmArgs<T>& product);

/// True if float products go to oneDNN.
bool gemm_uses_onednn() noexcept;

/// For tests and benchmarks: float products use weft's own kernel even where oneDNN is built in. Process-wide.
void use_own_gemm(bool own) noexcept;

/// The own kernel, single-threaded, for one instruction set. Signed integers use the unsigned functions, which wrap.
/// `workspace` is 64-byte aligned and has workspace_bytes.
struct GemmKernels {
  void (*f32)(const GemmArgs<float>& args, void* workspace);
  void (*f64)(const GemmArgs<double>& args, void* workspace);
  void (*u32)(const GemmArgs<std::uint32_t>& args, void* workspace);
  void (*u64)(const GemmArgs<std::uint64_t>& args, void* workspace);
  void (*u8)(const GemmArgs<std::uint8_t>& args, void* workspace);
  std::size_t workspace_bytes;
};

WEFT_SIMD_DECLARE(GemmKernels, gemm_kernels)

}  // namespace weft::cpu
