#include <algorithm>

#include "tests/fuzz/op_case.h"

// Matrix products, norms, softmax, dropout and losses.

namespace weft::fuzz {

namespace {

using Tensors = std::vector<Tensor>;

double elements(const Shape& shape) {
  double count = 1;
  for (const std::int64_t size : shape) count *= static_cast<double>(size);
  return count;
}

double elements(const Tensors& tensors) {
  double count = 0;
  for (const Tensor& tensor : tensors) count += tensor.defined() ? elements(tensor.shape()) : 0;
  return count;
}

/// A tensor of one axis, mostly of `size` and of x's dtype, or none.
Tensor parameter(OpInput& in, std::int64_t size, DType dtype) {
  if (in.rarely(4)) return {};
  if (in.rarely(32)) size = in.size();
  return in.tensor({size}, in.rarely(32) ? in.dtype() : dtype);
}

Case products(OpInput& in) {
  const std::int64_t m = in.size(), k = in.rarely(16) ? 300 : in.size(), n = in.size();
  const Shape batch = in.shape(2);
  Shape a = in.broadcast(batch), b = in.broadcast(batch);
  if (!in.rarely(8)) a.push_back(m);
  a.push_back(k);
  b.push_back(in.rarely(32) ? in.size() : k);
  if (!in.rarely(8)) b.push_back(n);
  const DType dtype = in.dtype();
  a = in.huge(a);
  const Tensors inputs = {in.tensor(a, dtype), in.tensor(in.huge(b), in.rarely(8) ? in.dtype() : dtype)};
  return {inputs, [](const Tensors& t) { return Tensors{matmul(t[0], t[1])}; }, Match::close,
          elements(inputs) + elements(batch) * static_cast<double>(m * k * n)};
}

Case linears(OpInput& in) {
  const std::int64_t features = in.size(), out = in.size();
  Shape shape = in.huge(in.shape(3));
  shape.push_back(features);
  const DType dtype = in.floating_dtype();
  const Tensors inputs = {in.tensor(shape, dtype),
                          in.tensor({out, in.rarely(32) ? in.size() : features}, in.rarely(16) ? in.dtype() : dtype),
                          parameter(in, out, dtype)};
  return {inputs, [](const Tensors& t) { return Tensors{linear(t[0], t[1], t[2])}; }, Match::close, elements(inputs)};
}

Shape image(OpInput& in, int most_axes) {
  Shape shape = {in.size(), in.size()};
  for (int more = in.below(most_axes + 1); more > 0; --more) shape.push_back(in.size());
  if (in.rarely(32)) shape.erase(0);
  return in.huge(shape);
}

std::int64_t channels(const Shape& shape) { return shape.rank() > 1 ? shape[1] : 1; }

double epsilon(OpInput& in) { return in.rarely(8) ? in.number() : 1e-2; }

Case batch_norms(OpInput& in) {
  const Shape shape = image(in, 3);
  const std::int64_t count = channels(shape);
  const DType dtype = in.floating_dtype();
  const auto running = [&]() -> Tensor {
    if (in.rarely(4)) return {};
    return Tensor(Array::full({in.rarely(32) ? in.size() : std::min<std::int64_t>(count, 1000)}, 1, dtype));
  };
  const Tensors inputs = {in.tensor(shape, dtype),
                          parameter(in, count, dtype),
                          parameter(in, count, dtype),
                          running(),
                          running(),
                          in.rarely(3) ? in.tensor(shape, dtype) : Tensor(),
                          in.rarely(3) ? Tensor(Array::full({}, 3, DType::i64)) : Tensor()};
  const bool training = !in.rarely(3);
  const BatchNormOptions options{
      .eps = epsilon(in), .momentum = in.rarely(8) ? in.number() : 0.1, .unbiased_running = !in.flag()};
  const bool relu = in.rarely(3);
  return {inputs,
          [=](const Tensors& t) {
            const BatchNormMode mode{.training = training, .relu = relu, .residual = t[5], .batches = t[6]};
            return Tensors{batch_norm(t[0], t[1], t[2], t[3], t[4], options, mode)};
          },
          relu ? Match::none : Match::close,
          elements(inputs),
          training ? 0b1011000u : 0u,
          10};
}

Case group_norms(OpInput& in) {
  const Shape shape = image(in, 3);
  const DType dtype = in.floating_dtype();
  const Tensors inputs = {in.tensor(shape, dtype), parameter(in, channels(shape), dtype),
                          parameter(in, channels(shape), dtype)};
  const std::int64_t groups = in.option(1, 4);
  const double eps = epsilon(in);
  const bool instances = in.rarely(3);
  return {
      inputs,
      [=](const Tensors& t) {
        return Tensors{instances ? instance_norm(t[0], t[1], t[2], eps) : group_norm(t[0], groups, t[1], t[2], eps)};
      },
      Match::close,
      elements(inputs),
      0,
      10};
}

Case layer_norms(OpInput& in) {
  const Shape normalized = in.huge(in.shape(3));
  Shape shape = in.shape(3);
  for (const std::int64_t size : normalized) shape.push_back(size);
  const DType dtype = in.floating_dtype();
  const auto parameters = [&] { return in.rarely(4) ? Tensor() : in.tensor(normalized, dtype); };
  const Tensor x = in.tensor(shape, dtype);
  const Tensors inputs = {x, parameters(), parameters()};
  const double eps = epsilon(in);
  return {inputs,
          [=](const Tensors& t) { return Tensors{layer_norm(t[0], normalized, t[1], t[2], eps)}; },
          Match::close,
          elements(inputs),
          0,
          10};
}

Case softmaxes(OpInput& in) {
  const Tensor x = in.tensor(in.huge(in.shape()), in.floating_dtype());
  const int axis = in.axis(x.rank()), which = in.below(2);
  return {{x},
          [=](const Tensors& t) { return Tensors{which == 0 ? softmax(t[0], axis) : log_softmax(t[0], axis)}; },
          Match::close,
          elements({x})};
}

Case dropouts(OpInput& in) {
  const Tensor x = in.tensor(in.huge(in.shape()), in.floating_dtype());
  const double p = in.rarely(2) ? in.number() : 0.5;
  const bool training = !in.rarely(4);
  return {{x}, [=](const Tensors& t) { return Tensors{dropout(t[0], p, training)}; }, Match::exact, elements({x})};
}

Reduction reduction(OpInput& in) {
  static const Reduction all[] = {Reduction::mean, Reduction::sum, Reduction::none};
  return all[in.below(3)];
}

std::optional<std::int64_t> ignored(OpInput& in) {
  if (in.rarely(4)) return {};
  return in.rarely(2) ? in.option(0, 4) : -100;
}

/// Logits and their labels or probabilities, and weights of the classes.
Tensors classes(OpInput& in, bool may_have_probabilities) {
  Shape shape = image(in, 2), labels = shape;
  if (labels.rank() > 1) labels.erase(1);
  if (in.rarely(32)) labels = in.shape(3);
  const DType dtype = in.floating_dtype();
  const bool probabilities = may_have_probabilities && in.rarely(3);
  const Tensor logits = in.tensor(shape, dtype);
  const Tensor target =
      probabilities ? in.tensor(shape, in.floating_dtype()) : in.tensor(labels, in.rarely(4) ? in.dtype() : DType::i64);
  return {logits, target, parameter(in, channels(shape), dtype)};
}

Case cross_entropies(OpInput& in) {
  const Tensors inputs = classes(in, true);
  CrossEntropyOptions options;
  options.label_smoothing = in.rarely(3) ? in.number() : 0;
  options.reduction = reduction(in);
  options.ignore_index = ignored(in);
  return {inputs,
          [=](const Tensors& t) {
            CrossEntropyOptions own = options;
            own.weight = t[2];
            return Tensors{cross_entropy(t[0], t[1], own)};
          },
          Match::close,
          elements(inputs),
          0,
          10};
}

Case nll_losses(OpInput& in) {
  const Tensors inputs = classes(in, false);
  const Reduction how = reduction(in);
  const auto ignore = ignored(in);
  return {inputs,
          [=](const Tensors& t) {
            return Tensors{nll_loss(t[0], t[1], {.reduction = how, .weight = t[2], .ignore_index = ignore})};
          },
          Match::close,
          elements(inputs),
          0,
          10};
}

Case regressions(OpInput& in) {
  const Shape shape = in.huge(in.shape());
  const DType dtype = in.floating_dtype();
  const Tensors inputs = {in.tensor(shape, dtype), in.tensor(in.rarely(16) ? in.broadcast(shape) : shape, dtype)};
  const Reduction how = reduction(in);
  const double number = in.number();
  const int which = in.below(4);
  return {inputs,
          [=](const Tensors& t) -> Tensors {
            if (which == 0) return {nn::mse_loss(t[0], t[1], how)};
            if (which == 1) return {nn::l1_loss(t[0], t[1], how)};
            if (which == 2) return {nn::smooth_l1_loss(t[0], t[1], number, how)};
            return {nn::huber_loss(t[0], t[1], number, how)};
          },
          Match::close, elements(inputs)};
}

Case binary_cross_entropies(OpInput& in) {
  const Shape shape = in.huge(in.shape());
  const DType dtype = in.floating_dtype();
  const auto weights = [&] { return in.rarely(3) ? in.tensor(in.broadcast(shape), dtype) : Tensor(); };
  const Tensor x = in.tensor(shape, dtype), target = in.tensor(in.rarely(16) ? in.broadcast(shape) : shape, dtype);
  const Tensors inputs = {x, target, weights(), weights()};
  const Reduction how = reduction(in);
  return {inputs,
          [=](const Tensors& t) {
            return Tensors{nn::binary_cross_entropy_with_logits(
                t[0], t[1], {.reduction = how, .weight = t[2], .pos_weight = t[3]})};
          },
          Match::close,
          elements(inputs),
          0,
          10};
}

}  // namespace

std::span<const Draw> layer_families() {
  static const Draw families[] = {products, linears,         batch_norms, group_norms, layer_norms,           softmaxes,
                                  dropouts, cross_entropies, nll_losses,  regressions, binary_cross_entropies};
  return families;
}

}  // namespace weft::fuzz
