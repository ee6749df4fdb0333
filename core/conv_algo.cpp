#include "core/conv_algo.h"

#include <string>

#include "weft/error.h"

namespace weft {

namespace {

using Triple = std::array<std::int64_t, 3>;

constexpr Triple kOnes{1, 1, 1}, kZeros{0, 0, 0}, kWinogradFilter{1, 3, 3};
constexpr std::string_view kNames[] = {"automatic", "reference", "im2col", "direct", "winograd"};

bool is_floating_64_or_32(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }

/// "(2, 1)": the axes that are there.
std::string numbers(int axes, const Triple& values) {
  std::string text;
  for (std::size_t d = static_cast<std::size_t>(3 - axes); d < 3; ++d) {
    text.append(text.empty() ? "(" : ", ").append(std::to_string(values[d]));
  }
  return text + ")";
}

/// What Winograd's algorithm needs and the convolution has not, or nothing.
std::string unmet_by_winograd(int axes, const ConvShape& s, DType dtype) {
  if (s.filter != kWinogradFilter || s.in[0] != 1 || s.padding[0] != 0) {
    return "a 3x3 filter on two axes, got " + numbers(axes, s.filter);
  }
  if (s.stride[1] != 1 || s.stride[2] != 1) return "stride 1, got " + numbers(axes, s.stride);
  if (s.dilation[1] != 1 || s.dilation[2] != 1) return "dilation 1, got " + numbers(axes, s.dilation);
  if (s.groups != 1) return "groups 1, got " + std::to_string(s.groups);
  if (!is_floating_64_or_32(dtype)) return "f32 or f64, got " + std::string(name(dtype));
  return {};
}

}  // namespace

std::string_view name(ConvAlgo algo) { return kNames[static_cast<std::size_t>(algo)]; }

bool is_depthwise(const ConvShape& s) { return s.groups == s.c; }

bool is_pointwise(const ConvShape& s) {
  return s.filter == kOnes && s.stride == kOnes && s.padding == kZeros && s.in == s.out;
}

bool fits_winograd(const ConvShape& s) { return unmet_by_winograd(3, s, DType::f32).empty(); }

bool applies(ConvAlgo algo, const ConvShape& s, DType dtype) {
  if (algo == ConvAlgo::direct) return is_depthwise(s) || is_pointwise(s);
  if (algo == ConvAlgo::winograd) return unmet_by_winograd(3, s, dtype).empty();
  return true;
}

void check_algo(std::string_view op, int axes, const ConvShape& s, DType dtype) {
  if (applies(s.algo, s, dtype)) return;
  const std::string prefix = std::string(op) + ": algo " + std::string(name(s.algo)) + " needs ";
  if (s.algo == ConvAlgo::winograd) throw ValueError(prefix + unmet_by_winograd(axes, s, dtype));
  throw ValueError(prefix + "as many groups as channels, or a 1x1 filter with stride 1 and no padding; got " +
                   std::to_string(s.groups) + " groups of " + std::to_string(s.c) + " channels, filter " +
                   numbers(axes, s.filter) + ", stride " + numbers(axes, s.stride) + ", padding " +
                   numbers(axes, s.padding));
}

}  // namespace weft
