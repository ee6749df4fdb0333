#include "weft/nn/init.h"

#include <cmath>

#include "layers/check.h"
#include "weft/ops.h"

namespace weft::nn::init {
namespace {

Generator& generator_or_default(Generator* generator) { return generator ? *generator : default_generator(); }

void check_fans(const char* name, std::int64_t fan_in, std::int64_t fan_out) {
  require_at_least(1, name, "fan_in", fan_in);
  require_at_least(1, name, "fan_out", fan_out);
}

/// U(±√3·deviation), the uniform distribution of that standard deviation.
Tensor uniform_of(double deviation, std::int64_t fan_in, std::int64_t fan_out, const FanOptions& options) {
  const double bound = std::sqrt(3.0) * deviation;
  return uniform(options.shape.value_or(Shape{fan_in, fan_out}), -bound, bound,
                 {options.dtype, options.device, options.generator});
}

Tensor normal_of(double deviation, std::int64_t fan_in, std::int64_t fan_out, const FanOptions& options) {
  return normal(options.shape.value_or(Shape{fan_in, fan_out}), 0, deviation,
                {options.dtype, options.device, options.generator});
}

double kaiming_deviation(std::int64_t fan_in, const FanOptions& options) {
  return options.gain.value_or(std::sqrt(2.0)) / std::sqrt(static_cast<double>(fan_in));
}

double xavier_deviation(std::int64_t fan_in, std::int64_t fan_out, const FanOptions& options) {
  return options.gain.value_or(1.0) * std::sqrt(2.0 / (static_cast<double>(fan_in) + static_cast<double>(fan_out)));
}

}  // namespace

Fans calculate_fans(const Shape& shape) {
  if (shape.rank() < 2) {
    throw ShapeError("calculate_fans: a weight has at least 2 axes, got shape " + to_string(shape));
  }
  Shape of_one_output = shape, of_one_input = shape;
  of_one_output.erase(0);
  of_one_input.erase(1);
  return {element_count(of_one_output), element_count(of_one_input)};
}

Tensor kaiming_uniform(std::int64_t fan_in, std::int64_t fan_out, const FanOptions& options) {
  check_fans("kaiming_uniform", fan_in, fan_out);
  return uniform_of(kaiming_deviation(fan_in, options), fan_in, fan_out, options);
}

Tensor kaiming_normal(std::int64_t fan_in, std::int64_t fan_out, const FanOptions& options) {
  check_fans("kaiming_normal", fan_in, fan_out);
  return normal_of(kaiming_deviation(fan_in, options), fan_in, fan_out, options);
}

Tensor xavier_uniform(std::int64_t fan_in, std::int64_t fan_out, const FanOptions& options) {
  check_fans("xavier_uniform", fan_in, fan_out);
  return uniform_of(xavier_deviation(fan_in, fan_out, options), fan_in, fan_out, options);
}

Tensor xavier_normal(std::int64_t fan_in, std::int64_t fan_out, const FanOptions& options) {
  check_fans("xavier_normal", fan_in, fan_out);
  return normal_of(xavier_deviation(fan_in, fan_out, options), fan_in, fan_out, options);
}

Tensor uniform(const Shape& shape, double low, double high, const Options& options) {
  return rand(shape, {.dtype = options.dtype, .device = options.device}, low, high,
              generator_or_default(options.generator));
}

Tensor normal(const Shape& shape, double mean, double stddev, const Options& options) {
  return randn(shape, {.dtype = options.dtype, .device = options.device}, mean, stddev,
               generator_or_default(options.generator));
}

Tensor zeros(const Shape& shape, const Options& options) {
  return weft::zeros(shape, {.dtype = options.dtype, .device = options.device});
}

Tensor ones(const Shape& shape, const Options& options) {
  return weft::ones(shape, {.dtype = options.dtype, .device = options.device});
}

}  // namespace weft::nn::init
