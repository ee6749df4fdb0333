// What each function says of arguments that do not fit: the type of the error and its words.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/error_support.h"
#include "weft/quote.h"
#include "weft/weft.h"

namespace weft {
namespace {

TEST(OpErrors, Values) {
  expect_error<ShapeError>("array: 3 values do not fill the shape (2, 2)", [] {
    Tensor::from({1.0f, 2.0f, 3.0f}, {2, 2});
  });
  const Array floats = Array::full({2}, 1, DType::f32);
  expect_error<DTypeError>("array: elements are f32, not i64", [&] { floats.data_as<const std::int64_t>(); });
  expect_error<DTypeError>("array: elements are f32, not f64", [&] { floats.to_vector<double>(); });
}

TEST(OpErrors, Views) {
  const Tensor x = zeros({2, 3, 4});
  expect_error<ValueError>("sum: axis -3 is named twice in (0, -3)", [&] { sum(x, {0, -3}); });
  expect_error<ShapeError>("permute: axes (1, 0) do not match the 3 dimensions of (2, 3, 4)", [&] {
    permute(x, {1, 0});
  });
  expect_error<ShapeError>("squeeze: axis 1 of (2, 3, 4) has size 3, not 1", [&] { squeeze(x, {1}); });
  expect_error<ShapeError>("as_strided: shape (2, 2) and strides (1,) differ in length", [&] {
    as_strided(x, {2, 2}, {1});
  });
  expect_error<ValueError>("flatten: first axis 2 comes after last axis 1", [&] { flatten(x, 2, 1); });
}

TEST(OpErrors, Pieces) {
  const Tensor x = zeros({2, 3, 4});
  expect_error<ShapeError>("concatenate: shapes (2, 3, 4) and (2, 5, 5) differ beyond axis 1", [&] {
    concatenate({x, zeros({2, 5, 5})}, 1);
  });
  expect_error<ShapeError>("concatenate: shapes (2, 3, 4) and (2, 3) differ beyond axis 1", [&] {
    concatenate({x, zeros({2, 3})}, 1);
  });
  expect_error<ShapeError>("stack: shapes (2, 3, 4) and (2, 3, 1) differ", [&] { stack({x, zeros({2, 3, 1})}); });
  expect_error<ShapeError>("pad: 2 pairs of amounts for (2, 3, 4)", [&] { pad(x, {{1, 1}, {0, 0}}); });
}

TEST(OpErrors, DTypes) {
  const Tensor yes = ones({2}, {.dtype = DType::boolean});
  expect_error<DTypeError>("subtract: takes numbers, not two bool operands", [&] { yes - yes; });
  expect_error<DTypeError>("where: the condition is f32, not bool", [] { where(zeros({2}), ones({2}), ones({2})); });
  expect_error<DTypeError>("matmul: takes numbers, not bool", [] {
    const Tensor square = ones({2, 2}, {.dtype = DType::boolean});
    matmul(square, square);
  });
  expect_error<DTypeError>("randn: gives f32 or f64, not f16", [] { randn({2}, {.dtype = DType::f16}); });
  expect_error<DTypeError>("randint: gives an integer dtype, not f32",
                           [] { randint(0, 2, {2}, {.dtype = DType::f32}); });
  expect_error<ValueError>("randint: low 3 is not below high 3", [] { randint(3, 3, {2}); });
}

TEST(OpErrors, Products) {
  for (const auto& [a, b] :
       std::vector<std::pair<Shape, Shape>>{{{2, 3}, {4, 5}}, {{3}, {4}}, {{}, {3}}, {{2, 3}, {}}}) {
    expect_error<ShapeError>("matmul: shapes " + to_string(a) + " and " + to_string(b) + " do not fit",
                             [&] { matmul(zeros(a), zeros(b)); });
  }
  expect_error<ShapeError>("matmul: shapes (2,) and (3,) do not broadcast",  // the batches
                           [] {
                             matmul(zeros({2, 2, 3}), zeros({3, 3, 1}));
                           });
  expect_error<ShapeError>("linear: bias (4,) does not have the 5 outputs of weight (5, 3)", [] {
    linear(zeros({2, 3}), zeros({5, 3}), zeros({4}));
  });
}

TEST(OpErrors, ReductionsOfNothing) {
  const Tensor x = zeros({0, 3});
  expect_error<ShapeError>("max: (0, 3) has no elements along the reduced axes", [&] { max(x, {0}); });
  expect_error<ShapeError>("min: (0, 3) has no elements along the reduced axes", [&] { min(x); });
  expect_error<ShapeError>("argmax: (0, 3) has no elements to choose from", [&] { argmax(x, 0); });
  expect_error<ShapeError>("argmin: (0, 3) has no elements to choose from", [&] { argmin(x); });
  EXPECT_EQ(max(x, {1}).shape(), (Shape{0}));  // nothing to give is no error
}

TEST(OpErrors, BatchNorm) {
  const Tensor x = zeros({4, 3}), weight = ones({3}), bias = zeros({3}), running = zeros({3});
  expect_error<ShapeError>("batch_norm: input needs 2 to 5 dimensions (N, C, ...), got (4,)",
                           [&] { batch_norm(zeros({4}), weight, bias, {}, {}); });
  expect_error<ValueError>("batch_norm: running_mean and running_var come together or not at all",
                           [&] { batch_norm(x, weight, bias, running, {}); });
  expect_error<ValueError>("batch_norm: running statistics must be contiguous", [&] {
    const Tensor strided(zeros({3, 2}).array().view({{3}, {2}, 0}));
    batch_norm(x, weight, bias, strided, running);
  });
}

TEST(OpErrors, ConvChoices) {
  ConvChoices many;
  for (std::size_t i = 0; i <= kMaxConvChoices; ++i) many.emplace(std::to_string(i), "im2col");
  expect_error<ValueError>("add_conv_choices: at most 16384 choices, got 16385", [&] { add_conv_choices(many); });
  const std::string long_work(513, 'x');
  expect_error<ValueError>("add_conv_choices: a description of at most 512 bytes, got 513 (" + quote(long_work) + ")",
                           [&] {
                             add_conv_choices({{long_work, "im2col"}});
                           });
  EXPECT_TRUE(conv_choices().empty());
}

/// 2^e of a float16's 5 exponent bits times its 11 bits of mantissa (IEEE 754 binary16).
double value_of(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const double magnitude = exponent == 31  ? (mantissa == 0 ? HUGE_VAL : NAN)
                           : exponent == 0 ? std::ldexp(mantissa, -24)
                                           : std::ldexp(1024 + mantissa, exponent - 25);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

TEST(Float16, EveryValueIsItsDefinitionAndComesBack) {
  for (int i = 0; i < 65536; ++i) {
    float16 half;
    half.bits = static_cast<std::uint16_t>(i);
    const double expected = value_of(half.bits);
    const auto found = static_cast<float>(half);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(found)) << i;
      EXPECT_TRUE(std::isnan(static_cast<float>(float16(double{found})))) << i;
    } else {
      ASSERT_EQ(static_cast<double>(found), expected) << i;
      ASSERT_EQ(std::signbit(found), std::signbit(expected)) << i;
      ASSERT_EQ(float16(expected).bits, half.bits) << i;
    }
  }
}

TEST(Float16, RoundsToTheNearestAndTiesToEven) {
  for (int i = 0; i < 0x7c00; ++i) {  // to the next one up, or to infinity from 65504
    const double low = value_of(static_cast<std::uint16_t>(i));
    const double high = i == 0x7bff ? 65536 : value_of(static_cast<std::uint16_t>(i + 1));
    const double tie = (low + high) / 2;
    for (const double sign : {1.0, -1.0}) {
      const int top = sign < 0 ? 0x8000 : 0;
      ASSERT_EQ(float16(sign * std::nextafter(tie, 0)).bits, top + i);
      ASSERT_EQ(float16(sign * tie).bits, top + i + (i & 1));
      ASSERT_EQ(float16(sign * std::nextafter(tie, HUGE_VAL)).bits, top + i + 1);
    }
  }
}

TEST(BFloat16, KeepsNaN) {
  EXPECT_TRUE(std::isnan(static_cast<float>(bfloat16(std::nan("")))));
  EXPECT_TRUE(std::isnan(static_cast<float>(bfloat16(static_cast<double>(std::bit_cast<float>(0x7f800001u))))));
}

}  // namespace
}  // namespace weft
