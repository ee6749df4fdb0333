#include <algorithm>
#include <iterator>

#include "tests/fuzz/op_case.h"

// Creation, views, copies, elementwise functions and reductions.

namespace weft::fuzz {

namespace {

using Tensors = std::vector<Tensor>;

/// A case of one tensor of any shape and dtype.
template <class F>
Case of_one(OpInput& in, F call, Match match = Match::exact) {
  const DType dtype = in.dtype();
  const Tensor x = in.tensor(in.huge(in.shape()), dtype);
  return {{x}, [call](const Tensors& t) { return Tensors{call(t[0])}; }, match};
}

double elements(const Shape& shape) {
  double count = 1;
  for (const std::int64_t size : shape) count *= static_cast<double>(size);
  return count;
}

/// Work for functions whose results are smaller than their inputs.
Case counted(Case drawn) {
  for (const Tensor& x : drawn.inputs) drawn.work += x.defined() ? elements(x.shape()) : 0;
  return drawn;
}

Case creation(OpInput& in) {
  Shape shape = in.shape();
  if (shape.rank() > 0 && in.rarely(8)) shape[0] = in.option(0, 5);
  const TensorOptions options{.dtype = in.dtype(), .requires_grad = in.rarely(4)};
  const double number = in.number();
  const int which = in.below(5);
  return {{}, [=](const Tensors&) -> Tensors {
            if (which == 0) return {zeros(shape, options)};
            if (which == 1) return {ones(shape, options)};
            if (which == 2) return {full(shape, number, options)};
            if (which == 3) return {zeros_like(empty(shape, options))};
            return {rand(shape, options), randn(shape, options, number, 1)};
          }};
}

Case ranges(OpInput& in) {
  const auto scalar = [&]() -> Scalar { return in.flag() ? Scalar(in.number()) : Scalar(in.option(-3, 9)); };
  const Scalar start = scalar(), stop = scalar(), step = in.rarely(2) ? scalar() : Scalar(1);
  const std::int64_t rows = in.option(0, 6), columns = in.option(0, 6);
  const TensorOptions options{.dtype = in.rarely(2) ? std::optional(in.dtype()) : std::nullopt};
  const int which = in.below(3);
  return {{}, [=](const Tensors&) -> Tensors {
            if (which == 0) return {arange(start, stop, step, options)};
            if (which == 1) return {eye(rows, columns, options)};
            return {randint(start.as_int(), stop.as_int(), {rows, columns}, options)};
          }};
}

Case one_hots(OpInput& in) {
  const Tensor x = in.tensor(in.shape(4), in.rarely(8) ? in.dtype() : DType::i64);
  const std::int64_t classes = in.option(0, 6);
  const DType dtype = in.dtype();
  return {{x}, [=](const Tensors& t) { return Tensors{one_hot(t[0], classes, dtype)}; }};
}

Case reshapes(OpInput& in) {
  const Tensor x = in.tensor(in.huge(in.shape()), in.dtype());
  Shape shape = x.shape();
  const int which = in.below(3);
  if (which == 0) {
    std::reverse(shape.begin(), shape.end());
    if (shape.rank() > 0 && in.flag()) shape[in.below(shape.rank())] = -1;
    if (in.rarely(4)) shape.insert(0, in.option(0, 3));
  }
  const int first = in.axis(x.rank()), last = in.axis(x.rank());
  return {{x}, [=](const Tensors& t) {
            return Tensors{which == 0 ? reshape(t[0], shape) : which == 1 ? flatten(t[0], first, last) : flatten(t[0])};
          }};
}

Case permutes(OpInput& in) {
  const Tensor x = in.tensor(in.huge(in.shape()), in.dtype());
  Dims axes;
  for (int i = 0; i < x.rank(); ++i) axes.insert(in.below(i + 1), i);
  if (in.rarely(8)) axes.push_back(in.option(-2, 4));
  const int a = in.axis(x.rank()), b = in.axis(x.rank());
  const bool transposes = in.flag();
  return {{x}, [=](const Tensors& t) { return Tensors{transposes ? transpose(t[0], a, b) : permute(t[0], axes)}; }};
}

Case slices(OpInput& in) {
  const Tensor x = in.tensor(in.huge(in.shape()), in.dtype());
  const auto position = [&]() -> std::optional<std::int64_t> {
    if (in.below(4) == 0) return {};
    return in.option(-6, 13);
  };
  const int axis = in.axis(x.rank());
  const auto start = position(), stop = position();
  const std::int64_t step = in.rarely(2) ? in.option(-3, 7) : 1, index = in.option(-4, 8);
  const bool selects = in.rarely(3);
  return {{x}, [=](const Tensors& t) {
            return Tensors{selects ? select(t[0], axis, index) : slice(t[0], axis, start, stop, step)};
          }};
}

Case expands(OpInput& in) {
  const Shape shape = in.shape();
  const Tensor x = in.tensor(in.broadcast(shape), in.dtype());
  Shape target = shape;
  if (target.rank() > 0 && in.rarely(4)) target[in.below(target.rank())] = in.option(-1, 4);
  const int which = in.rarely(2) ? 1 + in.below(2) : 0;
  return {{x},
          [=](const Tensors& t) {
            return Tensors{which == 0   ? expand(t[0], target)
                           : which == 1 ? sum_to(expand(t[0], shape), target)
                                        : sum_to(t[0], target)};
          },
          Match::close,
          elements(shape)};
}

Case squeezes(OpInput& in) {
  const Tensor x = in.tensor(in.huge(in.shape()), in.dtype());
  const Axes axes = in.axes(x.rank());
  const int axis = in.axis(x.rank()), which = in.below(3);
  return {{x}, [=](const Tensors& t) {
            return Tensors{which == 0 ? squeeze(t[0], axes) : which == 1 ? unsqueeze(t[0], axis) : flip(t[0], axes)};
          }};
}

Case strides(OpInput& in) {
  const Tensor x = in.tensor(in.shape(), in.dtype());
  const Shape shape = in.shape();
  Strides strides;
  for (int i = 0; i < shape.rank(); ++i) strides.push_back(in.option(-1, 6));
  if (in.rarely(16)) strides.push_back(1);
  const std::int64_t offset = in.option(0, 4);
  // A dense copy has another memory below it.
  return {{x},         [=](const Tensors& t) { return Tensors{contiguous(as_strided(t[0], shape, strides, offset))}; },
          Match::none, 0,
          0,           1,
          false};
}

Case copies(OpInput& in) {
  const int which = in.below(3);
  const DType dtype = in.dtype();
  return of_one(in, [=](const Tensor& x) { return which == 0 ? contiguous(x) : which == 1 ? clone(x) : to(x, dtype); });
}

Case joins(OpInput& in) {
  const int axis = in.axis(3), count = in.below(4);
  const bool stacks = in.flag();
  const Shape shape = in.shape(4);
  Tensors xs;
  for (int i = 0; i < count; ++i) {
    Shape own = shape;
    if (!stacks && axis >= 0 && axis < own.rank()) own[axis] = in.size();
    if (own.rank() > 0 && in.rarely(16)) own[in.below(own.rank())] = in.size();
    xs.push_back(in.tensor(in.huge(own), in.dtype()));
  }
  return {xs, [=](const Tensors& t) { return Tensors{stacks ? stack(t, axis) : concatenate(t, axis)}; }};
}

Case pads(OpInput& in) {
  const Tensor x = in.tensor(in.huge(in.shape()), in.dtype());
  std::vector<std::pair<std::int64_t, std::int64_t>> padding;
  for (int i = 0; i < x.rank(); ++i) {
    padding.emplace_back(in.rarely(2) ? in.option(-1, 4) : 0, in.rarely(2) ? in.option(-1, 4) : 0);
  }
  if (in.rarely(32)) padding.emplace_back(0, 0);
  const auto mode = static_cast<PadMode>(in.rarely(2) ? in.below(4) : 0);
  const double value = in.number();
  return {{x}, [=](const Tensors& t) { return Tensors{pad(t[0], padding, mode, value)}; }};
}

Case dilations(OpInput& in) {
  const Tensor x = in.tensor(in.huge(in.shape()), in.dtype());
  const Axes axes = in.axes(x.rank());
  const std::int64_t amount = in.option(0, 4);
  const bool back = in.flag();
  return {{x},
          [=](const Tensors& t) { return Tensors{back ? undilate(t[0], axes, amount) : dilate(t[0], axes, amount)}; }};
}

Case unary(OpInput& in) {
  using F = Tensor (*)(const Tensor&);
  static const F functions[] = {negative, abs,  sign,  square, reciprocal, sqrt, rsqrt, exp,    expm1,     log,
                                log1p,    log2, log10, sin,    cos,        tan,  asin,  acos,   atan,      sinh,
                                cosh,     tanh, erf,   erfc,   floor,      ceil, round, is_nan, is_finite, logical_not};
  return of_one(in, functions[in.below(static_cast<int>(std::size(functions)))]);
}

Case activations(OpInput& in) {
  const int which = in.below(14);
  const double a = in.number(), b = in.number();
  return of_one(in, [=](const Tensor& x) -> Tensor {
    switch (which) {
      case 0:
        return sigmoid(x);
      case 1:
        return relu(x);
      case 2:
        return gelu(x, false);
      case 3:
        return gelu(x, true);
      case 4:
        return leaky_relu(x, a);
      case 5:
        return elu(x, a);
      case 6:
        return celu(x, a);
      case 7:
        return silu(x);
      case 8:
        return softplus(x, a, b);
      case 9:
        return hardtanh(x, a, b);
      case 10:
        return relu6(x);
      case 11:
        return hardsigmoid(x);
      case 12:
        return hardswish(x);
      default:
        return nn::mse_loss(x, x, Reduction::none);
    }
  });
}

Case clamps(OpInput& in) {
  const auto bound = [&]() -> std::optional<Scalar> {
    if (in.rarely(4)) return {};
    return in.flag() ? Scalar(in.number()) : Scalar(in.option(-2, 5));
  };
  const auto low = bound(), high = bound();
  return of_one(in, [=](const Tensor& x) { return clamp(x, low, high); });
}

template <std::size_t N>
Case binary(OpInput& in, Tensor (*const (&functions)[N])(const Tensor&, const Tensor&)) {
  const auto call = functions[in.below(static_cast<int>(N))];
  const Shape shape = in.huge(in.shape());
  const Tensor a = in.tensor(in.rarely(2) ? in.broadcast(shape) : shape), b = in.tensor(in.broadcast(shape));
  return {{a, b}, [=](const Tensors& t) { return Tensors{call(t[0], t[1])}; }};
}

using Binary = Tensor (*)(const Tensor&, const Tensor&);

Case arithmetic(OpInput& in) {
  static const Binary functions[] = {add,   subtract, multiply, divide, floor_divide, remainder,
                                     power, maximum,  minimum,  atan2,  weighted};
  return binary(in, functions);
}

Case comparisons(OpInput& in) {
  static const Binary functions[] = {equal,         not_equal,   less,       less_equal, greater,
                                     greater_equal, logical_and, logical_or, logical_xor};
  return binary(in, functions);
}

Case with_number(OpInput& in) {
  const int which = in.below(6);
  const Scalar number = in.flag() ? Scalar(in.number()) : Scalar(in.option(-3, 8));
  return of_one(in, [=](const Tensor& x) -> Tensor {
    switch (which) {
      case 0:
        return x + number;
      case 1:
        return number - x;
      case 2:
        return x * number;
      case 3:
        return number / x;
      case 4:
        return maximum(x, number);
      default:
        return power(x, number);
    }
  });
}

Case choices(OpInput& in) {
  const Shape shape = in.huge(in.shape());
  const Tensor condition = in.tensor(in.broadcast(shape), in.rarely(16) ? in.dtype() : DType::boolean);
  const Tensor a = in.tensor(in.broadcast(shape)), b = in.tensor(in.broadcast(shape));
  return {{condition, a, b}, [](const Tensors& t) { return Tensors{where(t[0], t[1], t[2])}; }};
}

Case sums(OpInput& in) {
  const Tensor x = in.tensor(in.huge(in.shape()), in.dtype());
  const Axes axes = in.axes(x.rank());
  const bool keep = in.flag(), means = in.flag();
  return counted({{x},
                  [=](const Tensors& t) { return Tensors{means ? mean(t[0], axes, keep) : sum(t[0], axes, keep)}; },
                  Match::close});
}

Case extremes(OpInput& in) {
  const Tensor x = in.tensor(in.huge(in.shape()), in.dtype());
  const Axes axes = in.axes(x.rank());
  const bool keep = in.flag(), largest = in.flag();
  return counted(
      {{x}, [=](const Tensors& t) { return Tensors{largest ? max(t[0], axes, keep) : min(t[0], axes, keep)}; }});
}

Case variances(OpInput& in) {
  const Tensor x = in.tensor(in.huge(in.shape()), in.dtype());
  const Axes axes = in.axes(x.rank());
  const bool keep = in.flag(), variance = in.flag();
  const std::int64_t correction = in.option(0, 3);
  return counted({{x},
                  [=](const Tensors& t) {
                    return Tensors{variance ? var(t[0], axes, correction, keep) : logsumexp(t[0], axes, keep)};
                  },
                  Match::close,
                  0,
                  0,
                  10});
}

Case places(OpInput& in) {
  const Tensor x = in.tensor(in.huge(in.shape()), in.dtype());
  const std::optional<int> axis = in.flag() ? std::optional(in.axis(x.rank())) : std::nullopt;
  const bool keep = in.flag(), largest = in.flag();
  return counted(
      {{x}, [=](const Tensors& t) { return Tensors{largest ? argmax(t[0], axis, keep) : argmin(t[0], axis, keep)}; }});
}

Case composed_reductions(OpInput& in) {
  const Tensor x = in.tensor(in.shape(), in.dtype());
  const Axes axes = in.axes(x.rank());
  const bool keep = in.flag();
  const int which = in.below(5);
  const double p = in.rarely(2) ? in.number() : 2;
  const std::int64_t correction = in.option(0, 3);
  // Numbers near the ends of their range leave it in another order of the factors.
  return counted({{x},
                  [=](const Tensors& t) {
                    return Tensors{which == 0   ? prod(t[0], axes, keep)
                                   : which == 1 ? norm(t[0], p, axes, keep)
                                   : which == 2 ? weft::std(t[0], axes, correction, keep)
                                   : which == 3 ? any(t[0], axes, keep)
                                                : all(t[0], axes, keep)};
                  },
                  which > 2 ? Match::exact : Match::none,
                  0,
                  0,
                  10});
}

Case parts(OpInput& in) {
  const Tensor x = in.tensor(in.shape(), in.dtype());
  const int axis = in.axis(x.rank()), which = in.below(4);
  std::int64_t length = 0;
  if (axis >= -x.rank() && axis < x.rank()) length = x.size(axis);
  std::vector<std::int64_t> sizes;
  for (int i = in.below(4); i > 0; --i) sizes.push_back(in.option(0, 4));
  if (in.rarely(2)) sizes = {length};
  const std::int64_t number = in.option(1, 5);
  const std::int64_t diagonal = in.option(-3, 7), chunks = 1 + in.below(5);
  return {{x}, [=](const Tensors& t) -> Tensors {
            if (which == 0) return split(t[0], number, axis);
            if (which == 1) return split(t[0], sizes, axis);
            if (which == 2) return chunk(t[0], chunks, axis);
            return {diagonal % 2 == 0 ? tril(t[0], diagonal) : triu(t[0], diagonal)};
          }};
}

Case tiles(OpInput& in) {
  const Tensor x = in.tensor(in.shape(4), in.dtype());
  Dims repeats;
  for (int i = in.below(5); i > 0; --i) repeats.push_back(in.option(0, 4));
  return {{x}, [=](const Tensors& t) { return Tensors{tile(t[0], repeats)}; }};
}

Case draws(OpInput& in) {
  const Tensor x = in.tensor(in.shape(), in.dtype());
  const int which = in.below(4);
  const std::int64_t steps = in.option(0, 9);
  const double start = in.number(), stop = in.number();
  const TensorOptions options{.dtype = in.rarely(2) ? std::optional(in.dtype()) : std::nullopt};
  return {{x},
          [=](const Tensors& t) -> Tensors {
            if (which == 0) return {linspace(start, stop, steps, options)};
            if (which == 1) return {full_like(t[0], start)};
            if (which == 2) return {randperm(steps, options), rand_like(t[0])};
            return {bernoulli(t[0])};
          },
          Match::none};
}

Case printing(OpInput& in) {
  return of_one(in, [](const Tensor& x) {
    const std::string text = to_string(x);
    return full({}, static_cast<std::int64_t>(std::hash<std::string>()(text) >> 1));
  });
}

}  // namespace

std::span<const Draw> basic_families() {
  static const Draw families[] = {creation, ranges,     one_hots,    reshapes,    permutes,
                                  slices,   expands,    squeezes,    strides,     copies,
                                  joins,    pads,       dilations,   unary,       activations,
                                  clamps,   arithmetic, comparisons, with_number, choices,
                                  sums,     extremes,   variances,   places,      composed_reductions,
                                  parts,    tiles,      draws,       printing};
  return families;
}

}  // namespace weft::fuzz
