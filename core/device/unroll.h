#pragma once

/// WEFT_UNROLL stands before a loop over registers, which is to be unrolled completely. It does nothing in files that
/// g++ or clang compile for no certain instruction set, such as those of cuda/ in tests/cuda_on_cpu: long code would
/// only take time to compile there.
#if defined(__CUDACC__) || (defined(WEFT_ISA) && defined(__clang__))
#define WEFT_UNROLL _Pragma("unroll")
#elif defined(WEFT_ISA)
#define WEFT_UNROLL _Pragma("GCC unroll 16")
#else
#define WEFT_UNROLL
#endif
