#pragma once

#include <cstdint>
#include <optional>

#include "weft/random.h"

namespace weft::nn {

/// How a convolution or linear layer starts. fan_in is the number of inputs of one output (C/groups·R·S).
enum class Init {
  pytorch,          ///< weight and bias U(±1/√fan_in)
  kaiming_uniform,  ///< weight U(±√(6/fan_in)), bias U(±1/√fan_in)
};

/// How a layer with a weight begins: Linear, a convolution, a transposed convolution.
struct LayerOptions {
  bool bias = true;
  Init init = Init::pytorch;
};

namespace init {

struct Fans {
  std::int64_t in = 0, out = 0;
};
/// Returns the fans of a weight (out, in, ...): in and out times the product of the other sizes. Throws ShapeError
/// below rank 2.
Fans calculate_fans(const Shape& shape);

/// Where a tensor is made, and the numbers it is made from (this thread's default generator where null).
struct Options {
  DType dtype = DType::f32;
  Device device = Device::cpu();
  Generator* generator = nullptr;
};
struct FanOptions {
  std::optional<Shape> shape = {};  ///< of the result instead of (fan_in, fan_out)
  std::optional<double> gain = {};  ///< √2 (for ReLU) for Kaiming's, 1 for Xavier's
  DType dtype = DType::f32;
  Device device = Device::cpu();
  Generator* generator = nullptr;
};

/// He et al. 2015: U(±gain·√(3/fan_in)) and N(0, gain²/fan_in). All four throw ValueError on a fan below 1.
Tensor kaiming_uniform(std::int64_t fan_in, std::int64_t fan_out, const FanOptions& options = {});
Tensor kaiming_normal(std::int64_t fan_in, std::int64_t fan_out, const FanOptions& options = {});
/// Glorot and Bengio 2010: U(±gain·√(6/(fan_in + fan_out))) and N(0, gain²·2/(fan_in + fan_out)).
Tensor xavier_uniform(std::int64_t fan_in, std::int64_t fan_out, const FanOptions& options = {});
Tensor xavier_normal(std::int64_t fan_in, std::int64_t fan_out, const FanOptions& options = {});

/// Uniform in [low, high).
Tensor uniform(const Shape& shape, double low = 0, double high = 1, const Options& options = {});
Tensor normal(const Shape& shape, double mean = 0, double stddev = 1, const Options& options = {});
Tensor zeros(const Shape& shape, const Options& options = {});
Tensor ones(const Shape& shape, const Options& options = {});

}  // namespace init
}  // namespace weft::nn
