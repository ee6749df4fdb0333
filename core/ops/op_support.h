#pragma once

#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/autograd/autograd.h"
#include "core/device/backend.h"
#include "core/value/layout.h"
#include "weft/error.h"
#include "weft/ops.h"

/// What the op functions share: checks, and the backend's families on arrays with their output allocated.
namespace weft {

/// What a backward function returns: one gradient for each input.
using Values = std::vector<Tensor>;

/// Every axis of x (N, C, ...) except 1.
Axes all_but_channels(int rank);

// Checks; each throws naming op and the offending values.
/// All defined and on the device of the first, which is returned.
const Device& common_device(std::string_view op, std::initializer_list<Tensor> inputs);
/// f32 or f64, and bf16 where its device computes with it: what the numeric kernels of neural networks take.
void check_float(std::string_view op, const Tensor& x);
void check_rank(std::string_view op, std::string_view what, const Tensor& x, int rank);
/// Not a dtype that the device only stores: f16, and bf16 on the CPU.
void check_computes(std::string_view op, DType dtype, const Device& device);
/// For functions without integer values: integers and bool become f32. Throws as check_computes.
Tensor floating(std::string_view op, const Tensor& x);
/// The dtype of the parameters and statistics used with an input of dtype `input`: the same, except f32 for bf16.
DType parameter_dtype(DType input);

/// The dtype in which products read x: bf16 where x is f32 under Precision::bf16, otherwise x's own.
DType autocast_dtype(const Tensor& x);
/// x converted to that; an undefined tensor is itself.
Tensor autocast(const Tensor& x);

/// PyTorch's result dtype: a 0-dimensional operand counts only when its kind (bool, integer, floating) is higher.
DType result_dtype(const Tensor& a, const Tensor& b);
/// The dtype of a number in an expression with a tensor of dtype x.
DType scalar_dtype(DType x, const Scalar& value);
/// The number as a 0-dimensional operand of an expression with x, of that dtype and on x's device. Throws ValueError,
/// naming op, when an integer dtype cannot hold it.
Tensor scalar_operand(std::string_view op, const Tensor& x, Scalar value);
/// The same for numbers that fit.
inline Tensor scalar_like(const Tensor& x, Scalar value) { return scalar_operand("scalar_like", x, value); }

/// The position in row-major order of element number `i` of a shape.
Dims position_of(std::int64_t i, const Shape& shape);
/// Whether each is in [0, count), told without a branch.
bool all_below(std::span<const std::int64_t> indices, std::int64_t count);

// Array-level kernels, output allocated here. Operands of binary broadcast and have one dtype already.
Array unary_array(UnaryOp op, const Array& x);
Array binary_array(std::string_view name, BinaryOp op, const Array& a, const Array& b);
/// Reduces the masked axes, which keep size 1.
Array reduce_array(ReduceOp op, const Array& x, const std::array<bool, kMaxRank>& mask);
/// The array as a channels-last dense one (rank 3 to 5; row-major for rank 2): itself, or a copy.
Array channels_last(const Array& x);

/// The linear pair that all views are built of: `view` sees x through map(layout of x); `embed` is its adjoint, a dense
/// array of layout `base` (which must be dense), filled with `fill`, in which map(base) has been overwritten by x
/// (`overlap`: added to).
using LayoutMap = std::function<Layout(const Layout&)>;
Tensor view(std::string_view name, const Tensor& x, const LayoutMap& map, bool overlap = false);
Tensor embed(std::string_view name, const Tensor& x, const Layout& base, const LayoutMap& map, Scalar fill = 0,
             bool overlap = false);

/// Throws ValueError, naming op, on amounts that the mode (not constant) cannot put around an axis of x.
void check_edges(std::string_view op, const Shape& x, int axis, std::int64_t before, std::int64_t after, PadMode mode);
/// Pads one axis by checked amounts.
Tensor pad_edges(const Tensor& x, int axis, std::int64_t before, std::int64_t after, PadMode mode);

/// gather of indices that are i64 and inside of the axis; x has axes.
Tensor take_along(std::string_view name, const Tensor& x, int axis, const Tensor& indices);

/// g where y > 0 and 0 elsewhere; y takes no gradient.
Tensor relu_grad(const Tensor& g, const Tensor& y);
/// u/(u² + v²), also where the squares leave the range of the dtype, which u and v share; 0 where one is infinite.
Tensor atan2_slope(const Tensor& u, const Tensor& v);

}  // namespace weft
