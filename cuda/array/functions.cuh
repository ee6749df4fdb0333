#pragma once

#include <tuple>
#include <type_traits>

#include "core/device/scalar_ops.h"
#include "cuda/array/map.cuh"

// The pointwise functions of the lists in core/device/scalar_ops.h, chosen at run time. A kernel for each function,
// dtype and layout would be over 500 kernels to compile. f32 and bf16 have them where operands are dense; one kernel
// for each dtype serves all else, and all functions to bool.
namespace weft::cuda {

/// T, whatever V is: T repeated for each type of a vector.
template <class T, class V>
using same_t = T;

/// out = F(in...), which `any` computes too.
template <Takes kTakes, class F, class Any, class... V>
void apply(Context& context, const char* name, const Any& any, const View& out, const V&... in) {
  // Many functions of floats take more time than memory, and are compiled for each element of a vector.
  constexpr int kMost = kTakes == Takes::floating ? 4 : 16;
  const DType dtype = std::get<0>(std::tie(in...)).dtype;
  dispatch<kTakes>(name, dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if constexpr (std::is_same_v<T, float> || std::is_same_v<T, Bfloat>) {
      map_by<kMost, T, same_t<T, V>...>(context, name, F{}, any, out, in...);
    } else {
      map_elements<T, same_t<T, V>...>(context, name, any, out, in...);
    }
  });
}

/// out = any(in...), of bool.
template <class Any, class... V>
void apply_predicate(Context& context, const char* name, const Any& any, const View& out, const V&... in) {
  dispatch<Takes::ordered>(name, std::get<0>(std::tie(in...)).dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if constexpr (std::is_same_v<T, float>) {
      map<bool, same_t<T, V>...>(context, name, any, out, in...);
    } else {
      map_elements<bool, same_t<T, V>...>(context, name, any, out, in...);
    }
  });
}

}  // namespace weft::cuda

// Cases of a switch over Op: of a functor's x..., and of a function's `out` and its operands.
#define WEFT_NUMBERS(NAME) \
  case Op::NAME:           \
    return scalar::NAME()(x...);
#define WEFT_FLOATS(NAME)                                                    \
  case Op::NAME:                                                             \
    if constexpr ((scalar::kIsFloat<X> && ...)) return scalar::NAME()(x...); \
    break;
#define WEFT_APPLY(ANY, NAME, TAKES, ...) \
  case ANY::Op::NAME:                     \
    return apply<Takes::TAKES, scalar::NAME>(context, #NAME, ANY{op}, out, __VA_ARGS__);
#define WEFT_APPLY_PREDICATE(ANY, NAME, ...) \
  case ANY::Op::NAME:                        \
    return apply_predicate(context, #NAME, ANY{op}, out, __VA_ARGS__);
