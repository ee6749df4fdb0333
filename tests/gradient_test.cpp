// What backward leaves in grad(): whose it is, when it changes, and what may be set there.
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "tests/leaves.h"
#include "weft/error.h"
#include "weft/ops.h"

namespace weft {
namespace {

TEST(Gradient, ARecordedGradientIsNobodyElses) {
  const Tensor x = leaf({1, 2, 3}, {3});
  sum(x).backward({.create_graph = true});  // made by an expand, of one element
  sum(x).backward();
  EXPECT_EQ(numbers(x.grad()), (Numbers{2, 2, 2}));
  const Tensor a = leaf({1, 2}, {2}), b = leaf({3, 4}, {2});
  const Tensor g = Tensor::from<double>({1, 5}, {2}).to(kTestDevice);
  (a + b).backward(g, {.create_graph = true});
  (a * 2).backward(g);
  EXPECT_EQ(numbers(a.grad()), (Numbers{3, 15}));
  EXPECT_EQ(numbers(b.grad()), (Numbers{1, 5}));
  EXPECT_EQ(numbers(g), (Numbers{1, 5}));
}

TEST(Gradient, ARecordedGradientHasItsLeafsStridesAndItsHistory) {
  Tensor x(Array::from(std::span<const double>(Numbers{1, 2, 3, 4, 5, 6}), {3, 2}, kTestDevice).view({{2, 3}, {1, 2}}),
           true);
  for (int times = 1; times <= 2; ++times) {
    (square(x) * x + zeros({2, 3}, kF64)).backward(ones({2, 3}, kF64), {.create_graph = true});
    EXPECT_EQ(x.grad().array().strides(), x.array().strides());
    const std::vector<Tensor> second = grad({sum(x.grad())}, {x}, {}, {.retain_graph = true});
    EXPECT_EQ(numbers(second[0]), numbers(x * (6 * times)));
  }
  x.zero_grad();  // or the graph lives on
}

TEST(Gradient, AGradientThatIsAViewOfTheSumIsAddedAsItWas) {
  Tensor x = leaf({0, 0, 0, 0}, {2, 2});
  x.set_grad(Tensor::from<double>({1, 2, 3, 4}, {2, 2}).to(kTestDevice));
  transpose(x, 0, 1).backward(x.grad());
  EXPECT_EQ(numbers(x.grad()), (Numbers{1 + 1, 2 + 3, 3 + 2, 4 + 4}));
  x.set_grad(zeros({1, 1}, kF64).expand({2, 2}));
  sum(x).backward();
  EXPECT_EQ(numbers(x.grad()), (Numbers{1, 1, 1, 1}));
}

TEST(Gradient, GradientsFitTheirTensors) {
  Tensor x = leaf({1, 2, 3}, {3});
  expect_message<DTypeError>([&] { x.set_grad(zeros({3}, {.device = kTestDevice})); }, "f32");
  expect_message<ShapeError>([&] { x.set_grad(zeros({1}, kF64)); }, "(1,)");
  EXPECT_FALSE(x.grad().defined());
  sum(x).backward();
  expect_message<DTypeError>([&] { x.set_array(x.array().to(DType::f32)); }, "zero_grad");
  expect_message<ShapeError>([&] { x.set_array(Array::full({4}, 1, DType::f64, kTestDevice)); }, "(4,)");
  x.zero_grad();
  expect_message<DTypeError>([&] { x.set_array(x.array().to(DType::i64)); }, "i64");
  expect_message<Error>([&] { x.set_array(Array()); }, "undefined");
  const Tensor y = sum(square(x)) + sum(x);
  x.set_array(Array::full({4}, 1, DType::f64, kTestDevice));
  expect_message<AutogradError>([&] { y.backward(); }, "f64 (4,)");
  EXPECT_FALSE(x.grad().defined());
}

TEST(Gradient, UndefinedTensorsAreErrors) {
  Tensor none;
  expect_message<Error>([&] { none.zero_grad(); }, "undefined");
  expect_message<Error>([&] { none.set_requires_grad(false); }, "undefined");
  expect_message<Error>([&] { none.set_array(Array::full({}, 1)); }, "undefined");
}

TEST(Gradient, WhatCannotRunChangesNoGradient) {
  const Tensor w = leaf({1, 2}, {2}), v = leaf({3, 4}, {2});
  const Tensor h = exp(w), first = sum(square(h)), second = sum(h * exp(v));
  first.backward();
  expect_message<AutogradError>([&] { second.backward(); }, "exp");
  EXPECT_FALSE(v.grad().defined());
  const Tensor third = sum(v * 2) + sum(square(w));
  Array(w.array()).fill(5);
  expect_message<AutogradError>([&] { third.backward(); }, "square");
  EXPECT_FALSE(v.grad().defined());
  expect_message<AutogradError>([&] { grad({second}, {w}); }, "retain_graph");
  EXPECT_EQ(numbers(grad({second}, {v})[0]).size(), 2u);  // which takes no part in what was used up
}

TEST(Gradient, AValueThatNothingReadsMayChange) {
  const Tensor x = ones({2, 2}, kF64), w = leaf({1, 2, 3, 4}, {2, 2});
  const Tensor first = sum(matmul(x, w)), second = sum(matmul(x, w) * 2);
  first.backward();
  Array(w.array()).fill(5);  // a step; x takes no gradient, so w is not needed
  second.backward();
  EXPECT_EQ(numbers(w.grad()), (Numbers{6, 6, 6, 6}));
  const Tensor a = leaf({1, 2, 3, 4}, {2, 2}), y = sum(matmul(a, w));
  Array(w.array()).fill(6);
  EXPECT_EQ(numbers(grad({y}, {w}, {}, {.retain_graph = true})[0]), (Numbers{4, 4, 6, 6}));
  expect_message<AutogradError>([&] { y.backward(); }, "matmul");
  EXPECT_FALSE(a.grad().defined());
}

TEST(Gradient, ThreadsShareLeaves) {
  const Tensor w = leaf({1, 2, 3}, {3});
  constexpr int kThreads = 4, kTimes = 200;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int time = 0; time < kTimes; ++time) sum(w * 2).backward();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(numbers(w.grad()), Numbers(3, 2.0 * kThreads * kTimes));
}

TEST(Gradient, OfPowersWithAPlainExponent) {
  for (const double exponent : {2.0, 3.0, 0.5, -1.0, 2.5, 0.0}) {
    const Numbers at{0.25, 1, 3};
    const Tensor x = leaf(at, {3}), y = power(x, exponent);
    const Tensor first = grad({sum(y)}, {x}, {}, {.create_graph = true})[0];
    const Numbers values = numbers(y), slopes = numbers(first);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_DOUBLE_EQ(values[i], std::pow(at[i], exponent)) << exponent;
      EXPECT_NEAR(slopes[i], exponent * std::pow(at[i], exponent - 1), 1e-13 * std::abs(slopes[i])) << exponent;
    }
    if (exponent == 0) continue;
    const Numbers curves = numbers(grad({sum(first)}, {x})[0]);
    for (std::size_t i = 0; i < 3; ++i) {
      const double expected = exponent * (exponent - 1) * std::pow(at[i], exponent - 2);
      EXPECT_NEAR(curves[i], expected, 1e-12 * std::abs(expected)) << exponent;
    }
  }
  const Tensor whole = arange(0, 3, 1, {.dtype = DType::i64, .device = kTestDevice});
  EXPECT_EQ(power(whole, 2).to_vector<std::int64_t>(), (std::vector<std::int64_t>{0, 1, 4}));
  expect_message<ValueError>([&] { power(whole, -1); }, "integers have no power of -1");
}

}  // namespace
}  // namespace weft
