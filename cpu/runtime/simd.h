#pragma once

// One source, three instruction sets. A family of kernels is a struct of function pointers with one constant table per
// set; the table is chosen once, at run time. For a family `foo`:
//
//   cpu/foo.h         struct FooKernels { void (*scale)(std::int64_t n, float factor, float* x); };
//                     WEFT_SIMD_DECLARE(FooKernels, foo_kernels)         // in namespace weft::cpu
//   cpu/foo.cpp       WEFT_SIMD_DEFINE(FooKernels, foo_kernels)          // in namespace weft::cpu
//                     ... foo_kernels().scale(n, 2.0f, x) ...
//   cpu/foo_simd.cpp  namespace weft::cpu::WEFT_ISA {                    // compiled once per set
//                     namespace { void scale(...) { ... } }
//                     const FooKernels foo_kernels = {scale};
//                     }
//
// The header of the family must be included by foo_simd.cpp: it gives the table external linkage. Every template and
// inline function used there must live in namespace weft::cpu::WEFT_ISA (or be static), and no standard container or
// algorithm header may be included: the linker merges equal inline functions of different files, and the copy it
// keeps may hold AVX-512 code. cpu/runtime/vec.h has vector types of the set's width.

#include <type_traits>

namespace weft::cpu {

enum class Isa { portable, avx2, avx512 };

/// The widest set that this build and this CPU have: avx2 includes FMA and F16C; avx512 is F, BW, DQ and VL.
Isa widest_isa() noexcept;

/// The set in use: widest_isa(), or a narrower one named by the environment variable WEFT_ISA=portable|avx2|avx512,
/// which is read once.
Isa isa() noexcept;

const char* name(Isa isa) noexcept;

/// The kernels for T, float or double, among those of a family: its table's f32 or f64.
template <class T, class Kernels>
const auto& of(const Kernels& kernels) {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>);
  if constexpr (std::is_same_v<T, float>) {
    return kernels.f32;
  } else {
    return kernels.f64;
  }
}

}  // namespace weft::cpu

/// Declares a family's tables and the function that chooses one. The argument, for tests, must be <= widest_isa().
#define WEFT_SIMD_DECLARE(Kernels, table)              \
  namespace portable {                                 \
  extern const Kernels table;                          \
  }                                                    \
  namespace avx2 {                                     \
  extern const Kernels table;                          \
  }                                                    \
  namespace avx512 {                                   \
  extern const Kernels table;                          \
  }                                                    \
  const Kernels& table(::weft::cpu::Isa isa) noexcept; \
  const Kernels& table() noexcept;

#ifdef WEFT_X86
#define WEFT_SIMD_PICK(table, isa)                                \
  ((isa) == ::weft::cpu::Isa::avx512 ? ::weft::cpu::avx512::table \
   : (isa) == ::weft::cpu::Isa::avx2 ? ::weft::cpu::avx2::table   \
                                     : ::weft::cpu::portable::table)
#else
#define WEFT_SIMD_PICK(table, isa) (static_cast<void>(isa), ::weft::cpu::portable::table)
#endif

/// Defines the choosing functions; once per family, in an ordinary source file.
#define WEFT_SIMD_DEFINE(Kernels, table)                                                     \
  const Kernels& table(::weft::cpu::Isa isa) noexcept { return WEFT_SIMD_PICK(table, isa); } \
  const Kernels& table() noexcept {                                                          \
    static const Kernels& chosen = table(::weft::cpu::isa());                                \
    return chosen;                                                                           \
  }
