#include <algorithm>
#include <bit>
#include <type_traits>

#include "core/device/integer.h"
#include "cuda/array/element.h"
#include "cuda/array/walk.h"
#include "cuda/runtime/backend.h"

// Reductions along any axes of any view. They replace
//
//   for each place o of the kept axes:                 Walk<2>: offsets in x and out
//     result = identity
//     for each place i of the reduced axes:            Walk<1>: offsets in x
//       result = combine(result, x(o, i))
//     out(o) = result
//
//               reduced axes
//            ┌─────────┬─────────┐   A block makes `outputs` results with `lanes` threads each, 256 together, over one
//   kept     │ block 0 │ block 1 │   split of the reduced places. Each lane takes every lanes-th place in order, with
//   axes     ├─────────┼─────────┤   some loads ahead, in registers. The lanes of a result are combined as a tree in
//            │ block 2 │ block 3 │   shared memory. With several splits, a second launch combines those of each
//            └─────────┴─────────┘   result in order.
//              split 0   split 1
//
// Neighbouring threads share a result where the reduced axes are the inner ones in memory, and have neighbouring
// results otherwise, so that both read whole transactions. plan_of depends on the shape alone, so that every GPU adds
// in the same order.
namespace weft::cuda {

namespace {

constexpr int kThreads = 256;  // of a block, which a tree of at most eight levels combines

// An operator is a value that is passed to the kernel. Sum is the type of partial results; load() reads an Element,
// add() takes those at places first, first + step, ... into a partial result, and store() writes a result. Partial
// results are stored and loaded by an operator made for that.

/// Sums of floating numbers: four of f32 or bf16 in f32, then in double; partial sums are f64 elements.
template <class In>
struct FloatSum {
  using Sum = double;
  using Element = In;
  DType out;

  WEFT_DEVICE static Sum identity() { return 0; }
  WEFT_DEVICE static Element load(const void* x, std::int64_t at) { return static_cast<const In*>(x)[at]; }
  template <int kCount>
  WEFT_DEVICE void add(Sum& sum, const Element (&x)[kCount], std::int64_t, std::int64_t) const {
    if constexpr (kCount == 4) {
      sum += static_cast<double>((widen(x[0]) + widen(x[1])) + (widen(x[2]) + widen(x[3])));
    } else {
      WEFT_UNROLL
      for (int j = 0; j < kCount; ++j) sum += static_cast<double>(widen(x[j]));
    }
  }
  WEFT_DEVICE static Sum combine(Sum a, Sum b) { return a + b; }
  WEFT_DEVICE void store(void* to, std::int64_t at, Sum sum) const {
    if (out == DType::f32) static_cast<float*>(to)[at] = static_cast<float>(sum);
    if (out == DType::bf16) static_cast<Bfloat*>(to)[at] = narrow<Bfloat>(static_cast<float>(sum));
    if (out == DType::f64) static_cast<double*>(to)[at] = sum;
  }
  FloatSum partial() const { return {DType::f64}; }
  FloatSum<double> last() const { return {out}; }
};

constexpr std::int64_t kNan = INT64_MAX;  // the key of every NaN

/// The bits of an element of any dtype.
WEFT_DEVICE std::uint64_t load_bits(int bytes, const void* x, std::int64_t at) {
  switch (bytes) {
    case 1:
      return static_cast<const std::uint8_t*>(x)[at];
    case 2:
      return static_cast<const std::uint16_t*>(x)[at];
    case 4:
      return static_cast<const std::uint32_t*>(x)[at];
    default:
      return static_cast<const std::uint64_t*>(x)[at];
  }
}

WEFT_DEVICE void store_bits(int bytes, void* to, std::int64_t at, std::uint64_t bits) {
  switch (bytes) {
    case 1:
      static_cast<std::uint8_t*>(to)[at] = static_cast<std::uint8_t>(bits);
      return;
    case 2:
      static_cast<std::uint16_t*>(to)[at] = static_cast<std::uint16_t>(bits);
      return;
    case 4:
      static_cast<std::uint32_t*>(to)[at] = static_cast<std::uint32_t>(bits);
      return;
    default:
      static_cast<std::uint64_t*>(to)[at] = bits;
  }
}

/// Elements of a dtype as integers in the same order. A negative number's bits below its sign are inverted:
/// -0 is -1, just below +0. Masks stand for a switch, which would be compiled for each element that a thread takes.
struct Keys {
  int bytes = 0;
  int shift = 0;                             // that brings the sign of a signed dtype to the top
  std::int64_t magnitude = 0, infinity = 0;  // of floating dtypes: all bits but the sign, and those of infinity

  Keys() = default;
  explicit Keys(DType dtype) : bytes(static_cast<int>(size_of(dtype))) {
    if (dtype != DType::u8 && dtype != DType::boolean) shift = 64 - 8 * bytes;
    if (!is_floating_point(dtype)) return;
    const int fraction = dtype == DType::f64 ? 52 : dtype == DType::f32 ? 23 : 7;
    magnitude = INT64_MAX >> shift;
    infinity = magnitude >> fraction << fraction;
  }

  WEFT_DEVICE std::int64_t of(std::uint64_t bits) const {
    const std::int64_t value = static_cast<std::int64_t>(bits << shift) >> shift;
    return (value & magnitude) > infinity ? kNan : value ^ (value >> 63 & magnitude);
  }
  WEFT_DEVICE std::uint64_t bits(std::int64_t key) const {
    const std::int64_t quiet_nan = infinity | (magnitude - infinity + 1) >> 1;
    return static_cast<std::uint64_t>(key == kNan && is_float() ? quiet_nan : key ^ (key >> 63 & magnitude));
  }
  WEFT_DEVICE bool is_float() const { return magnitude != 0; }
};

/// Sums of integers, which wrap, and extremes of any dtype; NaN wins. For min the keys are inverted, except NaN's.
struct Ordered {
  using Sum = std::int64_t;
  using Element = std::uint64_t;
  ReduceOp op;
  Keys keys;
  bool reads_keys = false, writes_keys = false;

  WEFT_DEVICE std::int64_t turned(std::int64_t key) const {
    return op == ReduceOp::min && !(key == kNan && keys.is_float()) ? ~key : key;
  }
  WEFT_DEVICE Sum identity() const { return op == ReduceOp::sum ? 0 : INT64_MIN; }
  WEFT_DEVICE Element load(const void* x, std::int64_t at) const {
    return load_bits(reads_keys ? 8 : keys.bytes, x, at);
  }
  template <int kCount>
  WEFT_DEVICE void add(Sum& sum, const Element (&x)[kCount], std::int64_t, std::int64_t) const {
    WEFT_UNROLL
    for (int j = 0; j < kCount; ++j)
      sum = combine(sum, reads_keys ? static_cast<std::int64_t>(x[j]) : turned(keys.of(x[j])));
  }
  WEFT_DEVICE Sum combine(Sum a, Sum b) const {
    if (op == ReduceOp::sum) return static_cast<Sum>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
    return a < b ? b : a;
  }
  WEFT_DEVICE void store(void* to, std::int64_t at, Sum sum) const {
    if (writes_keys) return store_bits(8, to, at, static_cast<std::uint64_t>(sum));
    store_bits(keys.bytes, to, at, keys.bits(turned(sum)));
  }
  Ordered partial() const { return {op, keys, false, true}; }
  Ordered last() const { return {op, keys, true, false}; }
};

/// The place of an extreme: the first of equals wins; NaN wins.
struct ArgExtreme {
  struct Sum {
    std::int64_t key, place;  // place: -1 where there is none yet
  };
  using Element = Sum;  // key: the bits, or the key of a partial result
  bool smallest;
  Keys keys;
  bool reads_sums = false, writes_sums = false;

  WEFT_DEVICE static Sum identity() { return {INT64_MIN, -1}; }
  WEFT_DEVICE Element load(const void* x, std::int64_t at) const {
    if (reads_sums) return static_cast<const Sum*>(x)[at];
    return {static_cast<std::int64_t>(load_bits(keys.bytes, x, at)), 0};
  }
  template <int kCount>
  WEFT_DEVICE void add(Sum& sum, const Element (&x)[kCount], std::int64_t first, std::int64_t step) const {
    WEFT_UNROLL
    for (int j = 0; j < kCount; ++j) {
      Sum next = x[j];
      if (!reads_sums) {
        std::int64_t key = keys.of(static_cast<std::uint64_t>(next.key));
        if (keys.is_float() && key == -1) key = 0;  // zeros are equal
        const bool nan = keys.is_float() && key == kNan;
        next = {smallest && !nan ? ~key : key, first + j * step};
      }
      sum = combine(sum, next);
    }
  }
  WEFT_DEVICE static Sum combine(Sum a, Sum b) {
    const bool later = b.key < a.key || (b.key == a.key && b.place > a.place);
    return b.place < 0 || (a.place >= 0 && later) ? a : b;
  }
  WEFT_DEVICE void store(void* to, std::int64_t at, Sum sum) const {
    if (writes_sums) {
      static_cast<Sum*>(to)[at] = sum;
    } else {
      static_cast<std::int64_t*>(to)[at] = sum.place;
    }
  }
  ArgExtreme partial() const { return {smallest, keys, false, true}; }
  ArgExtreme last() const { return {smallest, keys, true, false}; }
};

/// How a reduction is cut. A block makes `outputs` results with `lanes` threads each (256 together; powers of two) and
/// one of `splits` equal parts of the elements, `split` long.
struct Plan {
  int lanes = 1, outputs = kThreads;
  bool lanes_first = true;  ///< neighbouring threads share a result, else they make neighbouring results
  std::int64_t splits = 1, split = 0;
};

/// Result number `o` of the kept axes (operands: x, out), over the elements of the reduced ones (operand: x). Each lane
/// takes every lanes-th element in order, then the lanes combine as a tree. With several splits, out is dense:
/// (splits, results).
template <class Op>
WEFT_KERNEL_OF_BLOCKS(kThreads, 3)
reduce_kernel(Op op, Walk<2> kept, Walk<1> reduced, Plan plan, const void* x, void* out) {
  using Sum = typename Op::Sum;
  using Element = typename Op::Element;
  WEFT_SHARED(Sum, sums, kThreads);
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = plan.lanes_first ? thread % plan.lanes : thread / plan.outputs;
  const int place = plan.lanes_first ? thread / plan.lanes : thread % plan.outputs;
  const std::int64_t split = blockIdx.x % plan.splits;
  const std::int64_t o = blockIdx.x / plan.splits * plan.outputs + place;
  const bool active = o < kept.size;

  Sum sum = op.identity();
  typename Walk<2>::Offsets base{};
  if (active) {
    base = kept(o);
    const std::int64_t begin = split * plan.split;
    const std::int64_t end = begin + plan.split < reduced.size ? begin + plan.split : reduced.size;
    constexpr int kAhead = sizeof(Element) > 8 ? 2 : 4;  // loads before the first use
    std::int64_t i = begin + lane;
    WEFT_UNROLL_BY(1)
    for (; i + (kAhead - 1) * plan.lanes < end; i += kAhead * plan.lanes) {
      Element values[kAhead];
      WEFT_UNROLL
      for (int j = 0; j < kAhead; ++j) values[j] = op.load(x, base.of[0] + reduced(i + j * plan.lanes).of[0]);
      op.add(sum, values, i, plan.lanes);
    }
    WEFT_UNROLL_BY(1)
    for (; i < end; i += plan.lanes) {
      const Element value[1] = {op.load(x, base.of[0] + reduced(i).of[0])};
      op.add(sum, value, i, 0);
    }
  }
  Sum* const own = sums + lane * plan.outputs + place;
  *own = sum;
  WEFT_BARRIER();
  WEFT_UNROLL_BY(1)
  for (int half = plan.lanes / 2; half > 0; half /= 2) {
    if (lane < half) *own = op.combine(*own, own[half * plan.outputs]);
    WEFT_BARRIER();
  }
  if (active && lane == 0) op.store(out, plan.splits > 1 ? split * kept.size + o : base.of[1], *own);
}

/// Cuts a reduction by its shape alone, so that every device adds in the same order.
Plan plan_of(const Walk<2>& kept, const Walk<1>& reduced) {
  constexpr std::int64_t kPerLane = 32;   // places of a lane in a split, at least, for one partial result
  constexpr std::int64_t kBlocks = 1024;  // that splits make, at most: they fill a GPU
  const auto power = [](std::int64_t n, std::int64_t most) {
    return static_cast<int>(std::bit_ceil(static_cast<std::uint64_t>(std::clamp<std::int64_t>(n, 1, most))));
  };
  Plan plan;
  plan.lanes_first = kept.size < 8 || kept.stride[0][0] == 0 || reduced.stride[0][0] < kept.stride[0][0];
  if (plan.lanes_first) {
    plan.lanes = power(ceil_div(reduced.size, 4), kThreads);  // whose loads are under way together
  } else {                                                    // a warp has 32 neighbouring results
    plan.lanes = std::min(kThreads / power(kept.size, 32), power(reduced.size, kThreads));
  }
  plan.outputs = kThreads / plan.lanes;
  const std::int64_t blocks = blocks_for(kept.size, plan.outputs);
  const std::int64_t most = ceil_div(reduced.size, plan.lanes * kPerLane);
  plan.splits = std::clamp<std::int64_t>(kBlocks / blocks, 1, std::max<std::int64_t>(most, 1));
  plan.split = ceil_div(reduced.size, plan.splits);
  return plan;
}

template <class Op>
void reduce_by(Context& context, const Op& op, const Walk<2>& kept, const Walk<1>& reduced, const void* x, void* out) {
  using Sum = typename Op::Sum;
  const Plan plan = plan_of(kept, reduced);
  const std::int64_t blocks = blocks_for(kept.size, plan.outputs) * plan.splits;
  const LaunchShape shape{"reduce", blocks, kThreads, context.stream};
  if (plan.splits == 1) return launch(shape, reduce_kernel<Op>, op, kept, reduced, plan, x, out);

  const Scratch scratch(context, static_cast<std::size_t>(plan.splits * kept.size) * sizeof(Sum));
  launch(shape, reduce_kernel<Op>, op.partial(), kept, reduced, plan, x, scratch.as<Sum>());
  // The splits of each result, (splits, results) -> results with out's strides.
  Walk<2> rows = kept;
  std::int64_t step = 1;
  for (int k = 0; k < rows.rank; ++k) {
    rows.stride[k][0] = step;
    step *= rows.sizes[k];
  }
  Walk<1> splits;
  splits.size = plan.splits;
  splits.rank = 1;
  splits.sizes[0] = plan.splits;
  splits.stride[0][0] = kept.size;
  Plan last;
  last.lanes_first = false;
  last.split = plan.splits;
  const auto last_op = op.last();
  launch({"reduce", blocks_for(kept.size, kThreads), kThreads, context.stream},
         reduce_kernel<std::remove_const_t<decltype(last_op)>>, last_op, rows, splits, last, scratch.as<Sum>(), out);
}

Keys keys_of(DType dtype) {
  dispatch<Takes::ordered>("reduce", dtype, [](auto) {});
  return Keys(dtype);
}

/// The axes of x that out keeps, or those that it does not.
struct AxisLists {
  Shape shape;
  Strides x, out;
};

}  // namespace

void CudaBackend::reduce(ReduceOp op, const ConstView& x, const View& out) {
  if (out.size() == 0) return;
  if (x.size() == 0) return fill(out, 0);
  AxisLists kept, reduced;
  for (int a = 0; a < x.rank(); ++a) {
    if (x.shape[a] == 1) continue;
    AxisLists& list = out.shape[a] == 1 ? reduced : kept;
    list.shape.push_back(x.shape[a]);
    list.x.push_back(x.strides[a]);
    list.out.push_back(out.strides[a]);
  }
  if (reduced.shape.empty()) return copy(x, out);
  const LoopNest outer(
      kept.shape, {ConstView{x.data, kept.shape, kept.x, x.dtype}, View{out.data, kept.shape, kept.out, out.dtype}});
  const LoopNest inner(reduced.shape, {ConstView{outer.origin(0), reduced.shape, reduced.x, x.dtype}});
  const auto go = [&](auto functor) {
    reduce_by(context_, functor, Walk<2>(outer), Walk<1>(inner), inner.origin(0), outer.origin(1));
  };
  if (op == ReduceOp::sum) {
    if (x.dtype == DType::f32) return go(FloatSum<float>{out.dtype});
    if (x.dtype == DType::bf16) return go(FloatSum<Bfloat>{out.dtype});
    if (x.dtype == DType::f64) return go(FloatSum<double>{out.dtype});
    if (x.dtype == DType::boolean) throw DTypeError("reduce: no sum of bool");
  }
  go(Ordered{op, keys_of(x.dtype)});
}

void CudaBackend::arg_reduce(ArgReduceOp op, const ConstView& x, int axis, const View& out) {
  if (out.size() == 0) return;
  AxisLists kept;
  for (int a = 0; a < x.rank(); ++a) {
    if (a == axis || x.shape[a] == 1) continue;
    kept.shape.push_back(x.shape[a]);
    kept.x.push_back(x.strides[a]);
    kept.out.push_back(out.strides[a]);
  }
  const LoopNest outer(
      kept.shape, {ConstView{x.data, kept.shape, kept.x, x.dtype}, View{out.data, kept.shape, kept.out, out.dtype}});
  Walk<1> along;  // in the axis's own direction, which a LoopNest may turn round
  along.size = along.sizes[0] = x.shape[axis];
  along.rank = 1;
  along.stride[0][0] = x.strides[axis];
  reduce_by(context_, ArgExtreme{op == ArgReduceOp::argmin, keys_of(x.dtype)}, Walk<2>(outer), along, outer.origin(0),
            outer.origin(1));
}

}  // namespace weft::cuda
