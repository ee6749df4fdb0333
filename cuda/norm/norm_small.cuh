#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/device/integer.h"
#include "cuda/norm/norm_grid.cuh"

// What the kernels of batch normalisation share that do all of it: few rows, which a block keeps in registers. Block b
// has channels [V·b, V·b + V), thread t rows t, t + threads, ...
namespace weft::cuda::norm {

// The largest block whose threads may have 128 registers each: a multiprocessor has 65,536.
inline constexpr int kSmallThreads = 512, kSmallWarps = kSmallThreads / kWarp;
// Rows of a thread, at most: it has 128 registers. A row takes four of them forward, eight with a residual or backward,
// and each of V channels another six or so.
template <int V>
inline constexpr int kForwardRows = V <= 4 ? 8 : 4;
inline constexpr int kBackwardRows = 4;

/// use(i, at) for each i < kRows of a thread's rows below `rows`; its elements start at `at`.
template <int kRows, class Use>
WEFT_DEVICE void for_own_rows(int rows, std::int64_t channels, std::int64_t channel, const Use& use) {
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  WEFT_UNROLL
  for (int i = 0; i < kRows; ++i) {
    const int row = thread + i * threads;
    if (row < rows) use(i, row * channels + channel);
  }
}

/// Sums of values[j] over the lanes of a warp, j < kCount: lane l ends up with that of j = l / (32 / kCount) in
/// values[0]. At each step a lane gives the half of its sums away that its partner keeps.
template <int kCount, int kMask, class C, int kSize>
WEFT_DEVICE void sum_lanes(C (&values)[kSize]) {
  constexpr int kHalf = kCount / 2;
  if constexpr (kHalf > 0) {
    const bool upper = (static_cast<int>(threadIdx.x) & kMask) != 0;
    WEFT_UNROLL
    for (int j = 0; j < kHalf; ++j) {
      const C kept = upper ? values[j + kHalf] : values[j], given = upper ? values[j] : values[j + kHalf];
      values[j] = kept + shuffle_xor(given, kMask);
    }
  } else {
    values[0] += shuffle_xor(values[0], kMask);
  }
  if constexpr (kMask > 1) sum_lanes<(kHalf > 0 ? kHalf : 1), kMask / 2>(values);
}

/// Writes each warp's sums to sums (warps, kCount), which block_sum adds up after it. Ends with a barrier; another one
/// comes before the next call.
template <class C, int kCount>
WEFT_DEVICE void sum_warps(C (&values)[kCount], C* sums) {
  constexpr int kLanes = kWarp / kCount;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  sum_lanes<kCount, kWarp / 2>(values);
  if (lane % kLanes == 0) sums[warp * kCount + lane / kLanes] = values[0];
  WEFT_BARRIER();
}

template <int kCount, class C>
WEFT_DEVICE double block_sum(const C* sums, int j) {
  double sum = 0;
  for (int warp = 0; warp < static_cast<int>(blockDim.x) / kWarp; ++warp) {
    sum += static_cast<double>(sums[warp * kCount + j]);
  }
  return sum;
}

/// body(std::integral_constant<int, R>{}, threads) with the least R of kRows that is enough rows for a thread, and as
/// many warps as `rows` then need.
template <int kFirst, int... kRows, class Body>
void with_rows(std::int64_t rows, const Body& body) {
  if constexpr (sizeof...(kRows) > 0) {
    if (rows > kFirst * kSmallThreads) return with_rows<kRows...>(rows, body);
  }
  const std::int64_t warps = ceil_div(rows, kFirst * kWarp);
  body(std::integral_constant<int, kFirst>{}, static_cast<int>(std::max<std::int64_t>(warps, 1)) * kWarp);
}

}  // namespace weft::cuda::norm
