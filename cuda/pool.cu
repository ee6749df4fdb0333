#include "cuda/pool.h"

#include <cstdint>
#include <limits>

#include "core/philox.h"
#include "cuda/element.h"
#include "cuda/walk.h"

namespace weft::cuda {
namespace {

constexpr int kThreads = 256;

template <class C>
constexpr C kInfinity = std::numeric_limits<C>::infinity();

/// Of indices along one axis; core keeps those of x below 2^31, and y has at most one more.
struct Range {
  std::uint32_t begin, end;
};

/// A number > 0 whose quotients take a multiplication: for 0 <= n < 2^63, n / value is (high 64 bits of n·multiplier) +
/// n, shifted right (Granlund and Montgomery 1994).
struct Size {
  std::int64_t value = 1;
  std::uint64_t multiplier = 1;
  int shift = 0;

  Size() = default;
  explicit Size(std::int64_t size) : value(size) {
    const auto d = static_cast<std::uint64_t>(size);
    while (std::uint64_t{1} << shift < d) ++shift;
    multiplier =
        static_cast<std::uint64_t>((static_cast<unsigned __int128>((std::uint64_t{1} << shift) - d) << 64) / d + 1);
  }
  WEFT_DEVICE std::int64_t quotient(std::int64_t n) const {
    const auto dividend = static_cast<std::uint64_t>(n);
    return static_cast<std::int64_t>((scalar::multiply_high(dividend, multiplier) + dividend) >> shift);
  }
};

/// Thread t has vector t % vectors (of V channels) of pixel t / vectors of the destination: y forward, x backward. The
/// source is the other.
struct Plan {
  std::int64_t threads = 0, source_volume = 1;
  Size vectors, destination_volume, destination[3], stride[3];
  std::int64_t kernel[3] = {}, padding[3] = {};
  std::uint32_t source[3] = {};
};

Plan plan_of(const PoolShape& s, bool forward, int width) {
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
    plan.source_volume *= source[i];
    plan.kernel[i] = s.kernel[i];
    plan.padding[i] = s.padding[i];
  }
  return plan;
}

/// One thread's destination pixel, and the box of source pixels it depends on: forward its window, backward the y whose
/// windows have it.
struct Target {
  std::int64_t channel, image, position;  // position: of the pixel in its image, flat
  Range box[3];
};

template <bool kForward>
WEFT_DEVICE Range range_along(const Plan& plan, int axis, std::int64_t at) {
  const std::int64_t kernel = plan.kernel[axis], size = plan.source[axis];
  const Size& stride = plan.stride[axis];
  if constexpr (kForward) {
    const std::int64_t begin = at * stride.value - plan.padding[axis], end = begin + kernel;
    return {static_cast<std::uint32_t>(begin > 0 ? begin : 0), static_cast<std::uint32_t>(end < size ? end : size)};
  } else {
    const std::int64_t padded = at + plan.padding[axis], end = stride.quotient(padded) + 1;
    return {static_cast<std::uint32_t>(padded < kernel ? 0 : stride.quotient(padded - kernel) + 1),
            static_cast<std::uint32_t>(end < size ? end : size)};
  }
}

template <int V, bool kForward>
WEFT_DEVICE Target target_of(const Plan& plan, std::int64_t thread) {
  const std::int64_t pixel = plan.vectors.quotient(thread);
  Target target;
  target.channel = (thread - pixel * plan.vectors.value) * V;
  target.image = plan.destination_volume.quotient(pixel);
  target.position = pixel - target.image * plan.destination_volume.value;
  const std::int64_t line = plan.destination[2].quotient(target.position);
  const std::int64_t depth = plan.destination[1].quotient(line);
  target.box[0] = range_along<kForward>(plan, 0, depth);
  target.box[1] = range_along<kForward>(plan, 1, line - depth * plan.destination[1].value);
  target.box[2] = range_along<kForward>(plan, 2, target.position - line * plan.destination[2].value);
  return target;
}

/// visit(position, element) for every pixel of the box in order: its flat position in its image, and where the thread's
/// channels of it are in the source.
template <int V, class Visit>
WEFT_DEVICE void for_box(const Plan& plan, const Target& target, const Visit& visit) {
  const std::int64_t channels = plan.vectors.value * V;
  const std::int64_t image = target.image * plan.source_volume * channels + target.channel;
  for (std::uint32_t d = target.box[0].begin; d < target.box[0].end; ++d) {
    for (std::uint32_t h = target.box[1].begin; h < target.box[1].end; ++h) {
      const std::int64_t line = (std::int64_t{d} * plan.source[1] + h) * plan.source[2];
      for (std::uint32_t w = target.box[2].begin; w < target.box[2].end; ++w)
        visit(line + w, image + (line + w) * channels);
    }
  }
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

/// The largest of each window and its position; the first of equals, and the first NaN, win.
template <class T, int V>
WEFT_KERNEL_OF(kThreads)
largest_kernel(Plan plan, const T* x, T* y, std::int32_t* indices) {
  using C = compute_t<T>;
  const std::int64_t thread = global_thread();
  if (thread >= plan.threads) return;
  const Target target = target_of<V, true>(plan, thread);
  const std::int64_t first =
      (std::int64_t{target.box[0].begin} * plan.source[1] + target.box[1].begin) * plan.source[2];
  C best[V];
  Pack<std::int32_t, V> index;
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    best[j] = -kInfinity<C>;
    index.value[j] = static_cast<std::int32_t>(first + target.box[2].begin);
  }
  for_box<V>(plan, target, [&](std::int64_t position, std::int64_t element) {
    const Pack<T, V> pack = pack_at<V>(x, element);
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) {
      const C value = widen(pack.value[j]);
      const bool better = value > best[j] || (value != value && best[j] == best[j]);
      best[j] = better ? value : best[j];
      index.value[j] = better ? static_cast<std::int32_t>(position) : index.value[j];
    }
  });
  store(y, thread * V, best);
  *reinterpret_cast<Pack<std::int32_t, V>*>(indices + thread * V) = index;
}

/// factor·(sum of the box).
template <class T, int V, bool kForward>
WEFT_KERNEL_OF(kThreads)
sum_kernel(Plan plan, const T* source, compute_t<T> factor, T* out) {
  const std::int64_t thread = global_thread();
  if (thread >= plan.threads) return;
  compute_t<T> total[V] = {};
  for_box<V>(plan, target_of<V, kForward>(plan, thread), [&](std::int64_t, std::int64_t element) {
    const Pack<T, V> pack = pack_at<V>(source, element);
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) total[j] += widen(pack.value[j]);
  });
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) total[j] *= factor;
  store(out, thread * V, total);
}

/// For each x the sum of the gradients of those y whose largest it is.
template <class T, int V>
WEFT_KERNEL_OF(kThreads)
matching_kernel(Plan plan, const T* y_grad, const std::int32_t* indices, T* x_grad) {
  using C = compute_t<T>;
  const std::int64_t thread = global_thread();
  if (thread >= plan.threads) return;
  const Target target = target_of<V, false>(plan, thread);
  C total[V] = {};
  for_box<V>(plan, target, [&](std::int64_t, std::int64_t element) {
    const Pack<T, V> pack = pack_at<V>(y_grad, element);
    const Pack<std::int32_t, V> index = pack_at<V>(indices, element);
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) total[j] += index.value[j] == target.position ? widen(pack.value[j]) : C(0);
  });
  store(x_grad, thread * V, total);
}

/// y = x at the indices. Needs no box: only the pixel's image and the channel.
template <class T, int V>
WEFT_KERNEL_OF(kThreads)
gather_kernel(Plan plan, const T* x, const std::int32_t* indices, T* y) {
  const std::int64_t thread = global_thread();
  if (thread >= plan.threads) return;
  const std::int64_t pixel = plan.vectors.quotient(thread), channels = plan.vectors.value * V;
  const std::int64_t first = plan.destination_volume.quotient(pixel) * plan.source_volume * channels +
                             (thread - pixel * plan.vectors.value) * V;
  const Pack<std::int32_t, V> index = pack_at<V>(indices, thread * V);
  Pack<T, V> pack;
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) pack.value[j] = x[first + index.value[j] * channels + j];
  *reinterpret_cast<Pack<T, V>*>(y + thread * V) = pack;
}

template <class T, int V>
void pool_of(Context& context, PoolPass pass, const PoolShape& s, const T* in, std::int32_t* indices, T* out) {
  using C = compute_t<T>;
  const Plan plan = plan_of(s, pass != PoolPass::max_scatter && pass != PoolPass::average_grad, V);
  const LaunchShape shape{"pool", blocks_for(plan.threads, kThreads), kThreads, context.stream};
  const C factor = static_cast<C>(1 / static_cast<double>(s.kernel[0] * s.kernel[1] * s.kernel[2]));
  switch (pass) {
    case PoolPass::max:
      return launch(shape, largest_kernel<T, V>, plan, in, out, indices);
    case PoolPass::max_scatter:
      return launch(shape, matching_kernel<T, V>, plan, in, indices, out);
    case PoolPass::max_gather:
      return launch(shape, gather_kernel<T, V>, plan, in, indices, out);
    case PoolPass::average:
      return launch(shape, sum_kernel<T, V, true>, plan, in, factor, out);
    case PoolPass::average_grad:
      return launch(shape, sum_kernel<T, V, false>, plan, in, factor, out);
  }
}

}  // namespace

void pool(Context& context, PoolPass pass, const PoolShape& shape, const ConstView& in, const View& indices,
          const View& out) {
  dispatch_floating("pooling", in.dtype, [&]<class T>(Type<T>) {
    constexpr int kWidest = sizeof(T) == 8 ? 2 : 4;  // 16 bytes of the widest of T, i32
    const auto addresses = reinterpret_cast<std::uintptr_t>(in.data) | reinterpret_cast<std::uintptr_t>(out.data) |
                           reinterpret_cast<std::uintptr_t>(indices.data);
    const bool wide = shape.c % kWidest == 0 && addresses % 16 == 0;
    (wide ? pool_of<T, kWidest> : pool_of<T, 1>)(context, pass, shape, in.as<T>(), indices.as<std::int32_t>(),
                                                 out.as<T>());
  });
}

}  // namespace weft::cuda
