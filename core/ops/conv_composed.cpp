#include "core/ops/conv.h"
#include "core/ops/op_support.h"

/// Convolution written in the other public ops: pad, as_strided, matmul, dilate, flip. This is the definition;
/// conv2d is the fast implementation.
namespace weft::composed {

namespace {

std::int64_t reach(const Tensor& weight, const Conv2dOptions& o, int axis) {
  return o.dilation[static_cast<std::size_t>(axis)] * (weight.shape()[axis + 2] - 1) + 1;
}

/// Throws what conv2d throws where the options and the shapes are no convolution. The ops below do not look.
Convolution check_composed(const char* op, const Shape& x, const Shape& weight, const Conv2dOptions& o) {
  if (o.groups != 1) throw ValueError("composed::conv2d: groups " + std::to_string(o.groups) + " must be 1");
  if (o.padding.same || o.padding_mode != PadMode::constant)
    throw ValueError("composed::conv2d: padding must be a number of zeros");
  return conv_sizes(op, x, weight, o);
}

Tensor pad_spatial(const Tensor& x, std::pair<std::int64_t, std::int64_t> height,
                   std::pair<std::int64_t, std::int64_t> width) {
  return pad(x, {{0, 0}, {0, 0}, height, width});
}

Tensor columns_of(const Tensor& x, std::array<std::int64_t, 2> kernel, std::array<std::int64_t, 2> stride,
                  std::array<std::int64_t, 2> dilation) {
  const Tensor dense = x.contiguous();
  const Strides& s = dense.array().strides();
  const std::int64_t p = (x.shape()[2] - dilation[0] * (kernel[0] - 1) - 1) / stride[0] + 1;
  const std::int64_t q = (x.shape()[3] - dilation[1] * (kernel[1] - 1) - 1) / stride[1] + 1;
  const Shape window{x.shape()[0], p, q, x.shape()[1], kernel[0], kernel[1]};
  // Along an axis of one position or tap nothing is stepped over, however large the options are.
  const auto step = [](std::int64_t count, std::int64_t x_stride, std::int64_t by) {
    return count > 1 ? x_stride * by : x_stride;
  };
  const Strides steps{s[0], step(p, s[2], stride[0]),           step(q, s[3], stride[1]),
                      s[1], step(kernel[0], s[2], dilation[0]), step(kernel[1], s[3], dilation[1])};
  return reshape(as_strided(dense, window, steps), {window[0] * p * q, window[3] * kernel[0] * kernel[1]});
}

Tensor convolve(const Tensor& x, const Tensor& weight, const Conv2dOptions& options) {
  const auto [n, c, h, w] = std::array{x.size(0), x.size(1), x.size(2), x.size(3)};
  const auto [top, left] = std::array{options.padding.before[0], options.padding.before[1]};
  const auto [bottom, right] = std::array{options.padding.after[0], options.padding.after[1]};
  const std::int64_t p = (h + top + bottom - reach(weight, options, 0)) / options.stride[0] + 1;
  const std::int64_t q = (w + left + right - reach(weight, options, 1)) / options.stride[1] + 1;
  const Tensor padded = pad_spatial(x, {top, bottom}, {left, right});
  const Tensor columns = columns_of(padded, {weight.size(2), weight.size(3)}, options.stride, options.dilation);
  const Tensor rows =
      matmul(columns, transpose(reshape(weight, {weight.size(0), c * weight.size(2) * weight.size(3)}), 0, 1));
  return permute(reshape(rows, {n, p, q, weight.size(0)}), {0, 3, 1, 2});
}

}  // namespace

Tensor im2col(const Tensor& x, std::array<std::int64_t, 2> kernel, std::array<std::int64_t, 2> stride,
              std::array<std::int64_t, 2> dilation) {
  check_rank("im2col", "input", x, 4);
  check_composed("im2col", x.shape(), {1, x.size(1), kernel[0], kernel[1]}, {.stride = stride, .dilation = dilation});
  return columns_of(x, kernel, stride, dilation);
}

Tensor conv2d(const Tensor& x, const Tensor& weight, const Conv2dOptions& options) {
  check_composed("composed::conv2d", x.shape(), weight.shape(), options);
  return convolve(x, weight, options);
}

namespace {

// The output's gradient with stride - 1 zeros between neighbours and the remainder's zeros behind them.
Tensor undo_stride(const Tensor& output_grad, const Tensor& weight, const Shape& input_shape, const Conv2dOptions& o) {
  Tensor g = dilate(dilate(output_grad, 2, o.stride[0] - 1), 3, o.stride[1] - 1);
  std::array<std::int64_t, 2> remainder{};
  for (int i = 0; i < 2; ++i) {
    const auto at = static_cast<std::size_t>(i);
    remainder[at] =
        (input_shape[i + 2] + o.padding.before[at] + o.padding.after[at] - reach(weight, o, i)) % o.stride[at];
  }
  return pad_spatial(g, {0, remainder[0]}, {0, remainder[1]});
}

Tensor undo_dilation(const Tensor& weight, const Conv2dOptions& o) {
  return dilate(dilate(weight, 2, o.dilation[0] - 1), 3, o.dilation[1] - 1);
}

}  // namespace

Tensor conv2d_input_grad(const Tensor& output_grad, const Tensor& weight, const Shape& input_shape,
                         const Conv2dOptions& options) {
  constexpr const char* kOp = "composed::conv2d_input_grad";
  check_output_grad(kOp, output_grad, check_composed(kOp, input_shape, weight.shape(), options));
  const Tensor g = undo_stride(output_grad, weight, input_shape, options);
  const Tensor filter = transpose(flip(undo_dilation(weight, options), {2, 3}), 0, 1);
  const auto sides = [&](std::size_t i) {  // negative: crops
    const std::int64_t most = filter.size(static_cast<int>(i) + 2) - 1;
    return std::pair(most - options.padding.before[i], most - options.padding.after[i]);
  };
  return convolve(pad_spatial(g, sides(0), sides(1)), filter, Conv2dOptions{});
}

Tensor conv2d_weight_grad(const Tensor& output_grad, const Tensor& x, const Shape& weight_shape,
                          const Conv2dOptions& options) {
  constexpr const char* kOp = "composed::conv2d_weight_grad";
  check_output_grad(kOp, output_grad, check_composed(kOp, x.shape(), weight_shape, options));
  const Tensor shape_of_weight = zeros(weight_shape, {.dtype = x.dtype(), .device = x.device()});
  const Tensor g = undo_stride(output_grad, shape_of_weight, x.shape(), options);
  const Tensor wide = convolve(transpose(x, 0, 1), transpose(g, 0, 1), {.padding = options.padding});
  return transpose(undilate(undilate(wide, 2, options.dilation[0] - 1), 3, options.dilation[1] - 1), 0, 1);
}

}  // namespace weft::composed
