#include "cpu/conv/depthwise.h"

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/device/conv_plan.h"
#include "cpu/array/chains.h"
#include "cpu/conv/depthwise_rows.h"
#include "cpu/runtime/threads.h"

// Depthwise convolutions: channel k of y reads only channel c = k / (K / C) of x. They replace
//
//   for n, o, p, q, k:
//     y(n, o, p, q, k) = bias(k) + Σ over (t, r, s) of x(n, place of (o, p, q) and (t, r, s), c) · weight(k, t, r, s)
//
// and the same for the input gradient, phase by phase (core/device/conv_plan.h). Channels, which lie next to each
// other, are the lanes of vectors; the filter is transposed to (taps, k) first, so that its factors are lanes too.
//
//   lines of the source that    ─────────────────    Rows of the destination are independent. A kernel sums tiles of
//   taps (t, r) of a row meet   ─────────────────    8, 4, 2 or 1 columns, one vector of channels: the sums and the
//                               ─────────────────    factors of a line are in registers, and a tile loads each element
//   a row of the destination    [tile][tile][..]     of a line once for all its taps. The lines of neighbouring rows
//                                                    are in the caches; columns ahead are fetched.
//
// A task has some rows, at least 128 KB (depthwise_rows.h). A row with more terms than a chain (cpu/array/chains.h)
// adds the sums of chains in double. 3x3 filters without gaps take bands of rows instead (depthwise_bands.cpp), where
// each element is loaded once for all nine taps. depthwise_weight_grad.cpp has the weight gradient.
namespace weft::cpu {

WEFT_SIMD_DEFINE(DepthwiseKernels, depthwise_kernels)

namespace {

constexpr std::int64_t kFetchedStep = 2;  // larger steps leave out too much of the source that would be fetched ahead

/// A pass: each row of the destination (n, extent..., channels) is made of lines of the source, phase by phase along
/// its columns. Forward there is one phase.
template <class T>
struct Pass {
  const DepthwiseKernelsOf<T>* kernels;
  std::vector<ConvPhase> phases;
  std::array<std::int64_t, 3> extent{}, step{1, 1, 1};
  std::array<std::int64_t, 3> filter{};
  std::int64_t n = 0, k = 0, multiplier = 1;
  const T* source = nullptr;
  const T* weight = nullptr;  ///< (taps, k)
  const T* start = nullptr;
  T* out = nullptr;
  bool forward = true;

  std::int64_t rows() const { return n * extent[0] * extent[1]; }
  std::int64_t channels() const { return forward ? k : k / multiplier; }  ///< of the destination
};

template <class T>
class RowTask {
 public:
  explicit RowTask(const Pass<T>& pass)
      : pass_(pass),
        expanded_(pass.phases[0].columns.axes, pass.k / pass.multiplier, pass.forward ? pass.multiplier : 1) {
    if (pass.multiplier == 1 || pass.forward) return;
    const std::int64_t columns = pass.phases[0].columns.axes[2].out;
    scratch_ = static_cast<T*>(scratch(ScratchSlot::task, static_cast<std::size_t>(columns * pass.k) * sizeof(T)));
  }

  /// Writes row `number` of the destination.
  void write_row(std::int64_t number) {
    const std::int64_t y = number % pass_.extent[1], z = number / pass_.extent[1] % pass_.extent[0];
    const std::int64_t image = number / pass_.extent[1] / pass_.extent[0];
    T* const out = pass_.out + number * pass_.extent[2] * pass_.channels();
    const std::pair line(z % pass_.step[0], y % pass_.step[1]);
    const auto is_before = [](const ConvPhase& phase, const std::pair<std::int64_t, std::int64_t>& at) {
      return std::pair(phase.first[0], phase.first[1]) < at;
    };
    auto phase = std::lower_bound(pass_.phases.begin(), pass_.phases.end(), line, is_before);
    for (; phase != pass_.phases.end() && std::pair(phase->first[0], phase->first[1]) == line; ++phase) {
      list_lines(phase->columns, image, z / pass_.step[0], y / pass_.step[1]);
      sum_lines(phase->columns, out + phase->first[2] * pass_.channels());
    }
  }

 private:
  void list_lines(const ConvColumns& columns, std::int64_t image, std::int64_t z, std::int64_t y) {
    const auto& [depth, height, width] = columns.axes;
    lines_.clear();
    if (width.taps == 0) return;
    for (std::int64_t i = 0; i < depth.taps; ++i) {
      const std::int64_t d = depth.position(z, i);
      if (d < 0) continue;
      for (std::int64_t j = 0; j < height.taps; ++j) {
        const std::int64_t h = height.position(y, j);
        if (h < 0) continue;
        const std::int64_t tap =
            (depth.first_tap + i * depth.tap_stride) * pass_.filter[1] + height.first_tap + j * height.tap_stride;
        const T* from = pass_.source + image * columns.image() + (d * height.in + h) * width.in * columns.channels;
        lines_.push_back(
            {expanded_.line(from, image, d, h), pass_.weight + (tap * pass_.filter[2] + width.first_tap) * pass_.k});
      }
    }
  }

  void sum_lines(const ConvColumns& columns, T* out) {
    const TapAxis& width = columns.axes[2];
    const std::int64_t step = pass_.step[2] * pass_.channels();
    DepthwiseRow<T> row;
    row.axis = depthwise_axis(width);
    row.channels = pass_.k;
    row.lines = lines_.data();
    row.line_count = static_cast<std::int64_t>(lines_.size());
    row.source_stride = pass_.k;
    row.weight_stride = width.tap_stride * pass_.k;
    row.start = pass_.start;
    row.out = scratch_ == nullptr ? out : scratch_;
    row.out_stride = scratch_ == nullptr ? step : pass_.k;
    if (pass_.multiplier == 1 && width.step <= kFetchedStep) {
      row.fresh_lines = std::min(columns.axes[1].step, row.line_count);
    }
    if (std::is_same_v<T, float> && row.line_count * width.taps > kChain) {
      deep_row(row);
    } else {
      pass_.kernels->row(row);
    }
    if (scratch_ == nullptr) return;
    const T* from = scratch_;
    for (std::int64_t o = 0; o < width.out; ++o, out += step) {
      for (std::int64_t c = 0; c < pass_.channels(); ++c, from += pass_.multiplier) {
        double sum = 0;
        for (std::int64_t m = 0; m < pass_.multiplier; ++m) sum += from[m];
        out[c] = static_cast<T>(sum);
      }
    }
  }

  /// Sums a row with more terms than a chain: the sums of chains, each of some lines or of some taps of a line, are
  /// added in double.
  void deep_row(const DepthwiseRow<T>& row) {
    const std::int64_t columns = row.axis.out, taps = row.axis.taps;
    const auto size = static_cast<std::size_t>(columns * row.channels);
    auto* const total = static_cast<double*>(scratch(ScratchSlot::sums, size * sizeof(double)));
    std::fill_n(total, size, 0.0);
    DepthwiseRow<T> part = row;
    part.fresh_lines = 0;
    part.out = static_cast<T*>(scratch(ScratchSlot::extra, size * sizeof(T)));
    part.out_stride = row.channels;
    const std::int64_t lines = std::max<std::int64_t>(1, kChain / taps);
    std::vector<DepthwiseLine<T>> some;
    for (std::int64_t line = 0; line < row.line_count; line += lines) {
      for (std::int64_t tap = 0; tap < taps; tap += kChain) {
        some.assign(row.lines + line, row.lines + std::min(line + lines, row.line_count));
        for (DepthwiseLine<T>& from : some) from.weight += tap * row.weight_stride;
        part.lines = some.data();
        part.line_count = static_cast<std::int64_t>(some.size());
        part.axis.taps = std::min<std::int64_t>(kChain, taps - tap);
        part.axis.offset = row.axis.offset + tap * row.axis.tap_step;
        pass_.kernels->row(part);
        part.start = nullptr;
        for (std::size_t i = 0; i < size; ++i) total[i] += static_cast<double>(part.out[i]);
      }
    }
    for (std::int64_t o = 0; o < columns; ++o) {
      const double* const from = total + o * row.channels;
      for (std::int64_t c = 0; c < row.channels; ++c) row.out[o * row.out_stride + c] = static_cast<T>(from[c]);
    }
  }

  const Pass<T>& pass_;
  ExpandedLines<T> expanded_;
  T* scratch_ = nullptr;
  std::vector<DepthwiseLine<T>> lines_;
};

template <class T>
void write_rows(const Pass<T>& pass) {
  const std::int64_t row_size = pass.extent[2] * pass.k, rows = pass.rows();
  if (row_size == 0 || rows == 0) return;
  const std::int64_t bytes = row_size * static_cast<std::int64_t>(sizeof(T));
  parallel_blocks(rows, depthwise_grain(rows, bytes), [&](std::int64_t begin, std::int64_t end) {
    RowTask<T> task(pass);
    for (std::int64_t i = begin; i < end; ++i) task.write_row(i);
  });
}

/// The filter (k, taps) as (taps, k).
template <class T>
const T* transposed(const ConvShape& shape, const T* weight) {
  const std::int64_t taps = shape.filter[0] * shape.filter[1] * shape.filter[2];
  T* out = static_cast<T*>(scratch(ScratchSlot::shared, static_cast<std::size_t>(taps * shape.k) * sizeof(T)));
  for (std::int64_t k = 0; k < shape.k; ++k) {
    for (std::int64_t tap = 0; tap < taps; ++tap) out[tap * shape.k + k] = weight[k * taps + tap];
  }
  return out;
}

}  // namespace

template <class T>
void depthwise(Isa isa, ConvPass pass, const ConvShape& shape, const T* a, const T* b, const T* bias, T* out) {
  if (shape.c == 0) return;
  if (shape.k == 0) {  // there are no terms, and no results except the input's gradient
    if (pass == ConvPass::input_grad)
      std::fill_n(out, shape.n * shape.in[0] * shape.in[1] * shape.in[2] * shape.c, T(0));
    return;
  }
  const std::int64_t multiplier = shape.k / shape.c;
  if (pass == ConvPass::weight_grad) {
    return depthwise_weight_grad(of<T>(depthwise_kernels(isa)), depthwise_kernels(isa).vector_bytes, shape, a, b, out);
  }
  Pass<T> p;
  p.kernels = &of<T>(depthwise_kernels(isa));
  p.filter = shape.filter;
  p.n = shape.n;
  p.k = shape.k;
  p.multiplier = multiplier;
  p.source = a;
  p.weight = transposed(shape, b);
  p.out = out;
  p.forward = pass == ConvPass::forward;
  if (p.forward) {
    p.phases = {{{}, forward_columns(shape)}};
    p.extent = shape.out;
    p.start = bias;
  } else {
    p.phases = input_grad_phases(shape);
    p.extent = shape.in;
    p.step = shape.stride;
  }
  const bool gaps = !p.forward && has_gaps(shape);
  if (gaps) std::fill_n(out, p.rows() * p.extent[2] * p.channels(), T(0));
  if (p.phases.empty()) return;
  if (multiplier == 1 && p.phases.size() == 1 && !gaps && fits_bands(p.phases[0].columns)) {
    return depthwise_bands(isa, p.phases[0].columns, p.filter, p.source, p.weight, p.start, p.out);
  }
  write_rows(p);
}

template <class T>
void depthwise(ConvPass pass, const ConvShape& shape, const T* a, const T* b, const T* bias, T* out) {
  depthwise(isa(), pass, shape, a, b, bias, out);
}

template void depthwise<float>(Isa, ConvPass, const ConvShape&, const float*, const float*, const float*, float*);
template void depthwise<double>(Isa, ConvPass, const ConvShape&, const double*, const double*, const double*, double*);
template void depthwise<float>(ConvPass, const ConvShape&, const float*, const float*, const float*, float*);
template void depthwise<double>(ConvPass, const ConvShape&, const double*, const double*, const double*, double*);

}  // namespace weft::cpu
