#pragma once

#include <cstdint>

namespace weft::cpu {

/// How the terms of a box of pixels are added, so that no f32 takes part in more than 16 additions: one after another;
/// line by line, and the sums of the lines one after another; or by short runs along the lines, in the end in double.
enum class BoxSums : std::uint8_t { chain, lines, runs };

struct SumPlan {
  BoxSums sums = BoxSums::chain;
  std::int64_t run = 0;  ///< the terms of a run, at most
};

/// For boxes of at most this size.
inline SumPlan plan_sums(std::int64_t lines, std::int64_t width) {
  constexpr std::int64_t kAdditions = 16, kRun = 8;
  if (lines * width <= kAdditions) return {BoxSums::chain, width};
  if (lines - 1 + width - 1 <= kAdditions) return {BoxSums::lines, width};
  return {BoxSums::runs, kRun};
}

}  // namespace weft::cpu
