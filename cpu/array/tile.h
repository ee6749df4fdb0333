#pragma once

#include <cstdint>

// Plain types shared by ordinary sources and *_simd.cpp files.

namespace weft::cpu {

/// Columns of the kernel tables, in the order of DType: bool, u8, i32, i64, f16, bf16, f32, f64.
inline constexpr int kDTypes = 8;

/// The work of one inner loop: `rows` times `n` elements of up to four operands, the output first. Strides count
/// elements.
struct Tile {
  static constexpr int kOperands = 4;

  std::int64_t rows = 1;
  std::int64_t n = 0;
  void* data[kOperands] = {};
  std::int64_t stride[kOperands] = {};
  std::int64_t row_stride[kOperands] = {};
};

using TileLoop = void (*)(const Tile&);

}  // namespace weft::cpu

// Says that the iterations of the next loop are independent although its operands may be the very same array.
#if defined(__clang__)
#define WEFT_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define WEFT_INDEPENDENT _Pragma("GCC ivdep")
#endif
