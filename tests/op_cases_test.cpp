#include "tests/op_cases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "tests/op_check.h"

namespace weft::cases {
namespace {

double projection(const OpCase& row, const std::vector<Plain>& values, const Plain& weights) {
  const Plain out = row.reference(values);
  double total = 0;
  for (std::size_t i = 0; i < out.values.size(); ++i) total += out.values[i] * weights.values[i];
  return total;
}

bool same(const Plain& a, const Plain& b) { return a.shape == b.shape && a.values == b.values; }

/// The same by central differences of the reference. Rows of an op that differ in an option which changes no result
/// follow each other: the differences of the last one are kept.
std::vector<Plain> numeric_gradients(const OpCase& row, std::vector<Plain> values, const Plain& weights) {
  struct Last {
    std::string op;
    std::vector<Plain> values, result;
    Plain weights, out;
  };
  static Last last;
  const Plain out = row.reference(values);
  if (last.op == row.op && same(last.out, out) && same(last.weights, weights) &&
      std::equal(values.begin(), values.end(), last.values.begin(), last.values.end(), same)) {
    return last.result;
  }
  last = {row.op, values, {}, weights, out};
  constexpr double kStep = 1e-5;
  std::vector<Plain> result;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!takes_gradient(row, i)) continue;
    Plain slopes = values[i];
    for (std::size_t j = 0; j < slopes.values.size(); ++j) {
      double& x = values[i].values[j];
      const double before = x;
      x = before + kStep;
      const double above = projection(row, values, weights);
      x = before - kStep;
      slopes.values[j] = (above - projection(row, values, weights)) / (2 * kStep);
      x = before;
    }
    result.push_back(std::move(slopes));
  }
  last.result = result;
  return result;
}

class OpCases : public ::testing::TestWithParam<std::string> {
 protected:
  static void for_each_row(int derivatives, const std::function<void(const OpCase&)>& f) {
    for (const OpCase& row : op_cases()) {
      if (row.op != GetParam() || row.derivatives < derivatives) continue;
      SCOPED_TRACE(describe(row));
      f(row);
    }
  }
};
class OpDerivatives : public OpCases {};

TEST_P(OpCases, ForwardMatchesTheReferenceInEveryPlacement) {
  for_each_row(0, [](const OpCase& row) {
    for (Placement placement : placements(row)) {
      const std::vector<Plain> values = placed_values(row, placement);
      const Plain expected = row.reference(values);
      for (DType dtype : {DType::f64, DType::f32}) {
        SCOPED_TRACE(to_string(placement) + " " + std::string(name(dtype)));
        const Operands x(row, values, dtype, placement, false);
        const Tensor out = row.run(x.tensors);
        const DType result = row.dtype.value_or(dtype);
        EXPECT_EQ(out.dtype(), result) << "the output is " << name(out.dtype()) << ", expected " << name(result);
        const bool rounds = !row.exact && is_floating_point(result);
        EXPECT_TRUE(close(to_plain(out), expected, !rounds ? 0 : result == DType::f64 ? 1e-12 : 1e-5));
        EXPECT_TRUE(x.unchanged()) << "the op wrote to an input or beside it";
      }
    }
  });
}

TEST_P(OpDerivatives, FirstMatchFiniteDifferences) {
  for_each_row(1, [](const OpCase& row) {
    const std::vector<Plain> values = make_inputs(row);
    const Plain weights = random_like(row.reference(values), 1);
    const std::vector<Plain> found = gradients(row, values, weights, DType::f64, Placement::contiguous);
    const std::vector<Plain> expected = numeric_gradients(row, values, weights);
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i)
      EXPECT_TRUE(close(found[i], expected[i], 1e-7)) << "gradient of floating input " << i;
  });
}

TEST_P(OpDerivatives, FirstDoNotDependOnPlacement) {
  for_each_row(1, [](const OpCase& row) {
    for (Placement placement : placements(row)) {
      const std::vector<Plain> values = placed_values(row, placement);
      Plain weights = random_like(row.reference(values), 2);
      if (placement == Placement::broadcast) weights = broadcast_values(weights);
      const std::vector<Plain> expected = gradients(row, values, weights, DType::f64, Placement::contiguous);
      for (DType dtype : {DType::f64, DType::f32}) {
        SCOPED_TRACE(to_string(placement) + " " + std::string(name(dtype)));
        const std::vector<Plain> found = gradients(row, values, weights, dtype, placement);
        for (std::size_t i = 0; i < found.size(); ++i) {
          EXPECT_TRUE(close(found[i], expected[i], dtype == DType::f64 ? 1e-12 : 3e-5))
              << "gradient of floating input " << i;
        }
      }
    }
  });
}

/// sum over the gradients of <gradient, probe>, computed without recording.
double probe_gradients(const OpCase& row, const std::vector<Plain>& values, const Plain& weights,
                       const std::vector<Plain>& probes) {
  const std::vector<Plain> found = gradients(row, values, weights, DType::f64, Placement::contiguous);
  double total = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (std::size_t j = 0; j < found[i].values.size(); ++j) total += found[i].values[j] * probes[i].values[j];
  }
  return total;
}

Plain stepped(const Plain& x, const Plain& direction, double step) {
  return zip(x, direction, [step](double a, double b) { return a + step * b; });
}

TEST_P(OpDerivatives, SecondMatchFiniteDifferences) {
  for_each_row(2, [](const OpCase& row) {
    const std::vector<Plain> values = make_inputs(row);
    const Plain weights = random_like(row.reference(values), 3);
    const Operands x(row, values, DType::f64, Placement::contiguous, true);
    const Tensor w(Array::from(std::span<const double>(weights.values), to_shape(weights.shape)), true);
    const std::vector<Tensor> recorded = grad({row.run(x.tensors)}, x.leaves, {w}, {.create_graph = true}, true);
    const std::vector<Plain> fused = gradients(row, values, weights, DType::f64, Placement::contiguous);

    std::vector<Plain> probes;
    std::vector<Tensor> outputs;
    std::vector<Tensor> seeds;
    for (std::size_t i = 0; i < fused.size(); ++i) {
      probes.push_back(random_like(fused[i], 10 + static_cast<unsigned>(i)));
      if (!recorded[i].defined()) continue;
      EXPECT_TRUE(close(to_plain(recorded[i]), fused[i], 1e-12)) << "gradient " << i << " recorded and not recorded";
      if (!recorded[i].requires_grad()) continue;
      outputs.push_back(recorded[i]);
      seeds.emplace_back(Array::from(std::span<const double>(probes[i].values), to_shape(probes[i].shape)));
    }
    // The change of <gradient, probe> along random directions of the inputs and of the output's gradient.
    std::vector<Tensor> variables = x.leaves;
    variables.push_back(w);
    const std::vector<Tensor> second =
        outputs.empty() ? std::vector<Tensor>(variables.size()) : grad(outputs, variables, seeds, {}, true);
    for (unsigned attempt = 0; attempt < 3; ++attempt) {
      std::vector<Plain> above = values;
      std::vector<Plain> below = values;
      constexpr double kStep = 1e-5;
      double expected = 0;
      double scale = 1;
      const auto add = [&](const Tensor& derivative, const Plain& direction) {
        if (!derivative.defined()) return;
        const Plain slopes = to_plain(derivative);
        for (std::size_t j = 0; j < slopes.values.size(); ++j) {
          expected += slopes.values[j] * direction.values[j];
          scale += std::fabs(slopes.values[j] * direction.values[j]);
        }
      };
      std::size_t leaf = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (!takes_gradient(row, i)) continue;
        const Plain direction = random_like(values[i], 100 * attempt + static_cast<unsigned>(i));
        above[i] = stepped(values[i], direction, kStep);
        below[i] = stepped(values[i], direction, -kStep);
        add(second[leaf++], direction);
      }
      const Plain direction = random_like(weights, 1000 + attempt);
      add(second.back(), direction);
      const double change = (probe_gradients(row, above, stepped(weights, direction, kStep), probes) -
                             probe_gradients(row, below, stepped(weights, direction, -kStep), probes)) /
                            (2 * kStep);
      EXPECT_NEAR(change, expected, 1e-7 * scale) << "direction " << attempt;
    }
  });
}

INSTANTIATE_TEST_SUITE_P(All, OpCases, ::testing::ValuesIn(op_names(0)), test_name);
INSTANTIATE_TEST_SUITE_P(All, OpDerivatives, ::testing::ValuesIn(op_names(1)), test_name);

// The composition of dilate, flip and transposed convolution against the gather and matrix product.
TEST(ConvGradients, TheComposedOnesAreTheFastOnes) {
  int strided_with_remainder = 0;
  for (const ConvRow& conv : conv_rows()) {
    if (conv.options.groups != 1) continue;
    SCOPED_TRACE(conv.what);
    const auto random = [](const Sizes& shape, unsigned seed) {
      const Plain values = random_like(generate(shape, [](const Index&) { return 0.0; }), seed);
      return Tensor(Array::from(std::span<const double>(values.values), to_shape(shape)));
    };
    const Tensor x = random(conv.x(), 1);
    const Tensor weight = random(conv.weight(), 2);
    const Tensor g = random(conv.y(), 3);
    const auto agree = [](const Tensor& composed, const Tensor& fast) {
      const Plain expected = to_plain(fast);
      return close(to_plain(composed), expected, 1e-13);
    };
    EXPECT_TRUE(agree(composed::conv2d(x, weight, conv.options), conv2d(x, weight, {}, conv.options)));
    EXPECT_TRUE(agree(composed::conv2d_input_grad(g, weight, x.shape(), conv.options),
                      conv2d_input_grad(g, weight, x.shape(), conv.options)));
    EXPECT_TRUE(agree(composed::conv2d_weight_grad(g, x, weight.shape(), conv.options),
                      conv2d_weight_grad(g, x, weight.shape(), conv.options)));
    const std::int64_t covered = (conv.p() - 1) * conv.options.stride[0] + conv.options.dilation[0] * (conv.r - 1) + 1;
    strided_with_remainder += conv.options.stride[0] > 1 && covered < conv.padded_h();
  }
  EXPECT_GE(strided_with_remainder, 3);
}

}  // namespace
}  // namespace weft::cases
