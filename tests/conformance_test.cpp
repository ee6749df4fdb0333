// Composed ops against what PyTorch gave for them: values, gradients and gradients of gradients
// (tests/golden/make_conformance.py has the same cases by name).
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include "tests/trajectory.h"

namespace weft {
namespace {

using Inputs = std::vector<Tensor>;
using Function = std::function<Tensor(const Tensor&)>;

// x with a 0 wherever it is below 1.
Tensor with_zeros(const Tensor& x) { return where(x < 1, zeros_like(x), x); }

// The parts as one row, each times its number from 1 on.
Tensor weighted_parts(const std::vector<Tensor>& parts) {
  std::vector<Tensor> rows;
  for (const Tensor& part : parts) rows.push_back(part.reshape({-1}) * static_cast<std::int64_t>(rows.size() + 1));
  return concatenate(rows);
}

Function norm_of(double p, const Axes& axes = Axes::all(), bool keep = false) {
  return [=](const Tensor& x) { return norm(x, p, axes, keep); };
}

const std::map<std::string, Function>& cases() {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  static const std::map<std::string, Function> all{
      {"prod", [](const Tensor& x) { return prod(x); }},
      {"prod_axis", [](const Tensor& x) { return prod(x, 1); }},
      {"prod_kept", [](const Tensor& x) { return prod(x, 1, true); }},
      {"prod_zeros", [](const Tensor& x) { return prod(with_zeros(x), 1); }},
      {"norm", norm_of(2)},
      {"norm_axis", norm_of(2, 1)},
      {"norm_axes", norm_of(2, Dims{0, 2}, true)},
      {"norm_zeros", [](const Tensor& x) { return norm(with_zeros(x), 2, 1); }},
      {"norm_1", norm_of(1, 1)},
      {"norm_3", norm_of(3, 1)},
      {"norm_half", norm_of(0.5, 1)},
      {"norm_minus_1", norm_of(-1, 1)},
      {"norm_inf", norm_of(kInfinity, 1)},
      {"norm_minus_inf", norm_of(-kInfinity, 1)},
      {"std", [](const Tensor& x) { return weft::std(x); }},
      {"std_axes",
       [](const Tensor& x) {
         return weft::std(x, Dims{0, 2}, 0, true);
       }},
      {"split", [](const Tensor& x) { return weighted_parts(split(x, 3)); }},
      {"split_sizes",
       [](const Tensor& x) {
         return weighted_parts(split(x, {1, 4, 2}, 1));
       }},
      {"chunk", [](const Tensor& x) { return weighted_parts(chunk(x, 3, 1)); }},
      {"chunk_fewer", [](const Tensor& x) { return weighted_parts(chunk(x, 4)); }},
      {"tile",
       [](const Tensor& x) {
         return tile(x, {2, 1, 3});
       }},
      {"tile_short",
       [](const Tensor& x) {
         return tile(x, {4, 2});
       }},
      {"tril", [](const Tensor& x) { return tril(x, 1); }},
      {"triu", [](const Tensor& x) { return triu(x, -1); }},
      {"linspace", [](const Tensor& x) { return x * linspace(-2.5, 4, 7, {.dtype = x.dtype()}); }},
      {"as_strided_transposed",
       [](const Tensor& x) {
         return as_strided((x * 1).transpose(0, 1), {3, 4}, {2, 3});
       }},
      {"as_strided_inside",
       [](const Tensor& x) {
         return as_strided((x * 1).slice(1, 1, 4), {3, 5}, {5, 1}, -1);  // PyTorch's offsets are the storage's
       }},
      {"as_strided_expanded",
       [](const Tensor& x) {
         return as_strided((x * 1).expand({4, 3}), {2, 3}, {1, 1});
       }},
      {"avg_pool2d_dilated",
       [](const Tensor& x) {
         return avg_pool2d(x, {2, 3}, {.stride = {2, 1}, .dilation = {3, 2}});
       }},
      {"lp_pool2d_dilated",
       [](const Tensor& x) {
         return lp_pool2d(x, 2, {2, 3}, {.stride = {1, 2}, .dilation = {2, 3}});
       }},
      {"any", [](const Tensor& x) { return x * any(with_zeros(x), 1, true).to(x.dtype()); }},
      {"all", [](const Tensor& x) { return x * weft::all(with_zeros(x), 1, true).to(x.dtype()); }},
  };
  return all;
}

class Conformance : public testing::TestWithParam<std::string> {};

const TensorFile& golden_file() {
  static const TensorFile& golden = *new TensorFile(load_safetensors(WEFT_GOLDEN_DIR "/conformance.safetensors"));
  return golden;
}

// The norm of the difference by the norm of `golden`, or as it is where that is 0.
double difference(const Tensor& found, const Array& golden) {
  EXPECT_EQ(found.shape(), golden.shape());
  const Tensor expected(golden);
  const double scale = norm(expected).item<double>();
  return norm(found.to(DType::f64) - expected).item<double>() / (scale > 0 ? scale : 1);
}

TEST_P(Conformance, ValuesAndGradientsArePyTorchs) {
  const auto& arrays = golden_file().arrays;
  for (const DType dtype : {DType::f64, DType::f32}) {
    const double tolerance = dtype == DType::f64 ? 1e-10 : 1e-5;
    Tensor x = trajectory::generated(GetParam() + ".0", arrays.at(GetParam() + ".grad.0").shape(), 0, 2, dtype);
    x.set_requires_grad(true);
    const Tensor y = cases().at(GetParam())(x);
    EXPECT_LE(difference(y, arrays.at(GetParam() + ".y")), tolerance) << name(dtype);
    const Tensor g = trajectory::generated(GetParam() + ".g", y.shape(), 0, 1, dtype);
    const Tensor first = grad({y}, {x}, {g}, {.create_graph = true})[0];
    EXPECT_LE(difference(first, arrays.at(GetParam() + ".grad.0")), tolerance) << name(dtype) << ", gradient";
    Tensor second;
    if (first.requires_grad()) second = grad({sum(first * first * first)}, {x}, {}, {}, true)[0];
    if (!second.defined()) second = zeros_like(x);
    // A second derivative of f32 has two passes of rounding.
    EXPECT_LE(difference(second, arrays.at(GetParam() + ".second.0")), dtype == DType::f64 ? tolerance : 3 * tolerance)
        << name(dtype) << ", gradient of the gradient";
  }
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& entry : cases()) all.push_back(entry.first);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Ops, Conformance, testing::ValuesIn(names()), [](const auto& test) { return test.param; });

TEST(ConformanceFile, EveryCaseOfTheScriptIsTested) {
  std::size_t results = 0;
  for (const auto& entry : golden_file().arrays) results += entry.first.ends_with(".y") ? 1 : 0;
  EXPECT_EQ(results, cases().size());
}

}  // namespace
}  // namespace weft
