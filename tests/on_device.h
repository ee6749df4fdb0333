#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/device/backend.h"
#include "core/device/convert.h"
#include "tests/device.h"

/// Operands of a GPU's backend, for tests of its methods.
namespace weft {

/// Leaves a test body that is too much for threads on a CPU (tests/cuda_on_cpu).
#define WEFT_NEEDS_A_REAL_GPU()                                                              \
  do {                                                                                       \
    WEFT_NEEDS_CUDA();                                                                       \
    if (description(Device::cuda()).find("CPU standing in for CUDA") != std::string::npos) { \
      GTEST_SKIP() << "too much for threads on a CPU";                                       \
    }                                                                                        \
  } while (false)

/// Values on the GPU, from element kGuard + shift on.
template <class T>
class OnDevice {
 public:
  OnDevice(DType dtype, const std::vector<T>& values, std::int64_t shift)
      : dtype_(dtype), size_(static_cast<std::int64_t>(values.size())), begin_(kGuard + shift) {
    host_.resize(static_cast<std::size_t>(size_ + begin_ + kGuard));
    std::memset(host_.data(), 0x55, bytes());
    std::copy(values.begin(), values.end(), host_.begin() + begin_);
    const BackendHandle device = backend(Device::cuda());
    data_ = device->allocate(bytes());
    device->copy_from_host(data_, host_.data(), bytes());
  }
  ~OnDevice() { backend(Device::cuda()).unlocked().deallocate(data_, bytes()); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  View view() const { return {static_cast<T*>(data_) + begin_, Shape{size_}, Strides{1}, dtype_}; }
  /// The values now; what lies around them must be as it was.
  std::vector<T> values() const {
    std::vector<T> now(host_.size());
    backend(Device::cuda())->copy_to_host(now.data(), data_, bytes());
    const auto around = [&](std::int64_t from, std::int64_t count) {
      return std::memcmp(now.data() + from, host_.data() + from, static_cast<std::size_t>(count) * sizeof(T)) == 0;
    };
    EXPECT_TRUE(around(0, begin_)) << "written before the output";
    EXPECT_TRUE(around(begin_ + size_, kGuard)) << "written behind the output";
    return {now.begin() + begin_, now.begin() + begin_ + size_};
  }

 private:
  static constexpr std::int64_t kGuard = 32;

  std::size_t bytes() const { return host_.size() * sizeof(T); }

  DType dtype_;
  std::int64_t size_, begin_;
  std::vector<T> host_;
  void* data_ = nullptr;
};

template <class T>
std::vector<double> widened(const std::vector<T>& values) {
  std::vector<double> all;
  for (const T& value : values) all.push_back(scalar::convert<double>(value));
  return all;
}

}  // namespace weft
