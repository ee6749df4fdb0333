// A GPU's optimizer steps against plain loops, of tensors of both dtypes in one launch and in several, and as part of a
// recorded step.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <random>

#include "tests/device.h"
#include "tests/on_device.h"
#include "weft/graph.h"
#include "weft/nn/optim.h"
#include "weft/ops.h"

namespace weft {
namespace {

constexpr AdamArguments kAdam{.beta1 = 0.8, .beta2 = 0.99, .eps = 1e-6, .weight_decay = 0.1, .decoupled = true};
constexpr double kRate = 0.01;

/// One parameter, its states 0 at first, and what plain loops make of it. Every fourth was stepped 1000 times.
template <class T>
struct Parameter {
  Parameter(std::int64_t size, unsigned seed)
      : plain(static_cast<std::size_t>(size)), grad(plain.size()), t(seed % 4 == 3 ? 1000 : 0) {
    std::mt19937 engine(seed);
    std::normal_distribution<double> distribution;
    for (double& v : plain) v = double{static_cast<T>(distribution(engine))};
    for (double& v : grad) v = double{static_cast<T>(distribution(engine))};
    first = second = std::vector<double>(plain.size());
    for (const auto* values : {&plain, &grad, &first, &second}) {
      buffers.push_back(
          std::make_unique<OnDevice<T>>(dtype_of<T>, std::vector<T>(values->begin(), values->end()), seed % 3));
    }
    count = std::make_unique<OnDevice<std::int64_t>>(DType::i64, std::vector<std::int64_t>{t}, 0);
  }
  OptimizerTensor tensor() const {
    return {buffers[0]->view().data,
            buffers[1]->view().data,
            buffers[2]->view().data,
            buffers[3]->view().data,
            buffers[0]->view().size(),
            dtype_of<T>,
            count->view().template as<std::int64_t>()};
  }
  void adam() {
    ++t;
    for (std::size_t i = 0; i < plain.size(); ++i) {
      plain[i] -= kRate * 0.1 * plain[i];
      first[i] = 0.8 * first[i] + 0.2 * grad[i];
      second[i] = 0.99 * second[i] + 0.01 * grad[i] * grad[i];
      const double m = first[i] / (1 - std::pow(0.8, t)), v = second[i] / (1 - std::pow(0.99, t));
      plain[i] -= kRate * m / (std::sqrt(v) + 1e-6);
    }
  }
  void sgd(const SgdArguments& arguments) {
    for (std::size_t i = 0; i < plain.size(); ++i) {
      const double scale = arguments.buffer_holds_steps ? -kRate : 1;
      const double d = scale * (grad[i] + arguments.weight_decay * plain[i]);
      first[i] = arguments.momentum * first[i] + d;
      const double step = arguments.nesterov ? d + arguments.momentum * first[i] : first[i];
      plain[i] += arguments.buffer_holds_steps ? step : -kRate * step;
    }
  }
  void check() const {
    const std::vector<double> found = widened(buffers[0]->values());
    for (std::size_t i = 0; i < plain.size(); ++i) ASSERT_NEAR(found[i], plain[i], sizeof(T) == 4 ? 2e-5 : 1e-12);
    for (const auto& buffer : buffers) buffer->values();  // nothing around them is written
    EXPECT_EQ(count->values()[0], t);
  }

  std::vector<double> plain, grad, first, second;
  std::int64_t t;
  std::vector<std::unique_ptr<OnDevice<T>>> buffers;
  std::unique_ptr<OnDevice<std::int64_t>> count;
};

/// The first of each dtype takes several blocks.
struct Parameters {
  Parameters(int f32_count, int f64_count) {
    for (int i = 0; i < f32_count; ++i) f32.emplace_back(i == 0 ? 9001 : 1 + 7 * (i % 5), 3 * i);
    for (int i = 0; i < f64_count; ++i) f64.emplace_back(i == 0 ? 4097 : 1 + 7 * (i % 5), 3 * i + 1);
  }
  std::vector<OptimizerTensor> tensors() const {
    std::vector<OptimizerTensor> all{none.tensor()};
    for (const auto& parameter : f32) all.push_back(parameter.tensor());
    for (const auto& parameter : f64) all.push_back(parameter.tensor());
    return all;
  }
  template <class F>
  void for_each(const F& f) {
    f(none);
    for (auto& parameter : f32) f(parameter);
    for (auto& parameter : f64) f(parameter);
  }

  Parameter<float> none{0, 1};
  std::vector<Parameter<float>> f32;
  std::vector<Parameter<double>> f64;
};

/// 64 tensors go in one launch, the counts of 256 in another.
constexpr std::pair<int, int> kCounts[] = {{0, 0}, {1, 0}, {0, 3}, {64, 0}, {65, 0}, {3, 2}, {128, 65}, {200, 60}};

TEST(OptimDevice, AdamCountsTheStepsOfEachTensor) {
  WEFT_NEEDS_CUDA();
  for (const auto& count : kCounts) {
    SCOPED_TRACE(std::to_string(count.first) + " f32, " + std::to_string(count.second) + " f64");
    Parameters parameters(count.first, count.second);
    const OnDevice<double> rate(DType::f64, {kRate}, 0);
    for (int round = 0; round < 3; ++round) {
      backend(Device::cuda())->adam(parameters.tensors(), kAdam, rate.view());
      parameters.for_each([](auto& parameter) { parameter.adam(); });
    }
    parameters.for_each([](const auto& parameter) { parameter.check(); });
  }
}

TEST(OptimDevice, SgdWithAndWithoutMomentum) {
  WEFT_NEEDS_CUDA();
  const OnDevice<double> rate(DType::f64, {kRate}, 0);
  for (const SgdArguments& arguments :
       {SgdArguments{}, SgdArguments{.momentum = 0.9, .weight_decay = 0.1},
        SgdArguments{.momentum = 0.9, .nesterov = true},
        SgdArguments{.momentum = 0.9, .weight_decay = 0.1, .nesterov = true, .buffer_holds_steps = true}}) {
    for (const auto& count : kCounts) {
      SCOPED_TRACE(std::to_string(count.first) + " f32, " + std::to_string(count.second) + " f64, momentum " +
                   std::to_string(arguments.momentum) + (arguments.nesterov ? " nesterov" : ""));
      Parameters parameters(count.first, count.second);
      std::vector<OptimizerTensor> tensors = parameters.tensors();
      for (OptimizerTensor& tensor : tensors) {
        tensor.second = nullptr;
        if (arguments.momentum == 0) tensor.first = nullptr;
      }
      for (int round = 0; round < 3; ++round) {
        backend(Device::cuda())->sgd(tensors, arguments, rate.view());
        parameters.for_each([&](auto& parameter) { parameter.sgd(arguments); });
      }
      parameters.for_each([](const auto& parameter) { parameter.check(); });
    }
  }
}

/// The values of two parameters and the optimizer's state after 8 runs of a step. Run number `joins` is the first in
/// which the second parameter has a gradient, and run number 6 the first in which it has none again.
template <class Make>
std::vector<double> values_of_a_parameter_that_joins(const Make& make, int joins, bool graph) {
  const Device device = Device::cuda();
  std::vector<Tensor> parameters;
  for (const std::int64_t size : {5, 3}) parameters.emplace_back(Array::full({size}, 1, DType::f32, device), true);
  parameters[1].set_requires_grad(false);
  auto optimizer = make(parameters);
  StepGraph step(device, graph);
  const Tensor factor = Tensor::from<float>({1, 2, 3}, {3}).to(device);
  for (int run = 0; run < 8; ++run) {
    if (run == joins || run == 6) parameters[1].set_requires_grad(run == joins);
    step.run([&] {
      optimizer->zero_grad();
      (sum(square(parameters[0])) + sum(square(parameters[1] * factor))).backward();
      optimizer->step();
    });
  }
  EXPECT_EQ(step.is_captured(), graph);
  std::vector<double> all;
  const auto append = [&](const Array& array) {
    for (const double value : array.to(DType::f64).to_vector<double>()) all.push_back(value);
  };
  for (const Tensor& parameter : parameters) append(parameter.array());
  for (const auto& [name, array] : optimizer->state_dict()) append(array);
  return all;
}

TEST(OptimDevice, AParameterThatJoinsARecordedStepIsRecordedAnew) {
  WEFT_NEEDS_CUDA();
  const auto sgd = [](const std::vector<Tensor>& parameters) {
    return std::make_unique<nn::SGD>(parameters, nn::SGDOptions{.lr = 0.01, .momentum = 0.9});
  };
  const auto adam = [](const std::vector<Tensor>& parameters) {
    return std::make_unique<nn::Adam>(parameters, nn::AdamOptions{.lr = 0.01});
  };
  for (const int joins : {0, 1, 2, 4}) {  // the ordinary run, the recorded one, the first replay and a later one
    SCOPED_TRACE("joins in run " + std::to_string(joins));
    EXPECT_EQ(values_of_a_parameter_that_joins(sgd, joins, true), values_of_a_parameter_that_joins(sgd, joins, false));
    EXPECT_EQ(values_of_a_parameter_that_joins(adam, joins, true),
              values_of_a_parameter_that_joins(adam, joins, false));
  }
}

}  // namespace
}  // namespace weft
