#include "cuda/norm/norm_grid.cuh"
#include "cuda/norm/norm_small.cuh"
#include "cuda/runtime/backend.h"

namespace weft::cuda {
namespace {

using namespace norm;  // NOLINT(google-build-using-namespace)

/// What the gradient reads of one row.
template <class T, int V>
struct GradientRow {
  Vector<T, V> gradient, x;

  static WEFT_DEVICE GradientRow at(const T* y_grad, const T* x, std::int64_t at) {
    GradientRow row;
    row.gradient = vector_at<V>(y_grad, at);
    row.x = vector_at<V>(x, at);
    return row;
  }
};

template <class C>
WEFT_DEVICE C masked(C gradient, C centred, C scale, C shift, bool relu) {
  return !relu || normalised(centred, scale, shift) > 0 ? gradient : C(0);
}

/// x_grad = scale·(g + c + (x - mean)·b) is scale·(g - mean(g) - z·mean(g·z)) with z = (x - mean - rest)·inverse_std.
template <class C>
struct Terms {
  C b, c;
};

/// What becomes of the sums of a batch.
template <class C>
struct Gradients {
  std::int64_t channels;
  const C *mean, *inverse_std, *scale;  // mean: (2, channels)
  C *weight_grad, *bias_grad;

  /// One thread's for each channel.
  WEFT_DEVICE Terms<C> write(std::int64_t channel, std::int64_t rows, ChannelPair sums) const {
    const double n = static_cast<double>(rows > 0 ? rows : 1), rest = static_cast<double>(mean[channels + channel]);
    const double inverse = static_cast<double>(inverse_std[channel]), product_z = (sums.b - rest * sums.a) * inverse;
    const double factor = -inverse * product_z / n;
    weight_grad[channel] = static_cast<C>(product_z);
    bias_grad[channel] = static_cast<C>(sums.a);
    return {static_cast<C>(factor), static_cast<C>(-sums.a / n - rest * factor)};
  }
};

WEFT_DEVICE ChannelPair merge_sums(const Partials& parts, const Mergers& mergers, std::int64_t channels,
                                   double* shared) {
  const double* const at = parts.first + mergers.channel;
  const std::int64_t count = mergers.used ? parts.count : 0;
  ChannelPair sums{0, 0};
  for (std::int64_t i = mergers.line; i < count; i += mergers.height) {
    sums.a += at[2 * i * channels];
    sums.b += at[(2 * i + 1) * channels];
  }
  const double a = merge_sum(shared, mergers, sums.a);
  return {a, merge_sum(shared, mergers, sums.b)};
}

/// Writes both kinds of sums, `channels` apart.
template <class C, int V>
WEFT_DEVICE void write_sums(const Sums<C, V>& sums, std::int64_t channels, double* out) {
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    out[j] = sums.all_a[j];
    out[channels + j] = sums.all_b[j];
  }
}

template <class T, int V>
WEFT_DEVICE Vector<T, V> x_grad_of(const GradientRow<T, V>& row, const compute_t<T> (&mean)[V],
                                   const compute_t<T> (&scale)[V], const compute_t<T> (&shift)[V],
                                   const compute_t<T> (&b)[V], const compute_t<T> (&c)[V], bool relu) {
  using C = compute_t<T>;
  C out[V];
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    const C centred = widen(row.x.value[j]) - mean[j];
    const C gradient = masked(widen(row.gradient.value[j]), centred, scale[j], shift[j], relu);
    out[j] = scale[j] * std::fma(centred, b[j], gradient + c[j]);
  }
  return narrow_all<T>(out);
}

/// partials (splits, 2, channels): Σ g and Σ g·(x - mean), with g = y_grad where (x - mean)·scale + shift > 0 if
/// kMasked; more than two rows are added in f64. The last block of a tile writes the gradients of weight and bias and
/// b, c.
template <class T, int V, bool kMasked>
WEFT_KERNEL_OF_BLOCKS(kThreads, V == 1 ? 3 : 2)
grad_sums_kernel(const T* y_grad, const T* x, Grid grid, const compute_t<T>* mean, const compute_t<T>* scale,
                 const compute_t<T>* shift, Gradients<compute_t<T>> gradients, compute_t<T>* b, compute_t<T>* c,
                 double* partials, unsigned* counters) {
  using C = compute_t<T>;
  using Row = GradientRow<T, V>;
  WEFT_SHARED(double, sums_a, kThreads* V);
  WEFT_SHARED(double, sums_b, kThreads* V);
  const ThreadRows own = rows_of_thread<V>(grid);
  C m[V] = {}, f[V] = {}, s[V] = {};
  Sums<C, V> sums;
  if (own.begin < own.end) {
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) {
      m[j] = mean[own.channel + j];
      if constexpr (kMasked) {
        f[j] = scale[own.channel + j];
        s[j] = shift[own.channel + j];
      }
    }
  }
  for_rows<2>(
      grid, own, [=](std::int64_t at) { return Row::at(y_grad, x, at); },
      [&](const Row& row, std::int64_t) {
        WEFT_UNROLL
        for (int j = 0; j < V; ++j) {
          const C centred = widen(row.x.value[j]) - m[j];
          const C g = masked(widen(row.gradient.value[j]), centred, f[j], s[j], kMasked);
          sums.a[j] += g;
          sums.b[j] += g * centred;
        }
      },
      [&] { sums.widen_all(); });
  add_lines(grid, own, sums, sums_a, sums_b);
  if (own.line == 0 && own.channel < grid.channels) {
    write_sums(sums, grid.channels, partials + 2 * own.split * grid.channels + own.channel);
  }
  WEFT_SHARED(double, shared, kThreads);
  merge_splits<V>(
      grid, own, partials, counters,
      [&](const Partials& parts, const Mergers& mergers) { return merge_sums(parts, mergers, grid.channels, shared); },
      [&](std::int64_t channel, ChannelPair all) {
        const Terms<C> terms = gradients.write(channel, grid.rows, all);
        b[channel] = terms.b;
        c[channel] = terms.c;
      });
}

template <class T, int V, bool kMasked>
WEFT_KERNEL_OF_BLOCKS(kThreads, 3)
grad_apply_kernel(const T* y_grad, const T* x, Grid grid, const compute_t<T>* mean, const compute_t<T>* scale,
                  const compute_t<T>* shift, const compute_t<T>* b, const compute_t<T>* c, T* x_grad) {
  using C = compute_t<T>;
  using Row = GradientRow<T, V>;
  const ThreadRows own = rows_of_thread<V>(grid);
  if (own.begin >= own.end) return;
  C m[V], f[V], s[V] = {}, g[V], h[V];
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    m[j] = mean[own.channel + j];
    f[j] = scale[own.channel + j];
    if constexpr (kMasked) s[j] = shift[own.channel + j];
    g[j] = b[own.channel + j];
    h[j] = c[own.channel + j];
  }
  for_rows<2>(
      grid, own, [=](std::int64_t at) { return Row::at(y_grad, x, at); },
      [&](const Row& row, std::int64_t at) {
        *reinterpret_cast<Vector<T, V>*>(x_grad + at) = x_grad_of(row, m, f, s, g, h, kMasked);
      },
      [] {});
}

/// All of it for rows <= kRows · threads.
template <class T, int V, int kRows>
WEFT_KERNEL_OF_BLOCKS(kSmallThreads, 1)
small_grad_kernel(const T* y_grad, const T* x, int rows, std::int64_t channels, const compute_t<T>* mean,
                  const compute_t<T>* shift, Gradients<compute_t<T>> gradients, bool relu, T* x_grad) {
  using C = compute_t<T>;
  WEFT_SHARED(C, shared, kSmallWarps * 2 * V);
  WEFT_SHARED(C, terms_b, V);
  WEFT_SHARED(C, terms_c, V);
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * V;
  GradientRow<T, V> own[kRows] = {};
  C m[V], f[V], s[V] = {}, sums[2 * V] = {}, b[V], c[V];
  for_own_rows<kRows>(rows, channels, first,
                      [&](int i, std::int64_t at) { own[i] = GradientRow<T, V>::at(y_grad, x, at); });
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    m[j] = mean[first + j];
    f[j] = gradients.scale[first + j];
    if (relu) s[j] = shift[first + j];
  }
  for_own_rows<kRows>(rows, channels, first, [&](int i, std::int64_t) {
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) {
      const C centred = widen(own[i].x.value[j]) - m[j];
      const C g = masked(widen(own[i].gradient.value[j]), centred, f[j], s[j], relu);
      sums[j] += g;
      sums[V + j] += g * centred;
    }
  });
  sum_warps(sums, shared);
  if (thread < V) {
    const ChannelPair all{block_sum<2 * V>(shared, thread), block_sum<2 * V>(shared, V + thread)};
    const Terms<C> terms = gradients.write(first + thread, rows, all);
    terms_b[thread] = terms.b;
    terms_c[thread] = terms.c;
  }
  WEFT_BARRIER();
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    b[j] = terms_b[j];
    c[j] = terms_c[j];
  }
  for_own_rows<kRows>(rows, channels, first, [&](int i, std::int64_t at) {
    *reinterpret_cast<Vector<T, V>*>(x_grad + at) = x_grad_of(own[i], m, f, s, b, c, relu);
  });
}

template <class T>
void batch_norm_grad_of(Context& context, const BatchNormGradient& call) {
  using C = compute_t<T>;
  const ConstView &y_grad = call.y_grad, &x = call.x, &mean = call.mean, &scale = call.scale, &shift = call.shift;
  const View& x_grad = call.x_grad;
  const bool relu = call.relu;
  const std::int64_t rows = x.shape[0], channels = x.shape[1];
  const Gradients<C> gradients{channels,
                               mean.as<C>(),
                               call.inverse_std.as<C>(),
                               scale.as<C>(),
                               call.weight_grad.as<C>(),
                               call.bias_grad.as<C>()};
  if (rows <= kBackwardRows * kSmallThreads) {
    const auto launch_by_width = [&]<int V>(std::integral_constant<int, V>) {
      with_rows<1, kBackwardRows>(rows, [&]<int kRows>(std::integral_constant<int, kRows>, int threads) {
        launch({"batch_norm_grad", channels / V, threads, context.stream}, small_grad_kernel<T, V, kRows>,
               y_grad.as<T>(), x.as<T>(), static_cast<int>(rows), channels, mean.as<C>(), shift.as<C>(), gradients,
               relu, x_grad.as<T>());
      });
    };
    with_width<T>(channels, launch_by_width, y_grad.data, x.data, x_grad.data);
    return;
  }
  const Scratch scratch(context, 2 * static_cast<std::size_t>(channels) * sizeof(C));
  C *b = scratch.as<C>(), *c = b + channels;
  const auto launch_by_width = [&]<int V>(std::integral_constant<int, V>) {
    const Grid sums = grid_of<T, V>(context, x, 8), grid = grid_of<T, V>(context, x, 4);
    const Scratch partials(context, partials_of(sums) * sizeof(double));
    for_tiles(context, sums, [&](const Grid& part) {
      launch({"batch_norm_grad sums", part.blocks(), kThreads, context.stream},
             relu ? grad_sums_kernel<T, V, true> : grad_sums_kernel<T, V, false>, y_grad.as<T>(), x.as<T>(), part,
             mean.as<C>(), scale.as<C>(), shift.as<C>(), gradients, b, c, partials.as<double>(), context.counters);
    });
    launch({"batch_norm_grad", grid.blocks(), kThreads, context.stream},
           relu ? grad_apply_kernel<T, V, true> : grad_apply_kernel<T, V, false>, y_grad.as<T>(), x.as<T>(), grid,
           mean.as<C>(), scale.as<C>(), shift.as<C>(), b, c, x_grad.as<T>());
  };
  with_width<T>(channels, launch_by_width, y_grad.data, x.data, x_grad.data);
}

}  // namespace

void CudaBackend::batch_norm_grad(const BatchNormGradient& call) {
  dispatch_floating("batch_norm_grad", call.x.dtype, [&]<class T>(Type<T>) {
    if (call.x.shape[1] > 0) batch_norm_grad_of<T>(context_, call);
  });
}

}  // namespace weft::cuda
