#include <algorithm>

#include "core/op_support.h"

namespace weft {

namespace {

using Values = std::vector<Tensor>;

struct Moments {
  Tensor mean;
  Tensor inverse_std;
};

Moments moments(const Tensor& x, const Axes& axes, double eps) {
  const Tensor center = mean(x, axes, true);
  return {center, rsqrt(mean(square(x - center), axes, true) + eps)};
}

// (x - mean)/√(variance + eps) over the axes. The gradient is (g - mean(g) - y·mean(g·y))/√(variance + eps).
Tensor normalised(std::string_view name, const Tensor& x, const Dims& axes, double eps) {
  const Tensor values = x.detach();
  const Moments now = moments(values, axes, eps);
  const Tensor normal = (values - now.mean) * now.inverse_std;
  return record(name, normal.array(), {x},
                {Save::input(0), Save::constant(now.mean.array()), Save::constant(now.inverse_std.array())},
                [axes, eps](const SavedValues& saved, const Tensor& g) {
                  const Moments m = grad_enabled() ? moments(saved[0], axes, eps) : Moments{saved[1], saved[2]};
                  const Tensor y = (saved[0] - m.mean) * m.inverse_std;
                  return Values{(g - mean(g, axes, true) - y * mean(g * y, axes, true)) * m.inverse_std};
                });
}

void check_eps(const std::string& op, double eps) {
  if (!(eps >= 0)) throw ValueError(op + ": eps must not be " + std::to_string(eps));
}

void check_parameter(const std::string& op, const std::string& what, const Tensor& v, const Shape& shape,
                     const Tensor& x) {
  if (!v.defined()) return;
  common_device(op, {x, v});
  if (v.shape() == shape && v.dtype() == parameter_dtype(x.dtype())) return;
  throw ShapeError(op + ": " + what + " " + to_string(v.shape()) + " of " + std::string(name(v.dtype())) +
                   " does not fit " + to_string(shape) + " of input " + to_string(x.shape()) + " of " +
                   std::string(name(x.dtype())));
}

Tensor affine(const Tensor& normal, const Tensor& weight, const Tensor& bias, const Shape& shape) {
  const Tensor scaled = weight.defined() ? normal * reshape(weight, shape) : normal;
  return bias.defined() ? scaled + reshape(bias, shape) : scaled;
}

// Checked input and parameters; bf16 is computed in f32.
Tensor grouped(std::string_view op, const Tensor& x, std::int64_t groups, const Tensor& weight, const Tensor& bias,
               double eps) {
  Shape split{x.size(0), groups, groups == 0 ? 0 : x.size(1) / groups};
  Shape channels = Dims::filled(x.rank(), 1);
  channels[1] = x.size(1);
  Dims axes{2};
  for (int i = 2; i < x.rank(); ++i) {
    split.push_back(x.size(i));
    axes.push_back(i + 1);
  }
  const Tensor normal = normalised(op, reshape(x.to(parameter_dtype(x.dtype())), split), axes, eps);
  return affine(reshape(normal, x.shape()), weight, bias, channels).to(x.dtype());
}

}  // namespace

Tensor group_norm(const Tensor& x, std::int64_t groups, const Tensor& weight, const Tensor& bias, double eps) {
  check_float("group_norm", x);
  if (x.rank() < 2 || x.rank() >= kMaxRank)
    throw ShapeError("group_norm: input needs 2 to 7 dimensions (N, C, ...), got " + to_string(x.shape()));
  if (groups < 1 || x.size(1) % groups != 0) {
    throw ValueError("group_norm: " + std::to_string(groups) + " groups do not divide the channels of input " +
                     to_string(x.shape()));
  }
  check_eps("group_norm", eps);
  check_parameter("group_norm", "weight", weight, {x.size(1)}, x);
  check_parameter("group_norm", "bias", bias, {x.size(1)}, x);
  if (x.size() == groups) {
    throw ValueError("group_norm: needs more than one value per group, got input " + to_string(x.shape()) + " with " +
                     std::to_string(groups) + " groups");
  }
  return grouped("group_norm", x, groups, weight, bias, eps);
}

Tensor instance_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  check_float("instance_norm", x);
  if (x.rank() < 3 || x.rank() >= kMaxRank)
    throw ShapeError("instance_norm: input needs 3 to 7 dimensions (N, C, L, ...), got " + to_string(x.shape()));
  check_eps("instance_norm", eps);
  check_parameter("instance_norm", "weight", weight, {x.size(1)}, x);
  check_parameter("instance_norm", "bias", bias, {x.size(1)}, x);
  std::int64_t values = 1;
  for (int i = 2; i < x.rank(); ++i) values *= x.size(i);
  if (values == 1) {
    throw ValueError("instance_norm: needs more than one value per channel, got input " + to_string(x.shape()));
  }
  return grouped("instance_norm", x, x.size(1), weight, bias, eps);
}

Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight, const Tensor& bias,
                  double eps) {
  check_float("layer_norm", x);
  const int last = normalized_shape.rank();
  Shape tail;
  for (int i = std::max(0, x.rank() - last); i < x.rank(); ++i) tail.push_back(x.size(i));
  if (last == 0 || !(tail == normalized_shape)) {
    throw ShapeError("layer_norm: the last axes of input " + to_string(x.shape()) + " must be a normalized_shape of " +
                     "at least one axis, got " + to_string(normalized_shape));
  }
  check_eps("layer_norm", eps);
  check_parameter("layer_norm", "weight", weight, normalized_shape, x);
  check_parameter("layer_norm", "bias", bias, normalized_shape, x);
  Dims axes;
  for (int i = x.rank() - last; i < x.rank(); ++i) axes.push_back(i);
  const Tensor normal = normalised("layer_norm", x.to(parameter_dtype(x.dtype())), axes, eps);
  return affine(normal, weight, bias, normalized_shape).to(x.dtype());
}

}  // namespace weft
