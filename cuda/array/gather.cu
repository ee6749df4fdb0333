#include "cuda/array/map.cuh"
#include "cuda/runtime/backend.h"

namespace weft::cuda {

namespace {

struct Identity {
  template <class T>
  WEFT_DEVICE T operator()(T x) const {
    return x;
  }
};

/// To bf16: what narrow rounds to it.
template <class From, class To>
struct Convert {
  WEFT_DEVICE auto operator()(compute_t<From> x) const {
    if constexpr (std::is_same_v<To, Bfloat>) {
      return scalar::round_to_odd(x);
    } else {
      return scalar::convert<To>(x);
    }
  }
};

/// Operands of any strides, from any dtype: a kernel for each pair of dtypes would be 56 more.
template <class To>
WEFT_KERNEL convert_kernel(Walk<2> walk, DType from, const void* in, To* out) {
  const std::int64_t i = global_thread();
  if (i >= walk.size) return;
  const auto offsets = walk(i);
  const auto convert = [&]<class From>(Type<From>) {
    const From value = static_cast<const From*>(in)[offsets.of[1]];
    out[offsets.of[0]] = narrow<To>(Convert<From, To>{}(widen(value)));
  };
  switch (from) {
    case DType::f32:
      return convert(Type<float>{});
    case DType::f64:
      return convert(Type<double>{});
    case DType::f16:
      return convert(Type<Half>{});
    case DType::bf16:
      return convert(Type<Bfloat>{});
    case DType::u8:
      return convert(Type<std::uint8_t>{});
    case DType::i32:
      return convert(Type<std::int32_t>{});
    case DType::i64:
      return convert(Type<std::int64_t>{});
    case DType::boolean:
      return convert(Type<bool>{});
  }
}

}  // namespace

void CudaBackend::copy(const ConstView& in, const View& out) {
  if (in.dtype == out.dtype) {
    return dispatch_size(out.dtype, [&](auto size) {
      using U = typename decltype(size)::type;
      map<U, U>(context_, "copy", Identity{}, out, in);
    });
  }
  const LoopNest nest(out.shape, {out, in});
  if (nest.size() == 0) return;
  dispatch_any(out.dtype, [&]<class To>(Type<To> to) {
    bool is_done = false;
    dispatch_any(in.dtype, [&]<class From>(Type<From>) {
      if constexpr (!std::is_same_v<From, To>) {
        is_done = launch_dense<16, From>(std::index_sequence<0>(), context_, "copy", nest, to, Convert<From, To>{});
      }
    });
    if (is_done) return;
    launch({"copy", blocks_for(nest.size(), kMapThreads), kMapThreads, context_.stream}, convert_kernel<To>,
           Walk<2>(nest), in.dtype, nest.origin(1), static_cast<To*>(nest.origin(0)));
  });
}

}  // namespace weft::cuda
