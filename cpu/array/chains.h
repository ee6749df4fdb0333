#pragma once

// A float sum that grows term by term errs by up to 2^-26 of itself for each term. So products are summed in chains of
// floats that are short, the chains' sums are added up in longer ones, and what is deeper is added up in double: within
// 5e-6 of the sum of the terms' magnitudes, at any depth.

namespace weft::cpu {

inline constexpr int kChain = 256;     // terms of a chain, at most
inline constexpr int kChainSums = 32;  // sums of whole chains that a float adds up, at most

}  // namespace weft::cpu
