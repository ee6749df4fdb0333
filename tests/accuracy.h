#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "weft/weft.h"

/// Functions with their values and derivatives in long double, and a grid of operands over the whole range of a dtype.
namespace weft::accuracy {

using Real = long double;
using Function = std::function<Tensor(const std::vector<Tensor>&)>;
/// A value or a derivative, from the operands.
using Reference = Real (*)(Real, Real);

constexpr Real kInf = std::numeric_limits<Real>::infinity(), kNaN = std::numeric_limits<Real>::quiet_NaN();

/// The least normal number of the dtype that is being measured, and the least that rounds to infinity.
inline Real least_normal = 0, rounds_to_infinity = 0;

/// What is compared: a value (operand -1) or the derivative by an operand.
struct Measure {
  Reference reference;
  double units;                ///< the largest error, in the spacing of T at the reference
  Reference growth = nullptr;  ///< more units: what the rounding of an intermediate result costs
  Reference scale = nullptr;   ///< spacing at the larger of this and the reference: what cancels in the formula
};

struct Row {
  const char* name;
  int operands;
  Function run;
  Measure value;
  std::vector<Measure> slopes = {};  ///< by each operand; none where they are constant or nobody's
};

const std::vector<Row>& unary_rows();
const std::vector<Row>& binary_rows();
const std::vector<Row>& loss_rows();

/// The distance of two adjacent values of T at x.
template <class T>
Real spacing(Real x) {
  using Limits = std::numeric_limits<T>;
  int exponent = Limits::min_exponent;
  if (x != 0 && std::isfinite(x)) std::frexp(x, &exponent);
  return std::ldexp(1.0L, std::clamp(exponent, Limits::min_exponent, Limits::max_exponent) - Limits::digits);
}

/// Magnitudes over the whole range, `per_decade` in each factor of ten, with both signs, zeros, infinities and NaN.
template <class T>
std::vector<T> magnitudes(double per_decade) {
  using Limits = std::numeric_limits<T>;
  std::vector<T> values = {T(0),
                           -T(0),
                           Limits::infinity(),
                           -Limits::infinity(),
                           Limits::quiet_NaN(),
                           Limits::max(),
                           Limits::lowest(),
                           Limits::min(),
                           Limits::denorm_min(),
                           T(1),
                           T(-1),
                           T(0.5),
                           T(2)};
  for (const T value : {T(5), T(14), T(40), T(90)}) {  // where exponentials of f32 are small, and where subnormal
    values.push_back(value);
    values.push_back(-value);
  }
  const Real low = std::log10(static_cast<Real>(Limits::denorm_min())),
             high = std::log10(static_cast<Real>(Limits::max()));
  for (Real e = low + 0.01L; e < high; e += 1 / static_cast<Real>(per_decade)) {
    const T value = static_cast<T>(std::pow(10.0L, e));
    values.push_back(value);
    values.push_back(-value);
  }
  return values;
}

/// Those, numbers around the ones where functions turn, and even steps where exponentials are neither 0 nor infinite.
template <class T>
std::vector<T> points() {
  std::vector<T> values = magnitudes<T>(sizeof(T) == 4 ? 8 : 1);
  for (const double centre : {1.0, 3.0, 20.0, 1.5707963267948966, 3.141592653589793, 0.7517915246935645,
                              1.278464542761074, 88.72283905206835, 709.782712893384, 6.0, 0.25}) {
    for (const int steps : {0, 1, 2, 5, 100, 10000}) {
      const T step = static_cast<T>(steps) * std::numeric_limits<T>::epsilon() * T(centre);
      for (const T value : {static_cast<T>(centre) + step, static_cast<T>(centre) - step}) {
        values.push_back(value);
        values.push_back(-value);
      }
    }
  }
  const T end = sizeof(T) == 4 ? T(110) : T(760);
  for (int i = -500; i <= 500; ++i) {
    values.push_back(static_cast<T>(i) / T(53));
    values.push_back(end * static_cast<T>(i) / T(499));
  }
  return values;
}

}  // namespace weft::accuracy
