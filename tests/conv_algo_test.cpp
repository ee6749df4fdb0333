// The choice of a convolution's algorithm: pinned, by the table, and timed.
#include "weft/conv_algo.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/device/conv_algo.h"
#include "core/ops/conv_timing.h"
#include "tests/conv_shapes.h"
#include "weft/io.h"
#include "weft/weft.h"

namespace weft {
namespace {

bool same_bits(const Tensor& a, const Tensor& b) { return a.to_vector<float>() == b.to_vector<float>(); }

struct ConvAlgoTest : ::testing::Test {
  ~ConvAlgoTest() override {
    set_conv_timing(false);
    clear_conv_choices();
    std::filesystem::remove(path);
  }
  Tensor run(ConvAlgo algo) const { return conv2d(x, weight, {}, {.padding = 1, .algo = algo}); }

  Tensor x = randn({2, 5, 9, 8}), weight = randn({7, 5, 3, 3});
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("weft_conv_algo_test_" + std::to_string(::getpid()) + ".safetensors");
};

/// A 3x3 convolution of maps of 9x8, padded by 1.
ConvShape sizes(std::int64_t n, std::int64_t c, std::int64_t k, std::int64_t groups) {
  return make_shape(n, c, k, {1, 9, 8}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}, groups);
}

/// All passes of `automatic` have the bits of what the table names, which is returned.
ConvAlgo table_choice(const ConvShape& s) {
  SCOPED_TRACE(describe(s));
  const Tensor x = randn({s.n, s.c, 9, 8}), weight = randn({s.k, s.c / s.groups, 3, 3}), g = randn({s.n, s.k, 9, 8});
  const auto pass = [&](ConvPass which, ConvAlgo algo) {
    const Conv2dOptions options{.padding = 1, .groups = s.groups, .algo = algo};
    if (which == ConvPass::forward) return conv2d(x, weight, {}, options);
    if (which == ConvPass::input_grad) return conv2d_input_grad(g, weight, x.shape(), options);
    return conv2d_weight_grad(g, x, weight.shape(), options);
  };
  ConvAlgo chosen = ConvAlgo::automatic;
  bool distinct = false;  // some pass tells the algorithms apart; sums of few terms may agree
  for (const ConvPass which : {ConvPass::forward, ConvPass::input_grad, ConvPass::weight_grad}) {
    chosen = backend(Device::cpu()).unlocked().conv_algo(which, s, DType::f32);
    EXPECT_NE(chosen, ConvAlgo::automatic);
    const Tensor found = pass(which, ConvAlgo::automatic);
    EXPECT_TRUE(same_bits(found, pass(which, chosen))) << "pass " << static_cast<int>(which) << ", " << name(chosen);
    bool all = true;
    for (const ConvAlgo other : {ConvAlgo::im2col, ConvAlgo::direct, ConvAlgo::winograd}) {
      if (other != chosen && applies(other, s, DType::f32)) all = all && !same_bits(found, pass(which, other));
    }
    distinct = distinct || all;
  }
  EXPECT_TRUE(distinct);
  return chosen;
}

TEST_F(ConvAlgoTest, AutomaticIsWhatTheTableSays) {
  EXPECT_EQ(table_choice(sizes(2, 5, 7, 1)), ConvAlgo::im2col);
  EXPECT_EQ(table_choice(sizes(16, 128, 136, 1)), ConvAlgo::winograd);
  EXPECT_EQ(table_choice(sizes(16, 19, 19, 19)), ConvAlgo::direct);
  EXPECT_EQ(table_choice(sizes(16, 6, 18, 6)), ConvAlgo::direct);
}

TEST(ConvRules, WinogradIsChosenWhereItPays) {
  const auto chosen = [](ConvPass pass, const ConvShape& s, DType dtype = DType::f32) {
    return backend(Device::cpu()).unlocked().conv_algo(pass, s, dtype) == ConvAlgo::winograd;
  };
  const auto map = [](std::int64_t n, std::int64_t channels, std::int64_t side) {
    return make_shape(n, channels, 2 * channels, {1, side, side}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1});
  };
  for (const ConvPass pass : {ConvPass::forward, ConvPass::input_grad}) {
    EXPECT_TRUE(chosen(pass, map(4, 16, 8)));
    EXPECT_FALSE(chosen(pass, map(4, 15, 8)));   // too few channels
    EXPECT_FALSE(chosen(pass, map(3, 16, 8)));   // too few positions for the transformed weight
    EXPECT_TRUE(chosen(pass, map(8, 16, 7)));    // 49 of 64 in tiles
    EXPECT_FALSE(chosen(pass, map(64, 16, 9)));  // 81 of 144
    EXPECT_FALSE(chosen(pass, map(4, 16, 8), DType::f64));
  }
  EXPECT_TRUE(chosen(ConvPass::weight_grad, map(8, 32, 8)));
  EXPECT_FALSE(chosen(ConvPass::weight_grad, map(8, 31, 8)));
  EXPECT_FALSE(chosen(ConvPass::weight_grad, map(7, 32, 8)));
  // Without padding the tiles of y, 7x7, and of x's gradient, 9x9, differ.
  const ConvShape smaller = make_shape(8, 16, 16, {1, 9, 9}, {1, 3, 3});
  EXPECT_TRUE(chosen(ConvPass::forward, smaller));
  EXPECT_FALSE(chosen(ConvPass::input_grad, smaller));
}

// Each need alone; conv_errors_test has the messages, but for this dtype, which only GPUs compute with.
TEST(ConvRules, WinogradNeedsAllOfThem) {
  ConvShape fits = sizes(2, 5, 7, 1);
  fits.algo = ConvAlgo::winograd;
  EXPECT_TRUE(fits_winograd(fits));
  EXPECT_TRUE(applies(ConvAlgo::winograd, fits, DType::f64));
  EXPECT_FALSE(applies(ConvAlgo::winograd, fits, DType::bf16));
  try {
    check_algo("conv2d", 2, fits, DType::bf16);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const ValueError& error) {
    EXPECT_STREQ(error.what(), "conv2d: algo winograd needs f32 or f64, got bf16");
  }
  const std::function<void(ConvShape&)> changes[] = {
      [](ConvShape& s) { s.filter[0] = 3; },   [](ConvShape& s) { s.filter[1] = 1; },
      [](ConvShape& s) { s.filter[2] = 2; },   [](ConvShape& s) { s.in[0] = 2; },
      [](ConvShape& s) { s.padding[0] = 1; },  [](ConvShape& s) { s.stride[1] = 2; },
      [](ConvShape& s) { s.stride[2] = 2; },   [](ConvShape& s) { s.dilation[1] = 2; },
      [](ConvShape& s) { s.dilation[2] = 2; }, [](ConvShape& s) { s.groups = 2; },
  };
  for (const auto& change : changes) {
    ConvShape shape = fits;
    change(shape);
    EXPECT_FALSE(fits_winograd(shape)) << &change - changes;
  }
}

// Numbers added around x are no padding to an algorithm: y's rows are rows of the padded x.
TEST_F(ConvAlgoTest, PaddedPointwiseConvolutionsAreDirect) {
  const Tensor filters = randn({6, 5, 1, 1});
  const auto pinned = [&](ConvAlgo algo) {
    return conv2d(x, filters, {}, {.padding = {1, 2}, .padding_mode = PadMode::reflect, .algo = algo});
  };
  EXPECT_LT(max(abs(pinned(ConvAlgo::direct) - pinned(ConvAlgo::reference))).item<float>(), 1e-5f);
}

TEST_F(ConvAlgoTest, TimingIsOffAtFirst) {
  EXPECT_FALSE(conv_timing());
  run(ConvAlgo::automatic);
  EXPECT_TRUE(conv_choices().empty());
}

TEST_F(ConvAlgoTest, TimingChoosesOncePerPassAndShape) {
  set_conv_timing(true);
  x.set_requires_grad(true);
  weight.set_requires_grad(true);
  sum(run(ConvAlgo::automatic)).backward();
  const ConvChoices choices = conv_choices();
  ASSERT_EQ(choices.size(), 3u);
  EXPECT_EQ(choices.begin()->first,
            "cpu f32 forward n 2 c 5 k 7 groups 1 in 1x9x8 filter 1x3x3 stride 1x1x1 padding 0x1x1 dilation 1x1x1 out "
            "1x9x8");
  sum(run(ConvAlgo::automatic)).backward();
  EXPECT_EQ(conv_choices(), choices);
  conv2d(x, weight, {}, {.stride = 2});  // has one algorithm: nothing to time
  EXPECT_EQ(conv_choices(), choices);
}

TEST_F(ConvAlgoTest, ChoicesArePreferredToTiming) {
  set_conv_timing(true);
  run(ConvAlgo::automatic);
  const std::string work = conv_choices().begin()->first;
  ASSERT_FALSE(same_bits(run(ConvAlgo::winograd), run(ConvAlgo::im2col)));
  for (const ConvAlgo algo : {ConvAlgo::winograd, ConvAlgo::im2col}) {
    clear_conv_choices();
    add_conv_choices({{work, std::string(name(algo))}});
    EXPECT_TRUE(same_bits(run(ConvAlgo::automatic), run(algo))) << name(algo);
  }
  clear_conv_choices();
  add_conv_choices({{work, "direct"}});  // which does not apply, and is not taken
  run(ConvAlgo::automatic);
  EXPECT_NE(conv_choices().at(work), "direct");
}

// Winograd's algorithm alone lets one pixel change outputs that do not see it.
TEST_F(ConvAlgoTest, WhatTimingChoosesKeepsThePromise) {
  set_conv_timing(true);
  run(ConvAlgo::automatic);
  const std::string work = conv_choices().begin()->first;
  std::vector<float> values = x.to_vector<float>();
  values[0] = 1e7f;
  x = Tensor::from(std::span<const float>(values), x.shape());
  const auto error = [&](ConvAlgo algo) {  // at the outputs that do not see the pixel
    const Tensor difference = abs(run(algo) - run(ConvAlgo::reference));
    return max(difference.slice(2, 2, 9)).item<float>();
  };
  clear_conv_choices();
  add_conv_choices({{work, "winograd"}});
  EXPECT_LT(error(ConvAlgo::automatic), 1e-4f);
  EXPECT_GT(error(ConvAlgo::winograd), 1e-2f);
}

// A GPU has only the bare algorithm: it is not taken even where a checkpoint names it.
TEST_F(ConvAlgoTest, TimingLeavesWinogradOutOnAGpu) {
  ConvShape s = sizes(2, 5, 7, 1);
  add_conv_choices(
      {{"cuda f32 forward n 2 c 5 k 7 groups 1 in 1x9x8 filter 1x3x3 stride 1x1x1 padding 0x1x1 dilation "
        "1x1x1 out 1x9x8",
        "winograd"}});
  try {
    const ConvAlgo chosen =
        timed_algo(ConvPass::forward, s, DType::f32, Device::cuda(),
                   [](const ConvShape& candidate) { EXPECT_NE(candidate.algo, ConvAlgo::winograd); });
    EXPECT_NE(chosen, ConvAlgo::winograd);
  } catch (const DeviceError&) {  // without a GPU: other algorithms were to be timed
  }
}

TEST_F(ConvAlgoTest, CheckpointsKeepTheChoices) {
  set_conv_timing(true);
  run(ConvAlgo::automatic);
  const ConvChoices choices = conv_choices();
  nn::save(path, {{"weight", weight.array()}}, {{"model", "none"}});
  clear_conv_choices();
  EXPECT_EQ(nn::load(path).count("weight"), 1u);
  EXPECT_EQ(conv_choices(), choices);
  EXPECT_EQ(load_safetensors(path).metadata.at("model"), "none");
}

TEST_F(ConvAlgoTest, CheckpointsWithoutChoicesHaveNone) {
  nn::save(path, {{"weight", weight.array()}});
  EXPECT_EQ(load_safetensors(path).metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
}

TEST_F(ConvAlgoTest, BadChoicesInACheckpointAreFormatErrors) {
  for (const char* text : {"", "[", "[1]", "\"a\"", "{}]", R"({"a": 1})", R"({"a": "fast"})",
                           R"({"a": {"b": "im2col"}})", R"({"a": "im2col", "b": null})", R"({"a": "im2col")"}) {
    save_safetensors(path, {{}, {{"weft.conv_choices", text}}});
    EXPECT_THROW(nn::load(path), FormatError) << text;
    EXPECT_TRUE(conv_choices().empty());
  }
}

TEST_F(ConvAlgoTest, GradientsOfGradientsKeepThePin) {
  const Tensor y = run(ConvAlgo::winograd);
  x.set_requires_grad(true);
  const auto twice = [&](ConvAlgo algo) {
    const Tensor first = grad({sum(square(run(algo)))}, {x}, {}, {.create_graph = true})[0];
    return grad({sum(square(first))}, {x})[0];
  };
  const Tensor pinned = twice(ConvAlgo::reference), found = twice(ConvAlgo::winograd);
  EXPECT_FALSE(same_bits(pinned, found));
  EXPECT_LT(max(abs(pinned - found)).item<float>(), 1e-4f * max(abs(pinned)).item<float>());
}

}  // namespace
}  // namespace weft
