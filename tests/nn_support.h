#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "weft/weft.h"

// What the tests of modules share.
namespace weft::nn {

inline std::vector<std::string> names_of(const NamedTensors& tensors) {
  std::vector<std::string> names;
  for (const auto& entry : tensors) names.push_back(entry.first);
  return names;
}

inline Tensor named(const NamedTensors& tensors, const std::string& name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const auto& it) { return it.first == name; });
  return found == tensors.end() ? Tensor() : found->second;
}

inline double largest_difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  const auto x = a.array().to(DType::f64).to_vector<double>(), y = b.array().to(DType::f64).to_vector<double>();
  double largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) largest = std::max(largest, std::abs(x[i] - y[i]));
  return largest;
}

/// The text of the error of this very type; another type leaves the test.
template <class E>
std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  }
  return "no error";
}

inline StateDict cloned(const StateDict& state) {
  StateDict copy;
  for (const auto& [name, array] : state) copy.emplace(name, array.clone());
  return copy;
}

}  // namespace weft::nn
