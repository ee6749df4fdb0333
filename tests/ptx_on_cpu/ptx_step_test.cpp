// One training step of each model by the PTX: ctest runs it with WEFT_PTX set, and the executor compares every launch
// with the C++ (executor.h).
#include <gtest/gtest.h>

#include <cmath>

#include "weft/weft.h"

namespace weft {
namespace {

// Returns the mean loss of the steps of one epoch.
double train(nn::Recipe::Kind kind, std::int64_t batch, Precision precision, ConvAlgo algo = ConvAlgo::automatic) {
  manual_seed(1);
  nn::Sequential model = nn::resnet9(
      {.variant = kind == nn::Recipe::Kind::dawnbench ? nn::ResNet9::full : nn::ResNet9::narrow, .conv_algo = algo});
  model.to(Device::cuda());
  nn::Recipe recipe = nn::Recipe::make(kind);
  recipe.batch_size = batch;
  recipe.epochs = 1;
  const nn::ImageDataset images = nn::builtin_images(nn::Split::train, batch);
  nn::Trainer trainer(model, images, {.recipe = recipe, .seed = 3, .device = Device::cuda(), .precision = precision});
  int steps = 0;
  trainer.run_epoch([&](const nn::Trainer::Step&) { return ++steps > 0; });
  EXPECT_EQ(steps, 1);
  double sum = 0;
  for (const auto& [name, parameter] : model.named_parameters()) {
    for (const float x : parameter.to(Device::cpu()).to(DType::f32).to_vector<float>()) sum += std::abs(double{x});
  }
  EXPECT_TRUE(std::isfinite(sum) && sum > 0);
  return sum;
}

TEST(PtxStep, NarrowInFp32) { train(nn::Recipe::Kind::adam, 128, Precision::fp32); }
TEST(PtxStep, NarrowInTf32) { train(nn::Recipe::Kind::adam, 128, Precision::tf32); }
TEST(PtxStep, NarrowInBf16) { train(nn::Recipe::Kind::adam, 128, Precision::bf16); }
TEST(PtxStep, SmallNarrowInEveryPrecision) {
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
    train(nn::Recipe::Kind::adam, 8, precision);
  }
}
TEST(PtxStep, FullInBf16) { train(nn::Recipe::Kind::dawnbench, 2, Precision::bf16); }
TEST(PtxStep, FullInBf16ByColumns) { train(nn::Recipe::Kind::dawnbench, 2, Precision::bf16, ConvAlgo::im2col); }

}  // namespace
}  // namespace weft
