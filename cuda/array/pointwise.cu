#include "core/device/overlap.h"
#include "core/device/scalar_ops.h"
#include "cuda/array/map.cuh"
#include "cuda/runtime/backend.h"

namespace weft::cuda {

namespace {

template <class T>
struct Constant {
  T value;
  WEFT_DEVICE T operator()() const { return value; }
};

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

void CudaBackend::fill(const View& out, Scalar value) {
  dispatch_any(out.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    using U = unsigned_t<sizeof(T)>;
    const T element =
        value.is_floating_point() ? scalar::convert<T>(value.as_double()) : scalar::convert<T>(value.as_int());
    map<U>(context_, "fill", Constant<U>{scalar::bits_as<U>(element)}, out);
  });
}

void CudaBackend::arange(const View& out, Scalar start, Scalar step) {
  if (start.is_floating_point() || step.is_floating_point() || is_floating_point(out.dtype)) {
    arange_of(context_, out, start.as_double(), step.as_double());
  } else {
    arange_of(context_, out, static_cast<std::uint64_t>(start.as_int()), static_cast<std::uint64_t>(step.as_int()));
  }
}

void CudaBackend::where(const ConstView& condition, const ConstView& a, const ConstView& b, const View& out) {
  dispatch_size(out.dtype, [&](auto size) {
    using U = typename decltype(size)::type;
    map<U, bool, U, U>(context_, "where", Select{}, out, condition, a, b);
  });
}

void CudaBackend::accumulate(const ConstView& in, const View& out) {
  if (out.size() == 0) return;
  const OverlapSplit split = split_overlap(in, out);
  const auto add = [&](auto type) {
    using T = typename decltype(type)::type;
    if (split.meeting.empty()) return map<T, T, T>(context_, "accumulate", scalar::add{}, out, out, in);
    const LoopNest nest(split.apart, {View{out.data, split.apart, split.apart_out, out.dtype},
                                      ConstView{in.data, split.apart, split.apart_in, in.dtype}});
    launch({"accumulate", blocks_for(nest.size(), 128), 128, context_.stream}, accumulate_kernel<T>, Walk<2>(nest),
           walk_in_order(split.meeting, split.meeting_out, split.meeting_in), static_cast<T*>(nest.origin(0)),
           static_cast<const T*>(nest.origin(1)));
  };
  dispatch<Takes::numbers>("accumulate", out.dtype, add);
}

}  // namespace weft::cuda
