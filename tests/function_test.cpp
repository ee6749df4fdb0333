#include "weft/function.h"

#include <gtest/gtest.h>

#include "tests/error_support.h"
#include "tests/leaves.h"
#include "weft/error.h"
#include "weft/ops.h"

namespace weft {
namespace {

using Gradients = std::vector<Tensor>;

/// x³, recorded as a function outside of weft would be.
Tensor cube(const Tensor& x) {
  return record("cube", power(x.detach(), 3).array(), {x}, {Save::input("x", 0)},
                [](const SavedValues& saved, const Tensor& g) { return Gradients{g * 3 * square(saved["x"])}; });
}

/// e^x from its saved output.
Tensor exponential(const Tensor& x) {
  return record("exponential", exp(x.detach()).array(), {x}, {Save::output("y")},
                [](const SavedValues& saved, const Tensor& g) { return Gradients{g * saved["y"]}; });
}

/// A function whose backward returns what it is told to.
Tensor careless(const std::vector<Tensor>& inputs, const BackwardFunction& backward,
                const std::vector<Save>& saves = {}) {
  return record("careless", inputs.front().array().clone(), inputs, saves, backward);
}

Tensor derivative(const Tensor& y, const Tensor& x, bool create_graph = true) {
  return grad({y}, {x}, {ones_like(y)}, {.create_graph = create_graph})[0];
}

TEST(Function, HasDerivativesOfEveryOrder) {
  const Tensor x = leaf({-2, 0.5, 3}, {3});
  const Tensor first = derivative(cube(x), x), second = derivative(first, x), third = derivative(second, x);
  EXPECT_EQ(numbers(first), (Numbers{12, 0.75, 27}));
  EXPECT_EQ(numbers(second), (Numbers{-12, 3, 18}));
  EXPECT_EQ(numbers(third), (Numbers{6, 6, 6}));
  const Tensor y = leaf({0.5}, {1});
  EXPECT_EQ(numbers(derivative(derivative(exponential(y), y), y)), numbers(exp(y)));
}

TEST(Function, IsNotRecordedWithoutNeed) {
  const Tensor plain = leaf({1, 2}, {2}).detach(), x = leaf({1, 2}, {2});
  EXPECT_FALSE(cube(plain).requires_grad());
  EXPECT_TRUE(is_recorded({plain, x}));
  const NoGrad off;
  EXPECT_FALSE(is_recorded({x}));
  EXPECT_FALSE(cube(x).requires_grad());
}

TEST(Function, AnOutputOfIntegersIsNotRecorded) {
  const Tensor x = leaf({1.5, 2}, {2});
  const Tensor y = record("truncated", x.array().to(DType::i64), {x}, {},
                          [](const SavedValues&, const Tensor& g) { return Gradients{g}; });
  EXPECT_FALSE(y.requires_grad());
}

TEST(Function, OwnsItsNames) {
  const Tensor x = leaf({1, 2}, {2});
  Tensor y;
  {
    std::string function_name = "a name that is long enough to lie on the heap", saved_name = "factor " + function_name;
    const Array factor = full({2}, 5, kF64).array();
    y = record(function_name, multiply(x.detach(), 5).array(), {x}, {Save::constant("factor", factor)},
               [](const SavedValues& saved, const Tensor& g) { return Gradients{g * saved["factor"]}; });
    function_name.assign(function_name.size(), '#');
  }
  expect_message<AutogradError>(
      [&] {
        sum(record("outer", y.array().clone(), {y}, {}, [](const SavedValues& saved, const Tensor&) {
          return Gradients{saved["nothing"]};
        })).backward();
      },
      "outer: no value \"nothing\" was saved");
  sum(y).backward();
  EXPECT_EQ(numbers(x.grad()), (Numbers{5, 5}));
}

TEST(Function, SaysWhatIsWrongWithABackward) {
  const Tensor a = leaf({1, 2, 3}, {3}), b = leaf({4, 5, 6}, {3});
  const std::string on = " on " + to_string(kTestDevice);
  const auto fails = [&](const std::string& message, const BackwardFunction& backward) {
    const Tensor y = sum(careless({a, b}, backward));
    expect_error<AutogradError>("careless: " + message, [&] { y.backward(); });
    EXPECT_FALSE(a.grad().defined());
    EXPECT_FALSE(b.grad().defined());
  };
  fails("the backward returned 1 gradients of 2 inputs",
        [](const SavedValues&, const Tensor& g) { return Gradients{g}; });
  fails("the gradient of input 1 is f64 (1, 3)" + on + ", and the input is f64 (3,)" + on,
        [](const SavedValues&, const Tensor& g) {
          return Gradients{g, unsqueeze(g, 0)};
        });
  fails("the gradient of input 0 is f32 (3,)" + on + ", and the input is f64 (3,)" + on,
        [](const SavedValues&, const Tensor& g) {
          return Gradients{g.to(DType::f32), g};
        });
  fails("needs(2) of a function of 2 inputs", [](const SavedValues& saved, const Tensor& g) {
    try {
      (void)saved.needs(2);
    } catch (const IndexError& error) {
      throw AutogradError(error.what());
    }
    return Gradients{g, g};
  });
  const Tensor y = sum(careless({a, b}, [](const SavedValues&, const Tensor& g) { return Gradients{g, Tensor()}; }));
  y.backward();
  EXPECT_EQ(numbers(a.grad()), (Numbers{1, 1, 1}));
  EXPECT_FALSE(b.grad().defined());
}

TEST(Function, RefusesWhatItCannotRecord) {
  const Tensor x = leaf({1, 2}, {2});
  const BackwardFunction pass = [](const SavedValues&, const Tensor& g) { return Gradients{g}; };
  expect_error<IndexError>("careless: \"x\" is input 1 of a function of 1 inputs",
                           [&] { careless({x}, pass, {Save::input("x", 1)}); });
  expect_error<IndexError>("careless: \"x\" is input -7 of a function of 1 inputs",
                           [&] { careless({x}, pass, {Save::input("x", -7)}); });
  expect_error<ValueError>("careless: two values are saved under the name \"x\"", [&] {
    careless({x}, pass, {Save::input("x", 0), Save::output("x")});
  });
  expect_error<ValueError>("careless: the backward function is empty", [&] { careless({x}, BackwardFunction()); });
  expect_error<Error>("careless: the output is undefined", [&] { record("careless", Array(), {x}, {}, pass); });
  const std::vector<Array> outputs{x.array(), x.array()};
  const std::vector<Tensor> inputs{x};
  expect_error<AutogradError>("careless: has 2 outputs, and a recorded function has one; record a function for each",
                              [&] { record("careless", outputs, inputs, std::vector<Save>{}, pass); });
}

// A closure that a compiler accepts holds nothing that must be freed, so no Tensor.
TEST(Function, AClosureThatHoldsATensorIsRefusedByTheCompiler) {
  const Tensor x = leaf({1}, {1});
  const auto plain = [n = 2](const SavedValues&, const Tensor& g) { return Gradients{g * n}; };
  const auto holds = [x](const SavedValues&, const Tensor& g) { return Gradients{g * x}; };
  static_assert(PlainBackward<decltype(plain)>);
  static_assert(!PlainBackward<decltype(holds)>);
  EXPECT_EQ(plain(SavedValues(nullptr, {}), ones({1}, kF64)).size(), 1U);
  EXPECT_EQ(holds(SavedValues(nullptr, {}), ones({1}, kF64)).size(), 1U);
}

// What Save is for: the graph of a saved output dies with its last handle. A std::function that holds its own output
// would keep it for ever.
TEST(Function, SavedValuesLeaveNoCycle) {
  std::weak_ptr<Storage> memory;
  {
    const Tensor x = leaf({1, 2}, {2});
    const Tensor y = exponential(x);
    memory = y.array().storage();
    EXPECT_FALSE(memory.expired());
  }
  EXPECT_TRUE(memory.expired());
  auto output = std::make_shared<Tensor>();
  {
    const Tensor x = leaf({1, 2}, {2});
    const auto holds = [output](const SavedValues&, const Tensor& g) { return Gradients{g * *output}; };
    *output = record("leaky", x.array().clone(), {x}, {}, BackwardFunction(holds));
    memory = output->array().storage();
  }
  EXPECT_FALSE(memory.expired()) << "the output holds the function, and the function the output";
  *output = Tensor();  // cuts the cycle
  EXPECT_TRUE(memory.expired());
}

TEST(DataAs, AWriteOfASavedValueIsAnErrorAndAReadIsNot) {
  if (!kTestDevice.is_cpu()) GTEST_SKIP() << "elements of a GPU have no host address";
  const Tensor x = leaf({2, 3}, {2});
  const Tensor y = sum(x * x);
  EXPECT_EQ(x.array().data_as<const double>()[1], 3);
  EXPECT_EQ(x.span<const double>()[0], 2);
  EXPECT_NO_THROW(y.backward({.retain_graph = true}));
  Array elements = x.array();
  elements.data_as<double>()[0] = 5;
  expect_message<AutogradError>([&] { y.backward(); }, "multiply: a value saved for backward was modified in place");
}

}  // namespace
}  // namespace weft
