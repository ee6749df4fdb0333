#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "cpu/array/gather_kernels.h"
#include "cpu/runtime/backend.h"
#include "cpu/runtime/threads.h"
#include "tests/strided_buffer.h"

namespace weft::cpu {
namespace {

using testing::Buffer;
using testing::pick;
using testing::Random;
using testing::random_shape;

template <class T>
class Copy : public ::testing::Test {};
using Stored = ::testing::Types<bool, std::uint8_t, std::int32_t, std::int64_t, float16, bfloat16, float, double>;
TYPED_TEST_SUITE(Copy, Stored);

template <class T>
T random_value(Random& random) {
  T value{};
  std::uint64_t bits = random();
  if constexpr (std::is_same_v<T, bool>) {
    value = bits & 1;
  } else {
    std::memcpy(static_cast<void*>(&value), &bits, sizeof value);
  }
  return value;
}

TYPED_TEST(Copy, AnyStrides) {
  using T = TypeParam;
  Random random(1);
  for (int round = 0; round < 600; ++round) {
    const Shape shape = random_shape(random, round % 10 == 0 ? 60000 : 700);
    Buffer<T> in(shape, Buffer<T>::broadcast, random);
    Buffer<T> out(shape, round % 2 ? Buffer<T>::strided : Buffer<T>::dense, random);
    in.generate([&] { return random_value<T>(random); });
    backend().copy(in.view(), out.view());
    for (std::int64_t i = 0; i < out.size(); ++i) ASSERT_EQ(std::memcmp(&out[i], &in[i], sizeof(T)), 0) << i;
    out.expect_guards();
  }
}

TYPED_TEST(Copy, Transposes) {
  using T = TypeParam;
  Random random(2);
  const Shape shapes[] = {{1, 5, 1},     {2, 3, 1024}, {3, 64, 49}, {2, 17, 130},
                          {1, 300, 301}, {70, 33, 16}, {4096, 4, 4}};
  for (const Shape& shape : shapes) {
    const std::int64_t c = shape[1], hw = shape[2];
    Buffer<T> rows(shape, Buffer<T>::dense, random), back(shape, Buffer<T>::dense, random);
    rows.generate([&] { return random_value<T>(random); });
    std::vector<std::uint8_t> memory(static_cast<std::size_t>(rows.size()) * sizeof(T));
    const View channels_last{memory.data(), shape, {c * hw, 1, c}, dtype_of<T>};
    backend().copy(rows.view(), channels_last);
    const T* values = channels_last.as<T>();
    std::int64_t i = 0;
    for (std::int64_t n = 0; n < shape[0]; ++n) {
      for (std::int64_t k = 0; k < c; ++k) {
        for (std::int64_t p = 0; p < hw; ++p, ++i) {
          ASSERT_EQ(std::memcmp(&values[(n * hw + p) * c + k], &rows[i], sizeof(T)), 0) << to_string(shape);
        }
      }
    }
    backend().copy(channels_last, back.view());
    for (i = 0; i < rows.size(); ++i) ASSERT_EQ(std::memcmp(&back[i], &rows[i], sizeof(T)), 0) << to_string(shape);
    back.expect_guards();
  }
}

TEST(CopyThreads, SameBytes) {
  Random random(3);
  const Shape shape{7, 50, 33, 20};
  Buffer<float> in(shape, Buffer<float>::strided, random);
  in.generate([&] { return random_value<float>(random); });
  for (int threads : {1, 2, 3, 8}) {
    set_thread_count(threads);
    for (int round = 0; round < 8; ++round) {
      Buffer<float> out(shape, Buffer<float>::strided, random);
      backend().copy(in.view(), out.view());
      for (std::int64_t i = 0; i < out.size(); ++i) ASSERT_EQ(std::memcmp(&out[i], &in[i], sizeof(float)), 0);
    }
  }
  set_thread_count(allowed_cpus());
}

// Conversions, one value at a time and on every instruction set.
template <class To, class From>
std::vector<To> converted(const std::vector<From>& in, Isa isa) {
  std::vector<To> out(in.size());
  Tile tile;
  tile.n = static_cast<std::int64_t>(in.size());
  tile.data[0] = out.data();
  tile.data[1] = const_cast<From*>(in.data());
  tile.stride[0] = tile.stride[1] = 1;
  gather_kernels(isa).convert[static_cast<int>(dtype_of<From>)][static_cast<int>(dtype_of<To>)](tile);
  return out;
}

class Convert : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (GetParam() > widest_isa()) GTEST_SKIP() << name(GetParam()) << " is not on this CPU";
  }
};
INSTANTIATE_TEST_SUITE_P(Isa, Convert, ::testing::Values(Isa::portable, Isa::avx2, Isa::avx512),
                         [](const auto& test) { return std::string(name(test.param)); });

double half_value(std::uint16_t bits) {  // the definition of binary16
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double sign = bits >> 15 ? -1 : 1;
  if (exponent == 31) return fraction ? std::nan("") : sign * INFINITY;
  return sign * (exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24));
}

TEST_P(Convert, EveryHalfToFloatAndBack) {
  std::vector<float16> halves(65536);
  std::vector<bfloat16> bfloats(65536);
  for (int i = 0; i < 65536; ++i) halves[i].bits = bfloats[i].bits = static_cast<std::uint16_t>(i);
  const auto floats = converted<float>(halves, GetParam());
  const auto back = converted<float16>(floats, GetParam());
  const auto wide = converted<float>(bfloats, GetParam());
  const auto wide_back = converted<bfloat16>(wide, GetParam());
  for (int i = 0; i < 65536; ++i) {
    const double value = half_value(halves[i].bits);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(floats[i]) && std::isnan(half_value(back[i].bits))) << i;
    } else {
      ASSERT_EQ(floats[i], value) << i;
      ASSERT_EQ(back[i].bits, halves[i].bits) << i;
    }
    ASSERT_EQ(std::bit_cast<std::uint32_t>(wide[i]), static_cast<std::uint32_t>(i) << 16);
    if (wide[i] == wide[i]) {
      ASSERT_EQ(wide_back[i].bits, i);
    } else {
      ASSERT_TRUE(std::isnan(static_cast<float>(wide_back[i])));
    }
  }
}

TEST_P(Convert, FloatToHalfRoundsToNearestEven) {
  std::vector<float> values;
  for (int i = 0; i < 0x7C00; ++i) {  // between two neighbours: the tie and its two sides
    const double low = half_value(static_cast<std::uint16_t>(i));
    const double high = i == 0x7BFF ? 65536 : half_value(static_cast<std::uint16_t>(i + 1));
    const float middle = static_cast<float>((low + high) / 2);
    for (float value : {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, INFINITY)})
      values.push_back(value);
  }
  const auto halves = converted<float16>(values, GetParam());
  for (int i = 0; i < 0x7C00; ++i) {
    EXPECT_EQ(halves[3 * i].bits, i + (i & 1)) << values[3 * i];
    EXPECT_EQ(halves[3 * i + 1].bits, i) << values[3 * i + 1];
    EXPECT_EQ(halves[3 * i + 2].bits, i + 1) << values[3 * i + 2];
  }
  const auto ends = converted<float16>(std::vector<float>{1e30f, -INFINITY, 1e-30f, -1e-30f}, GetParam());
  EXPECT_EQ(ends[0].bits, 0x7C00);
  EXPECT_EQ(ends[1].bits, 0xFC00);
  EXPECT_EQ(ends[2].bits, 0);
  EXPECT_EQ(ends[3].bits, 0x8000);
}

TEST_P(Convert, FloatToBfloatRoundsToNearestEven) {
  const std::vector<float> values{1 + 0x1p-8f, 1 + 0x1.8p-7f, 1 + 0x1.01p-8f, 3.4e38f, INFINITY, -INFINITY, 1e-40f};
  const auto out = converted<bfloat16>(values, GetParam());
  EXPECT_EQ(static_cast<float>(out[0]), 1.0f);         // tie to even
  EXPECT_EQ(static_cast<float>(out[1]), 1 + 0x1p-6f);  // tie to even
  EXPECT_EQ(static_cast<float>(out[2]), 1 + 0x1p-7f);
  EXPECT_EQ(static_cast<float>(out[3]), INFINITY);
  EXPECT_EQ(static_cast<float>(out[4]), INFINITY);
  EXPECT_EQ(static_cast<float>(out[5]), -INFINITY);
  EXPECT_EQ(static_cast<float>(out[6]), 0x1p-133f);  // the smallest subnormal
}

/// The 16-bit numbers from 0 to the largest and what would follow it, and how each interval rounds: the tie to the even
/// one, and what lies beside the tie, by less than f32 can tell, to its own side; with both signs.
template <class To>
void check_rounding_of_doubles(Isa isa, double (*value)(std::uint16_t), int infinity) {
  std::vector<double> values;
  for (int i = 0; i < infinity; ++i) {
    const double low = value(static_cast<std::uint16_t>(i));
    const double high = i + 1 == infinity ? 2 * low - value(static_cast<std::uint16_t>(i - 1))
                                          : value(static_cast<std::uint16_t>(i + 1));
    const double middle = (low + high) / 2;
    for (const double x : {middle, std::nextafter(middle, 0), std::nextafter(middle, INFINITY)}) {
      values.push_back(x);
      values.push_back(-x);
    }
  }
  const auto out = converted<To>(values, isa);
  for (int i = 0; i < infinity; ++i) {
    const int expected[3] = {i + (i & 1), i, i + 1};
    for (int k = 0; k < 6; ++k) {
      ASSERT_EQ(out[6 * i + k].bits, expected[k / 2] | (k % 2 != 0 ? 0x8000 : 0)) << values[6 * i + k];
    }
  }
  for (const double x : {1e300, 1e-300, std::numeric_limits<double>::denorm_min(), double{INFINITY}, 0.0}) {
    const auto ends = converted<To>(std::vector<double>{x, -x}, isa);
    EXPECT_EQ(ends[0].bits, x > 1 ? infinity : 0) << x;
    EXPECT_EQ(ends[1].bits, (x > 1 ? infinity : 0) | 0x8000) << x;
  }
  EXPECT_TRUE(std::isnan(value(converted<To>(std::vector<double>{NAN}, isa)[0].bits)));
}

TEST_P(Convert, DoublesRoundOnce) {
  check_rounding_of_doubles<float16>(GetParam(), half_value, 0x7C00);
  check_rounding_of_doubles<bfloat16>(
      GetParam(), [](std::uint16_t bits) { return double{std::bit_cast<float>(std::uint32_t{bits} << 16)}; }, 0x7F80);
}

TEST_P(Convert, IntegersRoundOnce) {
  std::vector<std::int64_t> values;
  std::vector<float> expected;  // of bf16, whose numbers have 8 bits
  for (int exponent = 9; exponent <= 62; ++exponent) {
    for (const std::int64_t low : {128, 129, 254, 255}) {
      const std::int64_t unit = std::int64_t{1} << (exponent - 7), tie = low * unit + unit / 2;
      for (const std::int64_t x : {tie - 1, tie, tie + 1}) {
        const bool up = x > tie || (x == tie && low % 2 != 0);
        values.push_back(x);
        values.push_back(-x);
        expected.push_back(static_cast<float>(low + up) * static_cast<float>(unit));
        expected.push_back(-expected.back());
      }
    }
  }
  const auto out = converted<bfloat16>(values, GetParam());
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(static_cast<float>(out[i]), expected[i]) << values[i];
  std::vector<std::int32_t> narrow;
  for (const std::int64_t x : values) narrow.push_back(static_cast<std::int32_t>(std::abs(x) >> 31 == 0 ? x : 0));
  const auto short_out = converted<bfloat16>(narrow, GetParam());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (narrow[i] != values[i]) continue;
    EXPECT_EQ(static_cast<float>(short_out[i]), expected[i]) << values[i];
  }
  const std::vector<std::int64_t> ends = {INT64_MIN, INT64_MAX, 65519, 65520, -65519, 2049, 2051};
  const auto halves = converted<float16>(ends, GetParam());
  const int half_bits[7] = {0xFC00, 0x7C00, 0x7BFF, 0x7C00, 0xFBFF, 0x6800, 0x6802};
  for (std::size_t i = 0; i < ends.size(); ++i) EXPECT_EQ(halves[i].bits, half_bits[i]) << ends[i];
  EXPECT_EQ(static_cast<float>(converted<bfloat16>(ends, GetParam())[0]), -0x1p63f);
}

template <class To, class From>
void check_truncation(Isa isa) {
  constexpr double low = static_cast<double>(std::numeric_limits<To>::min());
  constexpr double end = static_cast<double>(std::numeric_limits<To>::max() / 2 + 1) * 2;
  std::vector<From> values{From(0),        From(-0.0), From(1.9),   From(-0.9),   From(-1.9),    From(NAN),
                           From(INFINITY), -INFINITY,  From(end),   From(low),    From(low * 2), From(end * 2),
                           From(127.5),    From(1e30), From(-1e30), From(254.99), From(100),     From(77.7)};
  values.push_back(std::nextafter(From(end), From(0)));
  values.push_back(std::nextafter(From(low), From(-INFINITY)));
  for (int i = 0; i < 50; ++i) values.push_back(static_cast<From>(i * 2.6));
  const auto out = converted<To>(values, isa);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double t = std::trunc(static_cast<double>(values[i]));
    const To expected = std::isnan(t) ? To(0)
                        : t >= end    ? std::numeric_limits<To>::max()
                        : t <= low    ? std::numeric_limits<To>::min()
                                      : static_cast<To>(t);
    EXPECT_EQ(out[i], expected) << values[i];
  }
}

TEST_P(Convert, FloatsTruncateAndSaturate) {
  check_truncation<std::uint8_t, float>(GetParam());
  check_truncation<std::uint8_t, double>(GetParam());
  check_truncation<std::int32_t, float>(GetParam());
  check_truncation<std::int32_t, double>(GetParam());
  check_truncation<std::int64_t, float>(GetParam());
  check_truncation<std::int64_t, double>(GetParam());
}

TEST_P(Convert, IntegersWrapAndBooleansTest) {
  const Isa isa = GetParam();
  EXPECT_EQ(converted<std::uint8_t>(std::vector<std::int64_t>{-1, 256, 300}, isa),
            (std::vector<std::uint8_t>{255, 0, 44}));
  EXPECT_EQ(converted<std::int32_t>(std::vector<std::int64_t>{(1LL << 32) + 5, -1}, isa),
            (std::vector<std::int32_t>{5, -1}));
  EXPECT_EQ(converted<std::int64_t>(std::vector<std::uint8_t>{255}, isa), (std::vector<std::int64_t>{255}));
  EXPECT_EQ(converted<float>(std::vector<std::int64_t>{(1LL << 53) + 1}, isa), (std::vector<float>{0x1p53f}));
  std::uint8_t booleans[6];
  float values[6] = {0, -0.0f, 0.3f, NAN, -INFINITY, 1e-45f};
  backend().copy({values, {6}, {1}, DType::f32}, {booleans, {6}, {1}, DType::boolean});
  EXPECT_EQ(std::vector<std::uint8_t>(booleans, booleans + 6), (std::vector<std::uint8_t>{0, 0, 1, 1, 1, 1}));
  double numbers[6];
  backend().copy({booleans, {6}, {1}, DType::boolean}, {numbers, {6}, {1}, DType::f64});
  EXPECT_EQ(std::vector<double>(numbers, numbers + 6), (std::vector<double>{0, 0, 1, 1, 1, 1}));
}

TEST(ConvertStrided, MatchesElementwise) {
  Random random(4);
  for (int round = 0; round < 300; ++round) {
    const Shape shape = random_shape(random, 500);
    Buffer<double> in(shape, Buffer<double>::broadcast, random);
    Buffer<float16> half(shape, Buffer<float16>::strided, random);
    Buffer<std::int32_t> integer(shape, Buffer<std::int32_t>::strided, random);
    in.generate([&] { return std::uniform_real_distribution<double>(-1000, 1000)(random); });
    backend().copy(in.view(), half.view());
    backend().copy(half.view(), integer.view());
    for (std::int64_t i = 0; i < in.size(); ++i) {
      ASSERT_NEAR(half_value(half[i].bits), in[i], std::abs(in[i]) / 2048 + 1e-7);
      ASSERT_EQ(integer[i], static_cast<std::int32_t>(half_value(half[i].bits)));
    }
    half.expect_guards();
    integer.expect_guards();
  }
}

TYPED_TEST(Copy, Fill) {
  using T = TypeParam;
  Random random(5);
  for (int round = 0; round < 100; ++round) {
    Buffer<T> out(random_shape(random, round % 10 == 0 ? 90000 : 300), Buffer<T>::strided, random);
    backend().fill(out.view(), 3);
    const float expected = std::is_same_v<T, bool> ? 1 : 3;
    for (std::int64_t i = 0; i < out.size(); ++i) ASSERT_EQ(static_cast<float>(out[i]), expected);
    out.expect_guards();
  }
}

TEST(Fill, KeepsWideIntegersAndConverts) {
  std::int64_t wide = 0;
  backend().fill({&wide, {}, {}, DType::i64}, std::int64_t{INT64_MAX} - 1);
  EXPECT_EQ(wide, INT64_MAX - 1);
  std::uint8_t byte = 0;
  backend().fill({&byte, {}, {}, DType::u8}, 7.9);
  EXPECT_EQ(byte, 7);
  float value = 0;
  backend().fill({&value, {}, {}, DType::f32}, true);
  EXPECT_EQ(value, 1.0f);
}

}  // namespace
}  // namespace weft::cpu
