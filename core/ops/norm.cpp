#include <cmath>

#include "core/autograd/rollback.h"
#include "core/ops/norm_support.h"
#include "core/value/number.h"
#include "core/value/views.h"

namespace weft {

Normal composed_normal(const Tensor& x, const Axes& axes, const Tensor& mean, const Tensor& rest,
                       const Tensor& inverse_std, double eps) {
  const Tensor centred = x - mean - rest;
  const Tensor scaled = (centred - weft::mean(centred, axes, true)) * inverse_std;
  const Tensor factor = rsqrt(weft::mean(square(scaled), axes, true) + square(inverse_std * std::sqrt(eps)));
  return {scaled * factor, inverse_std * factor};
}

namespace {

// Shapes (C,) as (1, C, 1, ...) against an input of the given rank.
Tensor per_channel(const Tensor& v, int rank) {
  Shape shape = Dims::filled(rank, 1);
  shape[1] = v.size();
  return reshape(v, shape);
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

void check_vector(std::string_view what, const Tensor& v, const Tensor& x) {
  common_device("batch_norm", {x, v});
  if (!(v.shape() == Shape{x.size(1)}) || v.dtype() != parameter_dtype(x.dtype())) {
    throw ShapeError("batch_norm: " + std::string(what) + " " + to_string(v.shape()) + " of " +
                     std::string(name(v.dtype())) + " does not fit the channels of input " + to_string(x.shape()) +
                     " of " + std::string(name(x.dtype())));
  }
}

void check_residual(const Tensor& residual, const Tensor& x) {
  common_device("batch_norm", {x, residual});
  if (residual.shape() != x.shape() || residual.dtype() != x.dtype()) {
    throw ShapeError("batch_norm: residual " + to_string(residual.shape()) + " of " +
                     std::string(name(residual.dtype())) + " is not like input " + to_string(x.shape()) + " of " +
                     std::string(name(x.dtype())));
  }
}

void check_batches(const Tensor& batches, const Tensor& x) {
  common_device("batch_norm", {x, batches});
  if (batches.rank() != 0 || batches.dtype() != DType::i64) {
    throw ShapeError("batch_norm: the count of batches is a scalar of i64, not " + to_string(batches.shape()) + " of " +
                     std::string(name(batches.dtype())));
  }
}

// What batch_norm saves for its gradient: vectors of the dtype of the parameters, and the mean (2, channels).
struct Statistics {
  Tensor mean, inverse_std, scale, shift;
};

// g where the ReLU let (x - mean)·scale + shift through, which the kernel of inference computes with the same bits.
Tensor rectified_grad(const Tensor& g, const Tensor& x, const Statistics& s) {
  const Array values = channels_last(x.to(s.scale.dtype()).array());
  const Array y = Array::empty_like(Layout::channels_last(x.shape()), values.dtype(), values.device());
  const Tensor mean = select(s.mean, 0, 0), var = ones_like(s.scale);
  backend(x.device())
      ->batch_norm_inference({.x = rows(values),
                              .weight = const_view(s.scale.array()),
                              .bias = const_view(s.shift.array()),
                              .running_mean = const_view(mean.array()),
                              .running_var = const_view(var.array()),
                              .eps = 0,
                              .y = mutable_rows(y)});
  return relu_grad(g, Tensor(y));
}

// The gradient in public ops, for gradients of gradients. g is f32 where the input is bf16.
Values composed_grad(const Tensor& g, const Tensor& input, const Tensor& weight, const Statistics& s, double eps) {
  const Axes axes = all_but_channels(input.rank());
  const auto channels = [&](const Tensor& v) { return per_channel(v, input.rank()); };
  const Normal normal = composed_normal(input.to(weight.dtype()), axes, channels(select(s.mean, 0, 0)),
                                        channels(select(s.mean, 0, 1)), channels(s.inverse_std), eps);
  const Tensor slope = mean(g * normal.values, axes, true);
  const Tensor x_grad = channels(weight) * normal.inverse_std * (g - mean(g, axes, true) - normal.values * slope);
  return {x_grad.to(input.dtype()), sum(g * normal.values, axes), sum(g, axes)};
}

Values train_grad(const SavedValues& saved, const Tensor& gradient, double eps, bool relu) {
  const Tensor x = saved["x"], weight = saved["weight"];
  const Statistics statistics{saved["mean"], saved["inverse_std"], saved["scale"], saved["shift"]};
  const Tensor residual_grad = saved.needs(3) ? gradient : Tensor();
  if (grad_enabled()) {
    const Tensor g = gradient.to(weight.dtype());
    Values gradients = composed_grad(relu ? rectified_grad(g, x.detach(), statistics) : g, x, weight, statistics, eps);
    gradients.push_back(residual_grad);
    return gradients;
  }
  const Array& values = x.array();
  const Array g = channels_last(gradient.array());
  const Array x_grad = Array::empty_like(Layout::channels_last(values.shape()), values.dtype(), values.device());
  const Array weight_grad = Array::empty(weight.shape(), weight.dtype(), values.device());
  const Array bias_grad = Array::empty(weight.shape(), weight.dtype(), values.device());
  backend(values.device())
      ->batch_norm_grad({.y_grad = rows(g),
                         .x = rows(values),
                         .mean = const_view(statistics.mean.array()),
                         .inverse_std = const_view(statistics.inverse_std.array()),
                         .scale = const_view(statistics.scale.array()),
                         .shift = const_view(statistics.shift.array()),
                         .relu = relu,
                         .x_grad = mutable_rows(x_grad),
                         .weight_grad = mutable_view(weight_grad),
                         .bias_grad = mutable_view(bias_grad)});
  return {Tensor(x_grad), Tensor(weight_grad), Tensor(bias_grad), residual_grad};
}

Tensor train(const Tensor& input, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
             const Tensor& running_var, const BatchNormOptions& options, const BatchNormMode& mode) {
  const Tensor& residual = mode.residual;
  const Tensor& batches = mode.batches;
  const Tensor x = input.array().layout().is_channels_last()
                       ? input
                       : record("channels_last", channels_last(input.array()), {input}, {},
                                [](const SavedValues&, const Tensor& g) { return Values{g}; });
  const auto vector = [&] { return Array::empty({x.size(1)}, weight.dtype(), x.device()); };
  const Array mean = Array::empty({2, x.size(1)}, weight.dtype(), x.device());
  const Array inverse_std = vector(), scale = vector(), shift = vector();
  const Array out = Array::empty_like(Layout::channels_last(x.shape()), x.dtype(), x.device());
  const Array added = residual.defined() ? channels_last(residual.array()) : Array();
  const Array factor = weight.array().contiguous(), offset = bias.array().contiguous();
  Tensor result = record(
      "batch_norm", out, {x, weight, bias, residual},
      {Save::input("x", 0), Save::input("weight", 1), Save::constant("mean", mean),
       Save::constant("inverse_std", inverse_std), Save::constant("scale", scale), Save::constant("shift", shift)},
      [eps = options.eps, relu = mode.relu](const SavedValues& saved, const Tensor& g) {
        return train_grad(saved, g, eps, relu);
      });
  const std::array<const Tensor*, 3> written = {&running_mean, &running_var, &batches};
  for (const Tensor* each : written) {
    if (each->defined()) note_values(each->array());
  }
  const auto view_or_none = [](const Tensor& t) { return t.defined() ? mutable_view(t.array()) : View{}; };
  backend(x.device())
      ->batch_norm({.x = rows(x.array()),
                    .weight = const_view(factor),
                    .bias = const_view(offset),
                    .residual = residual.defined() ? rows(added) : ConstView{},
                    .eps = options.eps,
                    .relu = mode.relu,
                    .y = mutable_rows(out),
                    .mean = mutable_view(mean),
                    .inverse_std = mutable_view(inverse_std),
                    .scale = mutable_view(scale),
                    .shift = mutable_view(shift),
                    .running = {.mean = view_or_none(running_mean),
                                .var = view_or_none(running_var),
                                .batches = view_or_none(batches),
                                .momentum = options.momentum,
                                .unbiased = options.unbiased_running}});
  for (const Tensor* each : written) {  // last, as the kernel writes them: nothing can fail any more
    if (each->defined()) each->array().storage()->bump_version();
  }
  return result;
}

Tensor evaluate(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
                const Tensor& running_var, const BatchNormOptions& options, const BatchNormMode& mode) {
  const Tensor& residual = mode.residual;
  if (is_recorded({x, weight, bias, residual})) {
    const Tensor scale = weight * rsqrt(running_var + options.eps);
    const Tensor normal =
        (x - per_channel(running_mean, x.rank())) * per_channel(scale, x.rank()) + per_channel(bias, x.rank());
    const Tensor y = mode.relu ? relu(normal) : normal;
    return (residual.defined() ? y + residual : y).to(x.dtype());
  }
  const Array dense = channels_last(x.array());
  const Array added = residual.defined() ? channels_last(residual.array()) : Array();
  const std::array<Array, 4> vectors = {weight.array().contiguous(), bias.array().contiguous(),
                                        running_mean.array().contiguous(), running_var.array().contiguous()};
  Array out = Array::empty_like(Layout::channels_last(x.shape()), x.dtype(), x.device());
  backend(x.device())
      ->batch_norm_inference({.x = rows(dense),
                              .weight = const_view(vectors[0]),
                              .bias = const_view(vectors[1]),
                              .running_mean = const_view(vectors[2]),
                              .running_var = const_view(vectors[3]),
                              .residual = residual.defined() ? rows(added) : ConstView{},
                              .eps = options.eps,
                              .relu = mode.relu,
                              .y = mutable_rows(out)});
  return Tensor(std::move(out));
}

}  // namespace

Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
                  const Tensor& running_var, const BatchNormOptions& options, const BatchNormMode& mode) {
  check_float("batch_norm", x);
  if (x.rank() < 2 || x.rank() > 5)
    throw ShapeError("batch_norm: input needs 2 to 5 dimensions (N, C, ...), got " + to_string(x.shape()));
  if (!(options.eps >= 0)) throw ValueError("batch_norm: eps must not be " + number(options.eps));
  check_vector("weight", weight, x);
  check_vector("bias", bias, x);
  if (running_mean.defined() != running_var.defined())
    throw ValueError("batch_norm: running_mean and running_var come together or not at all");
  if (running_mean.defined()) {
    check_vector("running_mean", running_mean, x);
    check_vector("running_var", running_var, x);
  }
  if (mode.residual.defined()) check_residual(mode.residual, x);
  if (mode.batches.defined()) check_batches(mode.batches, x);
  if (!mode.training) {
    if (!running_mean.defined()) throw ValueError("batch_norm: evaluation needs running statistics");
    return evaluate(x, weight, bias, running_mean, running_var, options, mode);
  }
  if (x.size() > 0 && x.size() / x.size(1) == 1) {
    throw ValueError("batch_norm: training needs more than one value per channel, got input " + to_string(x.shape()));
  }
  for (const Tensor* running : {&running_mean, &running_var}) {
    if (running->defined() && !running->array().layout().is_row_major())
      throw ValueError("batch_norm: running statistics must be contiguous");
  }
  return train(x, weight, bias, running_mean, running_var, options, mode);
}

}  // namespace weft
