#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "weft/compare.h"
#include "weft/conv.h"
#include "weft/indexing.h"
#include "weft/interpolate_options.h"
#include "weft/pool.h"
#include "weft/tensor.h"

/// The differentiable functions; those of convolution, of pooling and of indices are in weft/conv.h, weft/pool.h and
/// weft/indexing.h, comparisons in weft/compare.h. Every one
/// accepts any strides, returns a new tensor (or a view, where it says so; or its argument or a view of it where there
/// is nothing to compute: padding that only crops, reductions of no axes), and throws ShapeError, DTypeError,
/// DeviceError, ValueError or IndexError naming itself, the rule and the values. Binary ones broadcast and promote as
/// NumPy and PyTorch do. Shapes are NCHW as in PyTorch; convolution, pooling and batch_norm write channels-last memory.
///
/// Shapes have the letters of NCHW and, for filters and outputs, those of CUTLASS:
///
///     N        images of a batch
///     C, K     channels of the input, and of a convolution's output
///     D, H, W  input sizes along depth, height and width; L where there is one spatial axis
///     T, R, S  sizes of a filter or window along D, H, W; R alone where there is one spatial axis
///     O, P, Q  output sizes along D, H, W; P alone where there is one spatial axis
namespace weft {

// Creation. Each says which dtype it gives where the options name none. With requires_grad, a dtype that is not
// floating throws DTypeError.
Tensor empty(const Shape& shape, const TensorOptions& options = {});  ///< f32; uninitialised
Tensor zeros(const Shape& shape, const TensorOptions& options = {});  ///< f32
Tensor ones(const Shape& shape, const TensorOptions& options = {});   ///< f32
inline Tensor empty(const Shape& shape, DType dtype) { return empty(shape, {.dtype = dtype}); }
inline Tensor zeros(const Shape& shape, DType dtype) { return zeros(shape, {.dtype = dtype}); }
inline Tensor ones(const Shape& shape, DType dtype) { return ones(shape, {.dtype = dtype}); }
/// i64 of an integer, bool of a bool, f32 of any other number. Throws ValueError when an integer dtype cannot hold the
/// value; fractions are cut off.
Tensor full(const Shape& shape, Scalar value, const TensorOptions& options = {});
inline Tensor full(const Shape& shape, Scalar value, DType dtype) { return full(shape, value, {.dtype = dtype}); }
Tensor zeros_like(const Tensor& x);  ///< x's shape, dtype, device and order of axes
Tensor ones_like(const Tensor& x);   ///< the same
/// The value in x's shape, dtype, device and order of axes. Throws ValueError as full.
Tensor full_like(const Tensor& x, Scalar value);
/// start, start + step, ... below stop (above, for a negative step). f32 where one of the three is a floating number,
/// else i64. Throws ValueError when an integer dtype cannot hold the numbers; fractions are cut off.
Tensor arange(Scalar start, Scalar stop, Scalar step = 1, const TensorOptions& options = {});
/// `steps` numbers from start to stop, both among them, at equal distances that are computed in f64; f32. One step is
/// start. Throws ValueError when steps is negative or an integer dtype cannot hold the numbers; fractions are cut off.
Tensor linspace(Scalar start, Scalar stop, std::int64_t steps, const TensorOptions& options = {});
/// The (rows, columns) identity, f32; square where columns is left out.
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
/// IndexError outside of it. Memory that x does not show takes no gradient; the elements of x that share memory each
/// take an equal part of it, as in PyTorch.
Tensor as_strided(const Tensor& x, const Shape& shape, const Strides& strides, std::int64_t offset = 0);

// Copies and joins.
Tensor contiguous(const Tensor& x);
Tensor clone(const Tensor& x);
Tensor to(const Tensor& x, const Device& device);
Tensor to(const Tensor& x, DType dtype);
Tensor concatenate(const std::vector<Tensor>& xs, int axis = 0);
Tensor stack(const std::vector<Tensor>& xs, int axis = 0);
/// `padding` holds {before, after} for each axis of x, first axis first; negative amounts crop (constant mode only), of
/// one axis no more than its size. An axis reflects less than its size, and is circular up to it.
Tensor pad(const Tensor& x, const std::vector<std::pair<std::int64_t, std::int64_t>>& padding,
           PadMode mode = PadMode::constant, Scalar value = 0);
/// Inserts `amount` zeros between neighbours: size n becomes n + (n - 1)·amount. undilate keeps every (amount + 1)-th
/// element.
Tensor dilate(const Tensor& x, const Axes& axes, std::int64_t amount = 1);
Tensor undilate(const Tensor& x, const Axes& axes, std::int64_t amount = 1);
/// Views of the neighbouring parts of an axis: of `size` elements, the last one of what is left; or of the `sizes`,
/// which add up to the axis. Throws ValueError on a size that does not fit.
std::vector<Tensor> split(const Tensor& x, std::int64_t size, int axis = 0);
std::vector<Tensor> split(const Tensor& x, const std::vector<std::int64_t>& sizes, int axis = 0);
/// split into at most `chunks` parts of one size, except the last one, which may be smaller.
std::vector<Tensor> chunk(const Tensor& x, std::int64_t chunks, int axis = 0);
/// A copy that repeats each axis; missing repeats, or axes of x, at the front count as 1.
Tensor tile(const Tensor& x, const Dims& repeats);
/// x (..., rows, columns) with zeros above (tril) or below (triu) the given diagonal: 0 is the main one, 1 the one
/// above.
Tensor tril(const Tensor& x, std::int64_t diagonal = 0);
Tensor triu(const Tensor& x, std::int64_t diagonal = 0);

// Elementwise, one operand. Integers are converted to f32 first by the functions that have no integer values. exp to
// erfc are within 4 units in the last place on the CPU (docs/accuracy.md). Activations and their gradients are their
// limits at infinity.
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
Tensor erfc(const Tensor& x);  ///< 1 - erf(x) without cancellation
Tensor sigmoid(const Tensor& x);
Tensor relu(const Tensor& x);  ///< gradient 0 at 0; integers keep their dtype
/// Gaussian error linear unit, x·Φ(x); `tanh_approximation` is 0.5x(1 + tanh(√(2/π)(x + 0.044715x³))) (Hendrycks and
/// Gimpel 2016).
Tensor gelu(const Tensor& x, bool tanh_approximation = false);
Tensor leaky_relu(const Tensor& x, double slope = 0.01);  ///< x above 0, slope·x elsewhere; gradient slope at 0
/// x above 0, α(eˣ - 1) elsewhere (Clevert et al. 2015); gradient α at 0.
Tensor elu(const Tensor& x, double alpha = 1);
/// x above 0, α(e^(x/α) - 1) elsewhere (Barron 2017); gradient 1 at 0. Throws ValueError when alpha is 0.
Tensor celu(const Tensor& x, double alpha = 1);
Tensor silu(const Tensor& x);  ///< x·sigmoid(x)
/// log(1 + e^(βx))/β without overflow, and x itself where βx exceeds the threshold. Throws ValueError when beta is 0.
Tensor softplus(const Tensor& x, double beta = 1, double threshold = 20);
/// clamp with gradient 0 on the bounds. Throws ValueError when low exceeds high.
Tensor hardtanh(const Tensor& x, double low = -1, double high = 1);
Tensor relu6(const Tensor& x);        ///< hardtanh between 0 and 6
Tensor hardsigmoid(const Tensor& x);  ///< relu6(x + 3)/6; gradient 0 at ±3
Tensor hardswish(const Tensor& x);    ///< x·hardsigmoid(x); gradient 0 at -3, 1 at 3
Tensor floor(const Tensor& x);        ///< integers are themselves, also of ceil and round
Tensor ceil(const Tensor& x);
Tensor round(const Tensor& x);  ///< halves to even
/// Gradient 1 on the bounds. Throws ValueError when low exceeds high, and when no number of an integer x's dtype is
/// within a bound; a bound below or above all of them has no effect.
Tensor clamp(const Tensor& x, std::optional<Scalar> low, std::optional<Scalar> high);
Tensor is_nan(const Tensor& x);
Tensor is_finite(const Tensor& x);

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
Tensor atan2(const Tensor& y, const Tensor& x);  ///< gradient 0 where an operand is infinite, NaN where both are 0
/// weight·x, and 0 where the weight is 0 and x infinite: what does not count adds nothing. Integers give f32.
Tensor weighted(const Tensor& weight, const Tensor& x);
/// a where condition (bool) holds, b elsewhere; all three broadcast.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);

// The same with a number, which has the other operand's dtype unless the number's kind is higher: 2.5 beside an integer
// tensor is f32. Throws ValueError when an integer dtype cannot hold the number.
Tensor add(const Tensor& a, Scalar b);
Tensor subtract(const Tensor& a, Scalar b);
Tensor subtract(Scalar a, const Tensor& b);
Tensor multiply(const Tensor& a, Scalar b);
Tensor divide(const Tensor& a, Scalar b);
Tensor divide(Scalar a, const Tensor& b);
Tensor floor_divide(const Tensor& a, Scalar b);
Tensor remainder(const Tensor& a, Scalar b);
/// Exponents 2, 3, 0.5 and -1 of floating dtypes are computed without pow. Throws ValueError on integers or bools to a
/// negative integer power.
Tensor power(const Tensor& a, Scalar b);
Tensor maximum(const Tensor& a, Scalar b);
Tensor minimum(const Tensor& a, Scalar b);
Tensor where(const Tensor& condition, const Tensor& a, Scalar b);
Tensor where(const Tensor& condition, Scalar a, const Tensor& b);

inline Tensor operator-(const Tensor& x) { return negative(x); }
inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return subtract(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return multiply(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return divide(a, b); }
inline Tensor operator+(const Tensor& a, Scalar b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, Scalar b) { return subtract(a, b); }
inline Tensor operator*(const Tensor& a, Scalar b) { return multiply(a, b); }
inline Tensor operator/(const Tensor& a, Scalar b) { return divide(a, b); }
inline Tensor operator+(Scalar a, const Tensor& b) { return add(b, a); }
inline Tensor operator-(Scalar a, const Tensor& b) { return subtract(a, b); }
inline Tensor operator*(Scalar a, const Tensor& b) { return multiply(b, a); }
inline Tensor operator/(Scalar a, const Tensor& b) { return divide(a, b); }

// Reductions. `keep_axes` leaves reduced axes with size 1. Sums of bool, u8 and i32 are i64; mean, var and logsumexp of
// integers are f32.
Tensor sum(const Tensor& x, const Axes& axes = Axes::all(), bool keep_axes = false);
Tensor mean(const Tensor& x, const Axes& axes = Axes::all(), bool keep_axes = false);
/// Of nothing: an error. NaN wins. Equal largest elements share the gradient.
Tensor max(const Tensor& x, const Axes& axes = Axes::all(), bool keep_axes = false);
Tensor min(const Tensor& x, const Axes& axes = Axes::all(), bool keep_axes = false);
/// Variance with division by count - correction (1: unbiased, as in PyTorch).
Tensor var(const Tensor& x, const Axes& axes = Axes::all(), std::int64_t correction = 1, bool keep_axes = false);
/// The square root of var, with gradient 0 where it is 0. It has PyTorch's name: namespace std stays what std:: means,
/// because a function is not looked for before `::`.
Tensor std(const Tensor& x, const Axes& axes = Axes::all(), std::int64_t correction = 1, bool keep_axes = false);
/// (Σ|x|ᵖ)^(1/p): 2 is Euclid's, ±infinity the largest and the smallest magnitude, 0 the number of elements that are
/// not 0. Gradient 0 at elements that are 0 and where the norm is 0. Throws ShapeError for p < 0 and infinity of
/// nothing.
Tensor norm(const Tensor& x, double p = 2, const Axes& axes = Axes::all(), bool keep_axes = false);
/// Products by pairs in a fixed tree; of nothing: 1. Of bool, u8 and i32 they are i64.
Tensor prod(const Tensor& x, const Axes& axes = Axes::all(), bool keep_axes = false);
/// Whether any element, or every one, is not 0 (bool). NaN is not 0; any of nothing is false, all of nothing true.
Tensor any(const Tensor& x, const Axes& axes = Axes::all(), bool keep_axes = false);
Tensor all(const Tensor& x, const Axes& axes = Axes::all(), bool keep_axes = false);
/// A row of nothing but -infinity gives -infinity, with gradient 0.
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

/// Resamples the spatial axes of x (N, C, L), (N, C, H, W) or (N, C, D, H, W), upwards or downwards, as PyTorch's
/// interpolate; with a scale factor, the coordinates follow the factor and not the sizes. Coordinates are in double
/// precision for every dtype (PyTorch's are in x's), and linear copies an axis that keeps its size. Throws ValueError
/// on options out of range, ShapeError on a map that is empty before or after, or too large.
Tensor interpolate(const Tensor& x, const InterpolateOptions& options);

// Normalisation, dropout and losses.
struct BatchNormOptions {
  double eps = 1e-5;
  double momentum = 0.1;         ///< weight of the new value in the running statistics
  bool unbiased_running = true;  ///< PyTorch's running variance; false keeps the biased one
};
/// Training or evaluation, and the work that batch_norm does in the same pass over x. The layer sets it for each call.
struct BatchNormMode {
  bool training = true;
  bool relu = false;     ///< applies ReLU to the normalised values, before the residual is added
  Tensor residual = {};  ///< of x's shape and dtype, added to the result
  Tensor batches = {};   ///< a scalar i64 on x's device, advanced by 1 in training
};
/// x (N, C) or (N, C, ...), weight and bias (C,), running_mean and running_var (C,), updated in place when training (or
/// undefined). Throws ValueError when training with one value per channel.
Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
                  const Tensor& running_var, const BatchNormOptions& options = {}, const BatchNormMode& mode = {});
/// (x - mean)/√(variance + eps) over each group of channels of each image, times weight plus bias, each (C,) or
/// undefined (Wu and He 2018). x (N, C, ...), the groups of C/groups neighbouring channels. Parameters of bf16 input
/// are f32. Throws ValueError when groups do not divide C, and when all of x is one value per group.
Tensor group_norm(const Tensor& x, std::int64_t groups, const Tensor& weight = {}, const Tensor& bias = {},
                  double eps = 1e-5);
/// The same over the last axes, which have to be of `normalized_shape`, as have weight and bias (Ba et al. 2016).
Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight = {}, const Tensor& bias = {},
                  double eps = 1e-5);
/// The same over each channel of each image, without running statistics (Ulyanov et al. 2016). x (N, C, L, ...). Throws
/// ValueError when a channel is one value.
Tensor instance_norm(const Tensor& x, const Tensor& weight = {}, const Tensor& bias = {}, double eps = 1e-5);
Tensor softmax(const Tensor& x, int axis = -1);
Tensor log_softmax(const Tensor& x, int axis = -1);
/// Zeroes each element with probability p and scales the rest by 1/(1 - p); the identity when not training.
Tensor dropout(const Tensor& x, double p = 0.5, bool training = true);
enum class Reduction { none, mean, sum };
struct CrossEntropyOptions {
  double label_smoothing = 0;  ///< in [0, 1]: the share of the target spread evenly over all classes
  Reduction reduction = Reduction::mean;
  Tensor weight = {};                               ///< of the classes, (classes,); undefined: all 1
  std::optional<std::int64_t> ignore_index = -100;  ///< the label of what does not count; none: all count
};
/// logits (N, classes) or (N, classes, ...), target either labels (N, ...) of an integer dtype with values in
/// [0, classes) or class probabilities of the logits' shape and a floating dtype. The loss at a position is
/// -Σ weight·target·log softmax(logits), and the mean divides by the sum of the weights of the labels that count, or by
/// the number of positions for probabilities. Losses of bf16 logits are f32. A label that is no class and not ignored
/// throws IndexError on the CPU and gives NaN on a GPU. An ignore_index >= 0 with probabilities throws ValueError.
Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options = {});
struct NllLossOptions {
  Reduction reduction = Reduction::mean;
  Tensor weight = {};                               ///< of the classes, (classes,); undefined: all 1
  std::optional<std::int64_t> ignore_index = -100;  ///< the label of what does not count; none: all count
};
/// -weight·log_probabilities at the labels: cross_entropy behind log_softmax, with the same shapes, mean and errors.
Tensor nll_loss(const Tensor& log_probabilities, const Tensor& labels, const NllLossOptions& options = {});

}  // namespace weft
