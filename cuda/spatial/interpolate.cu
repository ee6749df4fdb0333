#include <cstdint>
#include <type_traits>

#include "cuda/array/element.h"
#include "cuda/array/long_sum.cuh"
#include "cuda/array/walk.h"
#include "cuda/runtime/backend.h"

namespace weft::cuda {
namespace {

constexpr int kThreads = 256;  // of a block; threads share nothing

/// Thread t has vector t % vectors (of V channels) of pixel t / vectors of the destination: y forward, x in the
/// adjoint. The source is the other.
struct Plan {
  std::int64_t threads = 0, channels = 0, source_volume = 1;
  std::int64_t sizes[4] = {1, 1, 1, 1};  // vectors, and the destination's width, height and depth
  FastDivisor32 divisors[4];             // by them, where all threads are below 2^31
  bool narrow = false;
  std::int64_t source[3] = {};
  InterpolateAxis axes[3];
};

Plan plan_of(const InterpolateShape& s, bool forward, int width) {
  Plan plan;
  plan.channels = s.c;
  plan.sizes[0] = s.c / width;
  for (std::size_t i = 0; i < 3; ++i) {
    const InterpolateAxis& a = s.axes[i];
    plan.axes[i] = a;
    plan.source[i] = forward ? a.in : a.out;
    plan.source_volume *= plan.source[i];
    plan.sizes[3 - i] = forward ? a.out : a.in;
  }
  plan.threads = s.n * plan.sizes[0] * plan.sizes[1] * plan.sizes[2] * plan.sizes[3];
  plan.narrow = plan.threads < INT32_MAX;
  if (plan.threads == 0 || !plan.narrow) return plan;
  for (int k = 0; k < 4; ++k) plan.divisors[k] = FastDivisor32(static_cast<std::uint32_t>(plan.sizes[k]));
  return plan;
}

/// The remainder of rest by size k, which is left the quotient.
WEFT_DEVICE std::int64_t take(const Plan& plan, int k, std::int64_t& rest) {
  const std::int64_t quotient =
      plan.narrow ? plan.divisors[k].quotient(static_cast<std::uint32_t>(rest)) : rest / plan.sizes[k];
  const std::int64_t remainder = rest - quotient * plan.sizes[k];
  rest = quotient;
  return remainder;
}

/// One thread's destination pixel, and the box of source pixels it depends on.
struct Target {
  std::int64_t first;  // element of the source: the thread's channels of its image's first pixel
  std::int64_t at[3];
  InterpolateRange box[3];
};

template <int V, bool kForward>
WEFT_DEVICE Target target_of(const Plan& plan, std::int64_t thread) {
  Target target;
  const std::int64_t channel = take(plan, 0, thread) * V;
  for (int axis = 2; axis >= 0; --axis) {
    target.at[axis] = take(plan, 3 - axis, thread);
    target.box[axis] = kForward ? interpolate_inputs(plan.axes[axis], target.at[axis])
                                : interpolate_outputs(plan.axes[axis], target.at[axis]);
  }
  target.first = thread * plan.source_volume * plan.channels + channel;
  return target;
}

/// What source position `from` counts for in the thread's pixel, along one axis.
template <class C, bool kForward, bool kLinear>
WEFT_DEVICE C weight_of(const Plan& plan, const Target& target, int axis, std::int64_t from) {
  if constexpr (!kLinear) return C(1);
  const std::int64_t at = target.at[axis];
  return static_cast<C>(kForward ? interpolate_weight(plan.axes[axis], from, at)
                                 : interpolate_weight(plan.axes[axis], at, from));
}

/// Where the elements of y are taken from, without weights.
template <class T, int V>
WEFT_KERNEL_OF(kThreads)
nearest_kernel(Plan plan, const T* x, T* y) {
  std::int64_t rest = global_thread();
  if (rest >= plan.threads) return;
  const std::int64_t thread = rest, channel = take(plan, 0, rest) * V;
  std::int64_t pixel = 0, stride = 1;
  WEFT_UNROLL
  for (int axis = 2; axis >= 0; --axis) {
    pixel += interpolate_tap(plan.axes[axis], take(plan, 3 - axis, rest)).index * stride;
    stride *= plan.source[axis];
  }
  const std::int64_t from = (rest * plan.source_volume + pixel) * plan.channels + channel;
  *reinterpret_cast<Vector<T, V>*>(y + thread * V) = *reinterpret_cast<const Vector<T, V>*>(x + from);
}

/// The sum of the box, each element times the weights of its three positions; in order.
template <class T, int V, bool kForward, bool kLinear>
WEFT_KERNEL_OF_BLOCKS(kThreads, 2)
interpolate_kernel(Plan plan, const T* source, T* out) {
  using C = compute_t<T>;
  const std::int64_t thread = global_thread();
  if (thread >= plan.threads) return;
  const Target target = target_of<V, kForward>(plan, thread);
  // Forward has at most eight terms, backward any number. Each kind has the sums that spill no register.
  using Total = std::conditional_t<kForward, C, double>;
  Total total[V] = {};
  LongSums<T, V> sums;
  for (std::int64_t d = target.box[0].begin; d < target.box[0].end; ++d) {
    const C depth = weight_of<C, kForward, kLinear>(plan, target, 0, d);
    for (std::int64_t h = target.box[1].begin; h < target.box[1].end; ++h) {
      const C line = depth * weight_of<C, kForward, kLinear>(plan, target, 1, h);
      for (std::int64_t w = target.box[2].begin; w < target.box[2].end; ++w) {
        const C weight = line * weight_of<C, kForward, kLinear>(plan, target, 2, w);
        const std::int64_t pixel = (d * plan.source[1] + h) * plan.source[2] + w;
        const Vector<T, V> vector =
            *reinterpret_cast<const Vector<T, V>*>(source + target.first + pixel * plan.channels);
        if constexpr (kLinear) {
          WEFT_UNROLL
          for (int j = 0; j < V; ++j) total[j] += static_cast<Total>(weight * widen(vector.value[j]));
        } else {
          sums.add([&](int j) { return weight * widen(vector.value[j]); });
        }
      }
    }
  }
  C result[V];
  if constexpr (kLinear) {
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) result[j] = static_cast<C>(total[j]);
  } else {
    sums.finish(1, result);
  }
  *reinterpret_cast<Vector<T, V>*>(out + thread * V) = narrow_all<T>(result);
}

template <class T, int V, bool kForward>
void interpolate_of(Context& context, const InterpolateShape& s, const T* in, T* out) {
  const Plan plan = plan_of(s, kForward, V);
  const LaunchShape shape{"interpolate", blocks_for(plan.threads, kThreads), kThreads, context.stream};
  const bool linear = s.axes[0].linear || s.axes[1].linear || s.axes[2].linear;
  if (linear) return launch(shape, interpolate_kernel<T, V, kForward, true>, plan, in, out);
  if constexpr (kForward) return launch(shape, nearest_kernel<T, V>, plan, in, out);
  if constexpr (!kForward) return launch(shape, interpolate_kernel<T, V, false, false>, plan, in, out);
}

}  // namespace

void CudaBackend::interpolate(InterpolatePass pass, const InterpolateShape& shape, const ConstView& in,
                              const View& out) {
  dispatch_floating("interpolate", in.dtype, [&]<class T>(Type<T>) {
    constexpr int kWidest = 16 / sizeof(T);
    const auto addresses = reinterpret_cast<std::uintptr_t>(in.data) | reinterpret_cast<std::uintptr_t>(out.data);
    const bool wide = shape.c % kWidest == 0 && addresses % 16 == 0;
    if (pass == InterpolatePass::forward) {
      (wide ? interpolate_of<T, kWidest, true> : interpolate_of<T, 1, true>)(context_, shape, in.as<T>(), out.as<T>());
    } else {
      (wide ? interpolate_of<T, kWidest, false> : interpolate_of<T, 1, false>)(context_, shape, in.as<T>(),
                                                                               out.as<T>());
    }
  });
}

}  // namespace weft::cuda
