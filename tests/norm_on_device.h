#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>

#include "tests/normals.h"
#include "tests/on_device.h"

/// Batch normalisation by a GPU's backend, and by plain loops.
namespace weft::norm_on_device {

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

/// What the two calls write, in double.
struct Results {
  std::vector<double> y, mean, inverse_std, scale, shift, running_mean, running_var, x_grad, weight_grad, bias_grad;
  std::int64_t batches = 0;

  friend bool operator==(const Results&, const Results&) = default;
};

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

/// The two calls on operands in device memory, which lie between guards. Running statistics begin with 3 and 5, the
/// count of batches with 7.
template <class T>
class BatchNorm {
 public:
  using C = Compute<T>;
  BatchNorm(const Case& c, const Inputs<T>& in)
      : case_(c),
        nans_(in.x.size(), scalar::convert<T>(std::nan(""))),
        x_(kDType<T>, in.x, c.shift),
        residual_(kDType<T>, in.residual, 0),
        y_grad_(kDType<T>, in.y_grad, 0),
        weight_(kDType<C>, in.weight, 1),
        bias_(kDType<C>, in.bias, 0) {}

  void forward() const {
    backend(Device::cuda())
        ->batch_norm({.x = rows(x_),
                      .weight = weight_.view(),
                      .bias = bias_.view(),
                      .residual = case_.residual ? ConstView(rows(residual_)) : ConstView(),
                      .eps = kEps,
                      .relu = case_.relu,
                      .y = rows(y_),
                      .mean = mean_.view(),
                      .inverse_std = inverse_std_.view(),
                      .scale = scale_.view(),
                      .shift = shift_.view(),
                      .running = {.mean = running_mean_.view(),
                                  .var = running_var_.view(),
                                  .batches = batches_.view(),
                                  .momentum = kMomentum}});
  }
  void backward() const {
    backend(Device::cuda())
        ->batch_norm_grad({.y_grad = rows(y_grad_),
                           .x = rows(x_),
                           .mean = mean_.view(),
                           .inverse_std = inverse_std_.view(),
                           .scale = scale_.view(),
                           .shift = shift_.view(),
                           .relu = case_.relu,
                           .x_grad = rows(x_grad_),
                           .weight_grad = weight_grad_.view(),
                           .bias_grad = bias_grad_.view()});
  }
  Results results() const {
    return {widened(y_.values()),           widened(mean_.values()),   widened(inverse_std_.values()),
            widened(scale_.values()),       widened(shift_.values()),  widened(running_mean_.values()),
            widened(running_var_.values()), widened(x_grad_.values()), widened(weight_grad_.values()),
            widened(bias_grad_.values()),   batches_.values()[0]};
  }

 private:
  std::vector<C> vector(double value, std::int64_t rows = 1) const {
    return std::vector<C>(static_cast<std::size_t>(rows * case_.channels), C(value));
  }
  View rows(const OnDevice<T>& array) const {
    const Shape shape{case_.rows, case_.channels};
    return {array.view().data, shape, row_major_strides(shape), kDType<T>};
  }
  static constexpr double kEps = 1e-3, kMomentum = 0.25;

  Case case_;
  std::vector<T> nans_;
  OnDevice<T> x_, residual_, y_grad_;
  OnDevice<C> weight_, bias_;
  OnDevice<T> y_{kDType<T>, nans_, 0}, x_grad_{kDType<T>, nans_, 0};
  OnDevice<C> mean_{kDType<C>, vector(9, 2), 0}, inverse_std_{kDType<C>, vector(9), 0}, scale_{kDType<C>, vector(9), 1},
      shift_{kDType<C>, vector(9), 0}, running_mean_{kDType<C>, vector(3), 0}, running_var_{kDType<C>, vector(5), 0},
      weight_grad_{kDType<C>, vector(9), 0}, bias_grad_{kDType<C>, vector(9), 1};
  OnDevice<std::int64_t> batches_{DType::i64, {7}, 0};
};

template <class T>
Results run(const Case& c, const Inputs<T>& in) {
  const BatchNorm<T> norm(c, in);
  norm.forward();
  norm.backward();
  return norm.results();
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
    double mean = c.rows > 0 ? at(in.x, channel) : 0, var = 0, sum = 0, product = 0;
    const double origin = mean;  // the mean of equal values is exact
    for (std::int64_t i = channel; i < end; i += c.channels) mean += (at(in.x, i) - origin) / n;
    for (std::int64_t i = channel; i < end; i += c.channels) var += std::pow(at(in.x, i) - mean, 2) / n;
    const double inverse = 1 / std::sqrt(var + 1e-3), scale = double{in.weight[k]} * inverse;
    const auto gradient = [&](std::int64_t i) {
      const Compute<T> centred = static_cast<Compute<T>>(at(in.x, i)) - static_cast<Compute<T>>(found.mean[k]);
      const double y = std::fma(static_cast<double>(centred), found.scale[k], found.shift[k]);
      return c.relu && !(y > 0) ? 0.0 : at(in.y_grad, i);
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
    r.shift.push_back(double{in.bias[k]} - found.mean[static_cast<std::size_t>(c.channels) + k] * scale);
    r.running_mean.push_back(c.rows == 0 ? 3 : 0.75 * 3 + 0.25 * mean);
    r.running_var.push_back(c.rows == 0 ? 5 : 0.75 * 5 + 0.25 * var * (c.rows > 1 ? n / (n - 1) : 1));
    r.weight_grad.push_back(product);
    r.bias_grad.push_back(sum);
  }
  return r;
}

inline void expect_near(const std::vector<double>& found, const std::vector<double>& expected, double tolerance,
                        const char* what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_NEAR(found[i], expected[i], tolerance * (1 + std::abs(expected[i]))) << what << " at " << i;
  }
}

/// The mean's two parts.
inline std::vector<double> summed_mean(const Results& results) {
  const std::size_t channels = results.scale.size();
  std::vector<double> mean;
  for (std::size_t i = 0; i < channels; ++i) mean.push_back(results.mean[i] + results.mean[channels + i]);
  return mean;
}

inline std::string describe(const Case& c, DType dtype) {
  return std::to_string(c.rows) + "x" + std::to_string(c.channels) + " " + std::string(name(dtype)) + " shift " +
         std::to_string(c.shift) + (c.relu ? " relu" : "") + (c.residual ? " residual" : "");
}

/// All of them against plain loops.
template <class T>
void check(const Case& c) {
  SCOPED_TRACE(describe(c, kDType<T>));
  const Inputs<T> in(c);
  const Results found = run(c, in), r = expected(c, in, found);
  const double exact = std::is_same_v<T, double> ? 1e-12 : 2e-5, rounded = std::is_same_v<T, Bfloat> ? 8e-3 : exact;
  const double sums = exact * std::sqrt(static_cast<double>(c.rows) + 1);
  expect_near(found.y, r.y, rounded, "y");
  expect_near(summed_mean(found), r.mean, exact, "mean");
  expect_near(found.inverse_std, r.inverse_std, exact, "inverse_std");
  expect_near(found.scale, r.scale, exact, "scale");
  expect_near(found.shift, r.shift, exact, "shift");
  expect_near(found.running_mean, r.running_mean, exact, "running_mean");
  expect_near(found.running_var, r.running_var, exact, "running_var");
  expect_near(found.x_grad, r.x_grad, rounded, "x_grad");
  expect_near(found.weight_grad, r.weight_grad, sums, "weight_grad");
  expect_near(found.bias_grad, r.bias_grad, sums, "bias_grad");
  EXPECT_EQ(found.batches, 8);
}

inline void check_all(const Case& c) {
  check<float>(c);
  check<double>(c);
  check<Bfloat>(c);
}

/// One kernel each, forward and backward.
inline std::vector<Case> few_rows() {
  std::vector<Case> cases;
  for (const std::int64_t rows : {0, 1, 2, 31, 32, 33, 65, 511, 512, 513, 1030}) {
    for (const Case& c : {Case{rows, 3}, Case{rows, 8}, Case{rows, 16, 1}, Case{rows, 24}}) cases.push_back(c);
  }
  for (const bool relu : {false, true}) {
    for (const bool residual : {false, true}) cases.push_back({200, 8, 0, relu, residual});
  }
  cases.push_back({5, 0});
  return cases;
}

/// The most rows of one kernel, forward, wide in bf16, and backward, and one more.
inline std::vector<Case> rows_at_the_limits() {
  std::vector<Case> cases;
  for (const std::int64_t rows : {2047, 2048, 2049, 4095, 4096, 4097}) {
    for (const Case& c : {Case{rows, 5}, Case{rows, 8, 0, rows % 2 == 0, rows % 3 == 0}}) cases.push_back(c);
  }
  return cases;
}

/// Slices of rows in several groups, where a device is large; tiles of channels, the last one narrower.
inline std::vector<Case> many_rows() { return {{4500, 131}, {20000, 8}, {5000, 72, 1}}; }

}  // namespace weft::norm_on_device
