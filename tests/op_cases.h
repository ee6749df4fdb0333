#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/op_reference.h"
#include "weft/ops.h"

/// The table of cases: every op with inputs, a call and a reference in plain double-precision loops. Tests of a device
/// and benchmarks iterate over op_cases(); nothing here depends on a test framework.
namespace weft::cases {

/// What the elements of an input are. All are exact in f32, so that one reference serves both precisions.
enum class Values {
  any,         ///< in [-2, 2]
  positive,    ///< in [0.2, 3]
  unit,        ///< in [-0.9, 0.9]
  nonzero,     ///< magnitude in [0.2, 2]
  distinct,    ///< in [-2, 2], all different by more than a finite difference moves them
  fractional,  ///< at least 0.1 from every multiple of 1/2
  whole,       ///< integers from -4 to 4
  natural,     ///< integers from 0 to `limit` - 1
  special,     ///< NaN, both infinities, both zeros, tiny and huge numbers
};

struct Input {
  Sizes shape;
  Values values = Values::any;
  std::optional<DType> dtype = {};  ///< none: the floating dtype under test
  std::int64_t limit = 2;           ///< of Values::natural
};

struct OpCase {
  std::string op = {};    ///< the function's name in ops.h
  std::string what = {};  ///< what tells this row from the others of the op
  std::vector<Input> inputs = {};
  std::function<Tensor(const std::vector<Tensor>&)> run = {};
  std::function<Plain(const std::vector<Plain>&)> reference = {};
  std::optional<DType> dtype = {};  ///< of the output; none: the floating dtype under test
  int derivatives = 2;              ///< orders that exist and are checked
  bool exact = false;               ///< the result has no rounding
  bool any_layout = true;           ///< checked however the inputs lie in memory
  bool widens = false;              ///< of bf16 inputs the result is f32
  bool takes_bf16 = true;
};

/// "conv2d (2, 3, 5, 5) (4, 3, 3, 3): stride 2".
std::string describe(const OpCase& row);

/// Every row. The families' own tables are joined here.
const std::vector<OpCase>& op_cases();

std::vector<OpCase> unary_cases();
std::vector<OpCase> activation_cases();
std::vector<OpCase> binary_cases();
std::vector<OpCase> view_cases();
std::vector<OpCase> copy_cases();
std::vector<OpCase> indexing_cases();
std::vector<OpCase> reduce_cases();
std::vector<OpCase> composed_cases();
std::vector<OpCase> matmul_cases();
std::vector<OpCase> conv_cases();
std::vector<OpCase> conv_family_cases();
std::vector<OpCase> im2col_cases();
std::vector<OpCase> pool_cases();
std::vector<OpCase> interpolate_cases();
std::vector<OpCase> pool_family_cases();
std::vector<OpCase> norm_cases();
std::vector<OpCase> group_norm_cases();
std::vector<OpCase> loss_cases();

/// The sizes behind the rows of convolution.
struct ConvRow {
  std::string what;
  std::int64_t n, c, h, w, k, r, s;
  Conv2dOptions options = {};
  bool bias = false;
  bool large = false;  ///< forward and gradients against the reference only

  std::int64_t padded_h() const { return h + options.padding.before[0] + options.padding.after[0]; }
  std::int64_t p() const { return (padded_h() - options.dilation[0] * (r - 1) - 1) / options.stride[0] + 1; }
  std::int64_t q() const {
    return (w + options.padding.before[1] + options.padding.after[1] - options.dilation[1] * (s - 1) - 1) /
               options.stride[1] +
           1;
  }
  Sizes x() const { return {n, c, h, w}; }
  Sizes weight() const { return {k, c / options.groups, r, s}; }
  Sizes y() const { return {n, k, p(), q()}; }
};
const std::vector<ConvRow>& conv_rows();

Shape to_shape(const Sizes& sizes);
/// The row's inputs, the same in every call.
std::vector<Plain> make_inputs(const OpCase& row);

/// How an input lies in its memory. Every form but `contiguous` has gaps or guards around it.
enum class Placement {
  contiguous,
  transposed,     ///< axes in reverse order of memory
  channels_last,  ///< rank 3 and more: the second axis is the fastest
  offset,         ///< inside a larger array, rows with gaps between them
  reversed,       ///< all strides negative
  broadcast,      ///< the first axis longer than 1 has stride 0
  mixed,          ///< another one for each input
};
inline constexpr Placement kPlacements[] = {Placement::contiguous, Placement::transposed, Placement::channels_last,
                                            Placement::offset,     Placement::reversed,   Placement::broadcast,
                                            Placement::mixed};
std::string to_string(Placement placement);

/// A tensor inside a larger storage filled with guard values.
class Placed {
 public:
  /// With Placement::broadcast the values are those that `broadcast_values` returns.
  Placed(const Plain& values, DType dtype, Placement placement, const Device& device = Device::cpu());
  const Array& array() const { return array_; }
  /// Whether the values and all that lies around them are as they were.
  bool is_unchanged() const;

 private:
  std::vector<double> snapshot() const;
  Array whole_;
  Array array_;
  std::vector<double> before_;
};

/// What the values become when the first axis longer than 1 repeats its first position.
Plain broadcast_values(const Plain& values);
/// The placement of input i under Placement::mixed; `placement` itself otherwise.
Placement placement_of(Placement placement, std::size_t i);

/// Reads any dtype.
Plain to_plain(const Tensor& tensor);

}  // namespace weft::cases
