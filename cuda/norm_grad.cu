#include "cuda/norm.h"
#include "cuda/norm_grid.cuh"

namespace weft::cuda {
namespace {

using namespace norm;  // NOLINT(google-build-using-namespace)

/// What the gradient reads of one row.
template <class T, int V>
struct GradientRow {
  Pack<T, V> gradient, x;

  static WEFT_DEVICE GradientRow at(const T* y_grad, const T* x, std::int64_t at) {
    GradientRow row;
    row.gradient = pack_at<V>(y_grad, at);
    row.x = pack_at<V>(x, at);
    return row;
  }
};

template <bool kMasked, class C>
WEFT_DEVICE C masked(C gradient, C x, C scale, C shift) {
  if constexpr (kMasked) return normalised(x, scale, shift) > 0 ? gradient : C(0);
  return gradient;
}

/// partials (slices, 2, channels): Σ g and Σ g·(x - mean), with g = y_grad where x·scale + shift > 0 if kMasked.
template <class T, int V, bool kMasked>
WEFT_KERNEL_OF(kThreads)
grad_sums_kernel(const T* y_grad, const T* x, Grid grid, const compute_t<T>* mean, const compute_t<T>* scale,
                 const compute_t<T>* shift, double* partials) {
  using C = compute_t<T>;
  using Row = GradientRow<T, V>;
  WEFT_SHARED(C, sums, kThreads * V);
  WEFT_SHARED(C, products, kThreads * V);
  const int thread = static_cast<int>(threadIdx.x);
  const Place place = place_in<V>(grid);
  C m[V] = {}, f[V] = {}, s[V] = {}, sum[V] = {}, product[V] = {};
  if (place.begin < place.end) {
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) {
      m[j] = mean[place.channel + j];
      if constexpr (kMasked) {
        f[j] = scale[place.channel + j];
        s[j] = shift[place.channel + j];
      }
    }
  }
  for_rows<2>(
      grid, place, [=](std::int64_t at) { return Row::at(y_grad, x, at); },
      [&](const Row& row, std::int64_t) {
        WEFT_UNROLL
        for (int j = 0; j < V; ++j) {
          const C value = widen(row.x.value[j]);
          const C g = masked<kMasked>(widen(row.gradient.value[j]), value, f[j], s[j]);
          sum[j] += g;
          product[j] += g * (value - m[j]);
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
  const C *inverse_std, *scale;
  C *weight_grad, *bias_grad;
  C *b, *c;
};

/// x_grad = g·scale + (x - mean)·b + c is scale·(g - mean(g) - z·mean(g·z)) with z = (x - mean)·inverse_std. Block b
/// has channels [8b, 8b + 8); merger m of a channel takes slices m, m + 32, ... in order.
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
  const double inverse = static_cast<double>(f.inverse_std[channel]), product_z = product * inverse;
  const double scale = static_cast<double>(f.scale[channel]);
  f.weight_grad[channel] = static_cast<C>(product_z);
  f.bias_grad[channel] = static_cast<C>(sum);
  f.b[channel] = static_cast<C>(-scale * inverse * product_z / n);
  f.c[channel] = static_cast<C>(-scale * sum / n);
}

template <class T, int V, bool kMasked>
WEFT_KERNEL_OF(kThreads)
grad_apply_kernel(const T* y_grad, const T* x, Grid grid, const compute_t<T>* mean, const compute_t<T>* scale,
                  const compute_t<T>* shift, const compute_t<T>* b, const compute_t<T>* c, T* x_grad) {
  using C = compute_t<T>;
  using Row = GradientRow<T, V>;
  const Place place = place_in<V>(grid);
  if (place.begin >= place.end) return;
  C m[V], f[V], s[V] = {}, g[V], h[V];
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    m[j] = mean[place.channel + j];
    f[j] = scale[place.channel + j];
    if constexpr (kMasked) s[j] = shift[place.channel + j];
    g[j] = b[place.channel + j];
    h[j] = c[place.channel + j];
  }
  for_rows<2>(
      grid, place, [=](std::int64_t at) { return Row::at(y_grad, x, at); },
      [&](const Row& row, std::int64_t at) {
        Pack<T, V> out;
        WEFT_UNROLL
        for (int j = 0; j < V; ++j) {
          const C value = widen(row.x.value[j]);
          const C gradient = masked<kMasked>(widen(row.gradient.value[j]), value, f[j], s[j]);
          out.value[j] = narrow<T>(gradient * f[j] + ((value - m[j]) * g[j] + h[j]));
        }
        *reinterpret_cast<Pack<T, V>*>(x_grad + at) = out;
      });
}

template <class T>
void batch_norm_grad_of(Context& context, const ConstView& y_grad, const ConstView& x, const ConstView& mean,
                        const ConstView& inverse_std, const ConstView& scale, const ConstView& shift, bool relu,
                        const View& x_grad, const View& weight_grad, const View& bias_grad) {
  using C = compute_t<T>;
  const std::int64_t channels = x.shape[1];
  const Scratch scratch(context, 2 * static_cast<std::size_t>(channels) * sizeof(C));
  C *b = scratch.as<C>(), *c = b + channels;
  const GradientFactors<C> factors{inverse_std.as<C>(), scale.as<C>(), weight_grad.as<C>(), bias_grad.as<C>(), b, c};
  const auto run = [&]<int V>(std::integral_constant<int, V>) {
    const Grid sums = grid_of<T, V>(context, x, 8), grid = grid_of<T, V>(context, x, 4);
    const Scratch partials(context, 2 * static_cast<std::size_t>(sums.slices * channels) * sizeof(double));
    launch({"batch_norm_grad sums", sums.blocks(), kThreads, context.stream},
           relu ? grad_sums_kernel<T, V, true> : grad_sums_kernel<T, V, false>, y_grad.as<T>(), x.as<T>(), sums,
           mean.as<C>(), scale.as<C>(), shift.as<C>(), partials.as<double>());
    launch({"batch_norm_grad factors", blocks_for(channels, kMergeChannels), kThreads, context.stream},
           grad_factors_kernel<C>, partials.as<double>(), sums, factors);
    launch({"batch_norm_grad", grid.blocks(), kThreads, context.stream},
           relu ? grad_apply_kernel<T, V, true> : grad_apply_kernel<T, V, false>, y_grad.as<T>(), x.as<T>(), grid,
           mean.as<C>(), scale.as<C>(), shift.as<C>(), b, c, x_grad.as<T>());
  };
  with_width<T>(channels, run, y_grad.data, x.data, x_grad.data);
}

}  // namespace

void batch_norm_grad(Context& context, const ConstView& y_grad, const ConstView& x, const ConstView& mean,
                     const ConstView& inverse_std, const ConstView& scale, const ConstView& shift,
                     const BatchNormArguments& arguments, const View& x_grad, const View& weight_grad,
                     const View& bias_grad) {
  dispatch_floating("batch_norm_grad", x.dtype, [&]<class T>(Type<T>) {
    if (x.shape[1] == 0) return;
    batch_norm_grad_of<T>(context, y_grad, x, mean, inverse_std, scale, shift, arguments.relu, x_grad, weight_grad,
                          bias_grad);
  });
}

}  // namespace weft::cuda
