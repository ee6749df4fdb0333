#include <limits>

#include "core/ops/op_support.h"
#include "core/value/number.h"
#include "core/value/views.h"

namespace weft {

namespace {

using BinaryGrad = Tensor (*)(const Tensor& g, const Tensor& a, const Tensor& b);

struct Operands {
  Tensor a;
  Tensor b;
};

Operands promoted(std::string_view name, const Tensor& a, const Tensor& b, bool floating = false) {
  common_device(name, {a, b});
  DType dtype = result_dtype(a, b);
  check_computes(name, dtype, a.device());
  if (floating && !is_floating_point(dtype)) dtype = DType::f32;
  return {a.to(dtype), b.to(dtype)};
}

Operands numbers(std::string_view name, const Tensor& a, const Tensor& b, bool floating = false) {
  Operands operands = promoted(name, a, b, floating);
  if (operands.a.dtype() == DType::boolean)
    throw DTypeError(std::string(name) + ": takes numbers, not two bool operands");
  return operands;
}

// Broadcasting is undone behind the product, so that `grad` sees the full shape.
Tensor differentiable(BinaryOp op, std::string_view name, const Operands& operands, BinaryGrad grad_a,
                      BinaryGrad grad_b) {
  const Shape shape_a = operands.a.shape();
  const Shape shape_b = operands.b.shape();
  return record(name, binary_array(name, op, operands.a.array(), operands.b.array()), {operands.a, operands.b},
                {Save::input("a", 0), Save::input("b", 1)}, [=](const SavedValues& saved, const Tensor& g) {
                  const Tensor a = saved["a"];
                  const Tensor b = saved["b"];
                  return Values{saved.needs(0) ? sum_to(grad_a(g, a, b), shape_a) : Tensor(),
                                saved.needs(1) ? sum_to(grad_b(g, a, b), shape_b) : Tensor()};
                });
}

// add and subtract need neither operand again.
Tensor linear_combination(BinaryOp op, std::string_view name, const Operands& operands) {
  const Shape shape_a = operands.a.shape();
  const Shape shape_b = operands.b.shape();
  const bool minus = op == BinaryOp::subtract;
  return record(name, binary_array(name, op, operands.a.array(), operands.b.array()), {operands.a, operands.b}, {},
                [=](const SavedValues& saved, const Tensor& g) {
                  return Values{saved.needs(0) ? sum_to(g, shape_a) : Tensor(),
                                saved.needs(1) ? sum_to(minus ? negative(g) : g, shape_b) : Tensor()};
                });
}

Tensor zero_grad(const Tensor& g, const Tensor&, const Tensor&) { return zeros_like(g); }

// 1 where a wins, 1/2 where the operands are equal.
Tensor share(const Tensor& wins, const Tensor& ties, const Tensor& g) {
  return g * (wins.to(g.dtype()) + ties.to(g.dtype()) * 0.5);
}

bool both_boolean(const Tensor& a, const Tensor& b) {
  return a.dtype() == DType::boolean && b.dtype() == DType::boolean;
}

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) {
  if (both_boolean(a, b)) return logical_or(a, b);
  return linear_combination(BinaryOp::add, "add", promoted("add", a, b));
}

Tensor subtract(const Tensor& a, const Tensor& b) {
  return linear_combination(BinaryOp::subtract, "subtract", numbers("subtract", a, b));
}

Tensor multiply(const Tensor& a, const Tensor& b) {
  if (both_boolean(a, b)) return logical_and(a, b);
  return differentiable(
      BinaryOp::multiply, "multiply", promoted("multiply", a, b),
      [](const Tensor& g, const Tensor&, const Tensor& y) { return g * y; },
      [](const Tensor& g, const Tensor& x, const Tensor&) { return g * x; });
}

Tensor divide(const Tensor& a, const Tensor& b) {
  const Operands operands = promoted("divide", a, b, true);
  const Shape shape_a = operands.a.shape();
  const Shape shape_b = operands.b.shape();
  std::vector<Save> saves{Save::input("b", 1)};
  if (is_recorded({operands.b})) saves.push_back(Save::output("quotient"));
  return record("divide", binary_array("divide", BinaryOp::divide, operands.a.array(), operands.b.array()),
                {operands.a, operands.b}, saves, [shape_a, shape_b](const SavedValues& saved, const Tensor& g) {
                  const Tensor y = saved["b"];
                  // By the quotient: the square of y over- and underflows before the gradient does.
                  return Values{saved.needs(0) ? sum_to(g / y, shape_a) : Tensor(),
                                saved.needs(1) ? sum_to(negative(g * (saved["quotient"] / y)), shape_b) : Tensor()};
                });
}

Tensor floor_divide(const Tensor& a, const Tensor& b) {
  return differentiable(BinaryOp::floor_divide, "floor_divide", numbers("floor_divide", a, b), zero_grad, zero_grad);
}

Tensor remainder(const Tensor& a, const Tensor& b) {
  return differentiable(
      BinaryOp::remainder, "remainder", numbers("remainder", a, b),
      [](const Tensor& g, const Tensor&, const Tensor&) { return g; },
      [](const Tensor& g, const Tensor& x, const Tensor& y) { return negative(g * floor_divide(x, y)); });
}

Tensor power(const Tensor& a, const Tensor& b) {
  return differentiable(
      BinaryOp::power, "power", numbers("power", a, b),
      [](const Tensor& g, const Tensor& x, const Tensor& y) {  // 0 where the exponent is 0, also for x = 0
        const Tensor zero = scalar_like(g, 0), one = scalar_like(g, 1);
        // x^(y - 1) of a small exponent may leave the range where y times it does not, and y - 1 is rounded.
        const Tensor divides = logical_and(less(y, scalar_like(g, 0.5)), logical_and(not_equal(x, zero), is_finite(x)));
        const Tensor product = g * y * power(x, where(divides, y, y - 1));
        return where(equal(y, zero), zero, product / where(divides, x, one));
      },
      [](const Tensor& g, const Tensor& x, const Tensor& y) {
        const Tensor zero = scalar_like(g, 0), infinity = scalar_like(g, std::numeric_limits<double>::infinity());
        // x^y stays 0 where x = 0 and the exponent is not negative, and where x is infinite and it is.
        const Tensor flat = logical_or(logical_and(equal(x, zero), greater_equal(y, zero)),
                                       logical_and(equal(x, infinity), less(y, zero)));
        const Tensor base = where(flat, scalar_like(g, 1), x), half = power(base, y * 0.5);
        return where(flat, zero, g * half * log(base) * half);
      });
}

Tensor power(const Tensor& a, Scalar b) {
  const double exponent = b.as_double();
  if (is_floating_point(a.dtype())) {
    if (exponent == 2) return square(a);
    if (exponent == 3) return square(a) * a;
    if (exponent == 0.5) return sqrt(a);
    if (exponent == -1) return 1 / a;
  } else if (b.is_integer() && exponent < 0) {
    throw ValueError("power: integers have no power of " + to_string(b));
  }
  return power(a, scalar_operand("power", a, b));
}

Tensor maximum(const Tensor& a, const Tensor& b) {
  if (both_boolean(a, b)) return logical_or(a, b);
  return differentiable(
      BinaryOp::maximum, "maximum", promoted("maximum", a, b),
      [](const Tensor& g, const Tensor& x, const Tensor& y) { return share(greater(x, y), equal(x, y), g); },
      [](const Tensor& g, const Tensor& x, const Tensor& y) { return share(less(x, y), equal(x, y), g); });
}

Tensor minimum(const Tensor& a, const Tensor& b) {
  if (both_boolean(a, b)) return logical_and(a, b);
  return differentiable(
      BinaryOp::minimum, "minimum", promoted("minimum", a, b),
      [](const Tensor& g, const Tensor& x, const Tensor& y) { return share(less(x, y), equal(x, y), g); },
      [](const Tensor& g, const Tensor& x, const Tensor& y) { return share(greater(x, y), equal(x, y), g); });
}

Tensor atan2_slope(const Tensor& u, const Tensor& v) {
  if (!grad_enabled()) return Tensor(binary_array("atan2_slope", BinaryOp::atan2_slope, u.array(), v.array()));
  const auto recorded = [&](auto range) {  // as formula::atan2_slope
    using Range = decltype(range);
    const Tensor larger = maximum(abs(u.detach()), abs(v.detach())), one = scalar_like(larger, 1);
    const Tensor infinite = equal(larger, scalar_like(larger, std::numeric_limits<double>::infinity()));
    const Tensor size = where(infinite, one, larger);
    const Tensor small = where(less(size, scalar_like(size, Range::small)), scalar_like(size, Range::up), one);
    const Tensor factor = where(greater(size, scalar_like(size, Range::large)), scalar_like(size, Range::down), small);
    const Tensor x = where(infinite, scalar_like(size, 0), u) * factor, y = where(infinite, one, v) * factor;
    return x / (square(x) + square(y)) * factor;
  };
  return u.dtype() == DType::f64 ? recorded(scalar::formula::Range<double>())
                                 : recorded(scalar::formula::Range<float>());
}

Tensor atan2(const Tensor& y, const Tensor& x) {
  return differentiable(
      BinaryOp::atan2, "atan2", promoted("atan2", y, x, true),
      [](const Tensor& g, const Tensor& v, const Tensor& u) { return g * atan2_slope(u, v); },
      [](const Tensor& g, const Tensor& v, const Tensor& u) { return negative(g * atan2_slope(v, u)); });
}

Tensor weighted(const Tensor& weight, const Tensor& x) {
  return differentiable(
      BinaryOp::weighted, "weighted", promoted("weighted", weight, x, true),
      [](const Tensor& g, const Tensor&, const Tensor& v) { return g * v; },
      [](const Tensor& g, const Tensor& w, const Tensor&) { return g * w; });
}

Tensor relu_grad(const Tensor& g, const Tensor& y) {
  const Tensor mask = y.detach();
  return record("relu_grad", binary_array("relu_grad", BinaryOp::relu_grad, g.array(), mask.array()), {g},
                {Save::constant("mask", mask.array())},
                [](const SavedValues& saved, const Tensor& gg) { return Values{relu_grad(gg, saved["mask"])}; });
}

Tensor add(const Tensor& a, Scalar b) { return add(a, scalar_operand("add", a, b)); }
Tensor subtract(const Tensor& a, Scalar b) { return subtract(a, scalar_operand("subtract", a, b)); }
Tensor subtract(Scalar a, const Tensor& b) { return subtract(scalar_operand("subtract", b, a), b); }
Tensor multiply(const Tensor& a, Scalar b) { return multiply(a, scalar_operand("multiply", a, b)); }
Tensor divide(const Tensor& a, Scalar b) { return divide(a, scalar_operand("divide", a, b.as_double())); }
Tensor divide(Scalar a, const Tensor& b) { return divide(scalar_operand("divide", b, a.as_double()), b); }
Tensor floor_divide(const Tensor& a, Scalar b) { return floor_divide(a, scalar_operand("floor_divide", a, b)); }
Tensor remainder(const Tensor& a, Scalar b) { return remainder(a, scalar_operand("remainder", a, b)); }
Tensor maximum(const Tensor& a, Scalar b) { return maximum(a, scalar_operand("maximum", a, b)); }
Tensor minimum(const Tensor& a, Scalar b) { return minimum(a, scalar_operand("minimum", a, b)); }
Tensor where(const Tensor& condition, const Tensor& a, Scalar b) {
  return where(condition, a, scalar_operand("where", a, b));
}
Tensor where(const Tensor& condition, Scalar a, const Tensor& b) {
  return where(condition, scalar_operand("where", b, a), b);
}

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  const Device& device = common_device("where", {condition, a, b});
  if (condition.dtype() != DType::boolean) {
    throw DTypeError("where: the condition is " + std::string(name(condition.dtype())) + ", not bool");
  }
  const DType dtype = result_dtype(a, b);
  const Tensor x = a.to(dtype);
  const Tensor y = b.to(dtype);
  const Shape shape = layout::broadcast("where", condition.shape(), layout::broadcast("where", x.shape(), y.shape()));
  const auto spread = [&](const Tensor& t) {
    return t.array().view(layout::expand("where", t.array().layout(), shape));
  };
  const Array wide_x = spread(x);
  const Array wide_y = spread(y);
  Array out = Array::empty_like(
      layout::dense_like(wide_x.layout().is_dense() ? wide_x.layout() : wide_y.layout(), shape), dtype, device);
  backend(device)->where(const_view(spread(condition)), const_view(wide_x), const_view(wide_y), mutable_view(out));
  const Shape shape_x = x.shape();
  const Shape shape_y = y.shape();
  return record("where", std::move(out), {x, y}, {Save::constant("condition", condition.array())},
                [shape_x, shape_y](const SavedValues& saved, const Tensor& g) {
                  const Tensor zero = scalar_like(g, 0);
                  return Values{saved.needs(0) ? sum_to(where(saved["condition"], g, zero), shape_x) : Tensor(),
                                saved.needs(1) ? sum_to(where(saved["condition"], zero, g), shape_y) : Tensor()};
                });
}

}  // namespace weft
