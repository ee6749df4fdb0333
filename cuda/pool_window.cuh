#pragma once

// What the pooling kernels share: one thread's destination pixel and the box of source pixels it depends on.

#include <cstdint>
#include <initializer_list>

#include "cuda/element.h"
#include "cuda/pool.h"
#include "cuda/walk.h"

namespace weft::cuda::pooling {

inline constexpr int kThreads = 256;

/// Of indices along one axis; core keeps those of x below 2^31, and y has at most one more, or as few where adaptive.
struct Range {
  std::uint32_t begin, end;
};

/// simple: windows of neighbours, all alike. any: also dilated and adaptive ones.
enum class Windows { simple, any };

/// Thread t has vector t % vectors (of V channels) of pixel t / vectors of the destination: y forward, x backward. The
/// source is the other.
struct Plan {
  std::int64_t threads = 0, source_volume = 1;
  Size vectors, destination_volume, destination[3], stride[3], dilation[3];
  std::int64_t reach[3] = {}, padding[3] = {};  // reach: from a window's first element behind its last
  std::uint32_t source[3] = {};
  Size source_size[3];         // the same, to divide by
  std::uint32_t step[3] = {};  // the dilation, but at most a whole axis: positions stay below 2^32
  bool adaptive = false, count_padding = true;
};

inline Plan plan_of(const PoolShape& s, bool forward, int width) {
  const auto& destination = forward ? s.out : s.in;
  const auto& source = forward ? s.in : s.out;
  const std::int64_t volume = destination[0] * destination[1] * destination[2], vectors = s.c / width;
  Plan plan;
  plan.threads = s.n * volume * vectors;
  if (plan.threads == 0) return plan;
  plan.vectors = Size(vectors);
  plan.destination_volume = Size(volume);
  for (std::size_t i = 0; i < 3; ++i) {
    plan.destination[i] = Size(destination[i]);
    plan.stride[i] = Size(s.stride[i]);
    plan.source[i] = static_cast<std::uint32_t>(source[i]);
    plan.source_size[i] = Size(source[i]);
    plan.source_volume *= source[i];
    plan.dilation[i] = Size(s.dilation[i]);
    plan.reach[i] = s.dilation[i] * (s.kernel[i] - 1) + 1;
    plan.padding[i] = s.padding[i];
    plan.step[i] = static_cast<std::uint32_t>(s.dilation[i] < s.in[i] ? s.dilation[i] : s.in[i]);
  }
  plan.adaptive = s.adaptive;
  plan.count_padding = s.count_padding;
  return plan;
}

/// One thread's destination pixel, and the box of source pixels it depends on: forward its window, backward the y
/// whose windows have it, with dilation some between them too.
struct Target {
  std::int64_t channel, image, position;  // position: of the pixel in its image, flat
  std::int64_t at[3];
  Range box[3];
};

/// [⌊at·from/to⌋, ⌈(at + 1)·from/to⌉): adaptive windows, and those that cover an x with the two exchanged.
WEFT_DEVICE Range adaptive_range(const Size& to, std::int64_t from, std::int64_t at) {
  return {static_cast<std::uint32_t>(to.quotient(at * from)),
          static_cast<std::uint32_t>(to.quotient((at + 1) * from + to.value - 1))};
}

template <bool kForward, Windows kWindows>
WEFT_DEVICE Range range_along(const Plan& plan, int axis, std::int64_t at) {
  const std::int64_t reach = plan.reach[axis], size = plan.source[axis];
  const Size& stride = plan.stride[axis];
  if constexpr (kWindows == Windows::any) {
    if (plan.adaptive) return adaptive_range(plan.destination[axis], size, at);
  }
  if constexpr (kForward) {
    std::int64_t begin = at * stride.value - plan.padding[axis];
    const std::int64_t end = begin + reach;
    if constexpr (kWindows == Windows::any) {
      const Size& dilation = plan.dilation[axis];
      if (begin < 0) begin += dilation.quotient(dilation.value - 1 - begin) * dilation.value;
      begin = begin < size ? begin : size;
    }
    return {static_cast<std::uint32_t>(begin > 0 ? begin : 0), static_cast<std::uint32_t>(end < size ? end : size)};
  } else {
    const std::int64_t padded = at + plan.padding[axis], end = stride.quotient(padded) + 1;
    return {static_cast<std::uint32_t>(padded < reach ? 0 : stride.quotient(padded - reach) + 1),
            static_cast<std::uint32_t>(end < size ? end : size)};
  }
}

template <int V, bool kForward, Windows kWindows>
WEFT_DEVICE Target target_of(const Plan& plan, std::int64_t thread) {
  const std::int64_t pixel = plan.vectors.quotient(thread);
  Target target;
  target.channel = (thread - pixel * plan.vectors.value) * V;
  target.image = plan.destination_volume.quotient(pixel);
  target.position = pixel - target.image * plan.destination_volume.value;
  const std::int64_t line = plan.destination[2].quotient(target.position);
  target.at[0] = plan.destination[1].quotient(line);
  target.at[1] = line - target.at[0] * plan.destination[1].value;
  target.at[2] = target.position - line * plan.destination[2].value;
  for (int axis = 0; axis < 3; ++axis) target.box[axis] = range_along<kForward, kWindows>(plan, axis, target.at[axis]);
  return target;
}

/// visit(d, h, w, position, element) for every pixel of the box in order: its flat position in its
/// image, and where the thread's channels of it are in the source.
template <int V, bool kSteps, class Visit>
WEFT_DEVICE void for_places(const Plan& plan, const Target& target, const Visit& visit) {
  const std::int64_t channels = plan.vectors.value * V;
  const std::int64_t image = target.image * plan.source_volume * channels + target.channel;
  for (std::uint32_t d = target.box[0].begin; d < target.box[0].end; d += kSteps ? plan.step[0] : 1) {
    for (std::uint32_t h = target.box[1].begin; h < target.box[1].end; h += kSteps ? plan.step[1] : 1) {
      const std::int64_t line = (std::int64_t{d} * plan.source[1] + h) * plan.source[2];
      for (std::uint32_t w = target.box[2].begin; w < target.box[2].end; w += kSteps ? plan.step[2] : 1)
        visit(d, h, w, line + w, image + (line + w) * channels);
    }
  }
}

/// The same with visit(position, element).
template <int V, bool kSteps, class Visit>
WEFT_DEVICE void for_box(const Plan& plan, const Target& target, const Visit& visit) {
  for_places<V, kSteps>(plan, target,
                        [&](std::uint32_t, std::uint32_t, std::uint32_t, std::int64_t position, std::int64_t element) {
                          visit(position, element);
                        });
}

template <int V, class T>
WEFT_DEVICE Pack<T, V> pack_at(const T* data, std::int64_t at) {
  return *reinterpret_cast<const Pack<T, V>*>(data + at);
}

template <class T, int V>
WEFT_DEVICE void store(T* out, std::int64_t at, const compute_t<T> (&values)[V]) {
  Pack<T, V> pack;
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) pack.value[j] = narrow<T>(values[j]);
  *reinterpret_cast<Pack<T, V>*>(out + at) = pack;
}

/// Elements of a Pack: 16 bytes of the widest of T and i32.
template <class T>
constexpr int kWidest = sizeof(T) == 8 ? 2 : 4;

template <class T>
bool is_wide(const PoolShape& shape, std::initializer_list<const void*> addresses) {
  std::uintptr_t all = 0;
  for (const void* address : addresses) all |= reinterpret_cast<std::uintptr_t>(address);
  return shape.c % kWidest<T> == 0 && all % 16 == 0;
}

}  // namespace weft::cuda::pooling
