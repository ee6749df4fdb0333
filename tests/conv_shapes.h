#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "core/device/backend.h"
#include "core/device/spatial.h"

/// Convolutions for the tests of the backends: shapes, operands and plain loops in double precision.
namespace weft {

inline std::int64_t product(const Triple& sizes) { return sizes[0] * sizes[1] * sizes[2]; }
inline std::int64_t x_size(const ConvShape& s) { return s.n * product(s.in) * s.c; }
inline std::int64_t weight_size(const ConvShape& s) { return s.k * product(s.filter) * (s.c / s.groups); }
inline std::int64_t y_size(const ConvShape& s) { return s.n * product(s.out) * s.k; }
inline std::int64_t result_size(ConvPass pass, const ConvShape& s) {
  return pass == ConvPass::forward ? y_size(s) : pass == ConvPass::input_grad ? x_size(s) : weight_size(s);
}

/// `after`: padding behind the last element, as much as before it if negative.
inline ConvShape make_shape(std::int64_t n, std::int64_t c, std::int64_t k, Triple in, Triple filter,
                            Triple stride = {1, 1, 1}, Triple padding = {0, 0, 0}, Triple dilation = {1, 1, 1},
                            std::int64_t groups = 1, Triple after = {-1, -1, -1}) {
  ConvShape s;
  s.n = n;
  s.c = c;
  s.k = k;
  s.groups = groups;
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
  return "n " + std::to_string(s.n) + " c " + std::to_string(s.c) + " k " + std::to_string(s.k) + " groups " +
         std::to_string(s.groups) + " in " + numbers(3, s.in) + " filter " + numbers(3, s.filter) + " out " +
         numbers(3, s.out) + " stride " + numbers(3, s.stride) + " padding " + numbers(3, s.padding) + " dilation " +
         numbers(3, s.dilation);
}

/// f(x index, weight index, y index) for every product of the convolution.
template <class F>
void for_each_product(const ConvShape& s, const F& f) {
  const std::int64_t channels = s.c / s.groups, filters = s.k / s.groups;
  Triple o{}, t{}, i{};
  for (std::int64_t n = 0; n < s.n; ++n)
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
                const std::int64_t pixel = ((n * s.in[0] + i[0]) * s.in[1] + i[1]) * s.in[2] + i[2];
                const std::int64_t place = ((n * s.out[0] + o[0]) * s.out[1] + o[1]) * s.out[2] + o[2];
                const std::int64_t tap = (t[0] * s.filter[1] + t[1]) * s.filter[2] + t[2];
                for (std::int64_t k = 0; k < s.k; ++k) {
                  const std::int64_t x = pixel * s.c + k / filters * channels;
                  const std::int64_t weight = (k * product(s.filter) + tap) * channels;
                  for (std::int64_t c = 0; c < channels; ++c) {
                    f(static_cast<std::size_t>(x + c), static_cast<std::size_t>(weight + c),
                      static_cast<std::size_t>(place * s.k + k));
                  }
                }
              }
}

/// As Backend::conv takes them.
template <class T>
struct Operands {
  std::vector<T> x, weight, bias, y_grad;

  const std::vector<T>& a(ConvPass pass) const { return pass == ConvPass::forward ? x : y_grad; }
  const std::vector<T>& b(ConvPass pass) const { return pass == ConvPass::weight_grad ? x : weight; }
};

/// Uniform in [-1, 1), as make_value(double) gives it.
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

/// add(element of the result, term) for every term of a pass.
template <class T, class Add>
void for_each_term(ConvPass pass, const ConvShape& s, const Operands<T>& in, bool bias, const Add& add) {
  const auto of = [](T value) { return static_cast<double>(value); };
  const auto channels = static_cast<std::size_t>(s.k), size = static_cast<std::size_t>(y_size(s));
  for (std::size_t i = 0; bias && i < size; ++i) add(i, of(in.bias[i % channels]));
  for_each_product(s, [&](std::size_t x, std::size_t weight, std::size_t y) {
    if (pass == ConvPass::forward) add(y, of(in.x[x]) * of(in.weight[weight]));
    if (pass == ConvPass::input_grad) add(x, of(in.y_grad[y]) * of(in.weight[weight]));
    if (pass == ConvPass::weight_grad) add(weight, of(in.y_grad[y]) * of(in.x[x]));
  });
}

/// Terms that show how float sums lose: constants, a ramp, random signs.
enum class Terms { tenth, third, seven_tenths, above_one, ramp, signs };
inline constexpr Terms kTerms[] = {Terms::tenth,     Terms::third, Terms::seven_tenths,
                                   Terms::above_one, Terms::ramp,  Terms::signs};

/// Operands whose products are such terms: in x and y's gradient; the weight is constant, and so is x for a weight's
/// gradient.
inline Operands<float> operands_of(Terms terms, const ConvShape& s, ConvPass pass) {
  std::mt19937 random(1);
  const auto values = [&](std::int64_t size) {
    std::vector<float> all;
    for (std::int64_t i = 0; i < size; ++i) {
      constexpr float kConstants[] = {0.1f, 1.0f / 3, 0.7f, 1.01f};
      all.push_back(terms == Terms::ramp    ? static_cast<float>(i + 1) * 1e-3f
                    : terms == Terms::signs ? (random() >> 31 ? 0.7f : -0.7f)
                                            : kConstants[static_cast<int>(terms)]);
    }
    return all;
  };
  Operands<float> all;
  all.x =
      pass == ConvPass::weight_grad ? std::vector<float>(static_cast<std::size_t>(x_size(s)), 1) : values(x_size(s));
  all.weight.assign(static_cast<std::size_t>(weight_size(s)), 0.9f);
  all.bias.assign(static_cast<std::size_t>(s.k), 3);
  all.y_grad = values(y_size(s));
  return all;
}

/// A pass on such operands, by definition: with a bias where it is a forward pass.
class DeepPass {
 public:
  DeepPass(Terms terms, const ConvShape& s, ConvPass pass)
      : in(operands_of(terms, s, pass)),
        bias(pass == ConvPass::forward),
        wanted_(static_cast<std::size_t>(result_size(pass, s))),
        magnitude_(wanted_) {
    for_each_term(pass, s, in, bias, [&](std::size_t i, double term) {
      wanted_[i] += term;
      magnitude_[i] += std::abs(term);
    });
  }

  /// The largest error of `found` over the sum of its element's terms' magnitudes.
  template <class T>
  double error(const std::vector<T>& found) const {
    double worst = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const double error = std::abs(static_cast<double>(found[i]) - wanted_[i]);
      if (!(error <= worst * magnitude_[i])) worst = error / magnitude_[i];
    }
    return worst;
  }

  const Operands<float> in;
  const bool bias;

 private:
  std::vector<double> wanted_, magnitude_;
};

/// The result of a pass by definition.
template <class T>
std::vector<double> conv_expected(ConvPass pass, const ConvShape& s, const Operands<T>& in, bool bias) {
  std::vector<double> out(static_cast<std::size_t>(result_size(pass, s)));
  for_each_term(pass, s, in, bias, [&](std::size_t i, double term) { out[i] += term; });
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

}  // namespace weft
