// A GPU's optimizer steps against plain loops, of tensors of both dtypes in one launch and in several.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <random>

#include "tests/device.h"
#include "tests/on_device.h"

namespace weft {
namespace {

constexpr AdamArguments kAdam{.beta1 = 0.8, .beta2 = 0.99, .eps = 1e-6, .weight_decay = 0.1, .decoupled = true};
constexpr double kRate = 0.01;

/// One parameter, its states 0 at first, and what plain loops make of it.
template <class T>
struct Parameter {
  Parameter(std::int64_t size, unsigned seed) : plain(static_cast<std::size_t>(size)), grad(plain.size()) {
    std::mt19937 engine(seed);
    std::normal_distribution<double> distribution;
    for (double& v : plain) v = double{static_cast<T>(distribution(engine))};
    for (double& v : grad) v = double{static_cast<T>(distribution(engine))};
    first = second = std::vector<double>(plain.size());
    for (const auto* values : {&plain, &grad, &first, &second}) {
      buffers.push_back(
          std::make_unique<OnDevice<T>>(dtype_of<T>, std::vector<T>(values->begin(), values->end()), seed % 3));
    }
  }
  OptimizerTensor tensor() const {
    return {buffers[0]->view().data, buffers[1]->view().data,   buffers[2]->view().data,
            buffers[3]->view().data, buffers[0]->view().size(), dtype_of<T>};
  }
  void adam(int t) {
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
      const double scale = arguments.lr_inside ? -kRate : 1;
      const double d = scale * (grad[i] + arguments.weight_decay * plain[i]);
      first[i] = arguments.momentum * first[i] + d;
      const double step = arguments.nesterov ? d + arguments.momentum * first[i] : first[i];
      plain[i] += arguments.lr_inside ? step : -kRate * step;
    }
  }
  void check() const {
    const std::vector<double> found = widened(buffers[0]->values());
    for (std::size_t i = 0; i < plain.size(); ++i) ASSERT_NEAR(found[i], plain[i], sizeof(T) == 4 ? 2e-5 : 1e-12);
    for (const auto& buffer : buffers) buffer->values();  // nothing around them is written
  }

  std::vector<double> plain, grad, first, second;
  std::vector<std::unique_ptr<OnDevice<T>>> buffers;
};

/// The first of each dtype takes several blocks.
struct Parameters {
  Parameters(int f32_count, int f64_count) {
    for (int i = 0; i < f32_count; ++i) f32.emplace_back(i == 0 ? 9001 : 1 + 7 * (i % 5), 2 * i);
    for (int i = 0; i < f64_count; ++i) f64.emplace_back(i == 0 ? 4097 : 1 + 7 * (i % 5), 2 * i + 1);
  }
  std::vector<OptimizerTensor> tensors() const {
    std::vector<OptimizerTensor> all{none.tensor()};
    for (const auto& parameter : f32) all.push_back(parameter.tensor());
    for (const auto& parameter : f64) all.push_back(parameter.tensor());
    return all;
  }
  template <class F>
  void for_each(const F& f) {
    for (auto& parameter : f32) f(parameter);
    for (auto& parameter : f64) f(parameter);
  }

  Parameter<float> none{0, 1};
  std::vector<Parameter<float>> f32;
  std::vector<Parameter<double>> f64;
};

/// 64 tensors go in one launch.
constexpr std::pair<int, int> kCounts[] = {{0, 0}, {1, 0}, {0, 3}, {64, 0}, {65, 0}, {3, 2}, {128, 65}};

TEST(OptimDevice, AdamCountsEachStepOnce) {
  WEFT_NEEDS_CUDA();
  for (const auto& count : kCounts) {
    SCOPED_TRACE(std::to_string(count.first) + " f32, " + std::to_string(count.second) + " f64");
    Parameters parameters(count.first, count.second);
    const OnDevice<std::int64_t> step(DType::i64, {0}, 0);
    const OnDevice<double> rate(DType::f64, {kRate}, 0);
    for (int t = 1; t <= 3; ++t) {
      backend(Device::cuda()).adam(parameters.tensors(), kAdam, rate.view(), step.view());
      EXPECT_EQ(step.values()[0], t);
      parameters.for_each([&](auto& parameter) { parameter.adam(t); });
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
        SgdArguments{.momentum = 0.9, .weight_decay = 0.1, .nesterov = true, .lr_inside = true}}) {
    for (const auto& count : kCounts) {
      SCOPED_TRACE(std::to_string(count.first) + " f32, " + std::to_string(count.second) + " f64, momentum " +
                   std::to_string(arguments.momentum) + (arguments.nesterov ? " nesterov" : ""));
      Parameters parameters(count.first, count.second);
      std::vector<OptimizerTensor> tensors = parameters.tensors();
      for (OptimizerTensor& tensor : tensors) {
        tensor.second = nullptr;
        if (arguments.momentum == 0) tensor.first = nullptr;
      }
      for (int t = 1; t <= 3; ++t) {
        backend(Device::cuda()).sgd(tensors, arguments, rate.view());
        parameters.for_each([&](auto& parameter) { parameter.sgd(arguments); });
      }
      parameters.for_each([](const auto& parameter) { parameter.check(); });
    }
  }
}

}  // namespace
}  // namespace weft
