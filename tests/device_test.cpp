// The table of cases on a GPU: forward against the reference, first and second derivatives against the CPU's in f64.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/device.h"
#include "tests/hashes.h"
#include "tests/op_check.h"

namespace weft::cases {
namespace {

using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

/// The norm of the difference relative to the norm of `expected`, or to 0.1 where that is smaller, as terms that cancel
/// leave their rounding; infinities and NaN in the same places.
AssertionResult near(const Plain& got, const Plain& expected, double tolerance) {
  if (got.shape != expected.shape) {
    return AssertionFailure() << "shape " << weft::to_string(to_shape(got.shape)) << ", expected "
                              << weft::to_string(to_shape(expected.shape));
  }
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < got.values.size(); ++i) {
    const double a = got.values[i], b = expected.values[i];
    if (a == b || (std::isnan(a) && std::isnan(b))) {
      norm += std::isfinite(b) ? b * b : 0;
      continue;
    }
    difference += (a - b) * (a - b);
    norm += b * b;
  }
  const double allowed = tolerance * std::max(0.1, std::sqrt(norm));
  if (std::sqrt(difference) <= allowed) return AssertionSuccess();
  return AssertionFailure() << "the difference has norm " << std::sqrt(difference) << " where " << allowed
                            << " is allowed";
}

/// What a dtype can be expected to hold of a result.
double tolerance(DType dtype) { return dtype == DType::f64 ? 1e-12 : dtype == DType::f32 ? 1e-5 : 2e-2; }

/// The floating inputs as the dtype holds them.
std::vector<Plain> rounded(const OpCase& row, std::vector<Plain> values, DType dtype) {
  if (dtype != DType::bf16) return values;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!takes_gradient(row, i)) continue;
    values[i] = map(values[i], [](double x) { return static_cast<double>(float(bfloat16(static_cast<float>(x)))); });
  }
  return values;
}

/// bf16 cannot hold what some rows ask: distinct values that stay distinct, and points kept away from steps.
bool fits(const OpCase& row, DType dtype) {
  if (dtype != DType::bf16) return true;
  return row.takes_bf16 && std::all_of(row.inputs.begin(), row.inputs.end(), [](const Input& input) {
           return input.dtype || (input.values != Values::distinct && input.values != Values::fractional);
         });
}

class DeviceOps : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { WEFT_NEEDS_CUDA(); }
  static constexpr DType kDTypes[] = {DType::f64, DType::f32, DType::bf16};

  static void for_each_row(int derivatives, const std::function<void(const OpCase&)>& f) {
    for (const OpCase& row : op_cases()) {
      if (row.op != GetParam() || row.derivatives < derivatives || row.inputs.empty()) continue;
      SCOPED_TRACE(describe(row));
      f(row);
    }
  }

  static void check_forward(Placement placement) {
    RowHashes hashes(GetParam());
    for_each_row(0, [&](const OpCase& row) {
      if (!row.any_layout && placement != Placement::contiguous) return;
      for (DType dtype : kDTypes) {
        if (!fits(row, dtype)) continue;
        SCOPED_TRACE(name(dtype));
        const std::vector<Plain> values = rounded(row, placed_values(row, placement), dtype);
        const Operands x(row, values, dtype, placement, false, Device::cuda());
        cli::check::begin_result();  // what made the operands does not count
        const Tensor out = row.run(x.tensors);
        hashes.add(dtype, out);
        const bool widens = row.widens && dtype == DType::bf16;
        const DType result = widens ? DType::f32 : row.dtype.value_or(dtype);
        EXPECT_EQ(out.dtype(), result);
        EXPECT_TRUE(out.device().is_cuda()) << "the result left the device";
        const bool rounds = is_floating_point(result) && (!row.exact || result == DType::bf16);
        EXPECT_TRUE(near(to_plain(out), row.reference(values), rounds ? tolerance(result) : 0));
        EXPECT_TRUE(x.unchanged()) << "the op wrote to an input or beside it";
      }
    });
    if (placement == Placement::contiguous) hashes.finish();
  }
};
class DeviceDerivatives : public DeviceOps {};

TEST_P(DeviceOps, Contiguous) { check_forward(Placement::contiguous); }
TEST_P(DeviceOps, Offset) { check_forward(Placement::offset); }
TEST_P(DeviceOps, Transposed) { check_forward(Placement::transposed); }
TEST_P(DeviceOps, ChannelsLast) { check_forward(Placement::channels_last); }
TEST_P(DeviceOps, Reversed) { check_forward(Placement::reversed); }
TEST_P(DeviceOps, Broadcast) { check_forward(Placement::broadcast); }
TEST_P(DeviceOps, Mixed) { check_forward(Placement::mixed); }

TEST_P(DeviceDerivatives, First) {
  for_each_row(1, [&](const OpCase& row) {
    for (Placement placement : {Placement::contiguous, Placement::mixed}) {
      if (!row.any_layout && placement != Placement::contiguous) continue;
      for (DType dtype : kDTypes) {
        // power's gradient for a broadcast exponent is a sum that cancels terms each rounded three times.
        if (!fits(row, dtype) || (dtype == DType::bf16 && row.op == "power")) continue;
        SCOPED_TRACE(to_string(placement) + " " + std::string(name(dtype)));
        const std::vector<Plain> values = rounded(row, placed_values(row, placement), dtype);
        const Plain weights = map(random_like(row.reference(values), 2),
                                  [](double x) { return static_cast<double>(float(bfloat16(static_cast<float>(x)))); });
        const std::vector<Plain> expected = gradients(row, values, weights, DType::f64, Placement::contiguous);
        const std::vector<Plain> found = gradients(row, values, weights, dtype, placement, Device::cuda());
        for (std::size_t i = 0; i < found.size(); ++i) {
          EXPECT_TRUE(near(found[i], expected[i], tolerance(dtype))) << "gradient of floating input " << i;
        }
      }
    }
  });
}

/// Gradients of <gradients of the row, probes> for the floating inputs and the output's gradient, in f64.
std::vector<Plain> second_gradients(const OpCase& row, const std::vector<Plain>& values, const Plain& weights,
                                    const Device& device) {
  const Operands x(row, values, DType::f64, Placement::contiguous, true, device);
  const Tensor w(Array::from(std::span<const double>(weights.values), to_shape(weights.shape), device), true);
  const std::vector<Tensor> first = grad({row.run(x.tensors)}, x.leaves, {w}, {.create_graph = true}, true);
  std::vector<Tensor> outputs, seeds;
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (!first[i].defined() || !first[i].requires_grad()) continue;
    const Plain probe = random_like(to_plain(first[i]), 10 + static_cast<unsigned>(i));
    outputs.push_back(first[i]);
    seeds.emplace_back(Array::from(std::span<const double>(probe.values), to_shape(probe.shape), device));
  }
  std::vector<Tensor> variables = x.leaves;
  variables.push_back(w);
  if (outputs.empty()) return {};
  std::vector<Plain> result;
  for (const Tensor& second : grad(outputs, variables, seeds, {}, true)) {
    result.push_back(second.defined() ? to_plain(second) : Plain{});
  }
  return result;
}

TEST_P(DeviceDerivatives, Second) {
  for_each_row(2, [&](const OpCase& row) {
    const std::vector<Plain> values = make_inputs(row);
    const Plain weights = random_like(row.reference(values), 3);
    const std::vector<Plain> expected = second_gradients(row, values, weights, Device::cpu());
    const std::vector<Plain> found = second_gradients(row, values, weights, Device::cuda());
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(near(found[i], expected[i], 1e-11)) << "variable " << i;
  });
}

INSTANTIATE_TEST_SUITE_P(All, DeviceOps, ::testing::ValuesIn(op_names(0)), test_name);
INSTANTIATE_TEST_SUITE_P(All, DeviceDerivatives, ::testing::ValuesIn(op_names(1)), test_name);

}  // namespace
}  // namespace weft::cases
