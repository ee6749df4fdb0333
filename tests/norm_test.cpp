#include "cpu/norm/norm.h"

#include <cmath>

#include "core/value/views.h"
#include "cpu/runtime/backend.h"
#include "tests/guarded.h"

namespace weft::cpu {
namespace {

struct Options {
  double eps = 1e-5, momentum = 0.1;
  bool unbiased_running = true, relu = false;
};

struct Reference {
  std::vector<double> mean, var, inverse_std, y;
};

template <class T>
Reference forward_reference(std::int64_t rows, std::int64_t channels, const std::vector<T>& x, const std::vector<T>& w,
                            const std::vector<T>& b, const Options& arguments) {
  Reference r;
  r.y.resize(x.size());
  for (std::int64_t c = 0; c < channels; ++c) {
    double mean = 0, var = 0;
    for (std::int64_t i = 0; i < rows; ++i) mean += x[i * channels + c];
    mean /= static_cast<double>(std::max<std::int64_t>(rows, 1));
    for (std::int64_t i = 0; i < rows; ++i) var += std::pow(x[i * channels + c] - mean, 2);
    var /= static_cast<double>(std::max<std::int64_t>(rows, 1));
    const double inverse = 1 / std::sqrt(var + arguments.eps);
    for (std::int64_t i = 0; i < rows; ++i) {
      const double y = (x[i * channels + c] - mean) * inverse * w[c] + b[c];
      r.y[i * channels + c] = arguments.relu ? std::max(y, 0.0) : y;
    }
    r.mean.push_back(mean);
    r.var.push_back(var);
    r.inverse_std.push_back(inverse);
  }
  return r;
}

template <class T>
class Norm : public testing::Test {
 protected:
  static constexpr double kTolerance = std::is_same_v<T, float> ? 2e-5 : 1e-12;

  static void expect_near(Guarded<T>& actual, const std::vector<double>& expected, double tolerance,
                          const std::string& what) {
    ASSERT_EQ(actual.size(), static_cast<std::int64_t>(expected.size())) << what;
    for (std::int64_t i = 0; i < actual.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(actual[i]), expected[i], tolerance * (1 + std::abs(expected[i])))
          << what << " at " << i;
    }
  }
};

using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Norm, Types);

struct Size {
  std::int64_t rows, channels;
};

/// What batch_norm writes.
template <class T>
struct Forward {
  Forward(std::int64_t rows, std::int64_t channels)
      : shape{rows, channels},
        y(rows * channels),
        mean(2 * channels),
        inverse_std(channels),
        scale(channels),
        shift(channels) {}
  void run(const std::vector<T>& x, const std::vector<T>& w, const std::vector<T>& b, const Options& arguments,
           const View& running_mean = {}, const View& running_var = {}, const ConstView& residual = {},
           const View& batches = {}) {
    backend().batch_norm({.x = const_view(x, shape),
                          .weight = const_view(w),
                          .bias = const_view(b),
                          .residual = residual,
                          .eps = arguments.eps,
                          .relu = arguments.relu,
                          .y = y.view(shape),
                          .mean = mean.view({2, shape[1]}),
                          .inverse_std = inverse_std.view(),
                          .scale = scale.view(),
                          .shift = shift.view(),
                          .running = {.mean = running_mean,
                                      .var = running_var,
                                      .batches = batches,
                                      .momentum = arguments.momentum,
                                      .unbiased = arguments.unbiased_running}});
  }

  Shape shape;
  Guarded<T> y, mean, inverse_std, scale, shift;
};

/// What batch_norm_grad writes. Without relu it gets no shift.
template <class T>
struct Backward {
  Backward(std::int64_t rows, std::int64_t channels) : x_grad(rows * channels), w_grad(channels), b_grad(channels) {}
  void run(const std::vector<T>& g, const std::vector<T>& x, Forward<T>& forward, const Options& arguments) {
    const Shape& shape = forward.shape;
    backend().batch_norm_grad({.y_grad = const_view(g, shape),
                               .x = const_view(x, shape),
                               .mean = forward.mean.view({2, shape[1]}),
                               .inverse_std = forward.inverse_std.view(),
                               .scale = forward.scale.view(),
                               .shift = arguments.relu ? forward.shift.view() : View{},
                               .relu = arguments.relu,
                               .x_grad = x_grad.view(shape),
                               .weight_grad = w_grad.view(),
                               .bias_grad = b_grad.view()});
  }

  Guarded<T> x_grad, w_grad, b_grad;
};

const std::vector<Size> kSizes = {{0, 4},    {1, 1},     {2, 1},     {70001, 1}, {5, 3},     {1000, 3}, {33, 5},
                                  {2000, 7}, {37, 8},    {4099, 16}, {300, 17},  {65, 31},   {513, 33}, {129, 64},
                                  {70, 80},  {140, 100}, {64, 130},  {3, 512},   {1500, 48}, {257, 257}};

TYPED_TEST(Norm, Forward) {
  using T = TypeParam;
  for (const Size& size : kSizes) {
    const std::int64_t rows = size.rows, channels = size.channels;
    const auto x = normals<T>(rows * channels, 1, 0.5, 2), w = normals<T>(channels, 2), b = normals<T>(channels, 3);
    for (int options = 0; options < 4; ++options) {
      const Options arguments{
          .eps = 1e-3, .momentum = 0.3, .unbiased_running = options / 2 == 1, .relu = options % 2 == 1};
      const std::string what =
          std::to_string(rows) + "x" + std::to_string(channels) + " options " + std::to_string(options);
      Forward<T> found(rows, channels);
      Guarded<T> running_mean(channels, T(3)), running_var(channels, T(5));
      found.run(x, w, b, arguments, running_mean.view(), running_var.view());
      const Reference r = forward_reference(rows, channels, x, w, b, arguments);
      this->expect_near(found.y, r.y, this->kTolerance, "y " + what);
      for (std::int64_t c = 0; c < channels; ++c) {
        const double mean = static_cast<double>(found.mean[c]) + static_cast<double>(found.mean[channels + c]);
        ASSERT_NEAR(mean, r.mean[c], this->kTolerance * (1 + std::abs(r.mean[c]))) << "mean " << what << " at " << c;
      }
      this->expect_near(found.inverse_std, r.inverse_std, this->kTolerance, "inverse_std " + what);
      std::vector<double> expected_mean(r.mean), expected_var(r.var), scale(r.mean), shift(r.mean);
      for (std::int64_t c = 0; c < channels; ++c) {
        scale[c] = w[c] * r.inverse_std[c];
        shift[c] = b[c] - static_cast<double>(found.mean[channels + c]) * scale[c];
        const double n = static_cast<double>(rows);
        const double var = options / 2 == 1 && rows > 1 ? r.var[c] * n / (n - 1) : r.var[c];
        expected_mean[c] = rows == 0 ? 3 : 0.7 * 3 + 0.3 * r.mean[c];
        expected_var[c] = rows == 0 ? 5 : 0.7 * 5 + 0.3 * var;
      }
      this->expect_near(found.scale, scale, this->kTolerance, "scale " + what);
      this->expect_near(found.shift, shift, this->kTolerance, "shift " + what);
      this->expect_near(running_mean, expected_mean, this->kTolerance, "running_mean " + what);
      this->expect_near(running_var, expected_var, this->kTolerance, "running_var " + what);
    }
  }
}

TYPED_TEST(Norm, WithoutRunningStatistics) {
  using T = TypeParam;
  const auto x = normals<T>(20 * 6, 1), w = normals<T>(6, 2), b = normals<T>(6, 3);
  Forward<T> found(20, 6);
  found.run(x, w, b, {});
  this->expect_near(found.y, forward_reference(20, 6, x, w, b, {}).y, this->kTolerance, "y");
}

TYPED_TEST(Norm, CountsBatches) {
  using T = TypeParam;
  Guarded<std::int64_t> batches(1, std::int64_t{1} << 40);
  for (const Size& size : {Size{20, 6}, Size{0, 6}, Size{0, 0}}) {
    const auto x = normals<T>(size.rows * size.channels, 1), w = normals<T>(size.channels, 2);
    Forward<T>(size.rows, size.channels).run(x, w, w, {}, {}, {}, {}, batches.view(Shape{}));
  }
  EXPECT_EQ(batches[0], (std::int64_t{1} << 40) + 3);
}

/// A residual is added to what there is without one, after the ReLU, in the same rounding.
TYPED_TEST(Norm, Residual) {
  using T = TypeParam;
  for (const Size& size : kSizes) {
    const std::int64_t rows = size.rows, channels = size.channels;
    const Shape shape{rows, channels};
    const auto x = normals<T>(rows * channels, 1, 0.5, 2), w = normals<T>(channels, 2), b = normals<T>(channels, 3);
    const auto residual = normals<T>(rows * channels, 4), mean = normals<T>(channels, 5);
    const std::vector<T> var(channels, T(1.5));
    for (bool relu : {false, true}) {
      Forward<T> plain(rows, channels), found(rows, channels);
      plain.run(x, w, b, {.relu = relu});
      found.run(x, w, b, {.relu = relu}, {}, {}, const_view(residual, shape));
      Guarded<T> still(rows * channels), still_found(rows * channels);
      for (const bool adds : {false, true}) {
        backend().batch_norm_inference({.x = const_view(x, shape),
                                        .weight = const_view(w),
                                        .bias = const_view(b),
                                        .running_mean = const_view(mean),
                                        .running_var = const_view(var),
                                        .residual = adds ? const_view(residual, shape) : ConstView{},
                                        .relu = relu,
                                        .y = (adds ? still_found : still).view(shape)});
      }
      for (std::int64_t i = 0; i < rows * channels; ++i) {
        ASSERT_EQ(found.y[i], plain.y[i] + residual[i]) << i << " of " << rows << "x" << channels;
        ASSERT_EQ(still_found[i], still[i] + residual[i]) << i << " of " << rows << "x" << channels;
      }
    }
  }
}

TYPED_TEST(Norm, Inference) {
  using T = TypeParam;
  for (const Size& size : kSizes) {
    const std::int64_t rows = size.rows, channels = size.channels;
    const auto x = normals<T>(rows * channels, 1), w = normals<T>(channels, 2), b = normals<T>(channels, 3);
    const auto mean = normals<T>(channels, 4);
    auto var = normals<T>(channels, 5);
    for (T& v : var) v = v * v;
    for (bool relu : {false, true}) {
      Guarded<T> y(rows * channels);
      backend().batch_norm_inference({.x = const_view(x, {rows, channels}),
                                      .weight = const_view(w),
                                      .bias = const_view(b),
                                      .running_mean = const_view(mean),
                                      .running_var = const_view(var),
                                      .eps = 0.1,
                                      .relu = relu,
                                      .y = y.view({rows, channels})});
      std::vector<double> expected(x.size());
      for (std::size_t i = 0; i < x.size(); ++i) {
        const std::size_t c = i % static_cast<std::size_t>(channels);
        const double value = (double{x[i]} - mean[c]) / std::sqrt(var[c] + 0.1) * w[c] + b[c];
        expected[i] = relu ? std::max(value, 0.0) : value;
      }
      this->expect_near(y, expected, this->kTolerance, std::to_string(rows) + "x" + std::to_string(channels));
    }
  }
}

TYPED_TEST(Norm, LargeMean) {
  using T = TypeParam;
  for (std::int64_t channels : {1, 3, 16, 40}) {
    const std::int64_t rows = 20000;
    auto x = normals<T>(rows * channels, 1, 1e4, 1);
    x[0] = T(0);  // an outlier in the first row, from which the first block of channel 0 sums differences
    const std::vector<T> w(channels, T(1)), b(channels, T(0));
    Forward<T> found(rows, channels);
    found.run(x, w, b, {.eps = 0});
    const Reference r = forward_reference(rows, channels, x, w, b, {.eps = 0});
    for (std::int64_t c = 0; c < channels; ++c) {
      const double tolerance = sizeof(T) == sizeof(double) ? 1e-10 : c == 0 ? 1e-3 : 1e-5;
      const double var = 1 / std::pow(static_cast<double>(found.inverse_std[c]), 2);
      EXPECT_NEAR(var / r.var[c], 1, tolerance) << "channel " << c << " of " << channels;
    }
    this->expect_near(found.y, r.y, sizeof(T) == sizeof(float) ? 2e-3 : 1e-9, "y");
  }
}

/// y is the bias, exactly, and a gradient of equal values does not pass.
TYPED_TEST(Norm, EqualValuesHaveNoVariance) {
  using T = TypeParam;
  const std::vector<double> constants = {0,   0.1,   1.0 / 3, -0.7,     1.01, 100,   -1e7,  16777217,
                                         1e9, -1e18, 1e-30,   1.17e-38, 3e30, -1e37, 3e-42, 12345.678};
  for (const std::int64_t rows : {2, 17, 999, 4099}) {
    const auto channels = static_cast<std::int64_t>(constants.size());
    std::vector<T> x, w = normals<T>(channels, 2, 1), b = normals<T>(channels, 3);
    for (std::int64_t i = 0; i < rows * channels; ++i) x.push_back(static_cast<T>(constants[i % channels]));
    Forward<T> found(rows, channels);
    Guarded<T> running_mean(channels, T(0)), running_var(channels, T(0));
    found.run(x, w, b, {.momentum = 1}, running_mean.view(), running_var.view());
    Backward<T> backward(rows, channels);
    backward.run(std::vector<T>(x.size(), T(0.1)), x, found, {});
    for (std::int64_t i = 0; i < rows * channels; ++i) {
      const std::int64_t c = i % channels;
      ASSERT_EQ(found.y[i], b[c]) << constants[c] << ", " << rows << " rows";
      const double one_ulp = std::is_same_v<T, float> ? 1e-7 : 1e-15;  // which the mean of the gradient may be off by
      ASSERT_LE(std::abs(backward.x_grad[i]), one_ulp * std::abs(found.scale[c])) << constants[c] << ", " << rows;
      ASSERT_EQ(backward.w_grad[c], T(0)) << constants[c] << ", " << rows << " rows";
      ASSERT_EQ(running_mean[c], x[i]);
      ASSERT_EQ(running_var[c], T(0));
      ASSERT_NEAR(static_cast<double>(found.inverse_std[c]), 1 / std::sqrt(1e-5), 1e-4);
    }
  }
}

TYPED_TEST(Norm, NaNStaysInItsChannel) {
  using T = TypeParam;
  std::vector<T> x = normals<T>(100 * 3, 1), w(3, T(1)), b(3, T(0));
  x[31] = std::numeric_limits<T>::quiet_NaN();  // channel 1
  Forward<T> found(100, 3);
  found.run(x, w, b, {.relu = true});
  for (std::int64_t i = 0; i < 300; ++i) EXPECT_EQ(std::isnan(found.y[i]), i % 3 == 1) << i;
}

TYPED_TEST(Norm, Gradient) {
  using T = TypeParam;
  for (const Size& size : kSizes) {
    const std::int64_t rows = size.rows, channels = size.channels;
    const auto x = normals<T>(rows * channels, 1, 0.5, 2), w = normals<T>(channels, 2), b = normals<T>(channels, 3);
    const auto g = normals<T>(rows * channels, 4, 0.2);
    for (bool relu : {false, true}) {
      const Options arguments{.eps = 1e-3, .relu = relu};
      const std::string what = std::to_string(rows) + "x" + std::to_string(channels) + " relu " + std::to_string(relu);
      Forward<T> forward(rows, channels);
      forward.run(x, w, b, arguments);
      Backward<T> found(rows, channels);
      found.run(g, x, forward, arguments);

      const Reference r = forward_reference(rows, channels, x, w, b, arguments);
      std::vector<double> expected(x.size()), expected_w(channels), expected_b(channels);
      for (std::int64_t c = 0; c < channels; ++c) {
        const auto normal = [&](std::int64_t i) { return (x[i * channels + c] - r.mean[c]) * r.inverse_std[c]; };
        const auto masked = [&](std::int64_t i) {
          return relu && !(forward.y[i * channels + c] > 0) ? 0.0 : static_cast<double>(g[i * channels + c]);
        };
        for (std::int64_t i = 0; i < rows; ++i) {
          expected_b[c] += masked(i);
          expected_w[c] += masked(i) * normal(i);
        }
        for (std::int64_t i = 0; i < rows; ++i) {
          const double n = static_cast<double>(rows);
          expected[i * channels + c] =
              w[c] * r.inverse_std[c] * (masked(i) - expected_b[c] / n - normal(i) * expected_w[c] / n);
        }
      }
      this->expect_near(found.x_grad, expected, this->kTolerance, "x_grad " + what);
      const double sums = this->kTolerance * std::sqrt(static_cast<double>(rows) + 1);
      this->expect_near(found.w_grad, expected_w, sums, "weight_grad " + what);
      this->expect_near(found.b_grad, expected_b, sums, "bias_grad " + what);
    }
  }
}

/// Inputs within rounding of the ReLU's edge, and a channel that is 0: the gradient passes exactly where y > 0.
TYPED_TEST(Norm, MaskIsThatOfTheOutput) {
  using T = TypeParam;
  for (std::int64_t channels : {3, 16, 33, 200}) {
    const std::int64_t rows = 517;
    const auto edge = normals<T>(channels, 3, 1e3, 50);
    std::vector<T> w = normals<T>(channels, 2, 2, 0.2), x = normals<T>(rows * channels, 1), b(channels, T(0));
    w[0] = 0;
    for (std::int64_t i = 0; i < rows * channels; ++i) {
      x[i] = edge[i % channels] + x[i] * T(1e-2);
      if (i / channels % 2 == 1) continue;
      x[i] = edge[i % channels];
      for (std::int64_t steps = i / channels % 9; steps > 0; --steps)
        x[i] = std::nextafter(x[i], T(i % 4 < 2 ? 1e9 : 0));
    }
    Forward<T> forward(rows, channels);
    forward.run(x, w, b, {.relu = true});
    for (std::int64_t c = 0; c < channels; ++c)
      b[c] = -((edge[c] - forward.mean[c]) * forward.scale[c] + forward.shift[c]);
    forward.run(x, w, b, {.relu = true});
    for (std::int64_t row = 0; row < rows; row += 5) {
      std::vector<T> one(rows * channels, T(0));  // whose bias_grad is this row's mask
      std::fill_n(&one[row * channels], channels, T(1));
      Backward<T> found(rows, channels);
      found.run(one, x, forward, {.relu = true});
      for (std::int64_t c = 0; c < channels; ++c)
        ASSERT_EQ(found.b_grad[c], forward.y[row * channels + c] > 0 ? T(1) : T(0)) << row << ", " << c;
    }
  }
}

TEST(NormGradient, FiniteDifferences) {
  const std::int64_t rows = 9, channels = 3;
  const auto g = normals<double>(rows * channels, 4);
  for (bool relu : {false, true}) {
    const Options arguments{.relu = relu};
    std::vector<double> x = normals<double>(rows * channels, 1), w = normals<double>(channels, 2, 1),
                        b = normals<double>(channels, 3);
    Forward<double> forward(rows, channels);
    const auto loss = [&] {
      forward.run(x, w, b, arguments);
      double sum = 0;
      for (std::int64_t i = 0; i < rows * channels; ++i) sum += forward.y[i] * g[i];
      return sum;
    };
    loss();
    Backward<double> found(rows, channels);
    found.run(g, x, forward, arguments);
    const auto check = [&](std::vector<double>& values, Guarded<double>& gradient, const char* what) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        const double value = values[i], h = 1e-6;
        values[i] = value + h;
        const double above = loss();
        values[i] = value - h;
        const double below = loss();
        values[i] = value;
        EXPECT_NEAR(gradient[static_cast<std::int64_t>(i)], (above - below) / (2 * h), 1e-7) << what << " at " << i;
      }
    };
    check(x, found.x_grad, "x");
    check(w, found.w_grad, "weight");
    check(b, found.b_grad, "bias");
  }
}

TEST(NormThreads, SameBits) {
  for (std::int64_t channels : {3, 16, 100}) {
    const std::int64_t rows = 5003;
    const auto x = normals<float>(rows * channels, 1), g = normals<float>(rows * channels, 2);
    const auto w = normals<float>(channels, 3), b = normals<float>(channels, 4);
    expect_equal_on_any_threads([&] {
      Forward<float> forward(rows, channels);
      Backward<float> backward(rows, channels);
      forward.run(x, w, b, {.relu = true});
      backward.run(g, x, forward, {.relu = true});
      std::vector<float> all;
      for (Guarded<float>* part : {&forward.y, &forward.mean, &forward.inverse_std, &forward.scale, &forward.shift,
                                   &backward.x_grad, &backward.w_grad, &backward.b_grad}) {
        const std::vector<float> values = part->values();
        all.insert(all.end(), values.begin(), values.end());
      }
      return all;
    });
  }
}

template <class T>
void check_kernels(const NormKernelsOf<T>& kernels, const std::string& what) {
  const double tolerance = std::is_same_v<T, float> ? 1e-5 : 1e-13;
  for (std::int64_t width : {1, 2, 5, 16, 17, 31, 64, 75, 96, 130}) {
    for (std::int64_t rows : {1, 2, 7, 32, 67}) {
      SCOPED_TRACE(what + " " + std::to_string(rows) + "x" + std::to_string(width));
      const auto x = normals<T>(rows * width, 1, 3), r = normals<T>(rows * width, 2), g = normals<T>(rows * width, 3);
      const auto a = normals<T>(width, 4), b = normals<T>(width, 5), c = normals<T>(width, 6), m = normals<T>(width, 7);
      const auto d = normals<T>(width, 8);
      Guarded<double> first(width, 1), squares(width, 2), sum(width, 3), product(width, 4);  // added to
      Guarded<double> masked_sum(width, 5), masked_product(width, 6);
      Guarded<T> origin(width), partial(2 * width);
      Guarded<T> applied(rows * width), rectified(rows * width), added(rows * width), both(rows * width);
      Guarded<T> x_grad(rows * width), masked_x_grad(rows * width);
      const auto apply = [&](const T* residual, bool relu, Guarded<T>& y) {
        kernels.apply(rows, width, x.data(), m.data(), a.data(), b.data(), residual, relu, y.data());
      };
      kernels.moments(rows, width, x.data(), origin.data(), partial.data(), first.data(), squares.data());
      apply(nullptr, false, applied);
      apply(nullptr, true, rectified);
      apply(r.data(), false, added);
      apply(r.data(), true, both);
      kernels.grad_sums(rows, width, g.data(), x.data(), m.data(), a.data(), nullptr, partial.data(), sum.data(),
                        product.data());
      kernels.grad_sums(rows, width, g.data(), x.data(), m.data(), a.data(), b.data(), partial.data(),
                        masked_sum.data(), masked_product.data());
      kernels.grad_apply(rows, width, g.data(), x.data(), m.data(), a.data(), nullptr, c.data(), d.data(),
                         x_grad.data());
      kernels.grad_apply(rows, width, g.data(), x.data(), m.data(), a.data(), b.data(), c.data(), d.data(),
                         masked_x_grad.data());
      for (std::int64_t j = 0; j < width; ++j) {
        double expected_first = 1, expected_squares = 2, expected_sum = 3, expected_product = 4;
        double expected_masked_sum = 5, expected_masked_product = 6;
        const std::vector<T> three = {x[j], x[rows / 2 * width + j], x[(rows - 1) * width + j]};
        ASSERT_EQ(origin[j], std::max(std::min(three[0], three[1]), std::min(std::max(three[0], three[1]), three[2])));
        for (std::int64_t i = j; i < rows * width; i += width) {
          const double gradient = rectified[i] > 0 ? g[i] : 0, value = (double{x[i]} - m[j]) * a[j] + b[j];
          const double rest = (double{x[i]} - m[j]) * c[j] + d[j];
          expected_first += double{x[i]} - origin[j];
          expected_squares += std::pow(double{x[i]} - origin[j], 2);
          expected_sum += g[i];
          expected_product += double{g[i]} * (x[i] - m[j]);
          expected_masked_sum += gradient;
          expected_masked_product += gradient * (x[i] - m[j]);
          ASSERT_NEAR(applied[i], value, tolerance * 10);
          ASSERT_NEAR(rectified[i], std::max(value, 0.0), tolerance * 10);
          ASSERT_EQ(added[i], applied[i] + r[i]);
          ASSERT_EQ(both[i], rectified[i] + r[i]);
          ASSERT_NEAR(x_grad[i], (g[i] + rest) * a[j], tolerance * 10);
          ASSERT_NEAR(masked_x_grad[i], (gradient + rest) * a[j], tolerance * 10);
        }
        ASSERT_NEAR(first[j], expected_first, tolerance * static_cast<double>(rows));
        ASSERT_NEAR(squares[j], expected_squares, tolerance * static_cast<double>(rows) * 3);
        ASSERT_NEAR(sum[j], expected_sum, tolerance * static_cast<double>(rows));
        ASSERT_NEAR(product[j], expected_product, tolerance * static_cast<double>(rows) * 3);
        ASSERT_NEAR(masked_sum[j], expected_masked_sum, tolerance * static_cast<double>(rows));
        ASSERT_NEAR(masked_product[j], expected_masked_product, tolerance * static_cast<double>(rows) * 3);
      }
    }
  }
}

TEST(NormKernels, EveryInstructionSet) {
  for (Isa isa : isas()) {
    check_kernels(norm_kernels(isa).f32, name(isa));
    check_kernels(norm_kernels(isa).f64, name(isa));
  }
}

}  // namespace
}  // namespace weft::cpu
