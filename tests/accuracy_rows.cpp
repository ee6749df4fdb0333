#include <numbers>

#include "tests/accuracy.h"

namespace weft::accuracy {

namespace {

constexpr Real kPi = std::numbers::pi_v<Real>;
constexpr Real kRoot2 = std::numbers::sqrt2_v<Real>;

Real logistic(Real x) { return 1 / (1 + std::exp(-x)); }
Real density(Real x) { return std::exp(-x * x / 2) / std::sqrt(2 * kPi); }
Real normal(Real x) { return std::erfc(-x / kRoot2) / 2; }
Real cubic(Real x) { return 2 * std::sqrt(2 / kPi) * (x + 0.044715L * x * x * x); }
Real cubic_slope(Real x) { return 2 * std::sqrt(2 / kPi) * (1 + 3 * 0.044715L * x * x); }

// Limits at infinity.
Real at_ends(Real x, Real below, Real above, Real inside) { return std::isinf(x) ? (x < 0 ? below : above) : inside; }

// sigmoid(w)·(1 + p·sigmoid(-w)), where exponentials may be 0 beside an infinite p.
Real gated_slope(Real w, Real p) {
  if (std::abs(w) > 20000) return w > 0 ? 1 : 0;
  return logistic(w) * (1 + p * logistic(-w));
}

#define WEFT_OF(EXPRESSION) []([[maybe_unused]] Real x, [[maybe_unused]] Real y) -> Real { return EXPRESSION; }
#define WEFT_RUN(CALL) [](const std::vector<Tensor>& in) { return CALL; }
#define WEFT_NAMED(NAME, VALUE, UNITS, SLOPE, SLOPE_UNITS)       \
  {                                                              \
#NAME, 1, WEFT_RUN(NAME(in[0])), {WEFT_OF(VALUE), UNITS }, { \
      { WEFT_OF(SLOPE), SLOPE_UNITS }                            \
    }                                                            \
  }

// What the gradients near their zero are sums of.
constexpr Reference kNearZero = WEFT_OF(x > -3 && x < 0 ? 0.25L : 0);
constexpr Reference kSquare = WEFT_OF(2 * x * x);
constexpr Reference kCubic = WEFT_OF(4 * std::abs(cubic(x)));
constexpr Reference kSize = WEFT_OF(std::abs(x));
// An exponential below the normal numbers, times its argument.
constexpr Reference kTail = WEFT_OF(std::exp(x) < least_normal ? -x : 0);

}  // namespace

const std::vector<Row>& unary_rows() {
  static const std::vector<Row> rows = {
      WEFT_NAMED(negative, -x, 0, -1, 0),
      WEFT_NAMED(abs, std::abs(x), 0,
                 x > 0   ? 1
                 : x < 0 ? -1
                         : 0,
                 0),
      WEFT_NAMED(sign,
                 x > 0   ? 1
                 : x < 0 ? -1
                         : x,
                 0, 0, 0),
      WEFT_NAMED(square, x * x, 0.5, 2 * x, 0),
      WEFT_NAMED(reciprocal, 1 / x, 0.5, -1 / x / x, 3),
      WEFT_NAMED(sqrt, std::sqrt(x), 0.5, 0.5L / std::sqrt(x), 1.5),
      WEFT_NAMED(rsqrt, 1 / std::sqrt(x), 1.5, -0.5L / std::sqrt(x) / std::sqrt(x) / std::sqrt(x), 7),
      WEFT_NAMED(exp, std::exp(x), 4.1, std::exp(x), 4.1),
      WEFT_NAMED(expm1, std::expm1(x), 4.1, std::exp(x), 4.1),
      WEFT_NAMED(log, std::log(x), 4.1, 1 / x, 0.5),
      WEFT_NAMED(log1p, std::log1p(x), 4.1, 1 / (1 + x), 1.6),
      WEFT_NAMED(log2, std::log2(x), 4.1, 1 / (x * std::numbers::ln2_v<Real>), 2),
      WEFT_NAMED(log10, std::log10(x), 4.1, 1 / (x * std::numbers::ln10_v<Real>), 2),
      WEFT_NAMED(sin, std::sin(x), 4.1, std::cos(x), 4.1),
      WEFT_NAMED(cos, std::cos(x), 4.1, -std::sin(x), 4.1),
      WEFT_NAMED(tan, std::tan(x), 4.1, 1 + std::tan(x) * std::tan(x), 10),
      WEFT_NAMED(asin, std::asin(x), 4.1, 1 / std::sqrt((1 - x) * (1 + x)), 3),
      WEFT_NAMED(acos, std::acos(x), 4.1, -1 / std::sqrt((1 - x) * (1 + x)), 3),
      WEFT_NAMED(atan, std::atan(x), 4.1, 1 / (1 + x * x), 3),
      WEFT_NAMED(sinh, std::sinh(x), 4.1, std::cosh(x), 4.1),
      WEFT_NAMED(cosh, std::cosh(x), 4.1, std::sinh(x), 4.1),
      WEFT_NAMED(tanh, std::tanh(x), 4.1, 4 * std::exp(-2 * std::abs(x)) / std::pow(1 + std::exp(-2 * std::abs(x)), 2),
                 10),
      {"erf",
       1,
       WEFT_RUN(erf(in[0])),
       {WEFT_OF(std::erf(x)), 4.1},
       {{WEFT_OF(2 / std::sqrt(kPi) * std::exp(-x * x)), 8, kSquare}}},
      {"erfc",
       1,
       WEFT_RUN(erfc(in[0])),
       {WEFT_OF(std::erfc(x)), 4.1},
       {{WEFT_OF(-2 / std::sqrt(kPi) * std::exp(-x * x)), 8, kSquare}}},
      WEFT_NAMED(sigmoid, logistic(x), 6, std::exp(-std::abs(x)) / std::pow(1 + std::exp(-std::abs(x)), 2), 8),
      WEFT_NAMED(relu, x <= 0 ? 0 : x, 0, x > 0 ? 1 : 0, 0),
      {"gelu",
       1,
       WEFT_RUN(gelu(in[0])),
       {WEFT_OF(at_ends(x, 0, kInf, x * normal(x))), 8, kSquare},
       {{WEFT_OF(at_ends(x, 0, 1, normal(x) + x * density(x))), 10, kSquare, kNearZero}}},
      {"gelu, tanh",
       1,
       WEFT_RUN(gelu(in[0], true)),
       {WEFT_OF(at_ends(x, 0, kInf, std::abs(x) > 1e6L ? std::max(x, Real(0)) : x * logistic(cubic(x)))), 12, kCubic},
       {{WEFT_OF(at_ends(x, 0, 1, gated_slope(cubic(x), x * cubic_slope(x)))), 16, kCubic, kNearZero}}},
      {"silu",
       1,
       WEFT_RUN(silu(in[0])),
       {WEFT_OF(at_ends(x, 0, kInf, x < -20000 ? 0 : x * logistic(x))), 8},
       {{WEFT_OF(at_ends(x, 0, 1, gated_slope(x, x))), 10, kTail, kNearZero}}},
      WEFT_NAMED(hardsigmoid,
                 x <= -3  ? 0
                 : x >= 3 ? 1
                          : (x + 3) / 6,
                 1.1, x > -3 && x < 3 ? 1 / 6.0L : 0, 0.5),
      {"hardswish",
       1,
       WEFT_RUN(hardswish(in[0])),
       {WEFT_OF(x <= -3  ? 0
                : x >= 3 ? x
                         : x * (x + 3) / 6),
        2},
       {{WEFT_OF(x <= -3  ? 0
                 : x >= 3 ? 1
                          : (2 * x + 3) / 6),
         1.1}}},
      WEFT_NAMED(floor, std::floor(x), 0, 0, 0),
      WEFT_NAMED(ceil, std::ceil(x), 0, 0, 0),
      WEFT_NAMED(round, std::nearbyint(x), 0, 0, 0),
      WEFT_NAMED(leaky_relu, x > 0 ? x : x * 0.01L, 1.5, x > 0 ? 1 : 0.01L, 0.5),
      {"elu, alpha 1.5",
       1,
       WEFT_RUN(elu(in[0], 1.5)),
       {WEFT_OF(x > 0 ? x : 1.5L * std::expm1(x)), 9},
       {{WEFT_OF(x > 0 ? 1 : 1.5L * std::exp(x)), 9}}},
      {"celu, alpha 3",
       1,
       WEFT_RUN(celu(in[0], 3)),
       {WEFT_OF(x > 0 ? x : 3 * std::expm1(x / 3)), 8},
       {{WEFT_OF(x > 0 ? 1 : std::exp(x / 3)), 6, kSize}}},
      {"softplus",
       1,
       WEFT_RUN(softplus(in[0])),
       {WEFT_OF(x > 20 ? x : std::log1p(std::exp(x))), 7},
       {{WEFT_OF(x > 20 ? 1 : logistic(x)), 6}}},
      {"softplus, beta 4, no threshold",
       1,
       WEFT_RUN(softplus(in[0], 4, std::numeric_limits<double>::infinity())),
       {WEFT_OF(x > 0 ? x + std::log1p(std::exp(-4 * x)) / 4 : std::log1p(std::exp(4 * x)) / 4), 7},
       {{WEFT_OF(logistic(4 * x)), 6}}},
      {"hardtanh",
       1,
       WEFT_RUN(hardtanh(in[0])),
       {WEFT_OF(x < -1  ? -1
                : x > 1 ? 1
                        : x),
        0},
       {{WEFT_OF(x > -1 && x < 1 ? 1 : 0), 0}}},
      {"clamp, 0.25 to 3",
       1,
       WEFT_RUN(clamp(in[0], 0.25, 3)),
       {WEFT_OF(x < 0.25L ? 0.25L
                : x > 3   ? 3
                          : x),
        0},
       {{WEFT_OF(x >= 0.25L && x <= 3 ? 1 : 0), 0}}},
  };
  return rows;
}

namespace {

#define WEFT_PAIR(EXPRESSION) []([[maybe_unused]] Real a, [[maybe_unused]] Real b) -> Real { return EXPRESSION; }

// Negative bases have powers of whole exponents, and beyond 10⁷ f32 does not tell even from odd ones.
bool odd(Real a, Real b) { return std::signbit(a) && (std::floor(b) != b || std::abs(b) > 1e7L); }

Real slope_of(Real u, Real v) { return std::isinf(u) || std::isinf(v) ? 0 : u / (u * u + v * v); }

}  // namespace

const std::vector<Row>& binary_rows() {
  static const std::vector<Row> rows = {
      {"add",
       2,
       WEFT_RUN(in[0] + in[1]),
       {WEFT_PAIR(a + b), 0.501},
       {{WEFT_PAIR(a * 0 + 1), 0}, {WEFT_PAIR(b * 0 + 1), 0}}},
      {"subtract", 2, WEFT_RUN(in[0] - in[1]), {WEFT_PAIR(a - b), 0.501}},
      {"multiply",
       2,
       WEFT_RUN(in[0] * in[1]),
       {WEFT_PAIR(a * b), 0.501},
       {{WEFT_PAIR(a * 0 + b), 0}, {WEFT_PAIR(b * 0 + a), 0}}},
      {"weighted",
       2,
       WEFT_RUN(weighted(in[0], in[1])),
       {WEFT_PAIR(a == 0 && std::isinf(b) ? 0 : a * b), 0.501},
       {{WEFT_PAIR(b), 0}, {WEFT_PAIR(a), 0}}},
      {"divide",
       2,
       WEFT_RUN(in[0] / in[1]),
       {WEFT_PAIR(a / b), 0.501},
       {{WEFT_PAIR(1 / b), 0.501},
        {WEFT_PAIR(-(a / b) / b), 2, WEFT_PAIR(a != 0 && std::abs(a / b) < least_normal ? kInf : 0)}}},
      {"maximum",
       2,
       WEFT_RUN(maximum(in[0], in[1])),
       {WEFT_PAIR(std::isnan(a) || std::isnan(b) ? a + b : std::max(a, b)), 0},
       {{WEFT_PAIR(a > b    ? 1
                   : a == b ? 0.5L
                            : 0),
         0},
        {WEFT_PAIR(b > a    ? 1
                   : a == b ? 0.5L
                            : 0),
         0}}},
      {"minimum",
       2,
       WEFT_RUN(minimum(in[0], in[1])),
       {WEFT_PAIR(std::isnan(a) || std::isnan(b) ? a + b : std::min(a, b)), 0},
       {{WEFT_PAIR(a < b    ? 1
                   : a == b ? 0.5L
                            : 0),
         0},
        {WEFT_PAIR(b < a    ? 1
                   : a == b ? 0.5L
                            : 0),
         0}}},
      {"atan2",
       2,
       WEFT_RUN(atan2(in[0], in[1])),
       {WEFT_PAIR(std::atan2(a, b)), 4.1},
       {{WEFT_PAIR(slope_of(b, a)), 3}, {WEFT_PAIR(-slope_of(a, b)), 3}}},
      {"power",
       2,
       WEFT_RUN(power(in[0], in[1])),
       {WEFT_PAIR(std::pow(a, b)), 4.1},
       {{WEFT_PAIR(b == 0      ? 0
                   : odd(a, b) ? kNaN
                               : b * std::pow(a, b - 1)),
         8, WEFT_PAIR(std::abs(std::pow(a, b - 1)) < least_normal ? std::abs(b) : 0)},
        {WEFT_PAIR((a == 0 && b >= 0) || (a == kInf && b < 0) ? 0
                   : std::signbit(a)                          ? kNaN
                                                              : std::pow(a, b) * std::log(a)),
         16}}},
      {"square as a power", 1, WEFT_RUN(power(in[0], 2)), {WEFT_PAIR(a * a), 0.501}, {{WEFT_PAIR(2 * a), 0}}},
      {"cube as a power", 1, WEFT_RUN(power(in[0], 3)), {WEFT_PAIR(a * a * a), 1.6}, {{WEFT_PAIR(3 * a * a), 3}}},
      {"inverse as a power", 1, WEFT_RUN(power(in[0], -1)), {WEFT_PAIR(1 / a), 0.501}, {{WEFT_PAIR(-1 / a / a), 3}}},
  };
  return rows;
}

namespace {

// A row of the logits {a, b, 0}. The result is NaN where one is infinity, as in weft.
struct Logits {
  std::array<Real, 3> z;

  Real max() const { return std::max({z[0], z[1], z[2]}); }
  /// Σ exp(z - max) without `left_out`.
  Real others(std::size_t left_out) const {
    Real sum = 0;
    for (std::size_t i = 0; i < 3; ++i) sum += i == left_out ? 0 : std::exp(z[i] - max());
    return sum;
  }
  std::size_t largest() const { return z[0] >= z[1] && z[0] >= z[2] ? 0 : z[1] >= z[2] ? 1 : 2; }
  bool infinite() const { return z[0] == kInf || z[1] == kInf || std::isnan(z[0]) || std::isnan(z[1]); }
  /// -log of a softmax, the softmax, and it less 1.
  Real surprise(std::size_t i) const { return infinite() ? kNaN : std::log1p(others(largest())) + (max() - z[i]); }
  Real share(std::size_t i) const { return infinite() ? kNaN : std::exp(z[i] - max()) / (1 + others(largest())); }
  Real less_one(std::size_t i) const { return infinite() ? kNaN : -others(i) / (1 + others(largest())); }
};
Logits of(Real a, Real b) { return {{a, b, 0}}; }
// A loss that leaves the range before it is weighted is infinite; losses of f32 that are weighted in double are not.
Real kept(Real loss) { return loss >= rounds_to_infinity ? kInf : loss; }
Real kept_in_double(Real loss) { return rounds_to_infinity > 1e300L ? kept(loss) : loss; }

Real side(Real d) { return d > 0 ? 1 : d < 0 ? -1 : d; }

Tensor rows_of(const std::vector<Tensor>& in) { return stack({in[0], in[1], zeros_like(in[0])}, 1); }
Tensor first(const Tensor& x) { return select(x, 1, 0); }

Tensor entropy(const std::vector<Tensor>& in, double smoothing, const Tensor& weight = {}) {
  const Tensor labels = zeros({in[0].size(0)}, {.dtype = DType::i64, .device = in[0].device()});
  return cross_entropy(rows_of(in), labels,
                       {.label_smoothing = smoothing, .reduction = Reduction::none, .weight = weight});
}
Tensor shared_entropy(const std::vector<Tensor>& in, const std::vector<float>& shares) {
  const Tensor share = Tensor::from<float>(shares, {1, 3}).to(in[0].device()).to(in[0].dtype());
  const Tensor target = expand(share, {in[0].size(0), 3});
  return cross_entropy(rows_of(in), target, {.reduction = Reduction::none});
}
Tensor binary_entropy(const Tensor& x, double target) {
  return nn::binary_cross_entropy_with_logits(x, zeros_like(x) + target, {.reduction = Reduction::none});
}

Real softplus_of(Real x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

// exp(z - max) costs half a unit of the difference, which is its argument.
constexpr Reference kDifference =
    WEFT_PAIR(std::min(Real(2000), 2 * std::max({std::abs(a - b), std::abs(a), std::abs(b)})));
constexpr Reference kOne = WEFT_PAIR(1);

}  // namespace

const std::vector<Row>& loss_rows() {
  static const std::vector<Row> rows = {
      {"softmax",
       2,
       WEFT_RUN(first(softmax(rows_of(in)))),
       {WEFT_PAIR(of(a, b).share(0)), 6, kDifference},
       {{WEFT_PAIR(-of(a, b).share(0) * of(a, b).less_one(0)), 6, nullptr, kOne},
        {WEFT_PAIR(-of(a, b).share(0) * of(a, b).share(1)), 6, nullptr, kOne}}},
      {"log_softmax",
       2,
       WEFT_RUN(first(log_softmax(rows_of(in)))),
       {WEFT_PAIR(-of(a, b).surprise(0)), 4, kDifference},
       {{WEFT_PAIR(-of(a, b).less_one(0)), 6, nullptr, kOne}, {WEFT_PAIR(-of(a, b).share(1)), 6, kDifference}}},
      {"logsumexp",
       2,
       WEFT_RUN(logsumexp(rows_of(in), {1})),
       {WEFT_PAIR(a == kInf || b == kInf ? (std::isnan(a + b) && a != -b ? kNaN : kInf) : of(a, b).surprise(2)), 6,
        nullptr, kOne},
       {{WEFT_PAIR(of(a, b).share(0)), 6, kDifference}, {WEFT_PAIR(of(a, b).share(1)), 6, kDifference}}},
      {"cross_entropy",
       2,
       WEFT_RUN(entropy(in, 0)),
       {WEFT_PAIR(of(a, b).surprise(0)), 4, kDifference},
       {{WEFT_PAIR(of(a, b).less_one(0)), 6, kDifference}, {WEFT_PAIR(of(a, b).share(1)), 6, kDifference}}},
      {"cross_entropy, smoothing 0.25",
       2,
       WEFT_RUN(entropy(in, 0.25)),
       {WEFT_PAIR(kept_in_double(of(a, b).surprise(0)) * 5 / 6 +
                  (kept_in_double(of(a, b).surprise(1)) + kept_in_double(of(a, b).surprise(2))) / 12),
        4},
       {{WEFT_PAIR(of(a, b).less_one(0) + 0.25L - 0.25L / 3), 6, nullptr, kOne},
        {WEFT_PAIR(of(a, b).share(1) - 0.25L / 3), 6, nullptr, kOne}}},
      {"cross_entropy, weight 0.5",
       2,
       WEFT_RUN(entropy(in, 0, Tensor::from<float>({0.5F, 2, 1}, {3}).to(in[0].device()))),
       {WEFT_PAIR(0.5L * kept(of(a, b).surprise(0))), 4, kDifference},
       {{WEFT_PAIR(0.5L * of(a, b).less_one(0)), 6, kDifference},
        {WEFT_PAIR(0.5L * of(a, b).share(1)), 6, kDifference}}},
      {"cross_entropy, weights 2, 1, 0, smoothing 1",
       2,
       WEFT_RUN(entropy(in, 1, Tensor::from<float>({2, 1, 0}, {3}).to(in[0].device()))),
       {WEFT_PAIR(kept(2 * kept(of(a, b).surprise(0)) + kept(of(a, b).surprise(1))) / 3), 4, kDifference},
       {{WEFT_PAIR(of(a, b).share(0) - 2 / 3.0L), 6, nullptr, kOne},
        {WEFT_PAIR(of(a, b).share(1) - 1 / 3.0L), 6, nullptr, kOne}}},
      {"cross_entropy, probabilities 0, 1, 0",
       2,
       WEFT_RUN(shared_entropy(in, {0, 1, 0})),
       {WEFT_PAIR(of(a, b).surprise(1)), 4, kDifference},
       {{WEFT_PAIR(of(a, b).share(0)), 6, kDifference}, {WEFT_PAIR(of(a, b).less_one(1)), 6, nullptr, kOne}}},
      {"cross_entropy, probabilities 0, 0.75, 0.25",
       2,
       WEFT_RUN(shared_entropy(in, {0, 0.75F, 0.25F})),
       {WEFT_PAIR(0.75L * kept(of(a, b).surprise(1)) + 0.25L * kept(of(a, b).surprise(2))), 4, kDifference},
       {{WEFT_PAIR(of(a, b).share(0)), 6, kDifference}, {WEFT_PAIR(of(a, b).less_one(1) + 0.25L), 6, nullptr, kOne}}},
      {"binary cross entropy, target 1",
       1,
       WEFT_RUN(binary_entropy(in[0], 1)),
       {WEFT_PAIR(softplus_of(-a)), 7},
       {{WEFT_PAIR(-logistic(-a)), 6}}},
      {"binary cross entropy, target 0",
       1,
       WEFT_RUN(binary_entropy(in[0], 0)),
       {WEFT_PAIR(softplus_of(a)), 7},
       {{WEFT_PAIR(logistic(a)), 6}}},
      {"binary cross entropy, target 0.25",
       1,
       WEFT_RUN(binary_entropy(in[0], 0.25)),
       {WEFT_PAIR(0.25L * softplus_of(-a) + 0.75L * softplus_of(a)), 8},
       {{WEFT_PAIR(0.75L * logistic(a) - 0.25L * logistic(-a)), 8, nullptr, kOne}}},
      {"mse_loss",
       2,
       WEFT_RUN(nn::mse_loss(in[0], in[1], Reduction::none)),
       {WEFT_PAIR((a - b) * (a - b)), 2.6},
       {{WEFT_PAIR(2 * (a - b)), 0.6}, {WEFT_PAIR(-2 * (a - b)), 0.6}}},
      {"l1_loss",
       2,
       WEFT_RUN(nn::l1_loss(in[0], in[1], Reduction::none)),
       {WEFT_PAIR(std::abs(a - b)), 0.501},
       {{WEFT_PAIR(side(a - b)), 0}}},
      {"smooth_l1_loss, beta 2",
       2,
       WEFT_RUN(nn::smooth_l1_loss(in[0], in[1], 2, Reduction::none)),
       {WEFT_PAIR(std::abs(a - b) < 2 ? (a - b) * (a - b) / 4 : std::abs(a - b) - 1), 3},
       {{WEFT_PAIR(std::abs(a - b) < 2 ? (a - b) / 2 : side(a - b)), 2}}},
      {"huber_loss, delta 2^64",
       2,
       WEFT_RUN(nn::huber_loss(in[0], in[1], 0x1p64, Reduction::none)),
       {WEFT_PAIR(std::abs(a - b) < 0x1p64L ? (a - b) * (a - b) / 2 : (std::abs(a - b) - 0x1p63L) * 0x1p64L), 3},
       {{WEFT_PAIR(std::abs(a - b) < 0x1p64L ? a - b : 0x1p64L * side(a - b)), 2}}},
  };
  return rows;
}

}  // namespace weft::accuracy
