#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "weft/tensor.h"

/// The differentiable functions. Every one accepts any strides, returns a new tensor (or a view, where it says so), and
/// throws ShapeError, DTypeError, DeviceError, ValueError or IndexError naming itself, the rule and the values. Binary
/// ones broadcast and promote as NumPy and PyTorch do. Shapes are NCHW as in PyTorch; conv2d, pooling and batch_norm
/// write channels-last memory.
namespace weft {

// Creation.
Tensor empty(const Shape& shape, const TensorOptions& options = {});
Tensor zeros(const Shape& shape, const TensorOptions& options = {});
Tensor ones(const Shape& shape, const TensorOptions& options = {});
Tensor full(const Shape& shape, Scalar value, const TensorOptions& options = {});
Tensor zeros_like(const Tensor& x);
Tensor ones_like(const Tensor& x);
/// start, start + step, ... below stop (above, for a negative step).
Tensor arange(Scalar start, Scalar stop, Scalar step = 1, const TensorOptions& options = {.dtype = DType::i64});
/// The (rows, columns) identity; square where columns is left out.
Tensor eye(std::int64_t rows, std::optional<std::int64_t> columns = {}, const TensorOptions& options = {});
/// Class indices of any shape -> shape + (classes,), 1 at the index. Indices outside [0, classes) give a row of zeros.
Tensor one_hot(const Tensor& indices, std::int64_t classes, DType dtype = DType::f32);

// Views: no element is copied (reshape copies where strides demand it).
Tensor reshape(const Tensor& x, const Shape& shape);  ///< one size may be -1
Tensor flatten(const Tensor& x, int first_axis = 0, int last_axis = -1);
Tensor permute(const Tensor& x, const Dims& axes);
Tensor transpose(const Tensor& x, int a, int b);
/// x[start:stop:step] along one axis with Python's rules: negative positions count from the end, out-of-range ones are
/// clipped.
Tensor slice(const Tensor& x, int axis, std::optional<std::int64_t> start, std::optional<std::int64_t> stop,
             std::int64_t step = 1);
Tensor select(const Tensor& x, int axis, std::int64_t index);  ///< drops the axis
Tensor expand(const Tensor& x, const Shape& shape);            ///< broadcast; -1 keeps a size
Tensor squeeze(const Tensor& x, const Axes& axes = Axes::all());
Tensor unsqueeze(const Tensor& x, int axis);
Tensor flip(const Tensor& x, const Axes& axes);
/// Any layout over x's storage, strides and offset in elements, offset counted from x's first element. Throws
/// IndexError outside of it.
Tensor as_strided(const Tensor& x, const Shape& shape, const Strides& strides, std::int64_t offset = 0);

// Copies and joins.
Tensor contiguous(const Tensor& x);
Tensor clone(const Tensor& x);
Tensor to(const Tensor& x, const Device& device);
Tensor to(const Tensor& x, DType dtype);
Tensor concatenate(const std::vector<Tensor>& xs, int axis = 0);
Tensor stack(const std::vector<Tensor>& xs, int axis = 0);
enum class PadMode { constant, reflect };
/// `padding` holds {before, after} for each axis of x, first axis first; negative amounts crop (constant mode only).
Tensor pad(const Tensor& x, const std::vector<std::pair<std::int64_t, std::int64_t>>& padding,
           PadMode mode = PadMode::constant, Scalar value = 0);
/// Inserts `amount` zeros between neighbours: size n becomes n + (n - 1)·amount. undilate keeps every (amount + 1)-th
/// element.
Tensor dilate(const Tensor& x, const Axes& axes, std::int64_t amount = 1);
Tensor undilate(const Tensor& x, const Axes& axes, std::int64_t amount = 1);

// Elementwise, one operand. Integers are converted to f32 first by the functions that have no integer values.
Tensor negative(const Tensor& x);
Tensor abs(const Tensor& x);  ///< gradient 0 at 0
Tensor sign(const Tensor& x);
Tensor square(const Tensor& x);
Tensor reciprocal(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor rsqrt(const Tensor& x);
Tensor exp(const Tensor& x);
Tensor expm1(const Tensor& x);
Tensor log(const Tensor& x);
Tensor log1p(const Tensor& x);
Tensor log2(const Tensor& x);
Tensor log10(const Tensor& x);
Tensor sin(const Tensor& x);
Tensor cos(const Tensor& x);
Tensor tan(const Tensor& x);
Tensor asin(const Tensor& x);
Tensor acos(const Tensor& x);
Tensor atan(const Tensor& x);
Tensor sinh(const Tensor& x);
Tensor cosh(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor erf(const Tensor& x);
Tensor sigmoid(const Tensor& x);
Tensor relu(const Tensor& x);  ///< gradient 0 at 0
/// Gaussian error linear unit, x·Φ(x); `tanh_approximation` is 0.5x(1 + tanh(√(2/π)(x + 0.044715x³))) (Hendrycks and
/// Gimpel 2016).
Tensor gelu(const Tensor& x, bool tanh_approximation = false);
Tensor floor(const Tensor& x);
Tensor ceil(const Tensor& x);
Tensor round(const Tensor& x);                                                         ///< halves to even
Tensor clamp(const Tensor& x, std::optional<Scalar> low, std::optional<Scalar> high);  ///< gradient 1 on the bounds
Tensor is_nan(const Tensor& x);
Tensor is_finite(const Tensor& x);
Tensor logical_not(const Tensor& x);

// Elementwise, two operands.
Tensor add(const Tensor& a, const Tensor& b);
Tensor subtract(const Tensor& a, const Tensor& b);
Tensor multiply(const Tensor& a, const Tensor& b);
Tensor divide(const Tensor& a, const Tensor& b);        ///< true division: integers give f32
Tensor floor_divide(const Tensor& a, const Tensor& b);  ///< rounds down; an integer divided by 0 is 0, as in NumPy
Tensor remainder(const Tensor& a, const Tensor& b);     ///< has b's sign; an integer modulo 0 is 0, as in NumPy
Tensor power(const Tensor& a, const Tensor& b);
Tensor maximum(const Tensor& a, const Tensor& b);  ///< NaN wins; equal operands share the gradient
Tensor minimum(const Tensor& a, const Tensor& b);
Tensor atan2(const Tensor& y, const Tensor& x);
Tensor equal(const Tensor& a, const Tensor& b);
Tensor not_equal(const Tensor& a, const Tensor& b);
Tensor less(const Tensor& a, const Tensor& b);
Tensor less_equal(const Tensor& a, const Tensor& b);
Tensor greater(const Tensor& a, const Tensor& b);
Tensor greater_equal(const Tensor& a, const Tensor& b);
Tensor logical_and(const Tensor& a, const Tensor& b);
Tensor logical_or(const Tensor& a, const Tensor& b);
Tensor logical_xor(const Tensor& a, const Tensor& b);
/// a where condition (bool) holds, b elsewhere; all three broadcast.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);

/// A 0-dimensional operand of an expression with x: x's device, and x's dtype unless the number's kind is higher (2.5
/// with an integer x is f32).
Tensor scalar_like(const Tensor& x, Scalar value);

inline Tensor operator-(const Tensor& x) { return negative(x); }
inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return subtract(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return multiply(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return divide(a, b); }
inline Tensor operator+(const Tensor& a, Scalar b) { return add(a, scalar_like(a, b)); }
inline Tensor operator-(const Tensor& a, Scalar b) { return subtract(a, scalar_like(a, b)); }
inline Tensor operator*(const Tensor& a, Scalar b) { return multiply(a, scalar_like(a, b)); }
inline Tensor operator/(const Tensor& a, Scalar b) { return divide(a, scalar_like(a, b)); }
inline Tensor operator+(Scalar a, const Tensor& b) { return add(scalar_like(b, a), b); }
inline Tensor operator-(Scalar a, const Tensor& b) { return subtract(scalar_like(b, a), b); }
inline Tensor operator*(Scalar a, const Tensor& b) { return multiply(scalar_like(b, a), b); }
inline Tensor operator/(Scalar a, const Tensor& b) { return divide(scalar_like(b, a), b); }
inline Tensor power(const Tensor& a, Scalar b) { return power(a, scalar_like(a, b)); }
inline Tensor maximum(const Tensor& a, Scalar b) { return maximum(a, scalar_like(a, b)); }
inline Tensor minimum(const Tensor& a, Scalar b) { return minimum(a, scalar_like(a, b)); }

// Reductions. `keep_axes` leaves reduced axes with size 1. Sums of bool, u8 and i32 are i64; mean, var and logsumexp of
// integers are f32.
Tensor sum(const Tensor& x, const Axes& axes = Axes::all(), bool keep_axes = false);
Tensor mean(const Tensor& x, const Axes& axes = Axes::all(), bool keep_axes = false);
/// Of nothing: an error. NaN wins. Equal largest elements share the gradient.
Tensor max(const Tensor& x, const Axes& axes = Axes::all(), bool keep_axes = false);
Tensor min(const Tensor& x, const Axes& axes = Axes::all(), bool keep_axes = false);
/// Variance with division by count - correction (1: unbiased, as in PyTorch).
Tensor var(const Tensor& x, const Axes& axes = Axes::all(), std::int64_t correction = 1, bool keep_axes = false);
Tensor logsumexp(const Tensor& x, const Axes& axes = Axes::all(), bool keep_axes = false);
/// Index (i64) of the first largest element along an axis, or of the flattened tensor. NaN counts as the largest.
Tensor argmax(const Tensor& x, std::optional<int> axis = {}, bool keep_axes = false);
Tensor argmin(const Tensor& x, std::optional<int> axis = {}, bool keep_axes = false);
/// Sums x down to a shape that broadcasts to x's: the adjoint of expand.
Tensor sum_to(const Tensor& x, const Shape& shape);

// Matrix products.
/// NumPy's matmul: (..., m, k) x (..., k, n), leading axes broadcast, 1-D operands are a row or a column.
Tensor matmul(const Tensor& a, const Tensor& b);
/// x (..., in) times weightᵀ (out, in) plus bias (out,): (..., out).
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

// Convolution is cross-correlation, as in PyTorch.
struct Conv2dOptions {
  std::array<std::int64_t, 2> stride = {1, 1};
  std::array<std::int64_t, 2> padding = {0, 0};
  std::array<std::int64_t, 2> dilation = {1, 1};
  std::int64_t groups = 1;
};
/// x (N, C, H, W), weight (K, C/groups, R, S), bias (K,) or undefined -> (N, K, P, Q), P = (H + 2·padding - dilation·(R
/// - 1) - 1) / stride + 1.
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {}, const Conv2dOptions& options = {});
/// The gradient of conv2d with respect to its input of shape (N, C, H, W), given the output's gradient (N, K, P, Q).
Tensor conv2d_input_grad(const Tensor& output_grad, const Tensor& weight, const Shape& input_shape,
                         const Conv2dOptions& options = {});
/// The gradient of conv2d with respect to its weight of shape (K, C/groups, R, S).
Tensor conv2d_weight_grad(const Tensor& output_grad, const Tensor& x, const Shape& weight_shape,
                          const Conv2dOptions& options = {});

/// The same functions composed of the other ops, as the definition to read and to test against (groups = 1; several
/// times slower).
namespace composed {
/// The strided window view of x (N, C, H, W), copied dense: (N·P·Q, C·R·S), one row per output position.
Tensor im2col(const Tensor& x, std::array<std::int64_t, 2> kernel, std::array<std::int64_t, 2> stride = {1, 1},
              std::array<std::int64_t, 2> dilation = {1, 1});
/// Pad, im2col, matmul.
Tensor conv2d(const Tensor& x, const Tensor& weight, const Conv2dOptions& options = {});
/// Dilate the output's gradient by stride - 1, append the remainder's zeros, flip the filter, swap its channels,
/// convolve with padding K - 1 - P.
Tensor conv2d_input_grad(const Tensor& output_grad, const Tensor& weight, const Shape& input_shape,
                         const Conv2dOptions& options = {});
/// Swap batch and channels of the input and of the dilated gradient, convolve with padding P, swap back.
Tensor conv2d_weight_grad(const Tensor& output_grad, const Tensor& x, const Shape& weight_shape,
                          const Conv2dOptions& options = {});
}  // namespace composed

// Pooling over the two last axes of (N, C, H, W).
struct Pool2dOptions {
  std::array<std::int64_t, 2> kernel = {2, 2};
  std::array<std::int64_t, 2> stride = {0, 0};   ///< 0: the kernel's size
  std::array<std::int64_t, 2> padding = {0, 0};  ///< at most half the kernel
};
/// Padding counts as -infinity; the first largest element takes the gradient.
Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options = {});
/// Padding counts as zeros and in the divisor.
Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options = {});
/// (N, C, H, W) -> (N, C, 1, 1).
Tensor global_avg_pool2d(const Tensor& x);
Tensor global_max_pool2d(const Tensor& x);

// Normalisation, dropout and losses.
struct BatchNormOptions {
  bool training = true;
  double eps = 1e-5;
  double momentum = 0.1;         ///< weight of the new value in the running statistics
  bool unbiased_running = true;  ///< PyTorch's running variance; false keeps the biased one (needle's)
  bool relu = false;             ///< fuses a ReLU behind the normalisation, before the residual is added
};
/// x (N, C) or (N, C, ...), weight and bias (C,), running_mean and running_var (C,), updated in place when training (or
/// undefined). A residual, of x's shape and dtype, is added in the same pass. Throws ValueError when training with one
/// value per channel.
Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
                  const Tensor& running_var, const BatchNormOptions& options = {}, const Tensor& residual = {});
Tensor softmax(const Tensor& x, int axis = -1);
Tensor log_softmax(const Tensor& x, int axis = -1);
/// Zeroes each element with probability p and scales the rest by 1/(1 - p); the identity when not training.
Tensor dropout(const Tensor& x, double p = 0.5, bool training = true);
enum class Reduction { none, mean, sum };
struct CrossEntropyOptions {
  double label_smoothing = 0;  ///< in [0, 1]: the share of the target spread evenly over all classes
  Reduction reduction = Reduction::mean;
};
/// logits (N, classes), labels (N,) of an integer dtype with values in [0, classes). An invalid label makes the loss
/// NaN on every device.
Tensor cross_entropy(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options = {});

}  // namespace weft
