// Properties of the convolution family over random shapes: the definition in plain loops, adjoints, linearity.
#include <array>
#include <cmath>

#include "tests/property_support.h"
#include "tests/spatial.h"

namespace weft {
namespace {

/// A valid convolution with one to three spatial axes; absent ones come first and have size 1.
struct Case {
  int axes = 1;
  std::int64_t n = 1, c = 1, k = 1, groups = 1;
  Triple in{1, 1, 1}, kernel{1, 1, 1}, stride{1, 1, 1}, before{}, after{}, dilation{1, 1, 1};

  Shape x() const { return join({n, c}, axes, in); }
  Shape weight() const { return join({k, c / groups}, axes, kernel); }
  Shape y() const { return join({n, k}, axes, out()); }
  Triple out() const {
    Triple result{};
    for (std::size_t d = 0; d < 3; ++d)
      result[d] = (in[d] + before[d] + after[d] - dilation[d] * (kernel[d] - 1) - 1) / stride[d] + 1;
    return result;
  }
};

std::ostream& operator<<(std::ostream& stream, const Case& c) {
  const auto list = [](const Triple& t) { return to_string(Dims{t[0], t[1], t[2]}); };
  return stream << "x " << to_string(c.x()) << " weight " << to_string(c.weight()) << " groups " << c.groups
                << " stride " << list(c.stride) << " padding " << list(c.before) << list(c.after) << " dilation "
                << list(c.dilation);
}

Case any_case() {
  Case c;
  c.axes = static_cast<int>(number(1, 3));
  c.groups = number(1, 3);
  c.n = number(0, 2);
  c.c = c.groups * number(1, 2);
  c.k = c.groups * number(1, 2);
  for (int axis = 3 - c.axes; axis < 3; ++axis) {
    const auto d = static_cast<std::size_t>(axis);
    c.kernel[d] = number(1, 4);
    c.stride[d] = number(1, 3);
    c.dilation[d] = number(1, 2);
    c.before[d] = number(0, 3);
    c.after[d] = number(0, 3);
    const std::int64_t reach = c.dilation[d] * (c.kernel[d] - 1) + 1;
    c.in[d] = std::max<std::int64_t>(reach - c.before[d] - c.after[d], 1) + number(0, 4);
  }
  RC_LOG() << c;
  return c;
}

template <class Options, int N>
Options options(const Case& c, ConvAlgo algo = ConvAlgo::automatic) {
  Options o;
  o.algo = algo;
  o.stride = last<N>(c.stride);
  o.padding.before = last<N>(c.before);
  o.padding.after = last<N>(c.after);
  o.dilation = last<N>(c.dilation);
  o.groups = c.groups;
  return o;
}

Tensor conv(const Case& c, const Tensor& x, const Tensor& weight, ConvAlgo algo = ConvAlgo::automatic) {
  if (c.axes == 1) return conv1d(x, weight, {}, options<Conv1dOptions, 1>(c, algo));
  if (c.axes == 2) return conv2d(x, weight, {}, options<Conv2dOptions, 2>(c, algo));
  return conv3d(x, weight, {}, options<Conv3dOptions, 3>(c, algo));
}

Tensor conv_transpose(const Case& c, const Tensor& x, const Tensor& weight) {
  if (c.axes == 1) return conv_transpose1d(x, weight, {}, options<ConvTranspose1dOptions, 1>(c));
  if (c.axes == 2) return conv_transpose2d(x, weight, {}, options<ConvTranspose2dOptions, 2>(c));
  return conv_transpose3d(x, weight, {}, options<ConvTranspose3dOptions, 3>(c));
}

void expect_equal(double a, double b, const Tensor& terms) {
  RC_ASSERT(std::fabs(a - b) <= 1e-11 * (1 + sum(abs(terms)).item<double>()));
}

// The seven loops.
std::vector<double> definition(const Case& c, const std::vector<double>& x, const std::vector<double>& weight) {
  const auto [depth, height, width] = c.out();
  const std::int64_t filters = c.k / c.groups, channels = c.c / c.groups;
  std::vector<double> y;
  for (std::int64_t n = 0; n < c.n; ++n)
    for (std::int64_t k = 0; k < c.k; ++k)
      for (std::int64_t o = 0; o < depth; ++o)
        for (std::int64_t p = 0; p < height; ++p)
          for (std::int64_t q = 0; q < width; ++q) {
            double sum = 0;
            for (std::int64_t i = 0; i < channels; ++i)
              for (std::int64_t t = 0; t < c.kernel[0]; ++t)
                for (std::int64_t r = 0; r < c.kernel[1]; ++r)
                  for (std::int64_t s = 0; s < c.kernel[2]; ++s) {
                    const std::int64_t d = o * c.stride[0] + t * c.dilation[0] - c.before[0];
                    const std::int64_t h = p * c.stride[1] + r * c.dilation[1] - c.before[1];
                    const std::int64_t w = q * c.stride[2] + s * c.dilation[2] - c.before[2];
                    if (d < 0 || d >= c.in[0] || h < 0 || h >= c.in[1] || w < 0 || w >= c.in[2]) continue;
                    const std::int64_t channel = k / filters * channels + i;
                    const std::int64_t from = (((n * c.c + channel) * c.in[0] + d) * c.in[1] + h) * c.in[2] + w;
                    const std::int64_t tap =
                        (((k * channels + i) * c.kernel[0] + t) * c.kernel[1] + r) * c.kernel[2] + s;
                    sum += x[static_cast<std::size_t>(from)] * weight[static_cast<std::size_t>(tap)];
                  }
            y.push_back(sum);
          }
  return y;
}

RC_GTEST_PROP(Convolution, IsTheDefinition, ()) {
  const Case c = any_case();
  RC_TAG(c.axes);
  const Tensor x = randn(c.x(), kF64), weight = randn(c.weight(), kF64);
  const Tensor y = conv(c, x, weight);
  RC_ASSERT(y.shape() == c.y());
  const std::vector<double> found = y.to_vector<double>();
  const std::vector<double> expected = definition(c, x.to_vector<double>(), weight.to_vector<double>());
  for (std::size_t i = 0; i < found.size(); ++i) RC_ASSERT(std::fabs(found[i] - expected[i]) <= 1e-12 * 100);
}

// ⟨conv(x, w), g⟩ = ⟨x, its gradient⟩ = ⟨w, its gradient⟩.
RC_GTEST_PROP(Convolution, GradientsAreItsAdjoints, ()) {
  const Case c = any_case();
  Tensor x = randn(c.x(), kF64), weight = randn(c.weight(), kF64);
  x.set_requires_grad(true);
  weight.set_requires_grad(true);
  const Tensor y = conv(c, x, weight);
  const Tensor g = randn(y.shape(), kF64);
  const std::vector<Tensor> gradients = grad({y}, {x, weight}, {g});
  const double expected = dot(y.detach(), g);
  expect_equal(dot(x.detach(), gradients[0]), expected, x.detach() * gradients[0]);
  expect_equal(dot(weight.detach(), gradients[1]), expected, weight.detach() * gradients[1]);
}

Case depthwise_case() {
  Case c = any_case();
  c.c = c.groups = number(1, 20);
  c.k = c.c * number(1, 3);
  RC_LOG() << "depthwise " << c;
  return c;
}

Case pointwise_case() {
  Case c = any_case();
  c.kernel = c.stride = {1, 1, 1};
  c.before = c.after = {};
  RC_LOG() << "pointwise " << c;
  return c;
}

/// Of the shape that Winograd's algorithm takes.
Case square_case() {
  Case c = any_case();
  c.axes = 2;
  c.groups = 1;
  c.kernel = {1, 3, 3};
  c.stride = c.dilation = {1, 1, 1};
  c.in = {1, number(1, 12), number(1, 12)};
  c.before[0] = c.after[0] = 0;
  for (std::size_t d = 1; d < 3; ++d) {
    c.before[d] = number(0, 3);
    c.after[d] = number(0, 3) + std::max<std::int64_t>(3 - c.in[d] - c.before[d], 0);
  }
  RC_LOG() << "3x3 " << c;
  return c;
}

std::vector<Tensor> with_gradients(const Case& c, ConvAlgo algo, const Tensor& x, const Tensor& weight,
                                   const Tensor& g) {
  Tensor leaf_x = x.detach(), leaf_weight = weight.detach();
  leaf_x.set_requires_grad(true);
  leaf_weight.set_requires_grad(true);
  const Tensor y = conv(c, leaf_x, leaf_weight, algo);
  std::vector<Tensor> results = grad({y}, {leaf_x, leaf_weight}, {g});
  results.push_back(y.detach());
  return results;
}

/// Forward and both gradients against the plain loops, in both precisions.
void expect_agreement(const Case& c, std::initializer_list<ConvAlgo> algos) {
  for (const DType dtype : {DType::f64, DType::f32}) {
    const TensorOptions kind{.dtype = dtype, .device = kTestDevice};
    const Tensor x = randn(c.x(), kind), weight = randn(c.weight(), kind), g = randn(c.y(), kind);
    const std::vector<Tensor> expected = with_gradients(c, ConvAlgo::reference, x, weight, g);
    for (const ConvAlgo algo : algos) {
      const std::vector<Tensor> found = with_gradients(c, algo, x, weight, g);
      for (std::size_t i = 0; i < found.size(); ++i) {
        const Tensor wanted = expected[i].to(DType::f64), difference = found[i].to(DType::f64) - wanted;
        const double norm = std::sqrt(std::max(dot(wanted, wanted), 1.0));
        RC_ASSERT(std::sqrt(dot(difference, difference)) <= (dtype == DType::f64 ? 1e-12 : 1e-5) * norm);
      }
    }
  }
}

RC_GTEST_PROP(Algorithms, Im2colIsTheReference, ()) {
  expect_agreement(any_case(), {ConvAlgo::automatic, ConvAlgo::im2col, ConvAlgo::implicit_gemm});
}
RC_GTEST_PROP(Algorithms, DepthwiseIsTheReference, ()) { expect_agreement(depthwise_case(), {ConvAlgo::direct}); }
RC_GTEST_PROP(Algorithms, PointwiseIsTheReference, ()) { expect_agreement(pointwise_case(), {ConvAlgo::direct}); }
RC_GTEST_PROP(Algorithms, WinogradIsTheReference, ()) { expect_agreement(square_case(), {ConvAlgo::winograd}); }

RC_GTEST_PROP(Convolution, IsLinear, ()) {
  const Case c = any_case();
  const Tensor x = randn(c.x(), kF64), z = randn(c.x(), kF64), weight = randn(c.weight(), kF64);
  const Tensor whole = conv(c, x * 0.75 - z * 2.5, weight);
  const Tensor parts = conv(c, x, weight) * 0.75 - conv(c, z, weight) * 2.5;
  if (whole.size() > 0) RC_ASSERT(max(abs(whole - parts)).item<double>() <= 1e-11);
}

// ⟨conv_transpose(y, w), x⟩ = ⟨y, conv(x, w)⟩ with the same options, for an input without a remainder.
RC_GTEST_PROP(TransposedConvolution, IsTheAdjointOfConvolution, ()) {
  Case c = any_case();
  const Triple out = c.out();
  for (std::size_t d = 0; d < 3; ++d)
    c.in[d] = (out[d] - 1) * c.stride[d] + c.dilation[d] * (c.kernel[d] - 1) + 1 - c.before[d] - c.after[d];
  RC_PRE(c.in[0] > 0 && c.in[1] > 0 && c.in[2] > 0);
  const Tensor y = randn(join({c.n, c.k}, c.axes, out), kF64), weight = randn(c.weight(), kF64), x = randn(c.x(), kF64);
  const Tensor up = conv_transpose(c, y, weight);
  RC_ASSERT(up.shape() == c.x());
  expect_equal(dot(up, x), dot(y, conv(c, x, weight)), up * x);
}

RC_GTEST_PROP(Im2col, HasCol2imAsItsAdjoint, ()) {
  Case c = any_case();
  c.after = c.before;
  for (std::size_t d = 0; d < 3; ++d) RC_PRE(c.in[d] + 2 * c.before[d] > c.dilation[d] * (c.kernel[d] - 1));
  WindowOptions window;
  Dims kernel;
  window.stride = window.padding = window.dilation = {};
  for (int d = 3 - c.axes; d < 3; ++d) {
    const auto i = static_cast<std::size_t>(d);
    kernel.push_back(c.kernel[i]);
    window.stride.push_back(c.stride[i]);
    window.padding.push_back(c.before[i]);
    window.dilation.push_back(c.dilation[i]);
  }
  const ColumnOrder order = number(0, 1) == 0 ? ColumnOrder::crs : ColumnOrder::rsc;
  const Tensor x = randn(c.x(), kF64);
  const Tensor columns = im2col(x, kernel, window, order);
  const Tensor y = randn(columns.shape(), kF64);
  expect_equal(dot(columns, y), dot(x, col2im(y, c.x(), kernel, window, order)), columns * y);
}

}  // namespace
}  // namespace weft
