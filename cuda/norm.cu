#include "cuda/norm.h"

#include "cuda/norm_grid.cuh"

namespace weft::cuda {
namespace {

using namespace norm;  // NOLINT(google-build-using-namespace)

/// partials (slices, 2, channels): mean and squares centred on it. A thread's sums are shifted by its first value, and
/// its mean is kept relative to the slice's first value, so rounding is relative to the spread, not to the mean; then
/// Chan, Golub and LeVeque 1979: M2 = M2_a + M2_b + (mean_b - mean_a)²·n_a·n_b / n.
template <class T, int V>
WEFT_KERNEL_OF(kThreads)
moments_kernel(const T* x, Grid grid, double* partials) {
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
  merge_lines(grid, place.line, [&](int other) {
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
  if (place.line != 0 || place.channel >= grid.channels) return;
  double* out = partials + 2 * place.slice * grid.channels + place.channel;
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    out[j] = static_cast<double>(origin[j]) + static_cast<double>(means[j * kThreads + thread]);
    out[grid.channels + j] = static_cast<double>(squares[j * kThreads + thread]);
  }
}

/// Takes up the rounding of the scale, so a large mean does not amplify it.
template <class C>
WEFT_DEVICE C shift_of(C bias, double mean, C scale) {
  return static_cast<C>(static_cast<double>(bias) - mean * static_cast<double>(scale));
}

template <class C>
struct Statistics {
  const C *weight, *bias;
  C *mean, *inverse_std, *scale, *shift;
  C *running_mean = nullptr, *running_var = nullptr;  // may be null
  double eps = 0, momentum = 0, correction = 1;
};

/// Block b has channels [8b, 8b + 8); merger m of a channel takes slices m, m + 32, ... in order.
template <class C>
WEFT_KERNEL_OF(kThreads)
statistics_kernel(const double* partials, Grid grid, Statistics<C> s) {
  WEFT_SHARED(double, shared, kThreads);
  const int merger = static_cast<int>(threadIdx.x) / kMergeChannels;
  const std::int64_t channel =
      static_cast<std::int64_t>(blockIdx.x) * kMergeChannels + static_cast<int>(threadIdx.x) % kMergeChannels;
  const std::int64_t slices = channel < grid.channels ? grid.slices : 0;
  const double n = static_cast<double>(grid.rows > 0 ? grid.rows : 1);
  const auto rows_of = [&](std::int64_t slice) {
    const std::int64_t left = grid.rows - slice * grid.slice_rows;
    return static_cast<double>(left < grid.slice_rows ? left : grid.slice_rows);
  };
  double sum = 0, squares = 0;
  for (std::int64_t i = merger; i < slices; i += kMergers) {
    sum += rows_of(i) * partials[2 * i * grid.channels + channel];
  }
  const double mean = merge_sum(shared, sum) / n;
  for (std::int64_t i = merger; i < slices; i += kMergers) {
    const double difference = partials[2 * i * grid.channels + channel] - mean;
    squares += partials[(2 * i + 1) * grid.channels + channel] + rows_of(i) * difference * difference;
  }
  const double var = merge_sum(shared, squares) / n;
  if (merger != 0 || channel >= grid.channels) return;
  const double inverse = 1 / std::sqrt(var + s.eps);
  const C scale = static_cast<C>(static_cast<double>(s.weight[channel]) * inverse);
  s.mean[channel] = static_cast<C>(mean);
  s.inverse_std[channel] = static_cast<C>(inverse);
  s.scale[channel] = scale;
  s.shift[channel] = shift_of(s.bias[channel], mean, scale);
  const auto update = [&](C* running, double value) {
    *running = static_cast<C>((1 - s.momentum) * static_cast<double>(*running) + s.momentum * value);
  };
  if (s.running_mean != nullptr) update(s.running_mean + channel, mean);
  if (s.running_var != nullptr) update(s.running_var + channel, var * s.correction);
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

/// What apply_kernel reads of one row.
template <class T, int V, bool kResidual>
struct ForwardRow {
  Pack<T, V> x, residual;

  static WEFT_DEVICE ForwardRow at(const T* x, const T* residual, std::int64_t at) {
    ForwardRow row;
    row.x = pack_at<V>(x, at);
    if constexpr (kResidual) row.residual = pack_at<V>(residual, at);
    return row;
  }
};

/// y = x·scale + shift, or 0 where that is negative and kRelu; then plus residual if kResidual.
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
        Pack<T, V> out;
        WEFT_UNROLL
        for (int j = 0; j < V; ++j) {
          C value = normalised(widen(row.x.value[j]), f[j], s[j]);
          if constexpr (kRelu) value = value <= 0 ? C(0) : value;
          if constexpr (kResidual) value += widen(row.residual.value[j]);
          out.value[j] = narrow<T>(value);
        }
        *reinterpret_cast<Pack<T, V>*>(y + at) = out;
      });
}

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
                   const View& running_var) {
  using C = compute_t<T>;
  const std::int64_t rows = x.shape[0], channels = x.shape[1];
  const double n = static_cast<double>(rows);
  Statistics<C> statistics{weight.as<C>(),      bias.as<C>(),  mean.as<C>(),
                           inverse_std.as<C>(), scale.as<C>(), shift.as<C>()};
  if (rows > 0) {
    statistics.running_mean = running_mean.as<C>();
    statistics.running_var = running_var.as<C>();
  }
  statistics.eps = arguments.eps;
  statistics.momentum = arguments.momentum;
  if (arguments.unbiased_running && rows > 1) statistics.correction = n / (n - 1);
  const auto moments = [&]<int V>(std::integral_constant<int, V>) {
    const Grid grid = grid_of<T, V>(context, x, 8);
    const Scratch partials(context, 2 * static_cast<std::size_t>(grid.slices * channels) * sizeof(double));
    launch({"batch_norm moments", grid.blocks(), kThreads, context.stream}, moments_kernel<T, V>, x.as<T>(), grid,
           partials.as<double>());
    launch({"batch_norm statistics", blocks_for(channels, kMergeChannels), kThreads, context.stream},
           statistics_kernel<C>, partials.as<double>(), grid, statistics);
  };
  with_width<T>(channels, moments, x.data);
  apply<T>(context, x, residual, statistics.scale, statistics.shift, arguments.relu, y);
}

}  // namespace

void batch_norm(Context& context, const ConstView& x, const ConstView& weight, const ConstView& bias,
                const ConstView& residual, const BatchNormArguments& arguments, const View& y, const View& mean,
                const View& inverse_std, const View& scale, const View& shift, const View& running_mean,
                const View& running_var) {
  dispatch_floating("batch_norm", x.dtype, [&]<class T>(Type<T>) {
    if (x.shape[1] == 0) return;
    batch_norm_of<T>(context, x, weight, bias, residual, arguments, y, mean, inverse_std, scale, shift, running_mean,
                     running_var);
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
