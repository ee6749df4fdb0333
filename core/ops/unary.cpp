#include <numbers>

#include "core/ops/op_support.h"
#include "core/value/number.h"

namespace weft {

namespace {

// The gradient of y = f(x), given the gradient of y and whichever of x and y was saved.
using UnaryGrad = Tensor (*)(const Tensor& g, const Tensor& value);

enum class Saves { nothing, input, output };

Tensor differentiable(UnaryOp op, std::string_view name, const Tensor& x, Saves saves, UnaryGrad grad) {
  const auto backward = [grad](const SavedValues& saved, const Tensor& g) { return Values{grad(g, saved["value"])}; };
  Array out = unary_array(op, x.array());
  if (saves == Saves::nothing) {
    return record(name, std::move(out), {x}, {},
                  [grad](const SavedValues&, const Tensor& g) { return Values{grad(g, Tensor())}; });
  }
  return record(name, std::move(out), {x}, {saves == Saves::input ? Save::input("value", 0) : Save::output("value")},
                backward);
}

void check_numbers(std::string_view name, const Tensor& x) {
  check_computes(name, x.dtype(), x.device());
  if (x.dtype() == DType::boolean) throw DTypeError(std::string(name) + ": takes numbers, not bool");
}

// The gradient as one kernel where nothing is recorded, and as ops that can be recorded elsewhere.
template <BinaryOp op, UnaryGrad composed>
Tensor fused(const Tensor& g, const Tensor& v) {
  if (grad_enabled()) return composed(g, v);
  return Tensor(binary_array("gradient", op, g.array(), v.array()));
}

Tensor sigmoid_grad(const Tensor& g, const Tensor& x) { return g * sigmoid(x) * sigmoid(negative(x)); }

Tensor tanh_grad(const Tensor& g, const Tensor& x) {  // 1 - tanh², which cancels
  const Tensor twice = x * 2;
  return g * sigmoid(twice) * sigmoid(negative(twice)) * 4;
}

// x within bounds, beyond which every exponential in an activation is 0, so that 0 times infinity does not occur.
Tensor bent(const Tensor& x, double bound) { return clamp(x, -bound, bound); }

Tensor silu_grad(const Tensor& g, const Tensor& x) {
  const Tensor v = bent(x, scalar::formula::Range<double>::end);
  return g * sigmoid(v) * (v * sigmoid(negative(v)) + 1);
}

Tensor gelu_grad(const Tensor& g, const Tensor& x) {
  const Tensor v = bent(x, scalar::formula::Range<double>::normal_end);
  const Tensor cdf = erfc(v * (-1 / std::numbers::sqrt2)) * 0.5;
  const Tensor density = exp(square(v) * -0.5) * (std::numbers::inv_sqrtpi / std::numbers::sqrt2);
  return g * (cdf + v * density);
}

// gelu by tanh is x·sigmoid(w) with w = 2√(2/π)·(x + 0.044715x³).
Tensor gelu_tanh_grad(const Tensor& g, const Tensor& x) {
  constexpr double scale = 1.59576912160573071176;
  const Tensor v = bent(x, scalar::formula::Range<double>::cubic_end);
  const Tensor w = (v + v * square(v) * 0.044715) * scale;
  const Tensor slope = (square(v) * (3 * 0.044715) + 1) * scale;
  return g * sigmoid(w) * (v * slope * sigmoid(negative(w)) + 1);
}

Tensor hardsigmoid_grad(const Tensor& g, const Tensor& x) {
  const Tensor v = x.detach();
  const Tensor rises = logical_and(greater(v, scalar_like(v, -3)), less(v, scalar_like(v, 3)));
  return where(rises, g / 6, scalar_like(g, 0));
}

Tensor hardswish_grad(const Tensor& g, const Tensor& x) {
  const Tensor v = x.detach();
  const Tensor above = greater_equal(v, scalar_like(v, 3));
  const Tensor bends = logical_and(greater(v, scalar_like(v, -3)), logical_not(above));
  return g * where(bends, (where(bends, x, scalar_like(x, 0)) + 1.5) / 3, above.to(x.dtype()));
}

/// A function of numbers of any dtype except bool.
Tensor of_numbers(UnaryOp op, const Tensor& x, Saves saves, UnaryGrad grad) {
  check_numbers(name(op), x);
  return differentiable(op, name(op), x, saves, grad);
}

/// A function of floating-point numbers, to which integers are converted.
Tensor of_floats(UnaryOp op, const Tensor& x, Saves saves, UnaryGrad grad) {
  return differentiable(op, name(op), floating(name(op), x), saves, grad);
}

}  // namespace

Tensor negative(const Tensor& x) {
  return of_numbers(UnaryOp::negative, x, Saves::nothing, [](const Tensor& g, const Tensor&) { return negative(g); });
}
Tensor abs(const Tensor& x) {
  return of_numbers(UnaryOp::abs, x, Saves::input, [](const Tensor& g, const Tensor& v) { return g * sign(v); });
}
Tensor sign(const Tensor& x) {
  return of_numbers(UnaryOp::sign, x, Saves::nothing, [](const Tensor& g, const Tensor&) { return zeros_like(g); });
}
Tensor square(const Tensor& x) {
  return of_numbers(UnaryOp::square, x, Saves::input, [](const Tensor& g, const Tensor& v) { return g * v * 2; });
}
Tensor reciprocal(const Tensor& x) {
  return of_floats(UnaryOp::reciprocal, x, Saves::output,
                   [](const Tensor& g, const Tensor& y) { return negative(g * y * y); });
}
Tensor sqrt(const Tensor& x) {
  return of_floats(UnaryOp::sqrt, x, Saves::output, [](const Tensor& g, const Tensor& y) { return g / (y * 2); });
}
Tensor rsqrt(const Tensor& x) {
  return of_floats(UnaryOp::rsqrt, x, Saves::output,
                   [](const Tensor& g, const Tensor& y) { return g * -0.5 * y * y * y; });
}
Tensor exp(const Tensor& x) {
  return of_floats(UnaryOp::exp, x, Saves::output, [](const Tensor& g, const Tensor& y) { return g * y; });
}
Tensor expm1(const Tensor& x) {
  return of_floats(UnaryOp::expm1, x, Saves::input, [](const Tensor& g, const Tensor& v) { return g * exp(v); });
}
Tensor log(const Tensor& x) {
  return of_floats(UnaryOp::log, x, Saves::input, [](const Tensor& g, const Tensor& v) { return g / v; });
}
Tensor log1p(const Tensor& x) {
  return of_floats(UnaryOp::log1p, x, Saves::input, [](const Tensor& g, const Tensor& v) { return g / (v + 1); });
}
Tensor log2(const Tensor& x) {
  return of_floats(UnaryOp::log2, x, Saves::input,
                   [](const Tensor& g, const Tensor& v) { return g * (1 / std::numbers::ln2) / v; });
}
Tensor log10(const Tensor& x) {
  return of_floats(UnaryOp::log10, x, Saves::input,
                   [](const Tensor& g, const Tensor& v) { return g * (1 / std::numbers::ln10) / v; });
}
Tensor sin(const Tensor& x) {
  return of_floats(UnaryOp::sin, x, Saves::input, [](const Tensor& g, const Tensor& v) { return g * cos(v); });
}
Tensor cos(const Tensor& x) {
  return of_floats(UnaryOp::cos, x, Saves::input,
                   [](const Tensor& g, const Tensor& v) { return negative(g * sin(v)); });
}
Tensor tan(const Tensor& x) {
  return of_floats(UnaryOp::tan, x, Saves::output,
                   [](const Tensor& g, const Tensor& y) { return g * (square(y) + 1); });
}
Tensor asin(const Tensor& x) {
  return of_floats(UnaryOp::asin, x, Saves::input,
                   [](const Tensor& g, const Tensor& v) { return g * rsqrt((1 - v) * (1 + v)); });
}
Tensor acos(const Tensor& x) {
  return of_floats(UnaryOp::acos, x, Saves::input,
                   [](const Tensor& g, const Tensor& v) { return negative(g * rsqrt((1 - v) * (1 + v))); });
}
Tensor atan(const Tensor& x) {
  return of_floats(UnaryOp::atan, x, Saves::input,
                   [](const Tensor& g, const Tensor& v) { return g * atan2_slope(scalar_like(v, 1), v); });
}
Tensor sinh(const Tensor& x) {
  return of_floats(UnaryOp::sinh, x, Saves::input, [](const Tensor& g, const Tensor& v) { return g * cosh(v); });
}
Tensor cosh(const Tensor& x) {
  return of_floats(UnaryOp::cosh, x, Saves::input, [](const Tensor& g, const Tensor& v) { return g * sinh(v); });
}
Tensor tanh(const Tensor& x) {
  return of_floats(UnaryOp::tanh, x, Saves::input, fused<BinaryOp::tanh_grad, tanh_grad>);
}
Tensor erf(const Tensor& x) {
  return of_floats(UnaryOp::erf, x, Saves::input, [](const Tensor& g, const Tensor& v) {
    return g * exp(negative(square(v))) * (2 * std::numbers::inv_sqrtpi);
  });
}
Tensor erfc(const Tensor& x) {
  return of_floats(UnaryOp::erfc, x, Saves::input, [](const Tensor& g, const Tensor& v) {
    return g * exp(negative(square(v))) * (-2 * std::numbers::inv_sqrtpi);
  });
}
Tensor sigmoid(const Tensor& x) {
  return of_floats(UnaryOp::sigmoid, x, Saves::input, fused<BinaryOp::sigmoid_grad, sigmoid_grad>);
}
Tensor silu(const Tensor& x) {
  return of_floats(UnaryOp::silu, x, Saves::input, fused<BinaryOp::silu_grad, silu_grad>);
}
Tensor hardsigmoid(const Tensor& x) { return of_floats(UnaryOp::hardsigmoid, x, Saves::input, hardsigmoid_grad); }
Tensor hardswish(const Tensor& x) {
  return of_floats(UnaryOp::hardswish, x, Saves::input, fused<BinaryOp::hardswish_grad, hardswish_grad>);
}

Tensor relu(const Tensor& x) {
  if (is_integer(x.dtype())) return maximum(x, 0);
  return differentiable(UnaryOp::relu, "relu", floating("relu", x), Saves::output, relu_grad);
}

namespace {

Tensor rounded(UnaryOp op, std::string_view name, const Tensor& x) {
  if (is_integer(x.dtype())) return clone(x);
  return differentiable(op, name, floating(name, x), Saves::nothing,
                        [](const Tensor& g, const Tensor&) { return zeros_like(g); });
}

}  // namespace

Tensor floor(const Tensor& x) { return rounded(UnaryOp::floor, "floor", x); }
Tensor ceil(const Tensor& x) { return rounded(UnaryOp::ceil, "ceil", x); }
Tensor round(const Tensor& x) { return rounded(UnaryOp::round, "round", x); }

Tensor gelu(const Tensor& x, bool tanh_approximation) {
  const Tensor input = floating("gelu", x);
  if (tanh_approximation) {
    return differentiable(UnaryOp::gelu_tanh, "gelu", input, Saves::input,
                          fused<BinaryOp::gelu_tanh_grad, gelu_tanh_grad>);
  }
  return differentiable(UnaryOp::gelu, "gelu", input, Saves::input, fused<BinaryOp::gelu_grad, gelu_grad>);
}

namespace {

// A lower bound below, or an upper one above, all numbers of an integer dtype is none.
std::optional<Scalar> bound_within(DType dtype, const std::optional<Scalar>& bound, bool lower) {
  if (!bound || fits(*bound, dtype)) return bound;
  if ((bound->as_int() < 0) == lower) return std::nullopt;
  throw ValueError("clamp: no " + std::string(name(dtype)) + (lower ? " reaches low " : " is as small as high ") +
                   to_string(*bound));
}

}  // namespace

Tensor clamp(const Tensor& x, std::optional<Scalar> low, std::optional<Scalar> high) {
  check_numbers("clamp", x);
  if (low && high && low->as_double() > high->as_double()) {
    throw ValueError("clamp: low " + to_string(*low) + " exceeds high " + to_string(*high));
  }
  DType dtype = x.dtype();
  if (low) dtype = promote(dtype, scalar_dtype(x.dtype(), *low));
  if (high) dtype = promote(dtype, scalar_dtype(x.dtype(), *high));
  low = bound_within(dtype, low, true);
  high = bound_within(dtype, high, false);
  const Tensor input = x.to(dtype);
  Tensor y = low || high ? input.detach() : clone(input.detach());
  if (low) y = maximum(y, *low);
  if (high) y = minimum(y, *high);
  return record("clamp", y.array(), {input}, {Save::input("x", 0)},
                [low, high](const SavedValues& saved, const Tensor& g) {
                  const Tensor value = saved["x"].detach();
                  Tensor inside = full({}, true, {.dtype = DType::boolean, .device = g.device()});
                  if (low) inside = logical_and(inside, greater_equal(value, scalar_like(value, *low)));
                  if (high) inside = logical_and(inside, less_equal(value, scalar_like(value, *high)));
                  return Values{where(inside, g, scalar_like(g, 0))};
                });
}

Tensor is_nan(const Tensor& x) {
  check_computes("is_nan", x.dtype(), x.device());
  return Tensor(unary_array(UnaryOp::is_nan, x.array()));
}

Tensor is_finite(const Tensor& x) {
  check_computes("is_finite", x.dtype(), x.device());
  return Tensor(unary_array(UnaryOp::is_finite, x.array()));
}

}  // namespace weft
