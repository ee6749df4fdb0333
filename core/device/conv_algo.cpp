#include "core/device/conv_algo.h"

#include <string>

#include "core/device/spatial.h"
#include "weft/error.h"

namespace weft {

namespace {

constexpr Triple kOnes{1, 1, 1}, kZeros{0, 0, 0}, kWinogradFilter{1, 3, 3};
constexpr std::string_view kNames[] = {"automatic", "reference", "im2col", "direct", "winograd", "implicit_gemm"};

/// The first of Winograd's needs that a convolution has not.
enum class Unmet { nothing, filter, stride, dilation, groups };

Unmet unmet_by_winograd(const ConvShape& s) {
  if (s.filter != kWinogradFilter || s.in[0] != 1 || s.padding[0] != 0) return Unmet::filter;
  if (s.stride[1] != 1 || s.stride[2] != 1) return Unmet::stride;
  if (s.dilation[1] != 1 || s.dilation[2] != 1) return Unmet::dilation;
  return s.groups == 1 ? Unmet::nothing : Unmet::groups;
}

std::string winograd_needs(int axes, const ConvShape& s, DType dtype) {
  switch (unmet_by_winograd(s)) {
    case Unmet::filter:
      return "a 3x3 filter on two axes, got " + numbers(axes, s.filter);
    case Unmet::stride:
      return "stride 1, got " + numbers(axes, s.stride);
    case Unmet::dilation:
      return "dilation 1, got " + numbers(axes, s.dilation);
    case Unmet::groups:
      return "groups 1, got " + std::to_string(s.groups);
    case Unmet::nothing:
      break;
  }
  return "f32 or f64, got " + std::string(name(dtype));
}

}  // namespace

std::string_view name(ConvAlgo algo) { return kNames[static_cast<std::size_t>(algo)]; }

bool is_depthwise(const ConvShape& s) { return s.groups == s.c; }

bool is_one_by_one(const ConvShape& s) {
  return s.filter == kOnes && s.stride == kOnes && s.padding == kZeros && s.in == s.out;
}

bool fits_winograd(const ConvShape& s) { return unmet_by_winograd(s) == Unmet::nothing; }

bool applies(ConvAlgo algo, const ConvShape& s, DType dtype) {
  if (algo == ConvAlgo::direct) return is_depthwise(s) || is_one_by_one(s);
  if (algo == ConvAlgo::winograd) return fits_winograd(s) && (dtype == DType::f32 || dtype == DType::f64);
  return true;
}

void check_algo(std::string_view op, int axes, const ConvShape& s, DType dtype) {
  if (applies(s.algo, s, dtype)) return;
  const std::string prefix = std::string(op) + ": algo " + std::string(name(s.algo)) + " needs ";
  if (s.algo == ConvAlgo::winograd) throw ValueError(prefix + winograd_needs(axes, s, dtype));
  throw ValueError(prefix + "as many groups as channels, or a 1x1 filter with stride 1 and no padding; got " +
                   std::to_string(s.groups) + " groups of " + std::to_string(s.c) + " channels, filter " +
                   numbers(axes, s.filter) + ", stride " + numbers(axes, s.stride) + ", padding " +
                   numbers(axes, s.padding));
}

}  // namespace weft
