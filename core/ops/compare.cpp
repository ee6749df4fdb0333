#include "weft/compare.h"

#include <cmath>

#include "core/device/convert.h"
#include "core/ops/op_support.h"
#include "core/value/number.h"

namespace weft {

namespace {

/// The op that gives op(a, b) as result(b, a).
BinaryOp mirrored(BinaryOp op) {
  switch (op) {
    case BinaryOp::less:
      return BinaryOp::greater;
    case BinaryOp::less_equal:
      return BinaryOp::greater_equal;
    case BinaryOp::greater:
      return BinaryOp::less;
    case BinaryOp::greater_equal:
      return BinaryOp::less_equal;
    default:
      return op;
  }
}

/// Whether op holds for two numbers of which the first is smaller (order < 0), equal (0) or larger (> 0).
bool holds(BinaryOp op, int order) {
  switch (op) {
    case BinaryOp::equal:
      return order == 0;
    case BinaryOp::not_equal:
      return order != 0;
    case BinaryOp::less:
      return order < 0;
    case BinaryOp::less_equal:
      return order <= 0;
    case BinaryOp::greater:
      return order > 0;
    default:
      return order >= 0;
  }
}

/// The smallest dtype that holds all values of both, or none: i64 and a floating dtype have none.
std::optional<DType> exact_dtype(DType a, DType b) {
  if (a == b) return a;
  if (is_floating_point(a) && is_floating_point(b)) {
    return a == DType::f64 || b == DType::f64 ? DType::f64 : DType::f32;
  }
  if (!is_floating_point(a) && !is_floating_point(b)) return promote(a, b);
  if (a == DType::i64 || b == DType::i64) return std::nullopt;
  return a == DType::i32 || b == DType::i32 || a == DType::f64 || b == DType::f64 ? DType::f64 : DType::f32;
}

/// Operands of one dtype.
Tensor compared(BinaryOp op, const Array& a, const Array& b) { return Tensor(binary_array(name(op), op, a, b)); }

Array number_of(Scalar value, DType dtype, const Device& device) { return Array::full({}, value, dtype, device); }

/// Compares i64 with a floating tensor. An integer is below y exactly where it is below the smallest integer that is
/// not below y, and so on; beyond the range of i64 only the sign of y counts.
Tensor compare_integers(BinaryOp op, const Array& integers, const Array& floats) {
  const Tensor y(floats.to(DType::f64));
  const bool by_ceiling = op == BinaryOp::less || op == BinaryOp::greater_equal;
  const Tensor whole = by_ceiling ? ceil(y) : floor(y);
  const Tensor above = whole >= 0x1p63, below = whole < -0x1p63;  // false of NaN
  const Tensor within = logical_not(above | below | is_nan(y));
  Tensor result = compared(op, integers, where(within, whole, 0).array().to(DType::i64));
  if (op == BinaryOp::equal) result = result & (whole == y);
  if (op == BinaryOp::not_equal) result = result | (whole != y);
  const auto otherwise = [&](const Tensor& condition, bool value) {
    result = value ? result | condition : result & !condition;
  };
  otherwise(above, holds(op, -1));
  otherwise(below, holds(op, 1));
  otherwise(is_nan(y), op == BinaryOp::not_equal);
  return result;
}

Tensor compare(BinaryOp op, const Tensor& a, const Tensor& b) {
  const Device& device = common_device(name(op), {a, b});
  check_computes(name(op), a.dtype(), device);
  check_computes(name(op), b.dtype(), device);
  if (const std::optional<DType> dtype = exact_dtype(a.dtype(), b.dtype()))
    return compared(op, a.array().to(*dtype), b.array().to(*dtype));
  return a.dtype() == DType::i64 ? compare_integers(op, a.array(), b.array())
                                 : compare_integers(mirrored(op), b.array(), a.array());
}

Tensor constant(const Tensor& x, bool value) {
  return full(x.shape(), value, {.dtype = DType::boolean, .device = x.device()});
}

/// The value that a floating dtype gives to a number.
double rounded_to(DType dtype, double value) {
  switch (dtype) {
    case DType::f16:
      return scalar::widen(scalar::convert<scalar::Half>(value));
    case DType::bf16:
      return scalar::widen(scalar::convert<scalar::Bfloat>(value));
    case DType::f32:
      return static_cast<float>(value);
    default:
      return value;
  }
}

/// Compares floating numbers with a number: in x's dtype where that gives the same, otherwise in f64, and beside i64
/// where f64 does not hold the integer.
Tensor compare_floats(BinaryOp op, const Tensor& x, Scalar value) {
  const double number = value.as_double(), nearest = rounded_to(x.dtype(), number);
  DType dtype = x.dtype();
  if (value.dtype() == DType::i64) {
    if (!value.is_integer() || std::abs(number) >= 0x1p53)
      return compare(op, x, full({}, value, {.device = x.device()}));
    if (nearest != number) dtype = DType::f64;
  } else if (std::isinf(nearest) && !std::isinf(number)) {
    dtype = DType::f64;
  }
  return compared(op, x.array().to(dtype), number_of(value, dtype, x.device()));
}

/// Compares integers or bool with a number.
Tensor compare_whole(BinaryOp op, const Tensor& x, Scalar value) {
  if (value.is_floating_point()) {
    const double number = value.as_double();
    if (std::isnan(number)) return constant(x, op == BinaryOp::not_equal);
    if (number != std::floor(number)) {  // between two integers
      if (op == BinaryOp::equal || op == BinaryOp::not_equal) return constant(x, op == BinaryOp::not_equal);
      const bool below = op == BinaryOp::less || op == BinaryOp::less_equal;
      return compare_whole(below ? BinaryOp::less_equal : BinaryOp::greater_equal, x,
                           below ? std::floor(number) : std::ceil(number));
    }
    if (!value.fits(63, true)) return constant(x, holds(op, number < 0 ? 1 : -1));
    value = static_cast<std::int64_t>(number);
  }
  const bool fits_dtype = x.dtype() == DType::boolean ? value.fits(1, false) : fits(value, x.dtype());
  if (!fits_dtype) return constant(x, holds(op, value.as_int() < 0 ? 1 : -1));
  return compared(op, x.array(), number_of(value, x.dtype(), x.device()));
}

Tensor compare(BinaryOp op, const Tensor& x, Scalar value) {
  check_computes(name(op), x.dtype(), common_device(name(op), {x}));
  return is_floating_point(x.dtype()) ? compare_floats(op, x, value) : compare_whole(op, x, value);
}

Tensor logical(BinaryOp op, std::string_view name, const Tensor& a, const Tensor& b) {
  const Device& device = common_device(name, {a, b});
  const DType dtype = promote(a.dtype(), b.dtype());
  check_computes(name, dtype, device);
  return Tensor(binary_array(name, op, a.array().to(dtype), b.array().to(dtype)));
}

void check_boolean(std::string_view op, std::initializer_list<Tensor> operands) {
  common_device(op, operands);
  for (const Tensor& x : operands) {
    if (x.dtype() != DType::boolean)
      throw DTypeError(std::string(op) + ": takes bool, not " + std::string(name(x.dtype())));
  }
}

bool holds_everywhere(const Tensor& condition) { return condition.size() == 0 || min(condition).item<bool>(); }

}  // namespace

Tensor equal(const Tensor& a, const Tensor& b) { return compare(BinaryOp::equal, a, b); }
Tensor not_equal(const Tensor& a, const Tensor& b) { return compare(BinaryOp::not_equal, a, b); }
Tensor less(const Tensor& a, const Tensor& b) { return compare(BinaryOp::less, a, b); }
Tensor less_equal(const Tensor& a, const Tensor& b) { return compare(BinaryOp::less_equal, a, b); }
Tensor greater(const Tensor& a, const Tensor& b) { return compare(BinaryOp::greater, a, b); }
Tensor greater_equal(const Tensor& a, const Tensor& b) { return compare(BinaryOp::greater_equal, a, b); }
Tensor equal(const Tensor& a, Scalar b) { return compare(BinaryOp::equal, a, b); }
Tensor not_equal(const Tensor& a, Scalar b) { return compare(BinaryOp::not_equal, a, b); }
Tensor less(const Tensor& a, Scalar b) { return compare(BinaryOp::less, a, b); }
Tensor less_equal(const Tensor& a, Scalar b) { return compare(BinaryOp::less_equal, a, b); }
Tensor greater(const Tensor& a, Scalar b) { return compare(BinaryOp::greater, a, b); }
Tensor greater_equal(const Tensor& a, Scalar b) { return compare(BinaryOp::greater_equal, a, b); }

Tensor logical_not(const Tensor& x) {
  check_computes("logical_not", x.dtype(), common_device("logical_not", {x}));
  return Tensor(unary_array(UnaryOp::logical_not, x.array()));
}
Tensor logical_and(const Tensor& a, const Tensor& b) { return logical(BinaryOp::logical_and, "logical_and", a, b); }
Tensor logical_or(const Tensor& a, const Tensor& b) { return logical(BinaryOp::logical_or, "logical_or", a, b); }
Tensor logical_xor(const Tensor& a, const Tensor& b) { return logical(BinaryOp::logical_xor, "logical_xor", a, b); }

Tensor operator&(const Tensor& a, const Tensor& b) {
  check_boolean("operator&", {a, b});
  return logical_and(a, b);
}
Tensor operator|(const Tensor& a, const Tensor& b) {
  check_boolean("operator|", {a, b});
  return logical_or(a, b);
}
Tensor operator^(const Tensor& a, const Tensor& b) {
  check_boolean("operator^", {a, b});
  return logical_xor(a, b);
}
Tensor operator!(const Tensor& x) {
  check_boolean("operator!", {x});
  return logical_not(x);
}

bool array_equal(const Tensor& a, const Tensor& b) {
  common_device("array_equal", {a, b});
  return a.shape() == b.shape() && holds_everywhere(equal(a, b));
}

bool allclose(const Tensor& a, const Tensor& b, const AllcloseOptions& options) {
  common_device("allclose", {a, b});
  if (!(options.rtol >= 0) || !(options.atol >= 0)) {
    throw ValueError("allclose: tolerances must not be negative, got rtol " + number(options.rtol) + " and atol " +
                     number(options.atol));
  }
  const Tensor x = a.detach().to(DType::f64), y = b.detach().to(DType::f64);
  Tensor close = equal(x, y) | (is_finite(y) & (abs(x - y) <= options.atol + options.rtol * abs(y)));
  if (options.equal_nan) close = close | (is_nan(x) & is_nan(y));
  return holds_everywhere(close);
}

}  // namespace weft
