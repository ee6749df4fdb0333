#include "cpu/spatial/interpolate.h"

#include <cmath>

#include "core/value/views.h"
#include "cpu/runtime/backend.h"
#include "tests/error_support.h"
#include "tests/guarded.h"
#include "weft/weft.h"

namespace weft {
namespace {

template <class E>
void expect_error(const std::string& message, const Tensor& x, const InterpolateOptions& options) {
  weft::expect_error<E>(message, [&] { interpolate(x, options); });
}

constexpr InterpolateMode kLinear = InterpolateMode::linear;

TEST(InterpolateErrors, Options) {
  const Tensor x = zeros({2, 3, 4, 5});
  expect_error<ValueError>("interpolate: neither size nor scale_factor is given", x, {});
  expect_error<ValueError>("interpolate: both size (4, 5) and scale_factor (2, 0.5) are given", x,
                           {.size = {4, 5}, .scale_factor = {2, 0.5}});
  expect_error<ValueError>("interpolate: size (0,) must be from 1 to 2^31 - 1 on every axis", x, {.size = {0}});
  expect_error<ValueError>("interpolate: size (4, -1) must be from 1 to 2^31 - 1 on every axis", x, {.size = {4, -1}});
  expect_error<ValueError>("interpolate: size (2147483648,) must be from 1 to 2^31 - 1 on every axis", x,
                           {.size = {std::int64_t{1} << 31}});
  expect_error<ValueError>("interpolate: size (4, 5, 6) has 3 numbers for the 2 spatial axes of (2, 3, 4, 5)", x,
                           {.size = {4, 5, 6}});
  expect_error<ValueError>("interpolate: scale_factor (2, 3, 1.5) has 3 numbers for the 2 spatial axes of (2, 3, 4, 5)",
                           x, {.scale_factor = {2, 3, 1.5}});
  expect_error<ValueError>("interpolate: scale_factor (0,) must be positive and finite", x, {.scale_factor = {0}});
  expect_error<ValueError>("interpolate: scale_factor (2, -1) must be positive and finite", x,
                           {.scale_factor = {2, -1}});
  expect_error<ValueError>("interpolate: scale_factor (inf,) must be positive and finite", x,
                           {.scale_factor = {HUGE_VAL}});
  expect_error<ValueError>("interpolate: scale_factor (nan,) must be positive and finite", x, {.scale_factor = {NAN}});
  expect_error<ValueError>("interpolate: align_corners has no meaning in mode nearest", x,
                           {.size = {4}, .align_corners = true});
  expect_error<ValueError>("interpolate: there is no mode 7", x,
                           {.size = {4}, .mode = static_cast<InterpolateMode>(7)});
}

TEST(InterpolateErrors, Inputs) {
  const InterpolateOptions twice{.scale_factor = {2}, .mode = kLinear};
  expect_error<ShapeError>("interpolate: input needs 3 to 5 dimensions (N, C, ...), got (2, 3)", zeros({2, 3}), twice);
  expect_error<ShapeError>("interpolate: input needs 3 to 5 dimensions (N, C, ...), got (1, 1, 1, 1, 1, 1)",
                           zeros({1, 1, 1, 1, 1, 1}), twice);
  expect_error<ShapeError>("interpolate: (2, 3, 4, 0) has no elements on a spatial axis", zeros({2, 3, 4, 0}), twice);
  expect_error<ShapeError>("interpolate: scale_factor 0.2 leaves nothing of axis 3 of (2, 3, 5, 4)",
                           zeros({2, 3, 5, 4}), {.scale_factor = {0.2}});
  expect_error<DTypeError>("interpolate: takes f32 or f64, not i64", zeros({1, 1, 4}, {.dtype = DType::i64}), twice);
  expect_error<ShapeError>("interpolate: scale_factor 1e+09 times axis 2 of (1, 1, 4) exceeds 2^31 - 1",
                           zeros({1, 1, 4}), {.scale_factor = {1e9}});
  const std::int64_t large = std::int64_t{1} << 31;
  expect_error<ShapeError>("interpolate: axis 2 of (1, 1, 2147483648) exceeds 2^31 - 1",
                           expand(zeros({1, 1, 1}), {1, 1, large}), {.size = {4}});
  expect_error<ShapeError>("interpolate: result (2, 1, 1073741824, 1073741824) overflows", zeros({2, 1, 2, 2}),
                           {.size = {large / 2}});
}

TEST(Interpolate, WritesChannelsLast) {
  for (const Shape& shape : {Shape{2, 3, 4}, Shape{2, 3, 4, 5}, Shape{2, 3, 4, 5, 2}}) {
    Tensor x = randn(shape);
    x.set_requires_grad(true);
    const Tensor y = interpolate(x, {.scale_factor = {2}, .mode = kLinear});
    EXPECT_TRUE(y.array().layout().is_channels_last());
    EXPECT_TRUE(grad({sum(y)}, {x})[0].array().layout().is_channels_last());
  }
}

// 49·(1/49) is below 1 in double precision, and 2^24 + 1 is no float.
TEST(Interpolate, NearestHasExactCoordinates) {
  for (const std::int64_t factor : {3, 49, 98, 103, 107, 161, 187, 1000}) {
    const Tensor x = reshape(arange(0, 9, 1, {.dtype = DType::f32}), {1, 1, 9});
    for (const InterpolateOptions& o : {InterpolateOptions{.size = {9 * factor}},
                                        InterpolateOptions{.scale_factor = {static_cast<double>(factor)}}}) {
      const std::vector<float> y = interpolate(x, o).to_vector<float>();
      ASSERT_EQ(static_cast<std::int64_t>(y.size()), 9 * factor);
      for (std::int64_t i = 0; i < 9 * factor; ++i) ASSERT_EQ(y[static_cast<std::size_t>(i)], i / factor) << factor;
    }
  }
  const std::int64_t size = (std::int64_t{1} << 24) + 2;
  const Tensor y = interpolate(reshape(arange(0, size, 1, {.dtype = DType::f64}), {1, 1, size}), {.size = {size / 2}});
  for (const std::int64_t i : {size / 2 - 1, size / 4, std::int64_t{1}})
    EXPECT_EQ(select(reshape(y, {-1}), 0, i).item<double>(), 2 * static_cast<double>(i));
}

// A weight of 0 is not read: the row of infinities next to a row that is taken whole does no harm.
TEST(Interpolate, TakesNothingOfWhatCountsForNothing) {
  const double infinity = HUGE_VAL;
  Tensor x = Tensor::from<double>({1, infinity, 3}, {1, 1, 3});
  const InterpolateOptions ends{.size = {2}, .mode = kLinear, .align_corners = true};
  EXPECT_EQ(interpolate(x, ends).to_vector<double>(), (std::vector<double>{1, 3}));
  x.set_requires_grad(true);
  const Tensor y = interpolate(x, {.size = {5}, .mode = kLinear, .align_corners = true});
  const std::vector<Tensor> g = grad({y}, {x}, {Tensor::from<double>({infinity, 0, 1, 0, infinity}, {1, 1, 5})});
  EXPECT_EQ(g[0].to_vector<double>()[1], 1);
}

TEST(UpsampleLayers, AreTheFunction) {
  const Tensor x = randn({2, 3, 4, 5});
  const auto equal = [](const Tensor& a, const Tensor& b) {
    EXPECT_EQ(a.shape(), b.shape());
    EXPECT_EQ(a.to_vector<float>(), b.to_vector<float>());
  };
  equal(nn::Upsample({.scale_factor = {2}})(x), interpolate(x, {.scale_factor = {2}}));
  equal(nn::UpsamplingNearest2d({.size = {7, 3}})(x), interpolate(x, {.size = {7, 3}}));
  equal(nn::UpsamplingBilinear2d({.scale_factor = {1.5, 3}})(x),
        interpolate(x, {.scale_factor = {1.5, 3}, .mode = kLinear, .align_corners = true}));
}

TEST(UpsampleLayers, CheckTheirOptions) {
  const auto message = [](const auto& make) -> std::string {
    try {
      make();
    } catch (const ValueError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message([] { nn::Upsample({}); }), "Upsample: neither size nor scale_factor is given");
  EXPECT_EQ(message([] { nn::UpsamplingNearest2d({.size = {0}}); }),
            "UpsamplingNearest2d: size (0,) must be from 1 to 2^31 - 1 on every axis");
  EXPECT_EQ(message([] { nn::UpsamplingBilinear2d({.scale_factor = {-2}}); }),
            "UpsamplingBilinear2d: scale_factor (-2,) must be positive and finite");
  nn::UpsamplingNearest2d layer({.size = {4}});
  try {
    layer(zeros({1, 2, 3}));
    ADD_FAILURE();
  } catch (const ShapeError& error) {
    EXPECT_STREQ(error.what(), "UpsamplingNearest2d: input must be (N, C, H, W), got (1, 2, 3)");
  }
}

namespace cpu_tests {

InterpolateAxis axis_of(std::int64_t in, std::int64_t out, bool linear) {
  const double step = static_cast<double>(in) / static_cast<double>(out);
  return {in, out, linear ? step : nearest_step(step), 1 / step, linear ? 0.5 : 0, linear};
}

TEST(InterpolateAxis, OutputsAreTheInverseOfTaps) {
  for (const bool linear : {false, true}) {
    for (std::int64_t in = 1; in < 24; ++in) {
      for (std::int64_t out = 1; out < 60; ++out) {
        for (const double factor : {0.0, 0.37, 1.0, 2.9}) {
          InterpolateAxis a = axis_of(in, out, linear);
          if (factor > 0) a.step = a.inverse = 1 / factor;  // a bad guess
          for (std::int64_t j = 0; j < in; ++j) {
            std::int64_t begin = out, end = 0;
            for (std::int64_t i = 0; i < out; ++i) {
              const InterpolateTap tap = interpolate_tap(a, i);
              ASSERT_GE(tap.index, 0);
              ASSERT_LT(tap.index, in);
              if (tap.index != j && !(tap.index + 1 == j && tap.next > 0)) continue;
              begin = std::min(begin, i);
              end = i + 1;
            }
            const InterpolateRange range = interpolate_outputs(a, j);
            ASSERT_EQ(range.end - range.begin, std::max<std::int64_t>(end - begin, 0)) << in << ' ' << out << ' ' << j;
            if (end > begin) {
              ASSERT_EQ(range.begin, begin) << in << ' ' << out << ' ' << j;
            }
          }
        }
      }
    }
  }
}

template <class T>
std::vector<T> interpolated(InterpolatePass pass, const InterpolateShape& s, const std::vector<T>& in) {
  std::int64_t size = s.n * s.c;
  for (const InterpolateAxis& a : s.axes) size *= pass == InterpolatePass::forward ? a.out : a.in;
  Guarded<T> out(size);
  cpu::backend().interpolate(pass, s, const_view(in), out.view());
  return out.values();
}

TEST(InterpolateThreads, SameBits) {
  const InterpolateShape s{5, 37, {axis_of(2, 3, true), axis_of(17, 33, true), axis_of(31, 15, true)}};
  const auto x = normals<float>(5 * 37 * 2 * 17 * 31, 1), g = normals<float>(5 * 37 * 3 * 33 * 15, 2);
  expect_equal_on_any_threads([&] {
    std::vector<float> all = interpolated(InterpolatePass::forward, s, x);
    const std::vector<float> gradient = interpolated(InterpolatePass::adjoint, s, g);
    all.insert(all.end(), gradient.begin(), gradient.end());
    return all;
  });
}

template <class T, class Kernel>
void check_kernel(const Kernel& kernel, const std::string& what) {
  for (const std::int64_t channels : {1, 2, 3, 4, 5, 8, 16, 21, 64, 75, 100}) {
    SCOPED_TRACE(what + " channels " + std::to_string(channels));
    const auto source = normals<T>(2 * 3 * 5 * channels, 1);
    const T depth[] = {T(0.25), T(0.75)}, height[] = {T(0.5), T(0.125), T(2)}, width[] = {T(1), T(0.5), T(0.25)};
    const cpu::WeightedRange<T> columns[] = {{0, 3, width}, {4, 5, width + 1}, {2, 2, width}, {3, 5, width}};
    for (const bool line : {false, true}) {  // one pixel of depth and height, as in the shortcut
      const cpu::InterpolateRow<T> row{channels, 4, 3, 5, {0, line ? 1 : 2, depth}, {line ? 2 : 0, 3, height}, columns};
      Guarded<T> out(4 * channels);
      kernel(row, source.data(), out.data());
      for (std::int64_t pixel = 0; pixel < 4; ++pixel) {
        for (std::int64_t c = 0; c < channels; ++c) {
          double total = 0;
          for (std::int64_t d = row.depth.begin; d < row.depth.end; ++d)
            for (std::int64_t h = row.height.begin; h < row.height.end; ++h)
              for (std::int64_t w = columns[pixel].begin; w < columns[pixel].end; ++w)
                total += static_cast<double>(depth[d]) * height[h - row.height.begin] *
                         columns[pixel].weights[w - columns[pixel].begin] *
                         source[static_cast<std::size_t>(((d * 3 + h) * 5 + w) * channels + c)];
          ASSERT_NEAR(out[pixel * channels + c], total, sizeof(T) == 4 ? 1e-5 : 1e-13);
        }
      }
    }
  }
}

TEST(InterpolateKernels, EveryInstructionSet) {
  for (const cpu::Isa isa : isas()) {
    check_kernel<float>(cpu::interpolate_kernels(isa).f32, name(isa));
    check_kernel<double>(cpu::interpolate_kernels(isa).f64, name(isa));
  }
}

}  // namespace cpu_tests
}  // namespace
}  // namespace weft
