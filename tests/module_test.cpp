// Freezing, copying and holding modules.
#include <gtest/gtest.h>

#include "tests/nn_support.h"
#include "weft/nn/clone.h"
#include "weft/nn/containers.h"

namespace weft::nn {
namespace {

Sequential small() {
  return Sequential(Conv2d(2, 3, 3), BatchNorm2d(3), ReLU(), Sequential(Flatten(), Linear(12, 2), BatchNorm1d(2)));
}

TEST(Freeze, KeepsModeStatisticsAndParameters) {
  Sequential model = small();
  model[1].freeze();
  model[3].freeze();
  model.train();
  EXPECT_TRUE(model.is_training());
  EXPECT_TRUE(model[0].is_training());
  EXPECT_FALSE(model[1].is_training());
  EXPECT_FALSE(model[3].named_children()[2].second->is_training());
  const StateDict before = cloned(model.state_dict());
  sum(model(randn({4, 2, 4, 4}))).backward();
  for (const auto& [name, parameter] : model.named_parameters()) {
    EXPECT_EQ(parameter.requires_grad(), name[0] == '0') << name;
    EXPECT_EQ(parameter.grad().defined(), name[0] == '0') << name;
  }
  for (const auto& [name, buffer] : model.named_buffers()) {
    EXPECT_EQ(largest_difference(buffer, Tensor(before.at(name))), 0) << name;
  }
}

TEST(Freeze, UnfreezesAPartOfAFrozenModule) {
  Sequential model = small();
  model.freeze();
  model[3].unfreeze();
  EXPECT_FALSE(model[3].is_training());
  model.train();
  EXPECT_FALSE(model.is_training());
  EXPECT_FALSE(model[1].is_training());
  EXPECT_TRUE(model[3].is_training());
  EXPECT_TRUE(model.is_frozen());
  EXPECT_FALSE(model[3].is_frozen());
  for (const auto& [name, parameter] : model.named_parameters()) {
    EXPECT_EQ(parameter.requires_grad(), name[0] == '3') << name;
  }
  model.requires_grad_();
  for (const Tensor& parameter : model.parameters()) EXPECT_TRUE(parameter.requires_grad());
}

TEST(Clone, CopiesValuesDtypesOrdersAndModes) {
  Sequential model = small();
  model.to(DType::f64);
  model[1].freeze();
  model[3].eval();
  model.parameters()[0].set_requires_grad(false);
  model(randn({4, 2, 4, 4}, {.dtype = DType::f64}));
  Sequential copy = clone(model, small);
  const NamedTensors mine = model.named_parameters(), others = copy.named_parameters();
  ASSERT_EQ(mine.size(), others.size());
  for (std::size_t i = 0; i < mine.size(); ++i) {
    EXPECT_EQ(others[i].second.dtype(), DType::f64);
    EXPECT_EQ(others[i].second.array().strides(), mine[i].second.array().strides());
    EXPECT_EQ(others[i].second.requires_grad(), mine[i].second.requires_grad()) << mine[i].first;
    EXPECT_NE(others[i].second.array().data(), mine[i].second.array().data());
  }
  const StateDict state = model.state_dict(), copied = copy.state_dict();
  for (const auto& [name, array] : state) {
    EXPECT_EQ(largest_difference(Tensor(array), Tensor(copied.at(name))), 0) << name;
  }
  EXPECT_TRUE(copy.is_training());
  EXPECT_TRUE(copy[1].is_frozen());
  EXPECT_FALSE(copy[3].is_training());
  copy.train();
  EXPECT_FALSE(copy[1].is_training());
  EXPECT_TRUE(copy[3].is_training());
}

TEST(Clone, RefusesAnotherStructure) {
  const Sequential model(Linear(2, 3));
  EXPECT_EQ(message_of<ShapeError>([&] { clone(model, [] { return Sequential(Linear(2, 4)); }); }),
            "copy_state: parameter \"0.weight\" has shape (3, 2), that of the copy (4, 2)");
  EXPECT_EQ(message_of<ValueError>([&] { clone(model, [] { return Sequential(Identity()); }); }),
            "copy_state: the copy has no parameter \"0.bias\"");
  EXPECT_EQ(message_of<ValueError>([&] { clone(model, [] { return Sequential(Linear(2, 3), ReLU()); }); }),
            "copy_state: a module of the model has 1 children, its copy 2");
}

TEST(Clone, RefusesTheModelsOwnTensors) {
  const Linear inner(2, 3);  // a copy of a layer shares its parameters
  const Sequential model(inner);
  sum(model(ones({1, 2}))).backward();
  EXPECT_EQ(message_of<ValueError>([&] { clone(model, [&] { return Sequential(inner); }); }),
            "copy_state: parameter \"0.weight\" of the copy is the model's own tensor");
  EXPECT_TRUE(model.parameters()[0].grad().defined());
}

TEST(ModuleList, HoldsModulesByIndex) {
  ModuleList list;
  list.append(Linear(2, 3)).append(std::make_shared<ReLU>());
  EXPECT_EQ(names_of(list.named_parameters()), (std::vector<std::string>{"0.weight", "0.bias"}));
  EXPECT_EQ(list[0](ones({1, 2})).shape(), (Shape{1, 3}));
  std::int64_t seen = 0;
  for (const auto& layer : list) seen += layer->parameter_count() + 1;
  EXPECT_EQ(seen, 11);
  EXPECT_EQ(message_of<IndexError>([&] { list[2]; }), "ModuleList: index 2 of 2 modules");
  EXPECT_THROW(list[-1], IndexError);
  EXPECT_THROW(list.append(std::shared_ptr<Layer>()), ValueError);
  EXPECT_EQ(list.size(), 2);
}

TEST(ModuleDict, HoldsModulesByNameInOrder) {
  ModuleDict<Linear> dict;
  dict.insert("z", Linear(2, 3)).insert("a", Linear(3, 2, {.bias = false}));
  EXPECT_EQ(names_of(dict.named_parameters()), (std::vector<std::string>{"z.weight", "z.bias", "a.weight"}));
  EXPECT_EQ(dict["a"].weight().shape(), (Shape{2, 3}));
  std::string order;
  for (const auto& entry : dict) order += entry.first;
  EXPECT_EQ(order, "za");
  EXPECT_TRUE(dict.contains("a"));
  EXPECT_FALSE(dict.contains("b"));
  EXPECT_THROW(dict["b"], IndexError);
  EXPECT_THROW(dict.insert("a", Linear(1, 1)), ValueError);
  EXPECT_EQ(dict.size(), 2);
}

}  // namespace
}  // namespace weft::nn
