#pragma once

#include <cstdint>

#include "cpu/runtime/simd.h"

namespace weft::cpu {

template <class T>
struct SgdStep {
  T lr, momentum, weight_decay;
  bool nesterov, buffer_holds_steps;
};

template <class T>
struct AdamStep {
  T beta1, rest1;   // beta1, 1 - beta1
  T beta2, rest2;   // beta2, 1 - beta2
  T rate;           // lr / (1 - beta1^t)
  T second_factor;  // 1 / √(1 - beta2^t)
  T eps;
  T weight_decay;  // added to the gradient
  T shrink;        // of the value, 1 - lr·weight_decay where that is decoupled
};

/// Updates of n elements in place; buffer is null without momentum.
template <class T>
struct OptimKernelsOf {
  void (*sgd)(std::int64_t n, const SgdStep<T>& step, const T* grad, T* value, T* buffer);
  void (*adam)(std::int64_t n, const AdamStep<T>& step, const T* grad, T* value, T* first, T* second);
};

struct OptimKernels {
  OptimKernelsOf<float> f32;
  OptimKernelsOf<double> f64;
};
WEFT_SIMD_DECLARE(OptimKernels, optim_kernels)

}  // namespace weft::cpu
