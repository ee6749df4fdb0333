// What only the stand-in can show of the CUDA backend: what it asks of the system, when it waits, what it does when
// memory runs out; and index arithmetic beyond 2^31 elements.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <random>

#include "core/device/backend.h"
#include "core/value/views.h"
#include "cuda/array/walk.h"
#include "cuda/runtime/context.h"
#include "cuda/runtime/memory.h"
#include "twin.h"
#include "weft/weft.h"

namespace weft {
namespace {

TEST(Walk, DivisorsAreExact) {
  std::mt19937 random(1);
  for (int i = 0; i < 200'000; ++i) {
    const std::uint32_t d = (random() >> (random() % 31)) % INT32_MAX + 1,
                        n = (random() >> (random() % 31)) % INT32_MAX;
    ASSERT_EQ(cuda::FastDivisor32(d).quotient(n), n / d) << n << " / " << d;
  }
  for (const std::uint32_t d : {1u, 2u, 3u, 0x40000000u, 0x7FFFFFFFu}) {
    for (const std::uint32_t n : {0u, 1u, d - 1, d, 0x7FFFFFFEu}) ASSERT_EQ(cuda::FastDivisor32(d).quotient(n), n / d);
  }
}

// Views of arrays that are never allocated: only addresses are computed.
TEST(Walk, OffsetsBeyondTwoToTheThirtyOne) {
  for (const Shape& shape : {Shape{3, 5, 7}, Shape{70'000, 3, 50'000}, Shape{1 << 20, 1 << 13, 1 << 4}}) {
    const Strides strides = row_major_strides(shape);
    const Strides swapped{strides[2], strides[0], strides[1]};
    const ConstView dense{nullptr, shape, strides, DType::f32}, other{nullptr, shape, swapped, DType::f32};
    const LoopNest nest(shape, {dense, other});
    const cuda::Walk<2> walk(nest);
    EXPECT_EQ(walk.narrow, walk.size < INT32_MAX);
    std::mt19937_64 random(2);
    for (int i = 0; i < 10'000; ++i) {
      const auto index = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(walk.size));
      const auto offsets = walk(index);
      ASSERT_EQ(offsets.of[0], index);  // row-major memory is walked in order
      const std::int64_t c = index % shape[2], b = index / shape[2] % shape[1], a = index / shape[2] / shape[1];
      ASSERT_EQ(offsets.of[1], a * swapped[0] + b * swapped[1] + c * swapped[2]);
    }
  }
}

// Columns in many chunks, of whole rows and of less than the rows that a chunk otherwise has; or a weight gradient's
// rows in as many slices as memory allows.
void expect_chunks_add_up(ConvAlgo algo) {
  cuda::Context& context = cuda::context(0);
  const std::int64_t usual = context.limits.column_bytes;
  const Conv2dOptions options{.stride = {2, 1}, .padding = {1, 1}, .algo = algo};
  for (const auto& row : std::vector<std::pair<DType, std::int64_t>>{
           {DType::f64, 5}, {DType::f32, 5}, {DType::bf16, 5}, {DType::bf16, 8}}) {
    const DType dtype = row.first;
    const std::int64_t channels = row.second;  // of 8 in bf16, no zeros fill the columns' rows up
    const auto run = [&](const Device& device, std::int64_t column_bytes) {
      context.limits.column_bytes = column_bytes;
      manual_seed(7);
      const auto random = [&](const Shape& shape) { return Tensor(randn(shape).to(dtype).array().to(device), true); };
      const auto in = [&](const Tensor& x) { return device.is_cpu() ? x.to(DType::f64) : x; };
      const Tensor x = random({6, channels, 11, 9}), weight = random({6, channels, 3, 3});
      const Tensor y = conv2d(in(x), in(weight), {}, options);
      sum(y * y * 0.125).backward();
      std::vector<std::vector<double>> all;
      for (const Tensor& t : {y, x.grad(), weight.grad()}) all.push_back(t.to(DType::f64).to_vector<double>());
      return all;
    };
    const auto expected = run(Device::cpu(), usual);
    for (const std::int64_t bytes : {std::int64_t{1}, std::int64_t{1000}, std::int64_t{30'000}, usual}) {
      const auto found = run(Device::cuda(), bytes);
      for (std::size_t i = 0; i < 3; ++i) {
        double difference = 0, norm = 0;
        for (std::size_t j = 0; j < found[i].size(); ++j) {
          difference += std::pow(found[i][j] - expected[i][j], 2);
          norm += expected[i][j] * expected[i][j];
        }
        const double allowed = dtype == DType::f64 ? 1e-12 : dtype == DType::f32 ? 1e-6 : 4e-3;
        EXPECT_LE(std::sqrt(difference / norm), allowed) << name(dtype) << ", " << bytes << " bytes, result " << i;
      }
    }
  }
  context.limits.column_bytes = usual;
}

TEST(Conv, ChunksAddUp) {
  for (const ConvAlgo algo : {ConvAlgo::im2col, ConvAlgo::implicit_gemm}) {
    SCOPED_TRACE(name(algo));
    expect_chunks_add_up(algo);
  }
}

TEST(Conv, ColumnsHaveTheMebibytesOfTheEnvironment) {
  constexpr const char* name = "WEFT_CUDA_COLUMN_MIB";
  ASSERT_EQ(setenv(name, "7", 1), 0);
  static const cuda::Context& made = *new cuda::Context(1);  // a context is never destroyed
  EXPECT_EQ(made.limits.column_bytes, 7 << 20);
  for (const char* text : {"", "0", "-1", "3x", "x", "65537", "99999999999999999999"}) {
    ASSERT_EQ(setenv(name, text, 1), 0);
    EXPECT_THROW(cuda::Context(1), ValueError) << text;
  }
  ASSERT_EQ(unsetenv(name), 0);
}

TEST(Launch, GridsHoldAsManyBlocksAsCudaTakes) {
  EXPECT_EQ(cuda::blocks_for((std::int64_t{1} << 39) - 256, 256), INT32_MAX);
  EXPECT_NO_THROW(cuda::runtime::check_launch_shape("kernel", INT32_MAX, 256));
  EXPECT_THROW(cuda::runtime::check_launch_shape("kernel", std::int64_t{1} << 31, 256), ValueError);
}

nn::Sequential small_model() {
  manual_seed(1);
  nn::Sequential model(nn::Conv(3, 8, 3, {.stride = 4}), nn::BatchNorm2d(8), nn::ReLU(), nn::Dropout(0.5),
                       nn::Flatten(), nn::Linear(512, 10));
  model.to(Device::cuda());
  return model;
}

TEST(TrainingStep, NeitherAllocatesNorWaitsAfterTheFirst) {
  const nn::ImageDataset images = nn::builtin_images(nn::Split::train, 32);
  for (const bool graph : {true, false}) {
    nn::Sequential model = small_model();
    nn::Recipe recipe = nn::Recipe::make(nn::Recipe::Kind::adam);
    recipe.batch_size = 4;
    nn::Trainer trainer(model, images, {.recipe = recipe, .device = Device::cuda(), .graph = graph});
    std::uint64_t waits = 0, allocations = 0;
    trainer.run_epoch([&](const nn::Trainer::Step& step) {
      if (step.step == 1) {  // the second step is the recorded one
        waits = cuda_on_cpu::synchronizations();
        allocations = cuda_on_cpu::system_allocations();
      } else if (step.step > 1) {
        EXPECT_EQ(cuda_on_cpu::synchronizations(), waits) << "step " << step.step;
        EXPECT_EQ(cuda_on_cpu::system_allocations(), allocations) << "step " << step.step;
      }
      return true;
    });
    EXPECT_EQ(trainer.captured(), graph);
  }
}

TEST(OutOfMemory, SaysWhatIsThereAndLeavesTheDeviceWorking) {
  const Tensor kept = ones({1 << 18}, {.device = Device::cuda()});
  release_cached_memory(Device::cuda());
  cuda_on_cpu::set_memory_limit(std::size_t{96} << 20);
  try {
    zeros({std::int64_t{1} << 26}, {.device = Device::cuda()});
    FAIL() << "nothing was thrown";
  } catch (const OutOfMemoryError& error) {
    const std::string text = error.what();
    for (const std::string part : {"268435456 bytes", "live", "cached", "free"})
      EXPECT_NE(text.find(part), std::string::npos) << text;
  }
  EXPECT_EQ(sum(kept + 1).item<float>(), 2.0f * (1 << 18));
  // Cached blocks of other sizes make room before anything fails.
  for (int i = 0; i < 4; ++i) empty({std::int64_t{5 + i} << 20}, {.dtype = DType::u8, .device = Device::cuda()});
  EXPECT_GT(memory_statistics(Device::cuda()).cached, std::size_t{20} << 20);
  EXPECT_NO_THROW(empty({std::int64_t{80} << 20}, {.dtype = DType::u8, .device = Device::cuda()}));
  cuda_on_cpu::set_memory_limit(std::size_t{4} << 30);
}

// A program may use CUDA beside weft: whatever device it made current stays so, also where a call or a capture throws.
TEST(Devices, TheCurrentOneStaysCurrent) {
  for (const int before : {0, 1}) {
    cuda::runtime::set_device(before);
    for (const int index : {0, 1}) {
      const Device device = Device::cuda(index);
      const auto expect_same = [&](const char* after) {
        EXPECT_EQ(cuda_on_cpu::current_device(), before) << after << " on device " << index;
      };
      Tensor x = ones({4, 4}, {.device = device});
      expect_same("ones");
      EXPECT_EQ(sum(matmul(x, x)).item<float>(), 64.0f);
      expect_same("matmul and a copy to the host");
      EXPECT_THROW(matmul(x, ones({3, 3}, {.device = device})), ShapeError);
      expect_same("an error");
      const auto replay = backend(device)->capture([&] { backend(device)->fill(mutable_view(x.array()), 2); });
      expect_same("capture");
      replay->launch();
      expect_same("a replay");
      EXPECT_THROW(backend(device)->capture([&] { throw ValueError("mine"); }), ValueError);
      expect_same("a capture that throws");
      x = {};
      release_cached_memory(device);
      expect_same("release_cached_memory");
    }
  }
  cuda::runtime::set_device(0);
}

TEST(Devices, AreAddressedByIndex) {
  const Tensor on_second = ones({3}, {.device = Device::cuda(1)});
  EXPECT_EQ((on_second * 2).to_vector<float>(), (std::vector<float>{2, 2, 2}));
  EXPECT_EQ(on_second.to(Device::cuda(0)).to_vector<float>(), (std::vector<float>{1, 1, 1}));
  EXPECT_THROW(add(on_second, ones({3}, {.device = Device::cuda(0)})), DeviceError);
  EXPECT_THROW(ones({3}, {.device = Device::cuda(2)}), DeviceError);
  EXPECT_NE(description(Device::cuda(1)).find("compute capability"), std::string::npos);
}

}  // namespace
}  // namespace weft
