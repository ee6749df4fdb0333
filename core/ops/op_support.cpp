#include "core/ops/op_support.h"

#include "core/device/overlap.h"
#include "core/value/number.h"
#include "core/value/views.h"
#include "weft/precision.h"

namespace weft {

Axes all_but_channels(int rank) {
  Dims axes{0};
  for (int i = 2; i < rank; ++i) axes.push_back(i);
  return axes;
}

const Device& common_device(std::string_view op, std::initializer_list<Tensor> inputs) {
  const Device* device = nullptr;
  for (const Tensor& input : inputs) {
    if (!input.defined()) throw ValueError(std::string(op) + ": an operand is undefined");
    if (device == nullptr) device = &input.device();
    if (!(input.device() == *device)) {
      throw DeviceError(std::string(op) + ": operands are on " + to_string(*device) + " and " +
                        to_string(input.device()));
    }
  }
  return *device;
}

void check_float(std::string_view op, const Tensor& x) {
  if (x.dtype() == DType::f32 || x.dtype() == DType::f64) return;
  if (x.dtype() == DType::bf16 && backend(x.device()).unlocked().computes(DType::bf16)) return;
  throw DTypeError(std::string(op) + ": takes f32 or f64, not " + std::string(name(x.dtype())) +
                   (x.dtype() == DType::bf16 ? ", which " + to_string(x.device()) + " only stores" : ""));
}

void check_rank(std::string_view op, std::string_view what, const Tensor& x, int rank) {
  if (x.rank() != rank) {
    throw ShapeError(std::string(op) + ": " + std::string(what) + " needs " + std::to_string(rank) +
                     " dimensions, got " + to_string(x.shape()));
  }
}

void check_computes(std::string_view op, DType dtype, const Device& device) {
  if ((dtype == DType::f16 || dtype == DType::bf16) && !backend(device).unlocked().computes(dtype)) {
    throw DTypeError(std::string(op) + ": " + std::string(name(dtype)) + " only stores on " + to_string(device) +
                     "; convert with to(DType::f32) first");
  }
}

Tensor floating(std::string_view op, const Tensor& x) {
  check_computes(op, x.dtype(), x.device());
  return is_floating_point(x.dtype()) ? x : x.to(DType::f32);
}

DType parameter_dtype(DType input) { return input == DType::bf16 ? DType::f32 : input; }

DType autocast_dtype(const Tensor& x) {
  return x.dtype() == DType::f32 && precision() == Precision::bf16 ? DType::bf16 : x.dtype();
}

Tensor autocast(const Tensor& x) { return x.defined() ? x.to(autocast_dtype(x)) : x; }

namespace {

int kind(DType dtype) { return dtype == DType::boolean ? 0 : is_integer(dtype) ? 1 : 2; }

}  // namespace

DType result_dtype(const Tensor& a, const Tensor& b) {
  if (a.rank() == 0 && b.rank() > 0 && kind(a.dtype()) <= kind(b.dtype())) return b.dtype();
  if (b.rank() == 0 && a.rank() > 0 && kind(b.dtype()) <= kind(a.dtype())) return a.dtype();
  return promote(a.dtype(), b.dtype());
}

Dims position_of(std::int64_t i, const Shape& shape) {
  Dims position = Dims::filled(shape.rank(), 0);
  for (int axis = shape.rank() - 1; axis >= 0; i /= shape[axis--]) position[axis] = i % shape[axis];
  return position;
}

bool all_below(std::span<const std::int64_t> indices, std::int64_t count) {
  const auto last = static_cast<std::uint64_t>(count) - 1;
  std::uint64_t outside = 0;  // where negative
  for (const std::int64_t index : indices) {
    const auto value = static_cast<std::uint64_t>(index);
    outside |= value | (last - value);
  }
  return static_cast<std::int64_t>(outside) >= 0;
}

DType scalar_dtype(DType x, const Scalar& value) {
  if (value.is_floating_point() && !is_floating_point(x)) return DType::f32;
  return value.is_integer() && x == DType::boolean ? DType::i64 : x;
}

Tensor scalar_operand(std::string_view op, const Tensor& x, Scalar value) {
  const DType dtype = scalar_dtype(x.dtype(), value);
  check_fits(op, value, dtype);
  return full({}, value, {.dtype = dtype, .device = x.device()});
}

Array unary_array(UnaryOp op, const Array& x) {
  const DType dtype = is_predicate(op) ? DType::boolean : x.dtype();
  Array out = Array::empty_like(x.layout(), dtype, x.device());
  backend(x.device())->unary(op, const_view(x), mutable_view(out));
  return out;
}

namespace {

ConstView expanded(std::string_view name, const Array& x, const Shape& shape) {
  const Layout layout = layout::expand(name, x.layout(), shape);
  return {x.data(), layout.shape, layout.strides, x.dtype()};
}

}  // namespace

Array binary_array(std::string_view name, BinaryOp op, const Array& a, const Array& b) {
  const Shape shape = layout::broadcast(name, a.shape(), b.shape());
  const DType dtype = is_predicate(op) ? DType::boolean : a.dtype();
  const bool like_a = a.shape() == shape && (a.layout().is_dense() || b.shape() != shape);
  Array out = Array::empty_like(layout::dense_like(like_a ? a.layout() : b.layout(), shape), dtype, a.device());
  backend(a.device())->binary(op, expanded(name, a, shape), expanded(name, b, shape), mutable_view(out));
  return out;
}

Array reduce_array(ReduceOp op, const Array& x, const std::array<bool, kMaxRank>& mask) {
  Array out = Array::empty(layout::with_reduced(x.shape(), mask), x.dtype(), x.device());
  backend(x.device())->reduce(op, const_view(x), mutable_view(out));
  return out;
}

Array channels_last(const Array& x) {
  if (x.layout().is_channels_last()) return x;
  Array out = Array::empty_like(Layout::channels_last(x.shape()), x.dtype(), x.device());
  backend(x.device())->copy(const_view(x), mutable_view(out));
  return out;
}

Tensor view(std::string_view name, const Tensor& x, const LayoutMap& map, bool overlap) {
  const Array& array = x.array();
  Array out = array.view(map(array.layout()));
  if (!is_recorded({x})) return Tensor(std::move(out));
  Layout base = array.layout();
  base.offset = 0;
  if (!base.is_dense()) base = Layout::row_major(base.shape);
  const auto backward = [name, base, map, overlap](const SavedValues&, const Tensor& g) {
    return std::vector<Tensor>{embed(name, g, base, map, 0, overlap)};
  };
  return record(name, std::move(out), {x}, {}, BackwardFunction(backward));
}

Tensor embed(std::string_view name, const Tensor& x, const Layout& base, const LayoutMap& map, Scalar fill,
             bool overlap) {
  const Layout window = map(base);
  // Sums of many numbers of fewer bits are made in f64.
  const BackendHandle device = backend(x.device());
  const bool widens = overlap && is_floating_point(x.dtype()) && device.unlocked().computes(x.dtype()) &&
                      many_meet(window.shape, window.strides);
  const Array values = widens ? x.array().to(DType::f64) : x.array();
  Array out = Array::empty_like(base, values.dtype(), x.device());
  device->fill(mutable_view(out), fill);
  const View place = mutable_view(out.view(map(out.layout())));
  if (overlap) {
    device->accumulate(const_view(values), place);
  } else {
    device->copy(const_view(values), place);
  }
  out = out.to(x.dtype());
  const auto backward = [name, base, map, overlap](const SavedValues&, const Tensor& g) {
    const bool same = g.array().layout().is_dense() && g.array().strides() == base.strides;
    if (!overlap || same) return std::vector<Tensor>{view(name, g, map, overlap)};
    // An overlapping map counts in the memory order of `base`.
    Array copy = Array::empty_like(base, g.dtype(), g.device());
    backend(g.device())->copy(const_view(g.array()), mutable_view(copy));
    const Tensor dense = record("copy", std::move(copy), {g}, {},
                                [](const SavedValues&, const Tensor& gg) { return std::vector<Tensor>{gg}; });
    return std::vector<Tensor>{view(name, dense, map, overlap)};
  };
  return record(name, std::move(out), {x}, {}, BackwardFunction(backward));
}

}  // namespace weft
