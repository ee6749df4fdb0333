// cuda::winograd against plain loops, in one chunk of tiles and in many.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "cuda/context.h"
#include "cuda/winograd.h"
#include "tests/winograd_reference.h"

namespace weft {
namespace {

/// A copy of some values in device memory, which is host memory here, between guards.
template <class T>
class OnDevice {
 public:
  OnDevice(cuda::Context& context, const std::vector<T>& values)
      : memory_(context, (values.size() + 2 * kGuard) * sizeof(T)), size_(values.size()) {
    std::fill_n(memory_.template as<T>(), size_ + 2 * kGuard, T(113));
    std::copy(values.begin(), values.end(), data());
  }
  T* data() const { return memory_.template as<T>() + kGuard; }
  View view() const { return {data(), {static_cast<std::int64_t>(size_)}, {1}, dtype_of<T>}; }
  bool guards_are_whole() const {
    bool whole = true;
    for (std::size_t i = 0; i < kGuard; ++i) {
      whole = whole && memory_.template as<T>()[i] == T(113) && data()[size_ + i] == T(113);
    }
    return whole;
  }

 private:
  static constexpr std::size_t kGuard = 32;
  cuda::Scratch memory_;
  std::size_t size_;
};

template <class T>
void check(cuda::Context& context, const ConvShape& s) {
  const Operands<T> in = winograd_operands<T>(s);
  const OnDevice<T> bias(context, in.bias);
  const ConstView bias_view = bias.view();
  for (const ConvPass pass : {ConvPass::forward, ConvPass::input_grad, ConvPass::weight_grad}) {
    const OnDevice<T> a(context, in.a(pass)), b(context, in.b(pass));
    for (const bool with_bias : {false, true}) {
      if (with_bias && pass != ConvPass::forward) continue;
      const std::vector<double> expected = conv_expected(pass, s, in, with_bias);
      for (const int tile : {2, 4}) {
        const OnDevice<T> out(context, std::vector<T>(expected.size(), T(-77)));
        cuda::winograd(context, pass, tile, s, a.view(), b.view(), with_bias ? &bias_view : nullptr, out.view());
        EXPECT_LE(winograd_error(out.data(), expected).norm, sizeof(T) == 8 ? 1e-12 : 1e-5)
            << describe(s) << (sizeof(T) == 8 ? " f64" : " f32") << " pass " << static_cast<int>(pass) << " tile "
            << tile << (with_bias ? " with bias" : "");
        EXPECT_TRUE(out.guards_are_whole()) << describe(s) << " pass " << static_cast<int>(pass) << " tile " << tile;
      }
    }
  }
}

TEST(WinogradOnDevice, AgreesWithPlainLoops) {
  cuda::Context& context = cuda::context(0);
  const cuda::Use use(context);
  for (const ConvShape& shape : winograd_shapes()) {
    check<float>(context, shape);
    check<double>(context, shape);
  }
}

TEST(WinogradOnDevice, ChunksAddUp) {
  cuda::Context& context = cuda::context(0);
  const cuda::Use use(context);
  const std::int64_t usual = context.column_bytes;
  for (const std::int64_t bytes : {1, 20'000, 200'000}) {
    context.column_bytes = bytes;
    check<float>(context, winograd_shape(3, 5, 6, {9, 7}, {1, 2}));
    check<double>(context, winograd_shape(3, 6, 4, {9, 7}, {1, 2}));
  }
  context.column_bytes = usual;
}

}  // namespace
}  // namespace weft
