// What pooling says of arguments that do not fit, and what it makes of those that barely do.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/error_support.h"
#include "weft/weft.h"

namespace weft {
namespace {

constexpr std::int64_t kHuge = INT64_MAX / 2 + 1;

TEST(PoolErrors, Inputs) {
  const Tensor x = zeros({2, 3, 5, 6});
  expect_error<ShapeError>("max_pool1d: input needs 3 dimensions (N, C, L) or 2 without N, got (2, 3, 5, 6)",
                           [&] { max_pool1d(x, 2); });
  expect_error<ShapeError>("avg_pool2d: input needs 4 dimensions (N, C, H, W) or 3 without N, got (5, 6)", [&] {
    avg_pool2d(zeros({5, 6}), 2);
  });
  expect_error<ShapeError>("lp_pool3d: input needs 5 dimensions (N, C, D, H, W) or 4 without N, got (5, 6)", [&] {
    lp_pool3d(zeros({5, 6}), 2, 2);
  });
  expect_error<ShapeError>("adaptive_avg_pool1d: input needs 3 dimensions (N, C, L) or 2 without N, got ()",
                           [&] { adaptive_avg_pool1d(zeros({}), 1); });
  expect_error<ShapeError>("global_avg_pool2d: input needs 4 dimensions (N, C, H, W) or 3 without N, got (2, 3)", [&] {
    global_avg_pool2d(zeros({2, 3}));
  });
  expect_error<ShapeError>("global_max_pool2d: input needs 4 dimensions (N, C, H, W) or 3 without N, got (2, 3)", [&] {
    global_max_pool2d(zeros({2, 3}));
  });
  expect_error<ShapeError>("global_avg_pool: input needs 3 to 5 dimensions, got (2, 3)", [&] {
    global_avg_pool(zeros({2, 3}));
  });
  expect_error<ShapeError>("global_max_pool: input needs 3 to 5 dimensions, got (2, 3)", [&] {
    global_max_pool(zeros({2, 3}));
  });
  expect_error<DTypeError>("max_pool2d_with_indices: takes f32 or f64, not i64",
                           [&] { max_pool2d_with_indices(x.to(DType::i64), 2); });
  expect_error<ValueError>("max_pool2d: an operand is undefined", [&] { max_pool2d(Tensor(), 2); });
  expect_error<ShapeError>("adaptive_max_pool2d: (2, 3, 0, 4) has no elements on a spatial axis", [&] {
    adaptive_max_pool2d(zeros({2, 3, 0, 4}), 1);
  });
  expect_error<ShapeError>("max_pool2d: a map of the input (1, 1, 65536, 32768) exceeds 2^31 - 1 positions", [&] {
    max_pool2d(of_size({1, 1, 65536, 32768}), 2);
  });
  expect_error<ShapeError>("max_pool3d: a map of the input (1, 1, 1099511627776, 4, 4) exceeds 2^31 - 1 positions",
                           [&] {
                             max_pool3d(of_size({1, 1, std::int64_t{1} << 40, 4, 4}), 2);
                           });
}

TEST(PoolErrors, Windows) {
  const Tensor x = zeros({2, 3, 5, 6}), line = zeros({1, 1, 9});
  expect_error<ValueError>("max_pool2d: kernel (2, 0) must be positive", [&] { max_pool2d(x, {2, 0}); });
  expect_error<ValueError>("avg_pool1d: kernel (-1,) must be positive", [&] { avg_pool1d(line, -1); });
  expect_error<ValueError>("avg_pool2d: stride (1, -2) must be positive, or 0 for the kernel", [&] {
    avg_pool2d(x, 2, {.stride = {1, -2}});
  });
  expect_error<ValueError>("max_pool2d: dilation (1, 0) must be positive", [&] {
    max_pool2d(x, 2, {.dilation = {1, 0}});
  });
  expect_error<ValueError>("max_pool2d: padding (2, 1) must be between 0 and half the kernel (3, 3)", [&] {
    max_pool2d(x, 3, {.padding = {2, 1}});
  });
  expect_error<ValueError>("avg_pool1d: padding (-1,) must be between 0 and half the kernel (2,)",
                           [&] { avg_pool1d(line, 2, {.padding = -1}); });
  expect_error<ShapeError>("max_pool2d: kernel of 9 does not fit the padded input of 8 on axis 3", [&] {
    max_pool2d(x, {1, 3}, {.padding = {0, 1}, .dilation = {1, 4}});
  });
  expect_error<ShapeError>("avg_pool1d: kernel of 12 does not fit the padded input of 9 on axis 2",
                           [&] { avg_pool1d(line, 12, {.stride = 3, .ceil_mode = true}); });
  expect_error<ShapeError>(
      "max_pool1d: kernel (5,), dilation (4611686018427387904,) or padding (0,) overflows with input (1, 1, 9)",
      [&] { max_pool1d(line, 5, {.dilation = kHuge}); });
  expect_error<ShapeError>(
      "avg_pool1d: kernel (4611686018427387904,), dilation (1,) or padding (2305843009213693952,) overflows with input "
      "(1, 1, 9)",
      [&] { avg_pool1d(line, kHuge, {.padding = kHuge / 2}); });
  expect_error<ValueError>("avg_pool2d: divisor_override must not be 0, got 0",
                           [&] { avg_pool2d(x, 2, {.divisor_override = 0}); });
  expect_error<ValueError>("lp_pool2d: norm 0 must be positive and finite", [&] { lp_pool2d(x, 0, 2); });
  expect_error<ValueError>("lp_pool1d: norm inf must be positive and finite", [&] { lp_pool1d(line, INFINITY, 2); });
}

TEST(PoolErrors, Sizes) {
  const Tensor x = zeros({2, 3, 5, 6});
  expect_error<ValueError>("adaptive_avg_pool2d: output_size (2, 0) must be positive", [&] {
    adaptive_avg_pool2d(x, {2, 0});
  });
  expect_error<ValueError>("adaptive_max_pool1d_with_indices: output_size (-1,) must be positive", [&] {
    adaptive_max_pool1d_with_indices(zeros({1, 1, 3}), -1);
  });
  expect_error<ShapeError>("adaptive_avg_pool2d: a map of the result (2, 3, 65536, 32768) exceeds 2^31 - 1 positions",
                           [&] {
                             adaptive_avg_pool2d(x, {65536, 32768});
                           });
  expect_error<ShapeError>("adaptive_max_pool1d: result (4294967296, 2, 1073741824) overflows", [&] {
    adaptive_max_pool1d(of_size({std::int64_t{1} << 32, 2, 3}), std::int64_t{1} << 30);
  });
}

TEST(PoolErrors, Unpooling) {
  const Tensor y = zeros({2, 3, 5, 6}), indices = zeros({2, 3, 5, 6}, {.dtype = DType::i64});
  expect_error<DTypeError>("max_unpool2d: indices are i64, not f32", [&] { max_unpool2d(y, y, 2); });
  expect_error<ShapeError>("max_unpool2d: indices (2, 3, 5) do not have the input's shape (2, 3, 5, 6)",
                           [&] { max_unpool2d(y, select(indices, 3, 0), 2); });
  expect_error<ShapeError>("max_unpool2d: indices (1, 5, 6) do not have the input's shape (1, 1, 5, 6)", [&] {
    max_unpool2d(zeros({1, 1, 5, 6}), zeros({1, 5, 6}, {.dtype = DType::i64}), 2);
  });
  expect_error<ShapeError>("max_unpool2d: indices (1, 1, 5, 6) do not have the input's shape (1, 5, 6)", [&] {
    max_unpool2d(zeros({1, 5, 6}), zeros({1, 1, 5, 6}, {.dtype = DType::i64}), 2);
  });
  expect_error<ShapeError>("max_unpool3d: input needs 5 dimensions (N, C, D, H, W) or 4 without N, got (1,)",
                           [&] { max_unpool3d(zeros({1}), zeros({1}, {.dtype = DType::i64}), 2); });
  expect_error<ValueError>("max_unpool2d: output_size 14 on axis 3 must be positive and less than the stride 2 from 12",
                           [&] {
                             max_unpool2d(y, indices, 2, {}, {10, 14});
                           });
  expect_error<ValueError>("max_unpool2d: output_size 8 on axis 2 must be positive and less than the stride 2 from 10",
                           [&] {
                             max_unpool2d(y, indices, 2, {}, {8, 12});
                           });
  const Tensor one = zeros({1, 1, 1}), at = zeros({1, 1, 1}, {.dtype = DType::i64});
  expect_error<ValueError>("max_unpool1d: output_size 0 on axis 2 must be positive and less than the stride 2 from 0",
                           [&] { max_unpool1d(one, at, 2, {.padding = 1}); });
  expect_error<ValueError>("max_unpool2d: padding (2, 0) must be between 0 and half the kernel (2, 2)", [&] {
    max_unpool2d(y, indices, 2, {.padding = {2, 0}});
  });
  expect_error<ShapeError>(
      "max_unpool2d: kernel (2, 2) or stride (4611686018427387904, 4611686018427387904) overflows with input (2, 3, 5, "
      "6)",
      [&] { max_unpool2d(y, indices, 2, {.stride = kHuge}); });
  expect_error<ShapeError>("max_unpool2d: a map of the result (2, 3, 400002, 500002) exceeds 2^31 - 1 positions",
                           [&] { max_unpool2d(y, indices, 2, {.stride = 100000}); });
}

// As in PyTorch.
TEST(LPPool, OfZerosIsZeroWithGradientZero) {
  for (const double norm : {2.0, 3.0}) {
    Tensor x = zeros({1, 1, 2, 4}, {.dtype = DType::f64});
    x.set_requires_grad(true);
    const Tensor y = lp_pool2d(x, norm, 2);
    EXPECT_EQ(y.to_vector<double>(), (std::vector<double>{0, 0}));
    EXPECT_EQ(grad({y}, {x}, {ones_like(y)})[0].to_vector<double>(), std::vector<double>(8));
  }
}

// Options that no memory could hold a step of, but whose windows are plain.
TEST(Pool, HugeOptionsThatFit) {
  const Tensor x = Tensor::from<float>({3, 1, 4, 1, 5}, {1, 1, 5});
  const auto values = [](const Tensor& t) { return t.to_vector<float>(); };
  EXPECT_EQ(values(max_pool1d(x, 2, {.stride = INT64_MAX})), (std::vector<float>{3}));
  EXPECT_EQ(values(max_pool1d(x, 1, {.dilation = INT64_MAX})), values(x));
  EXPECT_EQ(values(max_pool1d(x, 3, {.stride = INT64_MAX, .dilation = kHuge / 8, .ceil_mode = true})),
            (std::vector<float>{3}));
  EXPECT_EQ(values(max_pool1d(x, kHuge / 4, {.stride = 1, .padding = kHuge / 8})), (std::vector<float>(6, 5)));
  EXPECT_EQ(values(avg_pool1d(x, 9, {.stride = INT64_MAX, .padding = 4, .ceil_mode = true})),
            (std::vector<float>{14.0f / 9}));
}

}  // namespace
}  // namespace weft
