// What NumPy 1.24 prints for the same arrays.
#include <gtest/gtest.h>

#include <limits>

#include "weft/weft.h"

namespace weft {
namespace {

template <class T>
Tensor t(std::initializer_list<T> values, const Shape& shape) {
  return Tensor::from<T>(values, shape);
}

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double inf = std::numeric_limits<double>::infinity();
using f = float;

TEST(Print, PadsFractions) {
  EXPECT_EQ(to_string(t<f>({1.5f, 2, 3, -4.25f}, {2, 2})), R"([[ 1.5   2.  ]
 [ 3.   -4.25]])");
}

TEST(Print, ShortestF32) { EXPECT_EQ(to_string(t<f>({1.f / 3, 2.f / 3}, {2})), R"([0.33333334 0.6666667 ])"); }

TEST(Print, EightDigitsOfF64) { EXPECT_EQ(to_string(t<double>({1. / 3, 2. / 3}, {2})), R"([0.33333333 0.66666667])"); }

TEST(Print, ExponentsForSmall) { EXPECT_EQ(to_string(t<f>({1e-5f, 1}, {2})), R"([1.e-05 1.e+00])"); }

TEST(Print, ExponentsForBig) { EXPECT_EQ(to_string(t<double>({1e8, 1}, {2})), R"([1.e+08 1.e+00])"); }

TEST(Print, ExponentsForWideRange) { EXPECT_EQ(to_string(t<double>({1, 1001}, {2})), R"([1.000e+00 1.001e+03])"); }

TEST(Print, NoExponentsAtAThousand) { EXPECT_EQ(to_string(t<double>({1, 1000}, {2})), R"([   1. 1000.])"); }

TEST(Print, NanAndInfinity) { EXPECT_EQ(to_string(t<double>({nan, 1, -inf, inf}, {4})), R"([ nan   1. -inf  inf])"); }

TEST(Print, NanPads) { EXPECT_EQ(to_string(t<double>({nan, 1.25}, {2})), R"([ nan 1.25])"); }

TEST(Print, Integers) {
  EXPECT_EQ(to_string(t<std::int64_t>({1, -20, 300, 4}, {2, 2})), R"([[  1 -20]
 [300   4]])");
}

TEST(Print, Booleans) { EXPECT_EQ(to_string(t<std::int64_t>({1, 0}, {2}).to(DType::boolean)), R"([ True False])"); }

TEST(Print, BooleansWithoutAFalse) {
  EXPECT_EQ(to_string(t<bool>({true, true}, {2})), R"([ True  True])");
  EXPECT_EQ(to_string(t<bool>({false, false}, {2})), R"([False False])");
  EXPECT_EQ(to_string(t<bool>({true}, {})), "True");
}

TEST(Print, ShortestDigitsOfLargeF32) {
  EXPECT_EQ(to_string(full({}, -213117232.f)), "-213117230.0");
  EXPECT_EQ(to_string(full({}, 16777216.f)), "16777216.0");
  EXPECT_EQ(to_string(full({}, 0x1p53, {.dtype = DType::f64})), "9007199254740992.0");
  EXPECT_EQ(to_string(full({}, 0.0001234f)), "0.0001234");
  EXPECT_EQ(to_string(full({}, -0.f)), "-0.0");
  EXPECT_EQ(to_string(t<f>({99999992, 99999976}, {2})), "[99999990. 99999976.]");
}

TEST(Print, ConvertsOnlyWhatItShows) {
  EXPECT_EQ(to_string(expand(full({1}, 1.5), {std::int64_t{1} << 58})), "[1.5 1.5 1.5 ... 1.5 1.5 1.5]");
  EXPECT_EQ(to_string(expand(arange(0, 2).reshape({2, 1}), {2, std::int64_t{1} << 58})),
            "[[0 0 0 ... 0 0 0]\n [1 1 1 ... 1 1 1]]");
  EXPECT_EQ(to_string(expand(zeros({1}, {.dtype = DType::f16}), {0, std::int64_t{1} << 58})), "[]");
}

TEST(Print, SummarisesEveryLongAxis) {
  EXPECT_EQ(to_string(arange(0, 1029).reshape({7, 147}).transpose(0, 1)), R"([[   0  147  294 ...  588  735  882]
 [   1  148  295 ...  589  736  883]
 [   2  149  296 ...  590  737  884]
 ...
 [ 144  291  438 ...  732  879 1026]
 [ 145  292  439 ...  733  880 1027]
 [ 146  293  440 ...  734  881 1028]])");
}

TEST(Print, ThreeAxes) {
  EXPECT_EQ(to_string(arange(0, 8).reshape({2, 2, 2})), R"([[[0 1]
  [2 3]]

 [[4 5]
  [6 7]]])");
}

TEST(Print, FourAxes) {
  EXPECT_EQ(to_string(arange(0, 4).reshape({2, 1, 1, 2})), R"([[[[0 1]]]


 [[[2 3]]]])");
}

TEST(Print, WrapsIntegers) {
  EXPECT_EQ(to_string(arange(0, 30)), R"([ 0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15 16 17 18 19 20 21 22 23
 24 25 26 27 28 29])");
}

TEST(Print, WrapsFloats) {
  EXPECT_EQ(to_string(arange(0, 20).to(DType::f64) / 8),
            R"([0.    0.125 0.25  0.375 0.5   0.625 0.75  0.875 1.    1.125 1.25  1.375
 1.5   1.625 1.75  1.875 2.    2.125 2.25  2.375])");
}

TEST(Print, SummarisesVectors) { EXPECT_EQ(to_string(arange(0, 1001)), R"([   0    1    2 ...  998  999 1000])"); }

TEST(Print, SummarisesMatrices) {
  EXPECT_EQ(to_string(arange(0, 2000).reshape({40, 50})), R"([[   0    1    2 ...   47   48   49]
 [  50   51   52 ...   97   98   99]
 [ 100  101  102 ...  147  148  149]
 ...
 [1850 1851 1852 ... 1897 1898 1899]
 [1900 1901 1902 ... 1947 1948 1949]
 [1950 1951 1952 ... 1997 1998 1999]])");
}

TEST(Print, Scalar) { EXPECT_EQ(to_string(full({}, 1.5)), R"(1.5)"); }

TEST(Print, WholeScalar) { EXPECT_EQ(to_string(full({}, 2.0, {.dtype = DType::f64})), R"(2.0)"); }

TEST(Print, SmallScalar) { EXPECT_EQ(to_string(full({}, 1e-5, {.dtype = DType::f64})), R"(1e-05)"); }

TEST(Print, BigScalar) { EXPECT_EQ(to_string(full({}, 1e16, {.dtype = DType::f64})), R"(1e+16)"); }

TEST(Print, Empty) { EXPECT_EQ(to_string(zeros({0, 3})), R"([])"); }

TEST(Print, Zeros) { EXPECT_EQ(to_string(zeros({3})), R"([0. 0. 0.])"); }

TEST(Print, ThreeDigitExponents) { EXPECT_EQ(to_string(t<double>({1e100, 1e-3}, {2})), R"([1.e+100 1.e-003])"); }

TEST(Print, Negative) { EXPECT_EQ(to_string(t<double>({-1, 2.5}, {2})), R"([-1.   2.5])"); }

TEST(Print, Half) { EXPECT_EQ(to_string(t<f>({0.1f, 2}, {2}).to(DType::f16)), R"([0.1 2. ])"); }

TEST(Print, RoundsToEightDigits) {
  EXPECT_EQ(to_string(t<double>({1.123456789012, 2}, {2})), R"([1.12345679 2.        ])");
}

TEST(Print, RoundsExponentsToEightDigits) {
  EXPECT_EQ(to_string(t<double>({1.123456789012e-7, 2.5}, {2})), R"([1.12345679e-07 2.50000000e+00])");
}

TEST(Print, FillsUpExponentsWithExactDigits) {
  EXPECT_EQ(to_string((arange(0, 1002).to(DType::f32) / 3.0).unsqueeze(0)),
            R"([[0.0000000e+00 3.3333334e-01 6.6666669e-01 ... 3.3300000e+02
  3.3333334e+02 3.3366666e+02]])");
}

TEST(Print, FilledUpDigitsMayHaveAnotherExponent) {
  EXPECT_EQ(to_string(t<f>({1e-20f, 12345678}, {2})), R"([9.9999997e-21 1.2345678e+07])");
}

TEST(Print, Undefined) { EXPECT_EQ(to_string(Tensor()), "undefined"); }

TEST(Print, FollowsViews) {
  EXPECT_EQ(to_string(arange(0, 6).reshape({2, 3}).transpose(0, 1).flip(0)), "[[2 5]\n [1 4]\n [0 3]]");
}

}  // namespace
}  // namespace weft
