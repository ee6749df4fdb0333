#pragma once

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

#include "tests/device.h"
#include "weft/tensor.h"

/// What the tests of gradients write and read, on the device under test.
namespace weft {

using Numbers = std::vector<double>;

inline constexpr TensorOptions kF64{.dtype = DType::f64, .device = kTestDevice};

inline Tensor leaf(const Numbers& values, const Shape& shape) {
  return Tensor::from(std::span<const double>(values), shape,
                      {.dtype = DType::f64, .device = kTestDevice, .requires_grad = true});
}
inline Tensor leaf(double value) { return leaf({value}, {}); }

inline Numbers numbers(const Tensor& tensor) { return tensor.to_vector<double>(); }

template <class Exception, class F>
void expect_message(const F& f, const std::string& part) {
  try {
    f();
    FAIL() << "nothing was thrown";
  } catch (const Exception& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

}  // namespace weft
