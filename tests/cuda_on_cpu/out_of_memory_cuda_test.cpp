// Memory that runs out on the host or the device in steps on a GPU: ordinary, recorded and replayed ones.
#include <gtest/gtest.h>

#include "tests/failing_allocation.h"

extern "C" {
void* __real__ZN4weft4cuda6Memory8allocateEm(void* memory, std::size_t bytes);
void* __wrap__ZN4weft4cuda6Memory8allocateEm(void* memory, std::size_t bytes) {
  if (weft::failing::fails()) throw weft::OutOfMemoryError("cuda: planted");
  return __real__ZN4weft4cuda6Memory8allocateEm(memory, bytes);
}
}

namespace weft::nn {
namespace {

using failing::Failing;

constexpr std::int64_t kEvery = 4 * failing::kStride + 1;  // a thread of the device is a fiber, which takes its time

Sequential small_model() {
  Sequential model(Conv2d(2, 4, 3, {.padding = 1}), BatchNorm2d(4), ReLU(), Dropout(0.25), MaxPool2d(2), Flatten(),
                   Linear(16, 3));
  model.to(Device::cuda());
  return model;
}

std::vector<float> values_of(const Module& model) {
  std::vector<float> values;
  for (const auto& entry : model.state_dict()) {
    const std::vector<float> more = entry.second.to(Device::cpu()).to(DType::f32).to_vector<float>();
    values.insert(values.end(), more.begin(), more.end());
  }
  return values;
}

TEST(OutOfMemoryOnDevice, StepsOfAStepGraph) {
  const Tensor images = randn({3, 2, 4, 4}, {.device = Device::cuda()});
  const Tensor labels = zeros({3}, {.dtype = DType::i64, .device = Device::cuda()});
  const auto train = [&](Layer& model, Optimizer& optimizer) {
    optimizer.zero_grad();
    cross_entropy(model(images), labels).backward();
    optimizer.step();
  };
  for (const bool lastingly : {false, true}) {
    std::int64_t seen = 0;
    for (std::int64_t point = 1; point == 1 || seen >= point - kEvery; point += kEvery) {
      manual_seed(5);
      Sequential model = small_model();
      Adam optimizer(model.parameters(), {.lr = 0.1});
      StepGraph graph(Device::cuda());
      const auto step = [&] { train(model, optimizer); };
      try {
        const Failing fails(point, lastingly);
        for (int i = 0; i < 4; ++i) graph.run(step);
      } catch (const OutOfMemoryError&) {
      } catch (const std::bad_alloc&) {
      }
      seen = failing::allocations;
      const Generator generator = default_generator();
      Sequential copy = small_model();
      copy.load_state_dict(model.state_dict());
      Adam other(copy.parameters());
      other.load_state_dict(optimizer.state_dict());
      default_generator() = generator;
      for (int i = 0; i < 3; ++i) graph.run(step);
      default_generator() = generator;
      for (int i = 0; i < 3; ++i) train(copy, other);
      ASSERT_TRUE(graph.is_captured());
      ASSERT_EQ(values_of(model), values_of(copy)) << "at point " << point << (lastingly ? ", lastingly" : ", once");
    }
    std::cout << "four steps" << (lastingly ? ", lastingly: " : ", once: ") << seen << " points\n";
  }
}

}  // namespace
}  // namespace weft::nn
