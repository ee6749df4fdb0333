#include "cpu/spatial/pool.h"

#include <algorithm>
#include <array>
#include <limits>
#include <type_traits>
#include <vector>

#include "core/device/integer.h"
#include "cpu/runtime/backend.h"
#include "cpu/runtime/threads.h"

// Pooling over one to three axes. The destination is y forward and x backward, the source is the other. It replaces
//
//   for each pixel (n, d, h, w) of the destination, each channel:
//     for each pixel of the source in a box:               forward its window, backward the y whose windows have it
//       destination = largest, sum, mean, or sum of those whose index is this pixel
//
//   source           ┌──┬──┬──┐           The boxes of a row differ along the last axis only. Their ranges are listed
//        ┌───────────│  │  │  │──┐        once for each axis (windows, covering). A kernel makes a row: for each pixel,
//        │           └──┴──┴──┘  │        vectors of channels walk through its box with their results in registers, and
//        └───────────────────────┘        the caches serve the pixels that boxes have in common. A task has some rows.
//   row of the destination [ ][ ][ ]
//
// Sums of f32 over many pixels are cut into runs, so that rounding does not grow with the box (cpu/array/sum_plan.h). A
// gather in both passes keeps sums in one order, whatever the threads.
namespace weft::cpu {

WEFT_SIMD_DEFINE(PoolKernels, pool_kernels)

namespace {

constexpr std::int64_t kTaskElements = 16384;  // of the destination: enough work to pay for waking a thread

using Extent = std::array<std::int64_t, 3>;
using Ranges = std::vector<PoolRange>;
using Counts = std::vector<std::int64_t>;

std::int64_t volume(const Extent& extent) { return extent[0] * extent[1] * extent[2]; }

bool is_empty(PoolRange range) { return range.begin >= range.end; }

PoolRange adaptive_window(std::int64_t from, std::int64_t to, std::int64_t i) {
  return {i * from / to, ceil_div((i + 1) * from, to)};
}

/// For each output the inputs in its window, along one axis; empty ranges are {0, 0}.
Ranges windows(const PoolShape& s, std::size_t axis) {
  Ranges ranges(static_cast<std::size_t>(s.out[axis]));
  const std::int64_t dilation = s.dilation[axis];
  for (std::size_t o = 0; o < ranges.size(); ++o) {
    const auto i = static_cast<std::int64_t>(o);
    if (s.adaptive) {
      ranges[o] = adaptive_window(s.in[axis], s.out[axis], i);
      continue;
    }
    const std::int64_t start = i * s.stride[axis] - s.padding[axis];
    const std::int64_t skipped = start < 0 ? (dilation - 1 - start) / dilation : 0;
    const std::int64_t taps = std::min(s.kernel[axis], ceil_div(s.in[axis] - start, dilation));
    if (skipped < taps) ranges[o] = {start + skipped * dilation, start + (taps - 1) * dilation + 1};
  }
  return ranges;
}

/// For each input the outputs between the first and the last whose window has it, along one axis. Dilated windows have
/// gaps, so that an output in between may not have it.
Ranges covering(const PoolShape& s, std::size_t axis) {
  Ranges ranges(static_cast<std::size_t>(s.in[axis]));
  const std::int64_t reach = s.dilation[axis] * (s.kernel[axis] - 1) + 1;
  std::int64_t end_of_first = reach - s.padding[axis];  // of the first window that may have the input
  std::int64_t begin = 0, end = 0;
  for (std::int64_t i = 0; i < s.in[axis]; ++i) {
    if (s.adaptive) {  // floor(o·in/out) <= i < ceil((o + 1)·in/out), solved for o
      ranges[static_cast<std::size_t>(i)] = adaptive_window(s.out[axis], s.in[axis], i);
      continue;
    }
    while (end_of_first <= i) {
      ++begin;
      end_of_first += s.stride[axis];
    }
    while (end < s.out[axis] && end * s.stride[axis] - s.padding[axis] <= i) ++end;
    ranges[static_cast<std::size_t>(i)] = {std::min(begin, end), end};
  }
  return ranges;
}

/// For each output the positions that count, along one axis.
Counts counts(const PoolShape& s, std::size_t axis) {
  Counts result;
  for (const PoolRange& range : windows(s, axis)) result.push_back(range.end - range.begin);
  for (std::size_t o = 0; s.count_padding && !s.adaptive && o < result.size(); ++o) {
    const std::int64_t start = static_cast<std::int64_t>(o) * s.stride[axis] - s.padding[axis];
    result[o] = std::min(s.kernel[axis], s.in[axis] + s.padding[axis] - start);
  }
  return result;
}

/// body(row, image, first element of the row) for all rows of the destination, in parallel.
template <class Body>
void for_rows(const PoolShape& s, const Extent& source, const Extent& destination, const std::array<Ranges, 3>& ranges,
              const Extent& step, const Body& body) {
  const std::int64_t rows = destination[0] * destination[1], row_size = destination[2] * s.c;
  if (row_size == 0) return;
  Extent most{};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    for (const PoolRange& range : ranges[axis]) most[axis] = std::max(most[axis], range.end - range.begin);
  }
  const SumPlan plan = plan_sums(most[0] * most[1], most[2]);
  parallel_blocks(s.n * rows, std::max<std::int64_t>(kTaskElements / row_size, 1),
                  [&](std::int64_t begin, std::int64_t end) {
                    PoolRow row{s.c, destination[2],   0,       source[1], source[2], {},
                                {},  ranges[2].data(), step[0], step[1],   step[2],   plan};
                    for (std::int64_t i = begin; i < end; ++i) {
                      const std::int64_t in_image = i % rows;
                      row.position = in_image * destination[2];
                      row.depth = ranges[0][static_cast<std::size_t>(in_image / destination[1])];
                      row.height = ranges[1][static_cast<std::size_t>(in_image % destination[1])];
                      body(row, i / rows, i * row_size);
                    }
                  });
}

/// `pixels` pixels of `row` from number `first` on, as a row.
PoolRow pixels_of(const PoolRow& row, std::int64_t first, std::int64_t pixels) {
  PoolRow result = row;
  result.pixels = pixels;
  result.position += first;
  result.columns += first;
  return result;
}

/// The largest of a row whose boxes may be empty. An empty box gives -infinity and the index -1.
template <class T>
void largest_or_none(const PoolRow& row, const T* source, T* out, std::int32_t* indices) {
  for (std::int64_t i = 0; i < row.pixels; ++i) {
    const std::int64_t at = i * row.channels;
    if (is_empty(row.depth) || is_empty(row.height) || is_empty(row.columns[i])) {
      std::fill_n(out + at, row.channels, -std::numeric_limits<T>::infinity());
      std::fill_n(indices + at, row.channels, -1);
    } else {
      of<T>(pool_kernels()).largest(pixels_of(row, i, 1), source, out + at, indices + at);
    }
  }
}

/// The means of a row, by runs of windows of one size.
template <class T>
void means(const PoolRow& row, const T* source, std::int64_t lines, const Counts& columns, T* out) {
  for (std::int64_t i = 0, end; i < row.pixels; i = end) {
    const std::int64_t count = columns[static_cast<std::size_t>(i)];
    for (end = i + 1; end < row.pixels && columns[static_cast<std::size_t>(end)] == count;) ++end;
    const double divisor = static_cast<double>(lines) * static_cast<double>(count);
    of<T>(pool_kernels()).sum(pixels_of(row, i, end - i), source, 1 / divisor, out + i * row.channels);
  }
}

template <class T>
void gather_maxima(const PoolShape& s, const T* x, const std::int32_t* indices, T* y) {
  const std::int64_t in_image = volume(s.in), out_image = volume(s.out);
  if (s.c == 0) return;
  parallel_blocks(s.n * out_image, std::max<std::int64_t>(kTaskElements / s.c, 1),
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t pixel = begin; pixel < end; ++pixel) {
                      const T* image = x + pixel / out_image * in_image * s.c;
                      for (std::int64_t c = 0; c < s.c; ++c) {
                        const std::int32_t index = indices[pixel * s.c + c];
                        y[pixel * s.c + c] = index < 0 ? T(0) : image[index * s.c + c];
                      }
                    }
                  });
}

/// Each task has some channels of an image: the order of the pixels decides between equal indices.
template <class T>
void scatter_to_indices(const PoolShape& s, const T* y, const std::int32_t* indices, T* x) {
  constexpr std::int64_t kChannels = 64 / sizeof(T);  // of a task: those of one cache line
  const std::int64_t in_image = volume(s.in), out_image = volume(s.out), groups = ceil_div(s.c, kChannels);
  parallel_blocks(s.n * groups,
                  std::max<std::int64_t>(kTaskElements / (kChannels * std::max<std::int64_t>(out_image, 1)), 1),
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t i = begin; i < end; ++i) {
                      const std::int64_t image = i / groups, first = i % groups * kChannels;
                      for (std::int64_t pixel = image * out_image; pixel < (image + 1) * out_image; ++pixel) {
                        for (std::int64_t c = first; c < std::min(first + kChannels, s.c); ++c) {
                          const std::int32_t index = indices[pixel * s.c + c];
                          if (index >= 0) x[(image * in_image + index) * s.c + c] = y[pixel * s.c + c];
                        }
                      }
                    }
                  });
}

template <class T>
void max_of(const PoolShape& s, const std::array<Ranges, 3>& ranges, const T* in, std::int32_t* indices, T* out) {
  const std::int64_t x_image = volume(s.in) * s.c;
  const bool all_there = std::none_of(
      ranges.begin(), ranges.end(), [](const Ranges& axis) { return std::any_of(axis.begin(), axis.end(), is_empty); });
  const auto largest = all_there ? of<T>(pool_kernels()).largest : largest_or_none<T>;
  for_rows(s, s.in, s.out, ranges, s.dilation, [&](const PoolRow& row, std::int64_t image, std::int64_t at) {
    largest(row, in + image * x_image, out + at, indices + at);
  });
}

template <class T>
void average_of(const PoolShape& s, bool forward, const std::array<Ranges, 3>& ranges, const T* in, T* out) {
  const Extent &source = forward ? s.in : s.out, &destination = forward ? s.out : s.in;
  const std::int64_t image_size = volume(source) * s.c;
  std::array<Counts, 3> sizes;
  for (std::size_t axis = 0; s.divisor == 0 && axis < 3; ++axis) sizes[axis] = counts(s, axis);
  const PoolCounts each{sizes[0].data(), sizes[1].data(), sizes[2].data()};
  for_rows(s, source, destination, ranges, {1, 1, 1}, [&](const PoolRow& row, std::int64_t image, std::int64_t at) {
    const T* from = in + image * image_size;
    if (s.divisor != 0) return of<T>(pool_kernels()).sum(row, from, 1 / s.divisor, out + at);
    if (!forward) return of<T>(pool_kernels()).shares(row, from, each, out + at);
    const std::int64_t line = row.position / destination[2];
    means(row, from, each.depth[line / destination[1]] * each.height[line % destination[1]], sizes[2], out + at);
  });
}

template <class T>
void pool_of(PoolPass pass, const PoolShape& s, const T* in, std::int32_t* indices, T* out) {
  const auto ranges = [&](auto along) { return std::array<Ranges, 3>{along(s, 0), along(s, 1), along(s, 2)}; };
  switch (pass) {
    case PoolPass::max:
      return max_of(s, ranges(windows), in, indices, out);
    case PoolPass::max_scatter:
      return for_rows(s, s.out, s.in, ranges(covering), {1, 1, 1},
                      [&](const PoolRow& row, std::int64_t image, std::int64_t at) {
                        const std::int64_t first = image * volume(s.out) * s.c;
                        of<T>(pool_kernels()).matching(row, in + first, indices + first, out + at);
                      });
    case PoolPass::max_gather:
      return gather_maxima(s, in, indices, out);
    case PoolPass::average:
      return average_of(s, true, ranges(windows), in, out);
    case PoolPass::average_grad:
      return average_of(s, false, ranges(covering), in, out);
    case PoolPass::unpool:
      return scatter_to_indices(s, in, indices, out);
  }
}

}  // namespace

void CpuBackend::pool(PoolPass pass, const PoolShape& shape, const ConstView& in, const View& indices,
                      const View& out) {
  const DenormalMode mode;
  if (in.dtype == DType::f32) {
    pool_of(pass, shape, in.as<float>(), indices.as<std::int32_t>(), out.as<float>());
  } else {
    pool_of(pass, shape, in.as<double>(), indices.as<std::int32_t>(), out.as<double>());
  }
}

}  // namespace weft::cpu
