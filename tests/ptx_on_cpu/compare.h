#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "module.h"

namespace weft::ptx_on_cpu {

/// How two copies of an allocation differ. Its dtype is not known, so the numbers are read as f64, f32 and bf16, and
/// the dtype with the smallest `ulps` counts.
struct Difference {
  std::size_t differing = 0;  ///< words of 8 bytes that are not the same and not only NaN of another payload
  std::size_t only_nan = 0;   ///< words that differ in the payload of NaN
  std::uint64_t ulps = 0;     ///< the largest distance of two numbers
  std::size_t first = 0;      ///< byte of the first differing word
  double norm = 0;            ///< the norm of the difference divided by the norm of `b`
  double norm_ulps = 0;       ///< the same in ulps of the dtype, 2^-23 of f32
  void add(const Difference& other);
};
/// Compares the same bytes computed twice.
Difference compare(const unsigned char* a, const unsigned char* b, std::size_t bytes);

/// What took part in a launch.
struct Traits {
  bool approximate = false;  ///< an .approx instruction, a called function, or a polynomial of libdevice's
  bool tensor_core = false;
  Traits& operator|=(const Traits& other) {
    approximate |= other.approximate;
    tensor_core |= other.tensor_core;
    return *this;
  }
};
/// Looks at the instructions that `function` executed beyond those of `before`, with the functions that it calls. An
/// fma by a constant that is not 0, 1 or -1 is part of a polynomial: weft's own kernels fuse only products of two
/// variables.
Traits traits_of(const Function& function, const std::vector<std::uint64_t>& before);

/// What a launch may differ by from the same kernel as C++.
inline constexpr std::uint64_t kMostUlps = 8;    ///< of a number, where an approximation took part
inline constexpr double kMostNormUlps = 4;       ///< instead, of the norm, in loss.cu, whose sums cancel
inline constexpr double kMostTensorNorm = 1e-6;  ///< of the norm, where a tensor core took part
/// Why the difference is too large for a launch of the function, or "".
std::string excess(const Function& function, const Difference& difference, const Traits& traits);

}  // namespace weft::ptx_on_cpu
