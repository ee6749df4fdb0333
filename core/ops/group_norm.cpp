#include <algorithm>

#include "core/ops/norm_support.h"
#include "core/value/number.h"
#include "core/value/views.h"

namespace weft {

namespace {

// How x is seen as (values, groups): in the order of its axes, where the values of a group lie one after another, if
// the device takes that, or else with the axes first that are averaged over, the last ones of x.
struct Columns {
  explicit Columns(const Tensor& x, const Dims& axes) : rows(backend(x.device()).unlocked().norms_rows()) {
    const int kept = x.rank() - axes.rank();
    Shape group_sizes, value_sizes;
    for (int i = 0; i < x.rank(); ++i) {
      const int axis = rows ? i : (i + kept) % x.rank();
      order.push_back(axis);
      back.push_back(rows ? i : (i + axes.rank()) % x.rank());
      permuted.push_back(x.size(axis));
      (i < kept ? group_sizes : value_sizes).push_back(x.size(i));
      ones.push_back(i < kept ? x.size(i) : 1);
    }
    groups = element_count(group_sizes);
    values = element_count(value_sizes);
  }
  // Dense memory of the permuted shape.
  Array of(const Tensor& x) const { return permute(x.detach(), order).array().contiguous(); }
  Array empty_like(const Array& x) const { return Array::empty(permuted, x.dtype(), x.device()); }
  View view(const Array& x) const {
    const Shape shape{values, groups};
    return {x.data(), shape, rows ? Strides{1, values} : row_major_strides(shape), x.dtype()};
  }
  // A result with x's order of memory.
  Tensor like(const Array& x, const Array& columns) const {
    if (rows && x.layout().is_row_major()) return Tensor(columns);
    Array out = Array::empty_like(x.layout(), x.dtype(), x.device());
    out.copy_from(permute(Tensor(columns), back).array());
    return Tensor(std::move(out));
  }
  // What there is one of for each group, against x.
  Tensor per_group(const Tensor& v) const { return reshape(v, ones); }

  bool rows;
  std::int64_t values = 1, groups = 1;
  Dims order, back;
  Shape permuted, ones;
};

// (x - mean)/√(variance + eps) over the last axes, by the kernels of batch normalisation. The gradient is
// (g - mean(g) - y·mean(g·y))/√(variance + eps).
Tensor normalised(std::string_view name, const Tensor& x, const Dims& axes, double eps) {
  const Columns columns(x, axes);
  const Array in = columns.of(x), out = columns.empty_like(in);
  const auto vector = [&] { return Array::empty({columns.groups}, x.dtype(), x.device()); };
  const Array mean = Array::empty({2, columns.groups}, x.dtype(), x.device());
  const Array inverse_std = vector(), scale = vector(), shift = vector();
  const Tensor weight = ones_like(Tensor(scale)), bias = zeros_like(Tensor(scale));
  backend(x.device())
      ->batch_norm({.x = columns.view(in),
                    .weight = const_view(weight.array()),
                    .bias = const_view(bias.array()),
                    .eps = eps,
                    .y = columns.view(out),
                    .mean = mutable_view(mean),
                    .inverse_std = mutable_view(inverse_std),
                    .scale = mutable_view(scale),
                    .shift = mutable_view(shift)});
  return record(name, columns.like(x.array(), out).array(), {x},
                {Save::input("x", 0), Save::constant("mean", mean), Save::constant("inverse_std", inverse_std)},
                [columns, axes, eps](const SavedValues& saved, const Tensor& g) {
                  const Tensor input = saved["x"], moments = saved["mean"], inverse = saved["inverse_std"];
                  if (grad_enabled()) {
                    const Normal normal =
                        composed_normal(input, axes, columns.per_group(select(moments, 0, 0)),
                                        columns.per_group(select(moments, 0, 1)), columns.per_group(inverse), eps);
                    const Tensor slope = weft::mean(g * normal.values, axes, true);
                    return Values{(g - weft::mean(g, axes, true) - normal.values * slope) * normal.inverse_std};
                  }
                  const Array values = columns.of(input), gradient = columns.of(g);
                  const Array x_grad = columns.empty_like(values);
                  const Array unused = Array::empty_like(moments.array().layout(), values.dtype(), values.device());
                  const Array weight_grad = select(Tensor(unused), 0, 0).array(),
                              bias_grad = select(Tensor(unused), 0, 1).array();
                  backend(values.device())
                      ->batch_norm_grad({.y_grad = columns.view(gradient),
                                         .x = columns.view(values),
                                         .mean = const_view(moments.array()),
                                         .inverse_std = const_view(inverse.array()),
                                         .scale = const_view(inverse.array()),
                                         .x_grad = columns.view(x_grad),
                                         .weight_grad = mutable_view(weight_grad),
                                         .bias_grad = mutable_view(bias_grad)});
                  return Values{columns.like(input.array(), x_grad)};
                });
}

void check_eps(const std::string& op, double eps) {
  if (!(eps >= 0)) throw ValueError(op + ": eps must not be " + number(eps));
}

void check_parameter(const std::string& op, const std::string& what, const Tensor& v, const Shape& shape,
                     const Tensor& x) {
  if (!v.defined()) return;
  common_device(op, {x, v});
  if (v.shape() == shape && v.dtype() == parameter_dtype(x.dtype())) return;
  throw ShapeError(op + ": " + what + " " + to_string(v.shape()) + " of " + std::string(name(v.dtype())) +
                   " does not fit " + to_string(shape) + " of input " + to_string(x.shape()) + " of " +
                   std::string(name(x.dtype())));
}

Tensor affine(const Tensor& normal, const Tensor& weight, const Tensor& bias, const Shape& shape) {
  const Tensor scaled = weight.defined() ? normal * reshape(weight, shape) : normal;
  return bias.defined() ? scaled + reshape(bias, shape) : scaled;
}

// Checked input and parameters; bf16 is computed in f32.
Tensor grouped(std::string_view op, const Tensor& x, std::int64_t groups, const Tensor& weight, const Tensor& bias,
               double eps) {
  Shape split{x.size(0), groups, groups == 0 ? 0 : x.size(1) / groups};
  Shape channels = Dims::filled(x.rank(), 1);
  channels[1] = x.size(1);
  Dims axes{2};
  for (int i = 2; i < x.rank(); ++i) {
    split.push_back(x.size(i));
    axes.push_back(i + 1);
  }
  const Tensor normal = normalised(op, reshape(x.to(parameter_dtype(x.dtype())), split), axes, eps);
  return affine(reshape(normal, x.shape()), weight, bias, channels).to(x.dtype());
}

}  // namespace

Tensor group_norm(const Tensor& x, std::int64_t groups, const Tensor& weight, const Tensor& bias, double eps) {
  check_float("group_norm", x);
  if (x.rank() < 2 || x.rank() >= kMaxRank)
    throw ShapeError("group_norm: input needs 2 to 7 dimensions (N, C, ...), got " + to_string(x.shape()));
  if (groups < 1 || x.size(1) % groups != 0) {
    throw ValueError("group_norm: " + std::to_string(groups) + " groups do not divide the channels of input " +
                     to_string(x.shape()));
  }
  check_eps("group_norm", eps);
  check_parameter("group_norm", "weight", weight, {x.size(1)}, x);
  check_parameter("group_norm", "bias", bias, {x.size(1)}, x);
  if (x.size() == groups) {
    throw ValueError("group_norm: needs more than one value per group, got input " + to_string(x.shape()) + " with " +
                     std::to_string(groups) + " groups");
  }
  return grouped("group_norm", x, groups, weight, bias, eps);
}

Tensor instance_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  check_float("instance_norm", x);
  if (x.rank() < 3 || x.rank() >= kMaxRank)
    throw ShapeError("instance_norm: input needs 3 to 7 dimensions (N, C, L, ...), got " + to_string(x.shape()));
  check_eps("instance_norm", eps);
  check_parameter("instance_norm", "weight", weight, {x.size(1)}, x);
  check_parameter("instance_norm", "bias", bias, {x.size(1)}, x);
  bool one_value = true;  // the product of the sizes may overflow where there are no images or no channels
  for (int i = 2; i < x.rank(); ++i) one_value = one_value && x.size(i) == 1;
  if (one_value) {
    throw ValueError("instance_norm: needs more than one value per channel, got input " + to_string(x.shape()));
  }
  return grouped("instance_norm", x, x.size(1), weight, bias, eps);
}

Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight, const Tensor& bias,
                  double eps) {
  check_float("layer_norm", x);
  const int last = normalized_shape.rank();
  Shape tail;
  for (int i = std::max(0, x.rank() - last); i < x.rank(); ++i) tail.push_back(x.size(i));
  if (last == 0 || tail != normalized_shape) {
    throw ShapeError("layer_norm: the last axes of input " + to_string(x.shape()) + " must be a normalized_shape of " +
                     "at least one axis, got " + to_string(normalized_shape));
  }
  check_eps("layer_norm", eps);
  check_parameter("layer_norm", "weight", weight, normalized_shape, x);
  check_parameter("layer_norm", "bias", bias, normalized_shape, x);
  Dims axes;
  for (int i = x.rank() - last; i < x.rank(); ++i) axes.push_back(i);
  const Tensor normal = normalised("layer_norm", x.to(parameter_dtype(x.dtype())), axes, eps);
  return affine(normal, weight, bias, normalized_shape).to(x.dtype());
}

}  // namespace weft
