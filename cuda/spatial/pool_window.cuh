#pragma once

// What the pooling kernels share. The destination is y forward and x backward, the source is the other. They replace
//
//   for each pixel (n, d, h, w) of the destination, each channel:
//     for each pixel of the source in a box:               forward its window, backward the y whose windows have it
//       destination = largest, sum, mean, or sum of those whose index is this pixel
//
//   source           ┌───────┐            Thread t has one pixel of the destination and V neighbouring channels: 16
//        ┌───────────│  box  │───┐        bytes, where a pixel divides into such vectors. It walks through its box line
//        │           └───────┘   │        by line with its results in registers. Threads share nothing; neighbours have
//        └───────────────────────┘        neighbouring channels, so that they read whole transactions, and caches serve
//                                         the pixels that boxes have in common.
//
// A gather in both passes needs no atomics, so that sums have one order. Quotients are multiplications, and positions
// are counted in 32 bits where every number is below 2^31, which takes fewer registers and instructions. Windows of 2x2
// that cover x without overlap have kernels of their own (pool.cu): a thread has all four pixels of a window.

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "cuda/array/element.h"
#include "cuda/array/walk.h"
#include "cuda/runtime/backend.h"

namespace weft::cuda::pooling {

inline constexpr int kThreads = 256;  // the blocks' size matters little: threads share nothing
// Blocks that a multiprocessor has at a time of kernels that need many registers: each thread may have 64.
inline constexpr int kBlocks = 4;

/// Indices along one axis. core keeps those of x below 2^31; y has at most one more than x, or fewer than 2^31 where
/// windows are adaptive.
struct Range {
  std::uint32_t begin, end;
};

/// simple: windows of neighbours, all alike. any: also dilated and adaptive ones.
enum class Windows { simple, any };

/// What kernels divide by, who count in Int: i32 where every number they meet is below 2^31, else i64.
template <class Int>
using divisor_t = std::conditional_t<std::is_same_v<Int, std::int32_t>, FastDivisor32, FastDivisor64>;
/// n / d for n >= 0.
WEFT_DEVICE std::int32_t quotient(std::int32_t n, const FastDivisor32& d) {
  return static_cast<std::int32_t>(d.quotient(static_cast<std::uint32_t>(n)));
}
WEFT_DEVICE std::int64_t quotient(std::int64_t n, const FastDivisor64& d) { return d.quotient(n); }
template <class Int>
WEFT_DEVICE Int value_of(const divisor_t<Int>& d) {
  return static_cast<Int>(d.value);
}

/// Thread t has vector t % vectors (of V channels) of pixel t / vectors of the destination: y forward, x backward. The
/// source is the other.
template <class Int>
struct Plan {
  std::int64_t threads = 0, source_image = 0;  // source_image: elements
  Int channels = 0;
  divisor_t<Int> vectors, destination_volume, destination[3], stride[3], dilation[3];
  divisor_t<Int> source_size[3];       // the same as source, to divide by
  Int reach[3] = {}, padding[3] = {};  // reach: from a window's first element to the one after its last
  std::uint32_t source[3] = {};
  std::uint32_t step[3] = {};  // the dilation, at most a whole axis, so that positions stay below 2^32
  bool adaptive = false, count_padding = true;
};

template <class Int>
divisor_t<Int> divisor_of(std::int64_t value) {
  if constexpr (std::is_same_v<Int, std::int32_t>) {
    return FastDivisor32(static_cast<std::uint32_t>(value));
  } else {
    return FastDivisor64(value);
  }
}

/// Needs a pass whose sizes are not 0.
template <class Int>
Plan<Int> plan_of(const PoolShape& s, bool forward, int width) {
  const auto& destination = forward ? s.out : s.in;
  const auto& source = forward ? s.in : s.out;
  const std::int64_t volume = destination[0] * destination[1] * destination[2], vectors = s.c / width;
  Plan<Int> plan;
  plan.threads = s.n * volume * vectors;
  plan.source_image = source[0] * source[1] * source[2] * s.c;
  plan.channels = static_cast<Int>(s.c);
  plan.vectors = divisor_of<Int>(vectors);
  plan.destination_volume = divisor_of<Int>(volume);
  for (std::size_t i = 0; i < 3; ++i) {
    plan.destination[i] = divisor_of<Int>(destination[i]);
    plan.stride[i] = divisor_of<Int>(s.stride[i]);
    plan.source[i] = static_cast<std::uint32_t>(source[i]);
    plan.source_size[i] = divisor_of<Int>(source[i]);
    plan.dilation[i] = divisor_of<Int>(s.dilation[i]);
    plan.reach[i] = static_cast<Int>(s.dilation[i] * (s.kernel[i] - 1) + 1);
    plan.padding[i] = static_cast<Int>(s.padding[i]);
    plan.step[i] = static_cast<std::uint32_t>(s.dilation[i] < s.in[i] ? s.dilation[i] : s.in[i]);
  }
  plan.adaptive = s.adaptive;
  plan.count_padding = s.count_padding;
  return plan;
}

/// Whether the threads of a pass, the elements of an image and all that is counted along an axis are below `end`.
inline bool counts_below(std::int64_t end, const PoolShape& s, std::int64_t threads) {
  std::int64_t x = s.c, y = s.c, largest = threads;
  for (std::size_t i = 0; i < 3; ++i) {
    if (std::max({s.kernel[i], s.stride[i], s.padding[i], s.dilation[i], s.in[i], s.out[i]}) >= end) return false;
    const std::int64_t window = s.dilation[i] * s.kernel[i], places = s.adaptive ? (s.in[i] + 1) * (s.out[i] + 1) : 0;
    if (x >= end || y >= end || window >= end) return false;
    x *= s.in[i];
    y *= s.out[i];
    largest = std::max({largest, s.out[i] * s.stride[i] + window, s.in[i] + s.padding[i] + window, places});
  }
  return std::max({largest, x, y}) < end;
}

/// One thread's destination pixel, and the box of source pixels it depends on: forward its window, backward the y
/// whose windows have it, with dilation some between them too.
template <class Int>
struct Target {
  std::int64_t first;  // of its image's elements in the source, that of its first channel
  Int position;        // of the pixel in its image, flat
  Int at[3];
  Range box[3];
};

/// [⌊at·from/to⌋, ⌈(at + 1)·from/to⌉): adaptive windows, and those that cover an x with the two exchanged.
template <class Int>
WEFT_DEVICE Range adaptive_range(const divisor_t<Int>& to, Int from, Int at) {
  return {static_cast<std::uint32_t>(quotient(at * from, to)),
          static_cast<std::uint32_t>(quotient((at + 1) * from + value_of<Int>(to) - 1, to))};
}

template <bool kForward, Windows kWindows, class Int>
WEFT_DEVICE Range range_along(const Plan<Int>& plan, int axis, Int at) {
  const Int reach = plan.reach[axis], size = static_cast<Int>(plan.source[axis]);
  const auto& stride = plan.stride[axis];
  if constexpr (kWindows == Windows::any) {
    if (plan.adaptive) return adaptive_range<Int>(plan.destination[axis], size, at);
  }
  if constexpr (kForward) {
    Int begin = at * value_of<Int>(stride) - plan.padding[axis];
    const Int end = begin + reach;
    if constexpr (kWindows == Windows::any) {
      const auto& dilation = plan.dilation[axis];
      const Int step = value_of<Int>(dilation);
      if (begin < 0) begin += quotient(step - 1 - begin, dilation) * step;
      begin = begin < size ? begin : size;
    }
    return {static_cast<std::uint32_t>(begin > 0 ? begin : 0), static_cast<std::uint32_t>(end < size ? end : size)};
  } else {
    const Int padded = at + plan.padding[axis], end = quotient(padded, stride) + 1;
    return {static_cast<std::uint32_t>(padded < reach ? 0 : quotient(padded - reach, stride) + 1),
            static_cast<std::uint32_t>(end < size ? end : size)};
  }
}

template <int V, bool kForward, Windows kWindows, class Int>
WEFT_DEVICE Target<Int> target_of(const Plan<Int>& plan, std::int64_t thread) {
  const Int index = static_cast<Int>(thread), pixel = quotient(index, plan.vectors);
  const Int channel = (index - pixel * value_of<Int>(plan.vectors)) * V;
  const Int image = quotient(pixel, plan.destination_volume);
  Target<Int> target;
  target.first = image * plan.source_image + channel;
  target.position = pixel - image * value_of<Int>(plan.destination_volume);
  const Int line = quotient(target.position, plan.destination[2]);
  target.at[0] = quotient(line, plan.destination[1]);
  target.at[1] = line - target.at[0] * value_of<Int>(plan.destination[1]);
  target.at[2] = target.position - line * value_of<Int>(plan.destination[2]);
  for (int axis = 0; axis < 3; ++axis)
    target.box[axis] = range_along<kForward, kWindows, Int>(plan, axis, target.at[axis]);
  return target;
}

/// visit(d, h, w, position, distance) for every pixel of the box in order: its flat position in its image, and how far
/// the thread's channels of it are from those of the image's first pixel, in elements. The compiler unrolls a line of
/// the box by kUnroll, whose loads are under way together.
template <bool kSteps, int kUnroll, class Int, class Visit>
WEFT_DEVICE void for_places(const Plan<Int>& plan, const Target<Int>& target, const Visit& visit) {
  for (std::uint32_t d = target.box[0].begin; d < target.box[0].end; d += kSteps ? plan.step[0] : 1) {
    for (std::uint32_t h = target.box[1].begin; h < target.box[1].end; h += kSteps ? plan.step[1] : 1) {
      const Int line = (static_cast<Int>(d) * static_cast<Int>(plan.source[1]) + static_cast<Int>(h)) *
                       static_cast<Int>(plan.source[2]);
      WEFT_UNROLL_BY(kUnroll)
      for (std::uint32_t w = target.box[2].begin; w < target.box[2].end; w += kSteps ? plan.step[2] : 1) {
        const Int position = line + static_cast<Int>(w);
        visit(d, h, w, position, position * plan.channels);
      }
    }
  }
}

/// The same with visit(position, distance).
template <bool kSteps, int kUnroll, class Int, class Visit>
WEFT_DEVICE void for_box(const Plan<Int>& plan, const Target<Int>& target, const Visit& visit) {
  for_places<kSteps, kUnroll>(
      plan, target,
      [&](std::uint32_t, std::uint32_t, std::uint32_t, Int position, Int distance) { visit(position, distance); });
}

template <int V, class T>
WEFT_DEVICE Vector<T, V> vector_at(const T* data, std::int64_t at) {
  return *reinterpret_cast<const Vector<T, V>*>(data + at);
}

template <class T, int V>
WEFT_DEVICE void store(T* out, std::int64_t at, const compute_t<T> (&values)[V]) {
  *reinterpret_cast<Vector<T, V>*>(out + at) = narrow_all<T>(values);
}

/// Elements of a Vector of T: 16 bytes.
template <class T>
constexpr int kWidest = 16 / static_cast<int>(sizeof(T));

/// The positions of a vector, in one or two vectors of 16 bytes.
template <int V>
struct Positions {
  static constexpr int kCount = V < 4 ? V : 4;
  Vector<std::int32_t, kCount> vectors[V / kCount];

  WEFT_DEVICE static Positions load(const std::int32_t* from) {
    Positions positions;
    WEFT_UNROLL
    for (int i = 0; i < V / kCount; ++i) positions.vectors[i] = vector_at<kCount>(from, i * kCount);
    return positions;
  }
  WEFT_DEVICE void store(std::int32_t* to) const {
    WEFT_UNROLL
    for (int i = 0; i < V / kCount; ++i) *reinterpret_cast<Vector<std::int32_t, kCount>*>(to + i * kCount) = vectors[i];
  }
  WEFT_DEVICE std::int32_t& operator[](int j) { return vectors[j / kCount].value[j % kCount]; }
  WEFT_DEVICE std::int32_t operator[](int j) const { return vectors[j / kCount].value[j % kCount]; }
};

template <class T>
bool is_wide(const PoolShape& shape, std::initializer_list<const void*> addresses) {
  std::uintptr_t all = 0;
  for (const void* address : addresses) all |= reinterpret_cast<std::uintptr_t>(address);
  return shape.c % kWidest<T> == 0 && all % 16 == 0;
}

/// body(std::integral_constant<int, V>{}, Int{}) for what a pass takes: V channels at a time, and Int to count with.
template <class T, class Body>
void with_counts(std::int64_t end, const PoolShape& s, bool forward, bool wide, const Body& body) {
  const auto& destination = forward ? s.out : s.in;
  const std::int64_t pixels = s.n * destination[0] * destination[1] * destination[2];
  if (pixels * s.c == 0) return;
  if (wide && counts_below(end, s, pixels * (s.c / kWidest<T>))) {
    body(std::integral_constant<int, kWidest<T>>{}, std::int32_t{});
  } else if (counts_below(end, s, pixels * s.c)) {
    body(std::integral_constant<int, 1>{}, std::int32_t{});
  } else {
    body(std::integral_constant<int, 1>{}, std::int64_t{});
  }
}

/// Averages with divisor 0, each of which counts its own positions.
void uneven_average(Context& context, PoolPass pass, const PoolShape& shape, const ConstView& in, const View& out);

}  // namespace weft::cuda::pooling
