// What normalises by a mean and a variance, against long double: values far from zero, equal values, squares out of
// range; gradients by the kernels and, with create_graph, by public ops.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "weft/weft.h"

namespace weft {
namespace {

using Wide = long double;

/// Where the values of one group lie.
struct Spread {
  double mean, deviation;
};

template <class T>
std::vector<Spread> spreads() {
  std::vector<Spread> all = {{0, 1},   {1e3, 1},     {-1e4, 1}, {1e5, 3},      {1e6, 2}, {-1e7, 9}, {1e8, 100},
                             {3, 0.5}, {1e3, 0.001}, {0, 1e30}, {-1e31, 1e30}, {100, 0}, {-1e7, 0}, {0.1, 0}};
  if (sizeof(T) == sizeof(double)) {
    for (const Spread& s : {Spread{1e15, 9}, Spread{0, 1e200}, Spread{-1e201, 1e200}}) all.push_back(s);
  }
  return all;
}

template <class T>
std::vector<T> values_of(const Spread& spread, std::int64_t size, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal(0, 1);
  std::vector<T> values;
  for (std::int64_t i = 0; i < size; ++i)
    values.push_back(static_cast<T>(spread.mean + spread.deviation * normal(engine)));
  return values;
}

/// y = (x - mean)/√(var + eps)·weight + bias of one group and its gradients for y's gradient g. `scale` is what
/// x_grad's terms are multiplied by, and sizes are sums of magnitudes.
struct Right {
  std::vector<Wide> y, z, x_grad, x_grad_size;
  Wide mean = 0, var = 0, weight_grad = 0, bias_grad = 0, weight_grad_size = 0, bias_grad_size = 0;
};

template <class T>
Right right_of(const std::vector<T>& x, const std::vector<T>& g, Wide weight, Wide bias, Wide eps) {
  Right r;
  const auto n = static_cast<Wide>(x.size());
  std::vector<Wide> centred;  // first by a value, which is exact, so that the mean's digits do not matter
  for (const T& v : x) centred.push_back(Wide{v} - Wide{x[0]});
  const Wide offset = std::accumulate(centred.begin(), centred.end(), Wide{0}) / n;
  r.mean = x[0] + offset;
  for (Wide& v : centred) {
    v -= offset;
    r.var += v * v / n;
  }
  const Wide inverse = 1 / std::sqrt(r.var + eps);
  for (std::size_t i = 0; i < x.size(); ++i) {
    r.z.push_back(centred[i] * inverse);
    r.y.push_back(r.z[i] * weight + bias);
    r.weight_grad += g[i] * r.z[i];
    r.weight_grad_size += std::abs(g[i] * r.z[i]);
    r.bias_grad += g[i];
    r.bias_grad_size += std::abs(g[i]);
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    r.x_grad.push_back(weight * inverse * (g[i] - r.bias_grad / n - r.z[i] * r.weight_grad / n));
    const Wide size = std::abs(g[i]) + r.bias_grad_size / n + std::abs(r.z[i]) * r.weight_grad_size / n;
    r.x_grad_size.push_back(std::abs(weight) * inverse * size);
  }
  return r;
}

/// Roundings of T that an element may be off by; sums keep to 4e-7 of their magnitudes in f32.
template <class T>
constexpr double kUlps = 8 * (sizeof(T) == sizeof(float) ? 6e-8 : 1.2e-16);
template <class T>
constexpr double kSum = sizeof(T) == sizeof(float) ? 4e-7 : 2e-15;

template <class T>
Tensor tensor(const std::vector<T>& values, const Shape& shape, bool requires_grad = false) {
  return Tensor::from<T>(std::span<const T>(values), shape, {.dtype = dtype_of<T>, .requires_grad = requires_grad});
}

/// Groups side by side, (size, groups).
template <class T>
std::vector<T> interleaved(const std::vector<std::vector<T>>& groups) {
  std::vector<T> all;
  for (std::size_t i = 0; i < groups[0].size(); ++i) {
    for (const auto& group : groups) all.push_back(group[i]);
  }
  return all;
}

template <class T>
class NormStatistics : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(NormStatistics, Types);

TYPED_TEST(NormStatistics, BatchNorm) {
  using T = TypeParam;
  const std::vector<Spread> all = spreads<T>();
  const auto channels = static_cast<std::int64_t>(all.size());
  const std::vector<T> weight = values_of<T>({1, 0.3}, channels, 1), bias = values_of<T>({0, 1}, channels, 2);
  for (const std::int64_t rows : {2, 3, 17, 250, 1111}) {
    std::vector<std::vector<T>> x, g;
    std::vector<Right> right;
    for (std::size_t c = 0; c < all.size(); ++c) {
      x.push_back(values_of<T>(all[c], rows, 3 + static_cast<unsigned>(c)));
      g.push_back(values_of<T>({0.5, 1}, rows, 99 + static_cast<unsigned>(c)));
      right.push_back(right_of(x[c], g[c], weight[c], bias[c], 1e-5L));
    }
    const Tensor input = tensor(interleaved(x), {rows, channels}, true),
                 y_grad = tensor(interleaved(g), {rows, channels});
    const Tensor w = tensor(weight, {channels}, true), b = tensor(bias, {channels}, true);
    const Tensor running_mean = tensor(std::vector<T>(all.size()), {channels}), running_var = running_mean.clone();
    const Tensor y = batch_norm(input, w, b, running_mean, running_var, {.momentum = 1, .unbiased_running = false});
    const Tensor still =
        batch_norm(input.detach(), w.detach(), b.detach(), running_mean, running_var, {}, {.training = false});
    const Tensor recorded = batch_norm(input, w, b, running_mean, running_var, {}, {.training = false});
    const auto found = y.to_vector<T>(), means = running_mean.to_vector<T>(), vars = running_var.to_vector<T>();
    const auto evaluated = still.to_vector<T>(), recorded_y = recorded.to_vector<T>();
    for (std::size_t i = 0; i < found.size(); ++i) {
      const std::size_t c = i % all.size();
      const Right& r = right[c];
      const Wide z = r.z[i / all.size()], expected = r.y[i / all.size()];
      const Wide size = std::abs(weight[c]) * (1 + std::abs(z)) + std::abs(bias[c]);
      const std::string what = std::to_string(rows) + " rows, channel " + std::to_string(c);
      ASSERT_LE(std::abs(found[i] - expected), kUlps<T> * size) << what;
      if (all[c].deviation == 0) {
        ASSERT_EQ(found[i], bias[c]) << what;
      }
      ASSERT_LE(std::abs(means[c] - r.mean), kUlps<T> * (std::abs(r.mean) + std::sqrt(r.var))) << what;
      if (static_cast<T>(r.var) < std::numeric_limits<T>::max()) {
        ASSERT_LE(std::abs(vars[c] - r.var), kUlps<T> * r.var) << what;
        const Wide factor = weight[c] / std::sqrt(Wide{vars[c]} + 1e-5L);
        const Wide from_running = (Wide{x[c][i / all.size()]} - means[c]) * factor + bias[c];
        ASSERT_LE(std::abs(evaluated[i] - from_running), kUlps<T> * (size + std::abs(from_running))) << what;
        ASSERT_LE(std::abs(recorded_y[i] - from_running), kUlps<T> * (size + std::abs(from_running))) << what;
      } else {
        ASSERT_TRUE(std::isinf(vars[c])) << what;
      }
    }
    for (const bool composed : {false, true}) {
      const std::vector<Tensor> gradients =
          grad({y}, {input, w, b}, {y_grad}, {.retain_graph = true, .create_graph = composed});
      const auto x_grad = gradients[0].to_vector<T>(), w_grad = gradients[1].to_vector<T>();
      const auto b_grad = gradients[2].to_vector<T>();
      for (std::size_t i = 0; i < x_grad.size(); ++i) {
        const std::size_t c = i % all.size(), row = i / all.size();
        const std::string what =
            std::to_string(rows) + " rows, channel " + std::to_string(c) + (composed ? " composed" : "");
        const Right& r = right[c];
        ASSERT_LE(std::abs(x_grad[i] - r.x_grad[row]), 2 * kUlps<T> * r.x_grad_size[row]) << what;
        ASSERT_LE(std::abs(w_grad[c] - r.weight_grad), kSum<T> * (r.weight_grad_size + r.bias_grad_size)) << what;
        ASSERT_LE(std::abs(b_grad[c] - r.bias_grad), kSum<T> * r.bias_grad_size) << what;
      }
    }
  }
}

// Rows one after the other, each of another spread: layer norm, instance norm of such channels, and groups of channels.
TYPED_TEST(NormStatistics, LayerGroupAndInstanceNorm) {
  using T = TypeParam;
  const std::vector<Spread> all = spreads<T>();
  const auto rows = static_cast<std::int64_t>(all.size());
  for (const std::int64_t size : {2, 3, 16, 250, 1110}) {
    std::vector<T> x, g;
    std::vector<Right> right;
    for (unsigned row = 0; row < all.size(); ++row) {
      const std::vector<T> values = values_of<T>(all[row], size, 3 + row),
                           gradient = values_of<T>({0.5, 1}, size, 99 + row);
      x.insert(x.end(), values.begin(), values.end());
      g.insert(g.end(), gradient.begin(), gradient.end());
      right.push_back(right_of(values, gradient, 1, 0, 1e-5L));
    }
    const auto check = [&](const std::string& op, const Shape& shape, const auto& norm) {
      const Tensor input = tensor(x, shape, true), y = norm(input), y_grad = tensor(g, shape);
      const auto found = y.template to_vector<T>();
      for (const bool composed : {false, true}) {
        const auto x_grad =
            grad({y}, {input}, {y_grad}, {.retain_graph = true, .create_graph = composed})[0].template to_vector<T>();
        for (std::size_t i = 0; i < found.size(); ++i) {
          const std::size_t row = i / static_cast<std::size_t>(size), at = i % static_cast<std::size_t>(size);
          const std::string what = op + " of " + std::to_string(size) + ", row " + std::to_string(row);
          const Right& r = right[row];
          ASSERT_LE(std::abs(found[i] - r.y[at]), kUlps<T> * (1 + std::abs(r.z[at]))) << what;
          ASSERT_LE(std::abs(x_grad[i] - r.x_grad[at]), 2 * kUlps<T> * r.x_grad_size[at])
              << what << (composed ? " composed" : "");
        }
      }
    };
    check("layer_norm", {rows, size}, [&](const Tensor& v) { return layer_norm(v, {size}); });
    check("instance_norm", {1, rows, size}, [](const Tensor& v) { return instance_norm(v); });
    if (size % 2 == 0) {
      check("group_norm", {1, 2 * rows, size / 2}, [&](const Tensor& v) { return group_norm(v, rows); });
      check("layer_norm of two axes", {rows, 2, size / 2}, [&](const Tensor& v) {
        return layer_norm(v, {2, size / 2});
      });
    }
  }
}

// Rows of several thousands, and ones that threads share.
TYPED_TEST(NormStatistics, LongRows) {
  using T = TypeParam;
  const std::vector<Spread> all = {{-1e4, 1}, {0.1, 0}, {-1e31, 1e30}};
  const auto rows = static_cast<std::int64_t>(all.size());
  for (const std::int64_t size : {5003, 70001}) {
    std::vector<T> x, g;
    for (unsigned row = 0; row < all.size(); ++row) {
      const std::vector<T> values = values_of<T>(all[row], size, 3 + row), gradient = values_of<T>({0.5, 1}, size, row);
      x.insert(x.end(), values.begin(), values.end());
      g.insert(g.end(), gradient.begin(), gradient.end());
    }
    const Tensor input = tensor(x, {rows, size}, true), y = layer_norm(input, {size});
    const auto found = y.template to_vector<T>(),
               x_grad = grad({y}, {input}, {tensor(g, {rows, size})})[0].template to_vector<T>();
    for (std::int64_t row = 0; row < rows; ++row) {
      const auto begin = row * size, end = begin + size;
      const Right r = right_of(std::vector<T>(x.begin() + begin, x.begin() + end),
                               std::vector<T>(g.begin() + begin, g.begin() + end), 1, 0, 1e-5L);
      for (std::int64_t at = 0; at < size; ++at) {
        const Wide z = std::abs(r.z[at]);
        ASSERT_LE(std::abs(found[begin + at] - r.y[at]), kUlps<T> * (1 + z)) << size << ", row " << row;
        ASSERT_LE(std::abs(x_grad[begin + at] - r.x_grad[at]), 2 * kUlps<T> * r.x_grad_size[at])
            << size << ", row " << row;
        if (all[row].deviation == 0) {
          ASSERT_EQ(found[begin + at], 0) << size;
        }
      }
    }
  }
}

TYPED_TEST(NormStatistics, GroupNormOfChannelsLastMemory) {
  using T = TypeParam;
  const std::vector<T> x = values_of<T>({1e4, 1}, 2 * 4 * 3 * 5, 1), g = values_of<T>({0.5, 1}, 2 * 4 * 3 * 5, 2);
  Array memory = Array::empty_like(Layout::channels_last({2, 4, 3, 5}), dtype_of<T>, Device::cpu());
  memory.copy_from(tensor(x, {2, 4, 3, 5}).array());
  const Tensor input(memory, true), plain = tensor(x, {2, 4, 3, 5}, true), y_grad = tensor(g, {2, 4, 3, 5});
  for (const std::int64_t groups : {1, 2, 4}) {
    const Tensor y = group_norm(input, groups), expected = group_norm(plain, groups);
    EXPECT_TRUE(y.array().layout().is_channels_last());
    EXPECT_EQ(y.to_vector<T>(), expected.to_vector<T>()) << groups;
    EXPECT_EQ(grad({y}, {input}, {y_grad})[0].to_vector<T>(), grad({expected}, {plain}, {y_grad})[0].to_vector<T>());
  }
}

TYPED_TEST(NormStatistics, Var) {
  using T = TypeParam;
  for (const Spread& spread : spreads<T>()) {
    if (spread.deviation > 1e18) continue;  // whose variance is infinite
    for (const std::int64_t size : {2, 3, 16, 1111}) {
      const std::vector<T> x = values_of<T>(spread, size, 5);
      const Right r = right_of(x, x, 1, 0, 1e-5L);
      const Tensor input = tensor(x, {size}, true), found = var(input);
      const Wide n = static_cast<Wide>(size), expected = r.var * n / (n - 1);
      ASSERT_LE(std::abs(found.item<T>() - expected), kUlps<T> * expected) << spread.mean << ", " << size;
      const auto gradient = grad({found}, {input})[0].template to_vector<T>();
      const Wide deviation = std::sqrt(r.var + 1e-5L);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const Wide right = 2 * r.z[i] * deviation / (n - 1);
        ASSERT_LE(std::abs(gradient[i] - right),
                  kUlps<T> * 2 * (std::abs(right) + (deviation + kUlps<T> * std::abs(r.mean)) / (n - 1)))
            << spread.mean;
      }
    }
  }
}

// Inputs lie within rounding of the ReLU's edge. In both forms the gradient passes exactly where y > 0.
TYPED_TEST(NormStatistics, MaskIsThatOfTheOutput) {
  using T = TypeParam;
  const std::int64_t rows = 400, channels = 33;
  std::vector<T> x = values_of<T>({0, 1}, rows * channels, 1), bias(channels, T(0));
  const std::vector<T> edge = values_of<T>({1e3, 50}, channels, 2), weight = values_of<T>({2, 0.2}, channels, 3);
  for (std::int64_t i = 0; i < rows * channels; ++i) {
    x[i] = edge[i % channels] + x[i] * T(1e-2);
    if (i / channels % 2 == 1) continue;
    x[i] = edge[i % channels];
    for (std::int64_t steps = i / channels % 9; steps > 0; --steps) x[i] = std::nextafter(x[i], T(i % 4 < 2 ? 1e9 : 0));
  }
  const Tensor input = tensor(x, {rows, channels}), w = tensor(weight, {channels});
  const auto before = batch_norm(input, w, tensor(bias, {channels}), {}, {}).template to_vector<T>();
  for (std::int64_t c = 0; c < channels; ++c) bias[c] = -before[c];  // row 0 is on the edge
  const Tensor b = tensor(bias, {channels}, true), y = batch_norm(input, w, b, {}, {}, {}, {.relu = true});
  const auto values = y.template to_vector<T>();
  std::vector<T> expected(channels, T(0));
  for (std::int64_t i = 0; i < rows * channels; ++i) expected[i % channels] += values[i] > 0 ? T(1) : T(0);
  for (const bool composed : {false, true}) {
    const Tensor found = grad({sum(y)}, {b}, {}, {.retain_graph = true, .create_graph = composed})[0];
    EXPECT_EQ(found.template to_vector<T>(), expected) << composed;
  }
}

TEST(NormStatistics, TwoNeighbours) {
  const Tensor x = Tensor::from<float>({16777216.0F, 16777218.0F}, {1, 1, 2});
  const std::vector<float> expected = {-1, 1};
  EXPECT_EQ(var(x).item<float>(), 2);
  EXPECT_EQ(layer_norm(x, {2}, {}, {}, 0).to_vector<float>(), expected);
  EXPECT_EQ(group_norm(x, 1, {}, {}, 0).to_vector<float>(), expected);
  EXPECT_EQ(instance_norm(x, {}, {}, 0).to_vector<float>(), expected);
  const Tensor column = x.reshape({2, 1}), one = ones({1}), zero = zeros({1});
  EXPECT_EQ(batch_norm(column, one, zero, {}, {}, {.eps = 0}).to_vector<float>(), expected);
}

// The mean of a ramp and of equal values over many rows, and the sum of their gradients: within 4e-7 of the magnitudes.
TEST(NormStatistics, ManyRows) {
  const std::int64_t n = 1'000'003;
  for (const float constant : {0.1F, 1.0F / 3, 0.7F, 1.01F}) {
    std::vector<float> ramp;
    for (std::int64_t i = 0; i < n; ++i) ramp.push_back(constant * static_cast<float>(i) / static_cast<float>(n));
    const std::vector<float> same(ramp.size(), constant);
    Wide expected_mean = 0, expected_var = 0, product = 0, product_size = 0;
    for (const float v : ramp) expected_mean += v / static_cast<Wide>(n);
    for (const float v : ramp) {
      const Wide centred = v - expected_mean;
      expected_var += centred * centred;
      product += constant * centred;
      product_size += std::abs(constant * centred);
    }
    expected_var /= static_cast<Wide>(n);
    const Wide inverse = 1 / std::sqrt(expected_var + 1e-5L), total = Wide{constant} * n;
    const Tensor x = tensor(ramp, {n, 1}, true), one = ones({1}, {.requires_grad = true});
    const Tensor zero = zeros({1}, {.requires_grad = true}), mean = zeros({1}), variance = zeros({1});
    const Tensor y = batch_norm(x, one, zero, mean, variance, {.momentum = 1, .unbiased_running = false});
    const std::vector<Tensor> gradients = grad({y}, {one, zero}, {tensor(same, {n, 1})});
    EXPECT_LE(std::abs(mean.item<float>() - expected_mean), 1.5e-7 * expected_mean);
    EXPECT_LE(std::abs(variance.item<float>() - expected_var), 4e-7 * expected_var);
    EXPECT_LE(std::abs(gradients[0].item<float>() - product * inverse), 4e-7 * product_size * inverse);
    EXPECT_LE(std::abs(gradients[1].item<float>() - total), 4e-7 * total);
    EXPECT_LE(std::abs(var(x, Axes::all(), 0).item<float>() - expected_var), 4e-7 * expected_var);
  }
}

}  // namespace
}  // namespace weft
