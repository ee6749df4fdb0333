#pragma once

#include <cstdint>

#include "cpu/runtime/simd.h"

namespace weft::cpu {

/// `count` elements of a stream from the first number of `block` on. low and high as in Backend::random.
struct RandomStream {
  std::uint64_t seed, stream, block;
  std::int64_t count;
};

struct RandomKernels {
  void (*uniform_f32)(const RandomStream&, float low, float high, float* out);
  void (*uniform_f64)(const RandomStream&, double low, double high, double* out);
  void (*normal_f32)(const RandomStream&, float mean, float deviation, float* out);
  void (*normal_f64)(const RandomStream&, double mean, double deviation, double* out);
  void (*integer_u8)(const RandomStream&, std::int64_t low, std::int64_t high, std::uint8_t* out);
  void (*integer_i32)(const RandomStream&, std::int64_t low, std::int64_t high, std::int32_t* out);
  void (*integer_i64)(const RandomStream&, std::int64_t low, std::int64_t high, std::int64_t* out);
};
WEFT_SIMD_DECLARE(RandomKernels, random_kernels)

}  // namespace weft::cpu
