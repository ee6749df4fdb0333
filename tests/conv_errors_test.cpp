// What convolutions, windows, padding and their layers say of arguments that do not fit.
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>

#include "tests/error_support.h"
#include "weft/weft.h"

namespace weft {
namespace {

constexpr std::int64_t kHuge = INT64_MAX / 2 + 1;

TEST(ConvErrors, Algorithms) {
  const Tensor x = zeros({2, 4, 5, 6}), w = zeros({6, 4, 3, 3});
  const auto pinned = [&](const Conv2dOptions& options) { return [&x, &w, options] { conv2d(x, w, {}, options); }; };
  expect_error<ValueError>("conv2d: algo winograd needs stride 1, got (2, 1)",
                           pinned({.stride = {2, 1}, .algo = ConvAlgo::winograd}));
  expect_error<ValueError>("conv2d: algo winograd needs dilation 1, got (1, 2)",
                           pinned({.dilation = {1, 2}, .algo = ConvAlgo::winograd}));
  expect_error<ValueError>("conv2d: algo winograd needs groups 1, got 2", [&] {
    conv2d(x, zeros({6, 2, 3, 3}), {}, {.groups = 2, .algo = ConvAlgo::winograd});
  });
  expect_error<ValueError>("conv2d: algo winograd needs a 3x3 filter on two axes, got (3, 2)", [&] {
    conv2d(x, zeros({6, 4, 3, 2}), {}, {.algo = ConvAlgo::winograd});
  });
  expect_error<ValueError>("conv1d: algo winograd needs a 3x3 filter on two axes, got (3,)", [&] {
    conv1d(zeros({2, 4, 5}), zeros({6, 4, 3}), {}, {.algo = ConvAlgo::winograd});
  });
  expect_error<ValueError>("conv3d: algo winograd needs a 3x3 filter on two axes, got (1, 3, 3)", [&] {
    conv3d(zeros({2, 4, 2, 5, 5}), zeros({6, 4, 1, 3, 3}), {}, {.algo = ConvAlgo::winograd});
  });
  expect_error<ValueError>(
      "conv2d: algo direct needs as many groups as channels, or a 1x1 filter with stride 1 and no padding; got 1 "
      "groups "
      "of 4 channels, filter (3, 3), stride (1, 1), padding (0, 0)",
      pinned({.algo = ConvAlgo::direct}));
  expect_error<ValueError>(
      "conv2d: algo direct needs as many groups as channels, or a 1x1 filter with stride 1 and no padding; got 2 "
      "groups "
      "of 4 channels, filter (1, 1), stride (2, 2), padding (0, 0)",
      [&] {
        conv2d(x, zeros({6, 2, 1, 1}), {}, {.stride = 2, .groups = 2, .algo = ConvAlgo::direct});
      });
  expect_error<ValueError>("conv_transpose2d: algo winograd needs stride 1, got (2, 2)", [&] {
    conv_transpose2d(x, zeros({4, 3, 3, 3}), {}, {.stride = 2, .algo = ConvAlgo::winograd});
  });
  expect_error<ValueError>("conv2d_weight_grad: algo winograd needs stride 1, got (2, 2)", [&] {
    conv2d_weight_grad(zeros({2, 6, 2, 2}), x, w.shape(), {.stride = 2, .algo = ConvAlgo::winograd});
  });
  expect_error<ValueError>("add_conv_choices: unknown algorithm \"fast\"", [] {
    add_conv_choices({{"cpu f32 forward", "fast"}});
  });
}

// 16 MiB that nothing else holds would show.
TEST(ConvErrors, AnAlgorithmIsRefusedBeforeTheInputIsPadded) {
  const Tensor x = of_size({1, 4, 1024, 1024}), w = zeros({6, 4, 3, 3});
  release_cached_memory(Device::cpu());
  const MemoryStatistics before = memory_statistics(Device::cpu());
  const auto pinned = [&](const Conv2dOptions& options) { return [&x, &w, options] { conv2d(x, w, {}, options); }; };
  expect_error<ValueError>(
      "conv2d: algo winograd needs stride 1, got (2, 2)",
      pinned({.stride = 2, .padding = 1, .padding_mode = PadMode::reflect, .algo = ConvAlgo::winograd}));
  expect_error<ValueError>(
      "conv2d: algo direct needs as many groups as channels, or a 1x1 filter with stride 1 and no padding; got 1 "
      "groups "
      "of 4 channels, filter (3, 3), stride (1, 1), padding (0, 0)",
      pinned({.padding = 1, .padding_mode = PadMode::circular, .algo = ConvAlgo::direct}));
  EXPECT_EQ(memory_statistics(Device::cpu()).system_allocations, before.system_allocations);
  EXPECT_EQ(memory_statistics(Device::cpu()).peak, before.peak);
}

TEST(ConvErrors, Sizes) {
  const Tensor x = zeros({2, 4, 5, 6}), w = zeros({6, 4, 3, 3});
  expect_error<ShapeError>("conv1d: input needs 3 dimensions (N, C, L) or 2 without N, got (2, 4, 5, 6)",
                           [&] { conv1d(x, w); });
  expect_error<ShapeError>("conv2d: input needs 4 dimensions (N, C, H, W) or 3 without N, got (5, 6)", [&] {
    conv2d(zeros({5, 6}), w);
  });
  expect_error<ShapeError>("conv3d: input needs 5 dimensions (N, C, D, H, W) or 4 without N, got (4, 5, 6)", [&] {
    conv3d(zeros({4, 5, 6}), w);
  });
  expect_error<ShapeError>("conv1d: weight needs 3 dimensions (K, C/groups, R), got (6, 4, 3, 3)", [&] {
    conv1d(zeros({2, 4, 5}), w);
  });
  expect_error<ShapeError>("conv2d: weight needs 4 dimensions (K, C/groups, R, S), got (6, 4, 3)", [&] {
    conv2d(x, zeros({6, 4, 3}));
  });
  expect_error<ShapeError>("conv3d: weight needs 5 dimensions (K, C/groups, T, R, S), got (6, 4, 3, 3)", [&] {
    conv3d(zeros({2, 4, 5, 6, 7}), w);
  });
  expect_error<ShapeError>("conv2d: weight (6, 4, 0, 3) has an empty kernel", [&] { conv2d(x, zeros({6, 4, 0, 3})); });
  expect_error<ShapeError>("conv2d: input has 4 channels but weight (6, 3, 3, 3) expects 3", [&] {
    conv2d(x, zeros({6, 3, 3, 3}));
  });
  expect_error<ShapeError>("conv2d: input has 4 channels but weight (6, 4, 3, 3) expects 8",
                           [&] { conv2d(x, w, {}, {.groups = 2}); });
  expect_error<ShapeError>("conv2d: bias (5,) does not have the 6 output channels", [&] { conv2d(x, w, zeros({5})); });
  expect_error<DTypeError>("conv2d: operands are f32 and f64", [&] {
    conv2d(x, zeros({6, 4, 3, 3}, {.dtype = DType::f64}));
  });
  expect_error<DTypeError>("conv3d: takes f32 or f64, not i64", [&] {
    conv3d(zeros({1, 1, 2, 2, 2}, {.dtype = DType::i64}), zeros({1, 1, 1, 1, 1}, {.dtype = DType::i64}));
  });
}

TEST(ConvErrors, Options) {
  const Tensor x = zeros({2, 4, 5, 6}), w = zeros({6, 4, 3, 3});
  expect_error<ValueError>("conv2d: stride (0, 1) must be positive", [&] { conv2d(x, w, {}, {.stride = {0, 1}}); });
  expect_error<ValueError>("conv2d: stride (-2, -2) must be positive", [&] { conv2d(x, w, {}, {.stride = -2}); });
  expect_error<ValueError>("conv2d: dilation (1, 0) must be positive", [&] { conv2d(x, w, {}, {.dilation = {1, 0}}); });
  expect_error<ValueError>("conv2d: padding (0, -1) must not be negative", [&] {
    conv2d(x, w, {}, {.padding = {{1, 0}, {1, -1}}});
  });
  expect_error<ValueError>("conv1d: padding (-3,) must not be negative", [&] {
    conv1d(zeros({1, 1, 9}), zeros({1, 1, 1}), {}, {.padding = -3});
  });
  expect_error<ValueError>("conv2d: groups 0 must be positive", [&] { conv2d(x, w, {}, {.groups = 0}); });
  expect_error<ShapeError>("conv2d: groups 3 does not divide the 4 input and 6 output channels",
                           [&] { conv2d(x, w, {}, {.groups = 3}); });
  expect_error<ShapeError>("conv2d: groups 4 does not divide the 4 input and 6 output channels", [&] {
    conv2d(x, zeros({6, 1, 3, 3}), {}, {.groups = 4});
  });
  expect_error<ValueError>("conv2d: padding \"same\" needs stride 1, not (1, 2)", [&] {
    conv2d(x, w, {}, {.stride = {1, 2}, .padding = PaddingRule::same});
  });
  expect_error<ValueError>("conv2d: reflect padding (5, 5) does not fit axis 2 of (2, 4, 5, 6)",
                           [&] { conv2d(x, w, {}, {.padding = 5, .padding_mode = PadMode::reflect}); });
  expect_error<ValueError>("conv2d: circular padding (7, 7) does not fit axis 3 of (2, 4, 5, 6)", [&] {
    conv2d(x, w, {}, {.padding = {5, 7}, .padding_mode = PadMode::circular});
  });
  expect_error<ValueError>("conv1d: replicate padding (2, 2) does not fit axis 2 of (1, 1, 0)", [&] {
    conv1d(zeros({1, 1, 0}), zeros({1, 1, 1}), {}, {.padding = 2, .padding_mode = PadMode::replicate});
  });
}

TEST(ConvErrors, EmptyResults) {
  expect_error<ShapeError>("conv2d: kernel of 5 does not fit the padded input of 4 on axis 2", [] {
    conv2d(zeros({1, 1, 4, 9}), zeros({1, 1, 5, 1}));
  });
  expect_error<ShapeError>("conv1d: kernel of 7 does not fit the padded input of 6 on axis 2", [] {
    conv1d(zeros({1, 1, 4}), zeros({1, 1, 3}), {}, {.padding = 1, .dilation = 3});
  });
  expect_error<ShapeError>("conv3d: kernel of 1 does not fit the padded input of 0 on axis 4", [] {
    conv3d(zeros({1, 1, 2, 2, 0}), zeros({1, 1, 1, 1, 1}));
  });
  expect_error<ShapeError>("conv_transpose2d: padding (0, 2) leaves a result of -1 on axis 3", [] {
    conv_transpose2d(zeros({1, 1, 3, 1}), zeros({1, 1, 3, 3}), {}, {.padding = {0, 2}});
  });
  expect_error<ShapeError>("conv_transpose1d: input (1, 2, 0) is empty on axis 2", [] {
    conv_transpose1d(zeros({1, 2, 0}), zeros({2, 1, 3}));
  });
}

TEST(ConvErrors, Overflow) {
  const Tensor x = zeros({1, 1, 4}), w = zeros({1, 1, 3});
  expect_error<ShapeError>("conv1d: dilation (" + std::to_string(kHuge) + ",) overflows with weight (1, 1, 3)",
                           [&] { conv1d(x, w, {}, {.dilation = kHuge}); });
  expect_error<ShapeError>("conv1d: padding (" + std::to_string(kHuge) + ",) overflows with input (1, 1, 4)",
                           [&] { conv1d(x, w, {}, {.padding = kHuge}); });
  expect_error<ShapeError>("conv1d: result (1099511627776, 1, 8388612) overflows", [] {
    conv1d(of_size({1LL << 40, 1, 4}), zeros({1, 1, 1}), {}, {.padding = 1LL << 22});
  });
  expect_error<ShapeError>(
      "conv_transpose1d: stride (" + std::to_string(kHuge) + ",) or padding (0,) overflows with input (1, 1, 4)",
      [&] { conv_transpose1d(x, w, {}, {.stride = kHuge}); });
  expect_error<ShapeError>(
      "conv_transpose1d: stride (1,) or padding (" + std::to_string(kHuge) + ",) overflows with input (1, 1, 4)",
      [&] { conv_transpose1d(x, w, {}, {.padding = kHuge}); });
  expect_error<ShapeError>(
      "conv_transpose1d: dilation (" + std::to_string(kHuge) + ",) overflows with weight (1, 1, 3)",
      [&] { conv_transpose1d(x, w, {}, {.dilation = kHuge}); });
  expect_error<ShapeError>("conv_transpose1d: groups " + std::to_string(kHuge) + " overflows with weight (0, 2, 3)",
                           [] {
                             conv_transpose1d(zeros({1, 0, 4}), zeros({0, 2, 3}), {}, {.groups = kHuge});
                           });
  expect_error<ShapeError>("conv_transpose1d: result (1, 1099511627776, 8388608) overflows", [] {
    conv_transpose1d(zeros({1, 1, 1}), of_size({1, 1LL << 40, 1}), {},
                     {.output_padding = (1LL << 23) - 1, .dilation = 1LL << 23});
  });
  expect_error<ShapeError>(
      "im2col: padding (" + std::to_string(kHuge) + ",) or dilation (1,) overflows with input (1, 1, 4)",
      [&] { im2col(x, {2}, {.padding = {kHuge}}); });
  expect_error<ShapeError>(
      "im2col: padding (0,) or dilation (" + std::to_string(kHuge) + ",) overflows with input (1, 1, 4)",
      [&] { im2col(x, {3}, {.dilation = {kHuge}}); });
  expect_error<ShapeError>("unfold: windows (1099511627776, 4, 1, 4194304) overflow", [] {
    unfold(of_size({1LL << 40, 1, (1LL << 22) + 3}), {1LL << 22});
  });
  expect_error<ShapeError>(
      "conv1d: padding {(0,), (" + std::to_string(INT64_MAX) + ",)} overflows with input (1, 1, 4)", [&] {
        conv1d(x, w, {}, {.padding = {{0, INT64_MAX}}});
      });
  expect_error<ValueError>("pad: replicate padding (" + std::to_string(kHuge) + ", " + std::to_string(kHuge) +
                               ") does not fit axis 0 of (3,)",
                           [] {
                             pad(zeros({3}), {{kHuge, kHuge}}, PadMode::replicate);
                           });
}

TEST(ConvErrors, Gradients) {
  const Tensor g = zeros({2, 3, 4, 4}), w = zeros({3, 1, 2, 2}), x = zeros({2, 1, 5, 5});
  expect_error<ShapeError>(
      "conv2d_input_grad: output gradient (2, 3, 4, 4) does not have the output's shape (2, 3, 5, 4)", [&] {
        conv2d_input_grad(g, w, {2, 1, 6, 5});
      });
  expect_error<ShapeError>("conv2d_input_grad: input (2, 1, -5, 5) has a negative size", [&] {
    conv2d_input_grad(g, w, {2, 1, -5, 5});
  });
  expect_error<ShapeError>("conv2d_weight_grad: weight (3, 1, 2, -1) has a negative size", [&] {
    conv2d_weight_grad(g, x, {3, 1, 2, -1});
  });
  expect_error<ValueError>("conv2d_weight_grad: padding_mode must be constant; differentiate pad for the others", [&] {
    conv2d_weight_grad(g, x, {3, 1, 2, 2}, {.padding_mode = PadMode::reflect});
  });
}

TEST(ConvErrors, Composed) {
  const Tensor x = zeros({1, 2, 3, 3}), w = zeros({2, 2, 2, 2});
  expect_error<ValueError>("composed::conv2d: groups 2 must be 1", [&] { composed::conv2d(x, w, {.groups = 2}); });
  expect_error<ValueError>("composed::conv2d: padding must be a number of zeros",
                           [&] { composed::conv2d(x, w, {.padding = PaddingRule::same}); });
  expect_error<ValueError>("composed::conv2d: stride (0, 1) must be positive", [&] {
    composed::conv2d(x, w, {.stride = {0, 1}});
  });
  expect_error<ShapeError>(
      "composed::conv2d: dilation (9223372036854775807, 9223372036854775807) overflows with "
      "weight (2, 2, 3, 3)",
      [&] {
        composed::conv2d(x, zeros({2, 2, 3, 3}), {.dilation = INT64_MAX});
      });
  expect_error<ShapeError>(
      "composed::conv2d: kernel of 9223372036854775808 does not fit the padded input of 3 on axis 2",
      [&] { composed::conv2d(x, w, {.dilation = INT64_MAX}); });
  expect_error<ShapeError>(
      "composed::conv2d_input_grad: output gradient (1, 2, 3, 3) does not have the output's shape "
      "(1, 2, 2, 2)",
      [&] {
        composed::conv2d_input_grad(x, w, {1, 2, 3, 3});
      });
  expect_error<ValueError>("composed::conv2d_weight_grad: dilation (0, 0) must be positive", [&] {
    composed::conv2d_weight_grad(x, x, {2, 2, 1, 1}, {.dilation = 0});
  });
  expect_error<ValueError>("im2col: stride (0, 1) must be positive", [&] { composed::im2col(x, {1, 1}, {0, 1}); });
  expect_error<ShapeError>("im2col: kernel of 4 does not fit the padded input of 3 on axis 2", [&] {
    composed::im2col(x, {4, 1});
  });
}

TEST(ConvErrors, Transposed) {
  const Tensor x = zeros({2, 4, 5, 6}), w = zeros({4, 3, 3, 3});
  expect_error<ShapeError>("conv_transpose1d: input needs 3 dimensions (N, C, L) or 2 without N, got (2, 4, 5, 6)",
                           [&] { conv_transpose1d(x, w); });
  expect_error<ShapeError>("conv_transpose3d: weight needs 5 dimensions (C, K/groups, T, R, S), got (4, 3, 3, 3)", [&] {
    conv_transpose3d(zeros({2, 4, 5, 6, 7}), w);
  });
  expect_error<ShapeError>("conv_transpose2d: input has 4 channels but weight (5, 3, 3, 3) expects 5", [&] {
    conv_transpose2d(x, zeros({5, 3, 3, 3}));
  });
  expect_error<ShapeError>("conv_transpose2d: groups 3 does not divide the 4 input channels",
                           [&] { conv_transpose2d(x, w, {}, {.groups = 3}); });
  expect_error<ShapeError>("conv_transpose2d: bias (3,) does not have the 6 output channels",
                           [&] { conv_transpose2d(x, w, zeros({3}), {.groups = 2}); });
  expect_error<ValueError>("conv_transpose2d: output_padding (1, 2) must be below stride (2, 2) or dilation (1, 1)",
                           [&] {
                             conv_transpose2d(x, w, {}, {.stride = 2, .output_padding = {1, 2}});
                           });
  expect_error<ValueError>("conv_transpose2d: output_padding (-1, 0) must not be negative", [&] {
    conv_transpose2d(x, w, {}, {.stride = 2, .output_padding = {-1, 0}});
  });
  expect_error<ValueError>("conv_transpose2d: padding \"same\" has no transposed form",
                           [&] { conv_transpose2d(x, w, {}, {.padding = PaddingRule::same}); });
  EXPECT_EQ(conv_transpose2d(x, w, {}, {.padding = PaddingRule::valid}).shape(), (Shape{2, 3, 7, 8}));
}

TEST(ConvErrors, OutputPaddingIsBelowStrideOrDilation) {
  const Tensor x = zeros({1, 1, 3}), w = zeros({1, 1, 2});
  const auto call = [&](std::int64_t stride, std::int64_t dilation, std::int64_t output_padding) {
    return conv_transpose1d(x, w, {}, {.stride = stride, .output_padding = output_padding, .dilation = dilation});
  };
  const auto refused = [&](std::int64_t stride, std::int64_t dilation, std::int64_t output_padding) {
    expect_error<ValueError>("conv_transpose1d: output_padding (" + std::to_string(output_padding) +
                                 ",) must be below stride (" + std::to_string(stride) + ",) or dilation (" +
                                 std::to_string(dilation) + ",)",
                             [&] { call(stride, dilation, output_padding); });
  };
  refused(1, 1, 1);
  refused(2, 1, 2);
  refused(1, 2, 2);
  refused(2, 2, 2);
  EXPECT_EQ(call(2, 1, 1).shape(), (Shape{1, 1, 7}));
  EXPECT_EQ(call(3, 2, 2).shape(), (Shape{1, 1, 11}));
  EXPECT_EQ(call(2, 3, 2).shape(), (Shape{1, 1, 10}));
}

TEST(ConvErrors, Windows) {
  const Tensor x = zeros({2, 3, 5, 6});
  expect_error<ShapeError>("im2col: input needs 3 to 5 dimensions, got (5, 6)", [] { im2col(zeros({5, 6}), {2}); });
  expect_error<ValueError>("im2col: kernel (2, 0) must be positive", [&] { im2col(x, {2, 0}); });
  expect_error<ValueError>("im2col: kernel (2, 2, 2) is not one number or 2", [&] { im2col(x, {2, 2, 2}); });
  expect_error<ValueError>("im2col: stride (0,) must be positive", [&] { im2col(x, {2}, {.stride = {0}}); });
  expect_error<ValueError>("unfold: padding (-1,) must not be negative", [&] { unfold(x, {2}, {.padding = {-1}}); });
  expect_error<ValueError>("unfold: dilation (1, 0) must be positive", [&] { unfold(x, {2}, {.dilation = {1, 0}}); });
  expect_error<ShapeError>("unfold: kernel of 6 does not fit the padded input of 5 on axis 2", [&] {
    unfold(x, {6, 1});
  });
  expect_error<ShapeError>("col2im: columns (40, 11) do not have the windows' shape (40, 12)", [] {
    col2im(zeros({40, 11}), {2, 3, 5, 6}, {2});
  });
  expect_error<ShapeError>("col2im: input (2, 3, -5, 6) has a negative size", [] {
    col2im(zeros({40, 12}), {2, 3, -5, 6}, {2});
  });
  expect_error<DTypeError>("col2im: columns of u8 do not add up", [] {
    col2im(zeros({40, 12}, {.dtype = DType::u8}), {2, 3, 5, 6}, {2});
  });
  expect_error<ShapeError>("fold: columns needs 3 dimensions, got (40, 12)", [] {
    fold(zeros({40, 12}), {5, 6}, {2});
  });
  expect_error<ShapeError>("fold: kernel (2, 2) of 4 places does not divide 11 columns", [] {
    fold(zeros({2, 11, 20}), {5, 6}, {2});
  });
  expect_error<ShapeError>("fold: columns (2, 12, 21) do not have the windows' shape (2, 12, 20)", [] {
    fold(zeros({2, 12, 21}), {5, 6}, {2});
  });
}

TEST(ConvErrors, Pad) {
  const Tensor x = zeros({2, 3});
  expect_error<ValueError>("pad: reflect padding (0, 3) does not fit axis 1 of (2, 3)", [&] {
    pad(x, {{0, 0}, {0, 3}}, PadMode::reflect);
  });
  expect_error<ValueError>("pad: circular padding (3, 0) does not fit axis 0 of (2, 3)", [&] {
    pad(x, {{3, 0}, {0, 0}}, PadMode::circular);
  });
  expect_error<ValueError>("pad: replicate padding (-1, 0) does not fit axis 0 of (2, 3)", [&] {
    pad(x, {{-1, 0}, {0, 0}}, PadMode::replicate);
  });
  expect_error<ValueError>("pad: replicate padding (1, 0) does not fit axis 0 of (0,)", [] {
    pad(zeros({0}), {{1, 0}}, PadMode::replicate);
  });
}

TEST(ConvErrors, Layers) {
  using namespace nn;  // NOLINT(google-build-using-namespace)
  expect_error<ValueError>("Conv1d: in_channels 0 must be positive", [] { Conv1d(0, 4, 3); });
  expect_error<ValueError>("Conv3d: out_channels -1 must be positive", [] { Conv3d(2, -1, 3); });
  expect_error<ValueError>("Conv2d: kernel (3, 0) must be positive", [] { Conv2d(3, 4, {3, 0}); });
  expect_error<ValueError>("Conv2d: stride (1, 0) must be positive", [] { Conv2d(3, 4, 3, {.stride = {1, 0}}); });
  expect_error<ValueError>("Conv2d: padding (-2, -2) must not be negative", [] { Conv2d(3, 4, 3, {.padding = -2}); });
  expect_error<ValueError>("Conv3d: dilation (1, 1, 0) must be positive", [] {
    Conv3d(3, 4, 3, {.dilation = {1, 1, 0}});
  });
  expect_error<ValueError>("Conv1d: groups 0 must be positive", [] { Conv1d(3, 4, 3, {.groups = 0}); });
  expect_error<ValueError>("Conv1d: groups 2 does not divide the 3 input and 4 output channels",
                           [] { Conv1d(3, 4, 3, {.groups = 2}); });
  expect_error<ValueError>("Conv2d: padding \"same\" needs stride 1, not (2, 2)",
                           [] { Conv2d(3, 4, 3, {.stride = 2, .padding = PaddingRule::same}); });
  expect_error<ValueError>("ConvTranspose2d: output_padding (2, 2) must be below stride (2, 2) or dilation (1, 1)",
                           [] { ConvTranspose2d(3, 4, 3, {.stride = 2, .output_padding = 2}); });
  expect_error<ValueError>("ConvTranspose1d: output_padding (-1,) must not be negative",
                           [] { ConvTranspose1d(3, 4, 3, {.output_padding = -1}); });
  expect_error<ValueError>("ConvTranspose3d: padding \"same\" has no transposed form",
                           [] { ConvTranspose3d(3, 4, 3, {.padding = PaddingRule::same}); });
  expect_error<ValueError>("ConvTranspose2d: groups 4 does not divide the 8 input and 6 output channels",
                           [] { ConvTranspose2d(8, 6, 3, {.groups = 4}); });
}

// The message of f's ValueError without the name of who throws it.
template <class F>
std::string words(const F& f) {
  try {
    f();
  } catch (const ValueError& error) {
    const std::string message = error.what();
    return message.substr(message.find(": "));
  }
  return "no error";
}

TEST(ConvErrors, LayersSayTheWordsOfTheirFunctions) {
  const Tensor x = zeros({1, 2, 9, 9}), w = zeros({2, 2, 3, 3});
  const Conv2dOptions forward[] = {{.stride = {0, 1}},
                                   {.padding = {{1, 2}, {0, -1}}},
                                   {.dilation = -3},
                                   {.groups = 0},
                                   {.stride = {1, 2}, .padding = PaddingRule::same}};
  for (const Conv2dOptions& o : forward) {
    EXPECT_EQ(words([&] { nn::Conv2d(2, 2, 3, o); }), words([&] { conv2d(x, w, {}, o); }));
    EXPECT_EQ(words([&] { conv<2>(x, w, {}, o); }), words([&] { conv2d(x, w, {}, o); }));
    EXPECT_NE(words([&] { conv2d(x, w, {}, o); }), "no error");
  }
  const ConvTranspose2dOptions transposed[] = {
      {.stride = 0}, {.padding = PaddingRule::same}, {.output_padding = {-1, 0}}, {.stride = 2, .output_padding = 2}};
  for (const ConvTranspose2dOptions& o : transposed) {
    EXPECT_EQ(words([&] { nn::ConvTranspose2d(2, 2, 3, o); }), words([&] { conv_transpose2d(x, w, {}, o); }));
    EXPECT_NE(words([&] { conv_transpose2d(x, w, {}, o); }), "no error");
  }
}

TEST(ConvErrors, ConvPaddedByItsKernel) {
  using nn::Conv;
  expect_error<ValueError>("Conv: the kernel must be odd to be padded by (k - 1)/2, got 3x4", [] {
    Conv(3, 4, {3, 4});
  });
  expect_error<ValueError>("Conv: kernel (0, 0) must be positive", [] { Conv(3, 4, 0); });
  expect_error<ValueError>("Conv: stride (-1, -1) must be positive", [] { Conv(3, 4, 3, {.stride = -1}); });
  expect_error<ValueError>("Conv: out_channels 0 must be positive", [] { Conv(3, 0, 3); });
  expect_error<ValueError>("Conv: groups 2 does not divide the 3 input and 4 output channels",
                           [] { Conv(3, 4, 3, {.groups = 2}); });
  expect_error<ValueError>("Conv: dilation " + std::to_string(kHuge) + " overflows with the kernel 5x5",
                           [] { Conv(3, 4, 5, {.dilation = kHuge}); });
  const std::string no_padding = "Conv: the padding follows from the kernel, and no option may give it";
  expect_error<ValueError>(no_padding, [] { Conv(3, 4, 3, {.padding = {0, 1}}); });
  expect_error<ValueError>(no_padding, [] { Conv(3, 4, 3, {.padding = PaddingRule::same}); });
  expect_error<ShapeError>("Conv: weight must be (4, 3, 3, 3), got (4, 3, 1, 1)", [] {
    Conv(3, 4, 3).with_parameters(zeros({4, 3, 1, 1}), {});
  });
}

}  // namespace
}  // namespace weft
