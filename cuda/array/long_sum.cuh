#pragma once

#include "cuda/array/element.h"

namespace weft::cuda {

/// A thread's V sums of any number of terms of compute_t<T>: of f32 up to kRun are added in f32, one after another, and
/// such runs in double.
template <class T, int V>
class LongSums {
 public:
  /// sum j += term(j).
  template <class Term>
  WEFT_DEVICE void add(const Term& term) {
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) run_[j] += term(j);
    if constexpr (kWidens) {
      if (++terms_ == kRun) end_run();
    }
  }
  /// factor times the sums.
  WEFT_DEVICE void finish(double factor, compute_t<T> (&total)[V]) {
    if constexpr (kWidens) end_run();
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) total[j] = static_cast<C>((kWidens ? total_[j] : run_[j]) * factor);
  }

 private:
  using C = compute_t<T>;
  static constexpr bool kWidens = sizeof(C) == sizeof(float);
  static constexpr int kRun = 8;  // additions of f32 before the sum goes on in double

  WEFT_DEVICE void end_run() {
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) {
      total_[j] += static_cast<double>(run_[j]);
      run_[j] = 0;
    }
    terms_ = 0;
  }

  C run_[V] = {};
  double total_[V] = {};
  int terms_ = 0;
};

}  // namespace weft::cuda
