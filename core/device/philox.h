#pragma once

#include <cmath>
#include <cstdint>

#include "core/device/scalar_ops.h"

/// Philox 4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11) and what weft
/// makes of its numbers. The CPU and CUDA kernels and the host's Generator share it, so all draw the same numbers.
namespace weft {

struct PhiloxBlock {
  std::uint32_t number[4];
};

/// The four numbers of a counter (c0, c1, c2, c3) under a key (k0, k1).
WEFT_SCALAR PhiloxBlock philox4x32(std::uint32_t k0, std::uint32_t k1, std::uint32_t c0, std::uint32_t c1,
                                   std::uint32_t c2, std::uint32_t c3) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53} * c0;
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57} * c2;
    c0 = static_cast<std::uint32_t>(product1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<std::uint32_t>(product1);
    c2 = static_cast<std::uint32_t>(product0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<std::uint32_t>(product0);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {{c0, c1, c2, c3}};
}

/// Block number `block` of a stream: the key is the seed, the counter the block's number below and the stream above.
WEFT_SCALAR PhiloxBlock philox(std::uint64_t seed, std::uint64_t stream, std::uint64_t block) {
  return philox4x32(static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32),
                    static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                    static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32));
}

namespace scalar {

WEFT_SCALAR std::uint64_t join(std::uint32_t low, std::uint32_t high) {
  return static_cast<std::uint64_t>(high) << 32 | low;
}

/// [0, 1): 24 bits, or 53.
WEFT_SCALAR float unit_interval(std::uint32_t number) { return static_cast<float>(number >> 8) * 0x1p-24f; }
WEFT_SCALAR double unit_interval(std::uint64_t number) { return static_cast<double>(number >> 11) * 0x1p-53; }

/// low + unit·range, never above `top`, the largest number below high. Two roundings on every device.
WEFT_SCALAR float uniform(float unit, float low, float range, float top) {
#if defined(__CUDA_ARCH__)
  const float value = __fadd_rn(__fmul_rn(unit, range), low);
#else
  const float value = unit * range + low;
#endif
  return value < top ? value : top;
}
WEFT_SCALAR double uniform(double unit, double low, double range, double top) {
#if defined(__CUDA_ARCH__)
  const double value = __dadd_rn(__dmul_rn(unit, range), low);
#else
  const double value = unit * range + low;
#endif
  return value < top ? value : top;
}

/// Two independent standard normal numbers (Box and Muller 1958) of two numbers of 32 bits (T float) or 64 bits
/// (T double). The steps before log, cos and sin are exact or rounded once.
template <class T>
struct NormalPair {
  T first, second;
};
WEFT_SCALAR NormalPair<float> normal_pair(std::uint32_t a, std::uint32_t b) {
  const float unit = static_cast<float>(a) * 0x1p-32f + 0x1p-33f;  // (0, 1]
  const float radius = std::sqrt(-2.0f * std::log(unit));
  const float angle = static_cast<float>(b) * 0x1p-32f * 6.28318530717958647692f;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}
WEFT_SCALAR NormalPair<double> normal_pair(std::uint64_t a, std::uint64_t b) {
  const double unit = static_cast<double>(a) * 0x1p-64 + 0x1p-65;
  const double radius = std::sqrt(-2.0 * std::log(unit));
  const double angle = static_cast<double>(b) * 0x1p-64 * 6.28318530717958647692;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

/// The upper 64 bits of a product.
WEFT_SCALAR std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) {
#if defined(__CUDA_ARCH__)
  return __umul64hi(a, b);
#else
  return static_cast<std::uint64_t>(static_cast<unsigned __int128>(a) * b >> 64);
#endif
}

/// [0, range) by multiply and shift; no value's probability is off by more than 2^-32, or 2^-64. range <= 2^32 for 32
/// bits.
WEFT_SCALAR std::uint64_t below(std::uint32_t number, std::uint64_t range) { return number * range >> 32; }
WEFT_SCALAR std::uint64_t below(std::uint64_t number, std::uint64_t range) { return multiply_high(number, range); }

}  // namespace scalar
}  // namespace weft
