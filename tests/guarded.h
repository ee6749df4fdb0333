#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "core/device/backend.h"
#include "core/value/views.h"
#include "cpu/runtime/simd.h"
#include "cpu/runtime/threads.h"
#include "tests/normals.h"

namespace weft {

/// Elements between two margins of sentinels; the destructor fails the test if a margin was written.
template <class T>
class Guarded {
 public:
  explicit Guarded(std::int64_t size, T value = T(-77))
      : values_(static_cast<std::size_t>(size + 2 * kMargin), kSentinel), size_(size) {
    std::fill_n(data(), size, value);
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() {
    for (std::int64_t i = 0; i < kMargin; ++i) {
      EXPECT_EQ(data()[-1 - i], kSentinel) << "written " << 1 + i << " before the first of " << size_;
      EXPECT_EQ(data()[size_ + i], kSentinel) << "written " << i << " after the last of " << size_;
    }
  }

  T* data() { return values_.data() + kMargin; }
  std::int64_t size() const { return size_; }
  T& operator[](std::int64_t i) { return data()[i]; }
  std::vector<T> values() { return {data(), data() + size_}; }
  void assign(const std::vector<T>& values) { std::copy(values.begin(), values.end(), data()); }

  View view(const Shape& shape) { return {data(), shape, row_major_strides(shape), dtype_of<T>}; }
  View view() { return view(Shape{size_}); }

 private:
  static constexpr std::int64_t kMargin = 64;
  static constexpr T kSentinel = T(113);
  std::vector<T> values_;
  std::int64_t size_;
};

template <class T>
ConstView const_view(const std::vector<T>& values, const Shape& shape) {
  return {values.data(), shape, row_major_strides(shape), dtype_of<T>};
}
template <class T>
ConstView const_view(const std::vector<T>& values) {
  return const_view(values, Shape{static_cast<std::int64_t>(values.size())});
}

/// Runs `compute`, which returns a vector, on 1, 2, 3 and 8 threads and expects equal results.
template <class Compute>
void expect_equal_on_any_threads(const Compute& compute) {
  cpu::set_thread_count(1);
  const auto expected = compute();
  for (int threads : {2, 3, 8}) {
    cpu::set_thread_count(threads);
    EXPECT_EQ(compute(), expected) << threads << " threads";
  }
  cpu::set_thread_count(cpu::allowed_cpus());
}

/// The instruction sets that this machine has.
inline std::vector<cpu::Isa> isas() {
  std::vector<cpu::Isa> all;
  for (cpu::Isa isa : {cpu::Isa::portable, cpu::Isa::avx2, cpu::Isa::avx512}) {
    if (isa <= cpu::widest_isa()) all.push_back(isa);
  }
  return all;
}

}  // namespace weft
