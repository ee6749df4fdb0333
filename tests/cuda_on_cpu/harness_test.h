#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "cuda/runtime/runtime.h"
#include "cuda_on_cpu.h"

namespace weft::cuda_on_cpu {

/// What the action throws; empty when nothing.
template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

/// Device memory, which the test reads and writes where it is.
template <class T>
class Buffer {
 public:
  explicit Buffer(std::int64_t count)
      : count_(count),
        data_(static_cast<T*>(cuda::runtime::allocate(static_cast<std::size_t>(count) * sizeof(T), {}))) {
    if (data_ == nullptr) throw std::bad_alloc();
  }
  explicit Buffer(const std::vector<T>& values) : Buffer(static_cast<std::int64_t>(values.size())) {
    for (std::size_t i = 0; i < values.size(); ++i) data_[i] = values[i];
  }
  ~Buffer() { cuda::runtime::deallocate(data_, {}); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* data() const { return data_; }
  std::vector<T> values() const { return {data_, data_ + count_}; }

 private:
  std::int64_t count_;
  T* data_;
};

}  // namespace weft::cuda_on_cpu
