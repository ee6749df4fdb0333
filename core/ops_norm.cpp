#include "core/op_support.h"

namespace weft {

namespace {

using Values = std::vector<Tensor>;

// Shapes (C,) as (1, C, 1, ...) against an input of the given rank.
Tensor per_channel(const Tensor& v, int rank) {
  Shape shape = Dims::filled(rank, 1);
  shape[1] = v.size();
  return reshape(v, shape);
}

Axes all_but_channels(int rank) {
  Dims axes{0};
  for (int i = 2; i < rank; ++i) axes.push_back(i);
  return axes;
}

// Dense channels-last memory as (rows, channels).
ConstView rows(const Array& x) {
  const std::int64_t channels = x.shape()[1];
  const Shape shape{channels == 0 ? 0 : x.size() / channels, channels};
  return {x.data(), shape, row_major_strides(shape), x.dtype()};
}

View mutable_rows(const Array& x) {
  const ConstView view = rows(x);
  return {x.data(), view.shape, view.strides, view.dtype};
}

// Of the parameters and statistics of an input.
DType parameter_dtype(const Tensor& x) { return x.dtype() == DType::bf16 ? DType::f32 : x.dtype(); }

void check_vector(std::string_view what, const Tensor& v, const Tensor& x) {
  common_device("batch_norm", {x, v});
  if (!(v.shape() == Shape{x.size(1)}) || v.dtype() != parameter_dtype(x)) {
    throw ShapeError("batch_norm: " + std::string(what) + " " + to_string(v.shape()) + " of " +
                     std::string(name(v.dtype())) + " does not fit the channels of input " + to_string(x.shape()) +
                     " of " + std::string(name(x.dtype())));
  }
}

// The gradient in public ops, for gradients of gradients: everything is computed again from the input.
Values composed_grad(const Tensor& gradient, const Tensor& input, const Tensor& weight, double eps, const Tensor* y) {
  const Tensor x = input.to(weight.dtype()), g = gradient.to(weight.dtype());
  const Axes axes = all_but_channels(x.rank());
  const Tensor masked = y != nullptr ? relu_grad(g, y->to(g.dtype())) : g;
  const Tensor centred = x - mean(x, axes, true);
  const Tensor inverse_std = rsqrt(mean(square(centred), axes, true) + eps);
  const Tensor normal = centred * inverse_std;
  const Tensor slope = mean(masked * normal, axes, true);
  const Tensor x_grad =
      per_channel(weight, x.rank()) * inverse_std * (masked - mean(masked, axes, true) - normal * slope);
  return {x_grad.to(input.dtype()), sum(masked * normal, axes), sum(masked, axes)};
}

Tensor train(const Tensor& input, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
             const Tensor& running_var, const BatchNormOptions& options) {
  const Tensor x = input.array().layout().is_channels_last()
                       ? input
                       : record("channels_last", channels_last(input.array()), {input}, {},
                                [](const SavedValues&, const Tensor& g) { return Values{g}; });
  const BatchNormArguments arguments{options.eps, options.momentum, options.unbiased_running, options.relu};
  Backend& device = backend(x.device());
  const Array mean = Array::empty({x.size(1)}, weight.dtype(), x.device());
  const Array inverse_std = Array::empty({x.size(1)}, weight.dtype(), x.device());
  const Array out = Array::empty_like(Layout::channels_last(x.shape()), x.dtype(), x.device());
  const View no_view;
  device.batch_norm(rows(x.array()), const_view(weight.array().contiguous()), const_view(bias.array().contiguous()),
                    arguments, mutable_rows(out), mutable_view(mean), mutable_view(inverse_std),
                    running_mean.defined() ? mutable_view(running_mean.array()) : no_view,
                    running_var.defined() ? mutable_view(running_var.array()) : no_view);
  if (running_mean.defined()) running_mean.array().storage()->bump_version();
  if (running_var.defined()) running_var.array().storage()->bump_version();
  return record("batch_norm", out, {x, weight, bias},
                {Save::input(0), Save::input(1), Save::constant(mean), Save::constant(inverse_std),
                 Save::constant(options.relu ? out : Array())},
                [arguments](const SavedValues& saved, const Tensor& g) {
                  const Tensor y = arguments.relu ? saved[4] : Tensor();
                  if (grad_enabled())
                    return composed_grad(g, saved[0], saved[1], arguments.eps, arguments.relu ? &y : nullptr);
                  const Array values = saved[0].array();
                  const Array g_rows = channels_last(g.array());
                  const Array x_grad =
                      Array::empty_like(Layout::channels_last(values.shape()), values.dtype(), values.device());
                  const DType dtype = saved[1].dtype();
                  const Array weight_grad = Array::empty({values.shape()[1]}, dtype, values.device());
                  const Array bias_grad = Array::empty({values.shape()[1]}, dtype, values.device());
                  backend(values.device())
                      .batch_norm_grad(rows(g_rows), rows(values), arguments.relu ? rows(y.array()) : ConstView{},
                                       const_view(saved[1].array().contiguous()), const_view(saved[2].array()),
                                       const_view(saved[3].array()), arguments, mutable_rows(x_grad),
                                       mutable_view(weight_grad), mutable_view(bias_grad));
                  return Values{Tensor(x_grad), Tensor(weight_grad), Tensor(bias_grad)};
                });
}

Tensor evaluate(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
                const Tensor& running_var, const BatchNormOptions& options) {
  if (is_recorded({x, weight, bias})) {
    const Tensor scale = weight * rsqrt(running_var + options.eps);
    const Tensor y =
        (x - per_channel(running_mean, x.rank())) * per_channel(scale, x.rank()) + per_channel(bias, x.rank());
    return (options.relu ? relu(y) : y).to(x.dtype());
  }
  const Array dense = channels_last(x.array());
  Array out = Array::empty_like(Layout::channels_last(x.shape()), x.dtype(), x.device());
  const BatchNormArguments arguments{options.eps, options.momentum, options.unbiased_running, options.relu};
  backend(x.device())
      .batch_norm_inference(rows(dense), const_view(weight.array().contiguous()), const_view(bias.array().contiguous()),
                            const_view(running_mean.array().contiguous()), const_view(running_var.array().contiguous()),
                            arguments, mutable_rows(out));
  return Tensor(std::move(out));
}

}  // namespace

Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
                  const Tensor& running_var, const BatchNormOptions& options) {
  check_float("batch_norm", x);
  if (x.rank() < 2 || x.rank() > 5)
    throw ShapeError("batch_norm: input needs 2 to 5 dimensions (N, C, ...), got " + to_string(x.shape()));
  if (!(options.eps >= 0)) throw ValueError("batch_norm: eps must not be " + std::to_string(options.eps));
  check_vector("weight", weight, x);
  check_vector("bias", bias, x);
  if (running_mean.defined() != running_var.defined())
    throw ValueError("batch_norm: running_mean and running_var come together or not at all");
  if (running_mean.defined()) {
    check_vector("running_mean", running_mean, x);
    check_vector("running_var", running_var, x);
  }
  if (!options.training) {
    if (!running_mean.defined()) throw ValueError("batch_norm: evaluation needs running statistics");
    return evaluate(x, weight, bias, running_mean, running_var, options);
  }
  if (x.size() > 0 && x.size() / x.size(1) == 1) {
    throw ValueError("batch_norm: training needs more than one value per channel, got input " + to_string(x.shape()));
  }
  for (const Tensor* running : {&running_mean, &running_var}) {
    if (running->defined() && !running->array().layout().is_row_major())
      throw ValueError("batch_norm: running statistics must be contiguous");
  }
  return train(x, weight, bias, running_mean, running_var, options);
}

}  // namespace weft
