#include <limits>
#include <type_traits>

#include "cuda/norm/norm_grid.cuh"
#include "cuda/norm/norm_small.cuh"
#include "cuda/runtime/backend.h"

namespace weft::cuda {
namespace {

using namespace norm;  // NOLINT(google-build-using-namespace)

/// The moments of a channel in a batch: the mean is mean + rest, and the variance is biased.
struct Moments {
  double mean, rest, var, inverse_std;
};

/// The moments of one channel, by one thread, where squares leave their range. The values are multiplied by a power of
/// two, so that their largest magnitude is between 1 and 2. NaN where a value is not finite.
template <class T>
WEFT_DEVICE Moments scaled_moments(const T* x, std::int64_t rows, std::int64_t channels, double eps) {
  double largest = 0, sum = 0, squares = 0;
  for (std::int64_t i = 0; i < rows; ++i) {
    const double magnitude = std::fabs(static_cast<double>(widen(x[i * channels])));
    if (!(magnitude <= std::numeric_limits<double>::max())) return {NAN, NAN, NAN, NAN};
    largest = largest < magnitude ? magnitude : largest;
  }
  if (largest == 0) return {0, 0, 0, 1 / std::sqrt(eps)};
  const int exponent = std::ilogb(largest);
  const double scale = std::ldexp(1.0, exponent < -1000 ? 1000 : -exponent), n = static_cast<double>(rows);
  for (std::int64_t i = 0; i < rows; ++i) sum += static_cast<double>(widen(x[i * channels])) * scale;
  const double mean = sum / n, added = scale * std::sqrt(eps);
  for (std::int64_t i = 0; i < rows; ++i) {
    const double difference = static_cast<double>(widen(x[i * channels])) * scale - mean;
    squares += difference * difference;
  }
  const double var = squares / n;
  return {mean / scale, 0, var / scale / scale, scale / std::sqrt(var + added * added)};
}

/// Whether the squares whose sum gave var stayed in the range of C. Squares that are too small to change var may leave
/// it.
template <class C>
WEFT_DEVICE bool is_in_range(double var) {
  return var > (std::is_same_v<C, float> ? 1e-30 : 1e-290) && var <= std::numeric_limits<double>::max();
}

template <class C>
struct Factors {
  C mean, scale, shift;
};

/// What becomes of the moments of a batch.
template <class T>
struct Statistics {
  using C = compute_t<T>;
  const T* x;
  std::int64_t rows, channels;
  const C *weight, *bias;
  C *mean, *inverse_std, *scale, *shift;              // mean: (2, channels)
  C *running_mean = nullptr, *running_var = nullptr;  // may be null
  std::int64_t* batches = nullptr;                    // may be null
  double eps = 0, momentum = 0, correction = 1;

  /// One thread's for each channel. `offset`: the mean relative to the first row.
  WEFT_DEVICE Factors<C> write(std::int64_t channel, double offset, double var) const {
    const double origin = rows > 0 ? static_cast<double>(widen(x[channel])) : 0;
    const double sum = origin + offset, added = sum - origin;  // Knuth's TwoSum
    Moments moments{sum, (origin - (sum - added)) + (offset - added), var, 1 / std::sqrt(var + eps)};
    if (!is_in_range<C>(var + eps)) moments = scaled_moments(x + channel, rows, channels, eps);
    const C rounded = static_cast<C>(moments.mean);
    const double rest = moments.mean - static_cast<double>(rounded) + moments.rest;
    const C factor = static_cast<C>(static_cast<double>(weight[channel]) * moments.inverse_std);
    const double shifted = static_cast<double>(bias[channel]) - rest * static_cast<double>(factor);
    const Factors<C> factors{rounded, factor, static_cast<C>(shifted)};
    mean[channel] = rounded;
    mean[channels + channel] = static_cast<C>(rest);
    inverse_std[channel] = static_cast<C>(moments.inverse_std);
    scale[channel] = factors.scale;
    shift[channel] = factors.shift;
    if (running_mean != nullptr) update(running_mean + channel, moments.mean);
    if (running_var != nullptr) update(running_var + channel, moments.var * correction);
    if (batches != nullptr && channel == 0) ++*batches;
    return factors;
  }
  WEFT_DEVICE void update(C* running, double value) const {
    *running = static_cast<C>((1 - momentum) * static_cast<double>(*running) + momentum * value);
  }
};

/// In the sample, and not an outlier if the others are not.
template <class C>
WEFT_DEVICE C median(C a, C b, C c) {
  const C low = a < b ? a : b, high = a < b ? b : a, rest = c < high ? c : high;
  return rest < low ? low : rest;
}

/// Merges parts whose pairs are means and sums of centred squares into the pair of all of them.
WEFT_DEVICE ChannelPair merge_moments(const Partials& parts, const Mergers& mergers, std::int64_t channels,
                                      double* shared) {
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

/// partials (splits, 2, channels): the mean relative to the first row, and squares centred on it. Sums are of
/// differences from a value of the split, and those of more than four rows are in f64; then Chan, Golub and LeVeque
/// 1979: M2 = M2_a + M2_b + (mean_b - mean_a)²·n_a·n_b / n. The last block of a tile writes the statistics.
template <class T, int V>
WEFT_KERNEL_OF_BLOCKS(kThreads, V <= 4 ? 3 : 2)
moments_kernel(const T* x, Grid grid, Statistics<T> statistics, double* partials, unsigned* counters) {
  using C = compute_t<T>;
  WEFT_SHARED(double, sums_a, kThreads* V);
  WEFT_SHARED(double, sums_b, kThreads* V);
  const ThreadRows own = rows_of_thread<V>(grid);
  const std::int64_t first = own.split * grid.split_rows;
  C origin[V] = {};
  Sums<C, V> sums;
  if (own.begin < own.end) {
    const auto row_at = [&](std::int64_t row) { return vector_at<V>(x, row * grid.channels + own.channel); };
    const Vector<T, V> top = row_at(first), middle = row_at((first + own.end) / 2), bottom = row_at(own.end - 1);
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) origin[j] = median(widen(top.value[j]), widen(middle.value[j]), widen(bottom.value[j]));
  }
  for_rows<4>(
      grid, own, [=](std::int64_t at) { return vector_at<V>(x, at); },
      [&](const Vector<T, V>& vector, std::int64_t) {
        WEFT_UNROLL
        for (int j = 0; j < V; ++j) {
          const C difference = widen(vector.value[j]) - origin[j];
          sums.a[j] += difference;
          sums.b[j] += difference * difference;
        }
      },
      [&] { sums.widen_all(); });
  add_lines(grid, own, sums, sums_a, sums_b);
  if (own.line == 0 && own.channel < grid.channels) {
    const auto reference = vector_at<V>(x, own.channel);
    const double rows = static_cast<double>(own.end - first);
    double* out = partials + 2 * own.split * grid.channels + own.channel;
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) {
      const double offset = sums.all_a[j] / rows, centred = sums.all_b[j] - sums.all_a[j] * offset;
      out[j] = static_cast<double>(origin[j]) - static_cast<double>(widen(reference.value[j])) + offset;
      out[grid.channels + j] = centred < 0 ? 0 : centred;
    }
  }
  WEFT_SHARED(double, shared, kThreads);
  merge_splits<V>(
      grid, own, partials, counters,
      [&](const Partials& parts, const Mergers& mergers) {
        return merge_moments(parts, mergers, grid.channels, shared);
      },
      [&](std::int64_t channel, ChannelPair moments) {
        statistics.write(channel, moments.a, moments.b / static_cast<double>(grid.rows));
      });
}

/// scale = weight / √(var + eps); one thread per channel.
template <class C>
WEFT_KERNEL_OF(kThreads)
inference_scale_kernel(std::int64_t channels, const C* weight, const C* var, double eps, C* scale) {
  const std::int64_t i = global_thread();
  if (i >= channels) return;
  scale[i] = static_cast<C>(static_cast<double>(weight[i]) / std::sqrt(static_cast<double>(var[i]) + eps));
}

/// y = (x - mean)·scale + shift, or 0 where that is negative and relu; then plus residual if it `adds`.
template <class T, int V>
WEFT_DEVICE Vector<T, V> output_of(const Vector<T, V>& x, const Vector<T, V>& residual, const compute_t<T> (&mean)[V],
                                   const compute_t<T> (&scale)[V], const compute_t<T> (&shift)[V], bool relu,
                                   bool adds) {
  using C = compute_t<T>;
  C out[V];
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    C value = normalised(widen(x.value[j]) - mean[j], scale[j], shift[j]);
    if (relu) value = value <= 0 ? C(0) : value;
    if (adds) value += widen(residual.value[j]);
    out[j] = value;
  }
  return narrow_all<T>(out);
}

/// What apply_kernel reads of one row.
template <class T, int V, bool kResidual>
struct ForwardRow {
  Vector<T, V> x, residual{};

  static WEFT_DEVICE ForwardRow at(const T* x, const T* residual, std::int64_t at) {
    ForwardRow row;
    row.x = vector_at<V>(x, at);
    if constexpr (kResidual) row.residual = vector_at<V>(residual, at);
    return row;
  }
};

template <class T, int V, bool kRelu, bool kResidual>
WEFT_KERNEL_OF(kThreads)
apply_kernel(const T* x, const T* residual, Grid grid, const compute_t<T>* mean, const compute_t<T>* scale,
             const compute_t<T>* shift, T* y) {
  using C = compute_t<T>;
  using Row = ForwardRow<T, V, kResidual>;
  const ThreadRows own = rows_of_thread<V>(grid);
  if (own.begin >= own.end) return;
  C m[V], f[V], s[V];
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    m[j] = mean[own.channel + j];
    f[j] = scale[own.channel + j];
    s[j] = shift[own.channel + j];
  }
  for_rows<4>(
      grid, own, [=](std::int64_t at) { return Row::at(x, residual, at); },
      [&](const Row& row, std::int64_t at) {
        *reinterpret_cast<Vector<T, V>*>(y + at) = output_of(row.x, row.residual, m, f, s, kRelu, kResidual);
      },
      [] {});
}

/// A value of a column that is not an outlier unless most are: the median of its first, middle and last one.
template <class T>
WEFT_DEVICE compute_t<T> origin_of(const T* column, int rows, std::int64_t channels) {
  return median(widen(*column), widen(column[rows / 2 * channels]), widen(column[(rows - 1) * channels]));
}

/// Adds to `squares` the squares of the thread's values less origin and offset.
template <int kRows, class T, int V, class C>
WEFT_DEVICE void add_squares(const Vector<T, V> (&own)[kRows], int rows, std::int64_t channels, std::int64_t first,
                             const C* origins, const C* offsets, C (&squares)[V]) {
  for_own_rows<kRows>(rows, channels, first, [&](int i, std::int64_t) {
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) {
      const C difference = widen(own[i].value[j]) - origins[j] - offsets[j];
      squares[j] += difference * difference;
    }
  });
}

/// The factors of V channels, which a thread each has written.
template <int V, class C>
WEFT_DEVICE void read_factors(const C* means, const C* scales, const C* shifts, C (&mean)[V], C (&scale)[V],
                              C (&shift)[V]) {
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    mean[j] = means[j];
    scale[j] = scales[j];
    shift[j] = shifts[j];
  }
}

/// All of it for rows <= kRows · threads. The sums are of differences from a row's value, and the squares are centred,
/// so rounding is relative to the spread; warps are added up in f64.
template <class T, int V, int kRows>
WEFT_KERNEL_OF_BLOCKS(kSmallThreads, 1)
small_kernel(const T* x, const T* residual, int rows, std::int64_t channels, Statistics<T> statistics, bool relu,
             T* y) {
  using C = compute_t<T>;
  WEFT_SHARED(C, sums, kSmallWarps * V);
  WEFT_SHARED(C, origins, V);
  WEFT_SHARED(C, offsets, V);
  WEFT_SHARED(C, means, V);
  WEFT_SHARED(C, scales, V);
  WEFT_SHARED(C, shifts, V);
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * V;
  const bool adds = residual != nullptr;
  const double n = rows > 0 ? rows : 1;
  Vector<T, V> own[kRows] = {}, added[kRows] = {};
  if (thread < V && rows > 0) origins[thread] = origin_of(x + first + thread, rows, channels);
  for_own_rows<kRows>(rows, channels, first, [&](int i, std::int64_t at) { own[i] = vector_at<V>(x, at); });

  WEFT_BARRIER();
  C sum[V] = {}, squares[V] = {}, mean[V], scale[V], shift[V];
  for_own_rows<kRows>(rows, channels, first, [&](int i, std::int64_t) {
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) sum[j] += widen(own[i].value[j]) - origins[j];
  });
  sum_warps(sum, sums);
  double offset = 0;  // of the mean of channel first + thread, from its origin
  if (thread < V) {
    offset = block_sum<V>(sums, thread) / n;
    offsets[thread] = static_cast<C>(offset);
  }
  WEFT_BARRIER();
  add_squares(own, rows, channels, first, &origins[0], &offsets[0], squares);
  sum_warps(squares, sums);
  if (adds) {
    for_own_rows<kRows>(rows, channels, first, [&](int i, std::int64_t at) { added[i] = vector_at<V>(residual, at); });
  }
  if (thread < V) {
    if (rows > 0) offset += static_cast<double>(origins[thread]) - static_cast<double>(widen(x[first + thread]));
    const Factors<C> factors = statistics.write(first + thread, offset, block_sum<V>(sums, thread) / n);
    means[thread] = factors.mean;
    scales[thread] = factors.scale;
    shifts[thread] = factors.shift;
  }
  WEFT_BARRIER();
  read_factors<V>(&means[0], &scales[0], &shifts[0], mean, scale, shift);
  for_own_rows<kRows>(rows, channels, first, [&](int i, std::int64_t at) {
    *reinterpret_cast<Vector<T, V>*>(y + at) = output_of(own[i], added[i], mean, scale, shift, relu, adds);
  });
}

/// One thread.
WEFT_KERNEL count_kernel(std::int64_t* batches) { ++*batches; }

template <class T>
void apply(Context& context, const ConstView& x, const ConstView& residual, const compute_t<T>* mean,
           const compute_t<T>* scale, const compute_t<T>* shift, bool relu, const View& y) {
  const auto launch_by_width = [&]<int V>(std::integral_constant<int, V>) {
    const Grid grid = grid_of<T, V>(context, x, 4);
    const auto plain = relu ? apply_kernel<T, V, true, false> : apply_kernel<T, V, false, false>;
    const auto adding = relu ? apply_kernel<T, V, true, true> : apply_kernel<T, V, false, true>;
    launch({"batch_norm", grid.blocks(), kThreads, context.stream}, residual.data != nullptr ? adding : plain,
           x.as<T>(), residual.as<T>(), grid, mean, scale, shift, y.as<T>());
  };
  with_width<T>(x.shape[1], launch_by_width, x.data, residual.data, y.data);
}

template <class T>
void batch_norm_of(Context& context, const BatchNormForward& call) {
  using C = compute_t<T>;
  const ConstView &x = call.x, &residual = call.residual;
  const View& y = call.y;
  const RunningStatistics& running = call.running;
  const std::int64_t rows = x.shape[0], channels = x.shape[1];
  const double n = static_cast<double>(rows);
  Statistics<T> statistics{x.as<T>(),
                           rows,
                           channels,
                           call.weight.as<C>(),
                           call.bias.as<C>(),
                           call.mean.as<C>(),
                           call.inverse_std.as<C>(),
                           call.scale.as<C>(),
                           call.shift.as<C>()};
  if (rows > 0) {
    statistics.running_mean = running.mean.as<C>();
    statistics.running_var = running.var.as<C>();
  }
  statistics.batches = running.batches.as<std::int64_t>();
  statistics.eps = call.eps;
  statistics.momentum = running.momentum;
  if (running.unbiased && rows > 1) statistics.correction = n / (n - 1);
  const auto launch_by_width = [&]<int V>(std::integral_constant<int, V>) {
    if (rows <= kForwardRows<V> * kSmallThreads) {
      with_rows<1, 4, kForwardRows<V>>(rows, [&]<int kRows>(std::integral_constant<int, kRows>, int threads) {
        launch({"batch_norm", channels / V, threads, context.stream}, small_kernel<T, V, kRows>, x.as<T>(),
               residual.as<T>(), static_cast<int>(rows), channels, statistics, call.relu, y.as<T>());
      });
      return;
    }
    const Grid grid = grid_of<T, V>(context, x, 8);
    const Scratch partials(context, partials_of(grid) * sizeof(double));
    for_tiles(context, grid, [&](const Grid& part) {
      launch({"batch_norm moments", part.blocks(), kThreads, context.stream}, moments_kernel<T, V>, x.as<T>(), part,
             statistics, partials.as<double>(), context.counters);
    });
    apply<T>(context, x, residual, statistics.mean, statistics.scale, statistics.shift, call.relu, y);
  };
  with_width<T>(channels, launch_by_width, x.data, residual.data, y.data);
}

}  // namespace

void CudaBackend::batch_norm(const BatchNormForward& call) {
  const View& batches = call.running.batches;
  dispatch_floating("batch_norm", call.x.dtype, [&]<class T>(Type<T>) {
    if (call.x.shape[1] > 0) {
      batch_norm_of<T>(context_, call);
    } else if (batches.data != nullptr) {
      launch({"batch_norm count", 1, 1, context_.stream}, count_kernel, batches.as<std::int64_t>());
    }
  });
}

void CudaBackend::batch_norm_inference(const BatchNormInference& call) {
  const ConstView& x = call.x;
  dispatch_floating("batch_norm", x.dtype, [&]<class T>(Type<T>) {
    using C = compute_t<T>;
    const std::int64_t channels = x.shape[1];
    if (channels == 0) return;
    const Scratch scale(context_, static_cast<std::size_t>(channels) * sizeof(C));
    launch({"batch_norm scale", blocks_for(channels, kThreads), kThreads, context_.stream}, inference_scale_kernel<C>,
           channels, call.weight.as<C>(), call.running_var.as<C>(), call.eps, scale.as<C>());
    apply<T>(context_, x, call.residual, call.running_mean.as<C>(), scale.as<C>(), call.bias.as<C>(), call.relu,
             call.y);
  });
}

}  // namespace weft::cuda
