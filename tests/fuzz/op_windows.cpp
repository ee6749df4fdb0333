#include <algorithm>
#include <cmath>

#include "tests/fuzz/op_case.h"

// Convolution and its gradients, columns, pooling and interpolation.

namespace weft::fuzz {

namespace {

using Tensors = std::vector<Tensor>;

constexpr std::size_t kMostBytes = std::size_t{16} << 20;  // as in ops_fuzz.cpp: larger results throw before the work

double elements(const Shape& shape) {
  double count = 1;
  for (const std::int64_t size : shape) count *= static_cast<double>(size);
  return count;
}

std::int64_t length(OpInput& in) { return in.rarely(8) ? 6 + in.below(20) : in.size() + 1; }

/// (N, C, ...) or (C, ...), the latter rarely.
Shape image(OpInput& in, int axes, std::int64_t channels) {
  Shape shape;
  if (!in.rarely(8)) shape.push_back(in.rarely(16) ? 0 : 1 + in.below(3));
  shape.push_back(channels);
  for (int i = 0; i < axes; ++i) shape.push_back(length(in));
  if (in.rarely(64)) shape.push_back(1);
  return in.huge(shape);
}

template <int N>
PerAxis<N> per_axis(OpInput& in, std::int64_t low, int count) {
  PerAxis<N> numbers = in.option(low, count);
  if (in.rarely(3)) {
    for (std::int64_t& number : numbers) number = in.option(low, count);
  }
  return numbers;
}

template <int N>
Padding<N> padding(OpInput& in) {
  if (in.rarely(16)) return PaddingRule::same;
  Padding<N> padding = per_axis<N>(in, 0, 3);
  if (in.rarely(4)) padding.after = per_axis<N>(in, 0, 3);
  return padding;
}

/// Steps of windows over the last axes: an estimate from what fits, and 0 where the result is so large that it throws.
template <int N>
double work(const Shape& x, const Shape& weight, const PerAxis<N>& stride, const Padding<N>& padding,
            const PerAxis<N>& dilation) {
  if (x.rank() < N || weight.rank() < N + 2) return 0;
  double places = 1, taps = 1, images = x.rank() > N + 1 ? static_cast<double>(x[0]) : 1;
  for (int i = 0; i < N; ++i) {
    const auto a = static_cast<std::size_t>(i);
    const auto taps_here = static_cast<double>(weight[weight.rank() - N + i]);
    const double span = static_cast<double>(x[x.rank() - N + i]) + static_cast<double>(padding.before[a]) +
                        static_cast<double>(padding.after[a]) - static_cast<double>(dilation[a]) * (taps_here - 1) - 1;
    places *= std::max(0.0, span / std::max(1.0, static_cast<double>(stride[a])) + 1);
    taps *= taps_here;
  }
  const double results = images * static_cast<double>(weight[0]) * places;
  return results > static_cast<double>(kMostBytes) ? 0 : results * taps * static_cast<double>(weight[1]);
}

ConvAlgo algorithm(OpInput& in) { return in.rarely(2) ? static_cast<ConvAlgo>(in.below(6)) : ConvAlgo::automatic; }

template <int N>
struct Drawn {
  Tensors inputs;
  ConvOptions<N> options;
};

/// x, weight and bias of a convolution. Every fourth is 3x3 with stride 1, which Winograd's algorithm takes, or
/// depthwise.
template <int N>
Drawn<N> convolution(OpInput& in) {
  const int kind = in.below(8);
  const std::int64_t groups = kind == 1 ? 1 + in.below(9) : in.rarely(4) ? in.option(1, 3) : 1;
  const std::int64_t few = groups > 0 && groups < 100 ? groups : 1;
  const std::int64_t in_each = kind == 1 ? 1 : 1 + in.below(4), out = few * (1 + in.below(4));
  Shape weight = {out, in_each};
  ConvOptions<N> options;
  options.groups = groups;
  options.padding = padding<N>(in);
  options.algo = algorithm(in);
  if (kind == 0) {
    for (int i = 0; i < N; ++i) weight.push_back(3);
  } else {
    for (int i = 0; i < N; ++i) weight.push_back(in.rarely(16) ? in.size() : 1 + in.below(4));
    options.stride = per_axis<N>(in, 1, 3);
    options.dilation = per_axis<N>(in, 1, 3);
  }
  if (in.rarely(4)) options.padding_mode = static_cast<PadMode>(in.below(4));
  const DType dtype = in.floating_dtype();
  if (in.rarely(64)) weight = in.huge(weight);
  const Tensor x = in.tensor(image(in, N, few * in_each), dtype);
  return {{x, in.tensor(weight, in.rarely(32) ? in.dtype() : dtype),
           in.rarely(2) ? in.tensor({in.rarely(32) ? in.size() : out}, dtype) : Tensor()},
          options};
}

template <int N, class F>
Case convolve(OpInput& in, F call) {
  const Drawn<N> drawn = convolution<N>(in);
  const auto& o = drawn.options;
  const double steps = work<N>(drawn.inputs[0].shape(), drawn.inputs[1].shape(), o.stride, o.padding, o.dilation);
  return {
      drawn.inputs, [=](const Tensors& t) { return Tensors{call(t[0], t[1], t[2], o)}; }, Match::close, steps, 0, 10};
}

Case conv1(OpInput& in) { return convolve<1>(in, conv1d); }
Case conv2(OpInput& in) { return convolve<2>(in, conv2d); }
Case conv3(OpInput& in) { return convolve<3>(in, conv3d); }

template <int N, class F>
Case transposed(OpInput& in, F call) {
  const Drawn<N> drawn = convolution<N>(in);
  ConvTransposeOptions<N> o;
  o.stride = drawn.options.stride;
  o.padding = drawn.options.padding;
  o.dilation = drawn.options.dilation;
  o.groups = drawn.options.groups;
  o.algo = drawn.options.algo;
  if (in.rarely(3)) o.output_padding = per_axis<N>(in, 0, 2);
  const Tensor& weight = drawn.inputs[1];
  // The channels of x are the filters of the convolution in the other direction.
  const std::int64_t groups = std::clamp<std::int64_t>(o.groups, 1, 100);
  const Tensor x = in.tensor(image(in, N, in.rarely(32) ? in.size() : weight.shape()[0]), weight.dtype());
  const Tensor bias = in.rarely(2) ? in.tensor({groups * weight.shape()[1]}, weight.dtype()) : Tensor();
  const double steps = elements(x.shape()) * elements(weight.shape());
  return {{x, weight, bias},
          [=](const Tensors& t) { return Tensors{call(t[0], t[1], t[2], o)}; },
          Match::close,
          steps > 1e9 ? 0 : steps,
          0,
          10};
}

Case transposed1(OpInput& in) { return transposed<1>(in, conv_transpose1d); }
Case transposed2(OpInput& in) { return transposed<2>(in, conv_transpose2d); }
Case transposed3(OpInput& in) { return transposed<3>(in, conv_transpose3d); }

/// The gradients of conv2d, given the gradient that its result has, or one of a shape that is off by a little.
Case conv_gradients(OpInput& in) {
  const Drawn<2> drawn = convolution<2>(in);
  const Conv2dOptions o = drawn.options;
  const Tensor &x = drawn.inputs[0], &weight = drawn.inputs[1];
  const double steps = work<2>(x.shape(), weight.shape(), o.stride, o.padding, o.dilation);
  Shape shape = {1, 1, 1, 1};
  if (steps > 0 && steps < 4e6 && x.size() < 1 << 20) {
    Conv2dOptions plain = o;
    plain.algo = ConvAlgo::automatic;
    shape = conv2d(x.detach(), weight.detach(), {}, plain).shape();
  }
  if (in.rarely(16)) shape[in.below(shape.rank())] += 1;
  const Tensor gradient = in.tensor(shape, x.dtype());
  const bool of_input = in.flag(), as_composed = in.rarely(4);
  const Shape x_shape = x.shape(), weight_shape = weight.shape();
  return {{x, weight, gradient},
          [=](const Tensors& t) -> Tensors {
            if (as_composed && of_input) return {composed::conv2d_input_grad(t[2], t[1], x_shape, o)};
            if (as_composed) return {composed::conv2d_weight_grad(t[2], t[0], weight_shape, o)};
            if (of_input) return {conv2d_input_grad(t[2], t[1], x_shape, o)};
            return {conv2d_weight_grad(t[2], t[0], weight_shape, o)};
          },
          Match::close,
          steps,
          0,
          10};
}

Case composed_conv(OpInput& in) {
  return convolve<2>(in, [](const Tensor& x, const Tensor& weight, const Tensor&, const Conv2dOptions& o) {
    return composed::conv2d(x, weight, o);
  });
}

Dims dims(OpInput& in, int axes, std::int64_t low, int count) {
  Dims numbers = {in.option(low, count)};
  if (in.rarely(3)) {
    while (numbers.rank() < axes) numbers.push_back(in.option(low, count));
  }
  return numbers;
}

WindowOptions windows(OpInput& in, int axes) {
  WindowOptions options;
  options.stride = dims(in, axes, 1, 3);
  options.padding = dims(in, axes, 0, 3);
  options.dilation = dims(in, axes, 1, 2);
  return options;
}

Case columns(OpInput& in) {
  const int axes = 1 + in.below(3), which = in.below(2);
  const Tensor x = in.tensor(image(in, axes, 1 + in.below(3)), in.floating_dtype());
  const Dims kernel = dims(in, axes, 1, 3);
  const WindowOptions options = windows(in, axes);
  const auto order = in.flag() ? ColumnOrder::rsc : ColumnOrder::crs;
  return {{x},
          [=](const Tensors& t) {
            return Tensors{which == 0 ? im2col(t[0], kernel, options, order) : unfold(t[0], kernel, options)};
          },
          Match::close};
}

/// col2im of what im2col gives, which fits; or of anything.
Case uncolumns(OpInput& in) {
  const int axes = 1 + in.below(3), which = in.below(2);
  const Shape shape = image(in, axes, 1 + in.below(3));
  const Dims kernel = dims(in, axes, 1, 3);
  const WindowOptions options = windows(in, axes);
  const auto order = in.flag() ? ColumnOrder::rsc : ColumnOrder::crs;
  Shape wanted = in.shape(3);
  if (!in.rarely(16) && elements(shape) < 1e4) {
    const Tensor x = zeros(shape);
    wanted = (which == 0 ? im2col(x, kernel, options, order) : unfold(x, kernel, options)).shape();
  }
  Shape output;
  for (int i = std::max(0, shape.rank() - axes); i < shape.rank(); ++i) output.push_back(shape[i]);
  const Tensor x = in.tensor(wanted, in.floating_dtype());
  return {
      {x},
      [=](const Tensors& t) {
        return Tensors{which == 0 ? col2im(t[0], shape, kernel, options, order) : fold(t[0], output, kernel, options)};
      },
      Match::close};
}

/// Windows that pooling takes: steps are the elements of all windows.
template <int N, class Options>
double pool_work(const Shape& x, const PerAxis<N>& kernel, const Options& o, const PerAxis<N>& dilation) {
  Shape weight = {x.rank() > N ? x[x.rank() - N - 1] : 1, 1};
  PerAxis<N> stride = o.stride;
  for (std::size_t i = 0; i < static_cast<std::size_t>(N); ++i) {
    weight.push_back(kernel[i]);
    if (stride[i] == 0) stride[i] = kernel[i];
  }
  Padding<N> padding = 0;
  if constexpr (requires { o.padding; }) padding = o.padding;
  return std::abs(work<N>(x, weight, stride, padding, dilation));
}

template <int N, class F>
Case max_pools(OpInput& in, F call) {
  const Tensor x = in.tensor(image(in, N, 1 + in.below(20)), in.dtype());
  const PerAxis<N> kernel = per_axis<N>(in, 1, 4);
  MaxPoolOptions<N> o;
  o.stride = per_axis<N>(in, 0, 4);
  o.padding = in.rarely(2) ? per_axis<N>(in, 0, 2) : PerAxis<N>(0);
  o.dilation = in.rarely(3) ? per_axis<N>(in, 1, 3) : PerAxis<N>(1);
  o.ceil_mode = in.flag();
  return {{x},
          [=](const Tensors& t) {
            const MaxPoolResult result = call(t[0], kernel, o);
            return Tensors{result.output, result.indices};
          },
          Match::exact,
          pool_work<N>(x.shape(), kernel, o, o.dilation)};
}

template <int N, class F, class G>
Case averages(OpInput& in, F average, G lp) {
  const Tensor x = in.tensor(image(in, N, 1 + in.below(20)), in.dtype());
  const PerAxis<N> kernel = per_axis<N>(in, 1, 4);
  AvgPoolOptions<N> o;
  o.stride = per_axis<N>(in, 0, 4);
  o.padding = in.rarely(2) ? per_axis<N>(in, 0, 2) : PerAxis<N>(0);
  o.ceil_mode = in.flag();
  o.count_include_pad = !in.flag();
  o.dilation = in.rarely(3) ? per_axis<N>(in, 1, 3) : PerAxis<N>(1);
  if (in.rarely(4)) o.divisor_override = in.option(1, 3);
  const double norm = in.rarely(2) ? in.number() : 2;
  LPPoolOptions<N> l;
  l.stride = o.stride;
  l.ceil_mode = o.ceil_mode;
  l.dilation = o.dilation;
  const double steps = pool_work<N>(x.shape(), kernel, o, o.dilation);
  if (in.rarely(3))
    return {{x}, [=](const Tensors& t) { return Tensors{lp(t[0], norm, kernel, l)}; }, Match::none, steps};
  return {{x}, [=](const Tensors& t) { return Tensors{average(t[0], kernel, o)}; }, Match::close, steps};
}

template <int N, class F>
Case unpools(OpInput& in, F call) {
  const Shape shape = image(in, N, 1 + in.below(3));
  const PerAxis<N> kernel = per_axis<N>(in, 1, 4);
  MaxUnpoolOptions<N> o;
  o.stride = per_axis<N>(in, 0, 4);
  o.padding = in.rarely(2) ? per_axis<N>(in, 0, 2) : PerAxis<N>(0);
  const PerAxis<N> output_size = in.rarely(4) ? per_axis<N>(in, 0, 20) : PerAxis<N>(0);
  const Tensors inputs = {in.tensor(shape, in.dtype()), in.tensor(shape, in.rarely(16) ? in.dtype() : DType::i64)};
  return {inputs, [=](const Tensors& t) { return Tensors{call(t[0], t[1], kernel, o, output_size)}; }};
}

template <int N, class F, class G>
Case adaptive(OpInput& in, F average, G largest) {
  const Tensor x = in.tensor(image(in, N, 1 + in.below(3)), in.dtype());
  const PerAxis<N> size = per_axis<N>(in, 1, 6);
  const double steps = elements(x.shape());
  if (in.flag()) return {{x}, [=](const Tensors& t) { return Tensors{average(t[0], size)}; }, Match::close, steps};
  return {{x},
          [=](const Tensors& t) {
            const MaxPoolResult result = largest(t[0], size);
            return Tensors{result.output, result.indices};
          },
          Match::exact,
          steps};
}

Case max1(OpInput& in) { return max_pools<1>(in, max_pool1d_with_indices); }
Case max2(OpInput& in) { return max_pools<2>(in, max_pool2d_with_indices); }
Case max3(OpInput& in) { return max_pools<3>(in, max_pool3d_with_indices); }
Case average1(OpInput& in) { return averages<1>(in, avg_pool1d, lp_pool1d); }
Case average2(OpInput& in) { return averages<2>(in, avg_pool2d, lp_pool2d); }
Case average3(OpInput& in) { return averages<3>(in, avg_pool3d, lp_pool3d); }
Case unpool1(OpInput& in) { return unpools<1>(in, max_unpool1d); }
Case unpool2(OpInput& in) { return unpools<2>(in, max_unpool2d); }
Case unpool3(OpInput& in) { return unpools<3>(in, max_unpool3d); }
Case adaptive1(OpInput& in) { return adaptive<1>(in, adaptive_avg_pool1d, adaptive_max_pool1d_with_indices); }
Case adaptive2(OpInput& in) { return adaptive<2>(in, adaptive_avg_pool2d, adaptive_max_pool2d_with_indices); }
Case adaptive3(OpInput& in) { return adaptive<3>(in, adaptive_avg_pool3d, adaptive_max_pool3d_with_indices); }

Case plain_pools(OpInput& in) {
  const Tensor x = in.tensor(image(in, 1 + in.below(3), 1 + in.below(20)), in.dtype());
  const int which = in.below(5);
  return {{x},
          [=](const Tensors& t) -> Tensors {
            switch (which) {
              case 0:
                return {global_avg_pool(t[0])};
              case 1:
                return {global_max_pool(t[0])};
              case 2:
                return {global_avg_pool2d(t[0])};
              case 3:
                return {global_max_pool2d(t[0])};
              default:
                return {max_pool2d(t[0], 2)};
            }
          },
          Match::close,
          elements(x.shape())};
}

Case interpolations(OpInput& in) {
  const int axes = 1 + in.below(3);
  const Tensor x = in.tensor(image(in, axes, 1 + in.below(20)), in.dtype());
  InterpolateOptions o;
  if (in.flag()) {
    for (int count = in.rarely(2) ? axes : 1; count > 0; --count) o.scale_factor.push_back(in.number());
  } else {
    o.size = dims(in, axes, 1, 9);
  }
  if (in.rarely(32)) o.size = {2};
  o.mode = in.flag() ? InterpolateMode::linear : InterpolateMode::nearest;
  o.align_corners = o.mode == InterpolateMode::linear ? in.flag() : in.rarely(32);
  return {{x}, [=](const Tensors& t) { return Tensors{interpolate(t[0], o)}; }, Match::close, elements(x.shape())};
}

}  // namespace

std::span<const Draw> window_families() {
  static const Draw families[] = {conv1,          conv2,         conv3,     transposed1, transposed2, transposed3,
                                  conv_gradients, composed_conv, columns,   uncolumns,   max1,        max2,
                                  max3,           average1,      average2,  average3,    unpool1,     unpool2,
                                  unpool3,        adaptive1,     adaptive2, adaptive3,   plain_pools, interpolations};
  return families;
}

}  // namespace weft::fuzz
