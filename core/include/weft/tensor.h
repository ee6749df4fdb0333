#pragma once

#include <concepts>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <vector>

#include "weft/array.h"

namespace weft {

class Node;
struct TensorState;

/// Options of functions that create tensors.
struct TensorOptions {
  std::optional<DType> dtype = {};  ///< what each function says where left out; its arguments decide
  Device device = Device::cpu();
  bool requires_grad = false;
};

struct BackwardOptions {
  bool retain_graph = false;  ///< keep what backward needs, so that it can run again
  /// Record the gradients' own computation, for gradients of gradients; implies retain_graph. The leaf then holds
  /// its grad, the grad the graph and the graph the leaf: none of them is freed before zero_grad(). Not so with grad().
  bool create_graph = false;
};

/// An Array that takes part in automatic differentiation. A shared handle: copies are the same tensor.
class Tensor {
 public:
  /// Undefined: only defined() and assignment may be used.
  Tensor() = default;
  explicit Tensor(Array array, bool requires_grad = false);
  /// Copies host values in row-major order; the dtype that stores T where the options name none. Throws ShapeError when
  /// their number is not that of the shape.
  template <class T>
  static Tensor from(std::initializer_list<T> values, const Shape& shape, const TensorOptions& options = {}) {
    return from(std::span<const T>(values.begin(), values.size()), shape, options);
  }
  template <std::ranges::contiguous_range Values>
  requires requires { dtype_of<std::ranges::range_value_t<Values>>; }
  static Tensor from(const Values& values, const Shape& shape, const TensorOptions& options = {}) {
    using T = std::ranges::range_value_t<Values>;
    return from(std::span<const T>(std::ranges::data(values), std::ranges::size(values)), shape, options);
  }
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape, const TensorOptions& options = {}) {
    const Array array = Array::from(values, shape, options.device);
    return Tensor(array.to(options.dtype.value_or(dtype_of<T>)), options.requires_grad);
  }

  bool defined() const { return state_ != nullptr; }
  /// Returns whether both are handles of one tensor, or both undefined.
  bool is_same(const Tensor& other) const { return state_ == other.state_; }
  const Array& array() const&;
  Array array() && { return static_cast<const Tensor&>(*this).array(); }
  const Shape& shape() const { return array().shape(); }
  /// Size of one axis; negative axes count from the end. Throws IndexError.
  std::int64_t size(int axis) const;
  /// Number of elements.
  std::int64_t size() const { return array().size(); }
  int rank() const { return array().rank(); }
  DType dtype() const { return array().dtype(); }
  const Device& device() const { return array().device(); }
  template <class T>
  T item() const {
    return array().item<T>();
  }
  template <class T>
  std::vector<T> to_vector() const {
    return array().to_vector<T>();
  }
  /// All elements in row-major order, as Array::span.
  template <class T>
  std::span<T> span() const {
    Array elements = array();
    return elements.span<T>();
  }
  /// There is no conversion to bool: one of a == b would have to wait for the device, and of several elements it has no
  /// meaning. item<bool>() converts one element; array_equal() and allclose() compare tensors.
  template <std::same_as<bool> B>
  explicit operator B() const {
    static_assert(!std::same_as<B, bool>,
                  "a Tensor does not convert to bool: use item<bool>(), array_equal(a, b) or allclose(a, b); is_same() "
                  "and defined() ask about the handle");
    return false;
  }

  bool requires_grad() const;
  /// Only on leaves of a floating dtype. Throws AutogradError, DTypeError.
  void set_requires_grad(bool requires_grad);
  /// True for tensors that no recorded op made.
  bool is_leaf() const;
  /// The accumulated gradient; undefined before the first backward. What backward made has this tensor's strides.
  Tensor grad() const;
  /// Throws ShapeError, DTypeError or DeviceError unless the gradient is as this tensor's array.
  void set_grad(const Tensor& grad);
  void zero_grad() { set_grad(Tensor()); }
  /// Adds the gradient of this one-element tensor to the grad of every leaf that requires one.
  /// Throws AutogradError, before any grad changes, when it has more than one element, has no graph, or the graph was
  /// used up; and when a value that it needs was changed.
  void backward(const BackwardOptions& options = {}) const;
  /// The same for any shape, with the gradient of some later scalar with respect to this tensor.
  void backward(const Tensor& gradient, const BackwardOptions& options = {}) const;
  /// The same array without its history.
  Tensor detach() const;
  /// Replaces the elements' array in place, for example with a copy on another device; every handle sees it. Leaves
  /// only; a grad that is there must fit the array. Throws AutogradError, or as set_grad.
  void set_array(Array array);

  // Writes in place, which every tensor of the same memory sees; autograd refuses a value that it saved before. Each
  // returns this tensor. They throw AutogradError when this tensor has a graph, and when a gradient would be needed:
  // gradients are enabled and this tensor or the operand requires one. They throw ShapeError when the operand does not
  // broadcast to this shape and when elements may share memory, DTypeError when this dtype does not hold the operand's
  // kind of number, DeviceError on operands of another device.
  Tensor fill_(Scalar value);
  Tensor copy_(const Tensor& source);              ///< converts dtypes and devices
  Tensor add_(const Tensor& x, Scalar alpha = 1);  ///< adds alpha·x
  Tensor add_(Scalar value);
  Tensor mul_(const Tensor& x);
  Tensor mul_(Scalar value);

  /// select(0, index).
  Tensor operator[](std::int64_t index) const { return select(0, index); }

  // The views and functions of ops.h that read best as members.
  Tensor reshape(const Shape& shape) const;
  Tensor flatten(int first_axis = 0, int last_axis = -1) const;
  Tensor permute(const Dims& axes) const;
  Tensor transpose(int a, int b) const;
  Tensor slice(int axis, std::optional<std::int64_t> start, std::optional<std::int64_t> stop,
               std::int64_t step = 1) const;
  Tensor select(int axis, std::int64_t index) const;
  Tensor expand(const Shape& shape) const;
  Tensor squeeze(const Axes& axes = Axes::all()) const;
  Tensor unsqueeze(int axis) const;
  Tensor flip(const Axes& axes) const;
  Tensor contiguous() const;
  Tensor clone() const;
  Tensor to(const Device& device) const;
  Tensor to(DType dtype) const;
  Tensor sum(const Axes& axes = Axes::all(), bool keep_axes = false) const;
  Tensor mean(const Axes& axes = Axes::all(), bool keep_axes = false) const;
  Tensor max(const Axes& axes = Axes::all(), bool keep_axes = false) const;
  Tensor min(const Axes& axes = Axes::all(), bool keep_axes = false) const;

 private:
  friend const std::shared_ptr<TensorState>& state_of(const Tensor& tensor);

  std::shared_ptr<TensorState> state_;
};

// a += b is a = a + b for this handle: no memory is written, and other handles of the tensor keep their values, unlike
// in PyTorch. Throws AutogradError when a is a leaf that requires a gradient, and as a + b.
Tensor& operator+=(Tensor& a, const Tensor& b);
Tensor& operator-=(Tensor& a, const Tensor& b);
Tensor& operator*=(Tensor& a, const Tensor& b);
Tensor& operator/=(Tensor& a, const Tensor& b);
Tensor& operator+=(Tensor& a, Scalar b);
Tensor& operator-=(Tensor& a, Scalar b);
Tensor& operator*=(Tensor& a, Scalar b);
Tensor& operator/=(Tensor& a, Scalar b);

std::string to_string(const Tensor& tensor);
std::ostream& operator<<(std::ostream& stream, const Tensor& tensor);

/// Gradients of `outputs` (weighted by `output_gradients`; ones for one-element outputs where left out) with respect to
/// `inputs`, without touching any grad. Throws AutogradError when an input takes no part, unless `allow_unused` (its
/// gradient is then undefined).
std::vector<Tensor> grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                         const std::vector<Tensor>& output_gradients = {}, const BackwardOptions& options = {},
                         bool allow_unused = false);

/// Whether ops of this thread record their gradients.
bool grad_enabled();

/// Turns recording on or off in this thread while it lives.
class GradMode {
 public:
  explicit GradMode(bool enabled);
  ~GradMode();
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

 private:
  bool previous_;
};

/// Turns recording off in this thread while it lives.
class NoGrad : public GradMode {
 public:
  NoGrad() : GradMode(false) {}
};

}  // namespace weft
