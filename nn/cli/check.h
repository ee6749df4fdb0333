#pragma once

#include <functional>
#include <string>
#include <vector>

#include "weft/weft.h"

// What `weft check` runs: small cases of every kernel, in terms of the public functions, grouped in families. A case
// makes its inputs, the same numbers on every device, and returns its results.

namespace weft::cli::check {

using Tensors = std::vector<Tensor>;

/// The bound of results that have to be the same bits.
inline constexpr double kBits = 0;

struct Case {
  std::string name;
  /// On the norm of the difference, as a share of the expected result's norm or of 0.1 where that is less; or kBits.
  /// NaN and infinities have to be in the same places.
  double bound = kBits;
  std::function<Tensors(const Device&)> run;
  bool only_gpu = false;  ///< not worth a comparison of instruction sets: what the CPU computes in f32 anyway
};

struct Family {
  std::string name;
  std::vector<Case> cases;
};

/// Each adds the families of its file.
void add_elementwise(std::vector<Family>& families);
void add_arrays(std::vector<Family>& families);
void add_products(std::vector<Family>& families);
void add_convolutions(std::vector<Family>& families);
void add_layers(std::vector<Family>& families);
void add_training(std::vector<Family>& families);

/// All of them; those that only a GPU has where `gpu` is set.
std::vector<Family> families(bool gpu);

/// The dtypes of cases: on the CPU, which does not compute in bf16, such a case computes in f32 on the same numbers.
inline constexpr DType kFloats[] = {DType::f32, DType::f64, DType::bf16};
DType computed(DType dtype, const Device& device);
/// Whether a case of this dtype is for a GPU alone.
inline bool only_gpu(DType dtype) { return dtype == DType::bf16; }
/// What a sum of some hundred terms, or a function, may err by.
double bound_of(DType dtype);

/// Numbers in [-2, 2) or, where `positive`, in [1/64, 2], multiples of 1/64, which every floating dtype holds: most
/// sums of their products are exact in f32, in any order. Others for each seed; integers of integer dtypes are in
/// [-128, 128) or, of u8 or where positive, [1, 128].
Tensor draw(const Shape& shape, DType dtype, const Device& device, unsigned seed, bool positive = false);
/// The same as a tensor that takes a gradient.
Tensor draw_leaf(const Shape& shape, DType dtype, const Device& device, unsigned seed, bool positive = false);
/// Labels of some classes.
Tensor draw_labels(const Shape& shape, std::int64_t classes, const Device& device, unsigned seed);

/// y and the gradients of the inputs that take one, for a drawn gradient of y.
Tensors with_gradients(const Tensor& y, const Tensors& inputs);

}  // namespace weft::cli::check
