#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/nn_support.h"
#include "weft/weft.h"

namespace {

using namespace weft;      // NOLINT(google-build-using-namespace)
using namespace weft::nn;  // NOLINT(google-build-using-namespace)

TEST(GroupNorm, WrongArguments) {
  const Tensor x = randn({2, 4, 3});
  EXPECT_EQ(message_of<ShapeError>([] { group_norm(randn({4}), 2); }),
            "group_norm: input needs 2 to 7 dimensions (N, C, ...), got (4,)");
  EXPECT_EQ(message_of<ValueError>([&] { group_norm(x, 3); }),
            "group_norm: 3 groups do not divide the channels of input (2, 4, 3)");
  EXPECT_EQ(message_of<ValueError>([&] { group_norm(x, 0); }),
            "group_norm: 0 groups do not divide the channels of input (2, 4, 3)");
  EXPECT_EQ(message_of<ValueError>([] {
              group_norm(randn({1, 4, 1}), 4);
            }),
            "group_norm: needs more than one value per group, got input (1, 4, 1) with 4 groups");
  EXPECT_EQ(message_of<ValueError>([&] { group_norm(x, 2, {}, {}, -1); }), "group_norm: eps must not be -1");
  EXPECT_EQ(message_of<ShapeError>([&] { group_norm(x, 2, ones({2})); }),
            "group_norm: weight (2,) of f32 does not fit (4,) of input (2, 4, 3) of f32");
  EXPECT_EQ(message_of<ShapeError>([&] { group_norm(x, 2, ones({4}), zeros({4}, {.dtype = DType::f64})); }),
            "group_norm: bias (4,) of f64 does not fit (4,) of input (2, 4, 3) of f32");
  EXPECT_EQ(message_of<DTypeError>([&] { group_norm(x.to(DType::i64), 2); }), "group_norm: takes f32 or f64, not i64");
}

TEST(LayerNorm, WrongArguments) {
  const Tensor x = randn({2, 4, 3});
  EXPECT_EQ(message_of<ShapeError>([&] { layer_norm(x, {4}); }),
            "layer_norm: the last axes of input (2, 4, 3) must be a normalized_shape of at least one axis, got (4,)");
  EXPECT_EQ(message_of<ShapeError>([&] { layer_norm(x, {}); }),
            "layer_norm: the last axes of input (2, 4, 3) must be a normalized_shape of at least one axis, got ()");
  EXPECT_EQ(
      message_of<ShapeError>([&] {
        layer_norm(x, {1, 2, 4, 3});
      }),
      "layer_norm: the last axes of input (2, 4, 3) must be a normalized_shape of at least one axis, got (1, 2, 4, 3)");
  EXPECT_EQ(message_of<ShapeError>([&] {
              layer_norm(x, {4, 3}, ones({3}));
            }),
            "layer_norm: weight (3,) of f32 does not fit (4, 3) of input (2, 4, 3) of f32");
  EXPECT_EQ(message_of<ValueError>([&] { layer_norm(x, {3}, {}, {}, std::nan("")); }),
            "layer_norm: eps must not be nan");
}

TEST(InstanceNorm, WrongArguments) {
  EXPECT_EQ(message_of<ShapeError>([] {
              instance_norm(randn({2, 4}));
            }),
            "instance_norm: input needs 3 to 7 dimensions (N, C, L, ...), got (2, 4)");
  EXPECT_EQ(message_of<ValueError>([] {
              instance_norm(randn({2, 4, 1, 1}));
            }),
            "instance_norm: needs more than one value per channel, got input (2, 4, 1, 1)");
  EXPECT_EQ(message_of<ShapeError>([] {
              instance_norm(randn({2, 4, 3}), ones({3}));
            }),
            "instance_norm: weight (3,) of f32 does not fit (4,) of input (2, 4, 3) of f32");
}

TEST(InstanceNorm, NoImagesOfAnySize) {
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();  // its square is 1 modulo 2^64
  EXPECT_EQ(instance_norm(zeros({0, 2, most, 1})).shape(), (Shape{0, 2, most, 1}));
  EXPECT_EQ(message_of<ShapeError>([] {
              instance_norm(zeros({0, 2, most, most}));
            }),
            "shape: (1, 9223372036854775807, 9223372036854775807) has more than 2^63 - 1 elements");
}

TEST(GroupNorm, AMeanFarFromZeroDoesNotTakeTheVariance) {
  manual_seed(3);
  const Tensor x = randn({4, 8, 16, 16});
  const Tensor far = (x + 4096).to(DType::f32);
  const Tensor expected = group_norm((far - 4096).to(DType::f64), 2);
  EXPECT_LT(largest_difference(group_norm(far, 2).to(DType::f64), expected), 2e-3);
  EXPECT_LT(largest_difference(group_norm(full({2, 4, 3, 3}, 0.1), 2), zeros({2, 4, 3, 3})), 1e-3);
}

TEST(GroupNorm, KeepsTheOrderOfMemory) {
  Array memory = Array::empty_like(Layout::channels_last({2, 4, 3, 5}), DType::f32, Device::cpu());
  memory.copy_from(randn({2, 4, 3, 5}).array());
  EXPECT_TRUE(group_norm(Tensor(memory), 2).array().layout().is_channels_last());
}

TEST(NormModules, AreTheirFunctionsUnderPyTorchsNames) {
  const Tensor x = randn({2, 4, 3, 5}) * 3 + 1;
  GroupNorm group(2, 4, {.eps = 0.1});
  EXPECT_EQ(names_of(group.named_parameters()), (std::vector<std::string>{"weight", "bias"}));
  group.load_state_dict({{"weight", randn({4}).array()}, {"bias", randn({4}).array()}});
  const StateDict state = group.state_dict();
  EXPECT_EQ(largest_difference(group(x), group_norm(x, 2, Tensor(state.at("weight")), Tensor(state.at("bias")), 0.1)),
            0);
  EXPECT_TRUE(GroupNorm(2, 4, {.affine = false}).parameters().empty());
  EXPECT_EQ(largest_difference(GroupNorm(2, 4)(x), group_norm(x, 2)), 0);

  LayerNorm layer({3, 5});
  EXPECT_EQ(layer.named_parameters()[0].second.shape(), (Shape{3, 5}));
  EXPECT_EQ(names_of(layer.named_parameters()), (std::vector<std::string>{"weight", "bias"}));
  EXPECT_EQ(largest_difference(layer(x), layer_norm(x, {3, 5})), 0);
  EXPECT_EQ(names_of(LayerNorm(5, {.bias = false}).named_parameters()), (std::vector<std::string>{"weight"}));
  EXPECT_TRUE(LayerNorm(5, {.elementwise_affine = false}).parameters().empty());
  EXPECT_EQ(largest_difference(LayerNorm(5)(x), layer_norm(x, {5})), 0);

  InstanceNorm2d instance(4, {.affine = true});
  EXPECT_EQ(names_of(instance.named_parameters()), (std::vector<std::string>{"weight", "bias"}));
  EXPECT_TRUE(InstanceNorm2d(4).state_dict().empty());
  EXPECT_EQ(largest_difference(instance(x), instance_norm(x)), 0);
  instance.eval();
  EXPECT_EQ(largest_difference(instance(x), instance_norm(x)), 0);
  EXPECT_EQ(InstanceNorm1d(3)(randn({2, 3, 5})).shape(), (Shape{2, 3, 5}));
  EXPECT_EQ(InstanceNorm3d(3)(randn({2, 3, 2, 2, 5})).shape(), (Shape{2, 3, 2, 2, 5}));

  BatchNorm3d batch(3);
  const Tensor volumes = randn({2, 3, 2, 4, 5});
  EXPECT_LT(largest_difference(batch(volumes), BatchNorm2d(3)(reshape(volumes, {2, 3, 8, 5})).reshape({2, 3, 2, 4, 5})),
            1e-6);
  EXPECT_EQ(batch.state_dict().size(), 5U);
}

TEST(NormModules, WrongArguments) {
  EXPECT_EQ(message_of<ValueError>([] { GroupNorm(3, 4); }), "GroupNorm: 3 groups do not divide 4 channels");
  EXPECT_EQ(message_of<ValueError>([] { GroupNorm(0, 4); }),
            "GroupNorm: the number of groups must be at least 1, got 0");
  EXPECT_EQ(message_of<ValueError>([] { GroupNorm(1, 0); }),
            "GroupNorm: the number of channels must be at least 1, got 0");
  EXPECT_EQ(message_of<ValueError>([] { LayerNorm(0); }), "LayerNorm: every size must be at least 1, got 0");
  EXPECT_EQ(message_of<ValueError>([] { LayerNorm(Shape{}); }),
            "LayerNorm: the number of axes must be at least 1, got 0");
  EXPECT_EQ(message_of<ValueError>([] { LayerNorm(3, {.eps = -1}); }),
            "LayerNorm: eps must be finite and not negative, got -1");
  EXPECT_EQ(message_of<ValueError>([] { InstanceNorm2d{0}; }),
            "InstanceNorm: the number of features must be at least 1, got 0");
  EXPECT_EQ(message_of<ShapeError>([] {
              InstanceNorm1d(3)(randn({3, 3}));
            }),
            "InstanceNorm1d: input must be (N, C, L), got (3, 3)");
  EXPECT_EQ(message_of<ShapeError>([] {
              InstanceNorm2d(3)(randn({2, 3, 3}));
            }),
            "InstanceNorm2d: input must be (N, C, H, W), got (2, 3, 3)");
  EXPECT_EQ(message_of<ShapeError>([] {
              InstanceNorm3d(3)(randn({2, 3, 3, 3}));
            }),
            "InstanceNorm3d: input must be (N, C, D, H, W), got (2, 3, 3, 3)");
  EXPECT_EQ(message_of<ShapeError>([] {
              InstanceNorm2d(3)(randn({2, 4, 3, 3}));
            }),
            "InstanceNorm: input (2, 4, 3, 3) has not the 3 features of the module");
  EXPECT_EQ(message_of<ShapeError>([] {
              BatchNorm3d(3)(randn({2, 3, 3, 3}));
            }),
            "BatchNorm3d: input must be (N, C, D, H, W), got (2, 3, 3, 3)");
}

}  // namespace
