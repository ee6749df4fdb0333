#include <gtest/gtest.h>

#include <vector>

#include "weft/ops.h"

// Worked examples of convolution from tutorials, with the numbers that they print.
namespace weft {
namespace {

using Numbers = std::vector<double>;

Tensor from(const Numbers& values, const Shape& shape) { return Tensor::from(std::span<const double>(values), shape); }

void expect(const Tensor& tensor, const Shape& shape, const Numbers& values) {
  EXPECT_EQ(tensor.shape(), shape) << to_string(tensor.shape());
  EXPECT_EQ(tensor.to(DType::f64).to_vector<double>(), values) << tensor;
}

// A convolution by every way there is: the fast one and its definition, in both precisions. All the numbers are exact.
void expect_conv2d(const Tensor& x, const Tensor& weight, const Shape& shape, const Numbers& values,
                   const Conv2dOptions& options = {}) {
  for (DType dtype : {DType::f32, DType::f64}) {
    expect(conv2d(x.to(dtype), weight.to(dtype), {}, options), shape, values);
    expect(composed::conv2d(x.to(dtype), weight.to(dtype), options), shape, values);
  }
}

Tensor one_to_nine() { return arange(1, 10, 1, {.dtype = DType::f64}).reshape({3, 3}); }

TEST(TutorialExamples, RowsOfPatchesTimesTheFlattenedKernel) {
  const Tensor image = from({1, 4, 7, 2, 5, 8, 3, 6, 9}, {1, 1, 3, 3});
  const Tensor kernel = from({1, 10, 100, 1000}, {1, 1, 2, 2});
  const Tensor rows = composed::im2col(image, {2, 2});
  expect(rows, {4, 4}, {1, 4, 2, 5, 4, 7, 5, 8, 2, 5, 3, 6, 5, 8, 6, 9});
  expect(matmul(rows, kernel.reshape({4, 1})), {4, 1}, {5241, 8574, 6352, 9685});
  expect_conv2d(image, kernel, {1, 1, 2, 2}, {5241, 8574, 6352, 9685});
}

TEST(TutorialExamples, StridesOfAMatrixOfInt64) {
  const Tensor matrix = arange(1, 10).reshape({3, 3});
  ASSERT_EQ(matrix.dtype(), DType::i64);
  EXPECT_EQ(matrix.array().strides(), (Strides{3, 1}));
  EXPECT_EQ(matrix.array().strides()[0] * static_cast<std::int64_t>(size_of(matrix.dtype())), 24);
  EXPECT_EQ(matrix.array().strides()[1] * static_cast<std::int64_t>(size_of(matrix.dtype())), 8);
}

TEST(TutorialExamples, Flip) { expect(flip(one_to_nine(), {0, 1}), {3, 3}, {9, 8, 7, 6, 5, 4, 3, 2, 1}); }

TEST(TutorialExamples, Dilate) {
  expect(dilate(one_to_nine(), {0, 1}, 1), {5, 5},
         {1, 0, 2, 0, 3, 0, 0, 0, 0, 0, 4, 0, 5, 0, 6, 0, 0, 0, 0, 0, 7, 0, 8, 0, 9});
  expect(dilate(from({1, 2, 3}, {3}), 0, 1), {5}, {1, 0, 2, 0, 3});
}

TEST(TutorialExamples, VerticalEdges) {
  const Tensor image = from({1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0}, {1, 1, 5, 5});
  const Tensor kernel = from({1, 0, -1, 1, 0, -1, 1, 0, -1}, {1, 1, 3, 3});
  expect_conv2d(image, kernel, {1, 1, 3, 3}, {-2, 0, 2, -3, -2, 2, -3, -1, 2});
}

TEST(TutorialExamples, TwoConstantChannels) {
  const auto channels = [](double first, double second, std::int64_t size) {
    const TensorOptions f64{.dtype = DType::f64};
    return concatenate({full({1, 1, size, size}, first, f64), full({1, 1, size, size}, second, f64)}, 1);
  };
  expect_conv2d(channels(1, 2, 4), channels(1, -1, 3), {1, 1, 2, 2}, {-9, -9, -9, -9});
}

TEST(TutorialExamples, PatchesOfABatch) {
  const Tensor batch = arange(0, 16 * 3 * 5 * 5).reshape({16, 3, 5, 5});
  const Tensor rows = composed::im2col(batch, {3, 3}, {2, 2});
  ASSERT_EQ(rows.shape(), (Shape{64, 27}));
  // Row 13 is image 3, output (0, 1); column 14 is channel 1, tap (1, 2).
  EXPECT_EQ(rows.select(0, 13).select(0, 14).item<std::int64_t>(), ((3 * 3 + 1) * 5 + 1) * 5 + 2 + 2);
  expect(composed::im2col(from({11, 12, 13, 21, 22, 23, 31, 32, 33}, {1, 1, 3, 3}), {2, 2}), {4, 4},
         {11, 12, 21, 22, 12, 13, 22, 23, 21, 22, 31, 32, 22, 23, 32, 33});
}

TEST(TutorialExamples, OnePatchAndABias) {
  const Tensor patch = from({1, 2, 3, 4}, {1, 1, 2, 2});
  const Tensor kernel = from({0, 1, 1, 0}, {1, 1, 2, 2});
  expect(conv2d(patch, kernel, from({1}, {1})), {1, 1, 1, 1}, {6});
  expect(pad(patch, {{0, 0}, {0, 0}, {1, 1}, {1, 1}}), {1, 1, 4, 4}, {0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 0});
}

TEST(TutorialExamples, DiagonalDifferences) {
  const Tensor kernel = from({1, 0, 0, -1}, {1, 1, 2, 2});
  const Tensor image = one_to_nine().reshape({1, 1, 3, 3});
  expect_conv2d(image, kernel, {1, 1, 1, 1}, {-4}, {.stride = {2, 2}});
  expect_conv2d(image, kernel, {1, 1, 2, 2}, {-4, -4, -4, -4});
}

// One-dimensional examples are convolutions of height 1.
Tensor signal(const std::vector<Numbers>& channels) {
  Numbers all;
  for (const Numbers& channel : channels) all.insert(all.end(), channel.begin(), channel.end());
  return from(all, {1, static_cast<std::int64_t>(channels.size()), 1, 12});
}

const Numbers kRamp{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0};
const Numbers kPlateau{0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0};
const Numbers kSpikes{0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0};
const Numbers kSpikesToTheEnd{0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1};

Tensor second_sample() {
  return signal({{0, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0}, Numbers(12, 0), {0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0}});
}

Tensor kernels_1d() {
  return from({-1, 0, 1, 0.5, 0, -0.5, 1, 1, 1, 1, 1, -1, 0, 1, 0, -1, 0, 1, 0, 1, 0, 1, -1, 1, 0, -1, 0},
              {3, 3, 1, 3});
}

const Numbers kFirstOutput1d{2.5, 3, 3, 3, 3,  3, 3, 3, 3, -8.5, 1, 1, 1, 4,  4,
                             4,   7, 7, 7, 20, 1, 2, 4, 5, 5,    7, 8, 8, 10, 10};
const Numbers kSecondOutput1d{9, -1, 0, -1, 0, -1, 0, -1, 0, 0, 2, 10, 9, 8, 7,
                              6, 5,  4, 3,  1, 9,  7, 7,  5, 5, 3, 3,  1, 1, -1};

Numbers joined(Numbers a, const Numbers& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(TutorialExamples, DifferencesOfARamp) {
  expect_conv2d(signal({kRamp}), from({-1, 0, 1}, {1, 1, 1, 3}), {1, 1, 1, 10}, {2, 2, 2, 2, 2, 2, 2, 2, 2, -9});
}

TEST(TutorialExamples, ThreeChannelsOfASignal) {
  expect_conv2d(signal({kRamp, kPlateau, kSpikes}), kernels_1d(), {1, 3, 1, 10}, kFirstOutput1d);
}

TEST(TutorialExamples, TwoSignals) {
  const Tensor batch = concatenate({signal({kRamp, kPlateau, kSpikes}), second_sample()});
  expect_conv2d(batch, kernels_1d(), {2, 3, 1, 10}, joined(kFirstOutput1d, kSecondOutput1d));
}

// The second run of the batch has one more spike, at the end of the third channel.
TEST(TutorialExamples, TwoSignalsOneSpikeMore) {
  const Tensor batch = concatenate({signal({kRamp, kPlateau, kSpikesToTheEnd}), second_sample()});
  Numbers first = kFirstOutput1d;
  first[9] = -7.5;
  first[19] = 21;
  expect_conv2d(batch, kernels_1d(), {2, 3, 1, 10}, joined(first, kSecondOutput1d));
}

Tensor framed_nine() { return pad(one_to_nine(), {{1, 1}, {1, 1}}).reshape({1, 1, 5, 5}); }

const Numbers kHorizontalSlope{-1, 0, 1, -2, 0, 2, -1, 0, 1};

TEST(TutorialExamples, SlopesOfAnImage) {
  const Tensor kernel = from(kHorizontalSlope, {1, 1, 3, 3});
  const Numbers slopes{9, 6, -9, 20, 8, -20, 21, 6, -21};
  expect_conv2d(framed_nine(), kernel, {1, 1, 3, 3}, slopes);
  expect_conv2d(one_to_nine().reshape({1, 1, 3, 3}), kernel, {1, 1, 3, 3}, slopes, {.padding = {1, 1}});
}

Tensor first_image() {
  const TensorOptions f64{.dtype = DType::f64};
  return concatenate({framed_nine(), ones({1, 1, 5, 5}, f64), eye(5, {}, f64).reshape({1, 1, 5, 5})}, 1);
}

Tensor second_image() {
  const TensorOptions f64{.dtype = DType::f64};
  return concatenate(
      {full({1, 1, 5, 5}, 2, f64), arange(0, 25, 1, f64).reshape({1, 1, 5, 5}), zeros({1, 1, 5, 5}, f64)}, 1);
}

Tensor kernels_2d() {
  const Numbers first = joined(kHorizontalSlope, {0, 0, 0, 0.5, 0.5, 0.5, 0, 0, 0, 1, 0, -1, 0, 0, 0, -1, 0, 1});
  const Numbers second{1, 1, 1, 0, 0, 0, -1, -1, -1, 0, 0.5, 0, 0, 0.5, 0, 0, 0.5, 0, 0, 0, 0, 1, -1, 1, 0, 0, 0};
  return from(joined(first, second), {2, 3, 3, 3});
}

const Numbers kFirstOutput2d{12.5, 7.5,   -8.5, 21.5, 11.5,  -18.5, 21.5, 7.5,  -17.5,
                             -8.5, -12.5, -9.5, -9.5, -17.5, -9.5,  10.5, 17.5, 11.5};

TEST(TutorialExamples, ThreeChannelsOfAnImage) {
  expect_conv2d(first_image(), kernels_2d(), {1, 2, 3, 3}, kFirstOutput2d);
}

TEST(TutorialExamples, TwoImages) {
  const Numbers ramp{9, 10.5, 12, 16.5, 18, 19.5, 24, 25.5, 27};
  expect_conv2d(concatenate({first_image(), second_image()}), kernels_2d(), {2, 2, 3, 3},
                joined(kFirstOutput2d, joined(ramp, ramp)));
}

}  // namespace
}  // namespace weft
