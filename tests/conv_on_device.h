#pragma once

#include <cmath>
#include <type_traits>

#include "tests/conv_shapes.h"
#include "tests/on_device.h"

/// Passes of a convolution by a GPU's backend, on values of which f32 and bf16 operands hold the same.
namespace weft {

struct ConvResult {
  std::vector<double> out, bias_grad;
};

/// How many elements behind an address from which 16 bytes can be read each begins.
struct Shifts {
  std::int64_t maps = 0, parameters = 0, results = 0;
};
inline constexpr Shifts kShifts[] = {{}, {1, 0, 1}, {0, 1, 0}};

/// With `bias` it is added in a forward pass, and its gradient taken in a weight gradient.
template <class T>
ConvResult conv_on_device(ConvPass pass, const ConvShape& s, const Operands<T>& in, bool bias, const Shifts& shifts) {
  using P = std::conditional_t<std::is_same_v<T, scalar::Bfloat>, float, T>;
  constexpr DType kParameter = std::is_same_v<P, float> ? DType::f32 : DType::f64;
  constexpr DType kType = std::is_same_v<P, T> ? kParameter : DType::bf16;
  const auto parameters = [](const std::vector<T>& values) {
    std::vector<P> all;
    for (const T& value : values) all.push_back(scalar::convert<P>(value));
    return all;
  };
  const auto unwritten = [](auto zero, std::size_t count) {
    return std::vector<decltype(zero)>(count, scalar::convert<decltype(zero)>(std::nan("")));
  };
  const bool of_weight = pass == ConvPass::weight_grad;
  const auto size = static_cast<std::size_t>(result_size(pass, s));
  const OnDevice<T> a(kType, in.a(pass), shifts.maps), x(kType, in.x, shifts.maps);
  const OnDevice<T> out(kType, unwritten(T{}, size), shifts.results);
  const OnDevice<P> weight(kParameter, parameters(in.weight), shifts.parameters);
  const OnDevice<P> biases(kParameter, parameters(in.bias), shifts.parameters);
  const OnDevice<P> weight_grad(kParameter, unwritten(P{}, size), shifts.results);
  const OnDevice<P> sums(kParameter, unwritten(P{}, in.bias.size()), shifts.results);
  backend(Device::cuda())
      ->conv({.pass = pass,
              .shape = s,
              .precision = precision(),
              .a = a.view(),
              .b = of_weight ? x.view() : weight.view(),
              .bias = bias && pass == ConvPass::forward ? ConstView(biases.view()) : ConstView{},
              .out = of_weight ? weight_grad.view() : out.view(),
              .bias_grad = bias && of_weight ? sums.view() : View{}});
  return {of_weight ? widened(weight_grad.values()) : widened(out.values()), widened(sums.values())};
}

/// All of them against plain loops.
template <class T>
void check_passes(const ConvShape& s, double tolerance, const Shifts& shifts) {
  const auto in = operands<T>(s, 5, [](double value) { return scalar::convert<T>(value); });
  const Operands<double> wide{widened(in.x), widened(in.weight), widened(in.bias), widened(in.y_grad)};
  SCOPED_TRACE(describe(s) + " shifts " + std::to_string(shifts.maps) + ", " + std::to_string(shifts.parameters) +
               ", " + std::to_string(shifts.results) + " bytes " + std::to_string(sizeof(T)));
  for (const ConvPass pass : {ConvPass::forward, ConvPass::input_grad, ConvPass::weight_grad}) {
    for (const bool bias : {false, true}) {
      if (bias && pass == ConvPass::input_grad) continue;
      SCOPED_TRACE("pass " + std::to_string(static_cast<int>(pass)) + (bias ? " with bias" : ""));
      const ConvResult found = conv_on_device(pass, s, in, bias, shifts);
      EXPECT_LE(relative_error(found.out, conv_expected(pass, s, wide, bias && pass == ConvPass::forward)), tolerance);
      if (!bias || pass != ConvPass::weight_grad) continue;
      std::vector<double> sums(static_cast<std::size_t>(s.k));
      for (std::size_t i = 0; i < wide.y_grad.size(); ++i) sums[i % sums.size()] += wide.y_grad[i];
      EXPECT_LE(relative_error(found.bias_grad, sums), tolerance);
    }
  }
}

/// All of them on terms that many float additions lose.
inline void check_depth(const ConvShape& s, Terms terms, const Shifts& shifts = {}) {
  for (const ConvPass pass : {ConvPass::forward, ConvPass::input_grad, ConvPass::weight_grad}) {
    const DeepPass deep(terms, s, pass);
    EXPECT_LE(deep.error(conv_on_device(pass, s, deep.in, deep.bias, shifts).out), 5e-6)
        << describe(s) << ", pass " << static_cast<int>(pass) << ", terms " << static_cast<int>(terms);
  }
}

}  // namespace weft
