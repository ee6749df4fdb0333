#include "cpu/pool.h"

#include <cmath>
#include <limits>

#include "tests/guarded.h"

namespace weft::cpu {
namespace {

PoolShape make(std::int64_t n, std::int64_t c, std::array<std::int64_t, 3> in, std::array<std::int64_t, 3> kernel,
               std::array<std::int64_t, 3> stride, std::array<std::int64_t, 3> padding) {
  PoolShape s{n, c, in, kernel, {}, stride, padding};
  for (std::size_t i = 0; i < 3; ++i) s.out[i] = (in[i] + 2 * padding[i] - kernel[i]) / stride[i] + 1;
  return s;
}

std::vector<PoolShape> shapes() {
  return {
      make(2, 3, {1, 6, 8}, {1, 2, 2}, {1, 2, 2}, {0, 0, 0}),     // the common case
      make(1, 64, {1, 4, 4}, {1, 2, 2}, {1, 2, 2}, {0, 0, 0}),    //
      make(3, 17, {1, 7, 5}, {1, 2, 2}, {1, 2, 2}, {0, 0, 0}),    // a remainder that no window has
      make(2, 100, {1, 4, 4}, {1, 4, 4}, {1, 4, 4}, {0, 0, 0}),   // global
      make(2, 33, {1, 7, 9}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}),    // overlapping, padded
      make(1, 16, {1, 5, 5}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),    //
      make(2, 5, {1, 9, 9}, {1, 2, 2}, {1, 3, 3}, {0, 1, 0}),     // gaps between windows
      make(2, 7, {3, 4, 5}, {2, 3, 2}, {1, 2, 2}, {1, 1, 1}),     // three axes
      make(1, 130, {1, 1, 11}, {1, 1, 4}, {1, 1, 3}, {0, 0, 2}),  // one axis
      make(2, 1, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}),     //
      make(1, 2, {1, 2, 2}, {1, 4, 4}, {1, 1, 1}, {0, 2, 2}),     // kernel larger than the image
      make(0, 8, {1, 4, 4}, {1, 2, 2}, {1, 2, 2}, {0, 0, 0}),     //
      make(2, 0, {1, 4, 4}, {1, 2, 2}, {1, 2, 2}, {0, 0, 0}),
  };
}

std::string describe(const PoolShape& s) {
  return "n " + std::to_string(s.n) + " c " + std::to_string(s.c) + " in " + std::to_string(s.in[0]) + "x" +
         std::to_string(s.in[1]) + "x" + std::to_string(s.in[2]) + " kernel " + std::to_string(s.kernel[1]) + "x" +
         std::to_string(s.kernel[2]);
}

std::int64_t in_size(const PoolShape& s) { return s.n * s.in[0] * s.in[1] * s.in[2] * s.c; }
std::int64_t out_size(const PoolShape& s) { return s.n * s.out[0] * s.out[1] * s.out[2] * s.c; }
std::int64_t image_pixels(const PoolShape& s) { return s.in[0] * s.in[1] * s.in[2]; }

/// visit(output element, input element, flat position in the image) for every pair of a window and an element in it.
template <class Visit>
void for_pairs(const PoolShape& s, const Visit& visit) {
  std::int64_t out = 0;
  for (std::int64_t n = 0; n < s.n; ++n)
    for (std::int64_t d = 0; d < s.out[0]; ++d)
      for (std::int64_t h = 0; h < s.out[1]; ++h)
        for (std::int64_t w = 0; w < s.out[2]; ++w)
          for (std::int64_t c = 0; c < s.c; ++c, ++out)
            for (std::int64_t i = d * s.stride[0] - s.padding[0], a = 0; a < s.kernel[0]; ++a, ++i)
              for (std::int64_t j = h * s.stride[1] - s.padding[1], b = 0; b < s.kernel[1]; ++b, ++j)
                for (std::int64_t k = w * s.stride[2] - s.padding[2], e = 0; e < s.kernel[2]; ++e, ++k) {
                  if (i < 0 || j < 0 || k < 0 || i >= s.in[0] || j >= s.in[1] || k >= s.in[2]) continue;
                  const std::int64_t position = (i * s.in[1] + j) * s.in[2] + k;
                  visit(out, (n * image_pixels(s) + position) * s.c + c, position);
                }
}

template <class T>
class Pool : public testing::Test {
 protected:
  static constexpr double kTolerance = std::is_same_v<T, float> ? 1e-5 : 1e-13;
};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Pool, Types);

/// Small integers, so that there are many equals.
template <class T>
std::vector<T> coarse(std::int64_t size, unsigned seed) {
  std::vector<T> values = normals<T>(size, seed, 0, 2);
  for (T& value : values) value = std::round(value);
  return values;
}

TYPED_TEST(Pool, MaxTakesTheFirstOfEquals) {
  using T = TypeParam;
  for (const PoolShape& s : shapes()) {
    SCOPED_TRACE(describe(s));
    const auto x = coarse<T>(in_size(s), 1);
    Guarded<T> y(out_size(s));
    Guarded<std::int32_t> indices(out_size(s));
    pool(PoolPass::max, s, const_view(x), indices.view(), y.view());
    std::vector<T> expected(y.size());
    std::vector<std::int32_t> expected_indices(y.size(), -1);
    for_pairs(s, [&](std::int64_t out, std::int64_t in, std::int64_t position) {
      if (expected_indices[out] >= 0 && !(x[in] > expected[out])) return;
      expected[out] = x[in];
      expected_indices[out] = static_cast<std::int32_t>(position);
    });
    EXPECT_EQ(y.values(), expected);
    EXPECT_EQ(indices.values(), expected_indices);

    Guarded<T> gathered(out_size(s));
    pool(PoolPass::max_gather, s, const_view(x), indices.view(), gathered.view());
    EXPECT_EQ(gathered.values(), expected);
  }
}

TYPED_TEST(Pool, MaxOfNaNAndInfinity) {
  using T = TypeParam;
  const T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
  for (std::int64_t c : {1, 16, 19}) {
    const PoolShape s = make(1, c, {1, 2, 6}, {1, 2, 2}, {1, 2, 2}, {0, 0, 0});
    const T rows[2][6] = {{5, nan, -inf, -inf, 1, inf}, {nan, 7, -inf, -inf, nan, 2}};
    std::vector<T> x;
    for (const auto& row : rows) {
      for (T value : row) x.insert(x.end(), static_cast<std::size_t>(c), value);
    }
    Guarded<T> y(3 * c);
    Guarded<std::int32_t> indices(3 * c);
    pool(PoolPass::max, s, const_view(x), indices.view(), y.view());
    for (std::int64_t i = 0; i < c; ++i) {
      EXPECT_TRUE(std::isnan(y[i]));
      EXPECT_EQ(indices[i], 1);
      EXPECT_EQ(y[c + i], -inf);
      EXPECT_EQ(indices[c + i], 2);
      EXPECT_TRUE(std::isnan(y[2 * c + i]));
      EXPECT_EQ(indices[2 * c + i], 10);
    }
  }
}

TYPED_TEST(Pool, ScatterIsTheAdjointOfMax) {
  using T = TypeParam;
  for (const PoolShape& s : shapes()) {
    SCOPED_TRACE(describe(s));
    const auto x = coarse<T>(in_size(s), 1), y_grad = coarse<T>(out_size(s), 2);  // sums of integers are exact
    Guarded<T> y(out_size(s)), x_grad(in_size(s));
    Guarded<std::int32_t> indices(out_size(s));
    pool(PoolPass::max, s, const_view(x), indices.view(), y.view());
    pool(PoolPass::max_scatter, s, const_view(y_grad), indices.view(), x_grad.view());
    std::vector<T> expected(x.size(), T(0));
    for_pairs(s, [&](std::int64_t out, std::int64_t in, std::int64_t position) {
      if (indices[out] == position) expected[in] += y_grad[out];
    });
    EXPECT_EQ(x_grad.values(), expected);
  }
}

TYPED_TEST(Pool, AverageAndItsGradient) {
  using T = TypeParam;
  for (const PoolShape& s : shapes()) {
    SCOPED_TRACE(describe(s));
    const auto x = normals<T>(in_size(s), 1), y_grad = normals<T>(out_size(s), 2);
    Guarded<T> y(out_size(s)), x_grad(in_size(s));
    pool(PoolPass::average, s, const_view(x), View{}, y.view());
    pool(PoolPass::average_grad, s, const_view(y_grad), View{}, x_grad.view());
    const double volume = static_cast<double>(s.kernel[0] * s.kernel[1] * s.kernel[2]);
    std::vector<double> expected(y_grad.size()), expected_grad(x.size());
    for_pairs(s, [&](std::int64_t out, std::int64_t in, std::int64_t) {
      expected[out] += x[in] / volume;
      expected_grad[in] += y_grad[out] / volume;
    });
    for (std::int64_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], expected[i], this->kTolerance) << i;
    for (std::int64_t i = 0; i < x_grad.size(); ++i) ASSERT_NEAR(x_grad[i], expected_grad[i], this->kTolerance) << i;
  }
}

TEST(PoolThreads, SameBits) {
  const PoolShape s = make(5, 37, {1, 33, 31}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1});
  const auto x = normals<float>(in_size(s), 1), y_grad = normals<float>(out_size(s), 2);
  expect_equal_on_any_threads([&] {
    Guarded<float> y(out_size(s)), average(out_size(s)), x_grad(in_size(s)), average_grad(in_size(s));
    Guarded<std::int32_t> indices(out_size(s));
    pool(PoolPass::max, s, const_view(x), indices.view(), y.view());
    pool(PoolPass::max_scatter, s, const_view(y_grad), indices.view(), x_grad.view());
    pool(PoolPass::average, s, const_view(x), View{}, average.view());
    pool(PoolPass::average_grad, s, const_view(y_grad), View{}, average_grad.view());
    std::vector<float> all;
    for (Guarded<float>* part : {&y, &average, &x_grad, &average_grad}) {
      const std::vector<float> values = part->values();
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  });
}

template <class T>
void check_kernels(const PoolKernelsOf<T>& kernels, const std::string& what) {
  for (std::int64_t channels : {1, 3, 8, 16, 21, 64, 75, 100}) {
    for (std::int64_t kernel : {2, 3}) {  // 2 x 2 has a path of its own
      SCOPED_TRACE(what + " channels " + std::to_string(channels) + " kernel " + std::to_string(kernel));
      const std::int64_t width = 2 * kernel, pixels = 2;
      const auto source = coarse<T>(3 * width * channels, 1);
      const std::vector<PoolRange> columns = {{0, kernel}, {kernel, 2 * kernel}};
      const PoolRow row{channels,      pixels, 1, 3, width, {0, 1}, {1, std::min<std::int64_t>(1 + kernel, 3)},
                        columns.data()};
      Guarded<T> largest(pixels * channels), sum(pixels * channels), matching(pixels * channels);
      Guarded<std::int32_t> indices(pixels * channels);
      std::vector<std::int32_t> marks(source.size());
      for (std::size_t i = 0; i < marks.size(); ++i) marks[i] = static_cast<std::int32_t>(i % 3);
      kernels.largest(row, source.data(), largest.data(), indices.data());
      kernels.sum(row, source.data(), T(0.5), sum.data());
      kernels.matching(row, source.data(), marks.data(), matching.data());
      for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
        for (std::int64_t c = 0; c < channels; ++c) {
          double best = -1e9, total = 0, matched = 0;
          std::int64_t index = -1;
          for (std::int64_t h = row.height.begin; h < row.height.end; ++h) {
            for (std::int64_t w = columns[pixel].begin; w < columns[pixel].end; ++w) {
              const std::int64_t position = h * width + w, at = position * channels + c;
              if (source[at] > best) {
                best = source[at];
                index = position;
              }
              total += source[at];
              if (marks[at] == 1 + pixel) matched += source[at];
            }
          }
          const std::int64_t at = pixel * channels + c;
          ASSERT_EQ(largest[at], best);
          ASSERT_EQ(indices[at], index);
          ASSERT_EQ(sum[at], total * 0.5);
          ASSERT_EQ(matching[at], matched);
        }
      }
    }
  }
}

TEST(PoolKernels, EveryInstructionSet) {
  for (Isa isa : isas()) {
    check_kernels(pool_kernels(isa).f32, name(isa));
    check_kernels(pool_kernels(isa).f64, name(isa));
  }
}

}  // namespace
}  // namespace weft::cpu
