#include "cuda/norm.h"

#include "cuda/norm_grid.cuh"
#include "cuda/norm_small.cuh"

namespace weft::cuda {
namespace {

using namespace norm;  // NOLINT(google-build-using-namespace)

/// Takes up the rounding of the scale, so a large mean does not amplify it.
template <class C>
WEFT_DEVICE C shift_of(C bias, double mean, C scale) {
  return static_cast<C>(static_cast<double>(bias) - mean * static_cast<double>(scale));
}

template <class C>
struct Factors {
  C scale, shift;
};

/// What becomes of the moments of a batch.
template <class C>
struct Statistics {
  const C *weight, *bias;
  C *mean, *inverse_std, *scale, *shift;
  C *running_mean = nullptr, *running_var = nullptr;  // may be null
  std::int64_t* batches = nullptr;                    // may be null
  double eps = 0, momentum = 0, correction = 1;

  /// One thread's for each channel.
  WEFT_DEVICE Factors<C> write(std::int64_t channel, double batch_mean, double var) const {
    const double inverse = 1 / std::sqrt(var + eps);
    const C factor = static_cast<C>(static_cast<double>(weight[channel]) * inverse);
    const Factors<C> factors{factor, shift_of(bias[channel], batch_mean, factor)};
    mean[channel] = static_cast<C>(batch_mean);
    inverse_std[channel] = static_cast<C>(inverse);
    scale[channel] = factors.scale;
    shift[channel] = factors.shift;
    if (running_mean != nullptr) update(running_mean + channel, batch_mean);
    if (running_var != nullptr) update(running_var + channel, var * correction);
    if (batches != nullptr && channel == 0) ++*batches;
    return factors;
  }
  WEFT_DEVICE void update(C* running, double value) const {
    *running = static_cast<C>((1 - momentum) * static_cast<double>(*running) + momentum * value);
  }
};

/// a: the mean of the parts, b: the squares centred on it, of their means a and squares b.
WEFT_DEVICE Two merge_moments(const Parts& parts, const Mergers& mergers, std::int64_t channels, double* shared) {
  const double* const at = parts.first + mergers.channel;
  const std::int64_t count = mergers.used ? parts.count : 0;
  double sum = 0, squares = 0;
  for (std::int64_t i = mergers.line; i < count; i += mergers.height) sum += parts.rows_of(i) * at[2 * i * channels];
  const double mean = merge_sum(shared, mergers, sum) / static_cast<double>(parts.rows);
  for (std::int64_t i = mergers.line; i < count; i += mergers.height) {
    const double difference = at[2 * i * channels] - mean;
    squares += at[(2 * i + 1) * channels] + parts.rows_of(i) * difference * difference;
  }
  return {mean, merge_sum(shared, mergers, squares)};
}

/// partials (slices, 2, channels): mean and squares centred on it. A thread's sums are shifted by its first value, and
/// its mean is kept relative to the slice's first value, so rounding is relative to the spread, not to the mean; then
/// Chan, Golub and LeVeque 1979: M2 = M2_a + M2_b + (mean_b - mean_a)²·n_a·n_b / n. The last block of a tile writes the
/// statistics.
template <class T, int V>
WEFT_KERNEL_OF_BLOCKS(kThreads, 3)
moments_kernel(const T* x, Grid grid, Statistics<compute_t<T>> statistics, double* partials, unsigned* counters) {
  using C = compute_t<T>;
  WEFT_SHARED(C, counts, kThreads);
  WEFT_SHARED(C, means, kThreads * V);
  WEFT_SHARED(C, squares, kThreads * V);
  const int thread = static_cast<int>(threadIdx.x);
  const Place place = place_in<V>(grid);
  C origin[V] = {}, first[V] = {}, sum[V] = {}, square[V] = {}, count = 0;
  if (place.begin < place.end) {
    const auto slice = pack_at<V>(x, place.slice * grid.slice_rows * grid.channels + place.channel);
    const auto own = pack_at<V>(x, place.begin * grid.channels + place.channel);
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) {
      origin[j] = widen(slice.value[j]);
      first[j] = widen(own.value[j]);
    }
    count = static_cast<C>((place.end - place.begin + grid.height - 1) / grid.height);
  }
  for_rows<4>(
      grid, place, [=](std::int64_t at) { return pack_at<V>(x, at); },
      [&](const Pack<T, V>& pack, std::int64_t) {
        WEFT_UNROLL
        for (int j = 0; j < V; ++j) {
          const C difference = widen(pack.value[j]) - first[j];
          sum[j] += difference;
          square[j] += difference * difference;
        }
      });
  counts[thread] = count;
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    const C offset = count > 0 ? sum[j] / count : C(0), centred = square[j] - sum[j] * offset;
    means[j * kThreads + thread] = first[j] - origin[j] + offset;
    squares[j * kThreads + thread] = centred < 0 ? C(0) : centred;
  }
  merge_lines(grid.lanes, grid.height, place.line, [&](int other) {
    const C a = counts[thread], b = counts[other];
    if (b == 0) return;
    const C part = b / (a + b);
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) {
      const C difference = means[j * kThreads + other] - means[j * kThreads + thread];
      means[j * kThreads + thread] += difference * part;
      squares[j * kThreads + thread] += squares[j * kThreads + other] + difference * difference * a * part;
    }
    counts[thread] = a + b;
  });
  if (place.line == 0 && place.channel < grid.channels) {
    double* out = partials + 2 * place.slice * grid.channels + place.channel;
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) {
      out[j] = static_cast<double>(origin[j]) + static_cast<double>(means[j * kThreads + thread]);
      out[grid.channels + j] = static_cast<double>(squares[j * kThreads + thread]);
    }
  }
  WEFT_SHARED(double, shared, kThreads);
  merge_slices<V>(
      grid, place, partials, counters,
      [&](const Parts& parts, const Mergers& mergers) { return merge_moments(parts, mergers, grid.channels, shared); },
      [&](std::int64_t channel, Two moments) {
        statistics.write(channel, moments.a, moments.b / static_cast<double>(grid.rows));
      });
}

/// scale = weight / √(var + eps) and shift = bias - mean·scale; one thread per channel.
template <class C>
WEFT_KERNEL_OF(kThreads)
inference_factors_kernel(std::int64_t channels, const C* weight, const C* bias, const C* mean, const C* var, double eps,
                         C* scale, C* shift) {
  const std::int64_t i = global_thread();
  if (i >= channels) return;
  scale[i] = static_cast<C>(static_cast<double>(weight[i]) / std::sqrt(static_cast<double>(var[i]) + eps));
  shift[i] = shift_of(bias[i], static_cast<double>(mean[i]), scale[i]);
}

/// y = x·scale + shift, or 0 where that is negative and relu; then plus residual if it `adds`.
template <class T, int V>
WEFT_DEVICE Pack<T, V> output_of(const Pack<T, V>& x, const Pack<T, V>& residual, const compute_t<T> (&scale)[V],
                                 const compute_t<T> (&shift)[V], bool relu, bool adds) {
  using C = compute_t<T>;
  Pack<T, V> out;
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    C value = normalised(widen(x.value[j]), scale[j], shift[j]);
    if (relu) value = value <= 0 ? C(0) : value;
    if (adds) value += widen(residual.value[j]);
    out.value[j] = narrow<T>(value);
  }
  return out;
}

/// What apply_kernel reads of one row.
template <class T, int V, bool kResidual>
struct ForwardRow {
  Pack<T, V> x, residual{};

  static WEFT_DEVICE ForwardRow at(const T* x, const T* residual, std::int64_t at) {
    ForwardRow row;
    row.x = pack_at<V>(x, at);
    if constexpr (kResidual) row.residual = pack_at<V>(residual, at);
    return row;
  }
};

template <class T, int V, bool kRelu, bool kResidual>
WEFT_KERNEL_OF(kThreads)
apply_kernel(const T* x, const T* residual, Grid grid, const compute_t<T>* scale, const compute_t<T>* shift, T* y) {
  using C = compute_t<T>;
  using Row = ForwardRow<T, V, kResidual>;
  const Place place = place_in<V>(grid);
  if (place.begin >= place.end) return;
  C f[V], s[V];
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    f[j] = scale[place.channel + j];
    s[j] = shift[place.channel + j];
  }
  for_rows<4>(
      grid, place, [=](std::int64_t at) { return Row::at(x, residual, at); },
      [&](const Row& row, std::int64_t at) {
        *reinterpret_cast<Pack<T, V>*>(y + at) = output_of(row.x, row.residual, f, s, kRelu, kResidual);
      });
}

/// All of it for rows <= kRows · threads. The sums are of differences from the first row, and the squares are centred,
/// so rounding is relative to the spread; warps are added up in f64.
template <class T, int V, int kRows>
WEFT_KERNEL_OF_BLOCKS(kSmallThreads, 1)
small_kernel(const T* x, const T* residual, int rows, std::int64_t channels, Statistics<compute_t<T>> statistics,
             bool relu, T* y) {
  using C = compute_t<T>;
  WEFT_SHARED(C, sums, kSmallWarps * V);
  WEFT_SHARED(C, offsets, V);
  WEFT_SHARED(C, scales, V);
  WEFT_SHARED(C, shifts, V);
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * V;
  const bool adds = residual != nullptr;
  const double n = rows > 0 ? rows : 1;
  Pack<T, V> own[kRows] = {}, added[kRows] = {}, origin = {};
  if (rows > 0) origin = pack_at<V>(x, first);
  for_own_rows<kRows>(rows, channels, first, [&](int i, std::int64_t at) { own[i] = pack_at<V>(x, at); });

  C sum[V] = {}, squares[V] = {}, scale[V], shift[V];
  for_own_rows<kRows>(rows, channels, first, [&](int i, std::int64_t) {
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) sum[j] += widen(own[i].value[j]) - widen(origin.value[j]);
  });
  sum_warps(sum, sums);
  double mean = 0;  // of channel first + thread, relative to the first row
  if (thread < V) {
    mean = block_sum<V>(sums, thread) / n;
    offsets[thread] = static_cast<C>(mean);
  }
  WEFT_BARRIER();
  for_own_rows<kRows>(rows, channels, first, [&](int i, std::int64_t) {
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) {
      const C difference = widen(own[i].value[j]) - widen(origin.value[j]) - offsets[j];
      squares[j] += difference * difference;
    }
  });
  sum_warps(squares, sums);
  if (adds) {
    for_own_rows<kRows>(rows, channels, first, [&](int i, std::int64_t at) { added[i] = pack_at<V>(residual, at); });
  }
  if (thread < V) {
    if (rows > 0) mean += static_cast<double>(widen(x[first + thread]));
    const Factors<C> factors = statistics.write(first + thread, mean, block_sum<V>(sums, thread) / n);
    scales[thread] = factors.scale;
    shifts[thread] = factors.shift;
  }
  WEFT_BARRIER();
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    scale[j] = scales[j];
    shift[j] = shifts[j];
  }
  for_own_rows<kRows>(rows, channels, first, [&](int i, std::int64_t at) {
    *reinterpret_cast<Pack<T, V>*>(y + at) = output_of(own[i], added[i], scale, shift, relu, adds);
  });
}

/// One thread.
WEFT_KERNEL count_kernel(std::int64_t* batches) { ++*batches; }

template <class T>
void apply(Context& context, const ConstView& x, const ConstView& residual, const compute_t<T>* scale,
           const compute_t<T>* shift, bool relu, const View& y) {
  const auto run = [&]<int V>(std::integral_constant<int, V>) {
    const Grid grid = grid_of<T, V>(context, x, 4);
    const auto plain = relu ? apply_kernel<T, V, true, false> : apply_kernel<T, V, false, false>;
    const auto adding = relu ? apply_kernel<T, V, true, true> : apply_kernel<T, V, false, true>;
    launch({"batch_norm", grid.blocks(), kThreads, context.stream}, residual.data != nullptr ? adding : plain,
           x.as<T>(), residual.as<T>(), grid, scale, shift, y.as<T>());
  };
  with_width<T>(x.shape[1], run, x.data, residual.data, y.data);
}

template <class T>
void batch_norm_of(Context& context, const ConstView& x, const ConstView& weight, const ConstView& bias,
                   const ConstView& residual, const BatchNormArguments& arguments, const View& y, const View& mean,
                   const View& inverse_std, const View& scale, const View& shift, const View& running_mean,
                   const View& running_var, const View& batches) {
  using C = compute_t<T>;
  const std::int64_t rows = x.shape[0], channels = x.shape[1];
  const double n = static_cast<double>(rows);
  Statistics<C> statistics{weight.as<C>(),      bias.as<C>(),  mean.as<C>(),
                           inverse_std.as<C>(), scale.as<C>(), shift.as<C>()};
  if (rows > 0) {
    statistics.running_mean = running_mean.as<C>();
    statistics.running_var = running_var.as<C>();
  }
  statistics.batches = batches.as<std::int64_t>();
  statistics.eps = arguments.eps;
  statistics.momentum = arguments.momentum;
  if (arguments.unbiased_running && rows > 1) statistics.correction = n / (n - 1);
  const auto run = [&]<int V>(std::integral_constant<int, V>) {
    if (rows <= kForwardRows<V> * kSmallThreads) {
      with_rows<1, 4, kForwardRows<V>>(rows, [&]<int kRows>(std::integral_constant<int, kRows>, int threads) {
        launch({"batch_norm", channels / V, threads, context.stream}, small_kernel<T, V, kRows>, x.as<T>(),
               residual.as<T>(), static_cast<int>(rows), channels, statistics, arguments.relu, y.as<T>());
      });
      return;
    }
    const Grid grid = grid_of<T, V>(context, x, 8);
    const Scratch partials(context, partials_of(grid) * sizeof(double));
    for_tiles(context, grid, [&](const Grid& part) {
      launch({"batch_norm moments", part.blocks(), kThreads, context.stream}, moments_kernel<T, V>, x.as<T>(), part,
             statistics, partials.as<double>(), context.counters);
    });
    apply<T>(context, x, residual, statistics.scale, statistics.shift, arguments.relu, y);
  };
  with_width<T>(channels, run, x.data, residual.data, y.data);
}

}  // namespace

void batch_norm(Context& context, const ConstView& x, const ConstView& weight, const ConstView& bias,
                const ConstView& residual, const BatchNormArguments& arguments, const View& y, const View& mean,
                const View& inverse_std, const View& scale, const View& shift, const View& running_mean,
                const View& running_var, const View& batches) {
  dispatch_floating("batch_norm", x.dtype, [&]<class T>(Type<T>) {
    if (x.shape[1] > 0) {
      batch_norm_of<T>(context, x, weight, bias, residual, arguments, y, mean, inverse_std, scale, shift, running_mean,
                       running_var, batches);
    } else if (batches.data != nullptr) {
      launch({"batch_norm count", 1, 1, context.stream}, count_kernel, batches.as<std::int64_t>());
    }
  });
}

void batch_norm_inference(Context& context, const ConstView& x, const ConstView& weight, const ConstView& bias,
                          const ConstView& running_mean, const ConstView& running_var, const ConstView& residual,
                          const BatchNormArguments& arguments, const View& y) {
  dispatch_floating("batch_norm", x.dtype, [&]<class T>(Type<T>) {
    using C = compute_t<T>;
    const std::int64_t channels = x.shape[1];
    if (channels == 0) return;
    const Scratch factors(context, 2 * static_cast<std::size_t>(channels) * sizeof(C));
    C *scale = factors.as<C>(), *shift = scale + channels;
    launch({"batch_norm factors", blocks_for(channels, kThreads), kThreads, context.stream},
           inference_factors_kernel<C>, channels, weight.as<C>(), bias.as<C>(), running_mean.as<C>(),
           running_var.as<C>(), arguments.eps, scale, shift);
    apply<T>(context, x, residual, scale, shift, arguments.relu, y);
  });
}

}  // namespace weft::cuda
