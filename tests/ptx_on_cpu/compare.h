#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "module.h"

namespace weft::ptx_on_cpu {

struct Difference {
  std::size_t differing = 0;  ///< words of 8 bytes that are not the same and not only NaN of another payload
  std::size_t only_nan = 0;   ///< words that differ in the payload of NaN
  std::uint64_t ulps = 0;     ///< the largest distance, of the dtype that makes each word's smallest
  std::size_t first = 0;      ///< byte of the first differing word
};
/// Compares the same bytes computed twice, whose dtype nobody knows: f64, f32, or bf16. `bytes` is a multiple of 8.
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

}  // namespace weft::ptx_on_cpu
