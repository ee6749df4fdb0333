#pragma once

#include "cuda/runtime/launch.h"

// A float sum that grows term by term errs by up to 2^-26 of itself for each term. So products are summed in chains of
// floats, and the chains' sums with what each addition loses (Kahan's): within 5e-6 of the sum of the terms' magnitudes
// at any depth, without the doubles that many a GPU has few units for.
namespace weft::cuda {

inline constexpr int kChain = 256;  // terms, at most

/// sum += x; lost, 0 at first, is what sum has too much. Infinities and NaN come out as from a plain sum.
WEFT_DEVICE void add_to(float& sum, float& lost, float x) {
  const float term = x - lost, next = sum + term;
  lost = (next - sum) - term;
  if (!(lost - lost == 0)) lost = 0;
  sum = next;
}

}  // namespace weft::cuda
