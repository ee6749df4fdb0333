#include <cstdint>

#include "cuda/array/long_sum.cuh"
#include "cuda/spatial/pool_window.cuh"

// Averages whose windows differ in what they divide by.
namespace weft::cuda {
namespace {

using namespace pooling;  // NOLINT(google-build-using-namespace)

/// The positions of y's place `o` that count, along one axis of x of `size`.
template <class C, class Int>
WEFT_DEVICE C count_along(const Plan<Int>& plan, int axis, const divisor_t<Int>& y, Int size, Int o) {
  if (plan.adaptive) {
    const Range range = adaptive_range<Int>(y, size, o);
    return static_cast<C>(range.end - range.begin);
  }
  const Int begin = o * value_of<Int>(plan.stride[axis]) - plan.padding[axis], end = begin + plan.reach[axis];
  const Int first = plan.count_padding || begin > 0 ? begin : 0;
  const Int last = plan.count_padding ? size + plan.padding[axis] : size;
  return static_cast<C>((end < last ? end : last) - first);
}

template <class T, int V, class Int>
WEFT_KERNEL_OF(kThreads)
mean_kernel(Plan<Int> plan, const T* x, T* y) {
  using C = compute_t<T>;
  const std::int64_t thread = global_thread();
  if (thread >= plan.threads) return;
  const auto target = target_of<V, true, Windows::any>(plan, thread);
  LongSums<T, V> sums;
  double divisor = 1;
  x += target.first;
  for_box<false, 4>(plan, target, [&](Int, Int distance) {
    const Vector<T, V> vector = vector_at<V>(x, distance);
    sums.add([&](int j) { return widen(vector.value[j]); });
  });
  for (int axis = 0; axis < 3; ++axis)
    divisor *= count_along<double, Int>(plan, axis, plan.destination[axis], static_cast<Int>(plan.source[axis]),
                                        target.at[axis]);
  C total[V];
  sums.finish(1 / divisor, total);
  store(y, thread * V, total);
}

/// For each x the sum of the gradients of those y whose windows have it, each divided by its window's count.
template <class T, int V, class Int>
WEFT_KERNEL_OF_BLOCKS(kThreads, kBlocks)
mean_grad_kernel(Plan<Int> plan, const T* y_grad, T* x_grad) {
  using C = compute_t<T>;
  const std::int64_t thread = global_thread();
  if (thread >= plan.threads) return;
  const auto target = target_of<V, false, Windows::any>(plan, thread);
  const auto count = [&](int axis, std::uint32_t o) {
    return count_along<C, Int>(plan, axis, plan.source_size[axis], value_of<Int>(plan.destination[axis]),
                               static_cast<Int>(o));
  };
  LongSums<T, V> sums;
  y_grad += target.first;
  for_places<false, 1>(plan, target, [&](std::uint32_t d, std::uint32_t h, std::uint32_t w, Int, Int distance) {
    const C factor = C(1) / (count(0, d) * count(1, h) * count(2, w));
    const Vector<T, V> vector = vector_at<V>(y_grad, distance);
    sums.add([&](int j) { return widen(vector.value[j]) * factor; });
  });
  C total[V];
  sums.finish(1, total);
  store(x_grad, thread * V, total);
}

template <class T, int V, class Int>
void average_of(const Context& context, bool forward, const PoolShape& s, const T* in, T* out) {
  const auto plan = plan_of<Int>(s, forward, V);
  const LaunchShape shape{"average pool", blocks_for(plan.threads, kThreads), kThreads, context.stream};
  launch(shape, forward ? mean_kernel<T, V, Int> : mean_grad_kernel<T, V, Int>, plan, in, out);
}

}  // namespace

void pooling::uneven_average(Context& context, PoolPass pass, const PoolShape& shape, const ConstView& in,
                             const View& out) {
  dispatch_floating("pooling", in.dtype, [&]<class T>(Type<T>) {
    const bool wide = is_wide<T>(shape, {in.data, out.data});
    const bool forward = pass == PoolPass::average;
    with_counts<T>(context.limits.narrow_end, shape, forward, wide,
                   [&]<int V, class Int>(std::integral_constant<int, V>, Int) {
                     average_of<T, V, Int>(context, forward, shape, in.as<T>(), out.as<T>());
                   });
  });
}

}  // namespace weft::cuda
