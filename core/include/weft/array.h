#pragma once

#include <atomic>
#include <cstdint>
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

  bool defined() const { return storage_ != nullptr; }
  const Layout& layout() const { return layout_; }
  const Shape& shape() const { return layout_.shape; }
  const Strides& strides() const { return layout_.strides; }
  int rank() const { return layout_.rank(); }
  std::int64_t size() const { return layout_.size(); }
  DType dtype() const { return dtype_; }
  const Device& device() const;
  const std::shared_ptr<Storage>& storage() const { return storage_; }
  /// Device address of the first element.
  void* data() const;
  /// Address of the first element as T. Throws DeviceError off the CPU, DTypeError on another dtype.
  template <class T>
  T* data_as() const {
    check_host(dtype_of<T>);
    return static_cast<T*>(data());
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
  static void check_item(const Scalar& value, int bits, bool is_signed);

  std::shared_ptr<Storage> storage_;
  Layout layout_;
  DType dtype_ = DType::f32;
};

/// NumPy's way of printing: eight significant digits, columns aligned, "..." in the middle beyond 1,000 elements.
std::string to_string(const Array& array);
std::ostream& operator<<(std::ostream& stream, const Array& array);

}  // namespace weft
