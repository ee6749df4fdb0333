#include "cpu/norm.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <type_traits>
#include <vector>

#include "core/backend.h"
#include "cpu/threads.h"

namespace weft::cpu {

WEFT_SIMD_DEFINE(NormKernels, norm_kernels)

namespace {

constexpr std::int64_t kBlockElements = 16384, kMinBlockRows = 128, kMaxBlockRows = 512;

template <class T>
const NormKernelsOf<T>& kernels() {
  if constexpr (std::is_same_v<T, float>) {
    return norm_kernels().f32;
  } else {
    return norm_kernels().f64;
  }
}

/// (rows, channels) as the kernels see it. As many rows are folded into one of `width` columns as fill whole vectors;
/// column j then belongs to channel j mod channels. Blocks are of block_rows wide rows; the last one may be the part of
/// a wide row that is left over.
struct Blocks {
  std::int64_t rows, channels;
  std::int64_t width = 0, wide_rows = 0, block_rows = 0, count = 0;

  template <class T>
  static Blocks of(const ConstView& x) {
    Blocks b{x.shape[0], x.shape[1]};
    const std::int64_t lanes = norm_kernels().vector_bytes / static_cast<std::int64_t>(sizeof(T));
    const std::int64_t fold = lanes / std::gcd(lanes, b.channels);
    b.width = fold * b.channels;
    b.wide_rows = b.rows / fold;
    b.block_rows = std::clamp(kBlockElements / std::max<std::int64_t>(b.width, 1), kMinBlockRows, kMaxBlockRows);
    b.count = (b.wide_rows + b.block_rows - 1) / b.block_rows + (b.rows % fold != 0);
    return b;
  }

  struct Block {
    std::int64_t offset, rows, width;
  };
  Block operator[](std::int64_t i) const {
    const std::int64_t first = i * block_rows;
    if (first >= wide_rows) return {wide_rows * width, 1, rows * channels - wide_rows * width};
    return {first * width, std::min(block_rows, wide_rows - first), width};
  }

  /// body(i, block) for every block, in parallel.
  template <class Body>
  void for_each(const Body& body) const {
    parallel_for(count, [&](std::int64_t i) { body(i, (*this)[i]); });
  }

  /// Sums over the columns of each channel, in order.
  void sum_columns(const std::vector<double>& columns, std::vector<double>& out) const {
    out.assign(static_cast<std::size_t>(channels), 0.0);
    for (std::int64_t first = 0; first < width; first += channels) {
      for (std::int64_t c = 0; c < channels; ++c) out[c] += columns[first + c];
    }
  }

  template <class T>
  std::vector<T> widen(const T* values) const {
    std::vector<T> wide(static_cast<std::size_t>(width));
    for (std::int64_t first = 0; first < width; first += channels) std::copy_n(values, channels, &wide[first]);
    return wide;
  }
};

/// Two sums per column of each block, in this thread's scratch memory.
template <class T>
class Partials {
 public:
  explicit Partials(const Blocks& blocks)
      : width_(blocks.width),
        data_(static_cast<double*>(scratch(0, sizeof(double) * 2 * blocks.count * blocks.width))) {}
  double* first(std::int64_t block) const { return data_ + 2 * block * width_; }
  double* second(std::int64_t block) const { return first(block) + width_; }

  /// Fills a block with what kernel(first, second) adds to two vectors of zeros.
  template <class Kernel>
  void compute(std::int64_t block, const Kernel& kernel) const {
    T* sums = static_cast<T*>(scratch(1, sizeof(T) * 2 * width_));
    std::fill_n(sums, 2 * width_, T(0));
    kernel(sums, sums + width_);
    std::copy_n(sums, 2 * width_, first(block));
  }

 private:
  std::int64_t width_;
  double* data_;
};

struct Moments {
  std::vector<double> mean, var;  // (channels,); the biased variance
};

/// Chan, Golub and LeVeque 1979: total M2 = Σ M2_b + Σ n_b·(mean_b - mean)², over blocks in order.
template <class T>
Moments batch_moments(const Blocks& blocks, const T* x) {
  const Partials<T> partials(blocks);
  blocks.for_each([&](std::int64_t i, const Blocks::Block& block) {
    const T* origin = x + block.offset;
    partials.compute(i,
                     [&](T* sum, T* squares) { kernels<T>().moments(block.rows, block.width, origin, sum, squares); });
    double* mean = partials.first(i);
    double* squares = partials.second(i);
    for (std::int64_t j = 0; j < block.width; ++j) {
      const double offset = mean[j] / static_cast<double>(block.rows), centred = squares[j] - mean[j] * offset;
      squares[j] = centred < 0 ? 0 : centred;
      mean[j] = static_cast<double>(origin[j]) + offset;
    }
  });

  const double n = static_cast<double>(std::max<std::int64_t>(blocks.rows, 1));
  Moments result;
  std::vector<double> columns(static_cast<std::size_t>(blocks.width), 0.0);
  for (std::int64_t i = 0; i < blocks.count; ++i) {
    const Blocks::Block block = blocks[i];
    const double* mean = partials.first(i);
    const double block_rows = static_cast<double>(block.rows);
    for (std::int64_t j = 0; j < block.width; ++j) columns[j] += block_rows * mean[j];
  }
  blocks.sum_columns(columns, result.mean);
  for (double& mean : result.mean) mean /= n;

  const std::vector<double> total = blocks.widen(result.mean.data());
  std::fill(columns.begin(), columns.end(), 0.0);
  for (std::int64_t i = 0; i < blocks.count; ++i) {
    const Blocks::Block block = blocks[i];
    const double* mean = partials.first(i);
    const double* squares = partials.second(i);
    const double block_rows = static_cast<double>(block.rows);
    for (std::int64_t j = 0; j < block.width; ++j) {
      const double difference = mean[j] - total[j];
      columns[j] += squares[j] + block_rows * difference * difference;
    }
  }
  blocks.sum_columns(columns, result.var);
  for (double& var : result.var) var /= n;
  return result;
}

template <class T>
void update_running(T* running, double momentum, double value) {
  *running = static_cast<T>((1 - momentum) * static_cast<double>(*running) + momentum * value);
}

/// y = (x - mean)·inverse_std·weight + bias as x·scale + shift; writes those two. The shift takes up the rounding of
/// the scale, so a large mean does not amplify it.
template <class T>
void normalise(const Blocks& blocks, const T* x, const ConstView& weight, const ConstView& bias, const double* mean,
               const double* inverse_std, const T* residual, bool relu, T* y, T* scale, T* shift) {
  for (std::int64_t c = 0; c < blocks.channels; ++c) {
    scale[c] = static_cast<T>(static_cast<double>(weight.as<T>()[c]) * inverse_std[c]);
    shift[c] = static_cast<T>(static_cast<double>(bias.as<T>()[c]) - mean[c] * static_cast<double>(scale[c]));
  }
  const std::vector<T> wide_scale = blocks.widen(scale), wide_shift = blocks.widen(shift);
  blocks.for_each([&](std::int64_t, const Blocks::Block& block) {
    kernels<T>().apply(block.rows, block.width, x + block.offset, wide_scale.data(), wide_shift.data(),
                       residual == nullptr ? nullptr : residual + block.offset, relu, y + block.offset);
  });
}

template <class T>
void batch_norm_of(const ConstView& x, const ConstView& weight, const ConstView& bias, const ConstView& residual,
                   const BatchNormArguments& arguments, const View& y, const View& mean, const View& inverse_std,
                   const View& scale, const View& shift, const View& running_mean, const View& running_var) {
  const Blocks blocks = Blocks::of<T>(x);
  const Moments moments = batch_moments(blocks, x.as<T>());
  std::vector<double> inverse(static_cast<std::size_t>(blocks.channels));
  for (std::int64_t c = 0; c < blocks.channels; ++c) {
    inverse[c] = 1 / std::sqrt(moments.var[c] + arguments.eps);
    mean.as<T>()[c] = static_cast<T>(moments.mean[c]);
    inverse_std.as<T>()[c] = static_cast<T>(inverse[c]);
  }
  normalise(blocks, x.as<T>(), weight, bias, moments.mean.data(), inverse.data(), residual.as<T>(), arguments.relu,
            y.as<T>(), scale.as<T>(), shift.as<T>());
  if (running_mean.data == nullptr || blocks.rows == 0) return;
  const double n = static_cast<double>(blocks.rows);
  const double correction = arguments.unbiased_running && blocks.rows > 1 ? n / (n - 1) : 1;
  for (std::int64_t c = 0; c < blocks.channels; ++c) {
    update_running(running_mean.as<T>() + c, arguments.momentum, moments.mean[c]);
    update_running(running_var.as<T>() + c, arguments.momentum, moments.var[c] * correction);
  }
}

template <class T>
void batch_norm_inference_of(const ConstView& x, const ConstView& weight, const ConstView& bias,
                             const ConstView& running_mean, const ConstView& running_var, const ConstView& residual,
                             const BatchNormArguments& arguments, const View& y) {
  const Blocks blocks = Blocks::of<T>(x);
  std::vector<double> mean(static_cast<std::size_t>(blocks.channels)), inverse(mean);
  std::vector<T> scale(static_cast<std::size_t>(blocks.channels)), shift(scale);
  for (std::int64_t c = 0; c < blocks.channels; ++c) {
    mean[c] = static_cast<double>(running_mean.as<T>()[c]);
    inverse[c] = 1 / std::sqrt(static_cast<double>(running_var.as<T>()[c]) + arguments.eps);
  }
  normalise(blocks, x.as<T>(), weight, bias, mean.data(), inverse.data(), residual.as<T>(), arguments.relu, y.as<T>(),
            scale.data(), shift.data());
}

/// With g = y_grad (where x·scale + shift > 0 if relu) and z = (x - mean)·inverse_std:
/// x_grad = scale·(g - mean(g) - z·mean(g·z)), weight_grad = Σ g·z, bias_grad = Σ g.
template <class T>
void batch_norm_grad_of(const ConstView& y_grad, const ConstView& x, const ConstView& mean,
                        const ConstView& inverse_std, const ConstView& scale, const ConstView& shift,
                        const BatchNormArguments& arguments, const View& x_grad, const View& weight_grad,
                        const View& bias_grad) {
  const Blocks blocks = Blocks::of<T>(x);
  const auto channels = static_cast<std::size_t>(blocks.channels);
  const T* g = y_grad.as<T>();
  const std::vector<T> wide_mean = blocks.widen(mean.as<T>()), wide_scale = blocks.widen(scale.as<T>());
  const std::vector<T> wide_shift = arguments.relu ? blocks.widen(shift.as<T>()) : std::vector<T>();
  const T* mask = arguments.relu ? wide_shift.data() : nullptr;
  const Partials<T> partials(blocks);
  blocks.for_each([&](std::int64_t i, const Blocks::Block& block) {
    partials.compute(i, [&](T* sum, T* product) {
      kernels<T>().grad_sums(block.rows, block.width, g + block.offset, x.as<T>() + block.offset, wide_scale.data(),
                             mask, wide_mean.data(), sum, product);
    });
  });

  std::vector<double> sum_columns(static_cast<std::size_t>(blocks.width), 0.0), product_columns(sum_columns);
  for (std::int64_t i = 0; i < blocks.count; ++i) {
    const std::int64_t width = blocks[i].width;
    for (std::int64_t j = 0; j < width; ++j) sum_columns[j] += partials.first(i)[j];
    for (std::int64_t j = 0; j < width; ++j) product_columns[j] += partials.second(i)[j];
  }
  std::vector<double> sum, product;
  blocks.sum_columns(sum_columns, sum);
  blocks.sum_columns(product_columns, product);

  const double n = static_cast<double>(std::max<std::int64_t>(blocks.rows, 1));
  std::vector<T> b(channels), c(channels);
  for (std::size_t i = 0; i < channels; ++i) {
    const double inverse = static_cast<double>(inverse_std.as<T>()[i]), product_z = product[i] * inverse;
    const double a = static_cast<double>(scale.as<T>()[i]);
    weight_grad.as<T>()[i] = static_cast<T>(product_z);
    bias_grad.as<T>()[i] = static_cast<T>(sum[i]);
    b[i] = static_cast<T>(-a * inverse * product_z / n);
    c[i] = static_cast<T>(-a * sum[i] / n);
  }
  const std::vector<T> wide_b = blocks.widen(b.data()), wide_c = blocks.widen(c.data());
  blocks.for_each([&](std::int64_t, const Blocks::Block& block) {
    kernels<T>().grad_apply(block.rows, block.width, g + block.offset, x.as<T>() + block.offset, wide_scale.data(),
                            mask, wide_mean.data(), wide_b.data(), wide_c.data(), x_grad.as<T>() + block.offset);
  });
}

}  // namespace

void batch_norm(const ConstView& x, const ConstView& weight, const ConstView& bias, const ConstView& residual,
                const BatchNormArguments& arguments, const View& y, const View& mean, const View& inverse_std,
                const View& scale, const View& shift, const View& running_mean, const View& running_var,
                const View& batches) {
  if (x.shape[1] > 0) {
    (x.dtype == DType::f32 ? batch_norm_of<float> : batch_norm_of<double>)(x, weight, bias, residual, arguments, y,
                                                                           mean, inverse_std, scale, shift,
                                                                           running_mean, running_var);
  }
  if (batches.data != nullptr) ++*batches.as<std::int64_t>();
}

void batch_norm_inference(const ConstView& x, const ConstView& weight, const ConstView& bias,
                          const ConstView& running_mean, const ConstView& running_var, const ConstView& residual,
                          const BatchNormArguments& arguments, const View& y) {
  if (x.shape[1] == 0) return;
  (x.dtype == DType::f32 ? batch_norm_inference_of<float> : batch_norm_inference_of<double>)(x, weight, bias,
                                                                                             running_mean, running_var,
                                                                                             residual, arguments, y);
}

void batch_norm_grad(const ConstView& y_grad, const ConstView& x, const ConstView& mean, const ConstView& inverse_std,
                     const ConstView& scale, const ConstView& shift, const BatchNormArguments& arguments,
                     const View& x_grad, const View& weight_grad, const View& bias_grad) {
  if (x.shape[1] == 0) return;
  (x.dtype == DType::f32 ? batch_norm_grad_of<float> : batch_norm_grad_of<double>)(y_grad, x, mean, inverse_std, scale,
                                                                                   shift, arguments, x_grad,
                                                                                   weight_grad, bias_grad);
}

}  // namespace weft::cpu
