// Long sums of f32 and what is made of them are within 4e-7 of the sum of magnitudes, whatever lies in memory.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "tests/device.h"
#include "weft/interpolate_options.h"
#include "weft/nn/loss.h"
#include "weft/ops.h"
#include "weft/pool_options.h"

namespace weft {
namespace {

constexpr double kBound = 4e-7;
constexpr TensorOptions kF32{.device = kTestDevice};

// What memory holds is summed up to kLong, one number expanded up to kLongest.
#if defined(WEFT_TEST_CUDA)
constexpr std::int64_t kLong = 50'000, kLongest = 300'000;
#elif defined(NDEBUG) && defined(WEFT_LONG_SUMS)
constexpr std::int64_t kLong = 1'000'000, kLongest = 100'000'000;
#else
constexpr std::int64_t kLong = 100'000, kLongest = 1'000'000;
#endif
const std::vector<std::int64_t> kLengths{1000, 4113, kLong + 7};

struct Input {
  const char* name;
  std::function<float(std::int64_t)> at;
};

float hashed(std::int64_t i) {  // in [0, 1)
  auto x = static_cast<std::uint64_t>(i) * 0x9E3779B97F4A7C15u;
  x ^= x >> 32;
  return static_cast<float>(x * 0xD6E8FEB86659FD93u >> 40) * 0x1p-24f;
}

const std::vector<Input> kInputs{
    {"0.1", [](std::int64_t) { return 0.1f; }},
    {"1/3", [](std::int64_t) { return 1.0f / 3; }},
    {"0.7", [](std::int64_t) { return 0.7f; }},
    {"1.01", [](std::int64_t) { return 1.01f; }},
    {"a ramp", [](std::int64_t i) { return static_cast<float>(i) * 1e-3f; }},
    {"random signs", [](std::int64_t i) { return 2 * hashed(i) - 1; }},
};

std::vector<float> values(const Input& input, std::int64_t n) {
  std::vector<float> result(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) result[static_cast<std::size_t>(i)] = input.at(i);
  return result;
}

Tensor tensor(const std::vector<float>& values, const Shape& shape, bool requires_grad = false) {
  return Tensor::from(std::span<const float>(values), shape, {.device = kTestDevice, .requires_grad = requires_grad});
}

struct Total {
  double sum = 0, magnitudes = 0;

  void add(double x) {
    sum += x;
    magnitudes += std::abs(x);
  }
};

/// The total of values[begin], values[begin + step], ... below end.
Total total(const std::vector<float>& values, std::size_t begin = 0, std::size_t step = 1) {
  long double sum = 0, magnitudes = 0;
  for (std::size_t i = begin; i < values.size(); i += step) {
    sum += values[i];
    magnitudes += std::abs(values[i]);
  }
  return {static_cast<double>(sum), static_cast<double>(magnitudes)};
}

void expect_near(double found, const Total& right, double factor, const std::string& what) {
  EXPECT_LE(std::abs(found - right.sum * factor), kBound * right.magnitudes * factor)
      << what << ": " << found << " is not " << right.sum * factor << ", off by "
      << std::abs(found - right.sum * factor) / (right.magnitudes * factor);
}

void expect_all(const Tensor& found, double right, const std::string& what) {
  for (const float value : found.to_vector<float>())
    ASSERT_NEAR(value / right, 1, kBound) << what << ", " << value << " is not " << right;
}

TEST(Sums, Contiguous) {
  for (const Input& input : kInputs) {
    for (const std::int64_t n : kLengths) {
      const std::vector<float> x = values(input, n);
      const Total right = total(x);
      const std::string what = input.name + std::string(", ") + std::to_string(n);
      expect_near(sum(tensor(x, {n})).item<float>(), right, 1, what);
      expect_near(mean(tensor(x, {n})).item<float>(), right, 1.0 / static_cast<double>(n), "mean of " + what);
    }
  }
}

TEST(Sums, ReversedAndStrided) {
  for (const Input& input : kInputs) {
    const std::vector<float> x = values(input, kLong);
    const Array all = Array::from(std::span<const float>(x), {kLong}, kTestDevice);
    expect_near(sum(Tensor(all.view({{kLong}, {-1}, kLong - 1}))).item<float>(), total(x), 1, input.name);
    for (const std::int64_t step : {2, 3}) {
      const std::int64_t count = (kLong - 1) / step + 1;
      expect_near(sum(Tensor(all.view({{count}, {step}}))).item<float>(), total(x, 0, static_cast<std::size_t>(step)),
                  1, input.name + std::string(", every ") + std::to_string(step));
    }
  }
}

TEST(Sums, Expanded) {
  for (const float value : {0.1f, 1.0f / 3, 0.7f, 1.01f}) {
    for (std::int64_t n = 1000; n <= kLongest; n *= 10) {
      const Tensor x = expand(full({1}, static_cast<double>(value), kF32), {n});
      EXPECT_NEAR(sum(x).item<float>() / (static_cast<double>(value) * static_cast<double>(n)), 1, kBound)
          << value << " times " << n;
      EXPECT_NEAR(mean(x).item<float>() / static_cast<double>(value), 1, kBound) << value << " times " << n;
    }
  }
}

TEST(Sums, RowsAndColumns) {
  for (const Input& input : kInputs) {
    for (const std::int64_t few : {1, 3, 16, 70}) {
      const std::int64_t n = (kLong - 1) / few / 5 + 1;
      const std::vector<float> x = values(input, few * n);
      const std::vector<float> columns = sum(tensor(x, {n, few}), 0).to_vector<float>();
      const std::vector<float> rows = sum(transpose(tensor(x, {n, few}), 0, 1), 1).to_vector<float>();
      const std::vector<float> inner = sum(tensor(x, {few, n}), 1).to_vector<float>();
      for (std::size_t i = 0; i < static_cast<std::size_t>(few); ++i) {
        const std::string what = input.name + std::string(", ") + std::to_string(i) + " of " + std::to_string(few);
        const Total right = total(x, i, static_cast<std::size_t>(few));
        expect_near(columns[i], right, 1, "column " + what);
        expect_near(rows[i], right, 1, "transposed row " + what);
        const auto first = x.begin() + static_cast<std::ptrdiff_t>(i) * n;
        expect_near(inner[i], total({first, first + n}), 1, "row " + what);
      }
    }
  }
}

TEST(Sums, SeveralAxes) {
  const std::int64_t n = kLong / 5 / 3 / 7;
  for (const Input& input : kInputs) {
    const std::vector<float> x = values(input, n * 3 * 7);
    const std::vector<float> found = sum(tensor(x, {n, 3, 7}), {0, 2}).to_vector<float>();
    Total right[3];
    for (std::size_t i = 0; i < x.size(); ++i) right[i / 7 % 3].add(static_cast<double>(x[i]));
    for (std::size_t c = 0; c < 3; ++c)
      expect_near(found[c], right[c], 1, input.name + std::string(", channel ") + std::to_string(c));
  }
}

TEST(Sums, GradientsOfBroadcastsAndBiases) {
  const std::int64_t n = kLong;
  for (const double g : {0.1, 1.0 / 3, 0.7, 1.01}) {
    const double right = static_cast<double>(static_cast<float>(g)) * static_cast<double>(n);
    const auto check = [&](const char* what, Tensor parameter, const std::function<Tensor(const Tensor&)>& use) {
      const Tensor y = use(parameter);
      y.backward(expand(full({1}, g, kF32), y.shape()));
      expect_all(parameter.grad(), right, what);
    };
    const TensorOptions options{.device = kTestDevice, .requires_grad = true};
    check("a number", full({1}, 1.0, options), [&](const Tensor& p) { return zeros({n}, kF32) + p; });
    check("a row", full({3}, 1.0, options), [&](const Tensor& p) { return zeros({n, 3}, kF32) + p; });
    check("expand", full({1}, 1.0, options), [&](const Tensor& p) { return expand(p, {n}); });
    check("linear", full({2}, 1.0, options), [&](const Tensor& p) {
      return linear(zeros({n, 1}, kF32), zeros({2, 1}, kF32), p);
    });
    check("conv1d", full({3}, 1.0, options), [&](const Tensor& p) {
      return conv1d(zeros({1, 1, n}, kF32), zeros({3, 1, 1}, kF32), p);
    });
    check("conv1d by channels", full({2}, 1.0, options), [&](const Tensor& p) {
      return conv1d(zeros({1, 2, n}, kF32), zeros({2, 1, 1}, kF32), p, {.groups = 2});
    });
    check("an overlapping view", full({1}, 1.0, options), [&](const Tensor& p) { return as_strided(p, {n}, {0}); });
  }
}

TEST(Sums, Losses) {
  const std::int64_t n = kLong;
  for (const float value : {0.1f, 1.0f / 3, 0.7f, 1.01f}) {
    const double x = static_cast<double>(value);
    const Tensor all = expand(full({1}, x, kF32), {n}), zero = zeros({n}, kF32);
    expect_all(nn::mse_loss(all, zero), x * x, "mse_loss");
    expect_all(nn::l1_loss(all, zero), x, "l1_loss");
    expect_all(nn::smooth_l1_loss(all, zero, 2), x * x / 4, "smooth_l1_loss");
    expect_all(nn::binary_cross_entropy_with_logits(zero, zero, {.weight = all}), std::log(2.0) * x, "binary");
    const Tensor weight = tensor({value, value / 2}, {2});
    const Tensor labels =
        reshape(expand(arange(0, 2, 1, {.dtype = DType::i64, .device = kTestDevice}), {n / 2, 2}), {-1});
    expect_all(cross_entropy(zeros({n, 2}, kF32), labels, {.weight = weight}), std::log(2.0), "weighted cross_entropy");
    expect_all(nll_loss(expand(full({1, 1}, -x, kF32), {n, 2}), labels, {.weight = weight}), x, "weighted nll_loss");
    expect_all(nll_loss(expand(full({1, 1}, -x, kF32), {n, 2}), labels, {.reduction = Reduction::sum}),
               x * static_cast<double>(n), "sum of nll_loss");
  }
}

TEST(Sums, AveragePools) {
  const std::int64_t side = kLong >= 1'000'000 ? 1000 : 200;
  for (const float value : {0.1f, 1.0f / 3, 0.7f, 1.01f}) {
    for (const std::int64_t channels : {1, 3, 20}) {
      const std::int64_t edge = channels == 1 ? side : side / 4, depth = edge / 5;
      const double right = static_cast<double>(value);
      const std::string what = std::to_string(value) + ", channels " + std::to_string(channels);
      const Tensor image = expand(full({1}, right, kF32), {1, channels, edge, edge});
      const Tensor line = reshape(image, {1, channels, edge * edge});
      const Tensor volume = expand(full({1}, right, kF32), {1, channels, depth, depth, depth});
      expect_all(avg_pool1d(line, edge * edge), right, "avg_pool1d of " + what);
      expect_all(avg_pool2d(image, edge), right, "avg_pool2d of " + what);
      expect_all(avg_pool2d(image, edge / 2, {.stride = edge / 4, .padding = edge / 4, .count_include_pad = false}),
                 right, "avg_pool2d without padding of " + what);
      expect_all(avg_pool3d(volume, depth), right, "avg_pool3d of " + what);
      expect_all(adaptive_avg_pool1d(line, 3), right, "adaptive_avg_pool1d of " + what);
      expect_all(adaptive_avg_pool2d(image, 1), right, "adaptive_avg_pool2d of " + what);
      expect_all(adaptive_avg_pool2d(image, 3), right, "adaptive_avg_pool2d of " + what);
      expect_all(adaptive_avg_pool3d(volume, 3), right, "adaptive_avg_pool3d of " + what);
      expect_all(global_avg_pool2d(image), right, "global_avg_pool2d of " + what);
      for (const std::int64_t kernel : {2, 3, 4, 5, 7}) {
        expect_all(avg_pool2d(image.slice(2, 0, 40).slice(3, 0, 40), kernel), right,
                   "avg_pool2d by " + std::to_string(kernel) + " of " + what);
      }
    }
  }
}

/// The gradient at the middle of x, (1, channels, size), for gradients `g` of y; its right value by the count of
/// windows that hold it.
TEST(Sums, GradientsOfPools) {
  const std::int64_t kernel = kLong >= 1'000'000 ? 2001 : 401, size = 2 * kernel;
  for (const double g : {0.1, 1.0 / 3, 0.7, 1.01}) {
    for (const std::int64_t channels : {1, 17}) {
      const auto gradient = [&](const std::function<Tensor(const Tensor&)>& pool) {
        std::vector<float> ramp(static_cast<std::size_t>(channels * size));
        for (std::size_t i = 0; i < ramp.size(); ++i)
          ramp[i] =
              static_cast<float>(-std::abs(static_cast<double>(i % static_cast<std::size_t>(size)) - 1.0 * kernel));
        const Tensor x = tensor(ramp, {1, channels, size}, true);
        const Tensor y = pool(x);
        y.backward(expand(full({1}, g, kF32), y.shape()));
        return x.grad().slice(2, kernel, kernel + 1);
      };
      const double each = static_cast<double>(static_cast<float>(g));
      expect_all(gradient([&](const Tensor& x) { return avg_pool1d(x, kernel, {.stride = 1}); }), each, "avg_pool1d");
      expect_all(gradient([&](const Tensor& x) {
                   return avg_pool1d(x, kernel, {.stride = 1, .padding = 1, .count_include_pad = false});
                 }),
                 each, "avg_pool1d without padding");
      expect_all(gradient([&](const Tensor& x) { return max_pool1d(x, kernel, {.stride = 1}); }),
                 each * static_cast<double>(kernel), "max_pool1d");
      expect_all(
          gradient([&](const Tensor& x) { return adaptive_avg_pool1d(x.slice(2, kernel, kernel + 1), size * 100); }),
          each * static_cast<double>(size) * 100, "adaptive_avg_pool1d");
    }
  }
}

TEST(Sums, GradientsOfInterpolate) {
  const std::int64_t side = kLong >= 1'000'000 ? 1000 : 200;
  for (const double g : {0.1, 1.0 / 3, 0.7, 1.01}) {
    for (const std::int64_t channels : {1, 3, 20}) {
      for (const bool linear : {false, true}) {
        const std::int64_t in = linear ? 2 : 1;
        const Tensor x = zeros({1, channels, in, in}, {.device = kTestDevice, .requires_grad = true});
        const Tensor y =
            interpolate(x, {.size = {side, side}, .mode = linear ? InterpolateMode::linear : InterpolateMode::nearest});
        y.backward(expand(full({1}, g, kF32), y.shape()));  // each of the corners gets as much as the others
        expect_all(x.grad(), static_cast<double>(static_cast<float>(g)) * static_cast<double>(side * side / (in * in)),
                   linear ? "linear" : "nearest");
      }
    }
  }
}

}  // namespace
}  // namespace weft
