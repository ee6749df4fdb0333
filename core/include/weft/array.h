#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "weft/device.h"
#include "weft/dtype.h"
#include "weft/scalar.h"
#include "weft/shape.h"

namespace weft {

/// A block of device memory, shared by all the arrays that view it. Freed to its device's cache with the last of them.
class Storage {
 public:
  /// Uninitialised memory. Throws OutOfMemoryError.
  Storage(const Device& device, std::size_t bytes);
  /// Memory of someone else. The deleter, which may be empty, is called with the address after the last array.
  Storage(const Device& device, void* data, std::size_t bytes, std::function<void(void*)> deleter);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  const Device& device() const { return device_; }
  std::size_t bytes() const { return bytes_; }
  void* data() const { return data_; }
  /// Counts the in-place writes; autograd refuses a saved value whose count has moved on.
  std::uint64_t version() const { return version_.load(std::memory_order_relaxed); }
  void bump_version() { version_.fetch_add(1, std::memory_order_relaxed); }

 private:
  Device device_;
  std::size_t bytes_ = 0;
  void* data_ = nullptr;
  bool foreign_ = false;  // not of the device's cache
  std::function<void(void*)> deleter_;
  std::atomic<std::uint64_t> version_{0};
};

/// A strided view of a Storage, without gradients. Copying an Array copies the handle, not the elements.
class Array {
 public:
  Array() = default;
  /// Uninitialised, row-major. Throws ShapeError on negative or overflowing sizes.
  static Array empty(const Shape& shape, DType dtype = DType::f32, const Device& device = Device::cpu());
  /// Uninitialised, of the shape of `layout` and dense in its order of axes (row-major where it has gaps or overlaps).
  static Array empty_like(const Layout& layout, DType dtype, const Device& device);
  /// Without a dtype it is value.dtype(). Throws ValueError when an integer dtype cannot hold the value; fractions are
  /// cut off.
  static Array full(const Shape& shape, Scalar value, std::optional<DType> dtype = {},
                    const Device& device = Device::cpu());
  /// Copies host values in row-major order. Throws ShapeError when their number is not that of the shape.
  template <class T>
  static Array from(std::span<const T> values, const Shape& shape, const Device& device = Device::cpu()) {
    return from_host(values.data(), values.size(), dtype_of<T>, shape, device);
  }

  /// Sees memory of someone else, on the device, as elements of the dtype: `data` is the address of the element at
  /// offset 0 of the layout. No element is copied. The memory must stay until `deleter`, which may be empty, is called
  /// with `data` after the last array, from any thread. On a GPU, work that is still queued (weft/cuda.h) may use the
  /// memory then. Throws ValueError on a null or misaligned address, IndexError on a layout that reaches before it or
  /// beyond 64 bits, ShapeError when shape and strides differ in length, DeviceError without such a device. Where it
  /// throws, the deleter is not called.
  static Array from_blob(void* data, const Layout& layout, DType dtype = DType::f32,
                         const Device& device = Device::cpu(), std::function<void(void*)> deleter = {});

  bool defined() const { return storage_ != nullptr; }
  const Layout& layout() const { return layout_; }
  const Shape& shape() const { return layout_.shape; }
  const Strides& strides() const { return layout_.strides; }
  int rank() const { return layout_.rank(); }
  std::int64_t size() const { return layout_.size(); }
  DType dtype() const { return dtype_; }
  const Device& device() const;
  const std::shared_ptr<Storage>& storage() const { return storage_; }
  /// Returns the device address of the first element. The elements lie as strides() says. Convolutions, poolings, norms
  /// and interpolate write channels-last memory: the values 1 to 8 of an x (1, 2, 2, 2), after a 1x1 convolution that
  /// keeps them, lie there as 1 5 2 6 3 7 4 8. contiguous() gives row-major order. A write through this address is not
  /// noticed by autograd: data_as() is for that.
  void* data() const;
  /// Returns the address of the first element, to be read as `const T` or written as `T`. The latter counts as a new
  /// version of the storage, so that autograd refuses a value that it saved before. Throws DeviceError off the CPU,
  /// DTypeError on another dtype.
  template <class T>
  T* data_as() const requires(std::is_const_v<T>) {
    check_host(dtype_of<std::remove_const_t<T>>);
    return static_cast<T*>(data());
  }
  template <class T>
  T* data_as() requires(!std::is_const_v<T>) {
    check_host(dtype_of<T>);
    storage_->bump_version();
    return static_cast<T*>(data());
  }
  /// Returns all elements in row-major order, to be read as `const T` or written as `T`. Throws as data_as, and
  /// ShapeError unless the array is row-major.
  template <class T>
  requires std::is_const_v<T> std::span<T> span()
  const {
    check_row_major();
    return {data_as<T>(), static_cast<std::size_t>(size())};
  }
  template <class T>
  std::span<T> span() requires(!std::is_const_v<T>) {
    check_row_major();
    return {data_as<T>(), static_cast<std::size_t>(size())};
  }
  std::uint64_t version() const { return storage_ ? storage_->version() : 0; }

  /// The same storage seen through another layout, at offset 0 where that is empty. Throws IndexError when it reaches
  /// outside the storage, ShapeError when shape and strides differ in length.
  Array view(const Layout& layout) const;
  /// Row-major copy, or this array where it is row-major already.
  Array contiguous() const;
  /// A copy, dense in the same order of axes.
  Array clone() const;
  /// A copy on the device (or this array where it is there already).
  Array to(const Device& device) const;
  /// Elements converted to the dtype (or this array where it has it already).
  Array to(DType dtype) const;

  /// In-place writes; both count as a new version of the storage. fill throws as full; copy_from broadcasts and
  /// converts dtypes and devices.
  void fill(Scalar value);
  void copy_from(const Array& source);
  /// Writes host values in row-major order, which counts as a new version of the storage. Throws ShapeError when their
  /// number is not size(), DTypeError when T is not the dtype.
  template <class T>
  void copy_from_host(std::span<const T> values) {
    write_host(values.data(), values.size(), dtype_of<T>);
  }

  /// All elements in row-major order, on the host. Throws DTypeError when T is not the dtype.
  template <class T>
  std::vector<T> to_vector() const {
    static_assert(!std::is_same_v<T, bool>, "std::vector<bool> has no storage to copy to: convert to DType::u8 first");
    std::vector<T> values(static_cast<std::size_t>(defined() ? size() : 0));
    to_host(values.data(), dtype_of<T>);
    return values;
  }
  /// The only element, converted to T; a bool is whether it is not 0. Throws ShapeError when there is not exactly one,
  /// ValueError when an integer T cannot hold it.
  template <class T>
  T item() const {
    const Scalar value = scalar();
    if constexpr (std::is_same_v<T, bool>) {
      return value.as_double() != 0;
    } else if constexpr (std::is_integral_v<T>) {
      check_item(value, std::numeric_limits<T>::digits, std::is_signed_v<T>);
      return value.is_floating_point() ? static_cast<T>(value.as_double()) : static_cast<T>(value.as_int());
    } else {
      return static_cast<T>(value.as_double());
    }
  }
  Scalar scalar() const;

 private:
  static Array from_host(const void* values, std::size_t count, DType dtype, const Shape& shape, const Device& device);
  void write_host(const void* values, std::size_t count, DType dtype);
  void to_host(void* values, DType dtype) const;
  void check_host(DType dtype) const;
  void check_row_major() const;
  static void check_item(const Scalar& value, int bits, bool is_signed);

  std::shared_ptr<Storage> storage_;
  Layout layout_;
  DType dtype_ = DType::f32;
};

/// NumPy's way of printing: eight significant digits, columns aligned, "..." in the middle beyond 1,000 elements.
std::string to_string(const Array& array);
std::ostream& operator<<(std::ostream& stream, const Array& array);

}  // namespace weft
