// The CUDA backend's batch normalisation against plain loops: few rows in one kernel, more in two.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>

#include "cuda/context.h"
#include "cuda/norm.h"
#include "cuda_on_cpu.h"
#include "tests/on_device.h"

namespace weft {
namespace {

using cuda_on_cpu::Order;
using scalar::Bfloat;

template <class T>
inline constexpr DType kDType = sizeof(T) == 2   ? DType::bf16
                                : sizeof(T) == 4 ? DType::f32
                                                 : DType::f64;
template <class T>
using Compute = std::conditional_t<std::is_same_v<T, double>, double, float>;

struct Case {
  std::int64_t rows, channels, shift = 0;  // shift moves x off 16 bytes
  bool relu = true, residual = true;
  double mean = 0.5;
};

template <class T>
std::vector<T> normals(std::int64_t size, unsigned seed, double mean = 0, double deviation = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> distribution(mean, deviation);
  std::vector<T> values(static_cast<std::size_t>(size));
  for (T& value : values) value = scalar::convert<T>(distribution(engine));
  return values;
}

/// What the two calls write, in double.
struct Results {
  std::vector<double> y, mean, inverse_std, scale, shift, running_mean, running_var, x_grad, weight_grad, bias_grad;
  std::int64_t batches = 0;
  std::uint64_t forward_kernels = 0, backward_kernels = 0;
};

constexpr BatchNormArguments arguments_of(bool relu) { return {.eps = 1e-3, .momentum = 0.25, .relu = relu}; }

template <class T>
struct Inputs {
  using C = Compute<T>;
  explicit Inputs(const Case& c)
      : x(normals<T>(c.rows * c.channels, 1, c.mean, 2)),
        residual(normals<T>(c.rows * c.channels, 2)),
        y_grad(normals<T>(c.rows * c.channels, 3, 0.2)),
        weight(normals<C>(c.channels, 4, 1, 0.5)),
        bias(normals<C>(c.channels, 5)) {}

  std::vector<T> x, residual, y_grad;
  std::vector<C> weight, bias;
};

template <class T>
Results run(const Case& c, const Inputs<T>& in) {
  using C = Compute<T>;
  const OnDevice<T> x(kDType<T>, in.x, c.shift), residual(kDType<T>, in.residual, 0), y_grad(kDType<T>, in.y_grad, 0);
  const OnDevice<C> weight(kDType<C>, in.weight, 1), bias(kDType<C>, in.bias, 0);
  const auto vector = [&](double value) { return std::vector<C>(static_cast<std::size_t>(c.channels), C(value)); };
  const std::vector<T> nans(in.x.size(), scalar::convert<T>(std::nan("")));
  const OnDevice<T> y(kDType<T>, nans, 0), x_grad(kDType<T>, nans, 0);
  const OnDevice<C> mean(kDType<C>, vector(9), 0), inverse_std(kDType<C>, vector(9), 0), scale(kDType<C>, vector(9), 1),
      shift(kDType<C>, vector(9), 0), running_mean(kDType<C>, vector(3), 0), running_var(kDType<C>, vector(5), 0),
      weight_grad(kDType<C>, vector(9), 0), bias_grad(kDType<C>, vector(9), 1);
  const OnDevice<std::int64_t> batches(DType::i64, {7}, 0);
  const auto rows = [&](const OnDevice<T>& array) {
    const Shape shape{c.rows, c.channels};
    return View{array.view().data, shape, row_major_strides(shape), kDType<T>};
  };
  cuda::Context& context = cuda::context(0);
  const cuda::Use use(context);
  const std::uint64_t start = cuda_on_cpu::launches();
  cuda::batch_norm(context, rows(x), weight.view(), bias.view(), c.residual ? ConstView(rows(residual)) : ConstView(),
                   arguments_of(c.relu), rows(y), mean.view(), inverse_std.view(), scale.view(), shift.view(),
                   running_mean.view(), running_var.view(), batches.view());
  const std::uint64_t middle = cuda_on_cpu::launches();
  cuda::batch_norm_grad(context, rows(y_grad), rows(x), mean.view(), inverse_std.view(), scale.view(), shift.view(),
                        arguments_of(c.relu), rows(x_grad), weight_grad.view(), bias_grad.view());
  const std::uint64_t end = cuda_on_cpu::launches();
  EXPECT_EQ(std::count(context.counters, context.counters + cuda::Context::kCounters, 0u), cuda::Context::kCounters);
  return {widened(y.values()),
          widened(mean.values()),
          widened(inverse_std.values()),
          widened(scale.values()),
          widened(shift.values()),
          widened(running_mean.values()),
          widened(running_var.values()),
          widened(x_grad.values()),
          widened(weight_grad.values()),
          widened(bias_grad.values()),
          batches.values()[0],
          middle - start,
          end - middle};
}

/// The mask of the gradient is that of the device's y.
template <class T>
Results expected(const Case& c, const Inputs<T>& in, const Results& found) {
  Results r;
  r.y.resize(in.x.size());
  r.x_grad.resize(in.x.size());
  const double n = static_cast<double>(std::max<std::int64_t>(c.rows, 1));
  const auto at = [&](const std::vector<T>& values, std::int64_t i) {
    return scalar::convert<double>(values[static_cast<std::size_t>(i)]);
  };
  for (std::int64_t channel = 0; channel < c.channels; ++channel) {
    const auto k = static_cast<std::size_t>(channel);
    const std::int64_t end = c.rows * c.channels;
    double mean = 0, var = 0, sum = 0, product = 0;
    for (std::int64_t i = channel; i < end; i += c.channels) mean += at(in.x, i) / n;
    for (std::int64_t i = channel; i < end; i += c.channels) var += std::pow(at(in.x, i) - mean, 2) / n;
    const double inverse = 1 / std::sqrt(var + 1e-3), scale = double{in.weight[k]} * inverse;
    const auto gradient = [&](std::int64_t i) {
      const double shifted = std::fma(at(in.x, i), found.scale[k], found.shift[k]);
      return c.relu && !(shifted > 0) ? 0.0 : at(in.y_grad, i);
    };
    const auto normal = [&](std::int64_t i) { return (at(in.x, i) - mean) * inverse; };
    for (std::int64_t i = channel; i < end; i += c.channels) {
      const double y = normal(i) * double{in.weight[k]} + double{in.bias[k]};
      r.y[static_cast<std::size_t>(i)] = (c.relu ? std::max(y, 0.0) : y) + (c.residual ? at(in.residual, i) : 0);
      sum += gradient(i);
      product += gradient(i) * normal(i);
    }
    for (std::int64_t i = channel; i < end; i += c.channels) {
      r.x_grad[static_cast<std::size_t>(i)] = scale * (gradient(i) - sum / n - normal(i) * product / n);
    }
    r.mean.push_back(mean);
    r.inverse_std.push_back(inverse);
    r.scale.push_back(scale);
    r.shift.push_back(double{in.bias[k]} - mean * scale);
    r.running_mean.push_back(c.rows == 0 ? 3 : 0.75 * 3 + 0.25 * mean);
    r.running_var.push_back(c.rows == 0 ? 5 : 0.75 * 5 + 0.25 * var * (c.rows > 1 ? n / (n - 1) : 1));
    r.weight_grad.push_back(product);
    r.bias_grad.push_back(sum);
  }
  return r;
}

void expect_near(const std::vector<double>& found, const std::vector<double>& expected, double tolerance,
                 const char* what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_NEAR(found[i], expected[i], tolerance * (1 + std::abs(expected[i]))) << what << " at " << i;
  }
}

template <class T>
void check(const Case& c) {
  SCOPED_TRACE(std::to_string(c.rows) + "x" + std::to_string(c.channels) + " " + std::string(name(kDType<T>)) +
               " shift " + std::to_string(c.shift) + (c.relu ? " relu" : "") + (c.residual ? " residual" : ""));
  const Inputs<T> in(c);
  const Results found = run(c, in), r = expected(c, in, found);
  const double exact = std::is_same_v<T, double> ? 1e-12 : 2e-5, rounded = std::is_same_v<T, Bfloat> ? 8e-3 : exact;
  const double sums = exact * std::sqrt(static_cast<double>(c.rows) + 1);
  expect_near(found.y, r.y, rounded, "y");
  expect_near(found.mean, r.mean, exact, "mean");
  expect_near(found.inverse_std, r.inverse_std, exact, "inverse_std");
  expect_near(found.scale, r.scale, exact, "scale");
  expect_near(found.shift, r.shift, exact, "shift");
  expect_near(found.running_mean, r.running_mean, exact, "running_mean");
  expect_near(found.running_var, r.running_var, exact, "running_var");
  expect_near(found.x_grad, r.x_grad, rounded, "x_grad");
  expect_near(found.weight_grad, r.weight_grad, sums, "weight_grad");
  expect_near(found.bias_grad, r.bias_grad, sums, "bias_grad");
  EXPECT_EQ(found.batches, 8);
  const bool wide = c.shift == 0 && c.channels % (16 / sizeof(T)) == 0;
  EXPECT_EQ(found.forward_kernels, c.rows <= (wide && sizeof(T) == 2 ? 2048 : 4096) ? 1u : 2u);
  EXPECT_EQ(found.backward_kernels, c.rows <= 2048 ? 1u : 2u);
}

void check_all(const Case& c) {
  check<float>(c);
  check<double>(c);
  check<Bfloat>(c);
}

TEST(NormCuda, FewRows) {
  for (const std::int64_t rows : {0, 1, 2, 31, 32, 33, 65, 511, 512, 513, 1030}) {
    for (const Case& c : {Case{rows, 3}, Case{rows, 8}, Case{rows, 16, 1}, Case{rows, 24}}) check_all(c);
  }
  for (const bool relu : {false, true}) {
    for (const bool residual : {false, true}) check_all({200, 8, 0, relu, residual});
  }
}

// The most rows of one kernel, forward, wide in bf16, and backward, and one more.
TEST(NormCuda, RowsAtTheLimits) {
  for (const std::int64_t rows : {2047, 2048, 2049, 4095, 4096, 4097}) {
    for (const Case& c : {Case{rows, 5}, Case{rows, 8, 0, rows % 2 == 0, rows % 3 == 0}}) check_all(c);
  }
}

/// Slices in several groups, which need as many as a large device has; tiles of channels, the last one narrower.
TEST(NormCuda, ManyRows) {
  cuda::Context& context = cuda::context(0);
  const int usual = context.properties.multiprocessors;
  for (const int multiprocessors : {usual, 132}) {
    context.properties.multiprocessors = multiprocessors;
    for (const Case& c : {Case{4500, 131}, Case{20000, 8}, Case{5000, 72, 1}}) check_all(c);
  }
  check<float>({4300, 512});
  context.properties.multiprocessors = usual;
}

TEST(NormCuda, MoreTilesThanCounters) {
  cuda::Context& context = cuda::context(0);
  for (const std::int64_t counters : {2, 5}) {
    context.counters_at_once = counters;
    const Case c{4500, 200, 0};
    const Inputs<float> in(c);
    const Results found = run(c, in), r = expected(c, in, found);
    expect_near(found.y, r.y, 2e-5, "y");
    expect_near(found.x_grad, r.x_grad, 2e-5, "x_grad");
    EXPECT_EQ(found.batches, 8);
    EXPECT_EQ(found.forward_kernels, counters == 2 ? 5u : 3u);  // four tiles of one group of slices
    context.counters_at_once = cuda::Context::kCounters;
  }
}

// The variance is as exact as without the mean, but for an outlier in the first row, which differences are taken from.
TEST(NormCuda, LargeMean) {
  for (const std::int64_t rows : {100, 4096, 20000}) {
    for (const std::int64_t channels : {3, 8}) {
      const Case c{rows, channels, 0, false, false, 1e4};
      Inputs<float> in(c);
      in.x[0] = 0;
      const Results found = run(c, in), r = expected(c, in, found);
      expect_near(found.y, r.y, 2e-3, "y");
      for (std::size_t i = 0; i < r.mean.size(); ++i) {
        EXPECT_NEAR(found.inverse_std[i] / r.inverse_std[i], 1, i == 0 ? 1e-3 : 2e-6) << rows << ", channel " << i;
      }
    }
  }
}

TEST(NormCuda, NaNStaysInItsChannel) {
  const Case c{100, 8, 0, true, false};
  Inputs<float> in(c);
  in.x[33] = std::nanf("");  // channel 1
  const Results found = run(c, in);
  for (std::size_t i = 0; i < found.y.size(); ++i) EXPECT_EQ(std::isnan(found.y[i]), i % 8 == 1) << i;
}

TEST(NormCuda, CountsBatchesOfNoChannels) {
  const Case c{5, 0};
  const Results found = run(c, Inputs<float>(c));
  EXPECT_EQ(found.batches, 8);
  EXPECT_EQ(found.forward_kernels, 1u);
}

// Neither the order of blocks nor what ran before changes a bit. The last test, as it changes the order.
TEST(NormCuda, SameBitsInAnyOrder) {
  cuda::Context& context = cuda::context(0);
  const int usual = context.properties.multiprocessors;
  context.properties.multiprocessors = 132;
  for (const Case& c : {Case{300, 8}, Case{4500, 131}}) {
    const Inputs<float> in(c);
    const auto bits = [&](Order order) {
      cuda_on_cpu::set_order(order);
      const Results r = run(c, in);
      return std::vector<std::vector<double>>{r.y,           r.mean,        r.inverse_std, r.running_mean,
                                              r.running_var, r.weight_grad, r.bias_grad,   r.x_grad};
    };
    const auto forward = bits(Order::forward);
    EXPECT_EQ(forward, bits(Order::forward));
    EXPECT_EQ(forward, bits(Order::reverse));
    for (int i = 0; i < 3; ++i) EXPECT_EQ(forward, bits(Order::shuffled));
    cuda_on_cpu::set_order(Order::forward);
  }
  context.properties.multiprocessors = usual;
}

}  // namespace
}  // namespace weft
