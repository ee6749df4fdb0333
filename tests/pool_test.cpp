#include "cpu/spatial/pool.h"

#include <cmath>
#include <limits>

#include "core/value/views.h"
#include "cpu/runtime/backend.h"
#include "tests/guarded.h"

namespace weft::cpu {
namespace {

using Triple = std::array<std::int64_t, 3>;

/// Averages divide by the kernel's volume.
PoolShape make(std::int64_t n, std::int64_t c, Triple in, Triple kernel, Triple stride, Triple padding,
               Triple dilation = {1, 1, 1}) {
  PoolShape s{n, c, in, kernel, {}, stride, padding, dilation};
  s.divisor = 1;
  for (std::size_t i = 0; i < 3; ++i) {
    s.out[i] = (in[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) / stride[i] + 1;
    s.divisor *= static_cast<double>(kernel[i]);
  }
  return s;
}

/// Windows that divide by what they hold.
PoolShape uneven(PoolShape s, Triple out, bool count_padding) {
  s.out = out;
  s.divisor = 0;
  s.count_padding = count_padding;
  return s;
}

PoolShape adaptive(std::int64_t n, std::int64_t c, Triple in, Triple out) {
  PoolShape s = uneven(make(n, c, in, {1, 1, 1}, {1, 1, 1}, {}), out, true);
  s.adaptive = true;
  return s;
}

std::vector<PoolShape> averages() {
  const PoolShape padded = make(2, 33, {1, 6, 8}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1});
  const PoolShape volume = make(1, 5, {3, 4, 5}, {2, 3, 2}, {2, 2, 2}, {1, 1, 0});
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
      make(2, 0, {1, 4, 4}, {1, 2, 2}, {1, 2, 2}, {0, 0, 0}),     //
      uneven(padded, padded.out, false),                          //
      uneven(padded, {1, 4, 5}, true),                            // a last window that is cut off
      uneven(padded, {1, 4, 5}, false),                           //
      uneven(volume, {2, 3, 3}, true),                            //
      uneven(volume, {2, 3, 3}, false),                           //
      adaptive(2, 16, {1, 7, 5}, {1, 3, 2}),                      //
      adaptive(1, 3, {1, 2, 3}, {1, 5, 7}),                       //
      adaptive(1, 70, {5, 3, 4}, {2, 4, 3}),                      //
  };
}

std::vector<PoolShape> shapes() {
  std::vector<PoolShape> all = averages();
  for (const PoolShape& dilated : {
           make(2, 5, {1, 7, 9}, {1, 3, 2}, {1, 1, 2}, {0, 1, 1}, {1, 2, 3}),    //
           make(1, 33, {4, 5, 6}, {2, 2, 3}, {1, 2, 1}, {1, 0, 1}, {3, 2, 2}),   //
           make(1, 17, {1, 1, 11}, {1, 1, 2}, {1, 1, 2}, {0, 0, 1}, {1, 1, 3}),  //
           make(2, 20, {1, 4, 3}, {1, 2, 2}, {1, 1, 1}, {0, 1, 1}, {1, 5, 4}),   // windows of padding alone
           make(1, 1, {1, 1, 2}, {1, 1, 2}, {1, 1, 1}, {0, 0, 1}, {1, 1, 3}),    // no other
           make(1, 6, {1, 5, 5}, {1, 2, 2}, {1, 3, 3}, {0, 0, 0}, {1, 2, 2}),    // a box of 2 in an even dilation
           make(1, 6, {1, 2, 4}, {1, 2, 2}, {1, 1, 1}, {0, 1, 1}, {1, 2, 2}),    //
       }) {
    all.push_back(dilated);
  }
  return all;
}

std::string describe(const PoolShape& s) {
  return "n " + std::to_string(s.n) + " c " + std::to_string(s.c) + " in " + std::to_string(s.in[0]) + "x" +
         std::to_string(s.in[1]) + "x" + std::to_string(s.in[2]) + " kernel " + std::to_string(s.kernel[1]) + "x" +
         std::to_string(s.kernel[2]);
}

std::int64_t in_size(const PoolShape& s) { return s.n * s.in[0] * s.in[1] * s.in[2] * s.c; }
std::int64_t out_size(const PoolShape& s) { return s.n * s.out[0] * s.out[1] * s.out[2] * s.c; }
std::int64_t image_pixels(const PoolShape& s) { return s.in[0] * s.in[1] * s.in[2]; }

/// The places of x in window o of an axis.
std::vector<std::int64_t> window(const PoolShape& s, std::size_t axis, std::int64_t o) {
  std::vector<std::int64_t> places;
  for (std::int64_t i = 0; i < s.in[axis]; ++i) {
    const std::int64_t offset = i - (o * s.stride[axis] - s.padding[axis]);
    const bool tap = offset >= 0 && offset % s.dilation[axis] == 0 && offset / s.dilation[axis] < s.kernel[axis];
    const bool share = (i + 1) * s.out[axis] > o * s.in[axis] && i * s.out[axis] < (o + 1) * s.in[axis];
    if (s.adaptive ? share : tap) places.push_back(i);
  }
  return places;
}

/// visit(output element, input element, flat position in the image) for every pair of a window and an element in it.
template <class Visit>
void for_pairs(const PoolShape& s, const Visit& visit) {
  std::int64_t out = 0;
  for (std::int64_t n = 0; n < s.n; ++n)
    for (std::int64_t d = 0; d < s.out[0]; ++d)
      for (std::int64_t h = 0; h < s.out[1]; ++h)
        for (std::int64_t w = 0; w < s.out[2]; ++w)
          for (std::int64_t c = 0; c < s.c; ++c, ++out)
            for (const std::int64_t i : window(s, 0, d))
              for (const std::int64_t j : window(s, 1, h))
                for (const std::int64_t k : window(s, 2, w)) {
                  const std::int64_t position = (i * s.in[1] + j) * s.in[2] + k;
                  visit(out, (n * image_pixels(s) + position) * s.c + c, position);
                }
}

/// What each element of y divides by.
std::vector<double> divisors(const PoolShape& s) {
  std::vector<double> result;
  const auto along = [&](std::size_t axis, std::int64_t o) {
    if (s.adaptive || !s.count_padding) return static_cast<double>(window(s, axis, o).size());
    PoolShape padded = s;  // as an input with the padding
    padded.in[axis] += 2 * s.padding[axis];
    padded.padding[axis] = 0;
    return static_cast<double>(window(padded, axis, o).size());
  };
  for (std::int64_t n = 0; n < s.n; ++n)
    for (std::int64_t d = 0; d < s.out[0]; ++d)
      for (std::int64_t h = 0; h < s.out[1]; ++h)
        for (std::int64_t w = 0; w < s.out[2]; ++w)
          for (std::int64_t c = 0; c < s.c; ++c)
            result.push_back(s.divisor != 0 ? s.divisor : along(0, d) * along(1, h) * along(2, w));
  return result;
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
    backend().pool(PoolPass::max, s, const_view(x), indices.view(), y.view());
    std::vector<T> expected(y.size(), -std::numeric_limits<T>::infinity());
    std::vector<std::int32_t> expected_indices(y.size(), -1);
    for_pairs(s, [&](std::int64_t out, std::int64_t in, std::int64_t position) {
      if (expected_indices[out] >= 0 && !(x[in] > expected[out])) return;
      expected[out] = x[in];
      expected_indices[out] = static_cast<std::int32_t>(position);
    });
    EXPECT_EQ(y.values(), expected);
    EXPECT_EQ(indices.values(), expected_indices);

    Guarded<T> gathered(out_size(s));
    backend().pool(PoolPass::max_gather, s, const_view(x), indices.view(), gathered.view());
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = expected_indices[i] < 0 ? T(0) : expected[i];
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
    backend().pool(PoolPass::max, s, const_view(x), indices.view(), y.view());
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
    backend().pool(PoolPass::max, s, const_view(x), indices.view(), y.view());
    backend().pool(PoolPass::max_scatter, s, const_view(y_grad), indices.view(), x_grad.view());
    std::vector<T> expected(x.size(), T(0));
    for_pairs(s, [&](std::int64_t out, std::int64_t in, std::int64_t position) {
      if (indices[out] == position) expected[in] += y_grad[out];
    });
    EXPECT_EQ(x_grad.values(), expected);
  }
}

TYPED_TEST(Pool, AverageAndItsGradient) {
  using T = TypeParam;
  for (const PoolShape& s : averages()) {
    SCOPED_TRACE(describe(s));
    const auto x = normals<T>(in_size(s), 1), y_grad = normals<T>(out_size(s), 2);
    Guarded<T> y(out_size(s)), x_grad(in_size(s));
    backend().pool(PoolPass::average, s, const_view(x), View{}, y.view());
    backend().pool(PoolPass::average_grad, s, const_view(y_grad), View{}, x_grad.view());
    const std::vector<double> divisor = divisors(s);
    std::vector<double> expected(y_grad.size()), expected_grad(x.size());
    for_pairs(s, [&](std::int64_t out, std::int64_t in, std::int64_t) {
      expected[out] += x[in] / divisor[out];
      expected_grad[in] += y_grad[out] / divisor[out];
    });
    for (std::int64_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], expected[i], this->kTolerance) << i;
    for (std::int64_t i = 0; i < x_grad.size(); ++i) ASSERT_NEAR(x_grad[i], expected_grad[i], this->kTolerance) << i;
  }
}

/// Indices of any place of the image; -1 for one in four.
std::vector<std::int32_t> any_indices(const PoolShape& s, std::int64_t size, unsigned seed) {
  std::vector<std::int32_t> indices;
  for (const double value : normals<double>(size, seed)) {
    const auto number = static_cast<std::int64_t>(std::fabs(value) * 1e6);
    indices.push_back(number % 4 == 0 ? -1 : static_cast<std::int32_t>(number / 4 % image_pixels(s)));
  }
  return indices;
}

TYPED_TEST(Pool, UnpoolTakesTheLastOfEquals) {
  using T = TypeParam;
  for (const PoolShape& s : shapes()) {
    SCOPED_TRACE(describe(s));
    const auto y = normals<T>(out_size(s), 1);
    std::vector<std::int32_t> indices = any_indices(s, out_size(s), 2);
    std::vector<T> expected(static_cast<std::size_t>(in_size(s)));
    const std::int64_t image = out_size(s) / std::max<std::int64_t>(s.n, 1);
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (indices[i] < 0) continue;
      const auto at = static_cast<std::int64_t>(i);
      const std::int64_t pixel = at / image * image_pixels(s) + indices[i];
      expected[static_cast<std::size_t>(pixel * s.c + at % s.c)] = y[i];
    }
    Guarded<T> x(in_size(s), T(0));
    const View index_view{indices.data(), Shape{out_size(s)}, Shape{1}, DType::i32};
    backend().pool(PoolPass::unpool, s, const_view(y), index_view, x.view());
    EXPECT_EQ(x.values(), expected);
  }
}

TEST(PoolThreads, SameBits) {
  PoolShape s = make(5, 37, {1, 33, 31}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1});
  s.divisor = 0;
  s.count_padding = false;
  const auto x = normals<float>(in_size(s), 1), y_grad = normals<float>(out_size(s), 2);
  expect_equal_on_any_threads([&] {
    Guarded<float> y(out_size(s)), average(out_size(s)), x_grad(in_size(s)), average_grad(in_size(s));
    Guarded<std::int32_t> indices(out_size(s));
    backend().pool(PoolPass::max, s, const_view(x), indices.view(), y.view());
    backend().pool(PoolPass::max_scatter, s, const_view(y_grad), indices.view(), x_grad.view());
    backend().pool(PoolPass::average, s, const_view(x), View{}, average.view());
    backend().pool(PoolPass::average_grad, s, const_view(y_grad), View{}, average_grad.view());
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
      Guarded<T> largest(pixels * channels), sum(pixels * channels), matching(pixels * channels),
          shares(pixels * channels);
      Guarded<std::int32_t> indices(pixels * channels);
      std::vector<std::int32_t> marks(source.size());
      for (std::size_t i = 0; i < marks.size(); ++i) marks[i] = static_cast<std::int32_t>(i % 3);
      kernels.largest(row, source.data(), largest.data(), indices.data());
      kernels.sum(row, source.data(), T(0.5), sum.data());
      const std::int64_t lines[] = {1, 2, 4}, places[] = {1, 2, 4, 8, 16, 32};
      kernels.shares(row, source.data(), {lines, lines, places}, shares.data());
      kernels.matching(row, source.data(), marks.data(), matching.data());
      for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
        for (std::int64_t c = 0; c < channels; ++c) {
          double best = -1e9, total = 0, matched = 0, shared = 0;
          std::int64_t index = -1;
          for (std::int64_t h = row.height.begin; h < row.height.end; ++h) {
            for (std::int64_t w = columns[pixel].begin; w < columns[pixel].end; ++w) {
              const std::int64_t position = h * width + w, at = position * channels + c;
              if (source[at] > best) {
                best = source[at];
                index = position;
              }
              total += source[at];
              shared += source[at] / static_cast<double>(lines[h] * places[w]);  // powers of two: exact
              if (marks[at] == 1 + pixel) matched += source[at];
            }
          }
          const std::int64_t at = pixel * channels + c;
          ASSERT_EQ(largest[at], best);
          ASSERT_EQ(indices[at], index);
          ASSERT_EQ(sum[at], total * 0.5);
          ASSERT_EQ(shares[at], shared);
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
