#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "core/value/views.h"
#include "cpu/runtime/backend.h"
#include "cpu/train/loss_kernels.h"
#include "tests/guarded.h"

namespace weft::cpu {
namespace {

template <class T>
class Loss : public testing::Test {
 protected:
  static constexpr double kTolerance = std::is_same_v<T, float> ? 2e-6 : 1e-13;
  static constexpr T kInf = std::numeric_limits<T>::infinity();
};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Loss, Types);

const std::vector<std::pair<std::int64_t, std::int64_t>> kSizes = {{0, 5}, {4, 0},   {1, 1},     {3, 1},
                                                                   {7, 2}, {65, 10}, {1000, 17}, {2, 5000}};

std::vector<double> log_softmax_reference(const double* x, std::int64_t n) {
  double max = x[0], sum = 0;
  for (std::int64_t i = 0; i < n; ++i) max = std::max(max, x[i]);
  for (std::int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - max);
  std::vector<double> y(x, x + n);
  for (double& value : y) value -= max + std::log(sum);
  return y;
}

std::vector<std::int64_t> some_labels(std::int64_t rows, std::int64_t classes) {
  std::vector<std::int64_t> labels(static_cast<std::size_t>(rows));
  for (std::int64_t i = 0; i < rows; ++i) labels[i] = classes == 0 ? 0 : i * 7 % classes;
  return labels;
}

TYPED_TEST(Loss, Softmax) {
  using T = TypeParam;
  for (const auto& [rows, columns] : kSizes) {
    const auto x = normals<T>(rows * columns, 1, 0, 4), g = normals<T>(rows * columns, 2);
    const Shape shape{rows, columns};
    for (bool log : {false, true}) {
      Guarded<T> y(rows * columns), x_grad(rows * columns);
      backend().softmax(log, const_view(x, shape), y.view(shape));
      backend().softmax_grad(log, y.view(shape), const_view(g, shape), x_grad.view(shape));
      for (std::int64_t row = 0; row < rows && columns > 0; ++row) {
        const std::vector<double> wide(x.begin() + row * columns, x.begin() + (row + 1) * columns);
        const std::vector<double> expected = log_softmax_reference(wide.data(), columns);
        double sum = 0;
        for (std::int64_t i = 0; i < columns; ++i) {
          sum += g[row * columns + i] * (log ? 1 : std::exp(expected[i]));
        }
        for (std::int64_t i = 0; i < columns; ++i) {
          const double p = std::exp(expected[i]), gradient = g[row * columns + i];
          const double scale = 1 + std::abs(expected[i]) + std::abs(sum);
          ASSERT_NEAR(y[row * columns + i], log ? expected[i] : p, this->kTolerance * scale);
          ASSERT_NEAR(x_grad[row * columns + i], log ? gradient - p * sum : p * (gradient - sum),
                      this->kTolerance * scale);
        }
      }
    }
  }
}

TYPED_TEST(Loss, SoftmaxOfExtremes) {
  using T = TypeParam;
  const T inf = this->kInf;
  const std::vector<T> x = {T(1e4), T(1e4), T(-1e4), -inf, 0, 0, -inf, -inf, -inf, 1, inf, 2};
  Guarded<T> y(12), log_y(12);
  backend().softmax(false, const_view(x, {4, 3}), y.view({4, 3}));
  backend().softmax(true, const_view(x, {4, 3}), log_y.view({4, 3}));
  const double half_log = std::log(0.5);
  const std::vector<double> expected = {0.5, 0.5, 0, 0, 0.5, 0.5};
  const std::vector<double> expected_log = {half_log, half_log, -2e4 + half_log, -inf, half_log, half_log};
  for (std::int64_t i = 0; i < 6; ++i) {
    EXPECT_EQ(y[i], expected[i]) << i;
    if (std::isinf(expected_log[i])) {
      EXPECT_EQ(log_y[i], -inf);
    } else {
      EXPECT_NEAR(log_y[i], expected_log[i], 1e-3) << i;
    }
  }
  for (std::int64_t i = 6; i < 9; ++i) EXPECT_TRUE(std::isnan(y[i]) && std::isnan(log_y[i])) << i;
  EXPECT_TRUE(std::isnan(y[10]) && std::isnan(log_y[10]));
}

// Rows on both sides of every vector's length, on every instruction set.
TYPED_TEST(Loss, SoftmaxOfRowsWithExtremes) {
  using T = TypeParam;
  const T inf = this->kInf, nan = std::numeric_limits<T>::quiet_NaN();
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    if (isa > widest_isa()) continue;
    const auto run = [&](bool log, const std::vector<T>& x) {
      std::vector<T> y(x.size());
      const auto n = static_cast<std::int64_t>(x.size());
      if constexpr (sizeof(T) == 4) {
        loss_kernels(isa).f32.softmax(log, n, x.data(), y.data());
      } else {
        loss_kernels(isa).f64.softmax(log, n, x.data(), y.data());
      }
      return y;
    };
    for (std::size_t n : {2, 15, 16, 17, 31, 33, 64, 257, 300}) {
      const std::vector<T> none(n, -inf);
      std::vector<T> two = none;
      two.front() = two.back() = T(1e4);
      const std::vector<T> halves = run(false, two), log_halves = run(true, two);
      for (std::size_t i = 0; i < n; ++i) {
        const bool end = i == 0 || i == n - 1;
        EXPECT_EQ(halves[i], end ? T(0.5) : T(0)) << name(isa) << ", " << i << " of " << n;
        EXPECT_NEAR(std::exp(log_halves[i]), end ? 0.5 : 0, 1e-3) << name(isa) << ", " << i << " of " << n;
      }
      std::vector<T> over = two, unknown = two;
      over.back() = inf;
      unknown.back() = nan;
      for (const std::vector<T>& x : {none, over, unknown}) {
        EXPECT_TRUE(std::isnan(run(false, x).back())) << name(isa) << ", " << n;
        EXPECT_TRUE(std::isnan(run(true, x).back())) << name(isa) << ", " << n;
      }
    }
  }
}

TYPED_TEST(Loss, CrossEntropy) {
  using T = TypeParam;
  for (const auto& [rows, classes] : kSizes) {
    const auto z = normals<T>(rows * classes, 1, 0, 4), g = normals<T>(rows, 2);
    const auto labels = some_labels(rows, classes);
    const Shape shape{rows, classes};
    for (double smoothing : {0.0, 0.1, 1.0}) {
      Guarded<T> losses(rows), z_grad(rows * classes);
      backend().cross_entropy({const_view(z, shape), const_view(labels), {.smoothing = smoothing}, losses.view(), {}});
      backend().cross_entropy_grad(
          {const_view(z, shape), const_view(labels), {.smoothing = smoothing}, const_view(g), {}, z_grad.view(shape)});
      for (std::int64_t row = 0; row < rows; ++row) {
        if (classes == 0) {
          EXPECT_TRUE(std::isnan(losses[row]));
          continue;
        }
        const std::vector<double> wide(z.begin() + row * classes, z.begin() + (row + 1) * classes);
        const std::vector<double> log_p = log_softmax_reference(wide.data(), classes);
        double expected = 0;
        for (std::int64_t i = 0; i < classes; ++i) {
          const double n = static_cast<double>(classes);
          const double target = smoothing / n + (i == labels[row] ? 1 - smoothing : 0);
          expected -= target * log_p[i];
          ASSERT_NEAR(z_grad[row * classes + i], g[row] * (std::exp(log_p[i]) - target), this->kTolerance * 5);
        }
        ASSERT_NEAR(losses[row], expected, this->kTolerance * (1 + expected));
      }
    }
  }
}

constexpr LossReduction kReductions[] = {LossReduction::none, LossReduction::sum, LossReduction::mean};

// What a cross entropy of every row is made of, by the definition.
struct PlainEntropy {
  std::vector<double> losses, z_grad;  // per row, and for a gradient of 1 each
  double sum = 0, count = 0;
};

template <class T>
PlainEntropy plain_entropy(const std::vector<T>& z, const Shape& shape, const std::vector<std::int64_t>& labels,
                           const CrossEntropyArguments& arguments) {
  const std::int64_t n = shape[1];
  PlainEntropy result;
  result.z_grad.assign(z.size(), 0);
  for (std::int64_t row = 0; row < shape[0]; ++row) {
    double loss = 0;
    if (!arguments.ignore_index || labels[row] != *arguments.ignore_index) {
      if (n == 0) loss = std::numeric_limits<double>::quiet_NaN();
      const std::vector<double> wide(z.begin() + row * n, z.begin() + (row + 1) * n);
      const std::vector<double> log_p = n == 0 ? wide : log_softmax_reference(wide.data(), n);
      for (std::int64_t i = 0; i < n; ++i) {
        const double target =
            arguments.smoothing / static_cast<double>(n) + (i == labels[row] ? 1 - arguments.smoothing : 0);
        loss -= target * log_p[i];
        result.z_grad[row * n + i] = std::exp(log_p[i]) - target;
      }
      result.count += 1;
    }
    result.losses.push_back(loss);
    result.sum += loss;
  }
  return result;
}

void expect_near(double actual, double expected, double tolerance) {
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(actual)) << actual;
  } else {
    EXPECT_NEAR(actual, expected, tolerance * (1 + std::abs(expected)));
  }
}

template <class T>
void check_reduction(const std::vector<T>& z, const Shape& shape, const std::vector<std::int64_t>& labels,
                     const CrossEntropyArguments& arguments, double tolerance) {
  const std::int64_t rows = shape[0], n = shape[1];
  const bool each = arguments.reduction == LossReduction::none, mean = arguments.reduction == LossReduction::mean;
  const PlainEntropy plain = plain_entropy(z, shape, labels, arguments);
  const auto g = normals<T>(each ? rows : 1, 2);
  const Shape out = each ? Shape{rows} : Shape{};
  Guarded<T> losses(each ? rows : 1), z_grad(rows * n);
  Guarded<double> count(1, -1);
  const View counted = mean ? count.view(Shape{}) : View{};
  backend().cross_entropy({const_view(z, shape), const_view(labels), arguments, losses.view(out), counted});
  backend().cross_entropy_grad(
      {const_view(z, shape), const_view(labels), arguments, const_view(g, out), counted, z_grad.view(shape)});
  EXPECT_EQ(count[0], mean ? plain.count : -1);
  for (std::int64_t i = 0; each && i < rows; ++i) expect_near(losses[i], plain.losses[i], tolerance);
  if (!each) expect_near(losses[0], mean ? plain.sum / plain.count : plain.sum, tolerance);
  for (std::int64_t i = 0; i < rows * n; ++i) {
    const double gradient = each ? g[i / n] : mean ? g[0] / plain.count : g[0];
    expect_near(z_grad[i], plain.z_grad[i] == 0 ? 0 : gradient * plain.z_grad[i], 5 * tolerance);
  }
}

TYPED_TEST(Loss, CrossEntropyReduced) {
  using T = TypeParam;
  const std::optional<std::int64_t> nothing;
  for (const auto& [rows, classes] : kSizes) {
    const Shape shape{rows, classes};
    for (const auto& ignore : {nothing, std::optional<std::int64_t>(1), std::optional<std::int64_t>(-100)}) {
      auto z = normals<T>(rows * classes, 1, 0, 4);
      auto labels = some_labels(rows, classes);
      if (ignore == -100) std::fill(labels.begin(), labels.end(), -100);  // all
      for (std::int64_t i = 0; i < rows * classes; ++i) {
        if (labels[i / classes] == ignore) z[i] = std::numeric_limits<T>::quiet_NaN();
      }
      for (double smoothing : {0.0, 0.1, 1.0}) {
        for (LossReduction reduction : kReductions) {
          SCOPED_TRACE(to_string(shape) + " ignores " + std::to_string(ignore.value_or(-1)) + ", smoothing " +
                       std::to_string(smoothing) + ", reduction " + std::to_string(static_cast<int>(reduction)));
          check_reduction(z, shape, labels, {smoothing, ignore, reduction}, this->kTolerance);
        }
      }
    }
  }
}

TEST(LossGradient, FiniteDifferences) {
  const std::int64_t rows = 4, classes = 5;
  const Shape shape{rows, classes};
  auto z = normals<double>(rows * classes, 1, 0, 2);
  const auto g = normals<double>(rows, 2);
  const auto labels = some_labels(rows, classes);
  Guarded<double> losses(rows), z_grad(rows * classes);
  backend().cross_entropy_grad(
      {const_view(z, shape), const_view(labels), {.smoothing = 0.2}, const_view(g), {}, z_grad.view(shape)});
  const auto weighted = [&] {
    backend().cross_entropy({const_view(z, shape), const_view(labels), {.smoothing = 0.2}, losses.view(), {}});
    double sum = 0;
    for (std::int64_t i = 0; i < rows; ++i) sum += losses[i] * g[i];
    return sum;
  };
  for (std::size_t i = 0; i < z.size(); ++i) {
    const double value = z[i], h = 1e-6;
    z[i] = value + h;
    const double above = weighted();
    z[i] = value - h;
    const double below = weighted();
    z[i] = value;
    EXPECT_NEAR(z_grad[static_cast<std::int64_t>(i)], (above - below) / (2 * h), 1e-8) << i;
  }
}

TYPED_TEST(Loss, LabelsOutsideGiveNaNInTheirRowOnly) {
  using T = TypeParam;
  const auto z = normals<T>(12, 1);
  const std::vector<std::int64_t> labels = {0, 3, -1, 2};
  Guarded<T> losses(4), z_grad(12);
  backend().cross_entropy({const_view(z, {4, 3}), const_view(labels), {.smoothing = 0}, losses.view(), {}});
  backend().cross_entropy_grad({const_view(z, {4, 3}),
                                const_view(labels),
                                {.smoothing = 0},
                                const_view(std::vector<T>(4, T(1))),
                                {},
                                z_grad.view({4, 3})});
  for (std::int64_t i = 0; i < 12; ++i) {
    const bool bad = i / 3 == 1 || i / 3 == 2;
    EXPECT_EQ(std::isnan(losses[i / 3]), bad);
    EXPECT_EQ(std::isnan(z_grad[i]), bad);
  }
}

TYPED_TEST(Loss, CrossEntropyOfExtremes) {
  using T = TypeParam;
  const T inf = this->kInf;
  const std::vector<T> z = {T(1e4), 0,    0, T(1e4),  // certain and right, certain and wrong
                            -inf,   1,    1, -inf,    // an impossible class, which is the label
                            -inf,   -inf, 1, -inf};   // nothing possible
  const std::vector<std::int64_t> labels = {0, 0, 1, 1, 0, 0};
  const Shape shape{6, 2};
  Guarded<T> losses(6), smooth(6), z_grad(12);
  backend().cross_entropy({const_view(z, shape), const_view(labels), {.smoothing = 0}, losses.view(), {}});
  backend().cross_entropy({const_view(z, shape), const_view(labels), {.smoothing = 0.1}, smooth.view(), {}});
  backend().cross_entropy_grad({const_view(z, shape),
                                const_view(labels),
                                {.smoothing = 0},
                                const_view(std::vector<T>(6, T(1))),
                                {},
                                z_grad.view(shape)});
  EXPECT_EQ(losses[0], T(0));
  EXPECT_NEAR(smooth[0], 500, 1e-3);
  EXPECT_EQ(losses[1], T(1e4));
  EXPECT_EQ(losses[2], T(0));
  EXPECT_EQ(smooth[2], inf);
  EXPECT_EQ(losses[3], inf);
  EXPECT_EQ(z_grad[6], T(1));
  EXPECT_EQ(z_grad[7], T(-1));
  EXPECT_TRUE(std::isnan(losses[4]));
  EXPECT_EQ(losses[5], T(0));
}

TYPED_TEST(Loss, GradientOfABroadcastLoss) {
  using T = TypeParam;
  const auto z = normals<T>(33 * 10, 1);
  const auto labels = some_labels(33, 10);
  const std::vector<T> one = {T(0.25)}, many(33, T(0.25));
  ConstView broadcast = const_view(many);
  broadcast.data = one.data();
  broadcast.strides[0] = 0;
  Guarded<T> actual(330), expected(330);
  backend().cross_entropy_grad(
      {const_view(z, {33, 10}), const_view(labels), {.smoothing = 0.1}, broadcast, {}, actual.view({33, 10})});
  backend().cross_entropy_grad(
      {const_view(z, {33, 10}), const_view(labels), {.smoothing = 0.1}, const_view(many), {}, expected.view({33, 10})});
  EXPECT_EQ(actual.values(), expected.values());
}

TYPED_TEST(Loss, Tally) {
  using T = TypeParam;
  for (const auto& [rows, classes] : kSizes) {
    auto z = normals<T>(rows * classes, 1);
    const auto losses = normals<T>(rows, 2, 3);
    auto labels = some_labels(rows, classes);
    for (std::int64_t i = 0; i + 1 < rows; i += 2) {  // many hits, and two labels that are no class
      const auto row = z.begin() + i * classes;
      labels[i] = std::max_element(row, row + classes) - row;
    }
    if (rows > 4) labels[1] = -1, labels[3] = classes;
    double loss_sum = 0.5;
    std::int64_t hits = 7;
    for (std::int64_t i = 0; i < rows; ++i) {
      loss_sum += static_cast<double>(losses[i]);
      const auto row = z.begin() + i * classes;
      hits += classes > 0 && std::max_element(row, row + classes) - row == labels[i] ? 1 : 0;
    }
    Guarded<double> actual_sum(1, 0.5);
    Guarded<std::int64_t> actual_hits(1, 7);
    backend().tally({const_view(z, {rows, classes}), const_view(labels), const_view(losses), actual_sum.view(Shape{}),
                     actual_hits.view(Shape{})});
    EXPECT_NEAR(actual_sum[0], loss_sum, 1e-13 * std::abs(loss_sum)) << rows << " x " << classes;
    EXPECT_EQ(actual_hits[0], hits) << rows << " x " << classes;
  }
}

TYPED_TEST(Loss, TallyOfEqualsAndNaN) {
  using T = TypeParam;
  const T nan = std::numeric_limits<T>::quiet_NaN(), inf = this->kInf;
  const std::vector<T> z = {2,    2,    1,    //
                            2,    2,    1,    // the first of equals wins
                            1,    2,    nan,  // NaN wins
                            inf,  2,    nan,  //
                            nan,  2,    nan,  // the first NaN
                            nan,  2,    nan,  //
                            -inf, -inf, -inf};
  const std::vector<std::int64_t> labels = {0, 1, 2, 0, 0, 2, 0};
  const std::vector<T> losses(7, T(1));
  double sum = 0;
  std::int64_t all = 0;
  for (std::int64_t row = 0; row < 7; ++row) {
    std::int64_t hits = 0;
    const auto i = static_cast<std::size_t>(row);
    backend().tally({{z.data() + 3 * row, {1, 3}, {3, 1}, dtype_of<T>},
                     {&labels[i], {1}, {1}, DType::i64},
                     {&losses[i], {1}, {1}, dtype_of<T>},
                     {&sum, {}, {}, DType::f64},
                     {&hits, {}, {}, DType::i64}});
    EXPECT_EQ(hits, row == 1 || row == 3 || row == 5 ? 0 : 1) << "row " << row;
    all += hits;
  }
  EXPECT_EQ(all, 4);
  EXPECT_EQ(sum, 7);
}

TEST(LossThreads, TallySameBits) {
  const auto z = normals<float>(3001 * 11, 1), losses = normals<float>(3001, 2);
  const auto labels = some_labels(3001, 11);
  expect_equal_on_any_threads([&] {
    Guarded<double> sum(1, 0.1);
    Guarded<std::int64_t> hits(1, 0);
    backend().tally(
        {const_view(z, {3001, 11}), const_view(labels), const_view(losses), sum.view(Shape{}), hits.view(Shape{})});
    return std::vector<double>{sum[0], static_cast<double>(hits[0])};
  });
}

TEST(LossThreads, ReducedSameBits) {
  const Shape shape{3001, 11};
  const auto z = normals<float>(3001 * 11, 1);
  const auto labels = some_labels(3001, 11);
  expect_equal_on_any_threads([&] {
    Guarded<float> loss(1);
    Guarded<double> count(1);
    const CrossEntropyArguments mean{0.1, 3, LossReduction::mean};
    backend().cross_entropy({const_view(z, shape), const_view(labels), mean, loss.view(Shape{}), count.view(Shape{})});
    return std::vector<double>{loss[0], count[0]};
  });
}

TEST(LossThreads, SameBits) {
  const Shape shape{3001, 11};
  const auto z = normals<float>(3001 * 11, 1), g = normals<float>(3001, 2);
  const auto labels = some_labels(3001, 11);
  expect_equal_on_any_threads([&] {
    Guarded<float> y(3001 * 11), z_grad(3001 * 11), losses(3001);
    backend().softmax(true, const_view(z, shape), y.view(shape));
    backend().cross_entropy({const_view(z, shape), const_view(labels), {.smoothing = 0.1}, losses.view(), {}});
    backend().cross_entropy_grad(
        {const_view(z, shape), const_view(labels), {.smoothing = 0.1}, const_view(g), {}, z_grad.view(shape)});
    std::vector<float> all = y.values();
    for (Guarded<float>* part : {&z_grad, &losses}) {
      const std::vector<float> values = part->values();
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  });
}

}  // namespace
}  // namespace weft::cpu
