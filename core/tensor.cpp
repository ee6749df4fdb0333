#include "weft/tensor.h"

#include <ostream>

#include "core/autograd.h"
#include "core/layout.h"
#include "weft/error.h"
#include "weft/ops.h"

namespace weft {

Tensor::Tensor(Array array, bool requires_grad) : state_(std::make_shared<TensorState>()) {
  state_->array = std::move(array);
  if (requires_grad) set_requires_grad(true);
}

const Array& Tensor::array() const& {
  if (!state_) throw Error("tensor: the tensor is undefined");
  return state_->array;
}

std::int64_t Tensor::size(int axis) const { return shape()[layout::normalize_axis("size", axis, rank())]; }

bool Tensor::requires_grad() const { return state_ && state_->requires_grad; }

bool Tensor::is_leaf() const { return !state_ || (!state_->node && !state_->alias_of); }

void Tensor::set_requires_grad(bool requires_grad) {
  if (requires_grad && !is_floating_point(dtype())) {
    throw DTypeError("requires_grad: a tensor of " + std::string(name(dtype())) +
                     " cannot have a gradient; floating dtypes can");
  }
  if (!is_leaf()) throw AutogradError("requires_grad: only leaves can be changed; detach() gives one");
  state_->requires_grad = requires_grad;
}

Tensor Tensor::grad() const { return state_ ? state_->grad : Tensor(); }

void Tensor::set_grad(const Tensor& grad) {
  if (grad.defined() && !(grad.shape() == shape())) {
    throw ShapeError("grad: gradient " + to_string(grad.shape()) + " does not have the tensor's shape " +
                     to_string(shape()));
  }
  GradientJournal::note(state_);
  state_->grad = grad;
}

Tensor Tensor::detach() const { return Tensor(array()); }

void Tensor::set_array(Array array) {
  if (!is_leaf()) throw AutogradError("set_array: only a leaf's array can be replaced");
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
