#include "core/ops/op_support.h"
#include "core/value/views.h"

namespace weft {

namespace {

/// Throws unless the elements of x can be written in place, from values that take part in automatic differentiation or
/// not.
void check_writable(std::string_view op, const Tensor& x, bool source_has_gradient) {
  if (!x.defined()) throw ValueError(std::string(op) + ": the tensor is undefined");
  if (!x.is_leaf()) {
    throw AutogradError(
        std::string(op) +
        ": the tensor has a graph, which a write in place would make wrong; detach() gives one without");
  }
  if (grad_enabled() && x.requires_grad()) {
    throw AutogradError(std::string(op) +
                        ": the tensor requires a gradient, which a write in place has not; NoGrad permits it");
  }
  if (grad_enabled() && source_has_gradient) {
    throw AutogradError(
        std::string(op) +
        ": the operand requires a gradient, which a write in place has not; use its detach(), or NoGrad");
  }
  if (layout::may_overlap(x.array().layout())) {
    throw ShapeError(std::string(op) + ": elements of shape " + to_string(x.shape()) + " with strides " +
                     to_string(x.array().strides()) + " may share memory; clone() gives each its own");
  }
}

/// The operand as the target takes it: on its device, of its dtype, and apart from its memory.
Array operand_of(std::string_view op, const Tensor& target, const Tensor& x) {
  common_device(op, {target, x});
  const DType dtype = target.dtype();
  const bool holds =
      is_floating_point(dtype) || x.dtype() == DType::boolean || (dtype != DType::boolean && is_integer(x.dtype()));
  if (!holds) {
    throw DTypeError(std::string(op) + ": the operand is " + std::string(name(x.dtype())) + ", which " +
                     std::string(name(dtype)) + " does not hold");
  }
  Array values = x.array().to(dtype);
  values = values.view(layout::expand(op, values.layout(), target.shape()));
  const bool same_elements =
      values.layout().offset == target.array().layout().offset && values.strides() == target.array().strides();
  return values.storage() == target.array().storage() && !same_elements ? values.clone() : values;
}

Tensor update(std::string_view op, BinaryOp kind, const Tensor& target, const Tensor& x) {
  const Array operand = operand_of(op, target, x);
  check_computes(op, target.dtype(), target.device());
  const View out = mutable_view(target.array());
  backend(target.device())->binary(kind, const_view(target.array()), const_view(operand), out);
  target.array().storage()->bump_version();
  return target;
}

/// a op= b gives a another tensor, so a leaf whose gradient is wanted would be lost.
void check_replaceable(std::string_view op, const Tensor& a) {
  if (a.is_leaf() && a.requires_grad()) {
    throw AutogradError(std::string(op) +
                        ": the tensor is a leaf that requires a gradient, and the result would be another tensor; "
                        "write it in place under NoGrad");
  }
}

}  // namespace

Tensor Tensor::fill_(Scalar value) {
  check_writable("fill_", *this, false);
  Array target = array();
  target.fill(value);
  return *this;
}

Tensor Tensor::copy_(const Tensor& source) {
  if (!source.defined()) throw ValueError("copy_: the source is undefined");
  check_writable("copy_", *this, source.requires_grad());
  Array target = array();
  layout::expand("copy_", source.array().layout(), shape());
  target.copy_from(source.array());
  return *this;
}

Tensor Tensor::add_(const Tensor& x, Scalar alpha) {
  check_writable("add_", *this, x.requires_grad());
  if (alpha.as_double() == 1) return update("add_", BinaryOp::add, *this, x);
  return update("add_", BinaryOp::add, *this, multiply(x.detach(), scalar_operand("add_", x, alpha)));
}

Tensor Tensor::add_(Scalar value) {
  check_writable("add_", *this, false);
  return update("add_", BinaryOp::add, *this, scalar_operand("add_", *this, value));
}

Tensor Tensor::mul_(const Tensor& x) {
  check_writable("mul_", *this, x.requires_grad());
  return update("mul_", BinaryOp::multiply, *this, x);
}

Tensor Tensor::mul_(Scalar value) {
  check_writable("mul_", *this, false);
  return update("mul_", BinaryOp::multiply, *this, scalar_operand("mul_", *this, value));
}

Tensor& operator+=(Tensor& a, const Tensor& b) {
  check_replaceable("operator+=", a);
  return a = add(a, b);
}
Tensor& operator-=(Tensor& a, const Tensor& b) {
  check_replaceable("operator-=", a);
  return a = subtract(a, b);
}
Tensor& operator*=(Tensor& a, const Tensor& b) {
  check_replaceable("operator*=", a);
  return a = multiply(a, b);
}
Tensor& operator/=(Tensor& a, const Tensor& b) {
  check_replaceable("operator/=", a);
  return a = divide(a, b);
}
Tensor& operator+=(Tensor& a, Scalar b) {
  check_replaceable("operator+=", a);
  return a = add(a, b);
}
Tensor& operator-=(Tensor& a, Scalar b) {
  check_replaceable("operator-=", a);
  return a = subtract(a, b);
}
Tensor& operator*=(Tensor& a, Scalar b) {
  check_replaceable("operator*=", a);
  return a = multiply(a, b);
}
Tensor& operator/=(Tensor& a, Scalar b) {
  check_replaceable("operator/=", a);
  return a = divide(a, b);
}

}  // namespace weft
