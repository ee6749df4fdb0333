#include "weft/tensor.h"

#include <ostream>

#include "core/autograd/autograd.h"
#include "core/autograd/rollback.h"
#include "core/value/layout.h"
#include "weft/error.h"
#include "weft/ops.h"

namespace weft {

const std::shared_ptr<TensorState>& state_of(const Tensor& tensor) { return tensor.state_; }

Tensor::Tensor(Array array, bool requires_grad) : state_(std::make_shared<TensorState>()) {
  state_->array = std::move(array);
  if (requires_grad) set_requires_grad(true);
}

namespace {

void check_defined(const std::shared_ptr<TensorState>& state) {
  if (!state) throw Error("tensor: the tensor is undefined");
}

/// Throws unless the gradient has the shape, dtype and device of the array.
void check_gradient(const std::string& op, const Array& gradient, const Array& array) {
  if (gradient.shape() != array.shape()) {
    throw ShapeError(op + ": gradient " + to_string(gradient.shape()) + " does not have the tensor's shape " +
                     to_string(array.shape()));
  }
  if (gradient.dtype() != array.dtype()) {
    throw DTypeError(op + ": gradient of " + std::string(name(gradient.dtype())) +
                     " does not have the tensor's dtype " + std::string(name(array.dtype())));
  }
  if (gradient.device() != array.device()) {
    throw DeviceError(op + ": gradient on " + to_string(gradient.device()) + " but the tensor on " +
                      to_string(array.device()));
  }
}

}  // namespace

const Array& Tensor::array() const& {
  check_defined(state_);
  return state_->array;
}

std::int64_t Tensor::size(int axis) const { return shape()[layout::normalize_axis("size", axis, rank())]; }

bool Tensor::requires_grad() const { return state_ && state_->requires_grad; }

bool Tensor::is_leaf() const { return !state_ || (!state_->node && !state_->alias_of); }

void Tensor::set_requires_grad(bool requires_grad) {
  check_defined(state_);
  if (requires_grad && !is_floating_point(dtype())) {
    throw DTypeError("requires_grad: a tensor of " + std::string(name(dtype())) +
                     " cannot have a gradient; floating dtypes can");
  }
  if (!is_leaf()) throw AutogradError("requires_grad: only leaves can be changed; detach() gives one");
  state_->requires_grad = requires_grad;
}

Tensor Tensor::grad() const { return state_ ? state_->grad : Tensor(); }

void Tensor::set_grad(const Tensor& grad) {
  check_defined(state_);
  if (grad.defined()) check_gradient("set_grad", grad.array(), array());
  note_gradient(state_);
  state_->grad = grad;
}

Tensor Tensor::detach() const { return Tensor(array()); }

void Tensor::set_array(Array array) {
  check_defined(state_);
  if (!is_leaf()) throw AutogradError("set_array: only a leaf's array can be replaced");
  if (!array.defined()) throw Error("set_array: the array is undefined");
  if (requires_grad() && !is_floating_point(array.dtype())) {
    throw DTypeError("set_array: the tensor requires a gradient, which " + std::string(name(array.dtype())) +
                     " cannot have");
  }
  if (state_->grad.defined()) check_gradient("set_array (zero_grad() comes before it)", state_->grad.array(), array);
  state_->array = std::move(array);
}

Tensor Tensor::reshape(const Shape& shape) const { return weft::reshape(*this, shape); }
Tensor Tensor::flatten(int first_axis, int last_axis) const { return weft::flatten(*this, first_axis, last_axis); }
Tensor Tensor::permute(const Dims& axes) const { return weft::permute(*this, axes); }
Tensor Tensor::transpose(int a, int b) const { return weft::transpose(*this, a, b); }
Tensor Tensor::slice(int axis, std::optional<std::int64_t> start, std::optional<std::int64_t> stop,
                     std::int64_t step) const {
  return weft::slice(*this, axis, start, stop, step);
}
Tensor Tensor::select(int axis, std::int64_t index) const { return weft::select(*this, axis, index); }
Tensor Tensor::expand(const Shape& shape) const { return weft::expand(*this, shape); }
Tensor Tensor::squeeze(const Axes& axes) const { return weft::squeeze(*this, axes); }
Tensor Tensor::unsqueeze(int axis) const { return weft::unsqueeze(*this, axis); }
Tensor Tensor::flip(const Axes& axes) const { return weft::flip(*this, axes); }
Tensor Tensor::contiguous() const { return weft::contiguous(*this); }
Tensor Tensor::clone() const { return weft::clone(*this); }
Tensor Tensor::to(const Device& device) const { return weft::to(*this, device); }
Tensor Tensor::to(DType dtype) const { return weft::to(*this, dtype); }
Tensor Tensor::sum(const Axes& axes, bool keep_axes) const { return weft::sum(*this, axes, keep_axes); }
Tensor Tensor::mean(const Axes& axes, bool keep_axes) const { return weft::mean(*this, axes, keep_axes); }
Tensor Tensor::max(const Axes& axes, bool keep_axes) const { return weft::max(*this, axes, keep_axes); }
Tensor Tensor::min(const Axes& axes, bool keep_axes) const { return weft::min(*this, axes, keep_axes); }

std::string to_string(const Tensor& tensor) { return tensor.defined() ? to_string(tensor.array()) : "undefined"; }

std::ostream& operator<<(std::ostream& stream, const Tensor& tensor) { return stream << to_string(tensor); }

}  // namespace weft
