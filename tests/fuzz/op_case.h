#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "tests/fuzz/fuzz_input.h"
#include "weft/weft.h"

namespace weft::fuzz {

/// The bytes of an input, read as what functions take.
class OpInput : public Input {
 public:
  using Input::Input;

  /// Whether the numbers of this case include infinities, NaN and the ends of ranges.
  bool special = false;

  /// From `low` on, `count` usual values; rarely a negative one, rarely one near the end of the range of int64.
  std::int64_t option(std::int64_t low, int count);
  int axis(int rank) { return static_cast<int>(option(0, rank < 1 ? 1 : rank)); }
  Axes axes(int rank);
  DType dtype();           ///< mostly f32
  DType floating_dtype();  ///< mostly f32
  std::int64_t size() { return below(64) == 63 ? below(40) : below(64) % 6; }
  Shape shape(int most_axes = 5);
  double number();
  /// A tensor of the shape over memory in any order, with gaps, reversed or repeated axes; a leaf.
  Tensor tensor(const Shape& shape, DType dtype);
  Tensor tensor(const Shape& shape) { return tensor(shape, dtype()); }
  /// A shape that is almost always what another broadcasts with.
  Shape broadcast(const Shape& other);
  /// One axis is rarely as long as nobody has memory for; of stride 0.
  Shape huge(Shape shape);
};

/// How results agree: bits; numbers, where 0 is -0 and one NaN another; within a tolerance; in shape and dtype.
enum class Match { bits, exact, close, none };

/// A call that an input describes. It is made several times with the same inputs.
struct Case {
  std::vector<Tensor> inputs;  ///< some may be undefined
  std::function<std::vector<Tensor>(const std::vector<Tensor>&)> call;
  Match match = Match::exact;  ///< of a view's results with those of its dense copy
  double work = 0;             ///< steps, where they are more than the elements of the inputs and results
  unsigned changes = 0;        ///< bit i: the call writes to input i
  double tolerance = 1;        ///< of Match::close, in units of the dtype's
  bool has_dense = true;       ///< a dense copy of the inputs gives the same results
};

using Draw = Case (*)(OpInput& in);

/// The families of functions; what an input's first byte means is its place in these lists, so they only grow.
std::span<const Draw> basic_families();     ///< numbers 0 to 31
std::span<const Draw> window_families();    ///< 32 to 63: convolution, pooling, interpolation
std::span<const Draw> layer_families();     ///< 64 to 95: products, norms, losses
std::span<const Draw> indexing_families();  ///< 96 to 127: indices, sorting, running sums

/// Whether both have one shape and dtype and their elements agree.
bool agree(const Array& a, const Array& b, Match match, double tolerance);

}  // namespace weft::fuzz
