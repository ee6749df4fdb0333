#include <cstdint>

#include "cuda/long_sum.cuh"
#include "cuda/pool.h"
#include "cuda/pool_window.cuh"

// Averages whose windows differ in what they divide by.
namespace weft::cuda {
namespace {

using namespace pooling;  // NOLINT(google-build-using-namespace)

/// The positions of y's place `o` that count, along one axis of x of `size`.
template <class C>
WEFT_DEVICE C count_along(const Plan& plan, int axis, const Size& y, std::int64_t size, std::int64_t o) {
  if (plan.adaptive) {
    const Range range = adaptive_range(y, size, o);
    return static_cast<C>(range.end - range.begin);
  }
  const std::int64_t begin = o * plan.stride[axis].value - plan.padding[axis], end = begin + plan.reach[axis];
  const std::int64_t first = plan.count_padding || begin > 0 ? begin : 0;
  const std::int64_t last = plan.count_padding ? size + plan.padding[axis] : size;
  return static_cast<C>((end < last ? end : last) - first);
}

template <class T, int V>
WEFT_KERNEL_OF(kThreads)
mean_kernel(Plan plan, const T* x, T* y) {
  using C = compute_t<T>;
  const std::int64_t thread = global_thread();
  if (thread >= plan.threads) return;
  const Target target = target_of<V, true, Windows::any>(plan, thread);
  LongSums<T, V> sums;
  double divisor = 1;
  for_box<V, false>(plan, target, [&](std::int64_t, std::int64_t element) {
    const Pack<T, V> pack = pack_at<V>(x, element);
    sums.add([&](int j) { return widen(pack.value[j]); });
  });
  for (int axis = 0; axis < 3; ++axis)
    divisor *= count_along<double>(plan, axis, plan.destination[axis], plan.source[axis], target.at[axis]);
  C total[V];
  sums.finish(1 / divisor, total);
  store(y, thread * V, total);
}

/// For each x the sum of the gradients of those y whose windows have it, each divided by its window's count.
template <class T, int V>
WEFT_KERNEL_OF(kThreads)
mean_grad_kernel(Plan plan, const T* y_grad, T* x_grad) {
  using C = compute_t<T>;
  const std::int64_t thread = global_thread();
  if (thread >= plan.threads) return;
  const Target target = target_of<V, false, Windows::any>(plan, thread);
  const auto count = [&](int axis, std::uint32_t o) {
    return count_along<C>(plan, axis, plan.source_size[axis], plan.destination[axis].value, o);
  };
  LongSums<T, V> sums;
  for_places<V, false>(plan, target,
                       [&](std::uint32_t d, std::uint32_t h, std::uint32_t w, std::int64_t, std::int64_t element) {
                         const C factor = C(1) / (count(0, d) * count(1, h) * count(2, w));
                         const Pack<T, V> pack = pack_at<V>(y_grad, element);
                         sums.add([&](int j) { return widen(pack.value[j]) * factor; });
                       });
  C total[V];
  sums.finish(1, total);
  store(x_grad, thread * V, total);
}

template <class T, int V>
void average_of(const Context& context, bool forward, const PoolShape& s, const T* in, T* out) {
  const Plan plan = plan_of(s, forward, V);
  const LaunchShape shape{"average pool", blocks_for(plan.threads, kThreads), kThreads, context.stream};
  launch(shape, forward ? mean_kernel<T, V> : mean_grad_kernel<T, V>, plan, in, out);
}

}  // namespace

void pool_uneven_average(Context& context, PoolPass pass, const PoolShape& shape, const ConstView& in,
                         const View& out) {
  dispatch_floating("pooling", in.dtype, [&]<class T>(Type<T>) {
    const bool wide = is_wide<T>(shape, {in.data, out.data});
    (wide ? average_of<T, kWidest<T>> : average_of<T, 1>)(context, pass == PoolPass::average, shape, in.as<T>(),
                                                          out.as<T>());
  });
}

}  // namespace weft::cuda
