#include "core/autograd/autograd.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/leaves.h"
#include "weft/error.h"
#include "weft/ops.h"
#include "weft/random.h"

namespace weft {
namespace {

TEST(Autograd, AValueUsedRepeatedlyAddsItsGradients) {
  const Tensor x = leaf(3);
  const Tensor y = x * x + x * 2 + x;
  y.backward();
  EXPECT_EQ(x.grad().item<double>(), 2 * 3 + 2 + 1);
}

TEST(Autograd, AnOutputUsedRepeatedlyAddsItsGradients) {
  const Tensor x = leaf(3);
  const Tensor y = square(x);
  (y * y + y).backward();
  EXPECT_EQ(x.grad().item<double>(), 4 * 27 + 2 * 3);
}

TEST(Autograd, TwoCallsOfBackwardAddUp) {
  const Tensor x = leaf({1, 2}, {2});
  sum(square(x)).backward();
  sum(x * 3).backward();
  EXPECT_EQ(numbers(x.grad()), (Numbers{5, 7}));
  Tensor(x).zero_grad();
  EXPECT_FALSE(x.grad().defined());
}

TEST(Autograd, GradientsOfTwoLeavesAreNotShared) {
  const Tensor a = leaf({1, 2}, {2});
  const Tensor b = leaf({3, 4}, {2});
  sum(a + b).backward();
  Array(a.grad().array()).fill(7);
  EXPECT_EQ(numbers(b.grad()), (Numbers{1, 1}));
}

TEST(Autograd, TheGivenGradientIsNotTheStoredOne) {
  const Tensor x = leaf({1, 2}, {2});
  const Tensor g = ones({2}, kF64);
  clone(x).backward(g);
  sum(x * 5).backward();
  EXPECT_EQ(numbers(x.grad()), (Numbers{6, 6}));
  EXPECT_EQ(numbers(g), (Numbers{1, 1}));
}

TEST(Autograd, NoGradRecordsNothing) {
  const Tensor x = leaf(2);
  {
    const NoGrad off;
    EXPECT_FALSE(grad_enabled());
    const Tensor y = x * x;
    EXPECT_FALSE(y.requires_grad());
    EXPECT_TRUE(y.is_leaf());
    {
      const GradMode on(true);
      EXPECT_TRUE((x * x).requires_grad());
    }
    EXPECT_FALSE(grad_enabled());
  }
  EXPECT_TRUE((x * x).requires_grad());
}

TEST(Autograd, DetachCutsTheGraphAndSharesTheMemory) {
  const Tensor x = leaf(3);
  const Tensor y = square(x);
  const Tensor constant = y.detach();
  EXPECT_EQ(constant.array().data(), y.array().data());
  EXPECT_FALSE(constant.requires_grad());
  (constant * x).backward();
  EXPECT_EQ(x.grad().item<double>(), 9);
}

TEST(Autograd, ASecondBackwardNeedsRetainGraph) {
  const Tensor x = leaf(3);
  const Tensor kept = square(x);
  kept.backward({.retain_graph = true});
  kept.backward();
  EXPECT_EQ(x.grad().item<double>(), 12);
  expect_message<AutogradError>([&] { kept.backward(); }, "retain_graph");
  EXPECT_EQ(x.grad().item<double>(), 12);
}

TEST(Autograd, ANonScalarNeedsAnOutputGradient) {
  const Tensor x = leaf({1, 2, 3}, {3});
  const Tensor y = square(x);
  expect_message<AutogradError>([&] { y.backward(); }, "(3,)");
  expect_message<ShapeError>([&] { y.backward(ones({2}, kF64)); }, "(2,)");
  y.backward(Tensor::from<double>({1, 0, -1}, {3}).to(kTestDevice));
  EXPECT_EQ(numbers(x.grad()), (Numbers{2, 0, -6}));
  const Tensor one = leaf({4}, {1, 1});
  square(one).backward();
  EXPECT_EQ(numbers(one.grad()), (Numbers{8}));
}

TEST(Autograd, BackwardWithoutAGraphIsAnError) {
  expect_message<AutogradError>([] { ones({}, kF64).backward(); }, "backward");
  expect_message<DTypeError>(
      [] { Tensor(arange(0, 3, 1, {.dtype = DType::i64, .device = kTestDevice})).set_requires_grad(true); }, "i64");
  const Tensor x = leaf(1);
  expect_message<AutogradError>([&] { Tensor(x * x).set_requires_grad(false); }, "leaves");
  expect_message<AutogradError>([&] { Tensor(x * x).set_array(Array::full({}, 1, DType::f32, kTestDevice)); }, "leaf");
}

TEST(Autograd, AModifiedSavedValueIsDetected) {
  const Tensor x = leaf({1, 2}, {2});
  const Tensor y = sum(square(x));
  Array(x.array()).fill(5);
  expect_message<AutogradError>([&] { y.backward(); }, "square");

  const Tensor z = sum(exp(x));  // saves its output
  Array(x.array()).copy_from(Array::full({2}, 1, DType::f64, kTestDevice));
  z.backward();

  const Tensor a = leaf({1, 2}, {2});
  const Tensor view = a.slice(0, 0, 1);
  const Tensor product = sum(view * view);
  Array(a.array()).fill(0);  // the view's storage
  expect_message<AutogradError>([&] { product.backward(); }, "multiply");

  const Tensor unsaved = sum(a + a);
  Array(a.array()).fill(1);
  unsaved.backward();
  EXPECT_EQ(numbers(a.grad()), (Numbers{2, 2}));
}

// What backward gives of a bias beside the weight comes from another kernel than what it gives of it alone, or
// recorded.
TEST(Autograd, GradientsOfABiasAgree) {
  manual_seed(5);
  const Tensor x = randn({3, 4, 5, 6}, kF64), rows = randn({7, 4}, kF64);
  const Tensor filter = randn({2, 4, 3, 3}, kF64), weight = randn({2, 4}, kF64), bias = randn({2}, kF64);
  for (const bool linear_layer : {false, true}) {
    const auto gradient = [&](bool with_weight, bool create_graph) {
      const Tensor w((linear_layer ? weight : filter).array(), with_weight), b(bias.array(), true);
      const Tensor y = linear_layer ? linear(rows, w, b) : conv2d(x, w, b, {.padding = {1, 1}});
      const std::vector<Tensor> inputs = with_weight ? std::vector<Tensor>{b, w} : std::vector<Tensor>{b};
      const Tensor b_grad = grad({sum(y * y)}, inputs, {}, {.create_graph = create_graph})[0];
      EXPECT_EQ(b_grad.requires_grad(), create_graph);
      return numbers(b_grad);
    };
    const Numbers expected = gradient(false, false);
    for (const Numbers& other : {gradient(true, false), gradient(true, true)}) {
      ASSERT_EQ(other.size(), expected.size());
      for (std::size_t i = 0; i < other.size(); ++i) EXPECT_NEAR(other[i], expected[i], 1e-12 * std::abs(expected[i]));
    }
  }
}

TEST(Autograd, ALinearLayerOfSeveralDtypesPromotes) {
  const Tensor x = Tensor::from<float>({1, 2}, {1, 2}).to(kTestDevice);
  const Tensor weight = leaf({3, 4}, {1, 2});
  const Tensor y = linear(x, weight, Tensor::from<float>({5}, {1}).to(kTestDevice));
  EXPECT_EQ(y.dtype(), DType::f64);
  EXPECT_EQ(numbers(y), (Numbers{16}));
  sum(y).backward();
  EXPECT_EQ(numbers(weight.grad()), (Numbers{1, 2}));
  const TensorOptions i64{.dtype = DType::i64, .device = kTestDevice};
  EXPECT_EQ(linear(full({2, 3}, 2, i64), full({1, 3}, 4, i64), full({1}, 1, i64)).to_vector<std::int64_t>(),
            (std::vector<std::int64_t>{25, 25}));
}

TEST(Autograd, GradLeavesGradsAlone) {
  const Tensor x = leaf(3);
  const Tensor y = leaf(4);
  const std::vector<Tensor> g = grad({x * x * y}, {x, y});
  EXPECT_EQ(g[0].item<double>(), 24);
  EXPECT_EQ(g[1].item<double>(), 9);
  EXPECT_FALSE(x.grad().defined());
  EXPECT_FALSE(y.grad().defined());
}

TEST(Autograd, GradOfUnusedInputs) {
  const Tensor x = leaf(3);
  const Tensor unused = leaf(4);
  expect_message<AutogradError>([&] { grad({x * x}, {x, unused}); }, "input 1");
  const std::vector<Tensor> g = grad({x * x}, {x, unused}, {}, {}, true);
  EXPECT_EQ(g[0].item<double>(), 6);
  EXPECT_FALSE(g[1].defined());
  expect_message<AutogradError>([&] { grad({x * x}, {ones({}, kF64)}); }, "input 0");
}

TEST(Autograd, GradOfSeveralOutputsAndOfIntermediates) {
  const Tensor x = leaf({1, 2}, {2});
  const Tensor y = square(x);
  const Tensor z = y * 3;
  const std::vector<Tensor> g =
      grad({z, y}, {y, x},
           {Tensor::from<double>({1, 10}, {2}).to(kTestDevice), Tensor::from<double>({100, 100}, {2}).to(kTestDevice)});
  EXPECT_EQ(numbers(g[0]), (Numbers{103, 130}));
  EXPECT_EQ(numbers(g[1]), (Numbers{206, 520}));
  expect_message<ValueError>([&] { grad({x * 1, x * 2}, {x}, {ones({2}, kF64)}); }, "2 outputs");
}

TEST(Autograd, GradOfTheOutputItself) {
  const Tensor x = leaf(3);
  EXPECT_EQ(grad({x}, {x})[0].item<double>(), 1);
  const Tensor y = square(x);
  EXPECT_EQ(grad({y}, {y})[0].item<double>(), 1);
}

TEST(Autograd, HigherDerivativesOfAPolynomial) {
  const Tensor x = leaf(2);
  Tensor y = x * x * x * x;
  for (const double expected : {32.0, 48.0, 48.0, 24.0}) {
    y = grad({y}, {x}, {}, {.create_graph = true})[0];
    EXPECT_EQ(y.item<double>(), expected);
  }
}

// A two-layer network with the penalty |d loss / d x|², whose gradient needs second derivatives of every op.
TEST(Autograd, GradientOfAGradientPenalty) {
  manual_seed(3);
  const Tensor x = randn({4, 3}, kF64);
  std::vector<Tensor> parameters{randn({5, 3}, kF64), randn({5}, kF64), randn({2, 5}, kF64), randn({2}, kF64)};
  const Tensor labels = Tensor::from<std::int64_t>({0, 1, 1, 0}, {4}).to(kTestDevice);
  const auto penalty = [&](const Tensor& input) {
    const Tensor hidden = tanh(linear(input, parameters[0], parameters[1]));
    const Tensor loss = cross_entropy(linear(hidden, parameters[2], parameters[3]), labels);
    return sum(square(grad({loss}, {input}, {}, {.create_graph = true})[0]));
  };
  Tensor input(x.array(), true);
  for (Tensor& parameter : parameters) parameter.set_requires_grad(true);
  penalty(input).backward();
  for (const Tensor& parameter : parameters) {
    const double analytic = parameter.grad().defined() ? parameter.grad().reshape({-1}).select(0, 0).item<double>() : 0;
    Array first = parameter.array().view({{1}, {1}, parameter.array().layout().offset});
    const double before = first.item<double>();
    const auto at = [&](double value) {
      first.fill(value);
      return penalty(input).item<double>();
    };
    constexpr double kStep = 1e-5;
    EXPECT_NEAR(analytic, (at(before + kStep) - at(before - kStep)) / (2 * kStep), 1e-9);
    first.fill(before);
  }
}

TEST(Autograd, CreateGraphInBackwardLeavesADifferentiableGrad) {
  const Tensor x = leaf(3);
  (x * x * x).backward({.create_graph = true});
  EXPECT_EQ(x.grad().item<double>(), 27);
  EXPECT_EQ(grad({x.grad()}, {x})[0].item<double>(), 18);
  Tensor(x).zero_grad();  // x and its gradient's graph hold each other
}

TEST(Autograd, AMillionOpsNeitherRecurseBackwardNorInTheDestructor) {
  const Tensor x = leaf(1);
  {
    Tensor y = x;
    for (int i = 0; i < 1'000'000; ++i) y = unsqueeze(y.rank() == 0 ? y : squeeze(y), 0);
    y.backward(ones({1}, kF64));
    EXPECT_EQ(x.grad().item<double>(), 1);
  }
  {
    Tensor unused = x;
    // Each takes memory, which a GPU's system is asked for in a call of its own.
    const int ops = kTestDevice.is_cpu() ? 1'000'000 : 100'000;
    for (int i = 0; i < ops; ++i) unused = negative(unused);
  }
}

TEST(Autograd, TheGradientLiesInMemoryLikeItsTensor) {
  const Tensor transposed(transpose(randn({4, 3}, kF64), 0, 1).array(), true);
  const Tensor x = randn({2, 4}, kF64);
  sum(matmul(x, transpose(transposed, 0, 1))).backward();
  EXPECT_EQ(transposed.grad().array().strides(), transposed.array().strides());
  EXPECT_EQ(transposed.array().strides(), (Strides{1, 3}));

  const Array channels_last = Array::empty_like(Layout::channels_last({4, 3, 3, 3}), DType::f64, kTestDevice);
  const Tensor weight(channels_last, true);
  Array(weight.array()).copy_from(randn({4, 3, 3, 3}, kF64).array());
  sum(conv2d(randn({2, 3, 5, 5}, kF64), weight)).backward();
  EXPECT_EQ(weight.grad().array().strides(), weight.array().strides());
  const Tensor square_weight = leaf(Numbers(81, 0.5), {3, 3, 3, 3});
  sum(conv2d(randn({2, 3, 5, 5}, kF64), square_weight)).backward();
  EXPECT_EQ(square_weight.grad().array().strides(), square_weight.array().strides());
}

TEST(Autograd, ALeafUsedThroughViewsAndBroadcasting) {
  const Tensor x = leaf({1, 2, 3, 4, 5, 6}, {2, 3});
  const Tensor rows = x.select(0, 1) * x.slice(1, std::nullopt, std::nullopt, -1).select(0, 0);  // 4·3, 5·2, 6·1
  const Tensor wide = expand(x.select(1, 2).unsqueeze(1), {2, 4});                               // 3 and 6, four times
  (sum(rows) + sum(wide) + sum(x.transpose(0, 1).reshape({-1}) * 10)).backward();
  EXPECT_EQ(numbers(x.grad()), (Numbers{10 + 6, 10 + 5, 10 + 4 + 4, 10 + 3, 10 + 2, 10 + 1 + 4}));
}

TEST(Autograd, OverlappingWindowsAddUp) {
  const Tensor x = leaf({1, 2, 3, 4, 5}, {5});
  sum(as_strided(x, {3, 3}, {1, 1})).backward();
  EXPECT_EQ(numbers(x.grad()), (Numbers{1, 2, 3, 2, 1}));
}

TEST(Autograd, ReluAtZeroHasNoGradient) {
  const Tensor x = leaf({-1, 0, -0.0, 1}, {4});
  sum(relu(x)).backward();
  EXPECT_EQ(numbers(x.grad()), (Numbers{0, 0, 0, 1}));
  const Tensor y = leaf({-1, 0, 1}, {3});
  sum(abs(y)).backward();
  EXPECT_EQ(numbers(y.grad()), (Numbers{-1, 0, 1}));
}

TEST(Autograd, TiesShareTheGradient) {
  const Tensor x = leaf({2, 1, 2, 2}, {4});
  max(x).backward();
  EXPECT_EQ(numbers(x.grad()), (Numbers{1.0 / 3, 0, 1.0 / 3, 1.0 / 3}));
  const Tensor a = leaf({1, 2}, {2});
  const Tensor b = leaf({1, 3}, {2});
  sum(maximum(a, b)).backward();
  EXPECT_EQ(numbers(a.grad()), (Numbers{0.5, 0}));
  EXPECT_EQ(numbers(b.grad()), (Numbers{0.5, 1}));
  const Tensor pooled = leaf({3, 3, 3, 3}, {1, 1, 2, 2});
  sum(max_pool2d(pooled, 2)).backward();
  EXPECT_EQ(numbers(pooled.grad()), (Numbers{1, 0, 0, 0}));
}

TEST(Autograd, ADivisorsGradientDoesNotSquareIt) {
  const auto slope = [](float x, float y) {
    const Tensor divisor(Array::full({}, y, DType::f32, kTestDevice), true);
    return grad({x / divisor}, {divisor})[0].item<float>();
  };
  EXPECT_FLOAT_EQ(slope(1e25f, 1e20f), -1e-15f);
  EXPECT_FLOAT_EQ(slope(1e-30f, 1e-25f), -1e20f);
}

TEST(Autograd, GradientsComeBackInTheirOwnDType) {
  const Tensor narrow(Array::full({3}, 1.5, DType::f32, kTestDevice), true);
  const Tensor wide = leaf({1, 2, 3}, {3});
  sum(narrow * wide).backward();
  EXPECT_EQ(narrow.grad().dtype(), DType::f32);
  EXPECT_EQ(wide.grad().dtype(), DType::f64);
  EXPECT_EQ(narrow.grad().to_vector<float>(), (std::vector<float>{1, 2, 3}));
  const Tensor half(Array::full({2}, 1, DType::bf16, kTestDevice), true);
  sum(half.to(DType::f32) * 2).backward();
  EXPECT_EQ(half.grad().dtype(), DType::bf16);
  EXPECT_FALSE(wide.to(DType::i64).requires_grad());
}

TEST(Autograd, SetArrayReplacesTheElementsForEveryHandle) {
  Tensor x = leaf({1, 2}, {2});
  const Tensor alias = x;
  x.set_array(Array::full({3}, 4, DType::f64, kTestDevice));
  EXPECT_EQ(numbers(alias), (Numbers{4, 4, 4}));
  EXPECT_TRUE(alias.requires_grad());
  sum(square(alias)).backward();
  EXPECT_EQ(numbers(x.grad()), (Numbers{8, 8, 8}));
}

// Fits y = 2x - 1 by gradient descent.
double fitted_slope(int steps) {
  Tensor slope = leaf(0);
  Tensor offset = leaf(0);
  const Tensor x = Tensor::from<double>({-2, -1, 0, 1, 2}, {5}).to(kTestDevice);
  const Tensor y = x * 2 - 1;
  for (int i = 0; i < steps; ++i) {
    mean(square(x * slope + offset - y)).backward();
    const NoGrad off;
    for (Tensor* parameter : {&slope, &offset}) {
      Array(parameter->array()).copy_from((*parameter - parameter->grad() * 0.1).array());
      parameter->zero_grad();
    }
  }
  return slope.item<double>();
}

TEST(Autograd, TwoThreadsTrainAtTheSameTime) {
  const double expected = fitted_slope(200);
  EXPECT_NEAR(expected, 2, 1e-9);
  double slopes[2] = {0, 0};
  std::thread first([&] { slopes[0] = fitted_slope(200); });
  std::thread second([&] {
    const NoGrad off;  // this thread's only
    const GradMode on(true);
    slopes[1] = fitted_slope(200);
  });
  first.join();
  second.join();
  EXPECT_EQ(slopes[0], expected);
  EXPECT_EQ(slopes[1], expected);
}

std::size_t live() { return memory_statistics(kTestDevice).live; }

TEST(Autograd, ActivationsDieWithTheirGraph) {
  const Tensor x(Array::full({256, 256}, 0.5, DType::f32, kTestDevice), true);
  const std::size_t before = live();
  {
    Tensor y = x;
    for (int i = 0; i < 8; ++i) y = relu(y * 1.5f);
    EXPECT_GT(live(), before + 8 * 256 * 256 * sizeof(float));
  }
  EXPECT_EQ(live(), before);
  {
    const Tensor loss = sum(tanh(exp(x)));
    loss.backward();
    const std::size_t gradient = 256 * 256 * sizeof(float);
    EXPECT_LE(live(), before + gradient + 4096) << "backward frees the activations, though the loss is still there";
  }
  Tensor(x).zero_grad();
  EXPECT_EQ(live(), before);
}

TEST(Autograd, AnActivationThatNobodyNeedsIsNotKept) {
  const Tensor x(Array::full({256, 256}, 0.5, DType::f32, kTestDevice), true);
  const std::size_t before = live();
  const Tensor y = sum(x + 1);  // the sum of an addition needs no values
  EXPECT_LE(live(), before + 4096);
  {
    const NoGrad off;
    Tensor z = x;
    for (int i = 0; i < 8; ++i) z = relu(z * 1.5f);
    EXPECT_LE(live(), before + 2 * 256 * 256 * sizeof(float) + 4096);
  }
}

TEST(Autograd, AThrowingBackwardLeavesNoMemoryBehind) {
  const std::size_t before = live();
  {
    const Tensor x(Array::full({64, 64}, 0.5, DType::f32, kTestDevice), true);
    const Tensor y = sum(square(exp(x)));
    Array(x.array()).fill(1);
    y.backward();  // exp saved its output: fine
    const Tensor z = sum(square(x));
    Array(x.array()).fill(2);
    EXPECT_THROW(z.backward(), AutogradError);
  }
  EXPECT_EQ(live(), before);
}

}  // namespace
}  // namespace weft
