#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "weft/error.h"
#include "weft/nn/optim.h"
#include "weft/ops.h"

namespace {

using namespace weft;      // NOLINT(google-build-using-namespace)
using namespace weft::nn;  // NOLINT(google-build-using-namespace)

constexpr int kSteps = 6;

/// Deterministic values in [-1, 1] that differ for every tensor, step and element.
double wave(int tensor, int step, std::int64_t i) {
  return std::sin(0.7 * tensor + 1.3 * step + 0.37 * static_cast<double>(i) + 0.1);
}

std::vector<double> values_of(const Tensor& x) { return x.array().to(DType::f64).to_vector<double>(); }

Array waves(const Shape& shape, int tensor, int step, DType dtype) {
  std::vector<double> values(static_cast<std::size_t>(element_count(shape)));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = wave(tensor, step, static_cast<std::int64_t>(i));
  return Array::from(std::span<const double>(values), shape).to(dtype);
}

Array channels_last(const Array& array) {
  Array out = Array::empty_like(Layout::channels_last(array.shape()), array.dtype(), array.device());
  out.copy_from(array);
  return out;
}

/// Parameters of rank 0, 1 and 4 (channels-last), an empty one, and one (the last) that never gets a gradient.
std::vector<Tensor> make_parameters(DType dtype) {
  const std::vector<Shape> shapes = {{}, {37}, {5, 3, 3, 2}, {0}, {4}};
  std::vector<Tensor> parameters;
  for (const Shape& shape : shapes) {
    Array array = waves(shape, static_cast<int>(parameters.size()), -1, dtype);
    parameters.emplace_back(shape.rank() == 4 ? channels_last(array) : array, true);
  }
  return parameters;
}

/// Gradients come row-major, also for the channels-last parameter.
void set_gradients(std::vector<Tensor>& parameters, int step) {
  for (std::size_t p = 0; p + 1 < parameters.size(); ++p) {
    parameters[p].set_grad(Tensor(waves(parameters[p].shape(), static_cast<int>(p), step, parameters[p].dtype())));
  }
}

double rate_of(int step) { return step < 3 ? 0.05 : 0.02; }

/// One scalar's update: value, gradient, its two state numbers, the rate and the number of the step from 1.
using Rule = std::function<void(double& w, double g, double& a, double& b, double lr, int step)>;

void expect_follows(Optimizer& optimizer, std::vector<Tensor>& parameters, const Rule& rule, double tolerance) {
  std::vector<std::vector<double>> w, a, b;
  for (const Tensor& parameter : parameters) {
    w.push_back(values_of(parameter));
    a.emplace_back(w.back().size());
    b.emplace_back(w.back().size());
  }
  for (int step = 0; step < kSteps; ++step) {
    set_gradients(parameters, step);
    optimizer.set_lr(rate_of(step));
    optimizer.step();
    for (std::size_t p = 0; p < parameters.size(); ++p) {
      const std::vector<double> got = values_of(parameters[p]);
      for (std::size_t i = 0; i < w[p].size(); ++i) {
        if (p + 1 < parameters.size()) {
          const double gradient = wave(static_cast<int>(p), step, static_cast<std::int64_t>(i));
          rule(w[p][i], gradient, a[p][i], b[p][i], rate_of(step), step + 1);
        }
        ASSERT_NEAR(got[i], w[p][i], tolerance) << "step " << step << ", parameter " << p << ", element " << i;
      }
    }
  }
  EXPECT_TRUE(parameters[2].array().layout().is_channels_last());
}

Rule sgd_rule(const SGDOptions& o) {
  return [o](double& w, double g, double& v, double&, double lr, int) {
    const double d = g + o.weight_decay * w;
    if (o.buffer_holds_steps) {
      v = o.momentum * v - lr * d;
      w += o.nesterov ? -lr * d + o.momentum * v : v;
    } else {
      v = o.momentum * v + d;
      w -= lr * (o.nesterov ? d + o.momentum * v : v);
    }
  };
}

Rule adam_rule(const AdamOptions& o, bool decoupled) {
  return [o, decoupled](double& w, double g, double& m, double& v, double lr, int step) {
    if (decoupled) {
      w -= lr * o.weight_decay * w;
    } else {
      g += o.weight_decay * w;
    }
    m = o.beta1 * m + (1 - o.beta1) * g;
    v = o.beta2 * v + (1 - o.beta2) * g * g;
    const double m_hat = m / (1 - std::pow(o.beta1, step)), v_hat = v / (1 - std::pow(o.beta2, step));
    w -= lr * m_hat / (std::sqrt(v_hat) + o.eps);
  };
}

struct Precision {
  DType dtype;
  double tolerance;
};
class OptimizerPrecision : public testing::TestWithParam<Precision> {};
INSTANTIATE_TEST_SUITE_P(Dtypes, OptimizerPrecision,
                         testing::Values(Precision{DType::f64, 1e-13}, Precision{DType::f32, 3e-6}),
                         [](const auto& row) { return std::string(name(row.param.dtype)); });

TEST_P(OptimizerPrecision, SgdFollowsItsFormula) {
  const std::vector<SGDOptions> all = {
      {.lr = 0.1},
      {.weight_decay = 0.3},
      {.momentum = 0.9},
      {.momentum = 0.9, .weight_decay = 0.1, .nesterov = true},
      {.momentum = 0.8, .weight_decay = 0.1, .buffer_holds_steps = true},
      {.momentum = 0.8, .weight_decay = 0.1, .nesterov = true, .buffer_holds_steps = true}};
  for (const SGDOptions& options : all) {
    std::vector<Tensor> parameters = make_parameters(GetParam().dtype);
    SGD optimizer(parameters, options);
    expect_follows(optimizer, parameters, sgd_rule(options), GetParam().tolerance);
  }
}

TEST_P(OptimizerPrecision, AdamFollowsItsFormula) {
  for (const AdamOptions& options :
       {AdamOptions{}, AdamOptions{.beta1 = 0.5, .beta2 = 0.9, .eps = 1e-3, .weight_decay = 0.2}}) {
    std::vector<Tensor> parameters = make_parameters(GetParam().dtype);
    Adam optimizer(parameters, options);
    expect_follows(optimizer, parameters, adam_rule(options, false), GetParam().tolerance);
  }
}

TEST_P(OptimizerPrecision, AdamWDecaysApart) {
  std::vector<Tensor> parameters = make_parameters(GetParam().dtype);
  AdamW optimizer(parameters, {.weight_decay = 0.4});
  expect_follows(optimizer, parameters, adam_rule({.weight_decay = 0.4}, true), GetParam().tolerance);
  EXPECT_EQ(AdamWOptions{}.weight_decay, 0.01);
}

StateDict cloned(const StateDict& state) {
  StateDict copy;
  for (const auto& [name, array] : state) copy.emplace(name, array.clone());
  return copy;
}

template <class Make>
void expect_resumes_exactly(const Make& make, bool had_state) {
  const auto run = [](auto& optimizer, std::vector<Tensor>& parameters, int from, int to) {
    for (int step = from; step < to; ++step) {
      set_gradients(parameters, step);
      optimizer->set_lr(rate_of(step));
      optimizer->step();
    }
  };
  std::vector<Tensor> parameters = make_parameters(DType::f32);
  auto optimizer = make(parameters);
  run(optimizer, parameters, 0, 3);
  const StateDict saved = cloned(optimizer->state_dict());
  std::vector<Tensor> others;
  others.reserve(parameters.size());
  for (const Tensor& parameter : parameters) others.emplace_back(parameter.array().clone(), true);
  auto resumed = make(others);
  if (had_state) run(resumed, others, 0, 1);  // to be replaced
  for (std::size_t p = 0; p < others.size(); ++p) others[p].set_array(parameters[p].array().clone());
  resumed->load_state_dict(saved);
  EXPECT_EQ(resumed->lr(), optimizer->lr());
  run(optimizer, parameters, 3, kSteps);
  run(resumed, others, 3, kSteps);
  for (std::size_t p = 0; p < others.size(); ++p) {
    EXPECT_EQ(parameters[p].to_vector<float>(), others[p].to_vector<float>()) << "parameter " << p;
  }
}

TEST(Optimizer, ResumesExactly) {
  const auto sgd = [](std::vector<Tensor>& parameters) {
    return std::make_unique<SGD>(parameters, SGDOptions{.momentum = 0.9, .weight_decay = 0.1, .nesterov = true});
  };
  const auto adam = [](std::vector<Tensor>& parameters) {
    return std::make_unique<Adam>(parameters, AdamOptions{.weight_decay = 0.1});
  };
  for (const bool had_state : {false, true}) {
    expect_resumes_exactly(sgd, had_state);
    expect_resumes_exactly(adam, had_state);
  }
}

// The first step of Adam is -lr·sign(gradient), but for eps, whenever a parameter takes it.
TEST(Optimizer, AParameterThatJoinsLaterTakesTheFirstStepOfAll) {
  Tensor early(Array::full({2}, 1, DType::f64), true), late(Array::full({2}, 1, DType::f64), true);
  const Tensor gradient = Tensor::from<double>({3, -0.25}, {2}, {.dtype = DType::f64});
  Adam optimizer({early, late}, {.lr = 0.01});
  early.set_grad(gradient);
  for (int step = 0; step < 1000; ++step) optimizer.step();
  EXPECT_EQ(late.to_vector<double>(), (std::vector<double>{1, 1}));
  late.set_grad(gradient);
  optimizer.step();
  EXPECT_NEAR(late.to_vector<double>()[0], 1 - 0.01 * 3 / (3 + 1e-8), 1e-15);
  EXPECT_NEAR(late.to_vector<double>()[1], 1 + 0.01 * 0.25 / (0.25 + 1e-8), 1e-15);
  const StateDict state = optimizer.state_dict();
  EXPECT_EQ(state.at("0.step").item<std::int64_t>(), 1001);
  EXPECT_EQ(state.at("1.step").item<std::int64_t>(), 1);
}

TEST(Optimizer, FilesOfOneCountForAllAreRead) {
  std::vector<Tensor> parameters = make_parameters(DType::f32), others = make_parameters(DType::f32);
  Adam optimizer(parameters), resumed(others);
  for (int step = 0; step < 5; ++step) {
    set_gradients(parameters, step);
    optimizer.step();
  }
  StateDict old = cloned(optimizer.state_dict());
  for (const char* name : {"0.step", "1.step", "2.step", "3.step"}) EXPECT_EQ(old.erase(name), 1U);
  old["step"] = Array::full({}, 5, DType::i64);
  for (std::size_t p = 0; p < others.size(); ++p) others[p].set_array(parameters[p].array().clone());
  resumed.load_state_dict(old);
  for (Adam* one : {&optimizer, &resumed}) {
    std::vector<Tensor>& own = one == &optimizer ? parameters : others;
    set_gradients(own, 5);
    own[4].set_grad(Tensor(waves({4}, 4, 5, DType::f32)));  // its first: the file has no state of it
    one->step();
  }
  for (std::size_t p = 0; p < others.size(); ++p) {
    EXPECT_EQ(parameters[p].to_vector<float>(), others[p].to_vector<float>()) << "parameter " << p;
  }
  const StateDict state = resumed.state_dict();
  EXPECT_EQ(state.count("step"), 0U);
  EXPECT_EQ(state.at("0.step").item<std::int64_t>(), 6);
  EXPECT_EQ(state.at("4.step").item<std::int64_t>(), 1);
  old["0.step"] = Array::full({}, 5, DType::i64);
  EXPECT_THROW(resumed.load_state_dict(old), FormatError);  // both
}

TEST(Optimizer, StateDictHasNamesAndShapes) {
  std::vector<Tensor> parameters = make_parameters(DType::f32);
  Adam optimizer(parameters);
  EXPECT_EQ(optimizer.state_dict().size(), 1U);
  set_gradients(parameters, 0);
  optimizer.step();
  optimizer.step();
  const StateDict state = optimizer.state_dict();
  EXPECT_EQ(state.size(), 1U + 3 * 4);
  EXPECT_EQ(state.at("3.step").item<std::int64_t>(), 2);
  EXPECT_EQ(state.at("3.step").dtype(), DType::i64);
  EXPECT_EQ(state.at("3.step").shape(), Shape{});
  EXPECT_EQ(state.at("lr").item<double>(), 1e-3);
  EXPECT_EQ(state.at("2.exp_avg").shape(), (Shape{5, 3, 3, 2}));
  EXPECT_EQ(state.at("2.exp_avg_sq").strides(), parameters[2].array().strides());
  EXPECT_EQ(state.count("4.exp_avg"), 0U);

  SGD sgd(parameters, {.momentum = 0.5});
  sgd.step();
  EXPECT_EQ(sgd.state_dict().size(), 5U);
  EXPECT_EQ(sgd.state_dict().at("1.momentum").shape(), (Shape{37}));
}

TEST(Optimizer, BadStateIsReportedAtOnceAndChangesNothing) {
  std::vector<Tensor> parameters = make_parameters(DType::f32);
  Adam optimizer(parameters, {.lr = 0.5});
  set_gradients(parameters, 0);
  optimizer.step();
  StateDict state = cloned(optimizer.state_dict());
  state.erase("0.step");
  state.erase("0.exp_avg");
  state["1.exp_avg"] = Array::full({36}, 7.0);
  state["9.exp_avg"] = Array::full({1}, 7.0);
  state["lr"] = Array::full({}, -1.0, DType::f64);
  state["2.exp_avg"].fill(7);
  try {
    optimizer.load_state_dict(state);
    FAIL();
  } catch (const FormatError& error) {
    EXPECT_STREQ(error.what(), R"(Adam::load_state_dict: missing "0.exp_avg", "0.step"; unexpected "9.exp_avg"; )"
                               R"(mismatched "1.exp_avg" is (36,), expected (37,), "lr" is -1)");
  }
  EXPECT_EQ(optimizer.lr(), 0.5);
  EXPECT_NE(optimizer.state_dict().at("2.exp_avg").to_vector<float>()[0], 7);
}

TEST(Optimizer, StateFollowsParametersToAnotherDtype) {
  std::vector<Tensor> parameters = make_parameters(DType::f64);
  SGD optimizer(parameters, {.lr = 1, .momentum = 0.5});
  set_gradients(parameters, 0);
  optimizer.step();
  const double before = values_of(parameters[0])[0];
  for (Tensor& parameter : parameters) {
    parameter.zero_grad();
    parameter.set_array(parameter.array().to(DType::f32));
  }
  set_gradients(parameters, 1);
  optimizer.step();
  EXPECT_EQ(optimizer.state_dict().at("0.momentum").dtype(), DType::f32);
  EXPECT_NEAR(values_of(parameters[0])[0], before - (0.5 * wave(0, 0, 0) + wave(0, 1, 0)), 1e-6);
}

TEST(Optimizer, AStepIsANewVersion) {
  Tensor parameter(waves({3}, 0, 0, DType::f32), true);
  Tensor loss = sum(square(parameter));
  SGD optimizer({parameter}, {.lr = 0.1});
  optimizer.step();  // no gradient yet: nothing happens
  const std::uint64_t version = parameter.array().version();
  loss.backward({.retain_graph = true});
  optimizer.step();
  EXPECT_GT(parameter.array().version(), version);
  EXPECT_THROW(loss.backward(), AutogradError);
  optimizer.zero_grad();
  EXPECT_FALSE(parameter.grad().defined());
}

TEST(Optimizer, TrainsThroughAutograd) {
  // Least squares with a known answer.
  const Tensor x(waves({64, 3}, 0, 0, DType::f64));
  const Tensor truth(waves({1, 3}, 5, 5, DType::f64));
  Tensor weight(Array::full({1, 3}, 0, DType::f64), true);
  AdamW optimizer({weight}, {.lr = 0.05, .weight_decay = 0});
  for (int step = 0; step < 800; ++step) {
    optimizer.zero_grad();
    mean(square(linear(x, weight) - linear(x, truth))).backward();
    optimizer.set_lr(0.05 * (1 - step / 800.0));
    optimizer.step();
  }
  const double loss = mean(square(linear(x, weight) - linear(x, truth))).item<double>();
  EXPECT_LT(loss, 1e-6);
}

template <class Make>
void expect_value_error(const Make& make, const std::string& text) {
  try {
    make();
    FAIL() << "no error: " << text;
  } catch (const ValueError& error) {
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
  }
}

TEST(Optimizer, BadOptionsNameTheValue) {
  const std::vector<Tensor> ok = {Tensor(Array::full({2}, 1.0), true)};
  const Tensor result = ok[0] * 2;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  expect_value_error([&] { SGD({}, {}); }, "SGD: the list of parameters is empty");
  expect_value_error([&] { SGD(ok, {.lr = -0.1}); }, "lr must be finite and not negative, got -0.1");
  expect_value_error([&] { SGD(ok, {.lr = nan}); }, "got nan");
  expect_value_error([&] { SGD(ok, {.momentum = 1}); }, "momentum must be in [0, 1), got 1");
  expect_value_error([&] { SGD(ok, {.weight_decay = -1}); }, "weight_decay must be finite and not negative, got -1");
  expect_value_error([&] { SGD(ok, {.nesterov = true}); }, "momentum with nesterov must be positive, got 0");
  expect_value_error([&] { Adam(ok, {.beta1 = 1}); }, "Adam: beta1 must be in [0, 1), got 1");
  expect_value_error([&] { Adam(ok, {.beta2 = -0.5}); }, "beta2 must be in [0, 1), got -0.5");
  expect_value_error([&] { Adam(ok, {.eps = -1e-8}); }, "eps must be finite and not negative, got -1e-08");
  expect_value_error([&] { AdamW(ok, {.beta1 = 2}); }, "AdamW: beta1 must be in [0, 1), got 2");
  expect_value_error([&] { SGD({ok[0], Tensor()}); }, "parameter 1 is undefined");
  expect_value_error([&] { SGD({ok[0], ok[0]}); }, "parameters 0 and 1 are the same tensor");
  expect_value_error([&] { SGD({result}); }, "parameter 0 is the result of an op, not a leaf");
  SGD optimizer(ok);
  EXPECT_THROW(optimizer.set_lr(-1), ValueError);
  EXPECT_EQ(optimizer.lr(), 1e-3);
}

TEST(Optimizer, RefusesWhatItCannotStepBeforeChangingAnything) {
  Tensor first(Array::full({2}, 1.0), true), half(Array::full({2}, 1, DType::bf16), true);
  first.set_grad(Tensor(Array::full({2}, 1.0)));
  half.set_grad(Tensor(Array::full({2}, 1, DType::bf16)));
  SGD optimizer({first, half}, {.lr = 1});
  EXPECT_THROW(optimizer.step(), DTypeError);
  Tensor gap(Array::full({4}, 1.0).view(Layout({2}, {2})), true);
  gap.set_grad(Tensor(Array::full({2}, 1.0)));
  SGD strided({first, gap}, {.lr = 1});
  EXPECT_THROW(strided.step(), ShapeError);
  EXPECT_EQ(first.to_vector<float>(), (std::vector<float>{1, 1}));
}

TEST(Optimizer, ReadsItsCountAsAWholeNumber) {
  std::vector<Tensor> parameters = make_parameters(DType::f32);
  Adam optimizer(parameters, {.lr = 0.5});
  set_gradients(parameters, 0);
  optimizer.step();
  const StateDict state = cloned(optimizer.state_dict());
  const auto with_step = [&](const Array& step) {
    StateDict other = state;
    other["1.step"] = step;
    return other;
  };
  optimizer.load_state_dict(with_step(Array::full({}, 3.0, DType::f32)));  // as PyTorch keeps it
  EXPECT_EQ(optimizer.state_dict().at("0.step").item<int>(), 1);
  EXPECT_EQ(optimizer.state_dict().at("1.step").item<int>(), 3);
  for (const double bad : {2.5, -1.0, 1e300, std::nan("")}) {
    EXPECT_THROW(optimizer.load_state_dict(with_step(Array::full({}, bad, DType::f64))), FormatError) << bad;
  }
  EXPECT_EQ(optimizer.state_dict().at("1.step").item<int>(), 3);
  StateDict whole = state;
  whole["lr"] = Array::full({}, 1, DType::i64);
  EXPECT_THROW(optimizer.load_state_dict(whole), FormatError);
}

}  // namespace
