// Training steps whose every call of CUDA's runtime and of cuBLASLt goes through cuda/runtime/runtime.cpp and
// cuda/runtime/cublaslt.cpp to the stand-ins.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "cuda/runtime/profile.h"
#include "faults.h"
#include "tests/op_check.h"
#include "weft/weft.h"

namespace weft::cuda_libraries {
namespace {

/// A share of norms: the norm of what is expected counts as 0.1 at least.
double relative_error(const std::vector<double>& found, const std::vector<double>& expected) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    difference += std::pow(found[i] - expected[i], 2);
    norm += std::pow(expected[i], 2);
  }
  return std::sqrt(difference) / std::max(0.1, std::sqrt(norm));
}

/// The narrow ResNet9 with a pinned algorithm; its linear layers are 1x1 convolutions, so that it is theirs too.
nn::Sequential narrow(ConvAlgo algo) {
  manual_seed(3);
  const auto block = [&](std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride) {
    return nn::Sequential(nn::Conv2d(in, out, kernel, {.stride = stride, .padding = (kernel - 1) / 2, .algo = algo}),
                          nn::BatchNorm2d(out), nn::ReLU());
  };
  return nn::Sequential(
      block(3, 16, 7, 4), block(16, 32, 3, 2), nn::Residual(block(32, 32, 3, 1), block(32, 32, 3, 1)),
      block(32, 64, 3, 2), block(64, 128, 3, 2), nn::Residual(block(128, 128, 3, 1), block(128, 128, 3, 1)),
      nn::Conv2d(128, 128, 1, {.algo = algo}), nn::ReLU(), nn::Conv2d(128, 10, 1, {.algo = algo}), nn::Flatten());
}

/// The loss and the gradients of one step, as one list.
std::vector<double> step(const Device& device, ConvAlgo algo) {
  nn::Sequential model = narrow(algo);
  model.to(device);
  manual_seed(4);
  const Tensor images = randn({8, 3, 32, 32}).to(device);
  const Tensor labels = arange(0, 8).to(device);
  const Tensor loss = cross_entropy(model(images), labels);
  loss.backward();
  std::vector<double> all{loss.item<float>()};
  for (const Tensor& parameter : model.parameters()) {
    const std::vector<float> values = parameter.grad().to_vector<float>();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

// Products: 10 convolutions forward, 10 weight gradients, 6 input gradients of stride 1, and 3 of stride 2 in
// four phases each. The images have none.
TEST(Step, OfNarrowPinnedToIm2colGoesThroughCublasLt) {
  const std::vector<double> expected = step(Device::cpu(), ConvAlgo::im2col);
  algorithms() = {{}, {}};
  const std::uint64_t before = faults().calls_of("cublasLtMatmul");
  const std::vector<double> found = step(Device::cuda(), ConvAlgo::im2col);
  EXPECT_EQ(faults().calls_of("cublasLtMatmul") - before, 10u + 10u + 6u + 12u);
  ASSERT_EQ(found.size(), expected.size());
  EXPECT_LE(relative_error(found, expected), 1e-5);
}

TEST(Table, ConvolutionsPinnedToIm2colAreTheirDefinitions) {
  algorithms() = {{}, {}};
  const std::uint64_t before = faults().calls_of("cublasLtMatmul");
  std::uint64_t rows = 0;
  for (const cases::OpCase& row : cases::op_cases()) {
    if (row.what.find("algo im2col") == std::string::npos) continue;
    SCOPED_TRACE(describe(row));
    const std::vector<cases::Plain> values = make_inputs(row);
    const cases::Plain expected = row.reference(values);
    for (const DType dtype : {DType::f32, DType::f64}) {
      const cases::Operands x(row, values, dtype, cases::Placement::contiguous, false, Device::cuda());
      const cases::Plain found = cases::to_plain(row.run(x.tensors));
      ASSERT_EQ(found.shape, expected.shape);
      EXPECT_LE(relative_error(found.values, expected.values), dtype == DType::f64 ? 1e-12 : 1e-5);
    }
    ++rows;
  }
  EXPECT_GT(rows, 10u);
  EXPECT_GE(faults().calls_of("cublasLtMatmul") - before, rows);
}

/// The weights after three steps, the second of which is recorded, with a copy up and down.
std::vector<float> train() {
  manual_seed(5);
  nn::Sequential model(nn::Conv2d(2, 3, 3, {.stride = 2, .algo = ConvAlgo::im2col}), nn::BatchNorm2d(3), nn::ReLU(),
                       nn::Flatten(), nn::Linear(12, 4));
  model.to(Device::cuda());
  nn::SGD optimizer(model.parameters(), {.lr = 0.1, .momentum = 0.9});
  const Tensor images = randn({4, 2, 6, 6}).to(Device::cuda());
  const Tensor labels = arange(0, 4).to(Device::cuda());
  StepGraph graph(Device::cuda());
  for (int i = 0; i < 3; ++i) {
    graph.run([&] {
      optimizer.zero_grad();
      cross_entropy(model(images), labels).backward();
      optimizer.step();
    });
  }
  std::vector<float> all;
  for (const Tensor& parameter : model.parameters()) {
    const std::vector<float> values = parameter.to_vector<float>();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

// Whichever call fails, one typed error says so or nothing does, and the next training has the bits of the first.
TEST(Step, SurvivesTheFailureOfEachCall) {
  algorithms() = {{.refused = true}, {}};
  train();
  const std::uint64_t start = faults().all_calls();
  const std::vector<float> expected = train();
  const std::uint64_t calls = faults().all_calls() - start;
  EXPECT_GT(calls, 100u);
  int thrown = 0;
  for (std::uint64_t i = 1; i <= calls; ++i) {
    faults().fail_call(i);
    try {
      train();
    } catch (const Error& error) {
      ++thrown;
      const std::string text = error.what();
      EXPECT_TRUE(text.find("unknown error (cudaErrorUnknown)") != std::string::npos ||
                  text.find("(CUBLAS_STATUS_EXECUTION_FAILED)") != std::string::npos)
          << text;
    }
    faults().never_fail();
    if (i % 16 == 0 || i == calls) {
      ASSERT_EQ(train(), expected) << "after the failure of call " << i;
    }
  }
  EXPECT_GT(thrown, static_cast<int>(calls / 4));
}

// A failing call of the profile itself changes nothing. After the first 150 calls every seventh one fails.
TEST(Step, SurvivesTheFailureOfEachCallWithAProfile) {
  algorithms() = {{.refused = true}, {}};
  const std::vector<float> expected = train();
  const auto profiled = [] {
    cuda::profile::start();
    std::vector<float> weights = train();
    return std::pair{std::move(weights), cuda::profile::stop()};
  };
  profiled();
  const std::uint64_t start = faults().all_calls();
  const cuda::profile::Profile whole = profiled().second;
  const std::uint64_t calls = faults().all_calls() - start;
  EXPECT_EQ(whole.untimed, 0);
  EXPECT_GT(whole.captured, 5);
  EXPECT_EQ(whole.rows.at(0).facts.registers, whole.rows.at(0).threads > 0 ? 40 : 0);
  const int events = live_objects().counts()["event"];
  int untimed = 0, thrown = 0;
  for (std::uint64_t i = 1; i <= calls; i += i < 150 ? 1 : 7) {
    faults().fail_call(i);
    try {
      const auto [weights, profile] = profiled();
      EXPECT_EQ(weights, expected) << "with the failure of call " << i;
      untimed += profile.untimed > 0;
    } catch (const Error&) {
      ++thrown;
    }
    faults().never_fail();
  }
  cuda::profile::stop();
  EXPECT_EQ(live_objects().counts()["event"], events) << "events are lost";
  EXPECT_GT(untimed, 20);
  EXPECT_GT(thrown, 10);
  EXPECT_EQ(train(), expected);
}

}  // namespace
}  // namespace weft::cuda_libraries
