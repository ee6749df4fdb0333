#include "weft/array.h"

#include "core/device/backend.h"
#include "core/value/layout.h"
#include "core/value/number.h"
#include "core/value/views.h"
#include "weft/error.h"

namespace weft {

Storage::Storage(const Device& device, std::size_t bytes)
    : device_(device), bytes_(bytes), data_(backend(device)->allocate(bytes)) {}

Storage::Storage(const Device& device, void* data, std::size_t bytes, std::function<void(void*)> deleter)
    : device_(device), bytes_(bytes), data_(data), foreign_(true), deleter_(std::move(deleter)) {}

Storage::~Storage() {
  if (!foreign_) {
    backend(device_).unlocked().deallocate(data_, bytes_);
  } else if (deleter_) {
    deleter_(data_);
  }
}

namespace {

std::size_t checked_bytes(const Shape& shape, DType dtype) {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<std::size_t>(element_count(shape)), size_of(dtype), &bytes) ||
      bytes > PTRDIFF_MAX) {
    throw ShapeError("array: " + to_string(shape) + " of " + std::string(name(dtype)) + " exceeds the address space");
  }
  return bytes;
}

void check_defined(const Array& array) {
  if (!array.defined()) throw Error("array: the array is undefined");
}

void check_view(std::string_view op, const Layout& layout) {
  if (layout.shape.rank() == layout.strides.rank()) return;
  throw ShapeError(std::string(op) + ": shape " + to_string(layout.shape) + " and strides " +
                   to_string(layout.strides) + " differ in length");
}

void check_dtype(const Array& array, DType dtype) {
  check_defined(array);
  if (dtype == array.dtype()) return;
  throw DTypeError("array: elements are " + std::string(name(array.dtype())) + ", not " + std::string(name(dtype)));
}

}  // namespace

Array Array::empty_like(const Layout& layout, DType dtype, const Device& device) {
  Array array;
  array.storage_ = std::make_shared<Storage>(device, checked_bytes(layout.shape, dtype));
  array.layout_ = layout::dense_like(layout, layout.shape);
  array.dtype_ = dtype;
  return array;
}

Array Array::empty(const Shape& shape, DType dtype, const Device& device) {
  return empty_like(Layout::row_major(shape), dtype, device);
}

Array Array::full(const Shape& shape, Scalar value, std::optional<DType> named, const Device& device) {
  const DType dtype = named.value_or(value.dtype());
  check_fits("full", value, dtype);
  Array array = empty(shape, dtype, device);
  backend(device)->fill(mutable_view(array), value);
  return array;
}

Array Array::from_host(const void* values, std::size_t count, DType dtype, const Shape& shape, const Device& device) {
  if (static_cast<std::size_t>(element_count(shape)) != count) {
    throw ShapeError("array: " + std::to_string(count) + " values do not fill the shape " + to_string(shape));
  }
  Array array = empty(shape, dtype, device);
  if (count > 0) backend(device)->copy_from_host(array.data(), values, count * size_of(dtype));
  return array;
}

Array Array::from_blob(void* data, const Layout& layout, DType dtype, const Device& device,
                       std::function<void(void*)> deleter) {
  require_device(device);
  check_view("from_blob", layout);
  const auto [first, last] = layout::extent(layout);
  std::int64_t capacity = 0;
  if (__builtin_add_overflow(last < first ? -1 : last, 1, &capacity) || (first < 0 && capacity > 0)) {
    throw IndexError("from_blob: shape " + to_string(layout.shape) + ", strides " + to_string(layout.strides) +
                     ", offset " + std::to_string(layout.offset) + " reach outside the memory from the address on");
  }
  const std::size_t bytes = checked_bytes({capacity}, dtype);
  if (bytes > 0 && data == nullptr) throw ValueError("from_blob: the address is null");
  if (reinterpret_cast<std::uintptr_t>(data) % size_of(dtype) != 0) {
    throw ValueError("from_blob: the address is not a multiple of " + std::to_string(size_of(dtype)) +
                     " bytes, the size of " + std::string(name(dtype)));
  }
  Array array;
  array.storage_ = std::make_shared<Storage>(device, data, bytes, std::move(deleter));
  array.layout_ = layout;
  if (capacity == 0) array.layout_.offset = 0;
  array.dtype_ = dtype;
  return array;
}

const Device& Array::device() const {
  check_defined(*this);
  return storage_->device();
}

void* Array::data() const {
  check_defined(*this);
  return static_cast<std::byte*>(storage_->data()) + layout_.offset * static_cast<std::int64_t>(size_of(dtype_));
}

void Array::check_host(DType dtype) const {
  if (!device().is_cpu()) throw DeviceError("array: elements on " + to_string(device()) + " have no host address");
  check_dtype(*this, dtype);
}

void Array::check_row_major() const {
  check_defined(*this);
  if (layout_.is_row_major()) return;
  throw ShapeError("span: shape " + to_string(shape()) + " with strides " + to_string(strides()) +
                   " is not row-major; contiguous() is");
}

Array Array::view(const Layout& layout) const {
  check_defined(*this);
  check_view("view", layout);
  const auto [first, last] = layout::extent(layout);
  const auto capacity = static_cast<std::int64_t>(storage_->bytes() / size_of(dtype_));
  if (first < 0 || last >= capacity) {
    throw IndexError("view: shape " + to_string(layout.shape) + ", strides " + to_string(layout.strides) + ", offset " +
                     std::to_string(layout.offset) + " reach outside a storage of " + std::to_string(capacity) +
                     " elements");
  }
  Array array = *this;
  array.layout_ = layout;
  if (last < first) array.layout_.offset = 0;  // any offset is allowed where there is no element
  return array;
}

Array Array::contiguous() const {
  check_defined(*this);
  if (layout_.is_row_major()) return *this;
  Array copy = empty(shape(), dtype_, device());
  backend(device())->copy(const_view(*this), mutable_view(copy));
  return copy;
}

Array Array::clone() const {
  Array copy = empty_like(layout_, dtype_, device());
  backend(device())->copy(const_view(*this), mutable_view(copy));
  return copy;
}

Array Array::to(DType dtype) const {
  check_defined(*this);
  if (dtype == dtype_) return *this;
  Array copy = empty_like(layout_, dtype, device());
  backend(device())->copy(const_view(*this), mutable_view(copy));
  return copy;
}

Array Array::to(const Device& target) const {
  if (target == device()) return *this;
  const Array dense = layout_.is_dense() ? *this : clone();
  Array copy = empty_like(dense.layout_, dtype_, target);
  const std::size_t bytes = static_cast<std::size_t>(size()) * size_of(dtype_);
  if (bytes == 0) return copy;
  if (target.is_cpu()) {
    backend(device())->copy_to_host(copy.data(), dense.data(), bytes);
  } else if (device().is_cpu()) {
    backend(target)->copy_from_host(copy.data(), dense.data(), bytes);
  } else {
    return to(Device::cpu()).to(target);
  }
  return copy;
}

void Array::fill(Scalar value) {
  const BackendHandle target = backend(device());
  check_fits("fill", value, dtype_);
  target->fill(mutable_view(*this), value);
  storage_->bump_version();
}

void Array::copy_from(const Array& source) {
  const Array local = source.to(device());
  const Layout expanded = layout::expand("copy_from", local.layout(), shape());
  ConstView in = const_view(local);
  in.shape = expanded.shape;
  in.strides = expanded.strides;
  Array apart;
  if (local.storage() == storage_) {  // the two may overlap
    apart = local.view(expanded).clone();
    in = const_view(apart);
  }
  backend(device())->copy(in, mutable_view(*this));
  storage_->bump_version();
}

void Array::write_host(const void* values, std::size_t count, DType dtype) {
  check_dtype(*this, dtype);
  if (static_cast<std::size_t>(size()) != count) {
    throw ShapeError("copy_from_host: " + std::to_string(count) + " values do not fill the shape " +
                     to_string(shape()));
  }
  if (count == 0) return;
  if (!layout_.is_row_major()) return copy_from(from_host(values, count, dtype, shape(), device()));
  backend(device())->copy_from_host(data(), values, count * size_of(dtype));
  storage_->bump_version();
}

void Array::to_host(void* values, DType dtype) const {
  check_dtype(*this, dtype);
  const Array dense = contiguous();
  if (size() > 0)
    backend(device())->copy_to_host(values, dense.data(), static_cast<std::size_t>(size()) * size_of(dtype));
}

void Array::check_item(const Scalar& value, int bits, bool is_signed) {
  if (value.fits(bits, is_signed)) return;
  throw ValueError("item: " + to_string(value) + " does not fit " + (is_signed ? "a signed" : "an unsigned") +
                   " integer of " + std::to_string(bits + (is_signed ? 1 : 0)) + " bits");
}

Scalar Array::scalar() const {
  if (!defined() || size() != 1) {
    throw ShapeError("item: " + (defined() ? to_string(shape()) : std::string("an undefined array")) +
                     " does not have one element");
  }
  if (is_floating_point(dtype_)) {
    const Array wide = to(DType::f64);
    double value = 0;
    wide.to_host(&value, DType::f64);
    return value;
  }
  const Array wide = to(DType::i64);
  std::int64_t value = 0;
  wide.to_host(&value, DType::i64);
  if (dtype_ == DType::boolean) return value != 0;
  return value;
}

}  // namespace weft
