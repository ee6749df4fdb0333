// The CUDA backend's depthwise convolution against the same plain loops as the CPU's.
#include <gtest/gtest.h>

#include <cstring>

#include "core/convert.h"
#include "cuda/context.h"
#include "cuda/depthwise.h"
#include "tests/depthwise_cases.h"
#include "weft/array.h"

namespace weft {
namespace {

using namespace depthwise_cases;  // NOLINT(google-build-using-namespace)
using scalar::Bfloat;

constexpr std::int64_t kGuard = 32;

/// Values on the device, from element `kGuard` + shift on.
template <class T>
class OnDevice {
 public:
  OnDevice(DType dtype, const std::vector<T>& values, std::int64_t shift)
      : dtype_(dtype), size_(static_cast<std::int64_t>(values.size())), begin_(kGuard + shift) {
    host_.resize(static_cast<std::size_t>(size_ + begin_ + kGuard));
    std::memset(host_.data(), 0x55, bytes());
    std::copy(values.begin(), values.end(), host_.begin() + begin_);
    Backend& device = backend(Device::cuda());
    data_ = device.allocate(bytes());
    device.copy_from_host(data_, host_.data(), bytes());
  }
  ~OnDevice() { backend(Device::cuda()).deallocate(data_, bytes()); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  View view() const { return {static_cast<T*>(data_) + begin_, Shape{size_}, Strides{1}, dtype_}; }
  /// The values now; what lies around them must be as it was.
  std::vector<T> values() const {
    std::vector<T> now(host_.size());
    backend(Device::cuda()).copy_to_host(now.data(), data_, bytes());
    const auto around = [&](std::int64_t from, std::int64_t count) {
      return std::memcmp(now.data() + from, host_.data() + from, static_cast<std::size_t>(count) * sizeof(T)) == 0;
    };
    EXPECT_TRUE(around(0, begin_)) << "written before the output";
    EXPECT_TRUE(around(begin_ + size_, kGuard)) << "written behind the output";
    return {now.begin() + begin_, now.begin() + begin_ + size_};
  }

 private:
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

/// Elements of 16 aligned bytes are taken together; `shift` moves the output off that.
template <class T>
void check(DType dtype, const ConvShape& s, double tolerance, std::int64_t shift) {
  SCOPED_TRACE(describe(s) + " " + std::string(name(dtype)) + " shift " + std::to_string(shift));
  const auto in = operands<T>(s, 5, [](double value) { return scalar::convert<T>(value); });
  const Operands<double> wide{widened(in.x), widened(in.weight), widened(in.bias), widened(in.y_grad)};
  cuda::Context& context = cuda::context(0);
  for (const ConvPass pass : kPasses) {
    for (const bool bias : {false, true}) {
      if (bias && pass != ConvPass::forward) continue;
      const OnDevice<T> a(dtype, in.a(pass), 0), b(dtype, in.b(pass), 0), biases(dtype, in.bias, 0);
      const T nan = scalar::convert<T>(std::nan(""));
      const OnDevice<T> out(dtype, std::vector<T>(static_cast<std::size_t>(result_size(pass, s)), nan), shift);
      {
        const cuda::Use use(context);
        const ConstView bias_view = biases.view();
        cuda::depthwise(context, pass, s, a.view(), b.view(), bias ? &bias_view : nullptr, out.view());
      }
      EXPECT_LE(relative_error(widened(out.values()), conv_expected(pass, s, wide, bias)), tolerance)
          << "pass " << static_cast<int>(pass) << (bias ? " with bias" : "");
    }
  }
}

TEST(DepthwiseCuda, AgreesWithPlainLoops) {
  for (const ConvShape& s : shapes()) {
    for (const std::int64_t shift : {0, 1}) {
      check<float>(DType::f32, s, 1e-6, shift);
      check<double>(DType::f64, s, 1e-14, shift);
      check<Bfloat>(DType::bf16, s, 4e-3, shift);
    }
  }
}

// Several slices of positions, several tiles of channels.
TEST(DepthwiseCuda, ManyPositionsAndChannels) {
  const ConvShape many = make(5, 8, 1, {1, 40, 41}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1});
  const ConvShape wide = make(3, 200, 1, {1, 14, 13}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1});
  for (const ConvShape& s : {many, wide}) {
    check<float>(DType::f32, s, 1e-6, 0);
    check<double>(DType::f64, s, 1e-14, 0);
    check<Bfloat>(DType::bf16, s, 4e-3, 0);
  }
}

}  // namespace
}  // namespace weft
