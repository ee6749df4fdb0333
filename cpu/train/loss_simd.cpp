#include <cmath>
#include <cstdint>
#include <limits>

#include "cpu/array/tile.h"
#include "cpu/runtime/vector_math.h"
#include "cpu/train/loss_kernels.h"

namespace weft::cpu::WEFT_ISA {
namespace {

constexpr std::int64_t kShort = 16;  // rows of fewer elements are added one by one
#if defined(__AVX2__)
constexpr std::int64_t kFew = 8;  // exponentials of fewer are faster one by one
#else
constexpr std::int64_t kFew = kShort;
#endif
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Σ term(i) for i in [begin, end): a sum for each lane of T, then those in order.
template <class T, class Term>
[[gnu::always_inline]] inline double sum_over(std::int64_t begin, std::int64_t end, Term term) {
  double sum = 0;
  if (end - begin < kShort) {
    for (; begin < end; ++begin) sum += term(begin);
    return sum;
  }
  double sums[kLanes<T>] = {};
  for (; begin + kLanes<T> <= end; begin += kLanes<T>) {
    for (int lane = 0; lane < kLanes<T>; ++lane) sums[lane] += term(begin + lane);
  }
  for (int lane = 0; begin + lane < end; ++lane) sums[lane] += term(begin + lane);
  for (const double lane : sums) sum += lane;
  return sum;
}

template <class T>
T row_max(std::int64_t n, const T* x) {
  T max = x[0];
  std::int64_t i = 0;
  if (n < kShort) {
    for (; i < n; ++i) max = x[i] > max ? x[i] : max;
    return max;
  }
  T best[kLanes<T>];
  for (T& lane : best) lane = max;
  for (; i + kLanes<T> <= n; i += kLanes<T>) {
    for (int lane = 0; lane < kLanes<T>; ++lane) best[lane] = x[i + lane] > best[lane] ? x[i + lane] : best[lane];
  }
  for (const T lane : best) max = lane > max ? lane : max;
  for (; i < n; ++i) max = x[i] > max ? x[i] : max;
  return max;
}

/// Σ exp(x_i) = sum·exp(max). One of the sum's terms is 1, and rest is the sum of the others, which may be too small to
/// be seen in the sum.
struct ExpSum {
  double max, sum, rest;
};

template <class T>
constexpr double kSeen = sizeof(T) == 4 ? 0x1p-26 : 0.5;  // a rest from here on has T's digits in the sum

/// exp(x) for x <= 0
template <class T>
[[gnu::always_inline]] inline Vec<T> row_exp(Vec<T> x) {
#if defined(__AVX2__)
  return small_exp<T>(x);
#else
  return vector_exp(x);
#endif
}

/// Writes exp(x_i - max) to `exponentials` unless it is null, and adds up term of each.
template <class T, class Term>
[[gnu::always_inline]] inline double few_exponentials(std::int64_t n, const T* x, T max, T* exponentials, Term term) {
  double total = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const T value = std::exp(x[i] - max);
    total += term(value);
    if (exponentials != nullptr) exponentials[i] = value;
  }
  return total;
}
template <class T, class Term>
[[gnu::always_inline]] inline double many_exponentials(std::int64_t n, const T* x, T max, T* exponentials, Term term) {
  constexpr std::int64_t kBlock = 256;
  T block[kBlock];
  double total = 0;
  for (std::int64_t begin = 0; begin < n; begin += kBlock) {
    const std::int64_t count = n - begin < kBlock ? n - begin : kBlock;
    T* const values = exponentials == nullptr ? block : exponentials + begin;
    for (std::int64_t i = 0; i < count; i += kLanes<T>) {
      store_lanes(values + i, 1, count - i, row_exp<T>(load_lanes(x + begin + i, 1, count - i, max) - max));
    }
    total += sum_over<T>(0, count, [=](std::int64_t i) { return term(values[i]); });
  }
  return total;
}

constexpr auto kEach = [](auto e) { return static_cast<double>(e); };
constexpr auto kOthers = [](auto e) { return e == 1 ? 0.0 : static_cast<double>(e); };

template <class T>
[[gnu::noinline]] ExpSum wide_exp_sum(bool exact, std::int64_t n, const T* x, T* exponentials) {
  const T max = row_max(n, x);
  const double sum = many_exponentials(n, x, max, exponentials, kEach);
  const bool seen = !exact || !(sum - 1 < kSeen<T>);
  return {static_cast<double>(max), sum, seen ? sum - 1 : many_exponentials(n, x, max, exponentials, kOthers)};
}

template <class T>
[[gnu::noinline, gnu::cold]] double few_others(std::int64_t n, const T* x, T max) {
  return few_exponentials<T>(n, x, max, nullptr, kOthers);
}

/// Writes exp(x_i - max) to `exponentials` unless it is null. `exact` asks for the rest's own digits.
template <class T>
[[gnu::always_inline]] inline ExpSum exp_sum(bool exact, std::int64_t n, const T* x, T* exponentials) {
  if (n >= kFew) return wide_exp_sum(exact, n, x, exponentials);
  T max = x[0];
  for (std::int64_t i = 0; i < n; ++i) max = x[i] > max ? x[i] : max;
  const double sum = few_exponentials(n, x, max, exponentials, kEach);
  const bool seen = !exact || !(sum - 1 < kSeen<T>);
  return {static_cast<double>(max), sum, seen ? sum - 1 : few_others(n, x, max)};
}

/// log(sum), also where it is next to 0.
template <class T>
double log_of(const ExpSum& total) {
  return total.rest < kSeen<T> ? std::log1p(total.rest) : std::log(total.sum);
}

template <class T>
void softmax(bool log, std::int64_t n, const T* x, T* y) {
  const ExpSum total = exp_sum(log, n, x, log ? nullptr : y);
  if (log) {
    const double log_sum = log_of<T>(total);
    WEFT_INDEPENDENT
    for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(static_cast<double>(x[i]) - total.max - log_sum);
  } else {
    const double scale = 1 / total.sum;
    WEFT_INDEPENDENT
    for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(static_cast<double>(y[i]) * scale);
  }
}

template <class T>
void softmax_grad(bool log, std::int64_t n, const T* y, const T* y_grad, T* x_grad) {
  const auto d = [](T value) { return static_cast<double>(value); };
  if (log) {
    const double sum = sum_over<T>(0, n, [=](std::int64_t i) { return d(y_grad[i]); });
    if (kFew == kShort && n < kFew) {
      for (std::int64_t i = 0; i < n; ++i) x_grad[i] = static_cast<T>(d(y_grad[i]) - d(std::exp(y[i])) * sum);
      return;
    }
    for (std::int64_t i = 0; i < n; i += kLanes<T>) {
      T softmax[kLanes<T>];
      store(softmax, row_exp<T>(load_lanes(y + i, 1, n - i)));
      for (int lane = 0; lane < kLanes<T> && i + lane < n; ++lane) {
        x_grad[i + lane] = static_cast<T>(d(y_grad[i + lane]) - d(softmax[lane]) * sum);
      }
    }
  } else {
    const double sum = sum_over<T>(0, n, [=](std::int64_t i) { return d(y_grad[i]) * d(y[i]); });
    WEFT_INDEPENDENT
    for (std::int64_t i = 0; i < n; ++i) x_grad[i] = static_cast<T>(d(y[i]) * (d(y_grad[i]) - sum));
  }
}

template <class T>
double cross_entropy(std::int64_t n, const T* z, std::int64_t label, double smoothing) {
  if (label < 0 || label >= n) return kNaN;
  const ExpSum total = exp_sum<T>(true, n, z, nullptr);
  const double log_sum = log_of<T>(total);
  const auto surprise = [=](std::int64_t i) { return log_sum + (total.max - static_cast<double>(z[i])); };
  const double loss = surprise(label);
  if (smoothing == 0) return loss;
  const double inverse = 1 / static_cast<double>(n);
  double mean = sum_over<T>(0, n, surprise) * inverse;
  // The sum may leave the range where the mean does not.
  if (!std::isfinite(mean)) mean = sum_over<T>(0, n, [=](std::int64_t i) { return surprise(i) * inverse; });
  return smoothing == 1 ? mean : (1 - smoothing) * loss + smoothing * mean;  // either may be infinite
}

template <class T>
void cross_entropy_grad(std::int64_t n, const T* z, std::int64_t label, double smoothing, double loss_grad, T* z_grad) {
  if (label < 0 || label >= n) {
    for (std::int64_t i = 0; i < n; ++i) z_grad[i] = static_cast<T>(kNaN);
    return;
  }
  const ExpSum total = exp_sum(true, n, z, z_grad);
  const double scale = 1 / total.sum, uniform = smoothing / static_cast<double>(n);
  const double exponential = static_cast<double>(z_grad[label]);
  for (std::int64_t i = 0; i < n; ++i) {
    z_grad[i] = static_cast<T>(loss_grad * (static_cast<double>(z_grad[i]) * scale - uniform));
  }
  // The softmax less 1, which cancels where the label has the row's largest logit.
  const double difference = exponential == 1 ? -total.rest * scale : exponential * scale - 1;
  z_grad[label] = static_cast<T>(loss_grad * (difference + (smoothing - uniform)));
}

template <class T>
constexpr LossKernelsOf<T> kernels_of = {softmax<T>, softmax_grad<T>, cross_entropy<T>, cross_entropy_grad<T>};

}  // namespace

const LossKernels loss_kernels = {kernels_of<float>, kernels_of<double>};

}  // namespace weft::cpu::WEFT_ISA
