#pragma once

// What a kernel is written with, so that the same .cu file compiles with nvcc for a GPU and with g++ for
// tests/cuda_on_cpu, which runs its threads on the CPU. A kernel is
//
//   template <class T>
//   WEFT_KERNEL scale_kernel(const T* x, T* y, std::int64_t n) { ... threadIdx.x, blockIdx.x, blockDim.x, gridDim.x ...
//   }
//
// and is started by launch({"scale", blocks, threads, stream}, scale_kernel<T>, x, y, n). Grids and blocks have one
// dimension. Parameters are plain values of at most 4,096 bytes in all. Every thread of a block reaches every barrier;
// every lane of a warp reaches every shuffle, load_matrices and multiply_add (blocks with such are whole warps). Blocks
// see of each other only what last_block says.

#include <cstdint>
#include <utility>

#include "core/device/unroll.h"
#include "cuda/runtime/profile.h"
#include "cuda/runtime/runtime.h"

namespace weft::cuda {

struct LaunchShape {
  const char* name;     ///< of the kernel, for errors and profiles
  std::int64_t blocks;  ///< 0: nothing is launched
  int threads;          ///< per block, at most 1,024
  runtime::Stream stream;
};

inline constexpr int kWarp = 32;

}  // namespace weft::cuda

#if defined(__CUDACC__)

#define WEFT_KERNEL __global__ void
#define WEFT_KERNEL_OF(THREADS) __global__ void __launch_bounds__(THREADS)
// Promises BLOCKS resident blocks per multiprocessor and no more: a thread may use the registers that these leave.
#define WEFT_KERNEL_OF_BLOCKS(THREADS, BLOCKS) __global__ void __launch_bounds__(THREADS, BLOCKS)
#define WEFT_DEVICE __device__ __forceinline__
#define WEFT_HOST_DEVICE __host__ __device__ __forceinline__
#define WEFT_SHARED(TYPE, NAME, COUNT) __shared__ TYPE NAME[COUNT]
#define WEFT_BARRIER() __syncthreads()
#define WEFT_PRAGMA(TEXT) _Pragma(#TEXT)
#define WEFT_UNROLL_BY(COUNT) WEFT_PRAGMA(unroll COUNT)

namespace weft::cuda {

template <class T>
WEFT_DEVICE T shuffle_xor(T value, int lane_mask) {
  return __shfl_xor_sync(0xffffffffu, value, lane_mask);
}
template <class T>
WEFT_DEVICE T shuffle_down(T value, int lanes) {
  return __shfl_down_sync(0xffffffffu, value, lanes);
}

/// x to tf32: 10 bits of mantissa, to nearest with ties away from zero.
WEFT_DEVICE std::uint32_t to_tf32(float x) {
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}
/// Two numbers to bf16, to nearest even: the first in the low half. NaN is 0x7FFF.
WEFT_DEVICE std::uint32_t to_bfloats(float first, float second) {
  std::uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
  return word;
}
/// sums (16 x 8) += a (16 x 8 words) · b (8 words x 8) by a tensor core, spread over the lanes of a warp: with g = lane
/// / 4 and t = lane % 4, a has words (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4), b has (t, g), (t + 4, g), and sums
/// has (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1). A word is one tf32 number, or two bf16 that follow each
/// other in the depth, the first in the low half (PTX: mma.m16n8k8 and mma.m16n8k16).
enum class TensorCore : std::uint8_t { tf32, bf16 };
template <TensorCore kKind>
WEFT_DEVICE void multiply_add(float (&sums)[2][2], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  if constexpr (kKind == TensorCore::tf32) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sums[0][0]), "+f"(sums[0][1]), "+f"(sums[1][0]), "+f"(sums[1][1])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sums[0][0]), "+f"(sums[0][1]), "+f"(sums[1][0]), "+f"(sums[1][1])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

/// Four matrices of 8 x 8 numbers of 16 bits in shared memory: lane l has the address, of 16 aligned bytes, of row l %
/// 8 of matrix l / 8, and gets numbers 2·(l % 4) and 2·(l % 4) + 1 of row l / 4, or of column l / 4 if kTransposed, of
/// each (PTX: ldmatrix).
template <bool kTransposed>
WEFT_DEVICE void load_matrices(const void* row, std::uint32_t (&words)[4]) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(address)
                 : "memory");
  }
}

/// What this thread wrote is visible to the whole device before what it writes next.
WEFT_DEVICE void device_fence() { __threadfence(); }
/// Adds 1 to the counter, or makes it 0 again where it was `last`; returns what it was.
WEFT_DEVICE unsigned count_up(unsigned* counter, unsigned last) { return atomicInc(counter, last); }

template <class... P, class... A>
void launch_unmeasured(const LaunchShape& shape, void (*kernel)(P...), A&&... arguments) {
  static_assert(sizeof...(P) == sizeof...(A), "one argument per parameter of the kernel");
  runtime::check_launch_shape(shape.name, shape.blocks, shape.threads);
  kernel<<<static_cast<unsigned>(shape.blocks), static_cast<unsigned>(shape.threads), 0, shape.stream>>>(
      static_cast<P>(arguments)...);
  runtime::check_launch(shape.name);
}

}  // namespace weft::cuda

#else

// tests/cuda_on_cpu/cuda_on_cpu.h: threadIdx, blockIdx, blockDim, gridDim and the functions below.
#include <cuda_on_cpu.h>

#define WEFT_KERNEL void
#define WEFT_KERNEL_OF(THREADS) void
#define WEFT_KERNEL_OF_BLOCKS(THREADS, BLOCKS) void
#define WEFT_DEVICE inline
#define WEFT_HOST_DEVICE inline
#define WEFT_SHARED(TYPE, NAME, COUNT) \
  TYPE(&NAME)                          \
  [COUNT] = *static_cast<TYPE(*)[COUNT]>(::weft::cuda_on_cpu::shared(sizeof(TYPE[COUNT]), alignof(TYPE), __LINE__))
#define WEFT_BARRIER() ::weft::cuda_on_cpu::barrier(__LINE__)
#define WEFT_UNROLL_BY(COUNT)

namespace weft::cuda {

template <class T>
T shuffle_xor(T value, int lane_mask, int line = __builtin_LINE()) {
  return ::weft::cuda_on_cpu::shuffle_xor(value, lane_mask, line);
}
template <class T>
T shuffle_down(T value, int lanes, int line = __builtin_LINE()) {
  return ::weft::cuda_on_cpu::shuffle_down(value, lanes, line);
}

using ::weft::cuda_on_cpu::load_matrices;
using ::weft::cuda_on_cpu::multiply_add;
using ::weft::cuda_on_cpu::TensorCore;
using ::weft::cuda_on_cpu::to_bfloats;
using ::weft::cuda_on_cpu::to_tf32;

inline void device_fence() {}  // one block runs at a time
inline unsigned count_up(unsigned* counter, unsigned last) {
  const unsigned count = *counter;
  *counter = count >= last ? 0 : count + 1;
  return count;
}

template <class... P, class... A>
void launch_unmeasured(const LaunchShape& shape, void (*kernel)(P...), A&&... arguments) {
  static_assert(sizeof...(P) == sizeof...(A), "one argument per parameter of the kernel");
  runtime::check_launch_shape(shape.name, shape.blocks, shape.threads);
  static_assert((sizeof(P) + ... + 0) <= 4096, "a kernel's parameters exceed 4,096 bytes");
  ::weft::cuda_on_cpu::launch(shape.name, shape.blocks, shape.threads, shape.stream,
                              ::weft::cuda_on_cpu::call_of(kernel, static_cast<P>(arguments)...),
                              [kernel, ... values = static_cast<P>(arguments)] { kernel(values...); });
}

}  // namespace weft::cuda

#endif

namespace weft::cuda {

template <class... P, class... A>
void launch(const LaunchShape& shape, void (*kernel)(P...), A&&... arguments) {
  if (shape.blocks == 0) return;
  const profile::Scope measured(shape.name, shape.stream, reinterpret_cast<const void*>(kernel), shape.blocks,
                                shape.threads);
  launch_unmeasured(shape, kernel, std::forward<A>(arguments)...);
}

/// Whether this block is the last of `blocks` to come here: it sees what all of them wrote before. The counter is 0
/// before and after. Every thread of a block calls it; which block is the last changes from run to run, so what it
/// computes must not depend on that.
WEFT_DEVICE bool last_block(unsigned* counter, std::int64_t blocks) {
  WEFT_SHARED(unsigned, count, 1);
  device_fence();
  WEFT_BARRIER();
  if (threadIdx.x == 0) count[0] = count_up(counter, static_cast<unsigned>(blocks - 1));
  WEFT_BARRIER();
  device_fence();
  return count[0] == static_cast<unsigned>(blocks - 1);
}

}  // namespace weft::cuda
