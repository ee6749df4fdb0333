#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "tests/nn_support.h"
#include "weft/weft.h"

namespace {

using namespace weft;  // NOLINT(google-build-using-namespace)
using weft::nn::largest_difference;
using weft::nn::message_of;

using Function = std::function<Tensor(const Tensor&)>;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// The derivative of the given order at each of the points.
std::vector<double> derivative(const Function& f, const std::vector<double>& points, int order = 1,
                               DType dtype = DType::f64) {
  const Tensor x(Tensor::from<double>(points, {static_cast<std::int64_t>(points.size())}).to(dtype).array(), true);
  Tensor y = f(x);
  for (int i = 0; i < order; ++i) {
    if (!y.requires_grad()) return std::vector<double>(points.size());  // of a constant
    y = grad({sum(y)}, {x}, {}, {.create_graph = i + 1 < order}, true)[0];
    if (!y.defined()) return std::vector<double>(points.size());
  }
  return y.to(DType::f64).to_vector<double>();
}

TEST(Activations, GradientsAtTheKinksArePyTorchs) {
  using Values = std::vector<double>;
  EXPECT_EQ(derivative([](const Tensor& x) { return leaky_relu(x, 0.25); }, {0, -0.0}), (Values{0.25, 0.25}));
  EXPECT_EQ(derivative([](const Tensor& x) { return elu(x, 1.5); }, {0}), Values{1.5});
  EXPECT_EQ(derivative([](const Tensor& x) { return celu(x, 1.5); }, {0}), Values{1});
  EXPECT_EQ(derivative([](const Tensor& x) { return hardtanh(x, -2, 1); }, {-2, 0, 1}), (Values{0, 1, 0}));
  EXPECT_EQ(derivative(relu6, {0, 3, 6}), (Values{0, 1, 0}));
  EXPECT_EQ(derivative(hardsigmoid, {-3, 0, 3}), (Values{0, 1.0 / 6, 0}));
  EXPECT_EQ(derivative(hardswish, {-3, 0, 3}), (Values{0, 0.5, 1}));
  // A value on the threshold is not beyond it.
  EXPECT_NEAR(derivative([](const Tensor& x) { return softplus(x, 2, 6); }, {3})[0],
              sigmoid(Tensor::from<double>({6}, {1})).item<double>(), 1e-15);
}

struct Ends {
  const char* name;
  Function run;
  double below, above;              // the values at -infinity and infinity
  double slope_below, slope_above;  // and the slopes
};

const Ends kEnds[] = {
    {"leaky_relu", [](const Tensor& x) { return leaky_relu(x, 0.5); }, -kInf, kInf, 0.5, 1},
    {"elu", [](const Tensor& x) { return elu(x, 2); }, -2, kInf, 0, 1},
    {"celu", [](const Tensor& x) { return celu(x, 2); }, -2, kInf, 0, 1},
    {"softplus", [](const Tensor& x) { return softplus(x); }, 0, kInf, 0, 1},
    {"softplus without a threshold", [](const Tensor& x) { return softplus(x, 1, kInf); }, 0, kInf, 0, 1},
    {"hardtanh", [](const Tensor& x) { return hardtanh(x); }, -1, 1, 0, 0},
    {"relu6", relu6, 0, 6, 0, 0},
    {"hardsigmoid", hardsigmoid, 0, 1, 0, 0},
    {"hardswish", hardswish, 0, kInf, 0, 1},
};

TEST(Activations, InfinitiesReachTheirLimitsInEveryDerivative) {
  for (const Ends& ends : kEnds) {
    SCOPED_TRACE(ends.name);
    const std::vector<double> y = ends.run(Tensor::from<double>({-kInf, kInf, kNaN}, {3})).to_vector<double>();
    EXPECT_EQ(y[0], ends.below);
    EXPECT_EQ(y[1], ends.above);
    EXPECT_TRUE(std::isnan(y[2]));
    EXPECT_EQ(derivative(ends.run, {-kInf, kInf}), (std::vector<double>{ends.slope_below, ends.slope_above}));
    EXPECT_EQ(derivative(ends.run, {-kInf, kInf}, 2), (std::vector<double>{0, 0}));
    EXPECT_EQ(derivative(ends.run, {-kInf, kInf}, 3), (std::vector<double>{0, 0}));
  }
}

TEST(Activations, LargeInputsOfF32HaveNoNaN) {
  std::vector<Function> functions = {silu};
  for (const Ends& ends : kEnds) functions.push_back(ends.run);
  const std::vector<double> points = {-3e38, -1e4, -200, -89, -20, 20, 89, 200, 1e4, 3e38};
  for (const Function& f : functions) {
    for (int order = 1; order <= 3; ++order) {
      for (const double slope : derivative(f, points, order, DType::f32)) {
        EXPECT_TRUE(std::isfinite(slope));
        EXPECT_TRUE(order == 1 || std::abs(slope) < 1e-4);
      }
    }
  }
}

TEST(Activations, ThirdDerivatives) {
  const std::vector<double> points = {-1.5, -0.25, 0.75};
  struct Case {
    const char* name;
    Function run;
  };
  for (const Case& row : {Case{"elu", [](const Tensor& x) { return elu(x, 1.3); }},
                          Case{"celu", [](const Tensor& x) { return celu(x, 0.8); }}, Case{"silu", silu},
                          Case{"softplus", [](const Tensor& x) { return softplus(x, 1.7); }}}) {
    SCOPED_TRACE(row.name);
    const double h = 1e-5;
    std::vector<double> above = points, below = points;
    for (double& x : above) x += h;
    for (double& x : below) x -= h;
    const std::vector<double> third = derivative(row.run, points, 3);
    const std::vector<double> high = derivative(row.run, above, 2), low = derivative(row.run, below, 2);
    for (std::size_t i = 0; i < points.size(); ++i) EXPECT_NEAR(third[i], (high[i] - low[i]) / (2 * h), 1e-8) << i;
  }
}

TEST(Activations, SmallInputsKeepTheirDigits) {
  const Tensor x = Tensor::from<double>({-1e-12, -40}, {2});
  EXPECT_NEAR(elu(x).to_vector<double>()[0], -1e-12, 1e-24);
  EXPECT_NEAR(softplus(x).to_vector<double>()[1], std::exp(-40.0), 1e-30);
}

TEST(Activations, IntegersKeepTheirDigits) {
  const std::int64_t wide = (std::int64_t{1} << 53) + 1;
  const Tensor x = Tensor::from<std::int64_t>({-wide, 0, wide}, {3});
  EXPECT_EQ(relu(x).to_vector<std::int64_t>(), (std::vector<std::int64_t>{0, 0, wide}));
  for (Tensor (*const rounds)(const Tensor&) : {weft::floor, weft::ceil, weft::round}) {
    const Tensor y = rounds(x);
    EXPECT_EQ(y.to_vector<std::int64_t>(), x.to_vector<std::int64_t>());
    EXPECT_NE(y.array().data(), x.array().data());
  }
  const Tensor bytes = Tensor::from<std::uint8_t>({0, 255}, {2});
  EXPECT_EQ(relu(bytes).to_vector<std::uint8_t>(), bytes.to_vector<std::uint8_t>());
  EXPECT_EQ(relu(Tensor::from<bool>({true}, {1})).dtype(), DType::f32);
}

TEST(Activations, OptionsOutOfRange) {
  const Tensor x = randn({3});
  EXPECT_EQ(message_of<ValueError>([&] { celu(x, 0); }), "celu: alpha must be finite and not 0, got 0");
  EXPECT_EQ(message_of<ValueError>([&] { celu(x, kNaN); }), "celu: alpha must be finite and not 0, got nan");
  EXPECT_EQ(message_of<ValueError>([&] { softplus(x, 0); }), "softplus: beta must be finite and not 0, got 0");
  EXPECT_EQ(message_of<ValueError>([&] { hardtanh(x, 2, 1); }), "hardtanh: low 2 exceeds high 1");
  EXPECT_EQ(message_of<ValueError>([&] { hardtanh(x, kNaN, 1); }), "hardtanh: low nan exceeds high 1");
  EXPECT_EQ(message_of<ValueError>([] { nn::CELU{0}; }), "CELU: alpha must be finite and not 0, got 0");
  EXPECT_EQ(message_of<ValueError>([] { nn::Softplus{0}; }), "Softplus: beta must be finite and not 0, got 0");
  EXPECT_EQ(message_of<ValueError>([] { nn::Hardtanh(2, 1); }), "Hardtanh: low must be at most high, 1, got 2");
  EXPECT_THROW(silu(zeros({2}, {.dtype = DType::f16})), DTypeError);
  EXPECT_THROW(elu(zeros({2}, {.dtype = DType::f16})), DTypeError);
}

TEST(Activations, ModulesAreTheirFunctions) {
  const Tensor x = randn({4, 25}) * 4;
  EXPECT_EQ(largest_difference(nn::LeakyReLU()(x), leaky_relu(x)), 0);
  EXPECT_EQ(largest_difference(nn::LeakyReLU(0.3)(x), leaky_relu(x, 0.3)), 0);
  EXPECT_EQ(largest_difference(nn::ELU(0.7)(x), elu(x, 0.7)), 0);
  EXPECT_EQ(largest_difference(nn::CELU(0.7)(x), celu(x, 0.7)), 0);
  EXPECT_EQ(largest_difference(nn::SiLU()(x), silu(x)), 0);
  EXPECT_EQ(largest_difference(nn::Softplus(2, 3)(x), softplus(x, 2, 3)), 0);
  EXPECT_EQ(largest_difference(nn::Hardtanh()(x), clamp(x, -1, 1)), 0);
  EXPECT_EQ(largest_difference(nn::Hardtanh(-2, 3)(x), clamp(x, -2, 3)), 0);
  EXPECT_EQ(largest_difference(nn::ReLU6()(x), clamp(x, 0, 6)), 0);
  EXPECT_EQ(largest_difference(nn::Hardsigmoid()(x), hardsigmoid(x)), 0);
  EXPECT_EQ(largest_difference(nn::Hardswish()(x), hardswish(x)), 0);
  EXPECT_TRUE(nn::ELU().parameters().empty());
}

}  // namespace
