#include <algorithm>

#include "core/ops/op_support.h"

namespace weft {

namespace {

// The windows of an image (N, C, spatial...), which `axes` of up to eight sizes hold: output positions P..., the
// channels and the places R... in a window.
struct Windows {
  std::string_view op;
  int axes = 0;
  Shape padded;  // (N, C, spatial...)
  Dims kernel, stride, padding, dilation, out;
  bool rows = true;  // (N, P..., C, R...), or (N, C, R..., P...)
  bool channels_last = false;

  std::int64_t positions() const { return element_count(out); }
  std::int64_t columns() const { return padded[1] * element_count(kernel); }

  Layout operator()(const Layout& base) const {
    Layout y{{base.shape[0]}, {base.strides[0]}, base.offset};
    const bool empty = base.size() == 0;
    const auto push = [&](std::int64_t size, std::int64_t stride_of_base, std::int64_t step) {
      y.shape.push_back(size);
      y.strides.push_back(size > 1 && !empty ? stride_of_base * step : stride_of_base);  // the product may overflow
    };
    const auto push_positions = [&] {
      for (int i = 0; i < axes; ++i) push(out[i], base.strides[i + 2], stride[i]);
    };
    if (rows) push_positions();
    if (!channels_last) push(base.shape[1], base.strides[1], 1);
    for (int i = 0; i < axes; ++i) push(kernel[i], base.strides[i + 2], dilation[i]);
    if (channels_last) push(base.shape[1], base.strides[1], 1);
    if (!rows) push_positions();
    return y;
  }
};

Dims per_axis(std::string_view op, std::string_view what, const Dims& values, int axes, std::int64_t least) {
  if (values.rank() != 1 && values.rank() != axes) {
    throw ValueError(std::string(op) + ": " + std::string(what) + " " + to_string(values) + " is not one number or " +
                     std::to_string(axes));
  }
  for (const std::int64_t value : values) {
    if (value < least) {
      throw ValueError(std::string(op) + ": " + std::string(what) + " " + to_string(values) + " must " +
                       (least == 0 ? "not be negative" : "be positive"));
    }
  }
  return values.rank() == axes ? values : Dims::filled(axes, values[0]);
}

Windows windows(std::string_view op, const Shape& x, const Dims& kernel, const WindowOptions& o) {
  const std::string prefix = std::string(op) + ": ";
  if (x.rank() < 3 || x.rank() > 5) throw ShapeError(prefix + "input needs 3 to 5 dimensions, got " + to_string(x));
  for (const std::int64_t size : x) {
    if (size < 0) throw ShapeError(prefix + "input " + to_string(x) + " has a negative size");
  }
  Windows w;
  w.op = op;
  w.axes = x.rank() - 2;
  w.padded = x;
  w.kernel = per_axis(op, "kernel", kernel, w.axes, 1);
  w.stride = per_axis(op, "stride", o.stride, w.axes, 1);
  w.padding = per_axis(op, "padding", o.padding, w.axes, 0);
  w.dilation = per_axis(op, "dilation", o.dilation, w.axes, 1);
  for (int i = 0; i < w.axes; ++i) {
    std::int64_t reach = 0, size = 0;
    if (__builtin_mul_overflow(w.dilation[i], w.kernel[i] - 1, &reach) ||
        __builtin_mul_overflow(w.padding[i], 2, &size) || __builtin_add_overflow(size, x[i + 2], &size)) {
      throw ShapeError(prefix + "padding " + to_string(w.padding) + " or dilation " + to_string(w.dilation) +
                       " overflows with input " + to_string(x));
    }
    if (size <= reach) {
      throw ShapeError(prefix + "kernel of " + std::to_string(static_cast<std::uint64_t>(reach) + 1) +
                       " does not fit the padded input of " + std::to_string(size) + " on axis " +
                       std::to_string(i + 2));
    }
    w.padded[i + 2] = size;
    w.out.push_back((size - reach - 1) / w.stride[i] + 1);
  }
  const Shape shape = w(Layout{w.padded, Dims::filled(x.rank(), 0)}).shape;
  std::int64_t elements = 1;
  for (const std::int64_t size : shape) {  // of empty ones too, whose rows and columns are counted
    if (__builtin_mul_overflow(elements, std::max<std::int64_t>(size, 1), &elements)) {
      throw ShapeError(prefix + "windows " + to_string(shape) + " overflow");
    }
  }
  return w;
}

std::vector<std::pair<std::int64_t, std::int64_t>> sides(const Dims& padding, int sign) {
  std::vector<std::pair<std::int64_t, std::int64_t>> result{{0, 0}, {0, 0}};
  for (const std::int64_t amount : padding) result.emplace_back(sign * amount, sign * amount);
  return result;
}

Shape flat_shape(const Windows& w) {
  if (w.rows) return {w.padded[0] * w.positions(), w.columns()};
  return {w.padded[0], w.columns(), w.positions()};
}

Tensor gather(const Windows& w, const Tensor& x) {
  const Tensor columns = reshape(view(w.op, pad(x, sides(w.padding, 1)), w, true), flat_shape(w));
  const bool is_view = columns.array().storage() == x.array().storage();
  return contiguous(is_view ? clone(columns) : columns);
}

Tensor scatter(const Windows& w, const Tensor& columns) {
  check_computes(w.op, columns.dtype(), columns.device());
  if (columns.dtype() == DType::boolean || columns.dtype() == DType::u8) {
    throw DTypeError(std::string(w.op) + ": columns of " + std::string(name(columns.dtype())) + " do not add up");
  }
  if (columns.shape() != flat_shape(w)) {
    throw ShapeError(std::string(w.op) + ": columns " + to_string(columns.shape()) +
                     " do not have the windows' shape " + to_string(flat_shape(w)));
  }
  const Layout base = Layout::row_major(w.padded);
  return pad(embed(w.op, reshape(columns, w(base).shape), base, w, 0, true), sides(w.padding, -1));
}

}  // namespace

Tensor im2col(const Tensor& x, const Dims& kernel, const WindowOptions& options, ColumnOrder order) {
  Windows w = windows("im2col", x.shape(), kernel, options);
  w.channels_last = order == ColumnOrder::rsc;
  return gather(w, x);
}

Tensor col2im(const Tensor& columns, const Shape& input_shape, const Dims& kernel, const WindowOptions& options,
              ColumnOrder order) {
  Windows w = windows("col2im", input_shape, kernel, options);
  w.channels_last = order == ColumnOrder::rsc;
  return scatter(w, columns);
}

Tensor unfold(const Tensor& x, const Dims& kernel, const WindowOptions& options) {
  Windows w = windows("unfold", x.shape(), kernel, options);
  w.rows = false;
  return gather(w, x);
}

Tensor fold(const Tensor& columns, const Shape& output_size, const Dims& kernel, const WindowOptions& options) {
  check_rank("fold", "columns", columns, 3);
  const Dims sizes = per_axis("fold", "kernel", kernel, output_size.rank(), 1);
  const std::int64_t places = element_count(sizes);
  if (columns.shape()[1] % places != 0) {
    throw ShapeError("fold: kernel " + to_string(sizes) + " of " + std::to_string(places) + " places does not divide " +
                     std::to_string(columns.shape()[1]) + " columns");
  }
  Shape image{columns.shape()[0], columns.shape()[1] / places};
  for (const std::int64_t size : output_size) image.push_back(size);
  Windows w = windows("fold", image, sizes, options);
  w.rows = false;
  return scatter(w, columns);
}

}  // namespace weft
