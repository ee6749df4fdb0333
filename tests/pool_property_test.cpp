// Properties of pooling over random shapes: the definition in plain loops, adjoints, and max_unpool behind max_pool.
#include <array>
#include <cmath>
#include <limits>

#include "tests/property_support.h"
#include "tests/spatial.h"

namespace weft {
namespace {

/// A valid pooling with one to three spatial axes; absent ones come first and have size 1.
struct Case {
  int axes = 1;
  std::int64_t n = 1, c = 1;
  Triple in{1, 1, 1}, kernel{1, 1, 1}, stride{1, 1, 1}, padding{}, dilation{1, 1, 1};
  bool ceil_mode = false, count_padding = true;
  std::int64_t divisor = 0;  ///< 0: none is given
  Triple adaptive{};         ///< the output's sizes; 0: the windows above

  Shape join(const Triple& spatial) const {
    Shape shape{n, c};
    for (int d = 3 - axes; d < 3; ++d) shape.push_back(spatial[static_cast<std::size_t>(d)]);
    return shape;
  }
  Shape x() const { return join(in); }
  /// Place j of window o, wherever it lies; kernel[d] of them, or as many as an adaptive window has.
  std::int64_t place(std::size_t d, std::int64_t o, std::int64_t j) const {
    if (adaptive[d] > 0) return o * in[d] / adaptive[d] + j;
    return o * stride[d] - padding[d] + j * dilation[d];
  }
  std::int64_t places(std::size_t d, std::int64_t o) const {
    if (adaptive[d] == 0) return kernel[d];
    std::int64_t end = 0;  // the least with end·out >= (o + 1)·in
    while (end * adaptive[d] < (o + 1) * in[d]) ++end;
    return end - place(d, o, 0);
  }
  Triple out() const {
    Triple result{};
    for (std::size_t d = 0; d < 3; ++d) {
      if (adaptive[d] > 0) {
        result[d] = adaptive[d];
        continue;
      }
      const std::int64_t end = in[d] + padding[d];
      while (place(d, result[d], kernel[d] - 1) < end) ++result[d];
      const bool rest = result[d] == 0 || place(d, result[d] - 1, kernel[d] - 1) + 1 < end;
      if (ceil_mode && rest && place(d, result[d], 0) < in[d]) ++result[d];
    }
    return result;
  }
};

std::ostream& operator<<(std::ostream& stream, const Case& c) {
  const auto list = [](const Triple& t) { return to_string(Dims{t[0], t[1], t[2]}); };
  return stream << "x " << to_string(c.x()) << " kernel " << list(c.kernel) << " stride " << list(c.stride)
                << " padding " << list(c.padding) << " dilation " << list(c.dilation) << " ceil " << c.ceil_mode
                << " count_include_pad " << c.count_padding << " divisor " << c.divisor << " adaptive "
                << list(c.adaptive);
}

enum class Kind { max, average, adaptive };

Case any_case(Kind kind) {
  Case c;
  c.axes = static_cast<int>(number(1, 3));
  c.n = number(0, 19) == 0 ? 0 : number(1, 2);
  c.c = number(0, 19) == 0 ? 0 : number(0, 9) == 0 ? 17 : number(1, 3);
  c.ceil_mode = number(0, 1) == 1;
  c.count_padding = number(0, 1) == 1;
  c.divisor = number(0, 3) == 0 ? number(1, 9) : 0;
  for (int axis = 3 - c.axes; axis < 3; ++axis) {
    const auto d = static_cast<std::size_t>(axis);
    c.in[d] = number(1, 7);
    if (kind == Kind::adaptive) {
      c.adaptive[d] = number(1, 9);
      continue;
    }
    c.kernel[d] = number(1, 4);
    c.stride[d] = number(1, 5);
    c.padding[d] = number(0, c.kernel[d] / 2);
    if (kind == Kind::max) c.dilation[d] = number(1, 3);
    const std::int64_t reach = c.dilation[d] * (c.kernel[d] - 1) + 1;
    c.in[d] = std::max<std::int64_t>(reach - 2 * c.padding[d], 1) + number(0, 5);
  }
  RC_LOG() << c;
  return c;
}

template <int N>
MaxPoolOptions<N> max_options(const Case& c) {
  return {last<N>(c.stride), last<N>(c.padding), last<N>(c.dilation), c.ceil_mode};
}

MaxPoolResult max_pool(const Case& c, const Tensor& x) {
  if (c.adaptive[2] > 0) {
    if (c.axes == 1) return adaptive_max_pool1d_with_indices(x, last<1>(c.adaptive));
    if (c.axes == 2) return adaptive_max_pool2d_with_indices(x, last<2>(c.adaptive));
    return adaptive_max_pool3d_with_indices(x, last<3>(c.adaptive));
  }
  if (c.axes == 1) return max_pool1d_with_indices(x, last<1>(c.kernel), max_options<1>(c));
  if (c.axes == 2) return max_pool2d_with_indices(x, last<2>(c.kernel), max_options<2>(c));
  return max_pool3d_with_indices(x, last<3>(c.kernel), max_options<3>(c));
}

template <int N>
MaxUnpoolOptions<N> unpool_options(const Case& c) {
  return {last<N>(c.stride), last<N>(c.padding)};
}

Tensor max_unpool(const Case& c, const Tensor& y, const Tensor& indices) {
  if (c.axes == 1) return max_unpool1d(y, indices, last<1>(c.kernel), unpool_options<1>(c), last<1>(c.in));
  if (c.axes == 2) return max_unpool2d(y, indices, last<2>(c.kernel), unpool_options<2>(c), last<2>(c.in));
  return max_unpool3d(y, indices, last<3>(c.kernel), unpool_options<3>(c), last<3>(c.in));
}

template <int N>
AvgPoolOptions<N> avg_options(const Case& c) {
  AvgPoolOptions<N> o{last<N>(c.stride), last<N>(c.padding), c.ceil_mode, c.count_padding};
  if (c.divisor != 0) o.divisor_override = c.divisor;
  return o;
}

Tensor avg_pool(const Case& c, const Tensor& x) {
  if (c.axes == 1) return avg_pool1d(x, last<1>(c.kernel), avg_options<1>(c));
  if (c.axes == 2) return avg_pool2d(x, last<2>(c.kernel), avg_options<2>(c));
  return avg_pool3d(x, last<3>(c.kernel), avg_options<3>(c));
}

Tensor adaptive_avg(const Case& c, const Tensor& x) {
  if (c.axes == 1) return adaptive_avg_pool1d(x, last<1>(c.adaptive));
  if (c.axes == 2) return adaptive_avg_pool2d(x, last<2>(c.adaptive));
  return adaptive_avg_pool3d(x, last<3>(c.adaptive));
}

Tensor adaptive_max(const Case& c, const Tensor& x) {
  if (c.axes == 1) return adaptive_max_pool1d(x, last<1>(c.adaptive));
  if (c.axes == 2) return adaptive_max_pool2d(x, last<2>(c.adaptive));
  return adaptive_max_pool3d(x, last<3>(c.adaptive));
}

/// What the loops find for one window.
struct Window {
  double sum = 0, largest = -std::numeric_limits<double>::infinity();
  std::int64_t index = -1, inside = 0, padded = 0;
};

Window look(const Case& c, const double* image, const Triple& o) {
  Window w;
  for (std::int64_t i = 0; i < c.places(0, o[0]); ++i)
    for (std::int64_t j = 0; j < c.places(1, o[1]); ++j)
      for (std::int64_t k = 0; k < c.places(2, o[2]); ++k) {
        const Triple at{c.place(0, o[0], i), c.place(1, o[1], j), c.place(2, o[2], k)};
        bool inside = true, padded = true;
        for (std::size_t d = 0; d < 3; ++d) {
          inside = inside && at[d] >= 0 && at[d] < c.in[d];
          padded = padded && at[d] < c.in[d] + c.padding[d];
        }
        w.padded += padded ? 1 : 0;
        if (!inside) continue;
        ++w.inside;
        const std::int64_t position = (at[0] * c.in[1] + at[1]) * c.in[2] + at[2];
        w.sum += image[position];
        if (w.index >= 0 && !(image[position] > w.largest)) continue;
        w.index = position;
        w.largest = image[position];
      }
  return w;
}

std::vector<Window> definition(const Case& c, const std::vector<double>& x) {
  std::vector<Window> windows;
  const Triple out = c.out();
  for (std::int64_t image = 0; image < c.n * c.c; ++image)
    for (std::int64_t o = 0; o < out[0]; ++o)
      for (std::int64_t p = 0; p < out[1]; ++p)
        for (std::int64_t q = 0; q < out[2]; ++q)
          windows.push_back(look(c, x.data() + image * c.in[0] * c.in[1] * c.in[2], {o, p, q}));
  return windows;
}

void expect_first_largest(const Case& c, const Tensor& x, const MaxPoolResult& found) {
  const auto values = found.output.to_vector<double>();
  const auto indices = found.indices.to_vector<std::int64_t>();
  const std::vector<Window> expected = definition(c, x.to_vector<double>());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    RC_ASSERT(values[i] == expected[i].largest);
    RC_ASSERT(indices[i] == expected[i].index);
  }
}

RC_GTEST_PROP(MaxPool, IsTheDefinition, ()) {
  const Case c = any_case(Kind::max);
  RC_TAG(c.axes);
  const Tensor x = round(randn(c.x(), kF64));  // many equals
  const MaxPoolResult found = max_pool(c, x);
  RC_ASSERT(found.output.shape() == c.join(c.out()));
  expect_first_largest(c, x, found);
}

RC_GTEST_PROP(MaxPool, GradientGoesToTheLargest, ()) {
  const Case c = any_case(Kind::max);
  Tensor x = round(randn(c.x(), kF64));
  x.set_requires_grad(true);
  const MaxPoolResult found = max_pool(c, x);
  const Tensor g = randn(found.output.shape(), kF64);
  const auto gradient = grad({found.output}, {x}, {g})[0].to_vector<double>();
  std::vector<double> expected(gradient.size());
  const auto indices = found.indices.to_vector<std::int64_t>();
  const auto flows = g.to_vector<double>();
  const auto in = static_cast<std::size_t>(c.in[0] * c.in[1] * c.in[2]);
  const Triple out = c.out();
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const std::size_t image = i / static_cast<std::size_t>(out[0] * out[1] * out[2]);
    if (indices[i] >= 0) expected[image * in + static_cast<std::size_t>(indices[i])] += flows[i];
  }
  for (std::size_t i = 0; i < expected.size(); ++i) RC_ASSERT(std::fabs(gradient[i] - expected[i]) <= 1e-12);
}

RC_GTEST_PROP(AvgPool, IsTheDefinition, ()) {
  const Case c = any_case(Kind::average);
  RC_TAG(c.axes);
  const Tensor x = randn(c.x(), kF64);
  const Tensor y = avg_pool(c, x);
  RC_ASSERT(y.shape() == c.join(c.out()));
  const auto found = y.to_vector<double>();
  const std::vector<Window> expected = definition(c, x.to_vector<double>());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const Window& w = expected[i];
    const std::int64_t divisor = c.divisor != 0 ? c.divisor : c.count_padding ? w.padded : w.inside;
    RC_ASSERT(std::fabs(found[i] - w.sum / static_cast<double>(divisor)) <= 1e-13 * 100);
  }
}

// <pool(x), g> = <x, its gradient at g>.
void expect_adjoint(const Tensor& x, const Tensor& y) {
  const Tensor g = randn(y.shape(), kF64);
  const Tensor gradient = grad({y}, {x}, {g})[0];
  const Tensor terms = x.detach() * gradient;
  RC_ASSERT(std::fabs(sum(terms).item<double>() - dot(y.detach(), g)) <= 1e-11 * (1 + sum(abs(terms)).item<double>()));
}

RC_GTEST_PROP(AvgPool, GradientIsItsAdjoint, ()) {
  const Case c = any_case(Kind::average);
  Tensor x = randn(c.x(), kF64);
  x.set_requires_grad(true);
  expect_adjoint(x, avg_pool(c, x));
}

RC_GTEST_PROP(AdaptivePool, IsTheDefinition, ()) {
  const Case c = any_case(Kind::adaptive);
  const Tensor x = randn(c.x(), kF64);
  const Tensor mean = adaptive_avg(c, x), largest = adaptive_max(c, x);
  RC_ASSERT(mean.shape() == c.join(c.adaptive));
  RC_ASSERT(largest.shape() == mean.shape());
  const auto means = mean.to_vector<double>(), maxima = largest.to_vector<double>();
  const std::vector<Window> expected = definition(c, x.to_vector<double>());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    RC_ASSERT(std::fabs(means[i] - expected[i].sum / static_cast<double>(expected[i].inside)) <= 1e-13 * 10);
    RC_ASSERT(maxima[i] == expected[i].largest);
  }
}

RC_GTEST_PROP(AdaptivePool, IndicesAreThoseOfTheFirstLargest, ()) {
  const Case c = any_case(Kind::adaptive);
  const Tensor x = round(randn(c.x(), kF64));  // many equals
  const MaxPoolResult found = max_pool(c, x);
  RC_ASSERT(found.output.shape() == c.join(c.adaptive));
  RC_ASSERT(found.indices.shape() == found.output.shape());
  expect_first_largest(c, x, found);
}

RC_GTEST_PROP(AdaptivePool, GradientsAreAdjoints, ()) {
  const Case c = any_case(Kind::adaptive);
  Tensor x = randn(c.x(), kF64);
  x.set_requires_grad(true);
  expect_adjoint(x, adaptive_avg(c, x));
  expect_adjoint(x, adaptive_max(c, x));  // linear where no two elements are equal
}

// Every maximum back in its place, and zeros elsewhere; gathering them there gives the pooled values again.
void expect_maxima_back(const Case& c) {
  const Triple out = c.out();
  Tensor x = randn(c.x(), kF64);
  const MaxPoolResult pooled = max_pool(c, x);
  Tensor y = pooled.output;
  y.set_requires_grad(true);
  const Tensor back = max_unpool(c, y, pooled.indices);
  RC_ASSERT(back.shape() == c.x());
  const auto found = back.to_vector<double>(), elements = x.to_vector<double>();
  std::vector<double> expected(elements.size());
  const auto indices = pooled.indices.to_vector<std::int64_t>();
  const auto image_in = static_cast<std::size_t>(c.in[0] * c.in[1] * c.in[2]);
  const auto image_out = static_cast<std::size_t>(out[0] * out[1] * out[2]);
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const std::size_t at = i / image_out * image_in + static_cast<std::size_t>(indices[i]);
    expected[at] = elements[at];
  }
  RC_ASSERT(found == expected);
  expect_adjoint(y, back);
}

RC_GTEST_PROP(MaxUnpool, PutsTheMaximaBack, ()) {
  Case c = any_case(Kind::max);
  c.ceil_mode = false;
  c.dilation = {1, 1, 1};
  const Triple out = c.out();
  RC_PRE(out[0] > 0 && out[1] > 0 && out[2] > 0);
  for (std::size_t d = 0; d < 3; ++d) {
    const std::int64_t usual = (out[d] - 1) * c.stride[d] - 2 * c.padding[d] + c.kernel[d];
    RC_PRE(usual > 0);
    c.in[d] = usual + number(0, c.stride[d] - 1);
  }
  RC_ASSERT(c.out() == out);
  expect_maxima_back(c);
}

// Windows of an adaptive pooling, which may share their largest element.
RC_GTEST_PROP(MaxUnpool, PutsAdaptiveMaximaBack, ()) {
  Case c = any_case(Kind::adaptive);
  for (std::size_t d = 3 - static_cast<std::size_t>(c.axes); d < 3; ++d) {
    c.kernel[d] = c.stride[d] = number(1, 3);
    c.in[d] = std::max<std::int64_t>(c.adaptive[d] * c.kernel[d] + number(1 - c.kernel[d], c.kernel[d] - 1), 1);
  }
  expect_maxima_back(c);
}

}  // namespace
}  // namespace weft
