#pragma once

#include <cstdint>
#include <initializer_list>

#include "core/device/integer.h"
#include "core/device/loop_nest.h"
#include "core/device/philox.h"
#include "cuda/runtime/launch.h"

namespace weft::cuda {

/// Quotients by a divisor known on the host without a division: for n < 2^31, n / d is (high 32 bits of n·m) + n,
/// shifted right by s (Granlund and Montgomery 1994).
struct FastDivisor32 {
  std::uint32_t value = 1, multiplier = 0, shift = 0;

  FastDivisor32() = default;
  /// 0 < d < 2^31.
  explicit FastDivisor32(std::uint32_t d) : value(d) {
    while ((std::uint64_t{1} << shift) < d) ++shift;
    multiplier = static_cast<std::uint32_t>((std::uint64_t{1} << 32) * ((std::uint64_t{1} << shift) - d) / d + 1);
  }
  WEFT_HOST_DEVICE std::uint32_t quotient(std::uint32_t n) const {
    const auto high = static_cast<std::uint32_t>(static_cast<std::uint64_t>(n) * multiplier >> 32);
    return (high + n) >> shift;
  }
};

/// A number > 0 whose quotients take a multiplication: for 0 <= n < 2^63, n / value is (high 64 bits of n·multiplier) +
/// n, shifted right (Granlund and Montgomery 1994).
struct FastDivisor64 {
  std::int64_t value = 1;
  std::uint64_t multiplier = 1;
  int shift = 0;

  FastDivisor64() = default;
  explicit FastDivisor64(std::int64_t size) : value(size) {
    const auto d = static_cast<std::uint64_t>(size);
    while (std::uint64_t{1} << shift < d) ++shift;
    multiplier =
        static_cast<std::uint64_t>((static_cast<unsigned __int128>((std::uint64_t{1} << shift) - d) << 64) / d + 1);
  }
  WEFT_DEVICE std::int64_t quotient(std::int64_t n) const {
    const auto dividend = static_cast<std::uint64_t>(n);
    return static_cast<std::int64_t>((scalar::multiply_high(dividend, multiplier) + dividend) >> shift);
  }
};

/// A LoopNest as a kernel's parameter: from a linear index, axis 0 fastest, to an element offset of each operand. Any
/// size; below 2^31 elements without 64-bit divisions.
template <int Operands>
struct Walk {
  std::int64_t size = 0;
  int rank = 0;
  bool narrow = false;
  FastDivisor32 divisor[kMaxRank];
  std::int64_t sizes[kMaxRank] = {};
  std::int64_t stride[kMaxRank][Operands] = {};

  Walk() = default;
  explicit Walk(const LoopNest& nest) : size(nest.size()), rank(nest.rank()), narrow(nest.size() < INT32_MAX) {
    while (rank > 1 && nest.axis(rank - 1).size == 1) --rank;
    for (int k = 0; k < rank; ++k) {
      sizes[k] = nest.axis(k).size;
      if (narrow && size > 0) divisor[k] = FastDivisor32(static_cast<std::uint32_t>(sizes[k]));
      for (int o = 0; o < Operands; ++o) stride[k][o] = nest.axis(k).stride[o];
    }
  }

  struct Offsets {
    std::int64_t of[Operands];
  };
  WEFT_DEVICE Offsets operator()(std::int64_t index) const {
    Offsets offsets{};
    if (narrow) {
      auto rest = static_cast<std::uint32_t>(index);
      for (int k = 0; k + 1 < rank; ++k) {
        const std::uint32_t next = divisor[k].quotient(rest);
        add(offsets, k, static_cast<std::int64_t>(rest - next * divisor[k].value));
        rest = next;
      }
      add(offsets, rank - 1, static_cast<std::int64_t>(rest));
    } else {
      WEFT_UNROLL_BY(1)  // few are this large, and a division in 64 bits is long
      for (int k = 0; k + 1 < rank; ++k) {
        const std::int64_t next = index / sizes[k];
        add(offsets, k, index - next * sizes[k]);
        index = next;
      }
      add(offsets, rank - 1, index);
    }
    return offsets;
  }

 private:
  WEFT_DEVICE void add(Offsets& offsets, int axis, std::int64_t index) const {
    for (int o = 0; o < Operands; ++o) offsets.of[o] += index * stride[axis][o];
  }
};

/// Blocks of `threads` that cover `count` items.
inline std::int64_t blocks_for(std::int64_t count, int threads) { return ceil_div(count, threads); }

WEFT_DEVICE std::int64_t global_thread() { return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

}  // namespace weft::cuda
