// Training on a GPU: the trajectory against PyTorch's, recorded steps against ordinary ones, memory, and random numbers
// and batches against the CPU's.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>
#include <vector>

#include "core/device/backend.h"
#include "core/value/views.h"
#include "tests/device.h"
#include "tests/trajectory.h"

namespace weft {
namespace {

class DeviceTrajectory : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    WEFT_NEEDS_CUDA();
    golden_ = load_safetensors(WEFT_GOLDEN_DIR "/needle_trajectory.safetensors");
  }
  const Array& golden(const std::string& name) const { return golden_.arrays.at(name); }
  std::vector<double> losses() const { return golden(GetParam() + ".loss").to_vector<double>(); }

  nn::Sequential model(DType dtype) const {
    nn::Sequential model = nn::resnet9({.variant = nn::ResNet9::narrow});
    model.to(dtype);
    model.to(Device::cuda());
    trajectory::set_initial_state(model);
    return model;
  }
  void check_losses(double first, double later) const {
    nn::Sequential model = this->model(DType::f32);
    const auto optimizer = trajectory::make_optimizer(GetParam(), model);
    for (int step = 0; step < trajectory::kSteps; ++step) {
      optimizer->zero_grad();
      const Tensor loss = trajectory::batch_loss(model, step, DType::f32, Device::cuda());
      const double expected = losses()[static_cast<std::size_t>(step)];
      EXPECT_NEAR(loss.item<double>(), expected, (step == 0 ? first : later) * expected) << "step " << step;
      loss.backward();
      optimizer->step();
    }
  }
  TensorFile golden_;
};

TEST_P(DeviceTrajectory, F64AgreesToOneInTenToTheEight) {
  nn::Sequential model = this->model(DType::f64);
  const auto optimizer = trajectory::make_optimizer(GetParam(), model);
  for (int step = 0; step < trajectory::kSteps; ++step) {
    optimizer->zero_grad();
    const Tensor loss = trajectory::batch_loss(model, step, DType::f64, Device::cuda());
    const double expected = losses()[static_cast<std::size_t>(step)];
    EXPECT_NEAR(loss.item<double>(), expected, 1e-8 * expected);
    loss.backward();
    const std::string prefix = GetParam() + "." + std::to_string(step) + ".";
    const auto check = [&](const std::string& kind, const std::string& name, const Array& array) {
      const Array host = array.to(Device::cpu());
      EXPECT_LE(trajectory::distance(name, host, golden(prefix + kind + name)), 1e-8) << prefix << kind << name;
    };
    for (const auto& [name, parameter] : model.named_parameters()) check("grad.", name, parameter.grad().array());
    optimizer->step();
    for (const auto& [name, parameter] : model.named_parameters()) check("param.", name, parameter.array());
    for (const auto& [name, buffer] : model.named_buffers()) {
      if (!trajectory::ends_with(name, "num_batches_tracked")) check("buffer.", name, buffer.array());
    }
  }
}

TEST_P(DeviceTrajectory, F32LossesFollow) { check_losses(1e-6, 2e-3); }

TEST_P(DeviceTrajectory, Tf32LossesFollow) {
  const PrecisionGuard precise(Precision::tf32);
  check_losses(1e-3, 5e-2);  // five steps on 16 images can amplify a rounding a thousandfold
}

TEST_P(DeviceTrajectory, Bf16LossesFollow) {
  const PrecisionGuard precise(Precision::bf16);
  check_losses(2e-2, 2e-2);
}

INSTANTIATE_TEST_SUITE_P(Optimizers, DeviceTrajectory, testing::Values("sgd", "adam"),
                         [](const auto& test) { return test.param; });

class DeviceTraining : public testing::Test {
 protected:
  void SetUp() override { WEFT_NEEDS_CUDA(); }

  struct Outcome {
    nn::StateDict state;
    double loss = 0;
    bool captured = false;
  };
  /// Two epochs of a small network with dropout on 40 images in batches of 12, the last one of 4.
  static Outcome train(bool graph, Precision precision = Precision::fp32) {
    manual_seed(5);
    nn::Sequential model(nn::Conv(3, 8, 3, {.stride = 4}), nn::BatchNorm2d(8), nn::ReLU(), nn::Dropout(0.25),
                         nn::Conv(8, 16, 3, {.stride = 4}), nn::BatchNorm2d(16), nn::ReLU(), nn::Flatten(),
                         nn::Linear(64, 10));
    model.to(Device::cuda());
    nn::Recipe recipe = nn::Recipe::make(nn::Recipe::Kind::dawnbench);
    recipe.batch_size = 12;
    recipe.drop_last = false;
    recipe.epochs = 2;
    const nn::ImageDataset images = nn::builtin_images(nn::Split::train, 40);
    nn::Trainer trainer(
        model, images, {.recipe = recipe, .seed = 3, .device = Device::cuda(), .precision = precision, .graph = graph});
    Outcome outcome;
    for (int epoch = 0; epoch < 2; ++epoch) outcome.loss = trainer.run_epoch().loss;
    for (const auto& [name, array] : model.state_dict()) outcome.state.emplace(name, array.to(Device::cpu()));
    outcome.captured = trainer.captured();
    return outcome;
  }
  static void expect_same_bits(const Outcome& a, const Outcome& b) {
    EXPECT_EQ(std::bit_cast<std::uint64_t>(a.loss), std::bit_cast<std::uint64_t>(b.loss));
    ASSERT_EQ(a.state.size(), b.state.size());
    for (const auto& [name, array] : a.state) {
      const auto x = array.to(DType::f64).to_vector<double>(), y = b.state.at(name).to(DType::f64).to_vector<double>();
      EXPECT_EQ(x, y) << name;
    }
  }
};

TEST_F(DeviceTraining, GraphAndNoGraphGiveTheSameBits) {
  const Outcome with = train(true), without = train(false);
  EXPECT_TRUE(with.captured);
  EXPECT_FALSE(without.captured);
  EXPECT_TRUE(std::isfinite(with.loss));
  expect_same_bits(with, without);
}

TEST_F(DeviceTraining, TwoRunsGiveTheSameBits) { expect_same_bits(train(true), train(true)); }

TEST_F(DeviceTraining, Bf16GraphAndNoGraphGiveTheSameBits) {
  expect_same_bits(train(true, Precision::bf16), train(false, Precision::bf16));
}

TEST_F(DeviceTraining, AStepAfterTheFirstAllocatesNothing) {
  manual_seed(1);
  nn::Sequential model = nn::resnet9({.variant = nn::ResNet9::narrow});
  model.to(Device::cuda());
  nn::Adam optimizer(model.parameters(), {});
  const Tensor images = randn({4, 3, 32, 32}, {.device = Device::cuda()});
  const Tensor labels = zeros({4}, {.dtype = DType::i64, .device = Device::cuda()});
  const auto step = [&] {
    optimizer.zero_grad();
    cross_entropy(model(images), labels).backward();
    optimizer.step();
  };
  step();
  step();
  const MemoryStatistics before = memory_statistics(Device::cuda());
  step();
  const MemoryStatistics after = memory_statistics(Device::cuda());
  EXPECT_EQ(after.system_allocations, before.system_allocations);
  EXPECT_EQ(after.live, before.live);
}

// A step that waited for the device could not be recorded.
TEST_F(DeviceTraining, ATrainersStepAfterTheSecondAllocatesNothing) {
  const nn::ImageDataset images = nn::builtin_images(nn::Split::train, 32);
  for (const bool graph : {true, false}) {
    manual_seed(1);
    nn::Sequential model(nn::Conv(3, 8, 3, {.stride = 4}), nn::BatchNorm2d(8), nn::ReLU(), nn::Dropout(0.5),
                         nn::Flatten(), nn::Linear(512, 10));
    model.to(Device::cuda());
    nn::Recipe recipe = nn::Recipe::make(nn::Recipe::Kind::adam);
    recipe.batch_size = 4;
    nn::Trainer trainer(model, images, {.recipe = recipe, .device = Device::cuda(), .graph = graph});
    MemoryStatistics second;
    trainer.run_epoch([&](const nn::Trainer::Step& step) {
      const MemoryStatistics now = memory_statistics(Device::cuda());
      if (step.step == 1) second = now;  // the recorded one
      if (step.step > 1) {
        EXPECT_EQ(now.system_allocations, second.system_allocations) << "step " << step.step;
        EXPECT_EQ(now.live, second.live) << "step " << step.step;
        EXPECT_EQ(now.peak, second.peak) << "step " << step.step;
      }
      return true;
    });
    EXPECT_EQ(trainer.captured(), graph);
  }
}

TEST_F(DeviceTraining, ALoadedOptimizerStateReachesARecordedStep) {
  Tensor value(Array::full({3}, 1, DType::f32, Device::cuda()), true);
  nn::SGD optimizer({value}, {.lr = 0.5, .momentum = 0.5});
  StepGraph graph(Device::cuda());
  const auto step = [&] {
    graph.run([&] {
      optimizer.zero_grad();
      sum(value).backward();
      optimizer.step();
    });
    return value.to_vector<float>()[0];
  };
  EXPECT_EQ(step(), 1 - 0.5f);  // momentum 1
  const nn::StateDict saved = [&] {
    nn::StateDict copy;
    for (const auto& [name, array] : optimizer.state_dict()) copy.emplace(name, array.clone());
    return copy;
  }();
  EXPECT_EQ(step(), 0.5f - 0.75f);  // momentum 1.5
  EXPECT_EQ(step(), -0.25f - 0.875f);
  EXPECT_TRUE(graph.is_captured());
  optimizer.load_state_dict(saved);
  EXPECT_EQ(step(), -1.125f - 0.75f);
  nn::StateDict fresh = saved;
  fresh.erase("0.momentum");
  optimizer.load_state_dict(fresh);
  EXPECT_EQ(step(), -1.875f - 0.5f);
}

// The value and the gradient of the logits; label 1 is ignored.
std::pair<std::vector<double>, std::vector<double>> cross_entropy_on(const Device& device, const Tensor& logits,
                                                                     const Tensor& labels, Reduction reduction,
                                                                     bool create_graph = false) {
  const Tensor z(logits.to(device).detach().array(), true);
  const Tensor loss =
      cross_entropy(z, labels.to(device), {.label_smoothing = 0.1, .reduction = reduction, .ignore_index = 1});
  const Tensor z_grad = grad({sum(loss)}, {z}, {}, {.create_graph = create_graph})[0];
  return {loss.to(Device::cpu()).to_vector<double>(), z_grad.to(Device::cpu()).to_vector<double>()};
}

void expect_all_near(const std::vector<double>& actual, const std::vector<double>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i)
    ASSERT_NEAR(actual[i], expected[i], 1e-13 * (1 + std::abs(expected[i]))) << i;
}

// More rows than all blocks of a reduction take at a time, and rows that take a block each.
TEST_F(DeviceTraining, CrossEntropyOfManyRowsAndOfWideOnes) {
  for (const Shape& shape : {Shape{9001, 4}, Shape{70, 1100}}) {
    const Tensor logits = randn(shape, {.dtype = DType::f64});
    const Tensor numbers = arange(0, shape[0]), labels = remainder(numbers, 4);
    for (const Reduction reduction : {Reduction::none, Reduction::sum, Reduction::mean}) {
      const auto expected = cross_entropy_on(Device::cpu(), logits, labels, reduction);
      const auto actual = cross_entropy_on(Device::cuda(), logits, labels, reduction);
      expect_all_near(actual.first, expected.first);
      expect_all_near(actual.second, expected.second);
    }
  }
}

TEST_F(DeviceTraining, IgnoredRowsTakeNoGradientWhateverTheyHold) {
  const double nan = std::nan("");
  const Tensor logits = Tensor::from<double>({1, 2, 3, nan, nan, 1, 0, 1, 5, nan, nan, nan}, {4, 3});
  const Tensor some = Tensor::from<std::int64_t>({0, 1, 2, 1}, {4}), all = full({4}, 1, {.dtype = DType::i64});
  for (const Device& device : {Device::cpu(), Device::cuda()}) {
    for (const Reduction reduction : {Reduction::none, Reduction::sum, Reduction::mean}) {
      for (bool create_graph : {false, true}) {
        const auto found = cross_entropy_on(device, logits, some, reduction, create_graph);
        for (double loss : found.first) EXPECT_TRUE(std::isfinite(loss));
        for (std::size_t i = 0; i < 12; ++i) EXPECT_EQ(found.second[i] == 0, i / 3 % 2 == 1) << found.second[i];
        const auto none = cross_entropy_on(device, logits, all, reduction, create_graph);
        EXPECT_EQ(none.second, std::vector<double>(12, 0));
        for (double loss : none.first) EXPECT_EQ(std::isnan(loss), reduction == Reduction::mean);
      }
    }
  }
}

// Nothing waits for labels on a GPU, so they cannot be refused there.
TEST_F(DeviceTraining, LabelsWithoutAClassGiveNaNInTheirRowOnly) {
  const Tensor z = randn({6, 3}, {.device = Device::cuda()}), weight = ones({3}, {.device = Device::cuda()});
  const std::vector<std::int64_t> numbers{0, 3, 2, -1, -100, 1};
  const Tensor labels = Tensor::from(std::span<const std::int64_t>(numbers), {6}).to(Device::cuda());
  for (const Tensor& weights : {Tensor(), weight}) {
    for (const Tensor& losses : {cross_entropy(z, labels, {0, Reduction::none, weights}),
                                 nll_loss(log_softmax(z), labels, {Reduction::none, weights})}) {
      const std::vector<float> values = losses.to_vector<float>();
      for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(std::isnan(values[i]), i == 1 || i == 3) << i;
    }
    EXPECT_TRUE(std::isnan(cross_entropy(z, labels, {.weight = weights}).item<float>()));
    EXPECT_TRUE(std::isnan(nll_loss(log_softmax(z), labels, {.weight = weights}).item<float>()));
  }
}

TEST_F(DeviceTraining, SecondDerivativesOfNoRowsThatCountAreZero) {
  for (const Device& device : {Device::cpu(), Device::cuda()}) {
    const Tensor z(randn({4, 3}, {.dtype = DType::f64, .device = device}).array(), true);
    const Tensor g(Array::full({}, 1, DType::f64, device), true);
    const Tensor loss = cross_entropy(z, full({4}, -100, {.dtype = DType::i64, .device = device}));
    const Tensor z_grad = grad({loss}, {z}, {g}, {.create_graph = true})[0];
    for (const Tensor& second : grad({sum(z_grad)}, {z, g})) {
      for (double value : second.to(Device::cpu()).to_vector<double>()) EXPECT_EQ(value, 0);
    }
  }
}

// A product that drops the end of its sums, as a split over k may, is off by a whole number.
TEST_F(DeviceTraining, SumsOverRaggedDepthsAreWhole) {
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
    const PrecisionGuard precise(precision);
    for (const std::int64_t k : {3643, 14563, 29127}) {
      const TensorOptions options{.device = Device::cuda()};
      const std::vector<float> y =
          matmul(ones({24, k}, options), ones({k, 40}, options)).to(DType::f32).to_vector<float>();
      const float expected =
          precision == Precision::bf16 ? static_cast<float>(bfloat16(static_cast<float>(k))) : static_cast<float>(k);
      EXPECT_EQ(y, std::vector<float>(24 * 40, expected)) << k;
    }
  }
}

// By precision, and of bf16 tensors; recorded and not.
TEST_F(DeviceTraining, GradientsHaveTheirTensorsDtypes) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const PrecisionGuard precise(dtype == DType::f32 ? Precision::bf16 : Precision::fp32);
    const DType kind = dtype;
    const auto leaf = [&](const Shape& shape) {
      return Tensor(randn(shape, {.device = Device::cuda()}).to(kind).array(), true);
    };
    const auto gradients = [&](bool create_graph) {
      manual_seed(4);
      const Tensor x = leaf({2, 3, 4, 4}), weight = leaf({5, 3, 3, 3}), bias = leaf({5});
      const Tensor filters = leaf({3, 5, 2, 2}), rows = leaf({6, 7}), matrix = leaf({5, 7});
      std::vector<Tensor> all;
      for (const auto& [y, leaves] :
           std::vector<std::pair<Tensor, std::vector<Tensor>>>{{conv2d(x, weight, bias), {x, weight, bias}},
                                                               {conv_transpose2d(x, filters, bias), {x, filters, bias}},
                                                               {linear(rows, matrix, bias), {rows, matrix, bias}}}) {
        EXPECT_EQ(y.dtype(), DType::bf16);
        for (const Tensor& g : grad({sum(y * y)}, leaves, {}, {.create_graph = create_graph})) {
          EXPECT_EQ(g.dtype(), kind) << all.size();
          all.push_back(g.detach().to(DType::f64));
        }
      }
      return all;
    };
    const std::vector<Tensor> recorded = gradients(true), plain = gradients(false);
    for (std::size_t i = 0; i < plain.size(); ++i) {
      const Tensor difference = recorded[i] - plain[i];
      EXPECT_LE(sum(difference * difference).item<double>(), 4e-4 * sum(plain[i] * plain[i]).item<double>()) << i;
    }
  }
}

// More products than one call takes.
TEST_F(DeviceTraining, LargeBatchesOfProducts) {
  constexpr std::int64_t kBatch = 66000;
  const TensorOptions options{.dtype = DType::f32, .device = Device::cuda()};
  const auto numbers = [&](float modulus) {  // of matrix i: i mod modulus, and 1
    const Tensor all = arange(0, kBatch, 1, options);
    return stack({remainder(all, full({}, modulus, options)), ones({kBatch}, options)}, 1);
  };
  const std::vector<float> y =
      matmul(numbers(7).reshape({kBatch, 1, 2}), numbers(5).reshape({kBatch, 2, 1})).to_vector<float>();
  for (std::int64_t i = 0; i < kBatch; ++i) {
    ASSERT_EQ(y[static_cast<std::size_t>(i)], static_cast<float>((i % 7) * (i % 5) + 1)) << i;
  }
}

TEST_F(DeviceTraining, RepeatedPassesGiveTheSameBits) {
  for (const auto& [algo, dtype] : std::vector<std::pair<ConvAlgo, DType>>{{ConvAlgo::im2col, DType::f32},
                                                                           {ConvAlgo::im2col, DType::bf16},
                                                                           {ConvAlgo::implicit_gemm, DType::f32},
                                                                           {ConvAlgo::implicit_gemm, DType::bf16}}) {
    manual_seed(3);
    const DType kind = dtype;
    const auto random = [&](const Shape& shape) { return randn(shape, {.device = Device::cuda()}).to(kind); };
    const Tensor x = random({8, 24, 12, 12}), weight = random({40, 24, 3, 3}), g = random({8, 40, 12, 12});
    const Conv2dOptions options{.padding = {1, 1}, .algo = algo};
    const auto passes = [&] {
      std::vector<std::vector<double>> all;
      for (const Tensor& t : {conv2d(x, weight, {}, options), conv2d_input_grad(g, weight, x.shape(), options),
                              conv2d_weight_grad(g, x, weight.shape(), options), sum(x, {0, 2, 3})})
        all.push_back(t.to(DType::f64).to_vector<double>());
      return all;
    };
    const auto first = passes();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(passes(), first) << name(algo) << " " << name(dtype);
  }
}

TEST_F(DeviceTraining, RandomNumbersAreTheCpus) {
  const auto draw = [](const Device& device) {
    manual_seed(11);
    std::vector<std::vector<double>> all;
    for (const std::int64_t n : {1, 5, 1023}) {
      all.push_back(rand({n}, {.device = device}, -1, 3).to(DType::f64).to_vector<double>());
      all.push_back(rand({n}, {.dtype = DType::f64, .device = device}).to_vector<double>());
      for (DType dtype : {DType::i32, DType::i64, DType::u8}) {
        const Tensor values = randint(3, 100, {n}, {.dtype = dtype, .device = device});
        all.push_back(values.to(DType::f64).to_vector<double>());
      }
    }
    return all;
  };
  EXPECT_EQ(draw(Device::cpu()), draw(Device::cuda()));
  const auto normal = [](const Device& device, DType dtype) {
    Generator generator(4, 9);
    return randn({1001}, {.dtype = dtype, .device = device}, 0, 1, generator).to(DType::f64).to_vector<double>();
  };
  for (DType dtype : {DType::f32, DType::f64}) {
    const auto a = normal(Device::cpu(), dtype), b = normal(Device::cuda(), dtype);
    for (std::size_t i = 0; i < a.size(); ++i)
      EXPECT_NEAR(a[i], b[i], (dtype == DType::f32 ? 4e-6 : 1e-14) * std::max(1.0, std::fabs(a[i])));
  }
}

TEST_F(DeviceTraining, BatchesAreTheCpus) {
  const nn::ImageDataset images = nn::builtin_images(nn::Split::train, 23);
  const auto epoch = [&](const Device& device) {
    nn::DataLoader loader(images, {.batch_size = 5,
                                   .shuffle = true,
                                   .augmentation = {.crop_padding = 4, .reflect = true, .flip = true, .cutout = 8},
                                   .seed = 6,
                                   .device = device});
    loader.set_epoch(2);
    std::vector<std::pair<std::vector<float>, std::vector<std::int64_t>>> all;
    for (auto& [x, y] : loader) all.emplace_back(x.to_vector<float>(), y.to_vector<std::int64_t>());
    return all;
  };
  EXPECT_EQ(epoch(Device::cpu()), epoch(Device::cuda()));
}

// The sum of the losses and the number of hits, from 0.25 and 3 on. The CPU takes bf16 as f32.
std::pair<double, std::int64_t> tallied(const Device& device, const Array& logits, const Array& labels,
                                        const Array& losses) {
  const bool widened = device.is_cpu() && logits.dtype() == DType::bf16;
  const Array z = (widened ? logits.to(DType::f32) : logits).to(device);
  const Array y = labels.to(device), row_losses = losses.to(device);
  Array sum = Array::full({}, 0.25, DType::f64, device), hits = Array::full({}, 3, DType::i64, device);
  backend(device)->tally({const_view(z), const_view(y), const_view(row_losses), mutable_view(sum), mutable_view(hits)});
  return {sum.item<double>(), hits.item<std::int64_t>()};
}

TEST_F(DeviceTraining, TalliesAreTheCpus) {
  for (const Shape& shape :
       {Shape{0, 10}, Shape{1, 1}, Shape{5, 10}, Shape{300, 10}, Shape{2500, 3}, Shape{70, 33}, Shape{600, 100}}) {
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
      manual_seed(4);
      const Array z = randn(shape).to(dtype).array();  // bf16 has equals
      const Array losses = randn({shape[0]}).to(dtype == DType::f64 ? DType::f64 : DType::f32).array();
      const Array labels = randint(-1, shape[1] + 1, {shape[0]}).array();
      const auto expected = tallied(Device::cpu(), z, labels, losses);
      const auto actual = tallied(Device::cuda(), z, labels, losses);
      EXPECT_NEAR(actual.first, expected.first, 1e-11) << to_string(shape);
      EXPECT_EQ(actual.second, expected.second) << to_string(shape) << " " << name(dtype);
      EXPECT_EQ(tallied(Device::cuda(), z, labels, losses), actual);
    }
  }
}

TEST_F(DeviceTraining, TalliesOfEqualsAndNaNAreTheCpus) {
  const float nan = NAN, inf = INFINITY;
  const Array loss = Array::full({1}, 1, DType::f32);
  for (const std::int64_t classes : {3, 40}) {  // a thread's row, a warp's
    for (const std::vector<float>& first :
         std::vector<std::vector<float>>{{2, 2, 1}, {1, 2, nan}, {nan, 2, nan}, {inf, 2, inf}, {-inf, -inf, -inf}}) {
      std::vector<float> row(static_cast<std::size_t>(classes), -inf);
      std::copy(first.begin(), first.end(), row.begin());
      const Array z = Array::from(std::span<const float>(row), {1, classes});
      for (const std::int64_t label : {-1, 0, 1, 2, 39}) {
        const Array y = Array::full({1}, label, DType::i64);
        EXPECT_EQ(tallied(Device::cpu(), z, y, loss), tallied(Device::cuda(), z, y, loss))
            << Tensor(z) << " label " << label;
      }
    }
  }
}

TEST_F(DeviceTraining, CreationOpsGiveTheCpusValues) {
  const auto values = [](const Device& device) {
    std::vector<std::vector<double>> all;
    for (DType dtype : {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8}) {
      const TensorOptions options{.dtype = dtype, .device = device};
      all.push_back(arange(3, 90, 4, options).to(DType::f64).to_vector<double>());
      all.push_back(full({3, 5}, 7, options).to(DType::f64).to_vector<double>());
      all.push_back(eye(3, 5, options).to(DType::f64).to_vector<double>());
    }
    all.push_back(arange(1.5, -2.25, -0.5, {.dtype = DType::f32, .device = device}).to(DType::f64).to_vector<double>());
    return all;
  };
  EXPECT_EQ(values(Device::cpu()), values(Device::cuda()));
}

TEST_F(DeviceTraining, StorageDtypesConvertAsOnTheCpu) {
  const std::vector<float> numbers{0.0f, -0.0f, 1.0f, 65519.0f, 65520.0f, 1e-8f, -3.14159f, INFINITY, 3e38f, 258.5f};
  for (DType dtype : {DType::f16, DType::bf16, DType::u8, DType::i32, DType::boolean}) {
    const Array x = Array::from(std::span<const float>(numbers), {10});
    EXPECT_EQ(x.to(dtype).to(DType::f64).to_vector<double>(),
              x.to(Device::cuda()).to(dtype).to(DType::f64).to_vector<double>())
        << name(dtype);
  }
}

}  // namespace
}  // namespace weft
