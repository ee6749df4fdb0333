// The CUDA backend's Adam as only the stand-in shows it: how many launches a step takes, and the same bits in every
// order of threads. What it computes is compared with plain loops by optim_device_test.
#include <gtest/gtest.h>

#include "core/device/backend.h"
#include "core/value/views.h"
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
    step_ = Array::full({}, size % 2 == 0 ? 0 : size, DType::i64, Device::cuda());
  }
  OptimizerTensor tensor() const {
    return {arrays_[0].data(),
            arrays_[1].data(),
            arrays_[2].data(),
            arrays_[3].data(),
            arrays_[0].size(),
            dtype_,
            static_cast<std::int64_t*>(step_.data())};
  }

 private:
  DType dtype_;
  std::array<Array, 4> arrays_;
  Array step_;
};

// One for the counts of 256 tensors, empty ones too, and one for 64 tensors of one dtype.
TEST(AdamCuda, TakesALaunchForEachBatchOfTensors) {
  for (const Order order : {Order::forward, Order::reverse, Order::shuffled}) {
    cuda_on_cpu::set_order(order);
    for (const Count& count : {Count{0, 0, 1}, Count{1, 0, 2}, Count{0, 3, 2}, Count{64, 0, 2}, Count{65, 0, 3},
                               Count{3, 2, 3}, Count{128, 65, 5}, Count{256, 0, 6}}) {
      SCOPED_TRACE(std::to_string(count.f32) + " f32, " + std::to_string(count.f64) + " f64");
      std::vector<Parameter> parameters{{0, DType::f32}};
      for (int i = 0; i < count.f32; ++i) parameters.emplace_back(i == 0 ? 9001 : 5, DType::f32);
      for (int i = 0; i < count.f64; ++i) parameters.emplace_back(i == 0 ? 4097 : 5, DType::f64);
      std::vector<OptimizerTensor> tensors;
      for (const Parameter& parameter : parameters) tensors.push_back(parameter.tensor());
      const Array rate = Array::full({}, 0.01, DType::f64, Device::cuda());
      for (int t = 1; t <= 3; ++t) {
        const std::uint64_t start = cuda_on_cpu::launches();
        backend(Device::cuda())->adam(tensors, {}, const_view(rate));
        EXPECT_EQ(cuda_on_cpu::launches() - start, count.launches);
      }
    }
  }
  cuda_on_cpu::set_order(Order::forward);
}

}  // namespace
}  // namespace weft
