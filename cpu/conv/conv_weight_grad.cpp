#include <algorithm>

#include "core/device/integer.h"
#include "cpu/array/deep_sums.h"
#include "cpu/conv/conv_kernels.h"
#include "cpu/conv/conv_product.h"

namespace weft::cpu {
namespace {

// Sums over fewer rows than this are not cut into splits, because adding the splits up would cost too much.
constexpr std::int64_t kSplitRows = 256;
constexpr std::int64_t kSplitBytes = 16 << 20;  // of all splits
constexpr std::int64_t kTasks = 32;             // at least, where the shape allows
// Of x and y's gradient in a tile: second-level cache; first-level for narrow plans, which visit them by short steps.
constexpr std::int64_t kTileBytes = 256 << 10, kNarrowTileBytes = 24 << 10;
constexpr std::int64_t kNarrow = 8;     // channels
constexpr std::int64_t kShortLine = 8;  // outputs

/// Adjacent outputs along the last axis, all of which read x at taps `taps`.
struct LineRun {
  Range outputs, taps;
};

/// How the work is cut, by shape alone: `splits` of the rows, `tap_groups` and `blocks` of filters make one task each.
struct Plan {
  ConvColumns columns;
  bool narrow = false;  // few channels: the taps along the last axis join them
  bool images = false;  // a run is one position of all images, else a line of positions
  std::int64_t channels = 0, filters = 0;
  std::vector<ConvTap> taps;
  std::vector<LineRun> line_runs;                       // of a narrow plan, for each tap
  std::int64_t units = 0, splits = 1, split_units = 1;  // units: images or lines
  std::int64_t tap_groups = 1, group_taps = 1, blocks = 1, block_filters = 1;
  std::int64_t block_stride = 0, split_size = 0;
};

std::vector<LineRun> narrow_runs(const TapAxis& width) {
  std::vector<LineRun> line_runs;
  for (std::int64_t o = 0; o < width.out; ++o) {
    const Range taps = inside(o * width.step + width.offset, width.tap_step, width.taps, width.in);
    if (line_runs.empty() || line_runs.back().taps.begin != taps.begin || line_runs.back().taps.end != taps.end) {
      line_runs.push_back({{o, o}, taps});
    }
    line_runs.back().outputs.end = o + 1;
  }
  return line_runs;
}

template <class T>
Plan make_plan(const ConvShape& shape) {
  Plan plan;
  plan.columns = forward_columns(shape);
  const auto& [depth, height, width] = plan.columns.axes;
  plan.channels = shape.c / shape.groups;
  plan.filters = shape.k / shape.groups;
  plan.narrow = shape.groups == 1 && plan.channels <= kNarrow && width.taps > 1 && width.tap_step == 1;
  plan.images = !plan.narrow && width.out <= kShortLine && plan.columns.n >= width.out;
  for (const ConvTap& tap : list_taps(plan.columns, shape.filter)) {
    if (tap.at[2] == 0 || !plan.narrow) plan.taps.push_back(tap);
  }
  if (plan.narrow) {
    plan.line_runs = narrow_runs(width);
    plan.channels *= width.taps;
  }
  const auto taps = static_cast<std::int64_t>(plan.taps.size());
  const std::int64_t rows = plan.columns.rows(), padded = padded_columns<T>(plan.filters);
  const std::int64_t size = taps * plan.channels * shape.groups * padded;
  plan.units = plan.images ? shape.n : shape.n * depth.out * height.out;
  plan.splits = std::min({kTasks, rows / kSplitRows, plan.units,
                          kSplitBytes / static_cast<std::int64_t>(sizeof(T)) / std::max<std::int64_t>(1, size)});
  plan.split_units = even_part(plan.units, ceil_div(plan.units, std::max<std::int64_t>(1, plan.splits)));
  plan.splits = ceil_div(plan.units, plan.split_units);
  const std::int64_t wanted_groups = ceil_div(kTasks, plan.splits * shape.groups);
  plan.group_taps = plan.narrow ? taps : even_part(taps, ceil_div(taps, wanted_groups));
  plan.tap_groups = ceil_div(taps, plan.group_taps);
  std::int64_t block = 128;
  while (block > 32 && plan.splits * shape.groups * plan.tap_groups * ceil_div(plan.filters, block) < kTasks)
    block /= 2;
  plan.block_filters = block;
  plan.blocks = ceil_div(plan.filters, block);
  plan.block_stride = std::min(block, padded);
  plan.split_size = shape.groups * plan.blocks * taps * plan.channels * plan.block_stride;
  return plan;
}

/// Units [begin, end) x positions [first, last) of each (lines have one): what a task visits for all its taps before
/// the next.
struct Tile {
  std::int64_t begin, end, first, last;
};

/// Lists the rows of `tile` and `run` in which `tap` reads x rather than padding, starting at the run's first tap.
void list_rows(const Plan& plan, const ConvShape& shape, const ConvTap& tap, const LineRun& run, const Tile& tile,
               std::vector<ConvRows>& rows) {
  const auto& [depth, height, width] = plan.columns.axes;
  rows.clear();
  const std::int64_t positions = plan.columns.positions();
  if (plan.images) {
    for (std::int64_t o = tile.first; o < tile.last; ++o) {
      const std::int64_t z = depth.position(o / width.out / height.out, tap.at[0]);
      const std::int64_t y = height.position(o / width.out % height.out, tap.at[1]);
      const std::int64_t x = width.position(o % width.out, tap.at[2]);
      if (z < 0 || y < 0 || x < 0) continue;
      const std::int64_t position = ((tile.begin * depth.in + z) * height.in + y) * width.in + x;
      rows.push_back({position * shape.c, (tile.begin * positions + o) * shape.k, tile.end - tile.begin});
    }
    return;
  }
  const std::int64_t x = run.outputs.begin * width.step + width.offset + run.taps.begin * width.tap_step;
  for (std::int64_t line = tile.begin; line < tile.end; ++line) {
    const std::int64_t h = line % height.out, d = line / height.out % depth.out, n = line / height.out / depth.out;
    const std::int64_t z = depth.position(d, tap.at[0]), y = height.position(h, tap.at[1]);
    if (z < 0 || y < 0) continue;
    rows.push_back({(((n * depth.in + z) * height.in + y) * width.in + x) * shape.c,
                    (line * width.out + run.outputs.begin) * shape.k, run.outputs.end - run.outputs.begin});
  }
}

struct Task {
  std::int64_t split, group, block, tap_group;
};

/// Memory of a task: the rows of a tap in a tile, and those of one chain.
struct RowMemory {
  std::vector<ConvRows> all, chain;
};

/// Calls the kernel on all rows of `memory`, kChain of them at a time.
template <class T>
void add_rows(RowMemory& memory, ConvSum<T>& sum, DeepSums<T>& sums) {
  const auto add = [&](const std::vector<ConvRows>& runs) {
    sums.begin_call();
    sum.runs = runs.data();
    sum.run_count = static_cast<std::int64_t>(runs.size());
    of<T>(conv_kernels()).sum(sum);
  };
  std::int64_t rows = 0;
  for (const ConvRows& run : memory.all) rows += run.rows;
  if (rows == 0) return;
  if (rows <= kChain) return add(memory.all);
  rows = 0;
  memory.chain.clear();
  for (ConvRows run : memory.all) {
    while (rows + run.rows > kChain) {
      const std::int64_t count = kChain - rows;
      if (count > 0) memory.chain.push_back({run.source, run.y, count});
      run.source += count * sum.source_stride;
      run.y += count * sum.y_stride;
      run.rows -= count;
      add(memory.chain);
      memory.chain.clear();
      rows = 0;
    }
    memory.chain.push_back(run);
    rows += run.rows;
  }
  add(memory.chain);
}

/// The rows of a tile whose x and y's gradient (`filters` of them) fit its cache; at least 64.
template <class T>
std::int64_t rows_of_tile(const Plan& plan, const ConvShape& shape, std::int64_t filters) {
  const std::int64_t row_bytes =
      (plan.columns.image() / plan.columns.positions() / shape.groups + filters) * static_cast<std::int64_t>(sizeof(T));
  return std::max<std::int64_t>(64, (plan.narrow ? kNarrowTileBytes : kTileBytes) / row_bytes);
}

/// body(tile) for the tiles of a split, in order, each of about `rows` rows.
template <class Body>
void for_tiles(const Plan& plan, std::int64_t split, std::int64_t rows, const Body& body) {
  const std::int64_t begin = split * plan.split_units, end = std::min(begin + plan.split_units, plan.units);
  const std::int64_t unit_step = plan.images ? rows : std::max<std::int64_t>(1, rows / plan.columns.axes[2].out);
  const std::int64_t positions = plan.images ? plan.columns.positions() : 1;
  for (std::int64_t unit = begin; unit < end; unit += unit_step) {
    const std::int64_t unit_end = std::min(unit + unit_step, end);
    const std::int64_t step = plan.images ? std::max<std::int64_t>(1, rows / (unit_end - unit)) : 1;
    for (std::int64_t first = 0; first < positions; first += step) {
      body(Tile{unit, unit_end, first, std::min(first + step, positions)});
    }
  }
}

/// Adds what `tile` contributes to the sums of `tap`, or, in a narrow plan, of the line of taps that begins with it.
template <class T>
void add_tap(const Plan& plan, const ConvShape& shape, const ConvTap& tap, const Tile& tile, T* tap_sums,
             ConvSum<T>& sum, DeepSums<T>& deep, RowMemory& memory) {
  const TapAxis& width = plan.columns.axes[2];
  const std::int64_t at = tap.at[2];
  deep.next_sums();
  const LineRun own{inside(width.offset + at * width.tap_step, width.step, width.out, width.in), {at, at + 1}};
  for (std::size_t j = 0; j < (plan.narrow ? plan.line_runs.size() : 1); ++j) {
    const LineRun& run = plan.narrow ? plan.line_runs[j] : own;
    if (run.outputs.begin == run.outputs.end || run.taps.begin == run.taps.end) continue;
    list_rows(plan, shape, tap, run, tile, memory.all);
    sum.channels = (run.taps.end - run.taps.begin) * shape.c / shape.groups;
    sum.sum = tap_sums + (plan.narrow ? run.taps.begin * shape.c * plan.block_stride : 0);
    add_rows(memory, sum, deep);
  }
}

template <class T>
void sum_task(const Plan& plan, const ConvShape& shape, const Task& task, const T* y_grad, const T* x, T* sums) {
  const TapAxis& width = plan.columns.axes[2];
  const auto taps = static_cast<std::int64_t>(plan.taps.size());
  const std::int64_t filter = task.block * plan.block_filters, tap_size = plan.channels * plan.block_stride;
  T* block = sums + task.split * plan.split_size + (task.group * plan.blocks + task.block) * taps * tap_size;
  const std::int64_t first_tap = task.tap_group * plan.group_taps;
  const std::int64_t last_tap = std::min(taps, first_tap + plan.group_taps);

  ConvSum<T> sum;
  sum.source = x + task.group * plan.channels;
  sum.cols = std::min(plan.block_filters, plan.filters - filter);
  sum.sum_stride = plan.block_stride;
  sum.y = y_grad + task.group * plan.filters + filter;
  sum.y_stride = plan.images ? plan.columns.positions() * shape.k : shape.k;
  sum.source_stride = plan.images ? plan.columns.image() : width.step * shape.c;

  const std::int64_t rows = rows_of_tile<T>(plan, shape, sum.cols);
  DeepSums<T> deep(block + first_tap * tap_size, (last_tap - first_tap) * tap_size, std::max(rows, width.out),
                   ScratchSlot::task);
  RowMemory memory;
  for_tiles(plan, task.split, rows, [&](const Tile& tile) {
    for (std::int64_t i = first_tap; i < last_tap; ++i) {
      add_tap(plan, shape, plan.taps[static_cast<std::size_t>(i)], tile, block + i * tap_size, sum, deep, memory);
    }
    deep.end_round();
  });
  deep.finish();
}

/// Adds the splits in order and writes one tap of one block of filters, channel by channel, to the gradient.
template <class T>
void write_tap(const Plan& plan, const ConvShape& shape, std::int64_t group, std::int64_t block, std::int64_t tap,
               T* sums, T* weight_grad) {
  constexpr std::int64_t kChannels = 16;  // f32 of a cache line of the gradient, which is written whole
  const auto taps = static_cast<std::int64_t>(plan.taps.size());
  const std::int64_t all_taps = shape.filter[0] * shape.filter[1] * shape.filter[2];
  const std::int64_t filter = group * plan.filters + block * plan.block_filters;
  const std::int64_t filters = std::min(plan.block_filters, plan.filters - block * plan.block_filters);
  T* from = sums + ((group * plan.blocks + block) * taps + tap) * plan.channels * plan.block_stride;
  T* to =
      weight_grad + (filter * all_taps + plan.taps[static_cast<std::size_t>(tap)].filter) * (shape.c / shape.groups);
  for (std::int64_t c = 0; c < plan.channels; c += kChannels, from += kChannels * plan.block_stride, to += kChannels) {
    const std::int64_t channels = std::min(kChannels, plan.channels - c);
    for (std::int64_t split = 1; split < plan.splits; ++split) {
      const T* part = from + split * plan.split_size;
      for (std::int64_t i = 0; i < channels * plan.block_stride; ++i) from[i] += part[i];
    }
    for (std::int64_t k = 0; k < filters; ++k) {
      for (std::int64_t i = 0; i < channels; ++i) {
        to[k * all_taps * (shape.c / shape.groups) + i] = from[i * plan.block_stride + k];
      }
    }
  }
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
  const Plan plan = make_plan<T>(shape);
  T* sums = conv_scratch<T>(ScratchSlot::sums, plan.splits * plan.split_size);
  parallel_for(plan.splits * plan.tap_groups * shape.groups * plan.blocks, [&](std::int64_t i) {
    const std::int64_t block = i % plan.blocks, group = i / plan.blocks % shape.groups;
    i /= plan.blocks * shape.groups;
    sum_task(plan, shape, {i / plan.tap_groups, group, block, i % plan.tap_groups}, y_grad, x, sums);
  });
  const auto taps = static_cast<std::int64_t>(plan.taps.size());
  parallel_for(taps * shape.groups * plan.blocks, [&](std::int64_t i) {
    write_tap(plan, shape, i / plan.blocks % shape.groups, i % plan.blocks, i / plan.blocks / shape.groups, sums,
              weight_grad);
  });
}

template void conv_weight_grad<float>(const ConvShape&, const float*, const float*, float*);
template void conv_weight_grad<double>(const ConvShape&, const double*, const double*, double*);

}  // namespace weft::cpu
