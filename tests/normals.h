#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "core/device/convert.h"

namespace weft {

/// Normally distributed numbers from a fixed seed, rounded to T. A deviation of 0 gives the mean.
template <class T>
std::vector<T> normals(std::int64_t size, unsigned seed, double mean = 0, double deviation = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> distribution;
  std::vector<T> values(static_cast<std::size_t>(size));
  for (T& value : values) value = scalar::convert<T>(distribution(engine) * deviation + mean);
  return values;
}

}  // namespace weft
