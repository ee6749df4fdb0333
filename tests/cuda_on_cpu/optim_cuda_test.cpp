// The CUDA backend's Adam as only the stand-in shows it: how many launches a step takes, and that its counters are left
// at 0. What it computes is compared with plain loops by optim_device_test.
#include <gtest/gtest.h>

#include <algorithm>

#include "core/backend.h"
#include "cuda/context.h"
#include "cuda_on_cpu.h"
#include "weft/array.h"

namespace weft {
namespace {

using cuda_on_cpu::Order;

struct Count {
  int f32, f64;
  std::uint64_t launches;
};

/// Of ones, all four alike.
struct Parameter {
  Parameter(std::int64_t size, DType dtype) : dtype_(dtype) {
    for (Array& array : arrays_) array = Array::full({size}, 1, dtype, Device::cuda());
  }
  OptimizerTensor tensor() const {
    return {arrays_[0].data(), arrays_[1].data(), arrays_[2].data(), arrays_[3].data(), arrays_[0].size(), dtype_};
  }

 private:
  DType dtype_;
  std::array<Array, 4> arrays_;
};

TEST(AdamCuda, TakesALaunchForEachBatchOfTensors) {
  const unsigned* const counters = cuda::context(0).counters;
  for (const Order order : {Order::forward, Order::reverse, Order::shuffled}) {
    cuda_on_cpu::set_order(order);
    for (const Count& count : {Count{0, 0, 1}, Count{1, 0, 1}, Count{0, 3, 1}, Count{64, 0, 1}, Count{65, 0, 2},
                               Count{3, 2, 2}, Count{128, 65, 4}}) {
      SCOPED_TRACE(std::to_string(count.f32) + " f32, " + std::to_string(count.f64) + " f64");
      std::vector<Parameter> parameters{{0, DType::f32}};
      for (int i = 0; i < count.f32; ++i) parameters.emplace_back(i == 0 ? 9001 : 5, DType::f32);
      for (int i = 0; i < count.f64; ++i) parameters.emplace_back(i == 0 ? 4097 : 5, DType::f64);
      std::vector<OptimizerTensor> tensors;
      for (const Parameter& parameter : parameters) tensors.push_back(parameter.tensor());
      const Array step = Array::full({}, 0, DType::i64, Device::cuda());
      const Array rate = Array::full({}, 0.01, DType::f64, Device::cuda());
      for (int t = 1; t <= 3; ++t) {
        const std::uint64_t start = cuda_on_cpu::launches();
        backend(Device::cuda()).adam(tensors, {}, const_view(rate), mutable_view(step));
        EXPECT_EQ(cuda_on_cpu::launches() - start, count.launches);
        EXPECT_EQ(*std::max_element(counters, counters + cuda::Context::kCounters), 0u);
      }
    }
  }
  cuda_on_cpu::set_order(Order::forward);
}

}  // namespace
}  // namespace weft
