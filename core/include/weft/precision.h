#pragma once

#include <cstdint>

namespace weft {

/// How this thread's convolutions and matrix products of f32 tensors compute.
enum class Precision : std::uint8_t {
  fp32,  ///< f32 throughout (the default)
  tf32,  ///< products of numbers rounded to TF32 (10 bits of mantissa), f32 sums; on GPUs that have it, else as fp32
  bf16,  ///< operands are converted to bf16, as are the results; f32 sums. A convolution takes its f32 weight and bias
         ///< without a copy in bf16 (products round them) and gives their gradients in f32, as batch norm does; losses
         ///< convert to f32. GPUs only.
};
Precision precision();

/// Sets the thread's precision while it lives.
class PrecisionGuard {
 public:
  explicit PrecisionGuard(Precision precision);
  ~PrecisionGuard();
  PrecisionGuard(const PrecisionGuard&) = delete;
  PrecisionGuard& operator=(const PrecisionGuard&) = delete;

 private:
  Precision previous_;
};

}  // namespace weft
