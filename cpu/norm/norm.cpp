#include "cpu/norm/norm.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <type_traits>
#include <vector>

#include "core/device/integer.h"
#include "cpu/runtime/backend.h"
#include "cpu/runtime/threads.h"

// Batch normalisation of (rows, channels). It replaces
//
//   for each channel c:
//     mean(c) = Σ over rows of x(row, c) / rows
//     var(c) = Σ over rows of (x(row, c) - mean(c))² / rows
//     for each row:
//       y(row, c) = (x(row, c) - mean(c))·scale(c) + shift(c)       then the ReLU and the residual
//
//             channels
//            ┌──────────┐                     A task has one block of rows, cut by the shape alone. It reads the block
//   block 0  │ task 0   │ mean, squares       with the channels in the lanes of vectors, and leaves two doubles for
//            ├──────────┤                     each column in scratch memory. The blocks' moments are merged in order,
//   block 1  │ task 1   │ mean, squares       so that the bits do not depend on threads. Then each block is read
//            └──────────┘                     again, normalised and written.
//
// Narrow rows are folded until a row fills whole vectors. A narrow block's sums stay in registers, a wide one's in the
// first-level cache (norm_simd.cpp). Where the values of a channel lie one after another, as in group normalisation, a
// channel is a row: a task has some rows, which stay in the first-level cache between the passes (norm_rows.h).
//
// The gradient reads x and y's gradient twice in the same way, for Σ g and Σ g·(x - mean), and then for x's gradient.
namespace weft::cpu {

WEFT_SIMD_DEFINE(NormKernels, norm_kernels)

namespace {

constexpr std::int64_t kBlockElements = 16384;                 // of a block whose rows are not wide: 64 KB of f32
constexpr std::int64_t kMaxBlockRows = 512;                    // so that narrow inputs have blocks for many threads too
constexpr std::int64_t kMinBlockRows = 128;                    // so that a block's sums are few beside its elements
constexpr std::int64_t kFewBlocks = 16, kLeastBlockRows = 16;  // few rows make smaller blocks, which threads share
// Channels that are rows: those that the kernels take at a time stay in the first level of the cache between passes.
constexpr std::int64_t kRowElements = 4096, kMostRows = 64;
constexpr std::int64_t kRowTask = 16384;  // elements of a task at least, which pay for waking a thread
constexpr std::int64_t kLongRow = 65536;  // threads share a row from here on

/// (rows, channels) as the kernels see it. As many rows are folded into one of `width` columns as fill whole vectors;
/// column j then belongs to channel j mod channels. Blocks are of block_rows wide rows; the last one may be the part of
/// a wide row that is left over.
struct Blocks {
  std::int64_t rows, channels;
  std::int64_t width = 0, wide_rows = 0, block_rows = 0, count = 0;

  template <class T>
  static Blocks of(std::int64_t rows, std::int64_t channels) {
    Blocks b{rows, channels};
    const std::int64_t lanes = norm_kernels().vector_bytes / static_cast<std::int64_t>(sizeof(T));
    const std::int64_t fold = lanes / std::gcd(lanes, b.channels);
    b.width = fold * b.channels;
    b.wide_rows = b.rows / fold;
    const std::int64_t least = std::clamp(b.wide_rows / kFewBlocks, kLeastBlockRows, kMinBlockRows);
    b.block_rows = std::clamp(kBlockElements / std::max<std::int64_t>(b.width, 1), least, kMaxBlockRows);
    b.count = ceil_div(b.wide_rows, b.block_rows) + (b.rows % fold != 0);
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
class Partials {
 public:
  explicit Partials(const Blocks& blocks)
      : width_(blocks.width),
        data_(static_cast<double*>(scratch(ScratchSlot::shared, sizeof(double) * 2 * blocks.count * blocks.width))) {}
  double* first(std::int64_t block) const { return data_ + 2 * block * width_; }
  double* second(std::int64_t block) const { return first(block) + width_; }

  /// Fills a block with what kernel(first, second) adds to two vectors of zeros.
  template <class Kernel>
  void fill(std::int64_t block, const Kernel& kernel) const {
    std::fill_n(first(block), 2 * width_, 0.0);
    kernel(first(block), second(block));
  }

 private:
  std::int64_t width_;
  double* data_;
};

/// The moments of one channel: the mean is mean + rest, and the variance is biased.
struct Moments {
  double mean, rest, var, inverse_std;
};

Moments moments_of(long double mean, long double var, double eps) {
  const double rounded = static_cast<double>(mean);
  return {rounded, static_cast<double>(mean - rounded), static_cast<double>(var),
          static_cast<double>(1 / std::sqrt(var + eps))};
}

/// The moments of a channel whose values differ from `origin` by `offset` in the mean.
Moments moments_from(double origin, double offset, double var, double eps) {
  const double mean = origin + offset, added = mean - origin;  // Knuth's TwoSum
  return {mean, (origin - (mean - added)) + (offset - added), var, 1 / std::sqrt(var + eps)};
}

/// Whether the squares whose sum gave var stayed in the range of T. Squares that are too small to change var may leave
/// it.
template <class T>
bool is_in_range(double var) {
  return std::isfinite(var) && var > (std::is_same_v<T, float> ? 1e-30 : 1e-290);
}

/// In long double, which holds the squares of all doubles where it is x87's. NaN where a value is not finite.
template <class T>
Moments wide_moments(const Blocks& blocks, const T* x, std::int64_t channel, double eps) {
  const auto n = static_cast<long double>(std::max<std::int64_t>(blocks.rows, 1));
  const std::int64_t end = blocks.rows * blocks.channels;
  long double sum = 0, squares = 0;
  for (std::int64_t i = channel; i < end; i += blocks.channels) {
    if (!std::isfinite(x[i])) return moments_of(NAN, NAN, eps);
    sum += static_cast<long double>(x[i]);
  }
  const long double mean = sum / n;
  for (std::int64_t i = channel; i < end; i += blocks.channels) {
    const long double difference = static_cast<long double>(x[i]) - mean;
    squares += difference * difference;
  }
  return moments_of(mean, squares / n, eps);
}

/// Fills `partials` with the mean of each column of each block, relative to `reference`, and its centred squares.
template <class T>
void sum_blocks(const Blocks& blocks, const T* x, const std::vector<T>& reference, const Partials& partials) {
  blocks.for_each([&](std::int64_t i, const Blocks::Block& block) {
    T* const origin = static_cast<T*>(scratch(ScratchSlot::task, sizeof(T) * 3 * blocks.width));
    partials.fill(i, [&](double* sum, double* squares) {
      of<T>(norm_kernels())
          .moments(block.rows, block.width, x + block.offset, origin, origin + blocks.width, sum, squares);
      for (std::int64_t j = 0; j < block.width; ++j) {
        const double offset = sum[j] / static_cast<double>(block.rows), centred = squares[j] - sum[j] * offset;
        squares[j] = centred < 0 ? 0 : centred;
        sum[j] = static_cast<double>(origin[j]) - static_cast<double>(reference[j]) + offset;
      }
    });
  });
}

/// What the blocks' partials make of each channel: the mean, and the sum of the squares centred on it, by Chan, Golub
/// and LeVeque 1979: total M2 = Σ M2_b + Σ n_b·(mean_b - mean)², over blocks in order.
struct MergedMoments {
  std::vector<double> means, squares;
};

MergedMoments merge_moments(const Blocks& blocks, const Partials& partials) {
  MergedMoments merged;
  std::vector<double> columns(static_cast<std::size_t>(blocks.width), 0.0);
  for (std::int64_t i = 0; i < blocks.count; ++i) {
    const Blocks::Block block = blocks[i];
    const double* mean = partials.first(i);
    const double block_rows = static_cast<double>(block.rows);
    for (std::int64_t j = 0; j < block.width; ++j) columns[j] += block_rows * mean[j];
  }
  blocks.sum_columns(columns, merged.means);
  for (double& mean : merged.means) mean /= static_cast<double>(std::max<std::int64_t>(blocks.rows, 1));

  const std::vector<double> total = blocks.widen(merged.means.data());
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
  blocks.sum_columns(columns, merged.squares);
  return merged;
}

/// The moments of every channel. Means are relative to the first row, so those of equal values are exact.
template <class T>
std::vector<Moments> batch_moments(const Blocks& blocks, const T* x, double eps) {
  const std::vector<T> reference = blocks.rows > 0 ? blocks.widen(x) : std::vector<T>();
  const Partials partials(blocks);
  sum_blocks(blocks, x, reference, partials);
  const MergedMoments merged = merge_moments(blocks, partials);

  const double n = static_cast<double>(std::max<std::int64_t>(blocks.rows, 1));
  std::vector<Moments> result(static_cast<std::size_t>(blocks.channels));
  std::vector<std::int64_t> beyond;
  for (std::int64_t c = 0; c < blocks.channels; ++c) {
    const double origin = reference.empty() ? 0 : static_cast<double>(reference[c]);
    result[c] = moments_from(origin, merged.means[c], merged.squares[c] / n, eps);
    if (!is_in_range<T>(result[c].var + eps)) beyond.push_back(c);
  }
  parallel_for(static_cast<std::int64_t>(beyond.size()),
               [&](std::int64_t i) { result[beyond[i]] = wide_moments(blocks, x, beyond[i], eps); });
  return result;
}

template <class T>
void update_running(T* running, double momentum, double value) {
  *running = static_cast<T>((1 - momentum) * static_cast<double>(*running) + momentum * value);
}

template <class T>
void normalise(const Blocks& blocks, const T* x, const T* mean, const T* scale, const T* shift, const T* residual,
               bool relu, T* y) {
  const std::vector<T> wide_mean = blocks.widen(mean), wide_scale = blocks.widen(scale),
                       wide_shift = blocks.widen(shift);
  blocks.for_each([&](std::int64_t, const Blocks::Block& block) {
    of<T>(norm_kernels())
        .apply(block.rows, block.width, x + block.offset, wide_mean.data(), wide_scale.data(), wide_shift.data(),
               residual == nullptr ? nullptr : residual + block.offset, relu, y + block.offset);
  });
}

/// The arrays over channels that batch_norm reads and writes.
template <class T>
struct Coefficients {
  const T *weight, *bias;
  T *mean, *inverse_std, *scale, *shift;
  std::int64_t channels;

  void write(std::int64_t c, const Moments& m) const {
    const T rounded = static_cast<T>(m.mean), factor = static_cast<T>(static_cast<double>(weight[c]) * m.inverse_std);
    const double rest = m.mean - static_cast<double>(rounded) + m.rest;
    mean[c] = rounded;
    mean[channels + c] = static_cast<T>(rest);
    inverse_std[c] = static_cast<T>(m.inverse_std);
    scale[c] = factor;
    shift[c] = static_cast<T>(static_cast<double>(bias[c]) - rest * static_cast<double>(factor));
  }
};

/// Whether channels are rows: the values of each lie one after another.
bool has_rows(const ConstView& x) { return x.shape[0] > 1 && x.strides[0] == 1 && x.strides[1] == x.shape[0]; }

/// body(first, rows) for the rows that the kernels take at a time, in parallel.
template <class Body>
void for_rows(std::int64_t rows, std::int64_t n, const Body& body) {
  const std::int64_t at_once = std::clamp<std::int64_t>(kRowElements / n, 1, kMostRows);
  const std::int64_t grain = std::max<std::int64_t>(kRowTask / (at_once * n), 1) * at_once;
  parallel_blocks(rows, grain, [&](std::int64_t begin, std::int64_t end) {
    for (; begin < end; begin += at_once) body(begin, std::min(at_once, end - begin));
  });
}

/// Where channels are rows. Long ones are seen as columns each.
template <class T>
void normalise_rows(std::int64_t channels, std::int64_t n, const T* x, double eps, const Coefficients<T>& to, T* y) {
  const Blocks row = Blocks::of<T>(n, 1);
  if (n >= kLongRow) {
    for (std::int64_t c = 0; c < channels; ++c) {
      to.write(c, batch_moments(row, x + c * n, eps)[0]);
      normalise<T>(row, x + c * n, to.mean + c, to.scale + c, to.shift + c, nullptr, false, y + c * n);
    }
    return;
  }
  for_rows(channels, n, [&](std::int64_t first, std::int64_t rows) {
    T origin[kMostRows];
    double sum[kMostRows], squares[kMostRows];
    of<T>(norm_kernels()).row_moments(rows, n, x + first * n, origin, sum, squares);
    for (std::int64_t r = 0; r < rows; ++r) {
      const double offset = sum[r] / static_cast<double>(n), centred = squares[r] - sum[r] * offset;
      const double var = (centred < 0 ? 0 : centred) / static_cast<double>(n);
      Moments moments = moments_from(static_cast<double>(origin[r]), offset, var, eps);
      if (!is_in_range<T>(var + eps)) moments = wide_moments(row, x + (first + r) * n, 0, eps);
      to.write(first + r, moments);
    }
    of<T>(norm_kernels())
        .row_apply(rows, n, x + first * n, to.mean + first, to.scale + first, to.shift + first, y + first * n);
  });
}

template <class T>
void batch_norm_of(const BatchNormForward& call) {
  const ConstView& x = call.x;
  const Coefficients<T> to{call.weight.as<T>(), call.bias.as<T>(),  call.mean.as<T>(), call.inverse_std.as<T>(),
                           call.scale.as<T>(),  call.shift.as<T>(), x.shape[1]};
  if (has_rows(x)) return normalise_rows(x.shape[1], x.shape[0], x.as<T>(), call.eps, to, call.y.as<T>());
  const Blocks blocks = Blocks::of<T>(x.shape[0], x.shape[1]);
  const std::vector<Moments> moments = batch_moments(blocks, x.as<T>(), call.eps);
  for (std::int64_t c = 0; c < blocks.channels; ++c) to.write(c, moments[c]);
  normalise(blocks, x.as<T>(), to.mean, to.scale, to.shift, call.residual.as<T>(), call.relu, call.y.as<T>());
  const RunningStatistics& running = call.running;
  if (running.mean.data == nullptr || blocks.rows == 0) return;
  const double n = static_cast<double>(blocks.rows);
  const double correction = running.unbiased && blocks.rows > 1 ? n / (n - 1) : 1;
  for (std::int64_t c = 0; c < blocks.channels; ++c) {
    update_running(running.mean.as<T>() + c, running.momentum, moments[c].mean);
    update_running(running.var.as<T>() + c, running.momentum, moments[c].var * correction);
  }
}

template <class T>
void batch_norm_inference_of(const BatchNormInference& call) {
  const Blocks blocks = Blocks::of<T>(call.x.shape[0], call.x.shape[1]);
  std::vector<T> scale(static_cast<std::size_t>(blocks.channels));
  for (std::int64_t c = 0; c < blocks.channels; ++c) {
    const double deviation = std::sqrt(static_cast<double>(call.running_var.as<T>()[c]) + call.eps);
    scale[c] = static_cast<T>(static_cast<double>(call.weight.as<T>()[c]) / deviation);
  }
  normalise(blocks, call.x.as<T>(), call.running_mean.as<T>(), scale.data(), call.bias.as<T>(), call.residual.as<T>(),
            call.relu, call.y.as<T>());
}

/// The arrays over channels that batch_norm_grad reads and writes. write() also makes the factors of grad_apply.
template <class T>
struct GradCoefficients {
  const T *mean, *inverse_std;
  T *weight_grad, *bias_grad;
  std::int64_t channels;
  double rows;

  void write(std::int64_t i, double sum, double product, T* b, T* c) const {
    const double inverse = static_cast<double>(inverse_std[i]), rest = static_cast<double>(mean[channels + i]);
    const double product_z = (product - rest * sum) * inverse, factor = -inverse * product_z / rows;
    weight_grad[i] = static_cast<T>(product_z);
    bias_grad[i] = static_cast<T>(sum);
    *b = static_cast<T>(factor);
    *c = static_cast<T>(-sum / rows - rest * factor);
  }
};

/// The gradient of channels that begin with number `first`; g, x, scale, shift and x_grad begin there,
/// and shift is null without the ReLU.
template <class T>
void grad_columns(const Blocks& blocks, std::int64_t first, const T* g, const T* x, const T* scale, const T* shift,
                  const GradCoefficients<T>& to, T* x_grad) {
  const auto channels = static_cast<std::size_t>(blocks.channels);
  const std::vector<T> wide_mean = blocks.widen(to.mean + first), wide_scale = blocks.widen(scale);
  const std::vector<T> wide_shift = shift != nullptr ? blocks.widen(shift) : std::vector<T>();
  const T* mask = shift != nullptr ? wide_shift.data() : nullptr;
  const Partials partials(blocks);
  blocks.for_each([&](std::int64_t i, const Blocks::Block& block) {
    T* const partial = static_cast<T*>(scratch(ScratchSlot::task, sizeof(T) * 2 * blocks.width));
    partials.fill(i, [&](double* sum, double* product) {
      of<T>(norm_kernels())
          .grad_sums(block.rows, block.width, g + block.offset, x + block.offset, wide_mean.data(), wide_scale.data(),
                     mask, partial, sum, product);
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

  std::vector<T> b(channels), c(channels);
  for (std::size_t i = 0; i < channels; ++i)
    to.write(first + static_cast<std::int64_t>(i), sum[i], product[i], &b[i], &c[i]);
  const std::vector<T> wide_b = blocks.widen(b.data()), wide_c = blocks.widen(c.data());
  blocks.for_each([&](std::int64_t, const Blocks::Block& block) {
    of<T>(norm_kernels())
        .grad_apply(block.rows, block.width, g + block.offset, x + block.offset, wide_mean.data(), wide_scale.data(),
                    mask, wide_b.data(), wide_c.data(), x_grad + block.offset);
  });
}

template <class T>
void batch_norm_grad_of(const BatchNormGradient& call) {
  const ConstView& x = call.x;
  const std::int64_t n = x.shape[0], channels = x.shape[1];
  const GradCoefficients<T> to{call.mean.as<T>(),
                               call.inverse_std.as<T>(),
                               call.weight_grad.as<T>(),
                               call.bias_grad.as<T>(),
                               channels,
                               static_cast<double>(std::max<std::int64_t>(n, 1))};
  const T *const g = call.y_grad.as<T>(), *const values = x.as<T>(), *const factor = call.scale.as<T>();
  T* const out = call.x_grad.as<T>();
  if (!has_rows(x)) {
    return grad_columns<T>(Blocks::of<T>(n, channels), 0, g, values, factor, call.relu ? call.shift.as<T>() : nullptr,
                           to, out);
  }
  if (n >= kLongRow) {
    const Blocks row = Blocks::of<T>(n, 1);
    for (std::int64_t c = 0; c < channels; ++c)
      grad_columns<T>(row, c, g + c * n, values + c * n, factor + c, nullptr, to, out + c * n);
    return;
  }
  for_rows(channels, n, [&](std::int64_t first, std::int64_t rows) {
    const std::int64_t at = first * n;
    double sum[kMostRows], product[kMostRows];
    T b[kMostRows], c[kMostRows];
    of<T>(norm_kernels()).row_grad_sums(rows, n, g + at, values + at, to.mean + first, sum, product);
    for (std::int64_t r = 0; r < rows; ++r) to.write(first + r, sum[r], product[r], &b[r], &c[r]);
    of<T>(norm_kernels()).row_grad_apply(rows, n, g + at, values + at, to.mean + first, factor + first, b, c, out + at);
  });
}

}  // namespace

void CpuBackend::batch_norm(const BatchNormForward& call) {
  const DenormalMode mode;
  if (call.x.shape[1] > 0) (call.x.dtype == DType::f32 ? batch_norm_of<float> : batch_norm_of<double>)(call);
  if (call.running.batches.data != nullptr) ++*call.running.batches.as<std::int64_t>();
}

void CpuBackend::batch_norm_inference(const BatchNormInference& call) {
  const DenormalMode mode;
  if (call.x.shape[1] == 0) return;
  (call.x.dtype == DType::f32 ? batch_norm_inference_of<float> : batch_norm_inference_of<double>)(call);
}

void CpuBackend::batch_norm_grad(const BatchNormGradient& call) {
  const DenormalMode mode;
  if (call.x.shape[1] == 0) return;
  (call.x.dtype == DType::f32 ? batch_norm_grad_of<float> : batch_norm_grad_of<double>)(call);
}

}  // namespace weft::cpu
