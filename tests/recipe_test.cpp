// The recipes against the table of docs/recipes.md; the values are held here as that page has them.
#include <gtest/gtest.h>

#include <cmath>

#include "weft/weft.h"

namespace weft::nn {
namespace {

const Recipe kAdam = Recipe::make(Recipe::Kind::adam);
const Recipe kDawnbench = Recipe::make(Recipe::Kind::dawnbench);

TEST(Recipe, AdamsFields) {
  EXPECT_EQ(kAdam.kind, Recipe::Kind::adam);
  EXPECT_EQ(kAdam.epochs, 10);
  EXPECT_EQ(kAdam.batch_size, 128);
  EXPECT_EQ(kAdam.peak_lr, 1e-3);
  EXPECT_FALSE(kAdam.drop_last);
  EXPECT_FALSE(kAdam.sum_loss);
  EXPECT_EQ(kAdam.augmentation.crop_padding, 3);
  EXPECT_FALSE(kAdam.augmentation.reflect);
  EXPECT_TRUE(kAdam.augmentation.flip);
  EXPECT_EQ(kAdam.augmentation.cutout, 0);
}

TEST(Recipe, DawnbenchsFields) {
  EXPECT_EQ(kDawnbench.kind, Recipe::Kind::dawnbench);
  EXPECT_EQ(kDawnbench.epochs, 24);
  EXPECT_EQ(kDawnbench.batch_size, 512);
  EXPECT_EQ(kDawnbench.peak_lr, 0.4);
  EXPECT_TRUE(kDawnbench.drop_last);
  EXPECT_TRUE(kDawnbench.sum_loss);
  EXPECT_EQ(kDawnbench.augmentation.crop_padding, 4);
  EXPECT_TRUE(kDawnbench.augmentation.reflect);
  EXPECT_TRUE(kDawnbench.augmentation.flip);
  EXPECT_EQ(kDawnbench.augmentation.cutout, 8);
}

TEST(Recipe, AdamsRateIsConstant) {
  const Schedule rate = kAdam.schedule();
  for (const double time : {0.0, 0.1, 1.0, 5.0, 9.9, 10.0}) EXPECT_EQ(rate(time), 1e-3);
}

TEST(Recipe, DawnbenchsRateIsATriangle) {
  struct Point {
    double epoch, rate;
  };
  const Point points[] = {{0, 0}, {1, 0.08}, {2.5, 0.2}, {5, 0.4}, {14.5, 0.2}, {19.25, 0.1}, {24, 0}};
  const Schedule rate = kDawnbench.schedule();
  for (const Point& point : points) EXPECT_NEAR(rate(point.epoch), point.rate / 512, 1e-15) << point.epoch;
  Recipe other = kDawnbench;
  other.epochs = 12;
  other.batch_size = 64;
  const Schedule scaled = other.schedule();
  for (const Point& point : points) EXPECT_NEAR(scaled(point.epoch / 2), point.rate / 64, 1e-15) << point.epoch;
}

/// A parameter's steps by the formula of docs/recipes.md, in double: one call is one step.
struct AdamByHand {
  double value, first = 0, second = 0;
  int step = 0;
  void operator()(double gradient) {
    ++step;
    gradient += 1e-3 * value;
    first = 0.9 * first + 0.1 * gradient;
    second = 0.999 * second + 0.001 * gradient * gradient;
    const double mean = first / (1 - std::pow(0.9, step)), square = second / (1 - std::pow(0.999, step));
    value -= 1e-3 * mean / (std::sqrt(square) + 1e-8);
  }
};

struct PagesSgd {
  double value, buffer = 0;
  void operator()(double gradient, double rate) {
    const double g = -rate * (gradient + 5e-4 * 512 * value);
    buffer = 0.9 * buffer + g;
    value += g + 0.9 * buffer;
  }
};

Tensor parameter() {
  const std::vector<double> values{0.5, -2.0};
  Tensor x = Tensor::from(std::span<const double>(values), {2}).to(DType::f64);
  return Tensor(x.array(), true);
}

void set_gradient(Tensor& x, const std::vector<double>& gradient) {
  x.set_grad(Tensor::from(std::span<const double>(gradient), {2}));
}

const std::vector<std::vector<double>> kGradients{{0.3, 0.05}, {-0.1, 0.02}, {1e-8, -0.5}, {0.2, 0.0}};

TEST(Recipe, AdamsOptimizerIsAdamWithDecayInTheGradient) {
  Tensor x = parameter();
  const auto optimizer = kAdam.optimizer({x});
  EXPECT_EQ(optimizer->lr(), 1e-3);
  AdamByHand expected[] = {{0.5}, {-2.0}};
  for (const auto& gradient : kGradients) {
    set_gradient(x, gradient);
    optimizer->step();
    for (std::size_t i = 0; i < 2; ++i) {
      expected[i](gradient[i]);
      EXPECT_NEAR(x.to_vector<double>()[i], expected[i].value, 1e-12) << "step " << expected[i].step;
    }
  }
}

TEST(Recipe, DawnbenchsOptimizerKeepsStepsInItsBuffer) {
  Tensor x = parameter();
  const auto optimizer = kDawnbench.optimizer({x});
  EXPECT_EQ(optimizer->lr(), 0);
  PagesSgd expected[] = {{0.5}, {-2.0}};
  double rate = 0.01;
  for (const auto& gradient : kGradients) {
    optimizer->set_lr(rate);
    set_gradient(x, gradient);
    optimizer->step();
    for (std::size_t i = 0; i < 2; ++i) {
      expected[i](gradient[i], rate);
      EXPECT_NEAR(x.to_vector<double>()[i], expected[i].value, 1e-12) << "rate " << rate;
    }
    rate = rate < 0.05 ? rate * 3 : rate / 7;
  }
}

/// Weights are uniform up to a bound: none is above it, and the largest of many is close to it.
void expect_bound(const std::string& name, const Array& array, double bound, double closeness) {
  double largest = 0;
  for (const float value : array.to_vector<float>()) largest = std::max(largest, std::abs(static_cast<double>(value)));
  EXPECT_LE(largest, bound * (1 + 1e-6)) << name;
  EXPECT_GE(largest, bound * closeness) << name;
}

TEST(Recipe, InitialisationOfEachModel) {
  for (const ResNet9 variant : {ResNet9::narrow, ResNet9::full}) {
    manual_seed(3);
    const StateDict state = resnet9({.variant = variant}).state_dict();
    for (const auto& [name, array] : state) {
      const std::string layer = name.substr(0, name.rfind('.') + 1);
      if (state.contains(layer + "running_mean")) continue;
      const Shape& weight = state.at(layer + "weight").shape();
      const double fan_in = static_cast<double>(element_count(weight)) / static_cast<double>(weight[0]);
      if (name.ends_with("bias")) {
        expect_bound(name, array, 1 / std::sqrt(fan_in), 0.5);
      } else {
        expect_bound(name, array, std::sqrt((variant == ResNet9::narrow ? 6 : 1) / fan_in), 0.97);
      }
    }
  }
}

/// Notes the sizes of its batches and whether it was in training mode.
class Witness : public Layer {
 public:
  Tensor forward(const Tensor& x) const override {
    sizes.push_back(x.shape()[0]);
    trained = trained && is_training();
    evaluated = evaluated && !is_training();
    return layer_(flatten_(x));
  }
  mutable std::vector<std::int64_t> sizes;
  mutable bool trained = true, evaluated = true;  // by every call

 private:
  Flatten flatten_ = register_module("flatten", Flatten());
  Linear layer_ = register_module("layer", Linear(3072, 10));
};

TEST(Recipe, ATrainerTakesBatchesRatesAndModeFromIt) {
  for (const Recipe& recipe : {kAdam, kDawnbench}) {
    const bool dawnbench = recipe.kind == Recipe::Kind::dawnbench;
    const ImageDataset train = builtin_images(Split::train, dawnbench ? 1100 : 300);
    Witness model;
    model.eval();
    Trainer trainer(model, train, {.recipe = recipe});
    trainer.set_epoch(4);
    std::vector<double> rates;
    trainer.run_epoch([&](const Trainer::Step&) {
      rates.push_back(trainer.optimizer().lr());
      return true;
    });
    using Sizes = std::vector<std::int64_t>;
    EXPECT_EQ(model.sizes, (dawnbench ? Sizes{512, 512} : Sizes{128, 128, 44}));
    ASSERT_EQ(rates.size(), model.sizes.size());
    for (std::size_t i = 0; i < rates.size(); ++i)
      EXPECT_NEAR(rates[i], dawnbench ? (i == 0 ? 0.36 : 0.4) / 512 : 1e-3, 1e-15) << "step " << i;
    EXPECT_TRUE(model.trained);
    EXPECT_TRUE(model.is_training());
  }
}

TEST(Evaluate, RunsTheModelInEvaluationMode) {
  Witness model;
  evaluate(model, builtin_images(Split::test, 5), Device::cpu(), 2);
  EXPECT_EQ(model.sizes, (std::vector<std::int64_t>{2, 2, 1}));
  EXPECT_TRUE(model.evaluated);
  EXPECT_TRUE(model.is_training());
}

}  // namespace
}  // namespace weft::nn
