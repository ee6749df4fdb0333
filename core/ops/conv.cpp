#include "core/ops/conv.h"

#include "core/device/conv_algo.h"
#include "core/device/conv_plan.h"
#include "core/ops/conv_timing.h"
#include "core/value/views.h"
#include "weft/precision.h"

namespace weft {

namespace {

/// Computes a pass without products, where an operand or the result is empty. No kernel meets the sizes of the other
/// axes. `a` is the pass's first operand.
void without_terms(const Convolution& c, const Array& a, const Array& bias, const Array& out, const Array& bias_grad) {
  const BackendHandle device = backend(out.device());
  if (bias_grad.defined() && a.size() == 0) device->fill(mutable_view(bias_grad), 0);
  if (bias_grad.defined() && a.size() > 0) {
    const BiasSum sum = bias_sum(c.shape, const_view(a), mutable_view(bias_grad));
    device->reduce(ReduceOp::sum, sum.y_grad, sum.bias_grad);
  }
  if (!bias.defined()) return device->fill(mutable_view(out), 0);
  ConstView channels = const_view(bias);
  channels.shape = out.shape();
  channels.strides = Dims::filled(out.rank(), 0);
  channels.strides[1] = 1;
  device->copy(channels, mutable_view(out));
}

Array conv_pass(ConvPass pass, const Convolution& c, const Array& a, const Array& b, const Array& bias = {},
                const Array& bias_grad = {}) {
  const Array left = channels_last(a);
  const Array right = channels_last(b);
  const Shape shape = pass == ConvPass::forward ? c.y() : pass == ConvPass::input_grad ? c.x() : c.weight();
  const DType dtype = pass == ConvPass::weight_grad ? parameter_dtype(a.dtype()) : a.dtype();
  Array out = Array::empty_like(Layout::channels_last(shape), dtype, a.device());
  if (out.size() == 0 || a.size() == 0 || b.size() == 0) {
    without_terms(c, left, bias, out, bias_grad);
    return out;
  }
  const BackendHandle device = backend(a.device());
  ConvCall call{.pass = pass,
                .shape = within_padding(c.shape),
                .precision = precision(),
                .a = const_view(left),
                .b = const_view(right),
                .bias = bias.defined() ? const_view(bias) : ConstView{},
                .out = mutable_view(out)};
  if (call.shape.algo == ConvAlgo::automatic && c.axes > 0 && conv_timing()) {  // a choice is for the pass alone
    call.shape.timed = true;
    call.shape.algo = timed_algo(pass, call.shape, a.dtype(), a.device(), [&](const ConvShape& s) {
      ConvCall candidate = call;
      candidate.shape = s;
      device->conv(candidate);
    });
  }
  if (bias_grad.defined()) call.bias_grad = mutable_view(bias_grad);
  device->conv(call);
  return out;
}

// The name of a recorded pass.
constexpr std::string_view node_name(ConvPass pass, int axes) {
  constexpr std::string_view kNames[3][4] = {
      {"linear", "conv1d", "conv2d", "conv3d"},
      {"linear_input_grad", "conv1d_input_grad", "conv2d_input_grad", "conv3d_input_grad"},
      {"linear_weight_grad", "conv1d_weight_grad", "conv2d_weight_grad", "conv3d_weight_grad"}};
  return kNames[static_cast<std::size_t>(pass)][static_cast<std::size_t>(axes)];
}

// The sizes of a gradient of conv2d, whose result would have output_grad's shape.
Convolution gradient_sizes(std::string_view op, const Tensor& output_grad, const Shape& x, const Shape& weight,
                           const Conv2dOptions& options) {
  const Convolution c = conv_sizes(op, x, weight, options);
  if (options.padding_mode != PadMode::constant) {
    throw ValueError(std::string(op) + ": padding_mode must be constant; differentiate pad for the others");
  }
  check_output_grad(op, output_grad, c);
  check_algo(op, 2, c.shape, output_grad.dtype());
  return c;
}

}  // namespace

Tensor conv_forward(const Convolution& c, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  Array bias_array;
  if (bias.defined()) bias_array = bias.array().contiguous();
  return record(node_name(ConvPass::forward, c.axes),
                conv_pass(ConvPass::forward, c, x.array(), weight.array(), bias_array), {x, weight, bias},
                {Save::input("x", 0), Save::input("weight", 1)}, [c](const SavedValues& saved, const Tensor& g) {
                  Tensor x_grad, weight_grad, bias_grad;
                  if (saved.needs(0)) x_grad = conv_input_grad(c, g, saved["weight"]);
                  if (saved.needs(1) && saved.needs(2) && !grad_enabled()) {
                    bias_grad = Tensor(Array::empty({c.shape.k}, parameter_dtype(g.dtype()), g.device()));
                    weight_grad = Tensor(
                        conv_pass(ConvPass::weight_grad, c, g.array(), saved["x"].array(), {}, bias_grad.array()));
                  } else {
                    if (saved.needs(1)) weight_grad = conv_weight_grad(c, g, saved["x"]);
                    if (saved.needs(2)) bias_grad = sum(g.to(parameter_dtype(g.dtype())), all_but_channels(c.axes + 2));
                  }
                  return Values{x_grad, weight_grad, bias_grad};
                });
}

Tensor conv_input_grad(const Convolution& c, const Tensor& output_grad, const Tensor& weight) {
  return record(node_name(ConvPass::input_grad, c.axes),
                conv_pass(ConvPass::input_grad, c, output_grad.array(), weight.array()), {output_grad, weight},
                {Save::input("output_grad", 0), Save::input("weight", 1)},
                [c](const SavedValues& saved, const Tensor& g) {
                  return Values{saved.needs(0) ? conv_forward(c, g, saved["weight"], {}) : Tensor(),
                                saved.needs(1) ? conv_weight_grad(c, saved["output_grad"], g) : Tensor()};
                });
}

Tensor conv_weight_grad(const Convolution& c, const Tensor& output_grad, const Tensor& x) {
  return record(node_name(ConvPass::weight_grad, c.axes),
                conv_pass(ConvPass::weight_grad, c, output_grad.array(), x.array()), {output_grad, x},
                {Save::input("output_grad", 0), Save::input("x", 1)}, [c](const SavedValues& saved, const Tensor& g) {
                  return Values{saved.needs(0) ? conv_forward(c, saved["x"], g, {}) : Tensor(),
                                saved.needs(1) ? conv_input_grad(c, saved["output_grad"], g) : Tensor()};
                });
}

template <int N>
Tensor conv(const Tensor& input, const Tensor& filter, const Tensor& offset, const ConvOptions<N>& options) {
  constexpr std::string_view kOp = node_name(ConvPass::forward, N);
  if (input.rank() == N + 1) return squeeze(conv<N>(unsqueeze(input, 0), filter, offset, options), {0});
  common_device(kOp, {input, filter});
  Tensor x = autocast(input), bias = offset;
  const Tensor weight = conv_parameter(kOp, x, filter);
  Convolution c = conv_sizes(kOp, x.shape(), weight.shape(), options);
  if (bias.defined()) {
    bias = conv_parameter(kOp, x, bias);
    check_bias(kOp, bias, c.shape.k);
  }
  const bool edges = options.padding_mode != PadMode::constant;
  const Triple before = c.shape.padding, after = c.padding_after;
  for (int axis = 2; edges && axis < x.rank(); ++axis) {
    const auto d = static_cast<std::size_t>(axis + 1 - N);
    check_edges(kOp, x.shape(), axis, before[d], after[d], options.padding_mode);
    c.shape.in[d] += before[d] + after[d];
    c.shape.padding[d] = c.padding_after[d] = 0;
  }
  check_algo(kOp, N, c.shape, x.dtype());
  for (int axis = 2; edges && axis < x.rank(); ++axis) {
    const auto d = static_cast<std::size_t>(axis + 1 - N);
    x = pad_edges(x, axis, before[d], after[d], options.padding_mode);
  }
  return conv_forward(c, x, weight, bias);
}

template Tensor conv(const Tensor&, const Tensor&, const Tensor&, const ConvOptions<1>&);
template Tensor conv(const Tensor&, const Tensor&, const Tensor&, const ConvOptions<2>&);
template Tensor conv(const Tensor&, const Tensor&, const Tensor&, const ConvOptions<3>&);

Tensor conv2d_input_grad(const Tensor& output_grad, const Tensor& weight, const Shape& input_shape,
                         const Conv2dOptions& options) {
  constexpr std::string_view kOp = "conv2d_input_grad";
  common_device(kOp, {output_grad, weight});
  const Tensor g = autocast(output_grad);
  const Tensor filters = conv_parameter(kOp, g, weight);
  return conv_input_grad(gradient_sizes(kOp, g, input_shape, weight.shape(), options), g, filters);
}

Tensor conv2d_weight_grad(const Tensor& output_grad, const Tensor& x, const Shape& weight_shape,
                          const Conv2dOptions& options) {
  constexpr std::string_view kOp = "conv2d_weight_grad";
  common_device(kOp, {output_grad, x});
  const Tensor g = autocast(output_grad), source = autocast(x);
  check_operands(kOp, g, source);
  return conv_weight_grad(gradient_sizes(kOp, g, x.shape(), weight_shape, options), g, source).to(x.dtype());
}

}  // namespace weft
