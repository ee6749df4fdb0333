#include "weft/train_ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "tests/error_support.h"
#include "weft/error.h"
#include "weft/ops.h"

namespace weft {
namespace {

Array doubles(const std::vector<double>& values, const Shape& shape) {
  return Array::from(std::span<const double>(values), shape);
}
Array integers(const std::vector<std::int64_t>& values, const Shape& shape) {
  return Array::from(std::span<const std::int64_t>(values), shape);
}
Array bytes(const std::vector<std::uint8_t>& values, const Shape& shape) {
  return Array::from(std::span<const std::uint8_t>(values), shape);
}
Array rate() { return Array::full({}, 0.25, DType::f64); }

ParameterStep adam_parameter() {
  return {doubles({1, 2}, {2}), doubles({4, -4}, {2}), doubles({0, 0}, {2}), doubles({0, 0}, {2}), integers({0}, {})};
}

TEST(SgdStep, FollowsItsFormulaAndCountsAsAWrite) {
  const ParameterStep p{doubles({1, 2}, {2}), doubles({4, 8}, {2}), doubles({1, -1}, {2})};
  const std::uint64_t before = p.value.version();
  sgd_step({{p}}, {.momentum = 0.5}, rate());
  EXPECT_EQ(p.first.to_vector<double>(), (std::vector<double>{4.5, 7.5}));
  EXPECT_EQ(p.value.to_vector<double>(), (std::vector<double>{1 - 0.25 * 4.5, 2 - 0.25 * 7.5}));
  EXPECT_GT(p.value.version(), before);
  sgd_step({}, {}, rate());
}

TEST(SgdStep, RefusesWhatItsKernelDoesNotTake) {
  const auto step = [](const ParameterStep& p, double momentum, const Array& at) {
    sgd_step({{p}}, {.momentum = momentum}, at);
  };
  const Array value = doubles({1, 2}, {2});
  expect_error<ShapeError>(
      "sgd_step: parameter 0: the gradient has shape (1,) and strides (1,), but the parameter (2,) and (1,)", [&] {
        step({value, doubles({1}, {1})}, 0, rate());
      });
  expect_error<DTypeError>("sgd_step: parameter 0: the gradient is f32, expected f64", [&] {
    step({value, value.to(DType::f32)}, 0, rate());
  });
  expect_error<DTypeError>("sgd_step: parameter 0 is i64, only f32 and f64 are stepped", [&] {
    step({value.to(DType::i64), value.to(DType::i64)}, 0, rate());
  });
  expect_error<ValueError>("sgd_step: parameter 0 has no momentum, but the options do", [&] {
    step({value, value.clone()}, 0.5, rate());
  });
  expect_error<ValueError>("sgd_step: parameter 0 has a momentum, but the options have none", [&] {
    step({value, value.clone(), value.clone()}, 0, rate());
  });
  expect_error<Error>("sgd_step: parameter 0: the gradient is undefined", [&] { step({value, {}}, 0, rate()); });
  const Array gaps = doubles({1, 2, 3, 4}, {4}).view({{2}, {2}, 0});
  expect_error<ShapeError>("sgd_step: parameter 0 of shape (2,) and strides (2,) is not dense", [&] {
    step({gaps, gaps}, 0, rate());
  });
  expect_error<DTypeError>("sgd_step: the rate is f32, expected f64", [&] {
    step({value, value.clone()}, 0, rate().to(DType::f32));
  });
  EXPECT_EQ(value.to_vector<double>(), (std::vector<double>{1, 2}));
}

TEST(AdamStep, MovesByTheRateAtFirstAndCountsTheStep) {
  const ParameterStep p = adam_parameter();
  adam_step({{p}}, {}, rate());
  EXPECT_NEAR(p.value.to_vector<double>()[0], 0.75, 1e-8);
  EXPECT_NEAR(p.value.to_vector<double>()[1], 2.25, 1e-8);
  EXPECT_EQ(p.step.item<std::int64_t>(), 1);
}

TEST(AdamStep, RefusesStateThatIsNotTheParameters) {
  ParameterStep p = adam_parameter();
  p.second = doubles({0}, {1});
  EXPECT_THROW(adam_step({{p}}, {}, rate()), ShapeError);
  p = adam_parameter();
  p.step = doubles({0}, {});
  expect_error<DTypeError>("adam_step: parameter 0: the step is f64, expected i64",
                           [&] { adam_step({{p}}, {}, rate()); });
  EXPECT_EQ(p.value.to_vector<double>(), (std::vector<double>{1, 2}));
}

TEST(TallyOp, AddsLossesAndHits) {
  const Array logits = doubles({0, 1, 3, 2}, {2, 2}), losses = doubles({0.5, 0.25}, {2});
  const Array sum = Array::full({}, 1.0, DType::f64), hits = integers({3}, {});
  tally(logits, integers({1, 1}, {2}), losses, sum, hits);
  EXPECT_EQ(sum.item<double>(), 1.75);
  EXPECT_EQ(hits.item<std::int64_t>(), 4);
  expect_error<ShapeError>("tally: labels has shape (1,), expected (2,)",
                           [&] { tally(logits, integers({1}, {1}), losses, sum, hits); });
  expect_error<DTypeError>("tally: losses is f32, expected f64", [&] {
    tally(logits, integers({1, 1}, {2}), losses.to(DType::f32), sum, hits);
  });
  expect_error<DTypeError>("tally: logits is bf16, which is not supported on cpu", [&] {
    tally(logits.to(DType::bf16), integers({1, 1}, {2}), losses, sum, hits);
  });
  const Array across = logits.view({{2, 2}, {1, 2}, 0});
  expect_error<ShapeError>("tally: logits of shape (2, 2) and strides (1, 2) is not row-major", [&] {
    tally(across, integers({1, 1}, {2}), losses, sum, hits);
  });
}

struct Batches {
  std::vector<std::uint8_t> pixels = std::vector<std::uint8_t>(3 * 2 * 2 * 2), labels = {7, 8, 9};
  std::vector<std::int64_t> order = {2, 0, 1};
  Array out = Array::empty_like(Layout::channels_last({2, 2, 2, 2}), DType::f32, Device::cpu());
  Array out_labels = Array::empty({2}, DType::i64);

  Batches() { std::iota(pixels.begin(), pixels.end(), std::uint8_t{0}); }
  HostImages host() const { return {pixels, labels, 2, 2, 2}; }
};

TEST(ImageBatch, TakesImagesInOrderAndWrapsAround) {
  const Batches b;
  const Array clock = integers({0, 2}, {2});
  image_batch(bytes(b.pixels, {3, 2, 2, 2}), bytes(b.labels, {3}), integers(b.order, {3}), clock, b.out, b.out_labels,
              {});
  EXPECT_EQ(b.out_labels.to_vector<std::int64_t>(), (std::vector<std::int64_t>{8, 9}));
  const std::vector<float> values = b.out.to_vector<float>();
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(values[i], static_cast<float>(8 + i) / 255.0f);
  EXPECT_EQ(clock.to_vector<std::int64_t>(), (std::vector<std::int64_t>{0, 4}));
}

TEST(ImageBatch, MakesTheSameOfHostMemory) {
  const Batches host, device;
  const ImageBatchOptions options{.padding = 1, .flip = true, .cutout = 1, .seed = 3};
  image_batch(host.host(), host.order, 5, 1, host.out, host.out_labels, options);
  image_batch(bytes(device.pixels, {3, 2, 2, 2}), bytes(device.labels, {3}), integers(device.order, {3}),
              integers({5, 1}, {2}), device.out, device.out_labels, options);
  EXPECT_EQ(host.out.to_vector<float>(), device.out.to_vector<float>());
  EXPECT_EQ(host.out_labels.to_vector<std::int64_t>(), (std::vector<std::int64_t>{7, 8}));
  EXPECT_EQ(device.out_labels.to_vector<std::int64_t>(), (std::vector<std::int64_t>{7, 8}));
}

TEST(ImageBatch, RefusesWhatItsKernelDoesNotTake) {
  const Batches b;
  const auto batch = [&](const HostImages& images, const Array& out, const ImageBatchOptions& options) {
    image_batch(images, b.order, 0, 0, out, b.out_labels, options);
  };
  expect_error<ValueError>("image_batch: padding must not be 2",
                           [&] { batch(b.host(), b.out, {.padding = 2, .reflect = true}); });
  expect_error<ValueError>("image_batch: cutout must not be 3", [&] { batch(b.host(), b.out, {.cutout = 3}); });
  expect_error<ValueError>("image_batch: a standard deviation must not be 0", [&] {
    batch(b.host(), b.out, {.stddev = {1, 0, 1}});
  });
  expect_error<ShapeError>(
      "image_batch: images of shape (3, 4, 1, 2) must have 1 to 3 channels and 1 to 1024 rows and columns", [&] {
        batch({b.pixels, b.labels, 4, 1, 2}, b.out, {});
      });
  expect_error<ShapeError>("image_batch: images of shape (3, 2, 2, 1) cannot have 24 bytes", [&] {
    batch({b.pixels, b.labels, 2, 2, 1}, b.out, {});
  });
  expect_error<ShapeError>("image_batch: out of shape (2, 2, 2, 2) and strides (8, 4, 2, 1) is not channels-last",
                           [&] { batch(b.host(), b.out.contiguous(), {}); });
  const std::vector<std::int64_t> order = {0, 3};
  expect_error<IndexError>("image_batch: image 3 is outside [0, 3)",
                           [&] { image_batch(b.host(), order, 0, 0, b.out, b.out_labels, {}); });
}

TEST(CopyFromHost, WritesInRowMajorOrderAndCountsAsAWrite) {
  Array across = Array::full({2, 2}, 0, DType::i64).view({{2, 2}, {1, 2}, 0});
  const std::vector<std::int64_t> values = {1, 2, 3, 4};
  const std::uint64_t before = across.version();
  across.copy_from_host(std::span<const std::int64_t>(values));
  EXPECT_EQ(across.to_vector<std::int64_t>(), values);
  EXPECT_GT(across.version(), before);
  expect_error<ShapeError>("copy_from_host: 3 values do not fill the shape (2, 2)",
                           [&] { across.copy_from_host(std::span<const std::int64_t>(values).first(3)); });
  const std::vector<float> floats(4);
  expect_error<DTypeError>("array: elements are i64, not f32",
                           [&] { across.copy_from_host(std::span<const float>(floats)); });
}

TEST(IsSame, HoldsForHandlesOfOneTensor) {
  const Tensor x = ones({2}), copy = x;
  EXPECT_TRUE(x.is_same(copy));
  EXPECT_FALSE(x.is_same(x.detach()));
  EXPECT_TRUE(Tensor().is_same(Tensor()));
}

TEST(Description, NamesTheInstructionSetInUse) {
  const std::vector<std::string> sets = cpu_instruction_sets();
  ASSERT_FALSE(sets.empty());
  EXPECT_EQ(sets.back(), "portable");
  EXPECT_NE(description(Device::cpu()).find(sets.front() + " kernels"), std::string::npos);
  EXPECT_EQ(work_statistics(Device::cpu()).matrix_products, 0u);
  EXPECT_THROW(require_device(Device::cuda(1000)), DeviceError);
}

}  // namespace
}  // namespace weft
