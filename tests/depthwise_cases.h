#pragma once

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "core/backend.h"

// Depthwise convolutions for the tests of both backends: shapes, and plain loops in double precision.
namespace weft::depthwise_cases {

using Sizes = std::array<std::int64_t, 3>;

inline constexpr ConvPass kPasses[] = {ConvPass::forward, ConvPass::input_grad, ConvPass::weight_grad};

inline std::int64_t product(const Sizes& sizes) { return sizes[0] * sizes[1] * sizes[2]; }
inline std::int64_t x_size(const ConvShape& s) { return s.n * product(s.in) * s.c; }
inline std::int64_t weight_size(const ConvShape& s) { return s.k * product(s.filter); }
inline std::int64_t y_size(const ConvShape& s) { return s.n * product(s.out) * s.k; }

/// `after`: padding behind the last element, as much as before it if negative.
inline ConvShape make(std::int64_t n, std::int64_t c, std::int64_t multiplier, Sizes in, Sizes filter,
                      Sizes stride = {1, 1, 1}, Sizes padding = {0, 0, 0}, Sizes dilation = {1, 1, 1},
                      Sizes after = {-1, -1, -1}) {
  ConvShape s;
  s.n = n;
  s.c = s.groups = c;
  s.k = c * multiplier;
  s.in = in;
  s.filter = filter;
  s.stride = stride;
  s.padding = padding;
  s.dilation = dilation;
  for (std::size_t d = 0; d < 3; ++d) {
    const std::int64_t padded = in[d] + padding[d] + (after[d] < 0 ? padding[d] : after[d]);
    const std::int64_t extent = (filter[d] - 1) * dilation[d] + 1;
    s.out[d] = padded < extent ? 0 : (padded - extent) / stride[d] + 1;
  }
  return s;
}

inline std::string describe(const ConvShape& s) {
  const auto list = [](const Sizes& v) {
    return "(" + std::to_string(v[0]) + "," + std::to_string(v[1]) + "," + std::to_string(v[2]) + ")";
  };
  return "n " + std::to_string(s.n) + " c " + std::to_string(s.c) + " k " + std::to_string(s.k) + " in " + list(s.in) +
         " filter " + list(s.filter) + " out " + list(s.out) + " stride " + list(s.stride) + " padding " +
         list(s.padding) + " dilation " + list(s.dilation);
}

inline std::vector<ConvShape> shapes() {
  return {
      // 3x3 and 5x5 filters, strides 1 and 2: rows of one to several tiles, whole vectors and remainders of channels.
      make(2, 64, 1, {1, 14, 14}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
      make(2, 33, 1, {1, 9, 23}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
      make(3, 17, 1, {1, 8, 9}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}),
      make(1, 40, 1, {1, 7, 16}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}),
      make(2, 24, 1, {1, 12, 11}, {1, 5, 5}, {1, 1, 1}, {0, 2, 2}),
      make(2, 19, 1, {1, 11, 12}, {1, 5, 5}, {1, 2, 2}, {0, 2, 2}),
      make(1, 3, 1, {1, 6, 7}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
      make(1, 1, 1, {1, 5, 6}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
      make(2, 16, 1, {1, 5, 20}, {1, 3, 3}),
      // C == H == W; other filters and strides, with remainders of (in + 2·padding - filter).
      make(3, 5, 1, {1, 5, 5}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
      make(2, 17, 1, {1, 17, 17}, {1, 4, 2}, {1, 3, 2}, {0, 2, 1}),
      make(2, 18, 1, {1, 10, 9}, {1, 7, 7}, {1, 2, 1}, {0, 3, 3}),
      make(2, 7, 1, {1, 13, 17}, {1, 2, 2}, {1, 5, 7}, {0, 1, 0}),  // strides larger than the filter
      make(3, 33, 1, {1, 5, 5}, {1, 1, 1}, {1, 3, 3}),
      make(2, 64, 1, {1, 4, 5}, {1, 1, 1}),
      // 1x1 maps, filters larger than the input, padding beyond half the filter, padding everywhere.
      make(3, 17, 1, {1, 1, 1}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
      make(2, 16, 1, {1, 3, 2}, {1, 5, 7}, {1, 1, 1}, {0, 2, 3}),
      make(2, 33, 1, {1, 4, 5}, {1, 3, 3}, {1, 1, 1}, {0, 5, 3}),
      make(2, 4, 1, {1, 4, 5}, {1, 2, 3}, {1, 3, 2}, {0, 6, 4}),
      make(2, 17, 1, {1, 1, 1}, {1, 5, 5}, {1, 2, 2}, {0, 7, 7}),
      make(2, 17, 1, {1, 7, 8}, {1, 3, 2}, {1, 2, 1}, {0, 1, 0}, {1, 1, 1}, {0, 0, 1}),
      // Dilation, alone and against the stride.
      make(2, 17, 1, {1, 9, 10}, {1, 3, 3}, {1, 1, 1}, {0, 2, 3}, {1, 2, 3}),
      make(2, 33, 1, {1, 12, 13}, {1, 3, 4}, {1, 2, 2}, {0, 2, 3}, {1, 2, 3}),
      make(2, 5, 1, {1, 20, 19}, {1, 4, 3}, {1, 6, 4}, {0, 4, 5}, {1, 4, 6}),
      // Several filters of a channel.
      make(2, 17, 2, {1, 9, 8}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
      make(2, 11, 3, {1, 7, 8}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}),
      make(3, 1, 3, {1, 5, 6}, {1, 5, 2}, {1, 1, 2}, {0, 2, 1}, {1, 2, 1}),
      make(2, 32, 2, {4, 5, 6}, {2, 3, 3}, {2, 1, 1}, {1, 1, 1}),
      // One and three spatial axes.
      make(3, 64, 1, {1, 1, 37}, {1, 1, 3}, {1, 1, 1}, {0, 0, 1}),
      make(3, 33, 1, {1, 1, 37}, {1, 1, 5}, {1, 1, 3}, {0, 0, 2}, {1, 1, 2}),
      make(2, 17, 1, {5, 6, 7}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}),
      make(2, 20, 1, {7, 5, 6}, {3, 2, 3}, {2, 3, 1}, {2, 1, 3}, {2, 1, 2}),
      // Nothing.
      make(0, 16, 1, {1, 5, 5}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}),
      make(2, 0, 1, {1, 5, 5}, {1, 3, 3}),
      make(2, 17, 1, {1, 2, 2}, {1, 3, 3}),
      make(2, 3, 2, {1, 0, 3}, {1, 3, 3}, {1, 1, 1}, {0, 2, 2}),
      // No filters: the gradient of x is zeros.
      make(2, 17, 0, {1, 5, 6}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}),
      make(3, 8, 0, {3, 4, 5}, {2, 1, 3}, {2, 1, 2}),
  };
}

/// visit(y's place, x's pixel, tap) wherever a window of the image has an element of x.
template <class Visit>
void for_pairs(const ConvShape& s, const Visit& visit) {
  Sizes o{}, t{}, i{};
  for (o[0] = 0; o[0] < s.out[0]; ++o[0])
    for (o[1] = 0; o[1] < s.out[1]; ++o[1])
      for (o[2] = 0; o[2] < s.out[2]; ++o[2])
        for (t[0] = 0; t[0] < s.filter[0]; ++t[0])
          for (t[1] = 0; t[1] < s.filter[1]; ++t[1])
            for (t[2] = 0; t[2] < s.filter[2]; ++t[2]) {
              bool inside = true;
              for (std::size_t d = 0; d < 3; ++d) {
                i[d] = o[d] * s.stride[d] + t[d] * s.dilation[d] - s.padding[d];
                inside = inside && i[d] >= 0 && i[d] < s.in[d];
              }
              if (!inside) continue;
              visit((o[0] * s.out[1] + o[1]) * s.out[2] + o[2], (i[0] * s.in[1] + i[1]) * s.in[2] + i[2],
                    (t[0] * s.filter[1] + t[1]) * s.filter[2] + t[2]);
            }
}

template <class T>
struct Operands {
  std::vector<T> x, weight, bias, y_grad;

  const std::vector<T>& a(ConvPass pass) const { return pass == ConvPass::forward ? x : y_grad; }
  const std::vector<T>& b(ConvPass pass) const { return pass == ConvPass::weight_grad ? x : weight; }
};

/// Uniform in [-1, 1), drawn by `make`(double).
template <class T, class Make>
Operands<T> operands(const ConvShape& s, unsigned seed, const Make& make_value) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  const auto values = [&](std::int64_t size) {
    std::vector<T> all;
    for (std::int64_t i = 0; i < size; ++i) all.push_back(make_value(uniform(random)));
    return all;
  };
  Operands<T> all;
  all.x = values(x_size(s));
  all.weight = values(weight_size(s));
  all.bias = values(s.k);
  all.y_grad = values(y_size(s));
  return all;
}

inline std::int64_t result_size(ConvPass pass, const ConvShape& s) {
  return pass == ConvPass::forward ? y_size(s) : pass == ConvPass::input_grad ? x_size(s) : weight_size(s);
}

/// The result of a pass by definition.
template <class T>
std::vector<double> expected(ConvPass pass, const ConvShape& s, const Operands<T>& in, bool bias) {
  const auto of = [](T value) { return static_cast<double>(value); };
  std::vector<double> out(static_cast<std::size_t>(result_size(pass, s)));
  if (s.c == 0) return out;
  const std::int64_t multiplier = s.k / s.c, taps = product(s.filter);
  if (pass == ConvPass::forward && bias) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = of(in.bias[i % static_cast<std::size_t>(s.k)]);
  }
  for (std::int64_t n = 0; n < s.n; ++n) {
    for_pairs(s, [&](std::int64_t place, std::int64_t pixel, std::int64_t tap) {
      for (std::int64_t k = 0; k < s.k; ++k) {
        const auto x = static_cast<std::size_t>((n * product(s.in) + pixel) * s.c + k / multiplier);
        const auto y = static_cast<std::size_t>((n * product(s.out) + place) * s.k + k);
        const auto w = static_cast<std::size_t>(k * taps + tap);
        if (pass == ConvPass::forward) out[y] += of(in.x[x]) * of(in.weight[w]);
        if (pass == ConvPass::input_grad) out[x] += of(in.y_grad[y]) * of(in.weight[w]);
        if (pass == ConvPass::weight_grad) out[w] += of(in.y_grad[y]) * of(in.x[x]);
      }
    });
  }
  return out;
}

/// |found - expected| / |expected| in the 2-norm; of nothing, the first norm. NaN where `found` has one.
template <class T>
double relative_error(const std::vector<T>& found, const std::vector<double>& wanted) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    difference += std::pow(static_cast<double>(found[i]) - wanted[i], 2);
    norm += wanted[i] * wanted[i];
  }
  return norm == 0 ? std::sqrt(difference) : std::sqrt(difference / norm);
}

}  // namespace weft::depthwise_cases
