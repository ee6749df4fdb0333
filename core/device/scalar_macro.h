#pragma once

/// Before a function of numbers that g++ compiles for the CPU and nvcc for the GPU.
#if defined(__CUDACC__)
#define WEFT_SCALAR __host__ __device__ inline
#else
// Forced inline: these headers are compiled for several instruction sets, whose copies must not be merged by the
// linker.
#define WEFT_SCALAR [[gnu::always_inline]] inline
#endif
