#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/op_cases.h"

namespace weft::cases {

namespace {

using Line = std::vector<double>;

void log_softmax_line(Line& v) {
  const double shift = *std::max_element(v.begin(), v.end());
  double total = 0;
  for (double x : v) total += std::exp(x - shift);
  for (double& x : v) x -= shift + std::log(total);
}

void softmax_line(Line& v) {
  log_softmax_line(v);
  for (double& x : v) x = std::exp(x);
}

// -sum over classes of target·log softmax, where target is 1 - smoothing at the label and smoothing/classes everywhere.
Plain losses(const Plain& logits, const Plain& labels, double smoothing) {
  const Plain log_probabilities = along(logits, 1, log_softmax_line);
  const std::int64_t classes = logits.shape[1];
  return generate(labels.shape, [&](const Index& i) {
    const auto label = static_cast<std::int64_t>(labels.at(i));
    if (label < 0 || label >= classes) return std::numeric_limits<double>::quiet_NaN();
    double loss = 0;
    for (std::int64_t c = 0; c < classes; ++c) {
      const double target = smoothing / static_cast<double>(classes) + (c == label ? 1 - smoothing : 0);
      loss -= target * log_probabilities.at({i[0], c});
    }
    return loss;
  });
}

OpCase entropy_case(std::string what, Sizes logits, Input labels, CrossEntropyOptions options) {
  OpCase row{.op = "cross_entropy", .what = std::move(what), .inputs = {{std::move(logits)}, std::move(labels)}};
  row.run = [options](const std::vector<Tensor>& t) { return cross_entropy(t[0], t[1], options); };
  row.reference = [options](const std::vector<Plain>& t) {
    const Plain each = losses(t[0], t[1], options.label_smoothing);
    if (options.reduction == Reduction::none) return each;
    double total = 0;
    for (double loss : each.values) total += loss;
    return Plain{{}, {options.reduction == Reduction::sum ? total : total / static_cast<double>(each.values.size())}};
  };
  return row;
}

}  // namespace

std::vector<OpCase> loss_cases() {
  std::vector<OpCase> rows;
  const std::pair<Sizes, int> lines[] = {{{2, 3, 7}, 0}, {{2, 3, 7}, 1},    {{2, 3, 7}, 2}, {{2, 3, 7}, -2},
                                         {{4, 37}, -1},  {{2, 5, 3, 3}, 1}, {{5}, 0},       {{3, 1}, 1},
                                         {{0, 3}, 1},    {{3, 0}, 1},       {{2, 0, 3}, -1}};
  for (const auto& line : lines) {
    const int axis = line.second;
    const int at = axis < 0 ? axis + static_cast<int>(line.first.size()) : axis;
    OpCase soft{.op = "softmax", .what = "axis " + std::to_string(axis), .inputs = {{line.first}}};
    soft.run = [axis](const std::vector<Tensor>& t) { return softmax(t[0], axis); };
    soft.reference = [at](const std::vector<Plain>& t) { return along(t[0], at, softmax_line); };
    rows.push_back(soft);
    OpCase logged{.op = "log_softmax", .what = "axis " + std::to_string(axis), .inputs = {{line.first}}};
    logged.run = [axis](const std::vector<Tensor>& t) { return log_softmax(t[0], axis); };
    logged.reference = [at](const std::vector<Plain>& t) { return along(t[0], at, log_softmax_line); };
    rows.push_back(logged);
  }
  for (bool log : {false, true}) {
    OpCase row{.op = log ? "log_softmax" : "softmax", .what = "zero-dimensional", .inputs = {{Sizes{}}}};
    row.run = [log](const std::vector<Tensor>& t) { return log ? log_softmax(t[0]) : softmax(t[0]); };
    row.reference = [log](const std::vector<Plain>&) { return Plain{{}, {log ? 0.0 : 1.0}}; };
    rows.push_back(row);
  }
  const auto labels = [](std::int64_t n, std::int64_t classes, DType dtype = DType::i64) {
    return Input{{n}, Values::natural, dtype, classes};
  };
  for (double smoothing : {0.0, 0.1, 1.0}) {
    const std::string what = "smoothing " + std::to_string(smoothing).substr(0, 3);
    rows.push_back(entropy_case(what + ", mean", {5, 10}, labels(5, 10), {smoothing, Reduction::mean}));
    rows.push_back(entropy_case(what + ", sum", {4, 3}, labels(4, 3), {smoothing, Reduction::sum}));
    rows.push_back(entropy_case(what + ", none", {3, 37}, labels(3, 37), {smoothing, Reduction::none}));
  }
  rows.push_back(entropy_case("labels u8", {4, 3}, labels(4, 3, DType::u8), {}));
  rows.push_back(entropy_case("labels i32", {4, 3}, labels(4, 3, DType::i32), {0.2}));
  rows.push_back(entropy_case("one class", {4, 1}, labels(4, 1), {}));
  rows.push_back(entropy_case("one row", {1, 6}, labels(1, 6), {}));
  rows.push_back(entropy_case("no rows, sum", {0, 6}, labels(0, 6), {0, Reduction::sum}));
  OpCase invalid = entropy_case("invalid labels", {24, 3}, {{24}, Values::whole, DType::i64}, {0, Reduction::none});
  invalid.derivatives = 0;
  rows.push_back(invalid);
  return rows;
}

}  // namespace weft::cases
