#include "cpu/spatial/interpolate.h"

#include <algorithm>
#include <array>
#include <type_traits>
#include <vector>

#include "cpu/runtime/backend.h"
#include "cpu/runtime/threads.h"

namespace weft::cpu {

WEFT_SIMD_DEFINE(InterpolateKernels, interpolate_kernels)

namespace {

constexpr std::int64_t kTaskElements = 16384;  // of the destination: enough work to pay for waking a thread

/// What each destination position along an axis depends on.
template <class T>
struct Table {
  std::vector<WeightedRange<T>> ranges;
  std::vector<T> weights;
  std::int64_t most = 0;  // sources of a position
};

template <class T>
Table<T> table_of(InterpolatePass pass, const InterpolateAxis& a) {
  const bool forward = pass == InterpolatePass::forward;
  const std::int64_t size = forward ? a.out : a.in;
  Table<T> table;
  table.ranges.reserve(static_cast<std::size_t>(size));
  table.weights.reserve(static_cast<std::size_t>(2 * a.out));  // each output takes two inputs at most
  for (std::int64_t i = 0; i < size; ++i) {
    const InterpolateRange range = forward ? interpolate_inputs(a, i) : interpolate_outputs(a, i);
    table.most = std::max(table.most, range.end - range.begin);
    table.ranges.push_back({range.begin, range.end, table.weights.data() + table.weights.size()});
    for (std::int64_t j = range.begin; j < range.end; ++j) {
      table.weights.push_back(static_cast<T>(forward ? interpolate_weight(a, j, i) : interpolate_weight(a, i, j)));
    }
  }
  return table;
}

template <class T>
void interpolate_of(InterpolatePass pass, const InterpolateShape& s, const T* in, T* out) {
  std::array<std::int64_t, 3> source, destination;
  for (std::size_t i = 0; i < 3; ++i) {
    const InterpolateAxis& a = s.axes[i];
    source[i] = pass == InterpolatePass::forward ? a.in : a.out;
    destination[i] = pass == InterpolatePass::forward ? a.out : a.in;
  }
  const std::int64_t source_image = source[0] * source[1] * source[2] * s.c;
  const std::int64_t rows = destination[0] * destination[1], row_size = destination[2] * s.c;
  if (s.n * row_size == 0) return;
  const Table<T> depth = table_of<T>(pass, s.axes[0]), height = table_of<T>(pass, s.axes[1]),
                 width = table_of<T>(pass, s.axes[2]);
  // A row's work grows with what it reads: about this much of the source, or one element for each of its own.
  const std::int64_t row_work = std::max(row_size, source_image / rows);
  const SumPlan plan = plan_sums(depth.most * height.most, width.most);
  parallel_blocks(s.n * rows, std::max<std::int64_t>(kTaskElements / row_work, 1),
                  [&](std::int64_t begin, std::int64_t end) {
                    InterpolateRow<T> row{s.c, destination[2], source[1], source[2], {}, {}, width.ranges.data(), plan};
                    for (std::int64_t i = begin; i < end; ++i) {
                      const std::int64_t in_image = i % rows;
                      row.depth = depth.ranges[static_cast<std::size_t>(in_image / destination[1])];
                      row.height = height.ranges[static_cast<std::size_t>(in_image % destination[1])];
                      of<T>(interpolate_kernels())(row, in + i / rows * source_image, out + i * row_size);
                    }
                  });
}

}  // namespace

void CpuBackend::interpolate(InterpolatePass pass, const InterpolateShape& shape, const ConstView& in,
                             const View& out) {
  const DenormalMode mode;
  if (in.dtype == DType::f32) {
    interpolate_of(pass, shape, in.as<float>(), out.as<float>());
  } else {
    interpolate_of(pass, shape, in.as<double>(), out.as<double>());
  }
}

}  // namespace weft::cpu
