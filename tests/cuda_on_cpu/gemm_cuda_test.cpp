// cuda::gemm beside plain loops: the sums, biases and sizes that convolutions and matmul do not ask for.
#include "cuda/matmul/gemm.h"

#include <gtest/gtest.h>

#include "cuda/runtime/context.h"
#include "weft/weft.h"

namespace weft {
namespace {

/// Small integers, whose products every dtype holds exactly.
template <class T>
std::vector<T> integers(std::int64_t count, int first) {
  std::vector<T> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<T>((i * 7 + first) % 11 - 5));
  return values;
}

template <class T>
Array on_device(const std::vector<T>& values) {
  return Array::from(std::span<const T>(values), {static_cast<std::int64_t>(values.size())}, Device::cuda());
}

/// A bias that begins `bias_offset` elements after an aligned address.
template <class T>
void expect_sum(std::int64_t k, bool accumulate, bool with_bias, std::int64_t bias_offset) {
  constexpr std::int64_t m = 3, n = 5, batch = 2;
  const std::vector<T> a = integers<T>(batch * m * k, 1), b = integers<T>(batch * k * n, 2),
                       bias = integers<T>(bias_offset + n, 3), before = integers<T>(batch * m * n, 4);
  const Array left = on_device(a), right = on_device(b), added = on_device(bias), out = on_device(before);
  const T* const bias_data = static_cast<const T*>(added.data()) + bias_offset;
  cuda::CudaBackend& device = cuda::backend(0);
  {
    const cuda::ContextLock lock(device.context());
    cuda::gemm(device, {.in = dtype_of<T>,
                        .out_type = dtype_of<T>,
                        .m = m,
                        .n = n,
                        .k = k,
                        .batch = batch,
                        .a = {left.data(), k, 1, m * k},
                        .b = {right.data(), n, 1, k * n},
                        .out = out.data(),
                        .out_row = n,
                        .out_batch = m * n,
                        .accumulate = accumulate,
                        .bias = with_bias ? bias_data : nullptr});
  }
  std::vector<T> expected = before;
  for (std::int64_t at = 0; at < batch * m * n; ++at) {
    const std::int64_t image = at / (m * n), row = at / n % m, column = at % n;
    T sum = accumulate ? before[at] : T(0);
    if (with_bias) sum += bias[bias_offset + column];
    for (std::int64_t i = 0; i < k; ++i) sum += a[(image * m + row) * k + i] * b[(image * k + i) * n + column];
    expected[at] = sum;
  }
  EXPECT_EQ(out.to_vector<T>(), expected)
      << "k " << k << ", accumulate " << accumulate << ", bias " << with_bias << " at " << bias_offset;
}

TEST(CudaGemm, AddsTheBiasAndWhatIsThere) {
  for (const std::int64_t k : {0, 1, 4}) {
    for (const bool accumulate : {false, true}) {
      expect_sum<float>(k, accumulate, false, 0);
      expect_sum<double>(k, accumulate, false, 0);
      for (const std::int64_t bias_offset : {0, 1}) {
        expect_sum<float>(k, accumulate, true, bias_offset);
        expect_sum<double>(k, accumulate, true, bias_offset);
      }
    }
  }
}

TEST(CudaGemm, RefusesIntegers) {
  cuda::CudaBackend& device = cuda::backend(0);
  const Array x = Array::full({1}, 1, DType::i32, Device::cuda());
  const cuda::ContextLock lock(device.context());
  const auto multiply = [&] {
    cuda::gemm(device, {.in = DType::i32,
                        .out_type = DType::i32,
                        .m = 1,
                        .n = 1,
                        .k = 1,
                        .a = {x.data(), 1, 1, 1},
                        .b = {x.data(), 1, 1, 1},
                        .out = x.data(),
                        .out_row = 1,
                        .out_batch = 1});
  };
  EXPECT_THROW(multiply(), DTypeError);
}

}  // namespace
}  // namespace weft
