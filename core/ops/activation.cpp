#include <cmath>

#include "core/ops/op_support.h"
#include "core/value/number.h"

namespace weft {

namespace {

// bf16 takes several steps in f32, to be rounded once.
template <class Function>
Tensor rounded_once(const Tensor& x, const Function& function) {
  return x.dtype() == DType::bf16 ? function(x.to(DType::f32)).to(DType::bf16) : function(x);
}

Tensor is_above(const Tensor& x, double bound) { return greater(x, scalar_like(x, bound)); }

// x where the condition does not hold and 0 where it does: what a branch not taken is evaluated on, so that neither its
// value nor its slope can overflow.
Tensor unless(const Tensor& condition, const Tensor& x) { return where(condition, scalar_like(x, 0), x); }

void check_scale(std::string_view name, std::string_view what, double value) {
  if (std::isfinite(value) && value != 0) return;
  throw ValueError(std::string(name) + ": " + std::string(what) + " must be finite and not 0, got " + number(value));
}

// x above 0, scale·(e^(rate·x) - 1) elsewhere.
Tensor exponential_below(std::string_view name, const Tensor& input, double scale, double rate) {
  return rounded_once(floating(name, input), [&](const Tensor& x) {
    const Tensor v = x.detach();
    const Tensor above = is_above(v, 0);
    const Tensor y = where(above, v, expm1(unless(above, v) * rate) * scale);
    return record(name, y.array(), {x}, {Save::input("x", 0)},
                  [scale, rate](const SavedValues& saved, const Tensor& g) {
                    const Tensor linear = is_above(saved["x"].detach(), 0);
                    return Values{where(linear, g, g * exp(unless(linear, saved["x"]) * rate) * (scale * rate))};
                  });
  });
}

}  // namespace

Tensor leaky_relu(const Tensor& input, double slope) {
  const Tensor x = floating("leaky_relu", input);
  const Tensor v = x.detach();
  const Tensor y = where(is_above(v, 0), v, v * slope);
  return record("leaky_relu", y.array(), {x}, {Save::input("x", 0)},
                [slope](const SavedValues& saved, const Tensor& g) {
                  return Values{where(is_above(saved["x"].detach(), 0), g, g * slope)};
                });
}

Tensor elu(const Tensor& x, double alpha) { return exponential_below("elu", x, alpha, 1); }

Tensor celu(const Tensor& x, double alpha) {
  check_scale("celu", "alpha", alpha);
  return exponential_below("celu", x, alpha, 1 / alpha);
}

Tensor softplus(const Tensor& input, double beta, double threshold) {
  check_scale("softplus", "beta", beta);
  return rounded_once(floating("softplus", input), [&](const Tensor& x) {
    const Tensor v = x.detach();
    const Tensor t = v * beta;
    const Tensor ramp = beta > 0 ? relu(v) : minimum(v, 0);  // t, which may overflow, over beta where t is above 0
    const Tensor y = where(is_above(t, threshold), v, log1p(exp(negative(abs(t)))) / beta + ramp);
    return record("softplus", y.array(), {x}, {Save::input("x", 0)},
                  [beta, threshold](const SavedValues& saved, const Tensor& g) {
                    const Tensor above = is_above(saved["x"].detach() * beta, threshold);
                    return Values{where(above, g, g * sigmoid(unless(above, saved["x"]) * beta))};
                  });
  });
}

Tensor hardtanh(const Tensor& input, double low, double high) {
  if (!(low <= high)) {
    throw ValueError("hardtanh: low " + number(low) + " exceeds high " + number(high));
  }
  const Tensor x = floating("hardtanh", input);
  const Tensor y = minimum(maximum(x.detach(), low), high);
  return record(
      "hardtanh", y.array(), {x}, {Save::input("x", 0)}, [low, high](const SavedValues& saved, const Tensor& g) {
        const Tensor v = saved["x"].detach();
        const Tensor outside = logical_or(less_equal(v, scalar_like(v, low)), greater_equal(v, scalar_like(v, high)));
        return Values{unless(outside, g)};
      });
}

Tensor relu6(const Tensor& x) { return hardtanh(x, 0, 6); }

}  // namespace weft
