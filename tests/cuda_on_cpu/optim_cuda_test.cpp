// The CUDA backend's Adam: how many launches a step takes, and that each step is counted once. What it computes is
// compared with plain loops.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>

#include "cuda/context.h"
#include "cuda/optim.h"
#include "cuda_on_cpu.h"
#include "tests/on_device.h"

namespace weft {
namespace {

using cuda_on_cpu::Order;

constexpr AdamArguments kArguments{.beta1 = 0.8, .beta2 = 0.99, .eps = 1e-6, .weight_decay = 0.1, .decoupled = true};

/// One parameter, its states 0 at first, and what plain loops make of it.
template <class T>
struct Parameter {
  Parameter(std::int64_t size, unsigned seed) : plain(static_cast<std::size_t>(size)), grad(plain.size()) {
    std::mt19937 engine(seed);
    std::normal_distribution<double> distribution;
    for (double& v : plain) v = double{static_cast<T>(distribution(engine))};
    for (double& v : grad) v = double{static_cast<T>(distribution(engine))};
    first = second = std::vector<double>(plain.size());
    const auto on_device = [](const std::vector<double>& values) {
      return std::make_unique<OnDevice<T>>(dtype_of<T>, std::vector<T>(values.begin(), values.end()), 0);
    };
    for (const auto* values : {&plain, &grad, &first, &second}) buffers.push_back(on_device(*values));
  }
  OptimizerTensor tensor() const {
    return {buffers[0]->view().data, buffers[1]->view().data,   buffers[2]->view().data,
            buffers[3]->view().data, buffers[0]->view().size(), dtype_of<T>};
  }
  void step(double lr, int t) {
    for (std::size_t i = 0; i < plain.size(); ++i) {
      plain[i] -= lr * 0.1 * plain[i];
      first[i] = 0.8 * first[i] + 0.2 * grad[i];
      second[i] = 0.99 * second[i] + 0.01 * grad[i] * grad[i];
      const double m = first[i] / (1 - std::pow(0.8, t)), v = second[i] / (1 - std::pow(0.99, t));
      plain[i] -= lr * m / (std::sqrt(v) + 1e-6);
    }
  }
  void check() const {
    const std::vector<double> found = widened(buffers[0]->values());
    for (std::size_t i = 0; i < plain.size(); ++i) ASSERT_NEAR(found[i], plain[i], sizeof(T) == 4 ? 2e-5 : 1e-12);
  }

  std::vector<double> plain, grad, first, second;
  std::vector<std::unique_ptr<OnDevice<T>>> buffers;
};

struct Count {
  int f32, f64;
  std::uint64_t launches;
};

TEST(AdamCuda, CountsEachStepOnce) {
  cuda::Context& context = cuda::context(0);
  for (const Order order : {Order::forward, Order::reverse, Order::shuffled}) {
    cuda_on_cpu::set_order(order);
    for (const Count& count : {Count{0, 0, 1}, Count{1, 0, 1}, Count{0, 3, 1}, Count{64, 0, 1}, Count{65, 0, 2},
                               Count{3, 2, 2}, Count{128, 65, 4}}) {
      SCOPED_TRACE(std::to_string(count.f32) + " f32, " + std::to_string(count.f64) + " f64");
      std::vector<Parameter<float>> f32;
      std::vector<Parameter<double>> f64;
      for (int i = 0; i < count.f32; ++i) f32.emplace_back(i == 0 ? 9001 : 1 + 7 * (i % 5), 2 * i);
      for (int i = 0; i < count.f64; ++i) f64.emplace_back(i == 0 ? 4097 : 1 + 7 * (i % 5), 2 * i + 1);
      const Parameter<float> none(0, 1);
      std::vector<OptimizerTensor> tensors{none.tensor()};
      for (const auto& parameter : f32) tensors.push_back(parameter.tensor());
      for (const auto& parameter : f64) tensors.push_back(parameter.tensor());
      const OnDevice<std::int64_t> step(DType::i64, {0}, 0);
      const OnDevice<double> rate(DType::f64, {0.01}, 0);
      for (int t = 1; t <= 3; ++t) {
        const std::uint64_t start = cuda_on_cpu::launches();
        {
          const cuda::Use use(context);
          cuda::adam(context, tensors, kArguments, rate.view(), step.view());
        }
        EXPECT_EQ(cuda_on_cpu::launches() - start, count.launches);
        EXPECT_EQ(step.values()[0], t);
        EXPECT_EQ(*std::max_element(context.counters, context.counters + cuda::Context::kCounters), 0u);
        for (auto& parameter : f32) parameter.step(0.01, t);
        for (auto& parameter : f64) parameter.step(0.01, t);
      }
      for (const auto& parameter : f32) parameter.check();
      for (const auto& parameter : f64) parameter.check();
    }
  }
  cuda_on_cpu::set_order(Order::forward);
}

}  // namespace
}  // namespace weft
