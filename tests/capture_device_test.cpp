// A GPU's captures and memory: what a capture refuses, what it keeps for its graph, what is counted, and that work goes
// on after every error.
#include <gtest/gtest.h>

#include <vector>

#include "core/device/backend.h"
#include "core/value/views.h"
#include "tests/device.h"
#include "weft/weft.h"

namespace weft {
namespace {

constexpr TensorOptions kOnDevice{.dtype = DType::f32, .device = Device::cuda()};
constexpr std::size_t kTooMuch = std::size_t{1} << 50;  // bytes

class Capture : public testing::Test {
 protected:
  void SetUp() override { WEFT_NEEDS_CUDA(); }

  /// What the device computes, and records and runs again.
  static void expect_working() {
    const BackendHandle device = backend(Device::cuda());
    const Tensor x = ones({2}, kOnDevice);
    EXPECT_EQ((x + 1).to_vector<float>(), (std::vector<float>{2, 2}));
    Array y = Array::full({2}, 0, DType::f32, Device::cuda());
    const auto replay = device->capture([&] { device->accumulate(const_view(x.array()), mutable_view(y)); });
    EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{0, 0}));
    replay->launch();
    replay->launch();
    EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{2, 2}));
  }
  /// By a capture of some work, fn and more work.
  template <class Exception, class F>
  static void expect_thrown(const std::string& part, const F& fn) {
    const std::size_t live = memory_statistics(Device::cuda()).live;
    {
      const Tensor x = ones({1000}, kOnDevice);
      const auto work = [&] {
        const Tensor y = x * 2;
        fn(y);
        add(x, y);
      };
      try {
        backend(Device::cuda())->capture(work);
        ADD_FAILURE() << "nothing was thrown";
      } catch (const Exception& error) {
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      }
      EXPECT_EQ(x.to_vector<float>(), std::vector<float>(1000, 1));
    }
    EXPECT_EQ(memory_statistics(Device::cuda()).live, live);
    expect_working();
  }
  /// Arrays of 1000 f32, more than the cache has blocks for, are what they were after write().
  template <class F>
  static void expect_untouched(const F& write) {
    std::vector<Tensor> others;
    for (int i = 0; i < 64; ++i) others.push_back(full({1000}, i, kOnDevice));
    write();
    for (std::size_t i = 0; i < others.size(); ++i)
      EXPECT_EQ(others[i].to_vector<float>(), std::vector<float>(1000, static_cast<float>(i)));
  }
};

TEST_F(Capture, WhatIsThrownComesOut) {
  expect_thrown<ValueError>("mine", [](const Tensor&) { throw ValueError("mine"); });
  expect_thrown<ShapeError>("(3,)", [](const Tensor& y) { add(y, ones({3}, kOnDevice)); });
}

TEST_F(Capture, CopiesFromAndToTheHostAreRefused) {
  expect_thrown<DeviceError>("a copy to the host", [](const Tensor& y) { y.to_vector<float>(); });
  expect_thrown<DeviceError>("a copy from the host", [](const Tensor&) {
    Tensor::from<float>({1, 2}, {2}).to(Device::cuda());
  });
}

TEST_F(Capture, WaitingIsRefused) {
  expect_thrown<DeviceError>("cudaStreamSynchronize", [](const Tensor&) { backend(Device::cuda())->synchronize(); });
  expect_thrown<DeviceError>("cached memory", [](const Tensor&) { release_cached_memory(Device::cuda()); });
}

TEST_F(Capture, ACaptureInACaptureIsRefused) {
  expect_thrown<DeviceError>("a capture inside a capture",
                             [](const Tensor& y) { backend(Device::cuda())->capture([&] { square(y); }); });
}

// Neither one that the step freed, nor one that was freed after it.
TEST_F(Capture, ABlockOfAGraphIsNobodyElses) {
  expect_untouched([] {});  // blocks for the cache, of which the graph takes two
  Tensor result;
  const Tensor x = full({1000}, 3, kOnDevice);
  const auto replay = backend(Device::cuda())->capture([&] { result = x * x + x; });
  expect_untouched([&] { replay->launch(); });
  EXPECT_EQ(result.to_vector<float>(), std::vector<float>(1000, 12));
  result = Tensor();
  expect_untouched([&] { replay->launch(); });
}

// One graph's step makes a block that the next one's frees.
TEST_F(Capture, ABlockOfTwoGraphsIsNobodyElsesUntilBothAreGone) {
  const BackendHandle device = backend(Device::cuda());
  const Tensor x = full({1000}, 3, kOnDevice);
  Tensor shared, result;
  auto first = device->capture([&] { shared = x * 2; });
  const auto second = device->capture([&] {
    result = shared + x;
    shared = Tensor();
  });
  expect_untouched([&] {
    first->launch();
    second->launch();
  });
  EXPECT_EQ(result.to_vector<float>(), std::vector<float>(1000, 9));
  first.reset();
  expect_untouched([&] { second->launch(); });
  EXPECT_EQ(result.to_vector<float>(), std::vector<float>(1000, 9));
}

// What a step throws while it is recorded comes out; the runs after it are an ordinary one, a recorded one, a replay.
TEST_F(Capture, AStepThatThrowsStartsOver) {
  const auto steps = [](bool graph) {
    manual_seed(3);
    Tensor total = zeros({100}, kOnDevice);
    StepGraph step(Device::cuda(), graph);
    for (int run = 0; run < 6; ++run) {
      const auto work = [&] {
        const Tensor noise = rand({100}, kOnDevice);
        if (run == 1) throw ValueError("mine");
        backend(Device::cuda())->accumulate(const_view(noise.array()), mutable_view(total.array()));
      };
      const Generator before = default_generator();
      if (run == 1) {
        EXPECT_THROW(step.run(work), ValueError);
        if (graph) {
          EXPECT_EQ(default_generator().offset(), before.offset());
        }
        default_generator() = before;
      } else {
        step.run(work);
      }
      EXPECT_EQ(step.is_captured(), graph && run > 2) << "run " << run;
    }
    return total.to_vector<float>();
  };
  EXPECT_EQ(steps(true), steps(false));
}

TEST_F(Capture, TooMuchMemoryInACapture) {
  expect_thrown<OutOfMemoryError>("1125899906842624 bytes", [](const Tensor&) {
    Array::empty({std::int64_t{kTooMuch}}, DType::u8, Device::cuda());
  });
}

TEST(DeviceMemory, TooMuchIsAnErrorThatTellsAndLeavesTheDeviceWorking) {
  WEFT_NEEDS_CUDA();
  Array::empty({32 << 20}, DType::u8, Device::cuda());  // no longer live, and too large for a segment
  const Tensor kept = ones({1 << 18}, kOnDevice);
  const MemoryStatistics before = memory_statistics(Device::cuda());
  const std::size_t live = before.live;
  EXPECT_GT(before.cached, 0u);
  EXPECT_LT(live, before.peak);
  try {
    Array::empty({std::int64_t{kTooMuch}}, DType::u8, Device::cuda());
    FAIL() << "nothing was thrown";
  } catch (const OutOfMemoryError& error) {
    const std::string text = error.what();
    const std::size_t cached = memory_statistics(Device::cuda()).cached;  // what no call can give back
    EXPECT_LT(cached, before.cached);
    const std::string start = "cuda: cannot allocate 1125899906842624 bytes; " + std::to_string(live) + " are live, " +
                              std::to_string(cached) + " cached and ";
    ASSERT_TRUE(text.starts_with(start)) << text;
    std::size_t digits = 0;
    const unsigned long long free = std::stoull(text.substr(start.size()), &digits);
    EXPECT_EQ(text.substr(start.size() + digits), " free on the device");
    EXPECT_GT(free, 0u);
    EXPECT_LT(free, kTooMuch);
  }
  EXPECT_EQ(memory_statistics(Device::cuda()).live, live);
  EXPECT_EQ(sum(kept + 1).item<float>(), 2.0f * (1 << 18));
}

TEST(DeviceMemory, CountsWhatIsLiveCachedAndAtItsPeak) {
  WEFT_NEEDS_CUDA();
  for (int index = 0; index < cuda_device_count(); ++index) {
    const Device device = Device::cuda(index);
    release_cached_memory(device);
    const MemoryStatistics start = memory_statistics(device);
    {
      const Array a = Array::empty({1024}, DType::f32, device), b = Array::empty({1024}, DType::f32, device);
      EXPECT_EQ(memory_statistics(device).live, start.live + 2 * 4096);
    }
    const MemoryStatistics end = memory_statistics(device);
    EXPECT_EQ(end.live, start.live);
    EXPECT_GE(end.cached, 2u * 4096);
    EXPECT_EQ(end.reserved, end.live + end.cached);
    EXPECT_GE(end.peak, start.live + 2 * 4096);
    EXPECT_LE(end.system_allocations, start.system_allocations + 2);
    {
      const Array again = Array::empty({1000}, DType::f32, device);
      EXPECT_EQ(memory_statistics(device).system_allocations, end.system_allocations);
    }
    release_cached_memory(device);
    EXPECT_EQ(memory_statistics(device).cached, start.cached);  // 0, or what is left of segments with live blocks
  }
}

}  // namespace
}  // namespace weft
