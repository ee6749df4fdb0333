#pragma once

#include <gtest/gtest.h>

#include <cmath>

#include "core/device/scalar_ops.h"

namespace weft::testing {

// x times a share of it, and its limit where the share is 0.
inline double shared_of(double x, double share) { return std::isinf(x) ? std::fmax(x, 0) : x * share; }
// The derivative of such, which turns from 0 to 1.
inline double slope_of(double x, double inside) { return std::isinf(x) ? (x < 0 ? 0 : 1) : inside; }

// The ops in double precision, by formulas of their own.
inline double unary_reference(UnaryOp op, double x) {
  switch (op) {
    case UnaryOp::negative:
      return -x;
    case UnaryOp::abs:
      return std::abs(x);
    case UnaryOp::sign:
      return std::isnan(x) ? x : x == 0 ? 0 : std::copysign(1, x);
    case UnaryOp::square:
      return std::pow(x, 2);
    case UnaryOp::reciprocal:
      return 1 / x;
    case UnaryOp::sqrt:
      return std::sqrt(x);
    case UnaryOp::rsqrt:
      return 1 / std::sqrt(x);
    case UnaryOp::exp:
      return std::exp(x);
    case UnaryOp::expm1:
      return std::expm1(x);
    case UnaryOp::log:
      return std::log(x);
    case UnaryOp::log1p:
      return std::log1p(x);
    case UnaryOp::log2:
      return std::log2(x);
    case UnaryOp::log10:
      return std::log10(x);
    case UnaryOp::sin:
      return std::sin(x);
    case UnaryOp::cos:
      return std::cos(x);
    case UnaryOp::tan:
      return std::tan(x);
    case UnaryOp::asin:
      return std::asin(x);
    case UnaryOp::acos:
      return std::acos(x);
    case UnaryOp::atan:
      return std::atan(x);
    case UnaryOp::sinh:
      return std::sinh(x);
    case UnaryOp::cosh:
      return std::cosh(x);
    case UnaryOp::tanh:
      return std::tanh(x);
    case UnaryOp::erf:
      return std::erf(x);
    case UnaryOp::erfc:
      return 1 - std::erf(x);
    case UnaryOp::sigmoid:
      return 0.5 * (1 + std::tanh(x / 2));
    case UnaryOp::relu:
      return std::isnan(x) ? x : std::fmax(x, 0);
    case UnaryOp::gelu:
      return shared_of(x, 0.5 * (1 + std::erf(x / std::sqrt(2.0))));
    case UnaryOp::gelu_tanh:
      return shared_of(x, 0.5 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * std::pow(x, 3)))));
    case UnaryOp::silu:
      return shared_of(x, 0.5 * (1 + std::tanh(x / 2)));
    case UnaryOp::hardsigmoid:
      return std::isnan(x) ? x : std::fmin(std::fmax(x / 6 + 0.5, 0), 1);
    case UnaryOp::hardswish:
      return std::isnan(x) ? x : x <= -3 ? 0 : x * std::fmin(x / 6 + 0.5, 1);
    case UnaryOp::floor:
      return std::floor(x);
    case UnaryOp::ceil:
      return std::ceil(x);
    case UnaryOp::round:
      return std::nearbyint(x);
    case UnaryOp::is_nan:
      return std::isnan(x);
    case UnaryOp::is_finite:
      return std::isfinite(x);
    case UnaryOp::logical_not:
      return x == 0;
    case UnaryOp::count:
      break;
  }
  ADD_FAILURE() << "no such op";
  return std::nan("");
}

inline double binary_reference(BinaryOp op, double a, double b) {
  const bool nan = std::isnan(a) || std::isnan(b);
  switch (op) {
    case BinaryOp::add:
      return a + b;
    case BinaryOp::subtract:
      return a - b;
    case BinaryOp::multiply:
      return a * b;
    case BinaryOp::floor_divide:
      if (nan || (std::isinf(a) && b != 0)) return std::nan("");  // as in Python and NumPy
      return std::isinf(b) && a != 0 ? ((a < 0) == (b < 0) ? 0 : -1) : std::floor(a / b);
    case BinaryOp::remainder: {
      const double r = std::fmod(a, b);
      return r != 0 && std::signbit(r) != std::signbit(b) ? r + b : r;
    }
    case BinaryOp::power:
      return std::pow(a, b);
    case BinaryOp::maximum:
      return nan ? std::nan("") : std::fmax(a, b);
    case BinaryOp::minimum:
      return nan ? std::nan("") : std::fmin(a, b);
    case BinaryOp::divide:
      return a / b;
    case BinaryOp::atan2:
      return std::atan2(a, b);
    case BinaryOp::relu_grad:
      return b > 0 ? a : 0;
    case BinaryOp::weighted:
      return a == 0 && !std::isnan(b) ? 0 : a * b;
    case BinaryOp::atan2_slope:
      return !nan && (std::isinf(a) || std::isinf(b)) ? 0 : a / (a * a + b * b);
    case BinaryOp::sigmoid_grad:
      return a / std::pow(2 * std::cosh(b / 2), 2);
    case BinaryOp::tanh_grad:
      return a / std::pow(std::cosh(b), 2);
    case BinaryOp::silu_grad: {
      const double s = 0.5 * (1 + std::tanh(b / 2));
      return a * slope_of(b, s * (1 + b * (1 - s)));
    }
    case BinaryOp::gelu_grad:
      return a * slope_of(b, 0.5 * (1 + std::erf(b / std::sqrt(2.0))) + b * std::exp(-b * b / 2) / std::sqrt(2 * M_PI));
    case BinaryOp::gelu_tanh_grad: {  // 1 - tanh(u)^2 = 1/cosh(u)^2
      const double u = std::sqrt(2 / M_PI) * (b + 0.044715 * std::pow(b, 3));
      const double slope = std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * std::pow(b, 2));
      return a * slope_of(b, 0.5 * (1 + std::tanh(u) + b * slope / std::pow(std::cosh(u), 2)));
    }
    case BinaryOp::hardswish_grad:
      return b <= -3 ? 0 : b >= 3 ? a : a * (2 * b + 3) / 6;
    case BinaryOp::equal:
      return a == b;
    case BinaryOp::not_equal:
      return !(a == b);
    case BinaryOp::less:
      return a < b;
    case BinaryOp::less_equal:
      return a <= b;
    case BinaryOp::greater:
      return b < a;
    case BinaryOp::greater_equal:
      return b <= a;
    case BinaryOp::logical_and:
      return a != 0 && b != 0;
    case BinaryOp::logical_or:
      return a != 0 || b != 0;
    case BinaryOp::logical_xor:
      return (a != 0) != (b != 0);
    case BinaryOp::count:
      break;
  }
  ADD_FAILURE() << "no such op";
  return std::nan("");
}

}  // namespace weft::testing
