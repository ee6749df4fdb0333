#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/device/philox.h"
#include "cpu/array/random_kernels.h"
#include "cpu/runtime/backend.h"
#include "cpu/runtime/threads.h"
#include "tests/error_support.h"
#include "weft/error.h"
#include "weft/random.h"

namespace weft::cpu {
namespace {

// The published known answers of Random123 (kat_vectors, philox4x32 with 10 rounds).
TEST(Philox, KnownAnswers) {
  using Block = std::array<std::uint32_t, 4>;
  const auto block = [](std::uint32_t k0, std::uint32_t k1, Block c) {
    const PhiloxBlock b = philox4x32(k0, k1, c[0], c[1], c[2], c[3]);
    return Block{b.number[0], b.number[1], b.number[2], b.number[3]};
  };
  EXPECT_EQ(block(0, 0, {0, 0, 0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint32_t ones = 0xffffffff;
  EXPECT_EQ(block(ones, ones, {ones, ones, ones, ones}), (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(block(0xa4093822, 0x299f31d0, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
  const PhiloxBlock b = philox(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88);
  EXPECT_EQ(b.number[0], 0xd16cfe09u);
}

template <class T>
std::vector<T> draw(RandomKind kind, const PhiloxKey& key, Scalar low, Scalar high, std::int64_t n) {
  std::vector<T> values(static_cast<std::size_t>(n + 1), T(77));
  backend().random(kind, key, low, high, {values.data(), {n}, {1}, dtype_of<T>});
  EXPECT_EQ(values.back(), T(77)) << "written behind the end";
  values.pop_back();
  return values;
}

constexpr PhiloxKey kKey{0x123456789abcdef0, 0xfedcba9876543210, 0xfffffffffffffff0};  // the counter wraps on the way

/// Number i of the stream.
std::uint32_t number(const PhiloxKey& key, std::int64_t i) {
  return philox(key.seed, key.stream, key.offset + static_cast<std::uint64_t>(i / 4)).number[i % 4];
}

TEST(Random, ElementsFollowTheCounter) {
  for (std::int64_t n : {0, 1, 3, 4, 5, 255, 256, 257, 8191, 8192, 20001}) {
    const auto f32 = draw<float>(RandomKind::uniform, kKey, 0, 1, n);
    const auto f64 = draw<double>(RandomKind::uniform, kKey, 0, 1, n);
    const auto i32 = draw<std::int32_t>(RandomKind::integer, kKey, -5, 1000, n);
    const auto i64 = draw<std::int64_t>(RandomKind::integer, kKey, -5, std::int64_t{1} << 60, n);
    const auto u8 = draw<std::uint8_t>(RandomKind::integer, kKey, 3, 256, n);
    const auto normal = draw<float>(RandomKind::normal, kKey, 1, 2, n);
    const auto wide_normal = draw<double>(RandomKind::normal, kKey, 1, 2, n);
    for (std::int64_t i = 0; i < n; ++i) {
      const std::uint32_t x = number(kKey, i);
      const std::uint64_t y = number(kKey, 2 * i) | static_cast<std::uint64_t>(number(kKey, 2 * i + 1)) << 32;
      ASSERT_EQ(f32[i], std::ldexp(static_cast<float>(x >> 8), -24));
      ASSERT_EQ(f64[i], std::ldexp(static_cast<double>(y >> 11), -53));
      ASSERT_EQ(i32[i], static_cast<std::int32_t>((x * std::uint64_t{1005}) >> 32) - 5);
      ASSERT_EQ(u8[i], 3 + ((x * std::uint64_t{253}) >> 32));
      const auto product = static_cast<unsigned __int128>(y) * static_cast<std::uint64_t>((1LL << 60) + 5);
      ASSERT_EQ(i64[i], static_cast<std::int64_t>(product >> 64) - 5);
      // Box and Muller in double precision.
      const std::uint32_t a = number(kKey, i / 2 * 2), b = number(kKey, i / 2 * 2 + 1);
      const double radius = std::sqrt(-2 * std::log((a + 0.5) * 0x1p-32)), angle = b * 0x1p-32 * 2 * M_PI;
      ASSERT_NEAR(normal[i], 1 + 2 * radius * (i % 2 ? std::sin(angle) : std::cos(angle)), 1e-5);
      const std::int64_t p = i / 2 * 4;
      const double c = (number(kKey, p + 1) + number(kKey, p) * 0x1p-32) * 0x1p-32;
      const double d = (number(kKey, p + 3) + number(kKey, p + 2) * 0x1p-32) * 0x1p-32;
      const double wide = std::sqrt(-2 * std::log(c)) * (i % 2 ? std::sin(2 * M_PI * d) : std::cos(2 * M_PI * d));
      ASSERT_NEAR(wide_normal[i], 1 + 2 * wide, 1e-13);
    }
  }
}

TEST(Random, UniformStaysBelowHigh) {
  const std::int64_t n = 1 << 20;
  for (const auto& [low, high] : {std::pair{1.0, 1.0 + 0x1p-23}, {0.0, 1e-45}, {-3.0, 5.0}, {1e6, 1e6 + 0.0625}}) {
    for (float value : draw<float>(RandomKind::uniform, {1, 2, 3}, low, high, n)) {
      ASSERT_GE(value, static_cast<float>(low));
      ASSERT_LT(value, static_cast<float>(high));
    }
  }
  for (double value : draw<double>(RandomKind::uniform, {1, 2, 3}, 1.0, 1.0 + 0x1p-52, n)) ASSERT_EQ(value, 1.0);
}

template <class T>
void check_moments(const std::vector<T>& values, double mean, double variance, double fourth) {
  double m = 0, v = 0, k = 0, serial = 0;
  for (T value : values) m += value;
  m /= static_cast<double>(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double d = values[i] - m;
    v += d * d;
    k += d * d * d * d;
    if (i > 0) serial += d * (values[i - 1] - m);
  }
  const auto n = static_cast<double>(values.size());
  EXPECT_NEAR(m, mean, 5 * std::sqrt(variance / n));
  EXPECT_NEAR(v / n / variance, 1, 5 * std::sqrt(fourth / n));
  EXPECT_NEAR(k / n / (variance * variance) / fourth, 1, 0.02);
  EXPECT_NEAR(serial / n / variance, 0, 5 / std::sqrt(n));
}

TEST(Random, Moments) {
  const std::int64_t n = 1 << 20;
  check_moments(draw<float>(RandomKind::uniform, {5}, -1, 3, n), 1, 16.0 / 12, 1.8);
  check_moments(draw<double>(RandomKind::uniform, {6}, -1, 3, n), 1, 16.0 / 12, 1.8);
  check_moments(draw<float>(RandomKind::normal, {7}, 2, 3, n), 2, 9, 3);
  check_moments(draw<double>(RandomKind::normal, {8}, 2, 3, n), 2, 9, 3);
  check_moments(draw<std::int32_t>(RandomKind::integer, {9}, 0, 1 << 30, n), 0x1p29, 0x1p60 / 12, 1.8);
}

TEST(Random, IntegerRanges) {
  std::array<int, 7> counts{};
  for (std::int64_t value : draw<std::int64_t>(RandomKind::integer, {1}, -3, 4, 70000)) {
    ASSERT_TRUE(value >= -3 && value < 4);
    ++counts[static_cast<std::size_t>(value + 3)];
  }
  for (int count : counts) EXPECT_NEAR(count, 10000, 5 * 100);
  for (std::uint8_t value : draw<std::uint8_t>(RandomKind::integer, {1}, 0, 256, 1000)) (void)value;
  for (std::int32_t value : draw<std::int32_t>(RandomKind::integer, {1}, 42, 43, 1000)) ASSERT_EQ(value, 42);
  bool negative = false, positive = false;
  for (std::int32_t value :
       draw<std::int32_t>(RandomKind::integer, {1}, INT32_MIN, std::int64_t{INT32_MAX} + 1, 1000)) {
    (value < 0 ? negative : positive) = true;
  }
  EXPECT_TRUE(negative && positive);
}

TEST(Random, SameBitsOnAnyThreadCount) {
  std::vector<std::vector<float>> uniform, normal;
  for (int threads : {1, 2, 3, 8}) {
    set_thread_count(threads);
    uniform.push_back(draw<float>(RandomKind::uniform, kKey, 0, 1, 100003));
    normal.push_back(draw<float>(RandomKind::normal, kKey, 0, 1, 100003));
    EXPECT_EQ(uniform.back(), uniform[0]);
    EXPECT_EQ(normal.back(), normal[0]);
  }
  set_thread_count(allowed_cpus());
}

TEST(Random, InstructionSetsAgree) {
  const RandomStream stream{1, 2, 3, 1003};
  const auto run = [&](const RandomKernels& kernels) {
    std::vector<float> f(4 * 1003);
    std::vector<double> d(4 * 1003);
    kernels.uniform_f32(stream, -1, 7, f.data());
    kernels.normal_f32(stream, -1, 7, f.data() + 1003);
    kernels.uniform_f64(stream, -1, 7, d.data());
    kernels.normal_f64(stream, -1, 7, d.data() + 1003);
    return std::pair{f, d};
  };
  for (Isa isa : {Isa::avx2, Isa::avx512}) {
    if (isa > widest_isa()) continue;
    EXPECT_EQ(run(random_kernels(Isa::portable)), run(random_kernels(isa))) << name(isa);
  }
}

TEST(Random, IntegersFitTheirDType) {
  const auto refuses = [](std::int64_t low, std::int64_t high, DType dtype, const std::string& message) {
    expect_error<ValueError>("randint: the numbers from low " + message,
                             [&] { randint(low, high, {4}, {.dtype = dtype}); });
  };
  refuses(0, 1000, DType::u8, "0 to below high 1000 do not fit u8");
  refuses(-1, 5, DType::u8, "-1 to below high 5 do not fit u8");
  refuses(0, 257, DType::u8, "0 to below high 257 do not fit u8");
  refuses(3000000000, 3000000010, DType::i32, "3000000000 to below high 3000000010 do not fit i32");
  refuses(INT32_MIN - std::int64_t{1}, 0, DType::i32, "-2147483649 to below high 0 do not fit i32");
  EXPECT_EQ(randint(255, 256, {1}, {.dtype = DType::u8}).item<int>(), 255);
  EXPECT_EQ(randint(INT32_MAX, INT32_MAX + std::int64_t{1}, {1}, {.dtype = DType::i32}).item<int>(), INT32_MAX);
  EXPECT_EQ(randint(INT64_MIN, INT64_MIN + 1, {1}).item<std::int64_t>(), INT64_MIN);
}

TEST(Random, RangesFitTheirDType) {
  const auto refuses = [](double low, double high, DType dtype, const std::string& message) {
    expect_error<ValueError>("rand: " + message, [&] { rand({4}, {.dtype = dtype}, low, high); });
  };
  refuses(-3e38, 3e38, DType::f32, "the range from low -3e+38 to high 3e+38 exceeds that of f32");
  refuses(0, INFINITY, DType::f64, "the range from low 0 to high inf exceeds that of f64");
  refuses(-1.7e308, 1.7e308, DType::f64, "the range from low -1.7e+308 to high 1.7e+308 exceeds that of f64");
  refuses(NAN, 1, DType::f32, "low nan exceeds high 1");
  EXPECT_LE(rand({1}, {}, -1e38, 1e38).item<float>(), 1e38f);
}

TEST(Random, OtherDTypesThrow) {
  std::uint16_t half = 0;
  float value = 0;
  EXPECT_THROW(backend().random(RandomKind::uniform, {}, 0, 1, {&half, {}, {}, DType::f16}), DTypeError);
  EXPECT_THROW(backend().random(RandomKind::integer, {}, 0, 1, {&value, {}, {}, DType::f32}), DTypeError);
}

}  // namespace
}  // namespace weft::cpu
