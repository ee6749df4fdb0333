#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "cuda/array/element.h"
#include "cuda/array/walk.h"
#include "cuda/runtime/context.h"

// out[i] = f(in[i]...) for operands of one shape and any strides: one kernel for operands that are dense in one order,
// 16 bytes at a time, and one for all others. F is a functor called with widened values. Each pair of a functor and a
// dtype is a kernel to compile, so map takes a second functor, which may serve many functions, for all others.
namespace weft::cuda {

inline constexpr int kMapThreads = 256;  // of a block; threads share nothing

/// An input that is dense, or one value for all.
template <class T>
struct DenseInput {
  const T* data;
  bool repeated;
};

/// Elements first, first + 1, ... below n, and zeros after them.
template <int Count, class T>
WEFT_DEVICE Vector<T, Count> load_vector(const DenseInput<T>& in, std::int64_t first, std::int64_t n) {
  if (!in.repeated && first + Count <= n) return *reinterpret_cast<const Vector<T, Count>*>(in.data + first);
  Vector<T, Count> vector{};
  WEFT_UNROLL
  for (int i = 0; i < Count; ++i) {
    if (first + i < n) vector.value[i] = in.data[in.repeated ? 0 : first + i];
  }
  return vector;
}

template <class Out, int Count, class F, class... P>
WEFT_DEVICE Vector<Out, Count> results_of(const F& f, const P&... vectors) {
  decltype(f(widen(vectors.value[0])...)) results[Count];
  WEFT_UNROLL
  for (int i = 0; i < Count; ++i) results[i] = f(widen(vectors.value[i])...);
  return narrow_all<Out>(results);
}

/// Thread t does elements [t·Count, (t + 1)·Count) of n; addresses are aligned for whole vectors. The last thread's
/// vector may be cut: f is there once for each element of a vector, as it may be long.
template <int Count, class Out, class F, class... In>
WEFT_KERNEL dense_map_kernel(std::int64_t n, F f, Out* out, DenseInput<In>... in) {
  const std::int64_t first = global_thread() * Count;
  if (first >= n) return;
  const auto results = results_of<Out, Count>(f, load_vector<Count>(in, first, n)...);
  if (first + Count <= n) {
    *reinterpret_cast<Vector<Out, Count>*>(out + first) = results;
  } else {
    WEFT_UNROLL
    for (int i = 0; i < Count; ++i) {
      if (first + i < n) out[first + i] = results.value[i];
    }
  }
}

/// The I-th of the operands' offsets, the output being number 0.
template <std::size_t... I, class Out, class F, class... In>
WEFT_DEVICE void map_at(std::index_sequence<I...>, const std::int64_t* offset, const F& f, Out* out, const In*... in) {
  out[offset[0]] = narrow<Out>(f(widen(in[offset[I + 1]])...));
}

/// One thread per element, in the order of out's memory.
template <class Out, class F, class... In>
WEFT_KERNEL strided_map_kernel(Walk<1 + sizeof...(In)> walk, F f, Out* out, const In*... in) {
  const std::int64_t i = global_thread();
  if (i >= walk.size) return;
  const auto offsets = walk(i);
  map_at(std::make_index_sequence<sizeof...(In)>(), offsets.of, f, out, in...);
}

template <class T>
bool is_aligned(const void* address, int count) {
  return reinterpret_cast<std::uintptr_t>(address) % (sizeof(T) * static_cast<std::size_t>(count)) == 0;
}

template <class... In, class Out, class F, std::size_t... I>
void launch_strided(std::index_sequence<I...>, Context& context, const char* name, const LoopNest& nest, Type<Out>,
                    const F& f) {
  launch({name, blocks_for(nest.size(), kMapThreads), kMapThreads, context.stream}, strided_map_kernel<Out, F, In...>,
         Walk<1 + sizeof...(In)>(nest), f, static_cast<Out*>(nest.origin(0)),
         static_cast<const In*>(nest.origin(I + 1))...);
}

/// True if it launched the kernel: false where the operands are not dense in one order or not aligned for whole
/// vectors, which are of at most kMost elements.
template <int kMost, class... In, class Out, class F, std::size_t... I>
bool launch_dense(std::index_sequence<I...>, Context& context, const char* name, const LoopNest& nest, Type<Out>,
                  const F& f) {
  constexpr std::size_t kLargest = std::max({sizeof(Out), sizeof(In)...});
  constexpr int kCount = std::min(static_cast<int>(16 / kLargest), kMost);
  Out* const out = static_cast<Out*>(nest.origin(0));
  const auto& axis = nest.axis(0);
  bool dense = nest.size() == axis.size && (axis.stride[0] == 1 || axis.size == 1) && is_aligned<Out>(out, kCount);
  [[maybe_unused]] const auto takes_vector = [&](auto type, int o) {
    const bool one = axis.size == 1 || axis.stride[o] == 0;
    return one || (axis.stride[o] == 1 && is_aligned<typename decltype(type)::type>(nest.origin(o), kCount));
  };
  dense = (dense && ... && takes_vector(Type<In>{}, I + 1));
  if (!dense) return false;
  launch({name, blocks_for(blocks_for(nest.size(), kCount), kMapThreads), kMapThreads, context.stream},
         dense_map_kernel<kCount, Out, F, In...>, nest.size(), f, out,
         DenseInput<In>{static_cast<const In*>(nest.origin(I + 1)), axis.size == 1 || axis.stride[I + 1] == 0}...);
  return true;
}

/// `In` are the element types of `in`, whose shapes are out's. An input may be out itself. `any` computes what f does;
/// it is called where the operands are not dense in one order.
template <int kMost, class Out, class... In, class F, class Any, class... V>
void map_by(Context& context, const char* name, const F& f, const Any& any, const View& out, const V&... in) {
  static_assert(sizeof...(In) == sizeof...(V));
  constexpr auto kInputs = std::make_index_sequence<sizeof...(In)>();
  const LoopNest nest(out.shape, {out, in...});
  if (nest.size() == 0 || launch_dense<kMost, In...>(kInputs, context, name, nest, Type<Out>{}, f)) return;
  launch_strided<In...>(kInputs, context, name, nest, Type<Out>{}, any);
}
template <class Out, class... In, class F, class... V>
void map(Context& context, const char* name, const F& f, const View& out, const V&... in) {
  map_by<16, Out, In...>(context, name, f, f, out, in...);
}
/// The same by the kernel for any strides alone, one element per thread.
template <class Out, class... In, class F, class... V>
void map_elements(Context& context, const char* name, const F& f, const View& out, const V&... in) {
  static_assert(sizeof...(In) == sizeof...(V));
  const LoopNest nest(out.shape, {out, in...});
  if (nest.size() > 0) {
    launch_strided<In...>(std::make_index_sequence<sizeof...(In)>(), context, name, nest, Type<Out>{}, f);
  }
}

}  // namespace weft::cuda
