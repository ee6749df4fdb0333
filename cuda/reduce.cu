#include "cuda/reduce.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "core/scalar_ops.h"
#include "cuda/element.h"
#include "cuda/elementwise.h"
#include "cuda/gather.h"
#include "cuda/walk.h"

namespace weft::cuda {

namespace {

constexpr int kThreads = 256;

// What is reduced: `Sum` is the type of partial results; load() makes one of an element and its place in the reduction,
// and passes partial results of an earlier launch through.
template <class T>
struct Add {
  using Sum = compute_t<T>;
  static WEFT_DEVICE Sum identity() { return Sum(0); }
  static WEFT_DEVICE Sum load(Sum x, std::int64_t) { return x; }
  static WEFT_DEVICE Sum combine(Sum a, Sum b) { return scalar::add()(a, b); }
};

template <class T, bool kLargest>
struct Extreme {
  using Sum = compute_t<T>;
  static WEFT_DEVICE Sum identity() {
    if constexpr (std::is_floating_point_v<Sum>) {
      return kLargest ? -INFINITY : INFINITY;
    } else if constexpr (std::is_same_v<Sum, bool>) {
      return !kLargest;
    } else {
      constexpr Sum lowest = std::is_signed_v<Sum> ? Sum(std::uint64_t{1} << (8 * sizeof(Sum) - 1)) : Sum(0);
      return kLargest ? lowest : static_cast<Sum>(~lowest);
    }
  }
  static WEFT_DEVICE Sum load(Sum x, std::int64_t) { return x; }
  static WEFT_DEVICE Sum combine(Sum a, Sum b) { return kLargest ? scalar::maximum()(a, b) : scalar::minimum()(a, b); }
};

template <class T>
struct Indexed {
  T value;
  std::int64_t index;
};

/// The first of equals wins; NaN wins.
template <class T, bool kLargest>
struct ArgExtreme {
  using Value = compute_t<T>;
  using Sum = Indexed<Value>;
  static WEFT_DEVICE Sum identity() { return {Value(0), -1}; }
  static WEFT_DEVICE Sum load(Value x, std::int64_t place) { return {x, place}; }
  static WEFT_DEVICE Sum load(Sum x, std::int64_t) { return x; }
  static WEFT_DEVICE Sum combine(Sum a, Sum b) {
    if (a.index < 0) return b;
    if (b.index < 0) return a;
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    const bool equal = (a_nan && b_nan) || a.value == b.value;
    const bool b_better = kLargest ? b.value > a.value : b.value < a.value;
    const bool take_b = equal ? b.index < a.index : !a_nan && (b_nan || b_better);
    return take_b ? b : a;
  }
};

template <class Out, class Sum>
WEFT_DEVICE Out result(Sum sum) {
  return narrow<Out>(sum);
}
template <class Out, class T>
WEFT_DEVICE Out result(Indexed<T> sum) {
  if constexpr (std::is_same_v<Out, std::int64_t>) {
    return sum.index;
  } else {
    return sum;
  }
}

template <class T>
WEFT_DEVICE compute_t<T> element(T x) {
  return widen(x);
}
template <class T>
WEFT_DEVICE Indexed<T> element(Indexed<T> x) {
  return x;
}

/// How a reduction is cut. A block takes `outputs` results with `lanes` threads each (256 together; powers of two) and
/// one of `slices` equal parts of the elements, `slice` long.
struct Cut {
  int lanes = 1, outputs = kThreads;
  bool lanes_first = true;  ///< neighbouring threads share a result, else they make neighbouring results
  std::int64_t slices = 1, slice = 0;
};

/// Result number `o` of the kept axes (operands: x, out), over the elements of the reduced ones (operand: x). Each lane
/// combines every lanes-th element in order, then the lanes combine as a tree. With several slices, out is dense:
/// (slices, results).
template <class Op, class In, class Out>
WEFT_KERNEL_OF(kThreads)
reduce_kernel(Walk<2> kept, Walk<1> reduced, Cut cut, const In* x, Out* out) {
  using Sum = typename Op::Sum;
  WEFT_SHARED(Sum, sums, kThreads);
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = cut.lanes_first ? thread % cut.lanes : thread / cut.outputs;
  const int place = cut.lanes_first ? thread / cut.lanes : thread % cut.outputs;
  const std::int64_t slice = blockIdx.x % cut.slices;
  const std::int64_t o = blockIdx.x / cut.slices * cut.outputs + place;
  const bool active = o < kept.size;

  Sum sum = Op::identity();
  typename Walk<2>::Offsets base{};
  if (active) {
    base = kept(o);
    const In* source = x + base.of[0];
    const std::int64_t begin = slice * cut.slice;
    const std::int64_t end = begin + cut.slice < reduced.size ? begin + cut.slice : reduced.size;
    constexpr int kAhead = sizeof(In) > 8 ? 2 : 4;  // loads before the first use
    std::int64_t i = begin + lane;
    for (; i + (kAhead - 1) * cut.lanes < end; i += kAhead * cut.lanes) {
      In values[kAhead];
      WEFT_UNROLL
      for (int j = 0; j < kAhead; ++j) values[j] = source[reduced(i + j * cut.lanes).of[0]];
      WEFT_UNROLL
      for (int j = 0; j < kAhead; ++j) sum = Op::combine(sum, Op::load(element(values[j]), i + j * cut.lanes));
    }
    for (; i < end; i += cut.lanes) sum = Op::combine(sum, Op::load(element(source[reduced(i).of[0]]), i));
  }
  Sum* const own = sums + lane * cut.outputs + place;
  *own = sum;
  WEFT_BARRIER();
  for (int half = cut.lanes / 2; half > 0; half /= 2) {
    if (lane < half) *own = Op::combine(*own, own[half * cut.outputs]);
    WEFT_BARRIER();
  }
  if (active && lane == 0) out[cut.slices > 1 ? slice * kept.size + o : base.of[1]] = result<Out>(*own);
}

/// Depends on the shape alone, so that every device adds in the same order.
Cut make_cut(const Walk<2>& kept, const Walk<1>& reduced) {
  constexpr std::int64_t kPerLane = 32, kBlocks = 1024;
  const auto power = [](std::int64_t n, std::int64_t most) {
    return static_cast<int>(std::bit_ceil(static_cast<std::uint64_t>(std::clamp<std::int64_t>(n, 1, most))));
  };
  Cut cut;
  cut.lanes_first = kept.size < 8 || kept.stride[0][0] == 0 || reduced.stride[0][0] < kept.stride[0][0];
  if (cut.lanes_first) {
    cut.lanes = power((reduced.size + 3) / 4, kThreads);
  } else {
    cut.lanes = std::min(kThreads / power(kept.size, 32), power(reduced.size, kThreads));
  }
  cut.outputs = kThreads / cut.lanes;
  const std::int64_t blocks = blocks_for(kept.size, cut.outputs);
  const std::int64_t most = (reduced.size + cut.lanes * kPerLane - 1) / (cut.lanes * kPerLane);
  cut.slices = std::clamp<std::int64_t>(kBlocks / blocks, 1, std::max<std::int64_t>(most, 1));
  cut.slice = (reduced.size + cut.slices - 1) / cut.slices;
  return cut;
}

template <class Op, class In, class Out>
void run(Context& context, const Walk<2>& kept, const Walk<1>& reduced, const In* x, Out* out) {
  using Sum = typename Op::Sum;
  const Cut cut = make_cut(kept, reduced);
  const std::int64_t blocks = blocks_for(kept.size, cut.outputs) * cut.slices;
  const LaunchShape shape{"reduce", blocks, kThreads, context.stream};
  if (cut.slices == 1) return launch(shape, reduce_kernel<Op, In, Out>, kept, reduced, cut, x, out);

  const Scratch scratch(context, static_cast<std::size_t>(cut.slices * kept.size) * sizeof(Sum));
  launch(shape, reduce_kernel<Op, In, Sum>, kept, reduced, cut, x, scratch.as<Sum>());
  // The slices of each result, (slices, results) -> results with out's strides.
  Walk<2> rows = kept;
  std::int64_t step = 1;
  for (int k = 0; k < rows.rank; ++k) {
    rows.stride[k][0] = step;
    step *= rows.sizes[k];
  }
  Walk<1> slices;
  slices.size = cut.slices;
  slices.rank = 1;
  slices.sizes[0] = cut.slices;
  slices.stride[0][0] = kept.size;
  Cut last;
  last.lanes_first = false;
  last.slice = cut.slices;
  launch({"reduce", blocks_for(kept.size, kThreads), kThreads, context.stream}, reduce_kernel<Op, Sum, Out>, rows,
         slices, last, static_cast<const Sum*>(scratch.as<Sum>()), out);
}

template <class T>
void reduce_of(Context& context, ReduceOp op, const Walk<2>& kept, const Walk<1>& reduced, const void* x, void* out,
               DType out_type) {
  const auto go = [&](auto functor) {
    run<decltype(functor), T, T>(context, kept, reduced, static_cast<const T*>(x), static_cast<T*>(out));
  };
  switch (op) {
    case ReduceOp::sum:
      if constexpr (std::is_same_v<T, Bfloat>) {
        if (out_type == DType::f32) {
          return run<Add<T>, T, float>(context, kept, reduced, static_cast<const T*>(x), static_cast<float*>(out));
        }
      }
      if constexpr (!std::is_same_v<T, bool>) return go(Add<T>{});
      throw DTypeError("reduce: no sum of bool");
    case ReduceOp::max:
      return go(Extreme<T, true>{});
    case ReduceOp::min:
      return go(Extreme<T, false>{});
  }
}

/// The axes of x that out keeps, or those that it does not.
struct AxisLists {
  Shape shape;
  Strides x, out;
};

}  // namespace

void reduce(Context& context, ReduceOp op, const ConstView& x, const View& out) {
  if (out.size() == 0) return;
  if (x.size() == 0) return fill(context, out, 0);
  AxisLists kept, reduced;
  for (int a = 0; a < x.rank(); ++a) {
    if (x.shape[a] == 1) continue;
    AxisLists& list = out.shape[a] == 1 ? reduced : kept;
    list.shape.push_back(x.shape[a]);
    list.x.push_back(x.strides[a]);
    list.out.push_back(out.strides[a]);
  }
  if (reduced.shape.empty()) return copy(context, x, out);
  const LoopNest outer(
      kept.shape, {ConstView{x.data, kept.shape, kept.x, x.dtype}, View{out.data, kept.shape, kept.out, out.dtype}});
  const LoopNest inner(reduced.shape, {ConstView{outer.origin(0), reduced.shape, reduced.x, x.dtype}});
  dispatch<Takes::ordered>("reduce", x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    reduce_of<T>(context, op, Walk<2>(outer), Walk<1>(inner), inner.origin(0), outer.origin(1), out.dtype);
  });
}

void arg_reduce(Context& context, ArgReduceOp op, const ConstView& x, int axis, const View& out) {
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
  dispatch<Takes::ordered>("reduce", x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto go = [&](auto functor) {
      run<decltype(functor), T, std::int64_t>(context, Walk<2>(outer), along, static_cast<const T*>(outer.origin(0)),
                                              static_cast<std::int64_t*>(outer.origin(1)));
    };
    op == ArgReduceOp::argmax ? go(ArgExtreme<T, true>{}) : go(ArgExtreme<T, false>{});
  });
}

}  // namespace weft::cuda
