#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

#include "weft/error.h"
#include "weft/scalar.h"
#include "weft/tensor.h"

/// Checks of options, shared by the sources of nn.
namespace weft::nn {

/// Throws ValueError "<owner>: <what> must be <rule>, got <value>" unless `holds`.
inline void require(bool holds, std::string_view owner, std::string_view what, std::string_view rule, double value) {
  if (holds) return;
  throw ValueError(std::string(owner) + ": " + std::string(what) + " must be " + std::string(rule) + ", got " +
                   to_string(Scalar(value)));
}

inline void require_at_least(std::int64_t least, std::string_view owner, std::string_view what, std::int64_t value) {
  if (value >= least) return;
  throw ValueError(std::string(owner) + ": " + std::string(what) + " must be at least " + std::to_string(least) +
                   ", got " + std::to_string(value));
}

inline void require_not_negative(std::string_view owner, std::string_view what, double value) {
  require(value >= 0 && std::isfinite(value), owner, what, "finite and not negative", value);
}

/// What a layer's with_parameters takes: a weight of the shape of its own, and a bias (outputs,) or none.
inline void check_parameters(std::string_view owner, const Tensor& own, std::int64_t outputs, const Tensor& weight,
                             const Tensor& bias) {
  const std::string prefix = std::string(owner) + ": ";
  if (!weight.defined() || weight.shape() != own.shape()) {
    throw ShapeError(prefix + "weight must be " + to_string(own.shape()) + ", got " +
                     (weight.defined() ? to_string(weight.shape()) : "none"));
  }
  if (bias.defined() && bias.shape() != Shape{outputs})
    throw ShapeError(prefix + "bias must be " + to_string(Shape{outputs}) + ", got " + to_string(bias.shape()));
}

}  // namespace weft::nn
