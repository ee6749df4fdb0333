#include "cuda/gather.h"

#include "cuda/map.cuh"

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

}  // namespace

void copy(Context& context, const ConstView& in, const View& out) {
  if (in.dtype == out.dtype) {
    return dispatch_size(out.dtype, [&](auto size) {
      using U = typename decltype(size)::type;
      map<U, U>(context, "copy", Identity{}, out, in);
    });
  }
  dispatch_any(in.dtype, [&](auto from) {
    dispatch_any(out.dtype, [&](auto to) {
      using From = typename decltype(from)::type;
      using To = typename decltype(to)::type;
      if constexpr (!std::is_same_v<From, To>) {
        map<To, From>(context, "copy", Convert<From, To>{}, out, in);
      }
    });
  });
}

}  // namespace weft::cuda
