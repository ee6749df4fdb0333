#include "cuda/elementwise.h"

#include <tuple>

#include "core/overlap.h"
#include "core/scalar_ops.h"
#include "cuda/map.cuh"

namespace weft::cuda {

namespace {

template <class T>
struct Constant {
  T value;
  WEFT_DEVICE T operator()() const { return value; }
};

/// T, whatever V is: T repeated for each type of a pack.
template <class T, class V>
using same_t = T;

struct Select {
  template <class T>
  WEFT_DEVICE T operator()(bool condition, T a, T b) const {
    return condition ? a : b;
  }
};

/// out[i] = start + i·step in U, whose integers wrap.
template <class T, class U>
WEFT_KERNEL arange_kernel(T* out, std::int64_t n, std::int64_t stride, U start, U step) {
  using Value = std::conditional_t<std::is_integral_v<U>, std::int64_t, U>;
  const std::int64_t i = global_thread();
  if (i < n) out[i * stride] = scalar::convert<T>(static_cast<Value>(start + static_cast<U>(i) * step));
}

template <class U>
void arange_of(Context& context, const View& out, U start, U step) {
  dispatch_any(out.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch({"arange", blocks_for(out.size(), kMapThreads), kMapThreads, context.stream}, arange_kernel<T, U>,
           out.as<T>(), out.size(), out.strides[0], start, step);
  });
}

/// One thread per index of the axes that are apart; it walks the meeting ones in order. The walks' operands are out and
/// in.
template <class T>
WEFT_KERNEL accumulate_kernel(Walk<2> apart, Walk<2> meeting, T* out, const T* in) {
  const std::int64_t i = global_thread();
  if (i >= apart.size) return;
  const auto start = apart(i);
  for (std::int64_t j = 0; j < meeting.size; ++j) {
    const auto step = meeting(j);
    T& sum = out[start.of[0] + step.of[0]];
    sum = narrow<T>(scalar::add()(widen(sum), widen(in[start.of[1] + step.of[1]])));
  }
}

/// A walk over the axes as they are given, the last one fastest, without reordering.
Walk<2> walk_in_order(const Shape& shape, const Strides& out, const Strides& in) {
  Walk<2> walk;
  walk.size = element_count(shape);
  walk.rank = std::max(shape.rank(), 1);
  walk.sizes[0] = 1;
  for (int k = 0; k < shape.rank(); ++k) {
    const int axis = shape.rank() - 1 - k;
    walk.sizes[k] = shape[axis];
    walk.stride[k][0] = out[axis];
    walk.stride[k][1] = in[axis];
  }
  return walk;
}

}  // namespace

void fill(Context& context, const View& out, Scalar value) {
  dispatch_any(out.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    using U = unsigned_t<sizeof(T)>;
    const T element =
        value.is_floating_point() ? scalar::convert<T>(value.as_double()) : scalar::convert<T>(value.as_int());
    map<U>(context, "fill", Constant<U>{scalar::bits_as<U>(element)}, out);
  });
}

void arange(Context& context, const View& out, Scalar start, Scalar step) {
  if (start.is_floating_point() || step.is_floating_point() || is_floating_point(out.dtype)) {
    arange_of(context, out, start.as_double(), step.as_double());
  } else {
    arange_of(context, out, static_cast<std::uint64_t>(start.as_int()), static_cast<std::uint64_t>(step.as_int()));
  }
}

void where(Context& context, const ConstView& condition, const ConstView& a, const ConstView& b, const View& out) {
  dispatch_size(out.dtype, [&](auto size) {
    using U = typename decltype(size)::type;
    map<U, bool, U, U>(context, "where", Select{}, out, condition, a, b);
  });
}

void accumulate(Context& context, const ConstView& in, const View& out) {
  if (out.size() == 0) return;
  const OverlapSplit split = split_overlap(in, out);
  const auto run = [&](auto type) {
    using T = typename decltype(type)::type;
    if (split.meeting.empty()) return map<T, T, T>(context, "accumulate", scalar::add{}, out, out, in);
    const LoopNest nest(split.apart, {View{out.data, split.apart, split.apart_out, out.dtype},
                                      ConstView{in.data, split.apart, split.apart_in, in.dtype}});
    launch({"accumulate", blocks_for(nest.size(), 128), 128, context.stream}, accumulate_kernel<T>, Walk<2>(nest),
           walk_in_order(split.meeting, split.meeting_out, split.meeting_in), static_cast<T*>(nest.origin(0)),
           static_cast<const T*>(nest.origin(1)));
  };
  dispatch<Takes::numbers>("accumulate", out.dtype, run);
}

namespace {

// The functions of a list, chosen at run time. A kernel for each function, dtype and layout would be over 500 kernels
// to compile. f32 and bf16 have them where operands are dense; one kernel for each dtype serves all else.

#define WEFT_NUMBERS(NAME) \
  case Op::NAME:           \
    return scalar::NAME()(x...);
#define WEFT_FLOATS(NAME)                                            \
  case Op::NAME:                                                     \
    if constexpr ((kIsFloat<X> && ...)) return scalar::NAME()(x...); \
    break;

using scalar::kIsFloat;

struct AnyUnary {
  using Op = UnaryOp;
  Op op;
  template <class... X>
  WEFT_DEVICE std::common_type_t<X...> operator()(X... x) const {
    switch (op) {
      WEFT_UNARY_NUMERIC(WEFT_NUMBERS)
      WEFT_UNARY_FLOAT(WEFT_FLOATS)
      default:
        break;
    }
    return {};
  }
};
struct AnyUnaryPredicate {
  using Op = UnaryOp;
  Op op;
  template <class... X>
  WEFT_DEVICE bool operator()(X... x) const {
    switch (op) {
      WEFT_UNARY_PREDICATE(WEFT_NUMBERS)
      default:
        return false;
    }
  }
};
struct AnyBinary {
  using Op = BinaryOp;
  Op op;
  template <class... X>
  WEFT_DEVICE std::common_type_t<X...> operator()(X... x) const {
    switch (op) {
      WEFT_BINARY_NUMERIC(WEFT_NUMBERS)
      WEFT_BINARY_FLOAT(WEFT_FLOATS)
      default:
        break;
    }
    return {};
  }
};
struct AnyBinaryPredicate {
  using Op = BinaryOp;
  Op op;
  template <class... X>
  WEFT_DEVICE bool operator()(X... x) const {
    switch (op) {
      WEFT_BINARY_PREDICATE(WEFT_NUMBERS)
      default:
        return false;
    }
  }
};

#undef WEFT_NUMBERS
#undef WEFT_FLOATS

/// out = F(in...), which `any` computes too. Predicates write bool.
template <Takes kTakes, class F, class Any, class... V>
void apply(Context& context, const char* name, const Any& any, const View& out, const V&... in) {
  const DType dtype = std::get<0>(std::tie(in...)).dtype;
  const auto run = [&](auto type) {
    using T = typename decltype(type)::type;
    using Out = std::conditional_t<kTakes == Takes::ordered, bool, T>;
    if constexpr (std::is_same_v<T, float> || std::is_same_v<Out, Bfloat>) {
      map_by<Out, same_t<T, V>...>(context, name, F{}, any, out, in...);
    } else {
      map_elements<Out, same_t<T, V>...>(context, name, any, out, in...);
    }
  };
  dispatch<kTakes>(name, dtype, run);
}

}  // namespace

#define WEFT_CASE(ANY, NAME, TAKES, ...) \
  case ANY::Op::NAME:                    \
    return apply<Takes::TAKES, scalar::NAME>(context, #NAME, ANY{op}, out, __VA_ARGS__);
#define WEFT_NUMBERS(NAME) WEFT_CASE(AnyUnary, NAME, numbers, x)
#define WEFT_FLOATS(NAME) WEFT_CASE(AnyUnary, NAME, floating, x)
#define WEFT_EVERYTHING(NAME) WEFT_CASE(AnyUnaryPredicate, NAME, ordered, x)

void unary(Context& context, UnaryOp op, const ConstView& x, const View& out) {
  switch (op) {
    WEFT_UNARY_NUMERIC(WEFT_NUMBERS)
    WEFT_UNARY_FLOAT(WEFT_FLOATS)
    WEFT_UNARY_PREDICATE(WEFT_EVERYTHING)
    case UnaryOp::count:
      break;
  }
}

#undef WEFT_NUMBERS
#undef WEFT_FLOATS
#undef WEFT_EVERYTHING
#define WEFT_NUMBERS(NAME) WEFT_CASE(AnyBinary, NAME, numbers, a, b)
#define WEFT_FLOATS(NAME) WEFT_CASE(AnyBinary, NAME, floating, a, b)
#define WEFT_EVERYTHING(NAME) WEFT_CASE(AnyBinaryPredicate, NAME, ordered, a, b)

void binary(Context& context, BinaryOp op, const ConstView& a, const ConstView& b, const View& out) {
  switch (op) {
    WEFT_BINARY_NUMERIC(WEFT_NUMBERS)
    WEFT_BINARY_FLOAT(WEFT_FLOATS)
    WEFT_BINARY_PREDICATE(WEFT_EVERYTHING)
    case BinaryOp::count:
      break;
  }
}

#undef WEFT_NUMBERS
#undef WEFT_FLOATS
#undef WEFT_EVERYTHING
#undef WEFT_CASE

}  // namespace weft::cuda
