#include <algorithm>
#include <limits>
#include <span>

#include "core/ops/op_support.h"
#include "core/value/number.h"
#include "core/value/views.h"

namespace weft {

namespace {

// Softmax or log softmax along the last axis of a contiguous tensor.
Tensor last_axis(bool log, const Tensor& x) {
  const std::int64_t columns = x.size(-1);
  const Shape shape{columns == 0 ? 0 : x.size() / columns, columns};
  const Strides strides = row_major_strides(shape);
  const auto matrix = [shape, strides](const Array& a) { return ConstView{a.data(), shape, strides, a.dtype()}; };
  Array out = Array::empty(x.shape(), x.dtype(), x.device());
  backend(x.device())->softmax(log, matrix(x.array()), {out.data(), shape, strides, out.dtype()});
  return record(log ? "log_softmax" : "softmax", std::move(out), {x}, {Save::output("y")},
                [=](const SavedValues& saved, const Tensor& g) {
                  const Tensor y = saved["y"];
                  if (grad_enabled()) {
                    return Values{log ? g - exp(y) * sum(g, -1, true) : y * (g - sum(g * y, -1, true))};
                  }
                  const Array dense = g.array().contiguous();
                  Array x_grad = Array::empty(y.shape(), y.dtype(), y.device());
                  backend(y.device())
                      ->softmax_grad(log, matrix(y.array()), matrix(dense),
                                     {x_grad.data(), shape, strides, x_grad.dtype()});
                  return Values{Tensor(std::move(x_grad))};
                });
}

Tensor softmax_along(std::string_view name, bool log, const Tensor& x, int axis) {
  check_float(name, x);
  const int at = layout::normalize_axis(name, axis, std::max(x.rank(), 1));  // 0 dimensions count as one
  if (x.rank() == 0) return reshape(last_axis(log, reshape(x, {1})), {});
  if (at == x.rank() - 1) return last_axis(log, contiguous(x));
  return transpose(last_axis(log, contiguous(transpose(x, at, -1))), at, -1);
}

}  // namespace

Tensor softmax(const Tensor& x, int axis) { return softmax_along("softmax", false, x, axis); }
Tensor log_softmax(const Tensor& x, int axis) { return softmax_along("log_softmax", true, x, axis); }

namespace {

// The gradient of the logits in recorded ops. Rows that do not count are taken as zeros, so that no NaN of theirs gets
// through.
Tensor composed_entropy_grad(const CrossEntropyArguments& arguments, const Tensor& logits, const Tensor& labels,
                             const Tensor& count, const Tensor& gradient) {
  const std::int64_t classes = logits.size(1);
  Tensor scale = arguments.reduction == LossReduction::none ? unsqueeze(gradient, 1) : gradient;
  if (count.defined()) scale = scale / maximum(count, 1).to(scale.dtype());  // 0: all are zeros
  Tensor z = logits;
  if (arguments.ignore_index) {
    const Tensor ignored = unsqueeze(equal(labels, scalar_like(labels, *arguments.ignore_index)), 1);
    z = where(ignored, scalar_like(z, 0), z);
    scale = where(ignored, scalar_like(scale, 0), scale);
  }
  const Tensor hit = one_hot(labels, classes, DType::boolean), share = softmax(z, 1);
  // The label's softmax less 1 cancels, the sum of the others' does not.
  const Tensor others = sum(where(hit, scalar_like(z, 0), share), 1, true);
  const Tensor difference = where(hit, negative(others), share);
  if (arguments.smoothing == 0) return scale * difference;
  const Tensor smoothed = hit.to(z.dtype()) * arguments.smoothing;
  return scale * (difference + (smoothed - arguments.smoothing / static_cast<double>(classes)));
}

// The losses of the rows of contiguous logits, or their sum or mean.
Tensor cross_entropy_rows(const Tensor& logits, const Array& labels, const CrossEntropyArguments& arguments) {
  const bool mean = arguments.reduction == LossReduction::mean;
  const Shape shape = arguments.reduction == LossReduction::none ? Shape{logits.size(0)} : Shape{};
  Array losses = Array::empty(shape, logits.dtype(), logits.device());
  std::vector<Save> saves{Save::input("logits", 0), Save::constant("labels", labels)};
  View count;
  if (mean) {
    const Array counted = Array::empty({}, DType::f64, logits.device());
    count = mutable_view(counted);
    saves.push_back(Save::constant("count", counted));
  }
  backend(logits.device())
      ->cross_entropy({const_view(logits.array()), const_view(labels), arguments, mutable_view(losses), count});
  return record("cross_entropy", std::move(losses), std::vector<Tensor>{logits}, saves,
                [arguments, mean](const SavedValues& saved, const Tensor& g) {
                  const Tensor z = saved["logits"], indices = saved["labels"],
                               counted = mean ? saved["count"] : Tensor();
                  if (grad_enabled()) return Values{composed_entropy_grad(arguments, z, indices, counted, g)};
                  Array z_grad = Array::empty(z.shape(), z.dtype(), z.device());
                  backend(z.device())
                      ->cross_entropy_grad({.logits = const_view(z.array()),
                                            .labels = const_view(indices.array()),
                                            .arguments = arguments,
                                            .losses_grad = const_view(g.array()),
                                            .count = mean ? const_view(counted.array()) : ConstView{},
                                            .logits_grad = mutable_view(z_grad)});
                  return Values{Tensor(std::move(z_grad))};
                });
}

// Scores of classes (N, C, ...) with their labels or probabilities, checked.
struct Classes {
  Tensor rows = {};        // (N·..., C), f32 of bf16
  Tensor weight = {};      // (C,) or undefined
  Shape positions = {};    // (N, ...)
  std::int64_t count = 0;  // of positions
};

Tensor widened(const Tensor& x) { return x.dtype() == DType::bf16 ? x.to(DType::f32) : x; }

// (N, C, ...) as (N·..., C).
Tensor class_rows(const Tensor& x, std::int64_t count) {
  if (x.rank() == 2) return x;
  Dims axes{0};
  for (int i = 2; i < x.rank(); ++i) axes.push_back(i);
  axes.push_back(1);
  return reshape(permute(x, axes), {count, x.size(1)});
}

Classes check_scores(const std::string& op, const std::string& what, const Tensor& scores, const Tensor& target,
                     const Tensor& weight) {
  common_device(op, {scores, target});
  check_float(op, scores);
  if (scores.rank() < 2) {
    throw ShapeError(op + ": " + what + " needs the shape (N, classes) or (N, classes, ...), got " +
                     to_string(scores.shape()));
  }
  Classes result{.positions = {scores.size(0)}};
  for (int i = 2; i < scores.rank(); ++i) result.positions.push_back(scores.size(i));
  result.count = element_count(result.positions);
  const Tensor wide = widened(scores);
  result.rows = class_rows(wide, result.count);
  if (weight.defined()) {
    common_device(op, {scores, weight});
    if (!is_floating_point(weight.dtype()))
      throw DTypeError(op + ": weight needs a floating dtype, not " + std::string(name(weight.dtype())));
    if (!(weight.shape() == Shape{scores.size(1)})) {
      throw ShapeError(op + ": weight " + to_string(weight.shape()) + " does not match the classes of " + what + " " +
                       to_string(scores.shape()));
    }
    result.weight = weight.to(wide.dtype());
  }
  return result;
}

[[noreturn]] void fail_label(const std::string& op, std::int64_t label, const Shape& position, const std::string& what,
                             const Tensor& scores) {
  const std::string count = std::to_string(scores.size(1));
  throw IndexError(op + ": label " + std::to_string(label) + " at " + to_string(position) + " is outside [0, " + count +
                   "): " + what + " " + to_string(scores.shape()) + " have " + count + " classes");
}

// Throws at the first of the dense labels (rows,) that is neither a class nor ignored.
void check_range(const std::string& op, const std::string& what, const Tensor& scores, const Tensor& rows,
                 const Shape& positions, std::optional<std::int64_t> ignore_index) {
  const std::int64_t classes = scores.size(1);
  const std::span labels(rows.array().data_as<const std::int64_t>(), static_cast<std::size_t>(rows.size()));
  if (all_below(labels, classes)) return;
  for (std::size_t row = 0; row < labels.size(); ++row) {
    const std::int64_t label = labels[row];
    if ((label >= 0 && label < classes) || label == ignore_index) continue;
    fail_label(op, label, position_of(static_cast<std::int64_t>(row), positions), what, scores);
  }
}

// One label per row, (rows,) i64 and dense. Only the CPU can look at their values without waiting for them.
Tensor check_labels(const std::string& op, const std::string& what, const Tensor& scores, const Classes& classes,
                    const Tensor& labels, std::optional<std::int64_t> ignore_index) {
  if (!is_integer(labels.dtype()))
    throw DTypeError(op + ": labels need an integer dtype, not " + std::string(name(labels.dtype())));
  if (labels.shape() != classes.positions) {
    throw ShapeError(op + ": labels " + to_string(labels.shape()) + " do not match the rows of " + what + " " +
                     to_string(scores.shape()));
  }
  const Tensor rows = contiguous(reshape(labels.detach().to(DType::i64), {classes.count}));
  if (rows.device().is_cpu()) check_range(op, what, scores, rows, classes.positions, ignore_index);
  return rows;
}

// Labels, and what follows from the one that does not count.
struct Labels {
  Tensor indices = {};  // (rows,) i64, 0 where ignored
  Tensor ignored = {};  // (rows,) bool, or undefined
};

Labels without_ignored(const Tensor& indices, std::optional<std::int64_t> ignore_index) {
  if (!ignore_index) return {indices, {}};
  const Tensor ignored = equal(indices, scalar_like(indices, *ignore_index));
  return {where(ignored, scalar_like(indices, 0), indices), ignored};
}

Tensor unless_ignored(const Labels& labels, const Tensor& values) {
  return labels.ignored.defined() ? where(labels.ignored, scalar_like(values, 0), values) : values;
}

// Each class's value where it is the row's label, and 0 elsewhere, summed: values[label]. `values` is (rows, C) or
// (C,).
Tensor at_labels(const Tensor& values, const Classes& classes, const Labels& labels) {
  const Tensor hit = one_hot(labels.indices, classes.rows.size(1), DType::boolean);
  return sum(where(hit, values, scalar_like(values, 0)), 1);
}

// Losses of the rows; `counts` (rows,) is what each counts in the mean, or undefined where that is 1.
Tensor reduced(const Tensor& losses, const Tensor& counts, const Shape& positions, Reduction reduction) {
  if (reduction == Reduction::none) return reshape(losses, positions);
  if (reduction == Reduction::sum) return sum(losses);
  return counts.defined() ? sum(losses) / sum(counts) : mean(losses);
}

// The weights of the rows' labels, 0 where ignored; undefined where all are 1, or 0 or 1 and no mean needs them.
Tensor label_weights(const Classes& classes, const Labels& labels, Reduction reduction) {
  if (classes.weight.defined()) return unless_ignored(labels, at_labels(classes.weight, classes, labels));
  return reduction == Reduction::mean && labels.ignored.defined() ? logical_not(labels.ignored).to(classes.rows.dtype())
                                                                  : Tensor();
}

Tensor probability_entropy(const Classes& classes, const Tensor& target, const CrossEntropyOptions& options) {
  if (!is_floating_point(target.dtype())) {
    throw DTypeError("cross_entropy: probabilities need a floating dtype, not " + std::string(name(target.dtype())));
  }
  if (options.ignore_index.value_or(-1) >= 0) {
    throw ValueError("cross_entropy: ignore_index " + std::to_string(*options.ignore_index) +
                     " applies to labels, but the target holds probabilities " + to_string(target.shape()));
  }
  Tensor share = class_rows(target.to(classes.rows.dtype()), classes.count);
  if (options.label_smoothing > 0) {
    share = share * (1 - options.label_smoothing) + options.label_smoothing / static_cast<double>(classes.rows.size(1));
  }
  if (classes.weight.defined()) share = share * classes.weight;
  return negative(sum(weighted(share, log_softmax(classes.rows, 1)), 1));  // a share of 0 may meet a logit of -infinity
}

LossReduction of_losses(Reduction reduction) {
  if (reduction == Reduction::none) return LossReduction::none;
  return reduction == Reduction::sum ? LossReduction::sum : LossReduction::mean;
}

// Losses of labels where all classes weigh 1.
Tensor label_entropy(const Classes& classes, const Tensor& labels, const CrossEntropyOptions& options) {
  const Tensor losses = cross_entropy_rows(contiguous(classes.rows), labels.array().contiguous(),
                                           {.smoothing = options.label_smoothing,
                                            .ignore_index = options.ignore_index,
                                            .reduction = of_losses(options.reduction)});
  return options.reduction == Reduction::none ? reshape(losses, classes.positions) : losses;
}

// Losses of labels, each times its weight.
Tensor weighted_entropy(const Classes& classes, const Labels& labels, const Tensor& weights, double smoothing) {
  const Array indices = labels.indices.array().contiguous();
  const Tensor rows = contiguous(classes.rows);
  const Tensor losses = weighted(weights, unless_ignored(labels, cross_entropy_rows(rows, indices, {})));
  if (smoothing == 0) return losses;
  const Tensor spread = negative(sum(weighted(classes.weight, log_softmax(rows, 1)), 1));
  return weighted(scalar_like(losses, 1 - smoothing), losses) +  // 0 may meet a loss of infinity
         unless_ignored(labels, spread) * (smoothing / static_cast<double>(classes.rows.size(1)));
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options) {
  const Classes classes = check_scores("cross_entropy", "logits", logits, target, options.weight);
  if (!(options.label_smoothing >= 0 && options.label_smoothing <= 1)) {
    throw ValueError("cross_entropy: label_smoothing must be in [0, 1], not " + number(options.label_smoothing));
  }
  if (target.shape() == logits.shape())
    return reduced(probability_entropy(classes, target, options), {}, classes.positions, options.reduction);
  const Tensor indices = check_labels("cross_entropy", "logits", logits, classes, target, options.ignore_index);
  if (!classes.weight.defined()) return label_entropy(classes, indices, options);
  const Labels labels = without_ignored(indices, options.ignore_index);
  const Tensor weights = label_weights(classes, labels, options.reduction);
  return reduced(weighted_entropy(classes, labels, weights, options.label_smoothing), weights, classes.positions,
                 options.reduction);
}

Tensor nll_loss(const Tensor& log_probabilities, const Tensor& target, const NllLossOptions& options) {
  const Classes classes = check_scores("nll_loss", "log_probabilities", log_probabilities, target, options.weight);
  const Tensor rows =
      check_labels("nll_loss", "log_probabilities", log_probabilities, classes, target, options.ignore_index);
  const Labels labels = without_ignored(rows, options.ignore_index);
  const Tensor weights = label_weights(classes, labels, options.reduction);
  const Tensor& indices = labels.indices;
  const Tensor valid = logical_and(greater_equal(indices, scalar_like(indices, 0)),
                                   less(indices, scalar_like(indices, classes.rows.size(1))));
  const Tensor nan = scalar_like(classes.rows, std::numeric_limits<double>::quiet_NaN());
  const Tensor losses = unless_ignored(labels, where(valid, negative(at_labels(classes.rows, classes, labels)), nan));
  return reduced(classes.weight.defined() ? weighted(weights, losses) : losses, weights, classes.positions,
                 options.reduction);
}

}  // namespace weft
