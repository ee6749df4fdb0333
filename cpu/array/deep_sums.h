#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "cpu/array/chains.h"
#include "cpu/runtime/threads.h"

namespace weft::cpu {

/// Sums to which a kernel adds the sum of a chain in each call. Chains of that length allow a number of calls. After
/// these, doubles in scratch(slot) take all sums over, and they begin again at zero. Calls are counted for
/// one sum: where calls for some sums follow those for others, next_sums() and end_round() say so.
template <class T>
class DeepSums {
 public:
  /// A chain has at most `chain` terms. The sums are set to zero.
  DeepSums(T* sums, std::int64_t size, std::int64_t chain, ScratchSlot slot)
      : sums_(sums), size_(size), limit_(kChain + kChainSums - std::min<std::int64_t>(chain, kChain)), slot_(slot) {
    std::fill_n(sums, size, T(0));
  }

  void begin_call() {
    most_ = std::max(most_, ++calls_);
    if (std::is_same_v<T, float> && before_ + calls_ > limit_) take_over();
  }
  void next_sums() { calls_ = 0; }  ///< the next calls are for sums that have had none in this round
  void end_round() {                ///< all sums have had their calls
    before_ += most_;
    calls_ = most_ = 0;
  }
  void finish() {  ///< makes the sums those of all calls
    if (total_ == nullptr) return;
    for (std::int64_t i = 0; i < size_; ++i) sums_[i] = static_cast<T>(total_[i] + static_cast<double>(sums_[i]));
  }

 private:
  void take_over() {
    if (total_ == nullptr) {
      total_ = static_cast<double*>(scratch(slot_, static_cast<std::size_t>(size_) * sizeof(double)));
      std::fill_n(total_, size_, 0.0);
    }
    for (std::int64_t i = 0; i < size_; ++i) total_[i] += static_cast<double>(sums_[i]);
    std::fill_n(sums_, size_, T(0));
    before_ = 0;
    calls_ = most_ = 1;  // the call that begins
  }

  T* sums_;
  std::int64_t size_, limit_, calls_ = 0, most_ = 0, before_ = 0;
  ScratchSlot slot_;
  double* total_ = nullptr;
};

}  // namespace weft::cpu
