#include "weft/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/error_support.h"
#include "tests/leaves.h"
#include "weft/error.h"
#include "weft/ops.h"

namespace weft {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <class T>
Tensor of(std::initializer_list<T> values, DType dtype = dtype_of<T>) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())}, {.dtype = dtype, .device = kTestDevice});
}
std::vector<int> truths(const Tensor& x) {
  EXPECT_EQ(x.dtype(), DType::boolean);
  std::vector<int> result;
  for (const std::uint8_t value : x.to(DType::u8).to_vector<std::uint8_t>()) result.push_back(value);
  return result;
}
using Truths = std::vector<int>;

/// Expects of all six comparisons, in each form, what long double gives, which holds every i64 and f64.
template <class A, class B>
void expect_order(const std::vector<A>& a, DType a_dtype, const std::vector<B>& b, DType b_dtype) {
  const std::int64_t rows = std::ssize(a), columns = std::ssize(b);
  const Tensor x = Tensor::from(a, {rows, 1}, {.dtype = a_dtype, .device = kTestDevice});
  const Tensor y = Tensor::from(b, {columns}, {.dtype = b_dtype, .device = kTestDevice});
  const auto expected = [&](auto holds) {
    Truths result;
    for (const A p : a) {
      for (const B q : b) result.push_back(holds(static_cast<long double>(p), static_cast<long double>(q)) ? 1 : 0);
    }
    return result;
  };
  const std::string pair = std::string(name(a_dtype)) + " and " + std::string(name(b_dtype));
  EXPECT_EQ(truths(x == y), expected([](long double p, long double q) { return p == q; })) << pair;
  EXPECT_EQ(truths(x != y), expected([](long double p, long double q) { return p != q; })) << pair;
  EXPECT_EQ(truths(x < y), expected([](long double p, long double q) { return p < q; })) << pair;
  EXPECT_EQ(truths(x <= y), expected([](long double p, long double q) { return p <= q; })) << pair;
  EXPECT_EQ(truths(x > y), expected([](long double p, long double q) { return p > q; })) << pair;
  EXPECT_EQ(truths(x >= y), expected([](long double p, long double q) { return p >= q; })) << pair;
  for (std::int64_t j = 0; j < columns; ++j) {
    const B q = b[static_cast<std::size_t>(j)];
    const auto column = [&](const Tensor& all) { return truths(all.slice(1, j, j + 1).flatten()); };
    const Tensor flat = x.flatten();
    EXPECT_EQ(truths(flat == q), column(x == y)) << pair << " " << q;
    EXPECT_EQ(truths(flat != q), column(x != y)) << pair << " " << q;
    EXPECT_EQ(truths(flat < q), column(x < y)) << pair << " " << q;
    EXPECT_EQ(truths(flat <= q), column(x <= y)) << pair << " " << q;
    EXPECT_EQ(truths(flat > q), column(x > y)) << pair << " " << q;
    EXPECT_EQ(truths(flat >= q), column(x >= y)) << pair << " " << q;
    EXPECT_EQ(truths(q == flat), column(x == y)) << pair << " " << q;
    EXPECT_EQ(truths(q != flat), column(x != y)) << pair << " " << q;
    EXPECT_EQ(truths(q < flat), column(x > y)) << pair << " " << q;
    EXPECT_EQ(truths(q <= flat), column(x >= y)) << pair << " " << q;
    EXPECT_EQ(truths(q > flat), column(x < y)) << pair << " " << q;
    EXPECT_EQ(truths(q >= flat), column(x <= y)) << pair << " " << q;
  }
}

TEST(Compare, IsByMathematicalValueForEveryPairOfDTypes) {
  const std::vector<std::int64_t> longs{INT64_MIN,       INT64_MIN + 1, -(1LL << 53) - 1, -300,     -1, 0, 1, 255, 300,
                                        (1LL << 24) + 1, (1LL << 53),   (1LL << 53) + 1,  INT64_MAX};
  const std::vector<double> doubles{-kInfinity, -0x1p63, -0x1p53 - 2, -300.5, -1,         -0.0,   0,         0.5,
                                    1,          255,     0x1p24,      0x1p53, 0x1p53 + 2, 0x1p63, kInfinity, kNaN};
  const std::vector<std::int64_t> bytes{0, 1, 44, 255}, ints{INT32_MIN, -1, 0, 44, 300, INT32_MAX};
  const std::vector<double> floats{-kInfinity, -300, -0.0, 0.5, 44, 0x1p24, 0x1p31, 0x1p63, kInfinity, kNaN};
  expect_order(longs, DType::i64, doubles, DType::f64);
  expect_order(doubles, DType::f64, longs, DType::i64);
  expect_order(longs, DType::i64, longs, DType::i64);
  expect_order(longs, DType::i64, floats, DType::f32);
  expect_order(floats, DType::f32, longs, DType::i64);
  expect_order(ints, DType::i32, floats, DType::f32);
  expect_order(ints, DType::i32, longs, DType::i64);
  expect_order(bytes, DType::u8, ints, DType::i32);
  expect_order(bytes, DType::u8, longs, DType::i64);
  expect_order(bytes, DType::u8, doubles, DType::f64);
  expect_order(std::vector<std::int64_t>{0, 1}, DType::boolean, longs, DType::i64);
  expect_order(std::vector<std::int64_t>{0, 1}, DType::boolean, doubles, DType::f64);
}

TEST(Compare, RoundsAFloatingNumberToAFloatingDType) {
  EXPECT_EQ(truths(of<float>({0.1F, 0.2F}) == 0.1), (Truths{1, 0}));
  EXPECT_EQ(truths(of<float>({3e38F, std::numeric_limits<float>::infinity()}) < 1e300), (Truths{1, 0}));
  EXPECT_EQ(truths(of<float>({0x1p24F}) == 16777217), (Truths{0}));
  if (kTestDevice.is_cuda()) {  // the CPU only stores bf16
    EXPECT_EQ(truths(of<float>({0.1F}).to(DType::bf16) == 0.1), (Truths{1}));
    EXPECT_EQ(truths(of<float>({257}).to(DType::bf16) == 257), (Truths{0}));
  }
  EXPECT_EQ(truths(of<float>({0x1p63F}) > INT64_MAX), (Truths{1}));
}

TEST(Compare, BroadcastsAndRefusesWhatDoesNot) {
  EXPECT_EQ(truths(zeros({0, 3}, {.device = kTestDevice}) == 1), Truths{});
  expect_error<ShapeError>("less: shapes (2,) and (3,) do not broadcast",
                           [] { less(zeros({2}, {.device = kTestDevice}), zeros({3}, {.device = kTestDevice})); });
  expect_error<ValueError>("equal: an operand is undefined", [] { equal(Tensor(), Tensor()); });
}

TEST(Compare, LogicOfBoolTakesBoolOnly) {
  const Tensor a = of<float>({0, 0, 1, 1}) != 0, b = of<float>({0, 1, 0, 1}) != 0;
  EXPECT_EQ(truths(a & b), (Truths{0, 0, 0, 1}));
  EXPECT_EQ(truths(a | b), (Truths{0, 1, 1, 1}));
  EXPECT_EQ(truths(a ^ b), (Truths{0, 1, 1, 0}));
  EXPECT_EQ(truths(!a), (Truths{1, 1, 0, 0}));
  expect_error<DTypeError>("operator&: takes bool, not f32", [&] { a& of<float>({1, 1, 1, 1}); });
  expect_error<DTypeError>("operator!: takes bool, not i64", [&] { !of<std::int64_t>({1}); });
}

TEST(ArrayEqual, NeedsOneShapeAndEqualValues) {
  const Tensor x = of<float>({1, 2, 3, 4}).reshape({2, 2});
  EXPECT_TRUE(array_equal(x, of<std::int64_t>({1, 2, 3, 4}).reshape({2, 2})));
  EXPECT_TRUE(array_equal(x.transpose(0, 1), of<float>({1, 3, 2, 4}).reshape({2, 2})));
  EXPECT_FALSE(array_equal(x, x.transpose(0, 1)));
  EXPECT_FALSE(array_equal(x, x.flatten()));
  EXPECT_FALSE(array_equal(of<float>({NAN}), of<float>({NAN})));
  EXPECT_TRUE(array_equal(zeros({0, 2}, {.device = kTestDevice}), ones({0, 2}, {.device = kTestDevice})));
}

TEST(Allclose, IsRelativeToTheSecond) {
  const Tensor b = of<double>({100, -1000, 0});
  EXPECT_TRUE(allclose(of<double>({100.0009, -1000.009, 1e-9}), b));
  EXPECT_FALSE(allclose(of<double>({100.002, -1000, 0}), b));
  EXPECT_FALSE(allclose(of<double>({100, -1000, 2e-8}), b));
  EXPECT_TRUE(allclose(of<double>({101, -1010, 0}), b, {.rtol = 0.01}));
  EXPECT_FALSE(allclose(of<double>({1}), of<double>({kInfinity})));
  EXPECT_TRUE(allclose(of<double>({-kInfinity}), of<double>({-kInfinity})));
  EXPECT_FALSE(allclose(of<double>({-kInfinity}), of<double>({kInfinity})));
  EXPECT_FALSE(allclose(of<double>({kNaN}), of<double>({kNaN})));
  EXPECT_TRUE(allclose(of<double>({kNaN}), of<double>({kNaN}), {.equal_nan = true}));
  EXPECT_TRUE(allclose(of<std::int64_t>({5, 5}), of<std::int64_t>({5})));
  expect_error<ValueError>("allclose: tolerances must not be negative, got rtol -1 and atol 1e-08",
                           [&] { allclose(b, b, {.rtol = -1}); });
}

// Assignments and writes in place.

TEST(Assignment, ChangesThisHandleAlone) {
  Tensor a = of<double>({1, 2});
  const Tensor other = a;
  a += of<double>({10, 20});
  EXPECT_EQ(numbers(a), (Numbers{11, 22}));
  EXPECT_EQ(numbers(other), (Numbers{1, 2}));
  a -= 1;
  a *= of<double>({2, 3});
  a /= 2;
  EXPECT_EQ(numbers(a), (Numbers{10, 31.5}));
}

TEST(Assignment, KeepsTheGraphAndRefusesALeaf) {
  const Tensor x = leaf({1, 2}, {2});
  Tensor sum_of_powers = x * x;
  sum_of_powers += x;
  sum(sum_of_powers).backward();
  EXPECT_EQ(numbers(x.grad()), (Numbers{3, 5}));
  Tensor w = x;
  const std::string rest =
      ": the tensor is a leaf that requires a gradient, and the result would be another tensor; write it in place "
      "under NoGrad";
  expect_error<AutogradError>("operator+=" + rest, [&] { w += 1; });
  const NoGrad off;
  expect_error<AutogradError>("operator*=" + rest, [&] { w *= x; });
  EXPECT_TRUE(w.is_same(x));
}

TEST(InPlace, WritesAreSeenByEveryViewAndMoveTheVersion) {
  Tensor x = of<double>({1, 2, 3, 4}).reshape({2, 2});
  const Tensor view = x.transpose(0, 1);
  const std::uint64_t version = x.array().version();
  x.add_(of<double>({10, 20}));
  EXPECT_EQ(numbers(view), (Numbers{11, 13, 22, 24}));
  x.add_(of<double>({1, 1}), -2).mul_(2).add_(1);
  EXPECT_EQ(numbers(x), (Numbers{19, 41, 23, 45}));
  x[1].fill_(7);
  x[0].mul_(of<double>({2, 0}));
  EXPECT_EQ(numbers(x), (Numbers{38, 0, 7, 7}));
  x.copy_(of<float>({5, 6}));
  EXPECT_EQ(numbers(x), (Numbers{5, 6, 5, 6}));
  EXPECT_EQ(x.array().version(), version + 7);
}

TEST(InPlace, TakesAnOperandOfTheSameMemory) {
  Tensor x = of<double>({1, 2, 3, 4}).reshape({2, 2});
  x.add_(x.transpose(0, 1));
  EXPECT_EQ(numbers(x), (Numbers{2, 5, 5, 8}));
  x.mul_(x);
  EXPECT_EQ(numbers(x), (Numbers{4, 25, 25, 64}));
  x.copy_(x.flip(0));
  EXPECT_EQ(numbers(x), (Numbers{25, 64, 4, 25}));
}

TEST(InPlace, IsRefusedWhereAGradientWouldBeWrong) {
  Tensor x = leaf({1, 2}, {2});
  Tensor y = x * 2;
  Tensor plain = of<double>({1, 1});
  expect_error<AutogradError>(
      "fill_: the tensor requires a gradient, which a write in place has not; NoGrad permits it", [&] { x.fill_(0); });
  expect_error<AutogradError>(
      "add_: the operand requires a gradient, which a write in place has not; use its detach(), or NoGrad",
      [&] { plain.add_(x); });
  const std::string graph =
      ": the tensor has a graph, which a write in place would make wrong; detach() gives one without";
  expect_error<AutogradError>("mul_" + graph, [&] { y.mul_(2); });
  const NoGrad off;
  expect_error<AutogradError>("copy_" + graph, [&] { y.copy_(plain); });
  x.add_(y);
  EXPECT_EQ(numbers(x), (Numbers{3, 6}));
}

TEST(InPlace, ASavedValueThatChangedIsAnError) {
  const Tensor x = leaf({1, 2}, {2});
  Tensor factor = of<double>({3, 4});
  const Tensor y = sum(x * factor);
  factor.mul_(2);
  expect_message<AutogradError>([&] { y.backward(); }, "modified in place");
}

TEST(InPlace, NamesWhatIsWrong) {
  Tensor x = of<float>({1, 2, 3});
  Tensor counts = of<std::int64_t>({1, 2, 3});
  expect_error<ShapeError>("add_: shape (2,) does not broadcast to (3,)", [&] { x.add_(of<float>({1, 2})); });
  expect_error<DTypeError>("add_: the operand is f32, which i64 does not hold", [&] { counts.add_(x); });
  expect_error<DTypeError>("mul_: the operand is f32, which i64 does not hold", [&] { counts.mul_(0.5); });
  expect_error<ShapeError>(
      "fill_: elements of shape (2, 3) with strides (0, 1) may share memory; clone() gives each its own", [&] {
        x.expand({2, 3}).fill_(1);
      });
  expect_error<ValueError>("copy_: the source is undefined", [&] { x.copy_(Tensor()); });
  EXPECT_EQ(x.to_vector<float>(), (std::vector<float>{1, 2, 3}));
  x.add_(of<double>({1, 1, 1}));
  EXPECT_EQ(x.to_vector<float>(), (std::vector<float>{2, 3, 4}));
}

TEST(TensorFrom, DeducesTheTypeOfARange) {
  const std::vector<float> values{1, 2, 3, 4};
  EXPECT_EQ(Tensor::from(values, {2, 2}).dtype(), DType::f32);
  EXPECT_EQ(Tensor::from(std::array<std::int64_t, 2>{1, 2}, {2}).dtype(), DType::i64);
  EXPECT_EQ(Tensor::from(values, {4}, {.dtype = DType::f64}).to_vector<double>(), (Numbers{1, 2, 3, 4}));
  EXPECT_EQ(zeros({2, 3}, DType::f64).dtype(), DType::f64);
  EXPECT_EQ(full({2}, 3, DType::u8).dtype(), DType::u8);
}

TEST(Tensor, BracketsSelectAlongTheFirstAxis) {
  const Tensor x = of<double>({1, 2, 3, 4, 5, 6}).reshape({3, 2});
  EXPECT_EQ(numbers(x[1]), (Numbers{3, 4}));
  EXPECT_EQ(numbers(x[-1][0]), (Numbers{5}));
  expect_message<IndexError>([&] { x[3]; }, "select");
}

}  // namespace
}  // namespace weft
