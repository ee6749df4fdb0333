#include <algorithm>
#include <vector>

#include "core/device/integer.h"
#include "cpu/array/deep_sums.h"
#include "cpu/conv/depthwise_rows.h"

// The weight gradient of depthwise convolutions. It replaces
//
//   for k, t, r, s:
//     weight_grad(k, t, r, s) = Σ over (n, o, p, q) of y_grad(n, o, p, q, k) · x(n, place of output and tap, c)
//
//   rows (n, o, p) of y's gradient    ├ split 0 ─┤├ split 1 ─┤ ...    A task has one split, with sums of its own.
//   of a split                        ├run┤├run┤├..                   A run is rows of an image that meet equal taps.
//
// For a run, a kernel keeps the sums of 3 lines x 3 taps, one vector of channels, in registers over all rows and
// columns, then adds them to the split's. write_channels adds the splits in order, in double. Splits are cut by shape
// alone.
namespace weft::cpu {
namespace {

constexpr std::int64_t kFetchedElements = 4;      // of x for each of y, at most: a larger step leaves out too much of x
constexpr std::int64_t kSplits = 32;              // at most: tasks for 32 threads, whose few sums are then added
constexpr std::int64_t kSplitElements = 1 << 15;  // of y's gradient, at least, beside which the sums are few
constexpr std::int64_t kSplitBytes = 16 << 20;    // of the sums of all splits
constexpr std::int64_t kRunBytes = 64 << 10;  // of y's gradient in rows that are summed together, again for each tap

/// Rows of y's gradient (n, depth, height), in splits cut by shape alone, each with its own sums (taps, width).
template <class T>
struct Plan {
  const DepthwiseKernelsOf<T>* kernels;
  ConvColumns columns;
  std::int64_t k = 0, multiplier = 1, width = 0, vectors = 0;  ///< vectors: channels before the last vector's
  std::int64_t rows = 0, splits = 1, split_rows = 1, run_rows = 1;
  const T* y_grad = nullptr;
  const T* x = nullptr;
  T* sums = nullptr;

  std::int64_t split_size() const { return columns.taps() * width; }
};

template <class T>
Plan<T> make_plan(const ConvShape& shape, int vector_bytes) {
  Plan<T> plan;
  plan.columns = forward_columns(shape);
  plan.k = shape.k;
  plan.multiplier = shape.k / shape.c;
  const std::int64_t lanes = vector_bytes / static_cast<std::int64_t>(sizeof(T));
  plan.width = plan.k < lanes ? plan.k : round_up(plan.k, lanes);
  plan.vectors = plan.k < lanes ? plan.k : plan.width - lanes;
  plan.rows = shape.n * shape.out[0] * shape.out[1];
  const std::int64_t row_size = shape.out[2] * plan.k, bytes = static_cast<std::int64_t>(sizeof(T));
  const std::int64_t wanted =
      std::min({kSplits, plan.rows, plan.rows * row_size / kSplitElements, kSplitBytes / (plan.split_size() * bytes)});
  plan.split_rows = ceil_div(plan.rows, std::max<std::int64_t>(1, wanted));
  plan.splits = ceil_div(plan.rows, plan.split_rows);
  const std::int64_t run_rows = std::min(kRunBytes / (row_size * bytes), kChain / shape.out[2]);
  plan.run_rows = plan.multiplier > 1 ? 1 : std::max<std::int64_t>(1, run_rows);
  return plan;
}

bool equal(const Range& a, const Range& b) { return a.begin == b.begin && a.end == b.end; }

template <class T>
class SplitTask {
 public:
  SplitTask(const Plan<T>& plan, std::int64_t split)
      : plan_(plan),
        sums_(plan.sums + split * plan.split_size()),
        deep_(sums_, plan.split_size(), std::min(plan.run_rows, plan.columns.axes[1].out) * plan.columns.axes[2].out,
              ScratchSlot::sums),
        expanded_(plan.columns.axes, plan.k / plan.multiplier, plan.multiplier) {
    const std::int64_t end = std::min((split + 1) * plan.split_rows, plan.rows);
    for (std::int64_t row = split * plan.split_rows; row < end;) row += add_run(row, end);
    deep_.finish();
  }

 private:
  Range height_taps(std::int64_t h) const {
    const TapAxis& height = plan_.columns.axes[1];
    return inside(h * height.step + height.offset, height.tap_step, height.taps, height.in);
  }

  /// Adds the rows from `row` on that meet the same taps; returns their number.
  std::int64_t add_run(std::int64_t row, std::int64_t end) {
    const auto& [depth, height, width] = plan_.columns.axes;
    const std::int64_t h = row % height.out, d = row / height.out % depth.out, n = row / height.out / depth.out;
    const Range taps = height_taps(h);
    std::int64_t rows = 1;
    const std::int64_t most = std::min({plan_.run_rows, height.out - h, end - row});
    while (rows < most && equal(height_taps(h + rows), taps)) ++rows;

    lines_.clear();
    const std::int64_t source_line = width.in * plan_.columns.channels;
    for (std::int64_t i = 0; i < depth.taps; ++i) {
      const std::int64_t z = depth.position(d, i);
      if (z < 0) continue;
      for (std::int64_t j = taps.begin; j < taps.end; ++j) {
        const std::int64_t y = height.position(h, j);
        const T* from = plan_.x + ((n * depth.in + z) * height.in + y) * source_line;
        lines_.push_back({expanded_.line(from, n, z, y), sums_ + (i * height.taps + j) * width.taps * plan_.width});
      }
    }
    DepthwiseSum<T> sum;
    sum.axis = depthwise_axis(width);
    sum.channels = plan_.k;
    sum.width = plan_.width;
    sum.lines = lines_.data();
    sum.line_count = static_cast<std::int64_t>(lines_.size());
    sum.y = plan_.y_grad + row * width.out * plan_.k;
    sum.rows = rows;
    sum.source_row = height.step * source_line;
    sum.y_row = width.out * plan_.k;
    sum.source_stride = sum.y_stride = plan_.k;
    if (plan_.multiplier == 1 && !lines_.empty() && height.step * width.step <= kFetchedElements) {
      sum.next_source = lines_.back().source + (rows - 1) * sum.source_row + source_line;
      sum.fresh = height.step * width.step;
    }
    add(sum);
    return rows;
  }

  /// Calls the kernel, in parts on a row of more columns than a chain has terms.
  void add(DepthwiseSum<T>& sum) {
    const std::int64_t columns = sum.axis.out;
    if (columns <= kChain) {
      deep_.begin_call();
      return plan_.kernels->sum(sum);
    }
    const T* const source = lines_.empty() ? nullptr : lines_.back().source;
    for (std::int64_t begin = 0; begin < columns; begin += sum.axis.out) {
      sum.axis.out = std::min<std::int64_t>(kChain, columns - begin);
      sum.y_row = sum.axis.out * sum.y_stride;
      if (sum.next_source != nullptr) {
        sum.next_source = source + (begin + sum.axis.out) * sum.axis.step * sum.source_stride;
      }
      deep_.begin_call();
      plan_.kernels->sum(sum);
      sum.y += sum.y_row;
      sum.axis.offset += sum.axis.out * sum.axis.step;
    }
  }

  const Plan<T>& plan_;
  T* sums_;
  DeepSums<T> deep_;
  ExpandedLines<T> expanded_;
  std::vector<DepthwiseSumLine<T>> lines_;
};

/// Adds the splits in order and writes channels [begin, end) of all taps to the gradient (k, all taps).
template <class T>
void write_channels(const Plan<T>& plan, const std::vector<ConvTap>& taps, std::int64_t all_taps, std::int64_t begin,
                    std::int64_t end, T* weight_grad) {
  for (std::size_t tap = 0; tap < taps.size(); ++tap) {
    for (std::int64_t c = begin; c < end; ++c) {
      const std::int64_t place = c < plan.vectors ? c : plan.width - (plan.k - c);
      const T* from = plan.sums + static_cast<std::int64_t>(tap) * plan.width + place;
      double sum = 0;
      for (std::int64_t split = 0; split < plan.splits; ++split) sum += from[split * plan.split_size()];
      weight_grad[c * all_taps + taps[tap].filter] = static_cast<T>(sum);
    }
  }
}

}  // namespace

template <class T>
void depthwise_weight_grad(const DepthwiseKernelsOf<T>& kernels, int vector_bytes, const ConvShape& shape,
                           const T* y_grad, const T* x, T* weight_grad) {
  constexpr std::int64_t kChannels = 64;  // of a task that adds splits
  const std::int64_t all_taps = shape.filter[0] * shape.filter[1] * shape.filter[2];
  const ConvColumns columns = forward_columns(shape);
  const bool empty = columns.rows() == 0 || columns.taps() == 0;
  if (empty || columns.taps() < all_taps) std::fill_n(weight_grad, shape.k * all_taps, T(0));
  if (empty) return;
  Plan<T> plan = make_plan<T>(shape, vector_bytes);
  plan.kernels = &kernels;
  plan.y_grad = y_grad;
  plan.x = x;
  plan.sums = static_cast<T*>(
      scratch(ScratchSlot::shared, static_cast<std::size_t>(plan.splits * plan.split_size()) * sizeof(T)));
  parallel_for(plan.splits, [&](std::int64_t split) { SplitTask<T>(plan, split); });
  const std::vector<ConvTap> taps = list_taps(columns, shape.filter);
  parallel_blocks(plan.k, kChannels, [&](std::int64_t begin, std::int64_t end) {
    write_channels(plan, taps, all_taps, begin, end, weight_grad);
  });
}

template void depthwise_weight_grad<float>(const DepthwiseKernelsOf<float>&, int, const ConvShape&, const float*,
                                           const float*, float*);
template void depthwise_weight_grad<double>(const DepthwiseKernelsOf<double>&, int, const ConvShape&, const double*,
                                            const double*, double*);

}  // namespace weft::cpu
