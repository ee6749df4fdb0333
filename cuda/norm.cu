#include "cuda/norm.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "cuda/element.h"
#include "cuda/walk.h"

namespace weft::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kLineBytes = 256;                                          // a block reads of one row, at most
constexpr int kMergeChannels = 8, kMergers = kThreads / kMergeChannels;  // 8 f64 are two sectors of memory

/// How a grid covers (rows, channels): a block's threads are `lanes` vectors of V neighbouring channels by `height`
/// rows, and walk down a slice of rows together; block b has tile b % tiles of the channels and slice b / tiles.
/// Threads beyond lanes·height, and lanes beyond the last channel, have no rows. A narrow row is as wide as the block,
/// so reads are coalesced all the same.
struct Grid {
  std::int64_t rows, channels;
  std::int64_t slices, slice_rows;
  int tiles, lanes, height;

  std::int64_t blocks() const { return slices * tiles; }
};

template <class T, int V>
Grid grid_of(const Context& context, const ConstView& x, int least_rows_per_thread) {
  constexpr std::int64_t kMostLanes = kLineBytes / (sizeof(T) * V);
  Grid grid{x.shape[0], x.shape[1], 0, 0, 0, 0, 0};
  const std::int64_t vectors = grid.channels / V, tiles = (vectors + kMostLanes - 1) / kMostLanes;
  grid.tiles = static_cast<int>(tiles);
  grid.lanes = static_cast<int>((vectors + tiles - 1) / tiles);
  grid.height = kThreads / grid.lanes;
  const std::int64_t least_rows = std::int64_t{grid.height} * least_rows_per_thread;
  const std::int64_t most_slices = std::max<std::int64_t>(8 * context.properties.multiprocessors / tiles, 1);
  const std::int64_t slices = std::clamp<std::int64_t>(grid.rows / least_rows, 1, most_slices);
  grid.slice_rows = std::max<std::int64_t>((grid.rows + slices - 1) / slices, 1);
  grid.slices = (grid.rows + grid.slice_rows - 1) / grid.slice_rows;
  return grid;
}

/// A thread's channels [channel, channel + V) and rows begin, begin + height, ... below end.
struct Place {
  std::int64_t slice, channel, begin, end;
  int line;
};

template <int V>
WEFT_DEVICE Place place_in(const Grid& grid) {
  const int block = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  Place place;
  place.slice = block / grid.tiles;
  place.channel = (static_cast<std::int64_t>(block % grid.tiles) * grid.lanes + thread % grid.lanes) * V;
  place.line = thread / grid.lanes;
  const std::int64_t first = place.slice * grid.slice_rows, last = first + grid.slice_rows;
  place.end = last < grid.rows ? last : grid.rows;
  place.begin = place.line < grid.height && place.channel < grid.channels ? first + place.line : place.end;
  return place;
}

template <int V, class T>
WEFT_DEVICE Pack<T, V> pack_at(const T* data, std::int64_t at) {
  return *reinterpret_cast<const Pack<T, V>*>(data + at);
}

/// use(load(at), at) for the first of the thread's elements in each of its rows, in order; kAtOnce loads are under way
/// together.
template <int kAtOnce, class Load, class Use>
WEFT_DEVICE void for_rows(const Grid& grid, const Place& place, const Load& load, const Use& use) {
  const std::int64_t step = grid.height * grid.channels;
  std::int64_t row = place.begin, at = row * grid.channels + place.channel;
  for (; row + (kAtOnce - 1) * grid.height < place.end; row += kAtOnce * grid.height, at += kAtOnce * step) {
    decltype(load(at)) loaded[kAtOnce];
    WEFT_UNROLL
    for (int i = 0; i < kAtOnce; ++i) loaded[i] = load(at + i * step);
    WEFT_UNROLL
    for (int i = 0; i < kAtOnce; ++i) use(loaded[i], at + i * step);
  }
  for (; row < place.end; row += grid.height, at += step) use(load(at), at);
}

/// merge(other thread) for the lines of a block, pairwise: line 0 ends up with all. Every thread must call it.
template <class Merge>
WEFT_DEVICE void merge_lines(const Grid& grid, int line, const Merge& merge) {
  int half = 1;
  while (2 * half < grid.height) half *= 2;
  for (; half > 0; half /= 2) {
    WEFT_BARRIER();
    if (line < half && line + half < grid.height) merge(static_cast<int>(threadIdx.x) + half * grid.lanes);
  }
}

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

/// A block's sum of `value` over its kMergers threads of a channel (thread t has channel t % kMergeChannels), pairwise.
WEFT_DEVICE double merge_sum(double* shared, double value) {
  const int thread = static_cast<int>(threadIdx.x);
  WEFT_BARRIER();
  shared[thread] = value;
  for (int half = kMergers / 2; half > 0; half /= 2) {
    WEFT_BARRIER();
    if (thread < half * kMergeChannels) shared[thread] += shared[thread + half * kMergeChannels];
  }
  WEFT_BARRIER();
  return shared[thread % kMergeChannels];
}

template <class C>
struct Statistics {
  const C *weight, *bias;
  C *mean, *inverse_std;
  C *running_mean = nullptr, *running_var = nullptr, *scale = nullptr, *shift = nullptr;  // running: may be null
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
  const C stored_mean = static_cast<C>(mean);
  const C scale = static_cast<C>(static_cast<double>(s.weight[channel]) * inverse);
  s.mean[channel] = stored_mean;
  s.inverse_std[channel] = static_cast<C>(inverse);
  s.scale[channel] = scale;
  s.shift[channel] = static_cast<C>(static_cast<double>(s.bias[channel]) +
                                    (static_cast<double>(stored_mean) - mean) * static_cast<double>(scale));
  const auto update = [&](C* running, double value) {
    *running = static_cast<C>((1 - s.momentum) * static_cast<double>(*running) + s.momentum * value);
  };
  if (s.running_mean != nullptr) update(s.running_mean + channel, mean);
  if (s.running_var != nullptr) update(s.running_var + channel, var * s.correction);
}

/// scale = weight / √(var + eps); one thread per channel.
template <class C>
WEFT_KERNEL_OF(kThreads)
inference_scale_kernel(std::int64_t channels, const C* weight, const C* var, double eps, C* scale) {
  const std::int64_t i = global_thread();
  if (i >= channels) return;
  scale[i] = static_cast<C>(static_cast<double>(weight[i]) / std::sqrt(static_cast<double>(var[i]) + eps));
}

/// y = (x - mean)·scale + shift, or 0 where that is negative and kRelu. x is close to the mean where that is large, so
/// the difference is exact there; shift takes up the rounding of the mean.
template <class T, int V, bool kRelu>
WEFT_KERNEL_OF(kThreads)
apply_kernel(const T* x, Grid grid, const compute_t<T>* mean, const compute_t<T>* scale, const compute_t<T>* shift,
             T* y) {
  using C = compute_t<T>;
  const Place place = place_in<V>(grid);
  if (place.begin >= place.end) return;
  C m[V], f[V], s[V];
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    m[j] = mean[place.channel + j];
    f[j] = scale[place.channel + j];
    s[j] = shift[place.channel + j];
  }
  for_rows<4>(
      grid, place, [=](std::int64_t at) { return pack_at<V>(x, at); },
      [&](const Pack<T, V>& pack, std::int64_t at) {
        Pack<T, V> out;
        WEFT_UNROLL
        for (int j = 0; j < V; ++j) {
          C value = (widen(pack.value[j]) - m[j]) * f[j] + s[j];
          if constexpr (kRelu) value = value <= 0 ? C(0) : value;
          out.value[j] = narrow<T>(value);
        }
        *reinterpret_cast<Pack<T, V>*>(y + at) = out;
      });
}

/// What the gradient reads of one row.
template <class T, int V, bool kMasked>
struct GradientRow {
  Pack<T, V> gradient, x, y;

  static WEFT_DEVICE GradientRow at(const T* y_grad, const T* x, const T* y, std::int64_t at) {
    GradientRow row;
    row.gradient = pack_at<V>(y_grad, at);
    row.x = pack_at<V>(x, at);
    if constexpr (kMasked) row.y = pack_at<V>(y, at);
    return row;
  }
  WEFT_DEVICE compute_t<T> masked(int j) const {
    if constexpr (kMasked) return widen(y.value[j]) > 0 ? widen(gradient.value[j]) : compute_t<T>(0);
    return widen(gradient.value[j]);
  }
};

/// partials (slices, 2, channels): Σ g and Σ g·(x - mean), with g = y_grad where y > 0 if kMasked.
template <class T, int V, bool kMasked>
WEFT_KERNEL_OF(kThreads)
grad_sums_kernel(const T* y_grad, const T* x, const T* y, Grid grid, const compute_t<T>* mean, double* partials) {
  using C = compute_t<T>;
  using Row = GradientRow<T, V, kMasked>;
  WEFT_SHARED(C, sums, kThreads * V);
  WEFT_SHARED(C, products, kThreads * V);
  const int thread = static_cast<int>(threadIdx.x);
  const Place place = place_in<V>(grid);
  C m[V] = {}, sum[V] = {}, product[V] = {};
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    if (place.begin < place.end) m[j] = mean[place.channel + j];
  }
  for_rows<2>(
      grid, place, [=](std::int64_t at) { return Row::at(y_grad, x, y, at); },
      [&](const Row& row, std::int64_t) {
        WEFT_UNROLL
        for (int j = 0; j < V; ++j) {
          const C g = row.masked(j);
          sum[j] += g;
          product[j] += g * (widen(row.x.value[j]) - m[j]);
        }
      });
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    sums[j * kThreads + thread] = sum[j];
    products[j * kThreads + thread] = product[j];
  }
  merge_lines(grid, place.line, [&](int other) {
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) {
      sums[j * kThreads + thread] += sums[j * kThreads + other];
      products[j * kThreads + thread] += products[j * kThreads + other];
    }
  });
  if (place.line != 0 || place.channel >= grid.channels) return;
  double* out = partials + 2 * place.slice * grid.channels + place.channel;
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    out[j] = static_cast<double>(sums[j * kThreads + thread]);
    out[grid.channels + j] = static_cast<double>(products[j * kThreads + thread]);
  }
}

template <class C>
struct GradientFactors {
  const C *weight, *inverse_std;
  C *weight_grad, *bias_grad;
  C *a, *b, *c;
};

/// x_grad = g·a + (x - mean)·b + c is weight·inverse_std·(g - mean(g) - z·mean(g·z)) with z = (x - mean)·inverse_std.
/// Blocks and slices as in statistics_kernel.
template <class C>
WEFT_KERNEL_OF(kThreads)
grad_factors_kernel(const double* partials, Grid grid, GradientFactors<C> f) {
  WEFT_SHARED(double, shared, kThreads);
  const int merger = static_cast<int>(threadIdx.x) / kMergeChannels;
  const std::int64_t channel =
      static_cast<std::int64_t>(blockIdx.x) * kMergeChannels + static_cast<int>(threadIdx.x) % kMergeChannels;
  const std::int64_t slices = channel < grid.channels ? grid.slices : 0;
  double sum = 0, product = 0;
  for (std::int64_t i = merger; i < slices; i += kMergers) {
    sum += partials[2 * i * grid.channels + channel];
    product += partials[(2 * i + 1) * grid.channels + channel];
  }
  sum = merge_sum(shared, sum);
  product = merge_sum(shared, product);
  if (merger != 0 || channel >= grid.channels) return;
  const double n = static_cast<double>(grid.rows > 0 ? grid.rows : 1);
  const double inverse = static_cast<double>(f.inverse_std[channel]);
  const double scale = static_cast<double>(f.weight[channel]) * inverse, product_z = product * inverse;
  f.weight_grad[channel] = static_cast<C>(product_z);
  f.bias_grad[channel] = static_cast<C>(sum);
  f.a[channel] = static_cast<C>(scale);
  f.b[channel] = static_cast<C>(-scale * inverse * product_z / n);
  f.c[channel] = static_cast<C>(-scale * sum / n);
}

template <class T, int V, bool kMasked>
WEFT_KERNEL_OF(kThreads)
grad_apply_kernel(const T* y_grad, const T* x, const T* y, Grid grid, const compute_t<T>* mean, const compute_t<T>* a,
                  const compute_t<T>* b, const compute_t<T>* c, T* x_grad) {
  using C = compute_t<T>;
  using Row = GradientRow<T, V, kMasked>;
  const Place place = place_in<V>(grid);
  if (place.begin >= place.end) return;
  C m[V], f[V], g[V], h[V];
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    m[j] = mean[place.channel + j];
    f[j] = a[place.channel + j];
    g[j] = b[place.channel + j];
    h[j] = c[place.channel + j];
  }
  for_rows<2>(
      grid, place, [=](std::int64_t at) { return Row::at(y_grad, x, y, at); },
      [&](const Row& row, std::int64_t at) {
        Pack<T, V> out;
        WEFT_UNROLL
        for (int j = 0; j < V; ++j) {
          out.value[j] = narrow<T>(row.masked(j) * f[j] + ((widen(row.x.value[j]) - m[j]) * g[j] + h[j]));
        }
        *reinterpret_cast<Pack<T, V>*>(x_grad + at) = out;
      });
}

/// body(std::integral_constant<int, V>{}) with V channels of 16 bytes where they divide a row and all data is aligned
/// to that, else 1.
template <class T, class Body, class... Data>
void with_width(std::int64_t channels, const Body& body, Data... data) {
  constexpr int kWidest = 16 / sizeof(T);
  if (channels % kWidest == 0 && ((reinterpret_cast<std::uintptr_t>(data) | ...) % 16 == 0)) {
    body(std::integral_constant<int, kWidest>{});
  } else {
    body(std::integral_constant<int, 1>{});
  }
}

template <class T>
void normalise(Context& context, const ConstView& x, const compute_t<T>* mean, const compute_t<T>* scale,
               const compute_t<T>* shift, bool relu, T* y) {
  const auto apply = [&]<int V>(std::integral_constant<int, V>) {
    const Grid grid = grid_of<T, V>(context, x, 4);
    launch({"batch_norm", grid.blocks(), kThreads, context.stream},
           relu ? apply_kernel<T, V, true> : apply_kernel<T, V, false>, x.as<T>(), grid, mean, scale, shift, y);
  };
  with_width<T>(x.shape[1], apply, x.data, y);
}

template <class T>
void batch_norm_of(Context& context, const ConstView& x, const ConstView& weight, const ConstView& bias,
                   const BatchNormArguments& arguments, const View& y, const View& mean, const View& inverse_std,
                   const View& running_mean, const View& running_var) {
  using C = compute_t<T>;
  const std::int64_t rows = x.shape[0], channels = x.shape[1];
  const double n = static_cast<double>(rows);
  const Scratch factors(context, 2 * static_cast<std::size_t>(channels) * sizeof(C));
  Statistics<C> statistics{weight.as<C>(), bias.as<C>(), mean.as<C>(), inverse_std.as<C>()};
  if (rows > 0) {
    statistics.running_mean = running_mean.as<C>();
    statistics.running_var = running_var.as<C>();
  }
  statistics.scale = factors.as<C>();
  statistics.shift = factors.as<C>() + channels;
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
  normalise<T>(context, x, statistics.mean, statistics.scale, statistics.shift, arguments.relu, y.as<T>());
}

template <class T>
void batch_norm_grad_of(Context& context, const ConstView& y_grad, const ConstView& x, const T* y,
                        const ConstView& weight, const ConstView& mean, const ConstView& inverse_std,
                        const View& x_grad, const View& weight_grad, const View& bias_grad) {
  using C = compute_t<T>;
  const std::int64_t channels = x.shape[1];
  const Scratch scratch(context, 3 * static_cast<std::size_t>(channels) * sizeof(C));
  C* a = scratch.as<C>();
  const GradientFactors<C> factors{weight.as<C>(), inverse_std.as<C>(), weight_grad.as<C>(), bias_grad.as<C>(), a,
                                   a + channels,   a + 2 * channels};
  const auto run = [&]<int V>(std::integral_constant<int, V>) {
    const Grid sums = grid_of<T, V>(context, x, 8), grid = grid_of<T, V>(context, x, 4);
    const Scratch partials(context, 2 * static_cast<std::size_t>(sums.slices * channels) * sizeof(double));
    launch({"batch_norm_grad sums", sums.blocks(), kThreads, context.stream},
           y != nullptr ? grad_sums_kernel<T, V, true> : grad_sums_kernel<T, V, false>, y_grad.as<T>(), x.as<T>(), y,
           sums, mean.as<C>(), partials.as<double>());
    launch({"batch_norm_grad factors", blocks_for(channels, kMergeChannels), kThreads, context.stream},
           grad_factors_kernel<C>, partials.as<double>(), sums, factors);
    launch({"batch_norm_grad", grid.blocks(), kThreads, context.stream},
           y != nullptr ? grad_apply_kernel<T, V, true> : grad_apply_kernel<T, V, false>, y_grad.as<T>(), x.as<T>(), y,
           grid, mean.as<C>(), factors.a, factors.b, factors.c, x_grad.as<T>());
  };
  with_width<T>(channels, run, y_grad.data, x.data, y, x_grad.data);
}

}  // namespace

void batch_norm(Context& context, const ConstView& x, const ConstView& weight, const ConstView& bias,
                const BatchNormArguments& arguments, const View& y, const View& mean, const View& inverse_std,
                const View& running_mean, const View& running_var) {
  dispatch_floating("batch_norm", x.dtype, [&]<class T>(Type<T>) {
    if (x.shape[1] == 0) return;
    batch_norm_of<T>(context, x, weight, bias, arguments, y, mean, inverse_std, running_mean, running_var);
  });
}

void batch_norm_inference(Context& context, const ConstView& x, const ConstView& weight, const ConstView& bias,
                          const ConstView& running_mean, const ConstView& running_var,
                          const BatchNormArguments& arguments, const View& y) {
  dispatch_floating("batch_norm", x.dtype, [&]<class T>(Type<T>) {
    using C = compute_t<T>;
    const std::int64_t channels = x.shape[1];
    if (channels == 0) return;
    const Scratch scale(context, static_cast<std::size_t>(channels) * sizeof(C));
    launch({"batch_norm scale", blocks_for(channels, kThreads), kThreads, context.stream}, inference_scale_kernel<C>,
           channels, weight.as<C>(), running_var.as<C>(), arguments.eps, scale.as<C>());
    normalise<T>(context, x, running_mean.as<C>(), scale.as<C>(), bias.as<C>(), arguments.relu, y.as<T>());
  });
}

void batch_norm_grad(Context& context, const ConstView& y_grad, const ConstView& x, const ConstView& y,
                     const ConstView& weight, const ConstView& mean, const ConstView& inverse_std,
                     const BatchNormArguments& arguments, const View& x_grad, const View& weight_grad,
                     const View& bias_grad) {
  dispatch_floating("batch_norm_grad", x.dtype, [&]<class T>(Type<T>) {
    if (x.shape[1] == 0) return;
    batch_norm_grad_of<T>(context, y_grad, x, arguments.relu ? y.as<T>() : nullptr, weight, mean, inverse_std, x_grad,
                          weight_grad, bias_grad);
  });
}

}  // namespace weft::cuda
