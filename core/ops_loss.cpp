#include "core/op_support.h"

namespace weft {

namespace {

using Values = std::vector<Tensor>;

// Softmax or log softmax along the last axis of a contiguous tensor.
Tensor last_axis(bool log, const Tensor& x) {
  const std::int64_t columns = x.size(-1);
  const Shape shape{columns == 0 ? 0 : x.size() / columns, columns};
  const Strides strides = row_major_strides(shape);
  const auto matrix = [shape, strides](const Array& a) { return ConstView{a.data(), shape, strides, a.dtype()}; };
  Array out = Array::empty(x.shape(), x.dtype(), x.device());
  backend(x.device()).softmax(log, matrix(x.array()), {out.data(), shape, strides, out.dtype()});
  return record(log ? "log_softmax" : "softmax", std::move(out), {x}, {Save::output()},
                [=](const SavedValues& saved, const Tensor& g) {
                  const Tensor y = saved[0];
                  if (grad_enabled()) {
                    return Values{log ? g - exp(y) * sum(g, -1, true) : y * (g - sum(g * y, -1, true))};
                  }
                  const Array dense = g.array().contiguous();
                  Array x_grad = Array::empty(y.shape(), y.dtype(), y.device());
                  backend(y.device())
                      .softmax_grad(log, matrix(y.array()), matrix(dense),
                                    {x_grad.data(), shape, strides, x_grad.dtype()});
                  return Values{Tensor(std::move(x_grad))};
                });
}

Tensor softmax_along(std::string_view name, bool log, const Tensor& x, int axis) {
  check_float(name, x);
  if (x.rank() == 0) return reshape(last_axis(log, reshape(x, {1})), {});
  const int at = layout::normalize_axis(name, axis, x.rank());
  if (at == x.rank() - 1) return last_axis(log, contiguous(x));
  return transpose(last_axis(log, contiguous(transpose(x, at, -1))), at, -1);
}

}  // namespace

Tensor softmax(const Tensor& x, int axis) { return softmax_along("softmax", false, x, axis); }
Tensor log_softmax(const Tensor& x, int axis) { return softmax_along("log_softmax", true, x, axis); }

namespace {

// One loss per row of contiguous logits.
Tensor cross_entropy_rows(const Tensor& logits, const Array& labels, double smoothing) {
  Array losses = Array::empty({logits.size(0)}, logits.dtype(), logits.device());
  backend(logits.device())
      .cross_entropy(const_view(logits.array()), const_view(labels), smoothing, mutable_view(losses));
  return record("cross_entropy", std::move(losses), {logits}, {Save::input(0), Save::constant(labels)},
                [smoothing](const SavedValues& saved, const Tensor& g) {
                  const Tensor z = saved[0];
                  const std::int64_t classes = z.size(1);
                  if (grad_enabled()) {
                    const Tensor target = one_hot(saved[1], classes, z.dtype()) * (1 - smoothing) +
                                          smoothing / static_cast<double>(classes);
                    return Values{unsqueeze(g, 1) * (softmax(z, 1) - target)};
                  }
                  Array z_grad = Array::empty(z.shape(), z.dtype(), z.device());
                  backend(z.device())
                      .cross_entropy_grad(const_view(z.array()), const_view(saved[1].array()), smoothing,
                                          const_view(g.array()), mutable_view(z_grad));
                  return Values{Tensor(std::move(z_grad))};
                });
}

}  // namespace

Tensor cross_entropy(const Tensor& scores, const Tensor& labels, const CrossEntropyOptions& options) {
  common_device("cross_entropy", {scores, labels});
  check_float("cross_entropy", scores);
  const Tensor logits = scores.dtype() == DType::bf16 ? scores.to(DType::f32) : scores;
  check_rank("cross_entropy", "logits (N, classes)", logits, 2);
  if (!is_integer(labels.dtype()))
    throw DTypeError("cross_entropy: labels need an integer dtype, not " + std::string(name(labels.dtype())));
  if (!(labels.shape() == Shape{logits.size(0)})) {
    throw ShapeError("cross_entropy: labels " + to_string(labels.shape()) + " do not match the rows of logits " +
                     to_string(logits.shape()));
  }
  if (!(options.label_smoothing >= 0 && options.label_smoothing <= 1)) {
    throw ValueError("cross_entropy: label_smoothing must be in [0, 1], not " +
                     std::to_string(options.label_smoothing));
  }
  const Array indices = labels.array().to(DType::i64).contiguous();
  const Tensor losses = cross_entropy_rows(contiguous(logits), indices, options.label_smoothing);
  if (options.reduction == Reduction::none) return losses;
  return options.reduction == Reduction::sum ? sum(losses) : mean(losses);
}

}  // namespace weft
