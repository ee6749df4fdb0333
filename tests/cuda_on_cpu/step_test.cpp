// How many kernels a recorded training step is made of: each costs a GPU about 2 µs, which is most of a small network's
// time.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "cuda_on_cpu.h"
#include "twin.h"
#include "weft/weft.h"

namespace weft {
namespace {

/// Counts the kernels of each step of the recipe adam, on images of the built-in data set.
std::vector<std::uint64_t> kernels_of_steps(std::int64_t batch, int steps, Precision precision = Precision::fp32) {
  manual_seed(1);
  nn::Sequential model = nn::resnet9({.variant = nn::ResNet9::narrow});
  model.to(Device::cuda());
  nn::Recipe recipe = nn::Recipe::make(nn::Recipe::Kind::adam);
  recipe.batch_size = batch;
  recipe.epochs = 1;
  const nn::ImageDataset images = nn::builtin_images(nn::Split::train, steps * batch);
  nn::Trainer trainer(model, images, {.recipe = recipe, .seed = 3, .device = Device::cuda(), .precision = precision});
  std::vector<std::uint64_t> kernels;
  std::uint64_t before = cuda_on_cpu::launches();
  trainer.run_epoch([&](const nn::Trainer::Step&) {
    kernels.push_back(cuda_on_cpu::launches() - before);
    before = cuda_on_cpu::launches();
    return true;
  });
  EXPECT_TRUE(trainer.captured());
  return kernels;
}

// The batch 1; forward 8 convolutions, 9 of normalisation (many rows take two), 2 linear layers, a ReLU and the loss;
// backward the loss, 4 of linear layers, the ReLU, 8 and 7 of convolutions, 9 of normalisation, 2 sums of gradients;
// Adam 2 and the tally 1.
TEST(Step, NarrowTakesFewKernels) {
  const std::vector<std::uint64_t> kernels = kernels_of_steps(128, 4);  // the second is recorded
  ASSERT_EQ(kernels.size(), 4u);
  EXPECT_EQ(kernels[2], 57u);
  EXPECT_EQ(kernels[3], 57u);
}

// As above, and the logits to f32 and their gradient to bf16: no parameter is converted by a kernel of its own.
TEST(Step, NarrowInBf16TakesTwoMore) {
  const std::vector<std::uint64_t> kernels = kernels_of_steps(128, 4, Precision::bf16);
  ASSERT_EQ(kernels.size(), 4u);
  EXPECT_EQ(kernels[2], 59u);
  EXPECT_EQ(kernels[3], 59u);
}

// As the first without the batch and the tally, with SGD's one kernel, and with a fill of the loss's gradient. The
// images are channels-last in memory, as a DataLoader makes them.
TEST(Step, NarrowWrittenByHandTakesFewKernels) {
  manual_seed(1);
  nn::Sequential model = nn::resnet9({.variant = nn::ResNet9::narrow});
  model.to(Device::cuda());
  nn::SGD optimizer(model.parameters(), {.lr = 0.01, .momentum = 0.9, .weight_decay = 5e-4, .nesterov = true});
  const Tensor images = permute(randn({128, 32, 32, 3}, {.device = Device::cuda()}), {0, 3, 1, 2});
  const Tensor labels = zeros({128}, {.dtype = DType::i64, .device = Device::cuda()});
  StepGraph graph(Device::cuda());
  std::vector<std::uint64_t> kernels;
  for (int i = 0; i < 4; ++i) {
    const std::uint64_t before = cuda_on_cpu::launches();
    graph.run([&] {
      optimizer.zero_grad();
      cross_entropy(model(images), labels).backward();
      optimizer.step();
    });
    kernels.push_back(cuda_on_cpu::launches() - before);
  }
  EXPECT_TRUE(graph.is_captured());
  EXPECT_EQ(kernels[2], 55u);
  EXPECT_EQ(kernels[3], 55u);
}

// A recording cannot give cached blocks back to make room, an ordinary run can. The abandoned one leaves nothing
// behind: no gradient that was never computed, no random numbers drawn.
TEST(StepGraph, RunsAStepThatCannotBeRecordedForWantOfMemory) {
  constexpr std::int64_t kMiB = std::int64_t{1} << 20;
  const TensorOptions bytes{.dtype = DType::u8, .device = Device::cuda()};
  const auto train = [&](bool short_of_memory) {
    manual_seed(5);
    const Tensor weight(Array::full({3}, 1, DType::f32, Device::cuda()), true);
    nn::SGD optimizer({weight}, {.lr = 0.5});
    StepGraph graph(Device::cuda());
    const auto run = [&] {
      graph.run([&] {
        sum(weight * rand({3}, {.device = Device::cuda()})).backward();
        zeros({60 * kMiB}, bytes);
        optimizer.step();
        optimizer.zero_grad();
      });
    };
    run();
    if (short_of_memory) {
      release_cached_memory(Device::cuda());
      cuda_on_cpu::set_memory_limit(96 * kMiB);
      empty({50 * kMiB}, bytes);  // cached now
    }
    run();
    EXPECT_EQ(graph.is_captured(), !short_of_memory);
    run();
    EXPECT_TRUE(graph.is_captured());
    run();
    cuda_on_cpu::set_memory_limit(std::size_t{4} << 30);
    return weight.to(Device::cpu()).to_vector<float>();
  };
  EXPECT_EQ(train(true), train(false));
}

}  // namespace
}  // namespace weft
