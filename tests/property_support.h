#pragma once

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cstdint>

#include "tests/device.h"
#include "weft/ops.h"
#include "weft/random.h"

namespace weft {

inline constexpr TensorOptions kF64{.dtype = DType::f64, .device = kTestDevice};

/// In [low, high], evenly from the first case on.
inline std::int64_t number(std::int64_t low, std::int64_t high) {
  return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange<std::int64_t>(low, high + 1));
}

inline double dot(const Tensor& a, const Tensor& b) { return sum(a * b).item<double>(); }

}  // namespace weft
