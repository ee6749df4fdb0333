// The clipping of gradients on the device of the test: against what PyTorch gave (tests/golden/make_optim.py has the
// same cases by name), its errors, and as part of a recorded step.
#include "weft/nn/clip.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "tests/device.h"
#include "tests/error_support.h"
#include "weft/weft.h"

namespace weft::nn {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

const std::map<std::string, Array>& golden() {
  static const auto& arrays =
      *new std::map<std::string, Array>(load_safetensors(WEFT_GOLDEN_DIR "/optim.safetensors").arrays);
  return arrays;
}

std::vector<double> numbers(const Tensor& x) { return x.to(DType::f64).to_vector<double>(); }

Tensor with_gradient(const Tensor& gradient) {
  Tensor parameter(Array::full(gradient.shape(), 1, gradient.dtype(), gradient.device()), true);
  parameter.set_grad(gradient);
  return parameter;
}

/// The parameters of the golden file, those of odd numbers in `odd`, and between them one without a gradient and one
/// without elements.
std::vector<Tensor> golden_parameters(DType even, DType odd) {
  std::vector<Tensor> all;
  for (int n = 0; n < 4; ++n) {
    const Tensor gradient(golden().at("clip." + std::to_string(n) + ".gradient").to(n % 2 == 0 ? even : odd));
    all.push_back(with_gradient(gradient.to(kTestDevice)));
  }
  all.push_back(with_gradient(zeros({0, 3}, {.dtype = odd, .device = kTestDevice})));
  all.emplace_back(Array::full({2}, 1, even, kTestDevice), true);
  return all;
}

void expect_near(const std::vector<double>& found, const std::string& name, double tolerance) {
  const std::vector<double> expected = golden().at(name).to_vector<double>();
  ASSERT_EQ(found.size(), expected.size()) << name;
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], tolerance) << name << ", " << i;
}

void expect_gradients(const std::vector<Tensor>& parameters, const std::string& name, double tolerance) {
  for (std::size_t n = 0; n < 4; ++n) {
    const Tensor gradient = parameters[n].grad();
    EXPECT_EQ(gradient.dtype(), parameters[n].dtype());
    expect_near(numbers(gradient), name + "." + std::to_string(n), tolerance);
  }
  EXPECT_FALSE(parameters[5].grad().defined());
}

struct Dtypes {
  DType even, odd;
  double tolerance;
};
constexpr Dtypes kDtypes[] = {
    {DType::f64, DType::f64, 1e-12}, {DType::f32, DType::f32, 1e-5}, {DType::f32, DType::f64, 1e-5}};

TEST(Clip, NormsAndGradientsArePyTorchs) {
  struct Case {
    const char* name;
    double max_norm, norm_type;
  };
  for (const Case& it : {Case{"clipped", 1.5, 2}, Case{"within", 100, 2}, Case{"one", 1.5, 1}, Case{"three", 0.5, 3},
                         Case{"infinity", 0.25, kInfinity}, Case{"nothing", 0, 2}}) {
    for (const Dtypes& dtypes : kDtypes) {
      const std::vector<Tensor> parameters = golden_parameters(dtypes.even, dtypes.odd);
      const std::string name = std::string("clip_grad_norm.") + it.name;
      const Tensor norm = clip_grad_norm(parameters, it.max_norm, {.norm_type = it.norm_type});
      EXPECT_EQ(norm.dtype(), dtypes.odd);
      EXPECT_EQ(norm.device(), kTestDevice);
      EXPECT_FALSE(norm.requires_grad());
      expect_near(numbers(norm), name + ".norm", 20 * dtypes.tolerance);
      expect_gradients(parameters, name, dtypes.tolerance);
    }
  }
}

TEST(Clip, ValuesArePyTorchs) {
  for (const auto& [name, clip_value] : {std::pair{"half", 0.5}, std::pair{"wide", 50.0}}) {
    for (const Dtypes& dtypes : kDtypes) {
      const std::vector<Tensor> parameters = golden_parameters(dtypes.even, dtypes.odd);
      clip_grad_value(parameters, clip_value);
      expect_gradients(parameters, std::string("clip_grad_value.") + name, dtypes.tolerance);
    }
  }
}

TEST(Clip, AViewedGradientIsClippedByItsElements) {
  const Tensor whole = Tensor::from<double>({9, 3, 9, 0, 9, 4}, {3, 2}).to(kTestDevice);
  const Tensor view = whole.slice(1, 1, 2).transpose(0, 1).flip(1);  // 4, 0, 3
  const std::vector<Tensor> parameters{with_gradient(view)};
  EXPECT_DOUBLE_EQ(clip_grad_norm(parameters, 0.5).item<double>(), 5);
  const std::vector<double> found = numbers(parameters[0].grad());
  const std::vector<double> before{4, 0, 3};
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(found[i], before[i] * 0.5 / (5 + 1e-6), 1e-15);
  EXPECT_EQ(numbers(whole), (std::vector<double>{9, 3, 9, 0, 9, 4}));  // handles to the old gradient keep their values
}

TEST(Clip, AnInfiniteBoundOnlyMeasures) {
  const std::vector<Tensor> parameters{with_gradient(Tensor::from<double>({3, -4}, {2}).to(kTestDevice))};
  EXPECT_DOUBLE_EQ(clip_grad_norm(parameters, kInfinity).item<double>(), 5);
  EXPECT_EQ(numbers(parameters[0].grad()), (std::vector<double>{3, -4}));
}

TEST(Clip, NumbersThatAreNotFiniteStayVisible) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<Tensor> parameters{with_gradient(Tensor::from<double>({1, nan}, {2}).to(kTestDevice)),
                                       with_gradient(Tensor::from<double>({1}, {1}).to(kTestDevice))};
  clip_grad_value(parameters, 0.5);
  EXPECT_TRUE(std::isnan(numbers(parameters[0].grad())[1]));
  EXPECT_EQ(numbers(parameters[1].grad())[0], 0.5);
  EXPECT_TRUE(std::isnan(clip_grad_norm(parameters, 1).item<double>()));
  EXPECT_TRUE(std::isnan(numbers(parameters[1].grad())[0]));
}

TEST(Clip, TheNormOfNoGradientIsZero) {
  EXPECT_EQ(clip_grad_norm({}, 1).item<float>(), 0);
  const Tensor without(Array::full({2}, 1, DType::f32, kTestDevice), true);
  const Tensor norm = clip_grad_norm({without}, 1, {.norm_type = kInfinity});
  EXPECT_EQ(norm.item<float>(), 0);
  clip_grad_value({without}, 1);
  EXPECT_FALSE(without.grad().defined());
  const Tensor empty = with_gradient(zeros({0}, {.dtype = DType::f64, .device = kTestDevice}));
  EXPECT_EQ(clip_grad_norm({empty}, 1, {.norm_type = kInfinity}).item<double>(), 0);
}

TEST(Clip, GradientsOfTwoDevicesHaveOneNorm) {
  const std::vector<Tensor> parameters{with_gradient(Tensor::from<double>({3}, {1}).to(kTestDevice)),
                                       with_gradient(Tensor::from<double>({4}, {1}))};
  const Tensor norm = clip_grad_norm(parameters, 1);
  EXPECT_EQ(norm.device(), kTestDevice);
  EXPECT_DOUBLE_EQ(norm.item<double>(), 5);
  EXPECT_NEAR(numbers(parameters[0].grad())[0], 3 / (5 + 1e-6), 1e-15);
  EXPECT_NEAR(numbers(parameters[1].grad())[0], 4 / (5 + 1e-6), 1e-15);
}

TEST(Clip, ErrorsChangeNothing) {
  const std::vector<Tensor> parameters{with_gradient(Tensor::from<double>({3, -4}, {2}).to(kTestDevice)), Tensor()};
  expect_error<ValueError>("clip_grad_norm: parameter 1 is undefined", [&] { clip_grad_norm(parameters, 1); });
  expect_error<ValueError>("clip_grad_value: parameter 1 is undefined", [&] { clip_grad_value(parameters, 1); });
  expect_error<ValueError>("clip_grad_norm: max_norm must be not negative, got -1",
                           [&] { clip_grad_norm(parameters, -1); });
  expect_error<ValueError>("clip_grad_norm: norm_type must be positive, got 0",
                           [&] { clip_grad_norm(parameters, 1, {.norm_type = 0}); });
  expect_error<ValueError>("clip_grad_value: clip_value must be not negative, got -0.5",
                           [&] { clip_grad_value(parameters, -0.5); });
  EXPECT_EQ(numbers(parameters[0].grad()), (std::vector<double>{3, -4}));
}

/// The parameter after 6 steps, and the sum of the norms.
std::vector<double> trained(bool graph) {
  const Tensor parameter(Array::full({3}, 4, DType::f32, kTestDevice), true);
  SGD optimizer({parameter}, {.lr = 0.5, .momentum = 0.9});
  StepGraph step(kTestDevice, graph);
  Tensor norms = zeros({}, {.device = kTestDevice});
  Array sum_of_norms = norms.array();
  for (int run = 0; run < 6; ++run) {
    step.run([&] {
      optimizer.zero_grad();
      sum(square(parameter)).backward();
      const Tensor norm = clip_grad_norm({parameter}, 2);
      clip_grad_value({parameter}, 1.1);
      optimizer.step();
      const NoGrad no_grad;
      sum_of_norms.copy_from((norms + norm).array());
    });
  }
  EXPECT_EQ(step.is_captured(), graph && kTestDevice != Device::cpu());
  std::vector<double> found = numbers(parameter);
  found.push_back(norms.item<double>());
  return found;
}

TEST(Clip, ARecordedStepClipsWithTheSameBits) { EXPECT_EQ(trained(true), trained(false)); }

}  // namespace
}  // namespace weft::nn
