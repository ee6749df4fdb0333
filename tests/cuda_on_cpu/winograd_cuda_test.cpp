// cuda::winograd against plain loops, with tiles of both sizes, in one chunk of tiles and in many.
#include <gtest/gtest.h>

#include "cuda/conv/algorithms.h"
#include "tests/on_device.h"
#include "tests/winograd_reference.h"

namespace weft {
namespace {

template <class T>
void check(const ConvShape& s, const std::vector<int>& tiles) {
  cuda::CudaBackend& device = cuda::backend(0);
  const cuda::ContextLock lock(device.context());
  const Operands<T> in = winograd_operands<T>(s);
  const OnDevice<T> bias(dtype_of<T>, in.bias, 0);
  for (const ConvPass pass : {ConvPass::forward, ConvPass::input_grad, ConvPass::weight_grad}) {
    const OnDevice<T> a(dtype_of<T>, in.a(pass), 0), b(dtype_of<T>, in.b(pass), 0);
    for (const bool with_bias : {false, true}) {
      if (with_bias && pass != ConvPass::forward) continue;
      const std::vector<double> expected = conv_expected(pass, s, in, with_bias);
      for (const int tile : tiles) {
        SCOPED_TRACE(describe(s) + (sizeof(T) == 8 ? " f64" : " f32") + " pass " +
                     std::to_string(static_cast<int>(pass)) + " tile " + std::to_string(tile) +
                     (with_bias ? " with bias" : ""));
        const OnDevice<T> out(dtype_of<T>, std::vector<T>(expected.size(), T(-77)), 0);
        cuda::winograd(device, tile,
                       {.pass = pass,
                        .shape = s,
                        .a = a.view(),
                        .b = b.view(),
                        .bias = with_bias ? ConstView(bias.view()) : ConstView{},
                        .out = out.view()});
        EXPECT_LE(winograd_error(out.values().data(), expected).norm, sizeof(T) == 8 ? 1e-12 : 1e-5);
      }
    }
  }
}

// Tiles of 4 are those of Backend::conv: winograd_device_test.
TEST(WinogradCuda, SmallTilesAgreeWithPlainLoops) {
  for (const ConvShape& shape : winograd_shapes()) {
    check<float>(shape, {2});
    check<double>(shape, {2});
  }
}

TEST(WinogradCuda, ChunksAddUp) {
  cuda::Context& context = cuda::context(0);
  const std::int64_t usual = context.limits.column_bytes;
  for (const std::int64_t bytes : {1, 20'000, 200'000}) {
    context.limits.column_bytes = bytes;
    check<float>(winograd_shape(3, 5, 6, {9, 7}, {1, 2}), {2, 4});
    check<double>(winograd_shape(3, 6, 4, {9, 7}, {1, 2}), {2, 4});
  }
  context.limits.column_bytes = usual;
}

}  // namespace
}  // namespace weft
