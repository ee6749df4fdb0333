#include <algorithm>
#include <cmath>

#include "tests/op_cases.h"
#include "weft/nn/loss.h"

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

Index class_index(const Index& position, std::int64_t c) {
  Index index = position;
  index.insert(index.begin() + 1, c);
  return index;
}

// A loss at every position of the labels, and what each counts in the mean.
struct Losses {
  Plain each;
  Plain counts;
};

Plain reduced(const Losses& losses, Reduction reduction) {
  if (reduction == Reduction::none) return losses.each;
  double total = 0, count = 0;
  for (double loss : losses.each.values) total += loss;
  for (double one : losses.counts.values) count += one;
  return {{}, {reduction == Reduction::sum ? total : total / count}};
}

double weight_of(const std::vector<Plain>& t, std::int64_t c) { return t.size() > 2 ? t[2].at({c}) : 1; }

// Inputs: logits (or their logarithms of probabilities), labels and perhaps weights of the classes. The loss is -sum
// over classes of target·log probability, where target is (1 - smoothing)·weight of the label at the label, and
// smoothing/classes·weight everywhere.
Losses label_losses(const std::vector<Plain>& t, const Plain& log_probabilities, const CrossEntropyOptions& options) {
  const std::int64_t classes = t[0].shape[1];
  const double smoothing = options.label_smoothing;
  const auto ignored = [&](double label) {
    return options.ignore_index && label == static_cast<double>(*options.ignore_index);
  };
  Losses losses;
  losses.counts =
      map(t[1], [&](double label) { return ignored(label) ? 0.0 : weight_of(t, static_cast<std::int64_t>(label)); });
  losses.each = generate(t[1].shape, [&](const Index& i) {
    const double label = t[1].at(i);
    if (ignored(label)) return 0.0;
    double loss = 0;
    for (std::int64_t c = 0; c < classes; ++c) {
      const double target =
          smoothing / static_cast<double>(classes) + (c == static_cast<std::int64_t>(label) ? 1 - smoothing : 0);
      loss -= target * weight_of(t, c) * log_probabilities.at(class_index(i, c));
    }
    return loss;
  });
  return losses;
}

// Inputs: logits, probabilities of one shape and perhaps weights of the classes.
Losses probability_losses(const std::vector<Plain>& t, double smoothing) {
  const Plain log_probabilities = along(t[0], 1, log_softmax_line);
  Sizes positions = t[0].shape;
  const std::int64_t classes = positions[1];
  positions.erase(positions.begin() + 1);
  Losses losses;
  losses.counts = generate(positions, [](const Index&) { return 1.0; });
  losses.each = generate(positions, [&](const Index& i) {
    double loss = 0;
    for (std::int64_t c = 0; c < classes; ++c) {
      const Index at = class_index(i, c);
      const double target = t[1].at(at) * (1 - smoothing) + smoothing / static_cast<double>(classes);
      loss -= weight_of(t, c) * target * log_probabilities.at(at);
    }
    return loss;
  });
  return losses;
}

OpCase entropy_case(std::string what, Sizes logits, Input labels, CrossEntropyOptions options, bool weights = false) {
  OpCase row{.op = "cross_entropy", .what = std::move(what), .inputs = {{logits}, labels}, .widens = true};
  if (weights) row.inputs.push_back({{logits[1]}, Values::positive});
  row.run = [options](const std::vector<Tensor>& t) {
    CrossEntropyOptions weighted = options;
    if (t.size() > 2) weighted.weight = t[2];
    return cross_entropy(t[0], t[1], weighted);
  };
  row.reference = [options, probabilities = !labels.dtype](const std::vector<Plain>& t) {
    return reduced(probabilities ? probability_losses(t, options.label_smoothing)
                                 : label_losses(t, along(t[0], 1, log_softmax_line), options),
                   options.reduction);
  };
  return row;
}

OpCase nll_case(std::string what, Sizes scores, Input labels, NllLossOptions options, bool weights = false) {
  OpCase row{.op = "nll_loss", .what = std::move(what), .inputs = {{scores}, std::move(labels)}, .widens = true};
  if (weights) row.inputs.push_back({{scores[1]}, Values::positive});
  row.run = [options](const std::vector<Tensor>& t) {
    NllLossOptions weighted = options;
    if (t.size() > 2) weighted.weight = t[2];
    return nll_loss(t[0], t[1], weighted);
  };
  row.reference = [options](const std::vector<Plain>& t) {
    return reduced(label_losses(t, t[0], {.ignore_index = options.ignore_index}), options.reduction);
  };
  return row;
}

// The row with the last of its classes as the label that does not count unless another is said to.
OpCase with_default_ignored(OpCase row, double classes) {
  row.what += ", -100";
  row.run = [run = row.run, classes](std::vector<Tensor> t) {
    t[1] = where(t[1] == classes - 1, -100, t[1]);
    return run(t);
  };
  row.reference = [reference = row.reference, classes](std::vector<Plain> t) {
    t[1] = map(t[1], [classes](double label) { return label == classes - 1 ? -100 : label; });
    return reference(t);
  };
  return row;
}

const std::pair<const char*, Reduction> kReductions[] = {
    {"mean", Reduction::mean}, {"sum", Reduction::sum}, {"none", Reduction::none}};

Input label_input(Sizes shape, std::int64_t classes, DType dtype = DType::i64) {
  return {std::move(shape), Values::natural, dtype, classes};
}

// Every reduction of labels alone, with no ignored row, with some and with all.
void add_reduced_rows(std::vector<OpCase>& rows, const std::string& name, Reduction reduction) {
  const std::optional<std::int64_t> nothing;
  for (double smoothing : {0.0, 0.3, 1.0}) {
    const std::string what = name + ", smoothing " + std::to_string(smoothing).substr(0, 3);
    for (const auto& ignore : {nothing, std::optional<std::int64_t>(-100), std::optional<std::int64_t>(2)}) {
      rows.push_back(entropy_case(what + (ignore ? ", ignore " + std::to_string(*ignore) : ""), {19, 3},
                                  label_input({19}, 3), {smoothing, reduction, {}, ignore}));
    }
    OpCase all = entropy_case(what + ", all ignored", {9, 3}, label_input({9}, 1), {smoothing, reduction, {}, 0});
    if (reduction == Reduction::mean) all.derivatives = 0;  // NaN
    rows.push_back(all);
    all.what += ", of any logits";
    all.inputs[0].values = Values::special;
    rows.push_back(all);
  }
}

void add_class_rows(std::vector<OpCase>& rows) {
  const CrossEntropyOptions plain;
  for (const auto& [what, reduction] : kReductions) {
    const std::string name = what;
    add_reduced_rows(rows, name, reduction);
    const auto options = [reduction = reduction](double smoothing, std::optional<std::int64_t> ignore = {}) {
      return CrossEntropyOptions{.label_smoothing = smoothing, .reduction = reduction, .ignore_index = ignore};
    };
    rows.push_back(entropy_case("weights, " + name, {6, 4}, label_input({6}, 4), options(0), true));
    rows.push_back(entropy_case("weights, smoothing 0.3, " + name, {6, 4}, label_input({6}, 4), options(0.3), true));
    rows.push_back(entropy_case("ignore 1, " + name, {9, 3}, label_input({9}, 3), options(0, 1)));
    rows.push_back(entropy_case("ignore 1, smoothing 0.3, " + name, {9, 3}, label_input({9}, 3), options(0.3, 1)));
    rows.push_back(entropy_case("ignore 1, weights, " + name, {9, 3}, label_input({9}, 3), options(0.3, 1), true));
    rows.push_back(entropy_case("images, " + name, {2, 3, 3, 2}, label_input({2, 3, 2}, 3), options(0)));
    rows.push_back(entropy_case("images, weights, ignore 0, " + name, {3, 3, 3, 3}, label_input({3, 3, 3}, 3),
                                options(0.2, 0), true));
    const CrossEntropyOptions smooth{.label_smoothing = 0.3, .reduction = reduction};
    rows.push_back(with_default_ignored(entropy_case(name, {9, 3}, label_input({9}, 3), {0, reduction}), 3));
    rows.push_back(with_default_ignored(
        entropy_case("images, weights, " + name, {2, 3, 3, 2}, label_input({2, 3, 2}, 3), smooth, true), 3));
    rows.push_back(with_default_ignored(nll_case(name, {9, 3}, label_input({9}, 3, DType::i32), {reduction}), 3));
    const Input probabilities{{5, 4}, Values::positive};
    rows.push_back(entropy_case("probabilities, " + name, {5, 4}, probabilities, options(0)));
    rows.push_back(entropy_case("probabilities, weights, " + name, {5, 4}, probabilities, options(0.2), true));
    rows.push_back(entropy_case("probabilities of images, " + name, {2, 3, 2, 2}, {{2, 3, 2, 2}, Values::positive},
                                options(0.1), true));
    const NllLossOptions nll{.reduction = reduction};
    const NllLossOptions ignoring{.reduction = reduction, .ignore_index = 2};
    rows.push_back(nll_case(name, {5, 4}, label_input({5}, 4), nll));
    rows.push_back(nll_case("weights, " + name, {5, 4}, label_input({5}, 4), nll, true));
    rows.push_back(nll_case("ignore 2, " + name, {9, 4}, label_input({9}, 4, DType::u8), ignoring));
    rows.push_back(nll_case("ignore 2, weights, " + name, {3, 3, 3, 3}, label_input({3, 3, 3}, 3), ignoring, true));
  }
  const CrossEntropyOptions ignore_all{.reduction = Reduction::sum, .ignore_index = 0};
  rows.push_back(entropy_case("all ignored, sum", {4, 1}, label_input({4}, 1), ignore_all));
  rows.push_back(entropy_case("no rows, weights", {0, 3}, label_input({0}, 3), {.reduction = Reduction::sum}, true));
  rows.push_back(entropy_case("no pixels", {2, 3, 0}, label_input({2, 0}, 3), {.reduction = Reduction::none}));
  rows.push_back(entropy_case("one class, weights", {4, 1}, label_input({4}, 1), plain, true));
  rows.push_back(nll_case("one class, one row", {1, 1}, label_input({1}, 1), {}, true));
  rows.push_back(nll_case("no rows, sum", {0, 3}, label_input({0}, 3), {.reduction = Reduction::sum}));
  OpCase undefined = entropy_case("all ignored, mean", {4, 1}, label_input({4}, 1), {.ignore_index = 0});
  undefined.derivatives = 0;
  rows.push_back(undefined);
}

Plain mean_or_all(const Plain& each, Reduction reduction) {
  return reduced({each, map(each, [](double) { return 1.0; })}, reduction);
}

using PairLoss = Tensor (*)(const Tensor& prediction, const Tensor& target, Reduction reduction);

OpCase pair_case(const char* op, std::string what, const Sizes& shape, Reduction reduction, PairLoss run,
                 double (*reference)(double)) {
  OpCase row{.op = op, .what = std::move(what), .inputs = {{shape, Values::nonzero}, {shape, Values::distinct}}};
  row.run = [run, reduction](const std::vector<Tensor>& t) { return run(t[0], t[1], reduction); };
  row.reference = [reference, reduction](const std::vector<Plain>& t) {
    return mean_or_all(zip(t[0], t[1], [&](double a, double b) { return reference(a - b); }), reduction);
  };
  return row;
}

double smooth_l1_of(double d, double beta) {
  return std::fabs(d) < beta ? d * d / (2 * beta) : std::fabs(d) - beta / 2;
}

void add_pair_rows(std::vector<OpCase>& rows) {
  for (const auto& [what, reduction] : kReductions) {
    for (const Sizes& shape : {Sizes{3, 7}, Sizes{}, Sizes{1}, Sizes{3, 3, 3, 3}, Sizes{0, 3}}) {
      if (count(shape) == 0 && reduction == Reduction::mean) continue;  // the mean of nothing
      const std::string name = what;
      rows.push_back(pair_case(
          "mse_loss", name, shape, reduction,
          [](const Tensor& a, const Tensor& b, Reduction r) { return nn::mse_loss(a, b, r); },
          [](double d) { return d * d; }));
      rows.push_back(pair_case(
          "l1_loss", name, shape, reduction,
          [](const Tensor& a, const Tensor& b, Reduction r) { return nn::l1_loss(a, b, r); },
          [](double d) { return std::fabs(d); }));
      rows.push_back(pair_case(
          "smooth_l1_loss", name, shape, reduction,
          [](const Tensor& a, const Tensor& b, Reduction r) { return nn::smooth_l1_loss(a, b, 0.7, r); },
          [](double d) { return smooth_l1_of(d, 0.7); }));
      rows.push_back(pair_case(
          "smooth_l1_loss", "beta 0, " + name, shape, reduction,
          [](const Tensor& a, const Tensor& b, Reduction r) { return nn::smooth_l1_loss(a, b, 0, r); },
          [](double d) { return std::fabs(d); }));
      rows.push_back(pair_case(
          "huber_loss", name, shape, reduction,
          [](const Tensor& a, const Tensor& b, Reduction r) { return nn::huber_loss(a, b, 1.3, r); },
          [](double d) { return std::fabs(d) < 1.3 ? d * d / 2 : 1.3 * (std::fabs(d) - 1.3 / 2); }));
    }
  }
}

// Inputs: logits, targets, and weight and pos_weight where their shapes are given.
OpCase binary_case(std::string what, const Sizes& shape, Reduction reduction, const std::vector<Sizes>& weights) {
  OpCase row{.op = "binary_cross_entropy_with_logits",
             .what = std::move(what),
             .inputs = {{shape}, {shape, Values::unit}},
             .widens = true};
  for (const Sizes& weight : weights) row.inputs.push_back({weight, Values::positive});
  row.run = [reduction](const std::vector<Tensor>& t) {
    nn::BinaryCrossEntropyOptions options{.reduction = reduction};
    if (t.size() > 2) options.weight = t[2];
    if (t.size() > 3) options.pos_weight = t[3];
    return nn::binary_cross_entropy_with_logits(t[0] * 4, t[1], options);
  };
  row.reference = [reduction](const std::vector<Plain>& t) {
    const Plain each = generate(t[0].shape, [&](const Index& i) {
      const double p = 1 / (1 + std::exp(-4 * t[0].at(i)));
      const double y = t[1].at(i);
      const double positive = t.size() > 3 ? t[3].broadcast_at(i) : 1;
      return -(t.size() > 2 ? t[2].broadcast_at(i) : 1) * (positive * y * std::log(p) + (1 - y) * std::log(1 - p));
    });
    return mean_or_all(each, reduction);
  };
  return row;
}

void add_binary_rows(std::vector<OpCase>& rows) {
  for (const auto& [what, reduction] : kReductions) {
    const std::string name = what;
    rows.push_back(binary_case(name, {4, 3}, reduction, {}));
    rows.push_back(binary_case("weight, " + name, {4, 3}, reduction, {{4, 1}}));
    rows.push_back(binary_case("weight, pos_weight, " + name, {2, 3, 3, 3}, reduction, {{}, {3}}));
    rows.push_back(binary_case("one, " + name, {}, reduction, {{}, {}}));
    if (reduction != Reduction::mean) rows.push_back(binary_case("none, " + name, {0, 3}, reduction, {{0, 1}, {3}}));
  }
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
    return label_input({n}, classes, dtype);
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
  add_class_rows(rows);
  add_pair_rows(rows);
  add_binary_rows(rows);
  return rows;
}

}  // namespace weft::cases
