#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/op_cases.h"

/// How the tests of every device run the rows of the table.
namespace weft::cases {

inline double largest(const Plain& x) {
  double result = 0;
  for (double value : x.values) result = std::isfinite(value) ? std::max(result, std::fabs(value)) : result;
  return result;
}

/// Equal shapes and, relative to the largest magnitude (at least 1), equal values; NaN equals NaN.
inline ::testing::AssertionResult close(const Plain& got, const Plain& expected, double tolerance) {
  if (got.shape != expected.shape) {
    return ::testing::AssertionFailure() << "shape " << weft::to_string(to_shape(got.shape)) << ", expected "
                                         << weft::to_string(to_shape(expected.shape));
  }
  const double scale = tolerance * std::max(1.0, largest(expected));
  for (std::size_t i = 0; i < got.values.size(); ++i) {
    const double a = got.values[i];
    const double b = expected.values[i];
    if (a == b || (std::isnan(a) && std::isnan(b)) || std::fabs(a - b) <= scale) continue;
    return ::testing::AssertionFailure() << "element " << i << " is " << a << ", expected " << b << ", "
                                         << std::fabs(a - b) << " apart where " << scale << " is allowed";
  }
  return ::testing::AssertionSuccess();
}

inline std::vector<Plain> placed_values(const OpCase& row, Placement placement) {
  std::vector<Plain> values = make_inputs(row);
  if (placement == Placement::broadcast) std::transform(values.begin(), values.end(), values.begin(), broadcast_values);
  return values;
}

inline bool takes_gradient(const OpCase& row, std::size_t i) { return !row.inputs[i].dtype; }

/// The inputs of a row in memory.
struct Operands {
  Operands(const OpCase& row, const std::vector<Plain>& values, DType dtype, Placement placement, bool requires_grad,
           const Device& device = Device::cpu()) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      placed.emplace_back(values[i], row.inputs[i].dtype.value_or(dtype), placement_of(placement, i), device);
      tensors.emplace_back(placed.back().array(), requires_grad && takes_gradient(row, i));
      if (takes_gradient(row, i)) leaves.push_back(tensors.back());
    }
  }
  bool unchanged() const {
    return std::all_of(placed.begin(), placed.end(), [](const Placed& p) { return p.is_unchanged(); });
  }
  std::vector<Placed> placed;
  std::vector<Tensor> tensors;
  std::vector<Tensor> leaves;  // those that take a gradient
};

inline std::vector<Placement> placements(const OpCase& row) {
  if (!row.any_layout) return {Placement::contiguous};
  return {std::begin(kPlacements), std::end(kPlacements)};
}

inline Plain random_like(const Plain& x, unsigned seed) {
  std::mt19937_64 random(seed);
  return map(x, [&](double) { return static_cast<double>(std::uniform_real_distribution<float>(-1, 1)(random)); });
}

inline Plain zeros_like(const Plain& x) {
  return map(x, [](double) { return 0.0; });
}

/// Gradients of sum(output · weights) for every input that takes one; zeros where none arrives.
inline std::vector<Plain> gradients(const OpCase& row, const std::vector<Plain>& values, const Plain& weights,
                                    DType dtype, Placement placement, const Device& device = Device::cpu()) {
  const Operands x(row, values, dtype, placement, true, device);
  const Placed w(weights, dtype, placement == Placement::mixed ? Placement::reversed : placement, device);
  const std::vector<Tensor> found = grad({row.run(x.tensors)}, x.leaves, {Tensor(w.array())}, {}, true);
  EXPECT_TRUE(x.unchanged()) << "backward wrote to an input or beside it";
  EXPECT_TRUE(w.is_unchanged()) << "backward wrote to the output's gradient or beside it";
  std::vector<Plain> result;
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_TRUE(!found[i].defined() || found[i].dtype() == dtype) << "gradient " << i << " has another dtype";
    result.push_back(found[i].defined() ? to_plain(found[i]) : zeros_like(to_plain(x.leaves[i])));
  }
  return result;
}

/// The ops with rows of that many derivatives.
inline std::vector<std::string> op_names(int derivatives) {
  std::set<std::string> names;
  for (const OpCase& row : op_cases()) {
    if (row.derivatives >= derivatives) names.insert(row.op);
  }
  return {names.begin(), names.end()};
}

inline std::string test_name(const ::testing::TestParamInfo<std::string>& op) {
  std::string id = op.param;
  std::replace(id.begin(), id.end(), ':', '_');
  return id;
}

}  // namespace weft::cases
