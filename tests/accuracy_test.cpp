// Every pointwise function, activation and loss and the softmax family, values and first gradients, over the whole
// range of f32 and f64 against long double. With WEFT_ACCURACY_TABLE=<file> the largest errors are appended to the file
// as rows of a Markdown table (scripts/accuracy.sh).

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <sstream>

#include "tests/accuracy.h"
#include "tests/device.h"

namespace weft::accuracy {
namespace {

struct Worst {
  double units = 0;
  std::string where = {};
};

template <class T>
std::vector<Tensor> leaves(const std::vector<std::vector<T>>& columns) {
  std::vector<Tensor> result;
  for (const std::vector<T>& column : columns) {
    const Tensor x = Tensor::from<T>(column, {static_cast<std::int64_t>(column.size())}, {.dtype = dtype_of<T>});
    result.emplace_back(x.to(kTestDevice).array(), true);
  }
  return result;
}

/// The units that `value` is off, where infinity is the number after the largest; infinity where one alone is NaN.
template <class T>
double units_off(T value, Real expected, Real scale) {
  if (std::isnan(value) || std::isnan(expected)) return std::isnan(value) == std::isnan(expected) ? 0 : HUGE_VAL;
  const Real end = static_cast<Real>(std::numeric_limits<T>::max()) + spacing<T>(std::numeric_limits<T>::max());
  const Real near = std::clamp(expected, -end, end), far = std::clamp(static_cast<Real>(value), -end, end);
  return static_cast<double>(std::abs(far - near) / spacing<T>(std::max(std::abs(near), scale)));
}

template <class T>
class Checked {
 public:
  Checked(const Row& row, const std::vector<std::vector<T>>& columns) : row_(row), columns_(columns) {}

  Worst compare(const std::string& what, const Measure& measure, const Tensor& result, bool gradient) {
    const std::size_t n = columns_[0].size();
    const std::vector<T> values = result.defined() ? result.to_vector<T>() : std::vector<T>(n);
    Worst worst;
    int shown = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const Real a = columns_[0][i], b = row_.operands == 2 ? columns_[1][i] : T(0);
      const Real expected = measure.reference(a, b);
      if (gradient && (std::isnan(a) || std::isnan(b) || std::isnan(expected))) continue;  // no gradient is right
      const Real growth = measure.growth ? measure.growth(a, b) : 0, scale = measure.scale ? measure.scale(a, b) : 0;
      if (growth == kInf) continue;
      const double units = units_off(values[i], expected, std::isnan(scale) ? 0 : scale);
      std::ostringstream text;
      text << std::setprecision(17) << "(" << a;
      if (row_.operands == 2) text << ", " << b;
      text << ")";
      if (!(units <= measure.units + static_cast<double>(std::isnan(growth) ? 0 : growth)) && ++shown <= 4) {
        ADD_FAILURE() << name_of<T>() << " " << row_.name << ", " << what << " at " << text.str() << ": " << values[i]
                      << ", not " << expected << ", " << units << " units off";
      }
      if (units > worst.units) worst = {units, text.str()};
    }
    return worst;
  }

 private:
  template <class U>
  static const char* name_of() {
    return sizeof(U) == 4 ? "f32" : "f64";
  }
  const Row& row_;
  const std::vector<std::vector<T>>& columns_;
};

/// The largest errors of the value and of the gradients.
struct Errors {
  Worst value, fused, composed;
};

template <class T>
Errors measured(const Row& row, const std::vector<std::vector<T>>& columns) {
  least_normal = std::numeric_limits<T>::min();
  const T largest = std::numeric_limits<T>::max();
  rounds_to_infinity = largest + spacing<T>(largest) / 2;
  const std::vector<Tensor> x = leaves(columns);
  const Tensor y = row.run(x);
  Checked<T> checked(row, columns);
  Errors errors;
  errors.value = checked.compare("value", row.value, y, false);
  for (const bool composed : {false, true}) {
    if (row.slopes.empty() || !y.requires_grad()) continue;
    std::vector<Tensor> grads = grad({y}, x, {ones_like(y)}, {.retain_graph = true, .create_graph = composed}, true);
    for (std::size_t i = 0; i < row.slopes.size(); ++i) {
      const std::string what =
          std::string(composed ? "composed" : "fused") + " gradient of operand " + std::to_string(i);
      const Worst worst = checked.compare(what, row.slopes[i], grads[i], true);
      Worst& most = composed ? errors.composed : errors.fused;
      if (worst.units > most.units) most = worst;
    }
  }
  return errors;
}

/// Two columns with all pairs.
template <class T>
std::vector<std::vector<T>> pairs(const std::vector<T>& values) {
  std::vector<std::vector<T>> columns(2);
  for (const T a : values) {
    for (const T b : values) {
      columns[0].push_back(a);
      columns[1].push_back(b);
    }
  }
  return columns;
}

void check(const std::vector<Row>& rows) {
  const std::vector<std::vector<float>> one32 = {points<float>()}, two32 = pairs(magnitudes<float>(0.4));
  const std::vector<std::vector<double>> one64 = {points<double>()}, two64 = pairs(magnitudes<double>(0.05));
  const char* path = std::getenv("WEFT_ACCURACY_TABLE");
  std::ofstream table;
  if (path != nullptr) table.open(path, std::ios::app);
  table << std::setprecision(2);
  for (const Row& row : rows) {
    const bool one = row.operands == 1;
    const Errors f32 = measured<float>(row, one ? one32 : two32), f64 = measured<double>(row, one ? one64 : two64);
    table << "| " << row.name;
    for (const Errors& errors : {f32, f64}) {
      table << " | " << errors.value.units;
      if (row.slopes.empty()) {
        table << " | | ";
      } else {
        table << " | " << errors.fused.units << " | " << errors.composed.units;
      }
    }
    table << " |\n";
  }
}

/// 0, step, 2·step, ... and from 0 again after `period` of them, (1, n).
Tensor repeated_ramp(std::int64_t n, float step, std::int64_t period) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(step * static_cast<float>(i % period));
  return Tensor(Tensor::from<float>(values, {1, n}).to(kTestDevice).array(), true);
}

// Sums are within 4e-7 of the sum of their terms' magnitudes.
TEST(Accuracy, SumsOfWideRows) {
  for (const std::int64_t n : {std::int64_t{1000}, std::int64_t{4099}, std::int64_t{300001}}) {
    SCOPED_TRACE(n);
    const Tensor x = repeated_ramp(n, 0.1F, 7);
    const Tensor shares = softmax(x);
    double sum = 0;
    for (const float share : shares.to_vector<float>()) sum += double{share};
    EXPECT_NEAR(sum, 1, 4e-7);

    const Tensor flat(zeros({1, n}, {.device = kTestDevice}).array(), true);
    const Tensor slopes = grad({softmax(flat)}, {flat}, {zeros_like(flat) + 0.1})[0];  // 0 but for rounding
    for (const float slope : slopes.to_vector<float>()) ASSERT_LE(std::abs(slope) * static_cast<float>(n), 4e-8F);

    double exponentials = 0, below = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const double z = double{0.1F * static_cast<float>(i % 7)};
      exponentials += std::exp(z);
      below -= z;
    }
    const double log_sum = std::log(exponentials), expected = log_sum + 0.5 * below / static_cast<double>(n);
    const Tensor label = zeros({1}, {.dtype = DType::i64, .device = kTestDevice});
    EXPECT_NEAR(cross_entropy(x, label, {.label_smoothing = 0.5}).item<float>(), expected, 4e-7 * expected);
    EXPECT_NEAR(logsumexp(flat, {1}).item<float>(), std::log(static_cast<double>(n)), 1e-6);
  }
  const std::int64_t rows = 100003;
  const Tensor logits = zeros({rows, 2}, {.device = kTestDevice});
  const Tensor labels = zeros({rows}, {.dtype = DType::i64, .device = kTestDevice});
  const double total = static_cast<double>(rows) * std::log(2.0);
  EXPECT_NEAR(cross_entropy(logits, labels, {.reduction = Reduction::sum}).item<float>(), total, 4e-7 * total);
  EXPECT_NEAR(cross_entropy(logits, labels).item<float>(), std::log(2.0), 4e-7 * std::log(2.0));
}

TEST(Accuracy, FunctionsOfOneOperand) { check(unary_rows()); }
TEST(Accuracy, FunctionsOfTwoOperands) { check(binary_rows()); }
TEST(Accuracy, LossesAndSoftmax) { check(loss_rows()); }

}  // namespace
}  // namespace weft::accuracy
