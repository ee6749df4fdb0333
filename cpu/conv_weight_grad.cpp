#include <algorithm>

#include "cpu/conv_gather.h"
#include "cpu/gemm.h"

namespace weft::cpu {
namespace {

/// Gradients of at most this many bytes are summed in slices of rows; larger ones are cut into blocks of taps, channels
/// and filters, each summed over all rows by one task.
constexpr std::int64_t kSliceBytes = 1 << 20;
constexpr std::int64_t kSlices = 16, kBlock = 256;

/// Adds the product of y's gradient (rows, k)ᵀ and the columns, rows [begin, end), filters [0, filters) of y_grad on and
/// source channels [channel, channel + channels), to `sum` (filters, depth) with row stride `ld`.
template <class T>
void add_product(const ConvColumns& columns, std::int64_t direct, const T* x, std::int64_t channel,
                 std::int64_t channels, const T* y_grad, std::int64_t k, std::int64_t filters, std::int64_t begin,
                 std::int64_t end, bool accumulate, T* sum, std::int64_t ld) {
  const std::int64_t depth = columns.taps() * channels;
  const std::int64_t grain = rows_per_tile(end - begin, depth * static_cast<std::int64_t>(sizeof(T)));
  for (; begin < end; begin += grain, accumulate = true) {
    const std::int64_t rows = std::min(grain, end - begin);
    const T* b = x + begin * direct + channel;
    if (direct == 0) {
      T* gathered = conv_scratch<T>(kColumnsSlot, rows * depth);
      gather_columns(columns, x, begin, rows, channel, channels, gathered);
      b = gathered;
    }
    gemm_tile(true, false, filters, depth, rows, y_grad + begin * k, k, b, direct > 0 ? direct : depth, accumulate, sum,
              ld);
  }
}

/// `sum` (k, taps of columns, c / groups) to the whole filter's layout.
template <class T>
void place_taps(const ConvShape& shape, const ConvColumns& columns, const T* sum, T* weight_grad) {
  const std::int64_t all_taps = shape.filter[0] * shape.filter[1] * shape.filter[2], taps = columns.taps();
  const std::int64_t channels = shape.c / shape.groups;
  for_each_tap(columns, shape.filter, [&](std::int64_t tap, std::int64_t filter_tap) {
    for (std::int64_t k = 0; k < shape.k; ++k) {
      std::copy_n(sum + (k * taps + tap) * channels, channels, weight_grad + (k * all_taps + filter_tap) * channels);
    }
  });
}

template <class T>
void sum_in_slices(const ConvShape& shape, const ConvColumns& columns, const T* y_grad, const T* x, T* weight_grad) {
  const std::int64_t channels = shape.c / shape.groups, filters = shape.k / shape.groups;
  const std::int64_t rows = columns.rows(), depth = columns.taps() * channels, size = shape.k * depth;
  const std::int64_t direct = direct_row_stride(columns, shape.groups);
  const std::int64_t slices = std::clamp<std::int64_t>(rows / 64, 1, kSlices);
  const std::int64_t grain = (rows - 1) / slices + 1;
  T* sums = conv_scratch<T>(kConvSumSlot, slices * size);
  parallel_blocks(rows, grain, [&](std::int64_t begin, std::int64_t end) {
    T* sum = sums + begin / grain * size;
    for (std::int64_t group = 0; group < shape.groups; ++group) {
      add_product(columns, direct, x, group * channels, channels, y_grad + group * filters, shape.k, filters, begin,
                  end, false, sum + group * filters * depth, depth);
    }
  });
  const std::int64_t used = (rows - 1) / grain + 1;
  parallel_blocks(size, 16384, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t slice = 1; slice < used; ++slice) {
      const T* part = sums + slice * size;
      for (std::int64_t i = begin; i < end; ++i) sums[i] += part[i];
    }
  });
  place_taps(shape, columns, sums, weight_grad);
}

template <class T>
void sum_in_blocks(const ConvShape& shape, const ConvColumns& columns, const T* y_grad, const T* x, T* weight_grad) {
  const std::int64_t all_taps = shape.filter[0] * shape.filter[1] * shape.filter[2];
  const std::int64_t channels = shape.c / shape.groups, filters = shape.k / shape.groups;
  const std::int64_t channel_blocks = (channels - 1) / kBlock + 1, filter_blocks = (filters - 1) / kBlock + 1;
  struct Tap {
    ConvColumns columns;
    std::int64_t number = 0, direct = 0;
  };
  std::vector<Tap> taps;
  for_each_tap(columns, shape.filter, [&](std::int64_t i, std::int64_t number) {
    const auto& axes = columns.axes;
    Tap tap{{columns.n, columns.channels,
             {axes[0].slice(i / axes[2].taps / axes[1].taps, 1), axes[1].slice(i / axes[2].taps % axes[1].taps, 1),
              axes[2].slice(i % axes[2].taps, 1)}},
            number};
    tap.direct = direct_row_stride(tap.columns, 1);
    taps.push_back(tap);
  });
  const std::int64_t tasks = static_cast<std::int64_t>(taps.size()) * shape.groups * channel_blocks * filter_blocks;
  parallel_for(tasks, [&](std::int64_t task) {
    const std::int64_t filter = task % filter_blocks * kBlock, channel = task / filter_blocks % channel_blocks * kBlock;
    const std::int64_t group = task / filter_blocks / channel_blocks % shape.groups;
    const Tap& tap = taps[static_cast<std::size_t>(task / filter_blocks / channel_blocks / shape.groups)];
    T* block = weight_grad + ((group * filters + filter) * all_taps + tap.number) * channels + channel;
    add_product(tap.columns, tap.direct, x, group * channels + channel, std::min(kBlock, channels - channel),
                y_grad + group * filters + filter, shape.k, std::min(kBlock, filters - filter), 0, columns.rows(),
                false, block, all_taps * channels);
  });
}

}  // namespace

template <class T>
void conv_weight_grad(const ConvShape& shape, const T* y_grad, const T* x, T* weight_grad) {
  const std::int64_t all_taps = shape.filter[0] * shape.filter[1] * shape.filter[2];
  const std::int64_t size = shape.k * all_taps * (shape.c / shape.groups);
  if (size == 0) return;
  const ConvColumns columns = forward_columns(shape);
  const bool empty = columns.rows() == 0 || columns.taps() == 0;
  if (empty || columns.taps() < all_taps) std::fill_n(weight_grad, size, T(0));
  if (empty) return;
  if (columns.taps() * size / all_taps * static_cast<std::int64_t>(sizeof(T)) <= kSliceBytes) {
    sum_in_slices(shape, columns, y_grad, x, weight_grad);
  } else {
    sum_in_blocks(shape, columns, y_grad, x, weight_grad);
  }
}

template void conv_weight_grad<float>(const ConvShape&, const float*, const float*, float*);
template void conv_weight_grad<double>(const ConvShape&, const double*, const double*, double*);

}  // namespace weft::cpu
