#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/device/convert.h"
#include "cuda/runtime/launch.h"
#include "harness_test.h"

// Tensor cores as kernels use them, against sums in double precision.

namespace weft::cuda {

namespace {

using cuda_on_cpu::Buffer;
using cuda_on_cpu::error_of;
using testing::HasSubstr;

constexpr int kRows = 16, kColumns = 8, kWords = 8;

// One warp: y (16, 8) = a (16, 8 words) · bᵀ (8, 8 words).
template <TensorCore kKind>
WEFT_KERNEL product_kernel(const std::uint32_t* a, const std::uint32_t* b, float* y) {
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  const std::uint32_t left[4] = {a[g * kWords + t], a[(g + 8) * kWords + t], a[g * kWords + t + 4],
                                 a[(g + 8) * kWords + t + 4]};
  const std::uint32_t right[2] = {b[g * kWords + t], b[g * kWords + t + 4]};
  float sums[2][2] = {{1, 1}, {1, 1}};
  multiply_add<kKind>(sums, left, right);
  for (int i = 0; i < 4; ++i) y[(g + i / 2 * 8) * kColumns + 2 * t + i % 2] = sums[i / 2][i % 2];
}

float number(int i) { return std::sin(static_cast<float>(i)); }

TEST(TensorCores, Tf32) {
  std::vector<std::uint32_t> a, b;
  for (int i = 0; i < kRows * kWords; ++i) a.push_back(to_tf32(number(i)));
  for (int i = 0; i < kColumns * kWords; ++i) b.push_back(to_tf32(number(1000 + i)));
  const Buffer<std::uint32_t> left(a), right(b);
  const Buffer<float> y(kRows * kColumns);
  launch({"product", 1, kWarp, nullptr}, product_kernel<TensorCore::tf32>, left.data(), right.data(), y.data());
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kColumns; ++column) {
      double sum = 1;
      for (int k = 0; k < kWords; ++k) {
        sum += double{number(row * kWords + k)} * double{number(1000 + column * kWords + k)};
      }
      EXPECT_NEAR(y.values()[static_cast<std::size_t>(row * kColumns + column)], sum, 4e-3) << row << " " << column;
    }
  }
}

TEST(TensorCores, Bf16) {
  const auto words = [](int count, int first) {
    std::vector<std::uint32_t> all;
    for (int i = 0; i < count; ++i) {
      const auto low = scalar::to_bfloat(number(first + 2 * i)), high = scalar::to_bfloat(number(first + 2 * i + 1));
      all.push_back(low.bits | static_cast<std::uint32_t>(high.bits) << 16);
    }
    return all;
  };
  const Buffer<std::uint32_t> left(words(kRows * kWords, 0)), right(words(kColumns * kWords, 1000));
  const Buffer<float> y(kRows * kColumns);
  launch({"product", 1, kWarp, nullptr}, product_kernel<TensorCore::bf16>, left.data(), right.data(), y.data());
  const auto held = [](int i) { return double{scalar::widen(scalar::to_bfloat(number(i)))}; };
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kColumns; ++column) {
      double sum = 1;
      for (int k = 0; k < 2 * kWords; ++k) sum += held(row * 2 * kWords + k) * held(1000 + column * 2 * kWords + k);
      EXPECT_NEAR(y.values()[static_cast<std::size_t>(row * kColumns + column)], sum, 1e-5) << row << " " << column;
    }
  }
}

TEST(TensorCores, RoundToNearestWithTiesAway) {
  const auto rounded = [](float x) { return scalar::bits_as<float>(to_tf32(x)); };
  EXPECT_EQ(rounded(1 + 0x1p-11f), 1 + 0x1p-10f);
  EXPECT_EQ(rounded(-1 - 0x1p-11f), -1 - 0x1p-10f);
  EXPECT_EQ(rounded(1 + 0x1.FFp-12f), 1);
  EXPECT_EQ(rounded(INFINITY), INFINITY);
  EXPECT_TRUE(std::isnan(rounded(NAN)));
}

TEST(TensorCores, RoundPairsToNearestEven) {
  const auto low = [](std::uint32_t word) { return scalar::bits_as<float>(word << 16); };
  const auto high = [](std::uint32_t word) { return scalar::bits_as<float>(word & 0xFFFF0000u); };
  const std::uint32_t ties = to_bfloats(1 + 0x1p-8f, -1 - 0x3p-8f);
  EXPECT_EQ(low(ties), 1);
  EXPECT_EQ(high(ties), -1 - 0x1p-6f);
  const std::uint32_t special = to_bfloats(-INFINITY, NAN);
  EXPECT_EQ(low(special), -INFINITY);
  EXPECT_TRUE(std::isnan(high(special)));
}

struct alignas(16) Line {
  std::uint16_t value[8];
};

// Four matrices, number (row, column) of matrix i being 64·i + 8·row + column; `shift` of the addresses in bytes.
template <bool kTransposed>
WEFT_KERNEL matrices_kernel(std::uint32_t* words, int shift) {
  WEFT_SHARED(Line, lines, kWarp + 1);
  const int lane = static_cast<int>(threadIdx.x);
  for (int j = 0; j < 8; ++j) lines[lane].value[j] = static_cast<std::uint16_t>(8 * lane + j);
  WEFT_BARRIER();
  std::uint32_t own[4];
  load_matrices<kTransposed>(reinterpret_cast<const char*>(lines + lane) + shift, own);
  for (int i = 0; i < 4; ++i) words[i * kWarp + lane] = own[i];
}

TEST(TensorCores, LoadMatrices) {
  for (const bool transposed : {false, true}) {
    const Buffer<std::uint32_t> words(4 * kWarp);
    launch({"matrices", 1, kWarp, nullptr}, transposed ? matrices_kernel<true> : matrices_kernel<false>, words.data(),
           0);
    for (std::uint32_t i = 0; i < 4; ++i) {
      for (std::uint32_t lane = 0; lane < kWarp; ++lane) {
        const auto at = [&](std::uint32_t row, std::uint32_t column) { return 64 * i + 8 * row + column; };
        const std::uint32_t first = lane / 4, second = lane % 4 * 2;
        const std::uint32_t low = transposed ? at(second, first) : at(first, second);
        const std::uint32_t high = transposed ? at(second + 1, first) : at(first, second + 1);
        EXPECT_EQ(words.values()[i * kWarp + lane], low | high << 16);
      }
    }
  }
}

TEST(TensorCores, RowsOfMatricesAreAligned) {
  const Buffer<std::uint32_t> words(4 * kWarp);
  EXPECT_THAT(error_of([&] {
                launch({"matrices", 1, kWarp, nullptr}, matrices_kernel<false>, words.data(), 2);
              }),
              HasSubstr("not aligned to 16 bytes"));
}

WEFT_KERNEL lonely_kernel(float* y) {
  float sums[2][2] = {};
  const std::uint32_t a[4] = {}, b[2] = {};
  if (threadIdx.x != 7) multiply_add<TensorCore::bf16>(sums, a, b);
  y[threadIdx.x] = sums[0][0];
}

TEST(TensorCores, EveryLaneTakesPart) {
  const Buffer<float> y(kWarp);
  EXPECT_THAT(error_of([&] {
                launch({"lonely", 1, kWarp, nullptr}, lonely_kernel, y.data());
              }),
              HasSubstr("not reached by every lane of its warp"));
}

}  // namespace

}  // namespace weft::cuda
