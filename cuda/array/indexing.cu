#include <limits>

#include "cuda/array/map.cuh"
#include "cuda/runtime/backend.h"

// Elements by their indices along one axis. Gathering takes a thread for each result. Scattering takes a thread for
// each line along the axis, which walks it in order, so that what meets is written or added in one order without
// atomics.
namespace weft::cuda {

namespace {

WEFT_DEVICE bool is_inside(std::int64_t index, std::int64_t size) {
  return static_cast<std::uint64_t>(index) < static_cast<std::uint64_t>(size);
}

/// The walk's operands are out, x at index 0 and the index. `size` and `step` are the axis's size and stride in x.
template <class U>
WEFT_KERNEL gather_kernel(Walk<3> walk, std::int64_t size, std::int64_t step, U missing, U* out, const U* x,
                          const std::int64_t* index) {
  const std::int64_t i = global_thread();
  if (i >= walk.size) return;
  const auto offsets = walk(i);
  const std::int64_t at = index[offsets.of[2]];
  out[offsets.of[0]] = is_inside(at, size) ? x[offsets.of[1] + at * step] : missing;
}

/// The axis of a scatter: its length in the index, its size in out, and its strides.
struct ScatterAxis {
  std::int64_t length, size, out, source, index;
};

struct Assign {
  template <class T>
  WEFT_DEVICE void operator()(T& out, T value) const {
    out = value;
  }
};
struct Add {
  template <class T>
  WEFT_DEVICE void operator()(T& out, T value) const {
    out = narrow<T>(scalar::add()(widen(out), widen(value)));
  }
};

/// The walk's operands are out at index 0, source and index, each where a line begins.
template <class T, class Write>
WEFT_KERNEL scatter_kernel(Walk<3> lines, ScatterAxis axis, Write write, T* out, const T* source,
                           const std::int64_t* index) {
  const std::int64_t line = global_thread();
  if (line >= lines.size) return;
  const auto start = lines(line);
  for (std::int64_t j = 0; j < axis.length; ++j) {
    const std::int64_t at = index[start.of[2] + j * axis.index];
    if (is_inside(at, axis.size)) {
      write(out[start.of[0] + at * axis.out], source[start.of[1] + j * axis.source]);
    }
  }
}

/// x with stride 0 along the axis: where the element of index 0 would be read or written.
ConstView at_first(ConstView x, int axis, const Shape& shape) {
  x.shape = shape;
  x.strides[axis] = 0;
  return x;
}

template <class T, class Write>
void scatter_of(Context& context, const ScatterCall& call, const Write& write) {
  Shape lines = call.index.shape;
  lines[call.axis] = 1;
  const ScatterAxis axis{call.index.shape[call.axis], call.out.shape[call.axis], call.out.strides[call.axis],
                         call.source.strides[call.axis], call.index.strides[call.axis]};
  const LoopNest nest(lines, {at_first(call.out, call.axis, lines), at_first(call.source, call.axis, lines),
                              at_first(call.index, call.axis, lines)});
  if (nest.size() == 0 || axis.length == 0) return;
  constexpr int kThreads = 128;  // a line is long: more blocks spread few of them over more multiprocessors
  launch({"scatter", blocks_for(nest.size(), kThreads), kThreads, context.stream}, scatter_kernel<T, Write>,
         Walk<3>(nest), axis, write, static_cast<T*>(nest.origin(0)), static_cast<const T*>(nest.origin(1)),
         static_cast<const std::int64_t*>(nest.origin(2)));
}

}  // namespace

void CudaBackend::gather(const GatherCall& call) {
  const LoopNest nest(call.out.shape, {call.out, at_first(call.x, call.axis, call.out.shape), call.index});
  if (nest.size() == 0) return;
  dispatch_any(call.out.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    using U = unsigned_t<sizeof(T)>;
    const T missing =
        scalar::convert<T>(is_floating_point(call.out.dtype) ? std::numeric_limits<double>::quiet_NaN() : 0.0);
    launch({"gather", blocks_for(nest.size(), kMapThreads), kMapThreads, context_.stream}, gather_kernel<U>,
           Walk<3>(nest), call.x.shape[call.axis], call.x.strides[call.axis], scalar::bits_as<U>(missing),
           static_cast<U*>(nest.origin(0)), static_cast<const U*>(nest.origin(1)),
           static_cast<const std::int64_t*>(nest.origin(2)));
  });
}

void CudaBackend::scatter(const ScatterCall& call) {
  if (call.adds) {
    dispatch<Takes::numbers>("scatter_add", call.out.dtype,
                             [&](auto type) { scatter_of<typename decltype(type)::type>(context_, call, Add{}); });
  } else {
    dispatch_size(call.out.dtype,
                  [&](auto type) { scatter_of<typename decltype(type)::type>(context_, call, Assign{}); });
  }
}

}  // namespace weft::cuda
