#include <array>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "cuda/array/long_sum.cuh"
#include "cuda/spatial/pool_window.cuh"

namespace weft::cuda {
namespace {

using namespace pooling;  // NOLINT(google-build-using-namespace)

template <class C>
constexpr C kInfinity = std::numeric_limits<C>::infinity();

/// The largest of some numbers and its position; the first of equals, and the first NaN, win.
template <class C>
struct Largest {
  C value;
  std::int32_t position;

  WEFT_DEVICE void take(C other, std::int32_t at) {
    const bool better = value == value && !(other <= value);
    value = better ? other : value;
    position = better ? at : position;
  }
};

/// The largest of each window. -infinity and -1 of an empty window.
template <class T, int V, Windows kWindows, class Int>
WEFT_KERNEL_OF_BLOCKS(kThreads, kBlocks)
largest_kernel(Plan<Int> plan, const T* x, T* y, std::int32_t* indices) {
  using C = compute_t<T>;
  const std::int64_t thread = global_thread();
  if (thread >= plan.threads) return;
  const auto target = target_of<V, true, kWindows>(plan, thread);
  Int first = (static_cast<Int>(target.box[0].begin) * static_cast<Int>(plan.source[1]) +
               static_cast<Int>(target.box[1].begin)) *
                  static_cast<Int>(plan.source[2]) +
              static_cast<Int>(target.box[2].begin);
  if constexpr (kWindows == Windows::any) {
    for (const Range& range : target.box) first = range.begin < range.end ? first : -1;
  }
  Largest<C> best[V];
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) best[j] = {-kInfinity<C>, static_cast<std::int32_t>(first)};
  x += target.first;
  for_box<kWindows == Windows::any, 2>(plan, target, [&](Int position, Int distance) {
    const Vector<T, V> vector = vector_at<V>(x, distance);
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) best[j].take(widen(vector.value[j]), static_cast<std::int32_t>(position));
  });
  C values[V];
  Positions<V> positions;
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    values[j] = best[j].value;
    positions[j] = best[j].position;
  }
  store(y, thread * V, values);
  positions.store(indices + thread * V);
}

/// factor·(sum of the box).
template <class T, int V, bool kForward, class Int>
WEFT_KERNEL_OF_BLOCKS(kThreads, kBlocks)
sum_kernel(Plan<Int> plan, const T* source, double factor, T* out) {
  const std::int64_t thread = global_thread();
  if (thread >= plan.threads) return;
  LongSums<T, V> sums;
  const auto target = target_of<V, kForward, Windows::simple>(plan, thread);
  source += target.first;
  for_box<false, 4>(plan, target, [&](Int, Int distance) {
    const Vector<T, V> vector = vector_at<V>(source, distance);
    sums.add([&](int j) { return widen(vector.value[j]); });
  });
  compute_t<T> total[V];
  sums.finish(factor, total);
  store(out, thread * V, total);
}

/// For each x the sum of the gradients of those y whose largest it is.
template <class T, int V, Windows kWindows, class Int>
WEFT_KERNEL_OF_BLOCKS(kThreads, kBlocks)
matching_kernel(Plan<Int> plan, const T* y_grad, const std::int32_t* indices, T* x_grad) {
  const std::int64_t thread = global_thread();
  if (thread >= plan.threads) return;
  const auto target = target_of<V, false, kWindows>(plan, thread);
  const auto position = static_cast<std::int32_t>(target.position);
  double sums[V] = {};
  y_grad += target.first;
  indices += target.first;
  for_box<false, 1>(plan, target, [&](Int, Int distance) {
    const Vector<T, V> vector = vector_at<V>(y_grad, distance);
    const auto index = Positions<V>::load(indices + distance);
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) sums[j] += index[j] == position ? static_cast<double>(widen(vector.value[j])) : 0.0;
  });
  compute_t<T> total[V];
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) total[j] = static_cast<compute_t<T>>(sums[j]);
  store(x_grad, thread * V, total);
}

/// Windows of 2x2 that cover x without overlap: thread t has vector t % vectors of window t / vectors.
struct Squares {
  FastDivisor32 vectors, width, height;  // of y
  std::int32_t threads = 0, channels = 0;
};

struct Square {
  std::int64_t first;     // of x's elements, that of the window's first pixel
  std::int32_t position;  // of that pixel in its image, flat
};

template <int V>
WEFT_DEVICE Square square_of(const Squares& s, std::int32_t thread) {
  const std::int32_t pixel = quotient(thread, s.vectors), line = quotient(pixel, s.width);
  const std::int32_t row = line - quotient(line, s.height) * static_cast<std::int32_t>(s.height.value);
  const auto width = static_cast<std::int32_t>(s.width.value), column = pixel - line * width;
  const std::int32_t channel = (thread - pixel * static_cast<std::int32_t>(s.vectors.value)) * V;
  const std::int32_t place = 4 * line * width + 2 * column;  // of the batch's pixels
  return {std::int64_t{place} * s.channels + channel, 4 * row * width + 2 * column};
}

template <class T, int V>
WEFT_KERNEL_OF(kThreads)
largest_of_squares_kernel(Squares s, const T* x, T* y, std::int32_t* indices) {
  using C = compute_t<T>;
  const auto thread = static_cast<std::int32_t>(global_thread());
  if (thread >= s.threads) return;
  const auto width = static_cast<std::int32_t>(s.width.value);
  const Square square = square_of<V>(s, thread);
  const T* const upper = x + square.first;
  const T* const lower = upper + std::int64_t{2 * width} * s.channels;
  const Vector<T, V> vectors[4] = {vector_at<V>(upper, 0), vector_at<V>(upper, s.channels), vector_at<V>(lower, 0),
                                   vector_at<V>(lower, s.channels)};
  C values[V];
  Positions<V> positions;
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    Largest<C> best{widen(vectors[0].value[j]), square.position};
    best.take(widen(vectors[1].value[j]), square.position + 1);
    best.take(widen(vectors[2].value[j]), square.position + 2 * width);
    best.take(widen(vectors[3].value[j]), square.position + 2 * width + 1);
    values[j] = best.value;
    positions[j] = best.position;
  }
  store(y, std::int64_t{thread} * V, values);
  positions.store(indices + std::int64_t{thread} * V);
}

template <class T, int V>
WEFT_KERNEL_OF(kThreads)
matching_squares_kernel(Squares s, const T* y_grad, const std::int32_t* indices, T* x_grad) {
  using C = compute_t<T>;
  const auto thread = static_cast<std::int32_t>(global_thread());
  if (thread >= s.threads) return;
  const auto width = static_cast<std::int32_t>(s.width.value);
  const Vector<T, V> vector = vector_at<V>(y_grad, std::int64_t{thread} * V);
  const auto index = Positions<V>::load(indices + std::int64_t{thread} * V);
  const Square square = square_of<V>(s, thread);
  T* const upper = x_grad + square.first;
  const auto write = [&](T* to, std::int32_t position) {
    C gradients[V];
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) {
      gradients[j] = index[j] == position ? widen(vector.value[j]) + C(0) : C(0);  // a sum with 0, which has no -0
    }
    store(to, 0, gradients);
  };
  write(upper, square.position);
  write(upper + s.channels, square.position + 1);
  T* const lower = upper + std::int64_t{2 * width} * s.channels;
  write(lower, square.position + 2 * width);
  write(lower + s.channels, square.position + 2 * width + 1);
}

/// Whether x, forward and backward, is covered by windows of 2x2 that do not overlap, and few enough to be counted.
bool is_squares(std::int64_t end, const PoolShape& s) {
  using Sizes = std::array<std::int64_t, 3>;
  return !s.adaptive && s.kernel == Sizes{1, 2, 2} && s.stride[1] == 2 && s.stride[2] == 2 && s.padding == Sizes{} &&
         s.in == Sizes{1, 2 * s.out[1], 2 * s.out[2]} && s.dilation[1] == 1 && s.dilation[2] == 1 && s.out[0] == 1 &&
         4 * s.n * s.out[1] * s.out[2] < end && s.n * s.out[1] * s.out[2] * s.c < end && s.c < end;
}

template <int V>
Squares squares_of(const PoolShape& s) {
  Squares squares;
  squares.vectors = FastDivisor32(static_cast<std::uint32_t>(s.c / V));
  squares.width = FastDivisor32(static_cast<std::uint32_t>(s.out[2]));
  squares.height = FastDivisor32(static_cast<std::uint32_t>(s.out[1]));
  squares.threads = static_cast<std::int32_t>(s.n * s.out[1] * s.out[2] * (s.c / V));
  squares.channels = static_cast<std::int32_t>(s.c);
  return squares;
}

/// y = x at the indices, 0 at -1. Needs no box: only the pixel's image and the channel.
template <class T, int V, class Int>
WEFT_KERNEL_OF(kThreads)
gather_kernel(Plan<Int> plan, const T* x, const std::int32_t* indices, T* y) {
  const std::int64_t thread = global_thread();
  if (thread >= plan.threads) return;
  const Int index = static_cast<Int>(thread), pixel = quotient(index, plan.vectors);
  x += quotient(pixel, plan.destination_volume) * plan.source_image + (index - pixel * value_of<Int>(plan.vectors)) * V;
  const auto places = Positions<V>::load(indices + thread * V);
  Vector<T, V> vector;
  WEFT_UNROLL
  for (int j = 0; j < V; ++j)
    vector.value[j] = places[j] < 0 ? narrow<T>(0.0f) : x[static_cast<Int>(places[j]) * plan.channels + j];
  *reinterpret_cast<Vector<T, V>*>(y + thread * V) = vector;
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

template <class T, int V, class Int>
void pool_of(const Context& context, PoolPass pass, const PoolShape& s, const T* in, std::int32_t* indices, T* out) {
  // Windows that are any serve for simple ones, where those need no speed.
  constexpr Windows kSimple = V > 1 ? Windows::simple : Windows::any;
  const auto plan = plan_of<Int>(s, pass != PoolPass::max_scatter && pass != PoolPass::average_grad, V);
  const LaunchShape shape{"pool", blocks_for(plan.threads, kThreads), kThreads, context.stream};
  const bool simple = !s.adaptive && s.dilation[0] == 1 && s.dilation[1] == 1 && s.dilation[2] == 1;
  const double factor = 1 / s.divisor;
  switch (pass) {
    case PoolPass::max:
      return launch(shape, simple ? largest_kernel<T, V, kSimple, Int> : largest_kernel<T, V, Windows::any, Int>, plan,
                    in, out, indices);
    case PoolPass::max_scatter:
      return launch(shape, simple ? matching_kernel<T, V, kSimple, Int> : matching_kernel<T, V, Windows::any, Int>,
                    plan, in, indices, out);
    case PoolPass::max_gather:
      return launch(shape, gather_kernel<T, V, Int>, plan, in, indices, out);
    case PoolPass::average:
      return launch(shape, sum_kernel<T, V, true, Int>, plan, in, factor, out);
    case PoolPass::average_grad:
      return launch(shape, sum_kernel<T, V, false, Int>, plan, in, factor, out);
    case PoolPass::unpool:
      break;
  }
}

/// Max pooling by windows of 2x2 that cover x.
template <class T>
void pool_squares(const Context& context, PoolPass pass, const PoolShape& s, const T* in, std::int32_t* indices,
                  T* out) {
  constexpr int V = kWidest<T>;
  const Squares squares = squares_of<V>(s);
  const LaunchShape shape{"pool", blocks_for(squares.threads, kThreads), kThreads, context.stream};
  if (pass == PoolPass::max) return launch(shape, largest_of_squares_kernel<T, V>, squares, in, out, indices);
  launch(shape, matching_squares_kernel<T, V>, squares, in, indices, out);
}

}  // namespace

void CudaBackend::pool(PoolPass pass, const PoolShape& shape, const ConstView& in, const View& indices,
                       const View& out) {
  const bool average = pass == PoolPass::average || pass == PoolPass::average_grad;
  if (average && shape.divisor == 0) return uneven_average(context_, pass, shape, in, out);
  dispatch_floating("pooling", in.dtype, [&]<class T>(Type<T>) {
    const T* const from = in.as<T>();
    T* const to = out.as<T>();
    auto* const places = indices.as<std::int32_t>();
    if (pass == PoolPass::unpool) return unpool_of(context_, shape, from, places, to);
    const bool wide = is_wide<T>(shape, {in.data, out.data, indices.data});
    const bool backward = pass == PoolPass::max_scatter || pass == PoolPass::average_grad;
    if (wide && (pass == PoolPass::max || pass == PoolPass::max_scatter) && in.size() > 0 &&
        is_squares(context_.limits.narrow_end, shape)) {
      return pool_squares(context_, pass, shape, from, places, to);
    }
    with_counts<T>(context_.limits.narrow_end, shape, !backward, wide,
                   [&]<int V, class Int>(std::integral_constant<int, V>, Int) {
                     pool_of<T, V, Int>(context_, pass, shape, from, places, to);
                   });
  });
}

}  // namespace weft::cuda
