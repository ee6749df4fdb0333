#include "cuda/pool.h"

#include <cstdint>
#include <limits>

#include "cuda/long_sum.cuh"
#include "cuda/pool_window.cuh"

namespace weft::cuda {
namespace {

using namespace pooling;  // NOLINT(google-build-using-namespace)

template <class C>
constexpr C kInfinity = std::numeric_limits<C>::infinity();

/// The largest of each window and its position; the first of equals, and the first NaN, win. -infinity and -1 of an
/// empty window.
template <class T, int V, Windows kWindows>
WEFT_KERNEL_OF(kThreads)
largest_kernel(Plan plan, const T* x, T* y, std::int32_t* indices) {
  using C = compute_t<T>;
  const std::int64_t thread = global_thread();
  if (thread >= plan.threads) return;
  const Target target = target_of<V, true, kWindows>(plan, thread);
  std::int64_t first =
      (std::int64_t{target.box[0].begin} * plan.source[1] + target.box[1].begin) * plan.source[2] + target.box[2].begin;
  if constexpr (kWindows == Windows::any) {
    for (const Range& range : target.box) first = range.begin < range.end ? first : -1;
  }
  C best[V];
  Pack<std::int32_t, V> index;
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    best[j] = -kInfinity<C>;
    index.value[j] = static_cast<std::int32_t>(first);
  }
  for_box<V, kWindows == Windows::any>(plan, target, [&](std::int64_t position, std::int64_t element) {
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
sum_kernel(Plan plan, const T* source, double factor, T* out) {
  const std::int64_t thread = global_thread();
  if (thread >= plan.threads) return;
  LongSums<T, V> sums;
  const Target target = target_of<V, kForward, Windows::simple>(plan, thread);
  for_box<V, false>(plan, target, [&](std::int64_t, std::int64_t element) {
    const Pack<T, V> pack = pack_at<V>(source, element);
    sums.add([&](int j) { return widen(pack.value[j]); });
  });
  compute_t<T> total[V];
  sums.finish(factor, total);
  store(out, thread * V, total);
}

/// For each x the sum of the gradients of those y whose largest it is.
template <class T, int V, Windows kWindows>
WEFT_KERNEL_OF(kThreads)
matching_kernel(Plan plan, const T* y_grad, const std::int32_t* indices, T* x_grad) {
  const std::int64_t thread = global_thread();
  if (thread >= plan.threads) return;
  const Target target = target_of<V, false, kWindows>(plan, thread);
  double sums[V] = {};
  for_box<V, false>(plan, target, [&](std::int64_t, std::int64_t element) {
    const Pack<T, V> pack = pack_at<V>(y_grad, element);
    const Pack<std::int32_t, V> index = pack_at<V>(indices, element);
    WEFT_UNROLL
    for (int j = 0; j < V; ++j)
      sums[j] += index.value[j] == target.position ? static_cast<double>(widen(pack.value[j])) : 0.0;
  });
  compute_t<T> total[V];
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) total[j] = static_cast<compute_t<T>>(sums[j]);
  store(x_grad, thread * V, total);
}

/// y = x at the indices, 0 at -1. Needs no box: only the pixel's image and the channel.
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
  for (int j = 0; j < V; ++j)
    pack.value[j] = index.value[j] < 0 ? narrow<T>(0.0f) : x[first + index.value[j] * channels + j];
  *reinterpret_cast<Pack<T, V>*>(y + thread * V) = pack;
}

/// Thread t has channel t mod channels of image t / channels, all pixels of it in order: the last of equal indices
/// wins without atomics, and neighbouring threads read neighbours.
template <class T>
WEFT_KERNEL_OF(kThreads)
unpool_kernel(const T* y, const std::int32_t* indices, T* x, std::int64_t threads, std::int64_t channels,
              std::int64_t y_volume, std::int64_t x_volume) {
  const std::int64_t thread = global_thread();
  if (thread >= threads) return;
  const std::int64_t image = thread / channels, channel = thread - image * channels;
  const std::int64_t from = image * y_volume * channels + channel, to = image * x_volume * channels + channel;
  for (std::int64_t pixel = 0; pixel < y_volume; ++pixel) {
    const std::int32_t index = indices[from + pixel * channels];
    if (index >= 0) x[to + index * channels] = y[from + pixel * channels];
  }
}

template <class T>
void unpool_of(const Context& context, const PoolShape& s, const T* y, const std::int32_t* indices, T* x) {
  const std::int64_t threads = s.n * s.c;
  const LaunchShape shape{"unpool", blocks_for(threads, kThreads), kThreads, context.stream};
  launch(shape, unpool_kernel<T>, y, indices, x, threads, s.c, s.out[0] * s.out[1] * s.out[2],
         s.in[0] * s.in[1] * s.in[2]);
}

template <class T, int V>
void pool_of(Context& context, PoolPass pass, const PoolShape& s, const T* in, std::int32_t* indices, T* out) {
  const Plan plan = plan_of(s, pass != PoolPass::max_scatter && pass != PoolPass::average_grad, V);
  const LaunchShape shape{"pool", blocks_for(plan.threads, kThreads), kThreads, context.stream};
  const bool simple = !s.adaptive && s.dilation[0] == 1 && s.dilation[1] == 1 && s.dilation[2] == 1;
  const double factor = 1 / s.divisor;
  switch (pass) {
    case PoolPass::max:
      return launch(shape, simple ? largest_kernel<T, V, Windows::simple> : largest_kernel<T, V, Windows::any>, plan,
                    in, out, indices);
    case PoolPass::max_scatter:
      return launch(shape, simple ? matching_kernel<T, V, Windows::simple> : matching_kernel<T, V, Windows::any>, plan,
                    in, indices, out);
    case PoolPass::max_gather:
      return launch(shape, gather_kernel<T, V>, plan, in, indices, out);
    case PoolPass::average:
      return launch(shape, sum_kernel<T, V, true>, plan, in, factor, out);
    case PoolPass::average_grad:
      return launch(shape, sum_kernel<T, V, false>, plan, in, factor, out);
    case PoolPass::unpool:
      return unpool_of(context, s, in, indices, out);
  }
}

}  // namespace

void pool(Context& context, PoolPass pass, const PoolShape& shape, const ConstView& in, const View& indices,
          const View& out) {
  const bool average = pass == PoolPass::average || pass == PoolPass::average_grad;
  if (average && shape.divisor == 0) return pool_uneven_average(context, pass, shape, in, out);
  dispatch_floating("pooling", in.dtype, [&]<class T>(Type<T>) {
    const bool wide = is_wide<T>(shape, {in.data, out.data, indices.data});
    (wide ? pool_of<T, kWidest<T>> : pool_of<T, 1>)(context, pass, shape, in.as<T>(), indices.as<std::int32_t>(),
                                                    out.as<T>());
  });
}

}  // namespace weft::cuda
