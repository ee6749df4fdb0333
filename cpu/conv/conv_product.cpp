#include "cpu/conv/conv_product.h"

#include <algorithm>
#include <type_traits>

#include "core/device/integer.h"
#include "cpu/conv/conv_kernels.h"

namespace weft::cpu {

WEFT_SIMD_DEFINE(ConvKernels, conv_kernels)

namespace {

constexpr std::int64_t kBlockColumns = 256;  // of weights: with kConvInner rows they stay in the second-level cache
constexpr std::int64_t kBlockChains = 2;     // of kConvInner columns
static_assert(kConvInner <= kBlockChains * kChain);
constexpr std::int64_t kPackChannels = 16;             // a cache line or two at a time
constexpr std::int64_t kTasks = 32, kTaskPanels = 16;  // at least and at most, where the shape allows

template <class T>
std::int64_t lanes() {
  return conv_kernels().vector_bytes / static_cast<std::int64_t>(sizeof(T));
}

/// How the rows of a product are cut into panels: the same position of several images where there are many images, as
/// then all rows of a panel skip the same taps on padding; else neighbours on the last axis.
struct Panels {
  bool images = false;
  std::int64_t part = 1, parts = 1, count = 0;  // rows of a panel, panels of an image block or a line

  explicit Panels(const ConvColumns& columns) {
    const std::int64_t most = conv_kernels().rows, width = columns.axes[2].out;
    images = columns.n >= std::min(width, most / 2 + 1);
    part = even_part(images ? columns.n : width, most);
    parts = ceil_div(images ? columns.n : width, part);
    count = columns.rows() == 0 ? 0 : columns.rows() / (images ? columns.n : width) * parts;
  }
};

/// One panel: its first row's image and position, and its rows.
struct PanelOrigin {
  std::int64_t n;
  std::array<std::int64_t, 3> o;
  std::int64_t rows;
};

PanelOrigin panel_origin(const ConvColumns& columns, const Panels& panels, std::int64_t i) {
  const auto& [depth, height, width] = columns.axes;
  if (panels.images) {
    const std::int64_t positions = columns.positions(), n = i / positions * panels.part;
    i %= positions;
    return {n,
            {i / width.out / height.out, i / width.out % height.out, i % width.out},
            std::min(panels.part, columns.n - n)};
  }
  const std::int64_t w = i % panels.parts * panels.part;
  i /= panels.parts;
  return {i / height.out / depth.out,
          {i / height.out % depth.out, i % height.out, w},
          std::min(panels.part, width.out - w)};
}

/// The runs of a panel that lie in columns [begin, end) of a group, relative to its first row's image.
void list_runs(const ConvColumns& columns, const Panels& panels, const PanelOrigin& at, std::int64_t group_channels,
               std::int64_t begin, std::int64_t end, std::vector<ConvRun>& runs) {
  runs.clear();
  const TapAxis &depth = columns.axes[0], &height = columns.axes[1], &width = columns.axes[2];
  const std::int64_t z0 = at.o[0] * depth.step + depth.offset, y0 = at.o[1] * height.step + height.offset;
  const std::int64_t x0 = at.o[2] * width.step + width.offset;
  const auto add = [&](std::int64_t line, std::int64_t tap, std::int64_t taps, std::int64_t column, Range rows) {
    const std::int64_t first = std::max(begin, column + tap * group_channels);
    const std::int64_t last = std::min(end, column + (tap + taps) * group_channels);
    if (first >= last || rows.begin >= rows.end) return;
    const std::int64_t position = line * width.in + x0 + tap * width.tap_step;
    runs.push_back({position * columns.channels + first - column - tap * group_channels, first, last - first,
                    rows.begin, rows.end});
  };
  const Range planes = inside(z0, depth.tap_step, depth.taps, depth.in);
  const Range lines = inside(y0, height.tap_step, height.taps, height.in);
  const Range taps = inside(x0, width.tap_step, width.taps, width.in);
  const Range all{0, at.rows};
  const std::int64_t last = x0 + (at.rows - 1) * width.step + (width.taps - 1) * width.tap_step;
  const bool whole = panels.images || (taps.begin == 0 && last < width.in);  // every row reads the same taps
  const bool joined = whole && width.tap_step == 1 && group_channels == columns.channels;
  for (std::int64_t i = planes.begin; i < planes.end; ++i) {
    for (std::int64_t j = lines.begin; j < lines.end; ++j) {
      const std::int64_t line = (z0 + i * depth.tap_step) * height.in + y0 + j * height.tap_step;
      const std::int64_t column = (i * height.taps + j) * width.taps * group_channels;
      if (column >= end || column + width.taps * group_channels <= begin) continue;
      if (joined) {
        add(line, taps.begin, taps.end - taps.begin, column, all);
      } else if (panels.images) {
        for (std::int64_t tap = taps.begin; tap < taps.end; ++tap) add(line, tap, 1, column, all);
      } else {
        for (std::int64_t tap = 0; tap < width.taps; ++tap) {
          add(line, tap, 1, column, inside(x0 + tap * width.tap_step, width.step, at.rows, width.in));
        }
      }
    }
  }
}

/// The runs of the first of two chains, each with half of the columns; all runs where they make one chain.
std::int64_t first_chain(std::vector<ConvRun>& runs) {
  constexpr std::int64_t kMultiple = 16;  // of columns
  std::int64_t length = 0;
  for (const ConvRun& run : runs) length += run.length;
  if (length <= kChain) return static_cast<std::int64_t>(runs.size());
  std::int64_t left = ceil_div(length, 2 * kMultiple) * kMultiple;
  auto run = runs.begin();
  while (run->length <= left) left -= run++->length;
  if (left > 0) {
    ConvRun rest = *run;
    run->length = left;
    rest.source += left;
    rest.inner += left;
    rest.length -= left;
    run = runs.insert(run + 1, rest);
  }
  return run - runs.begin();
}

/// The columns of a product in equal blocks; a task computes one block of some panels.
struct Blocks {
  std::int64_t columns, per_group, inner;
};

template <class T>
Blocks cut_columns(const ConvProduct<T>& product) {
  const std::int64_t width = 2 * lanes<T>(), columns = product.channels / product.groups;
  const std::int64_t inner = product.columns.taps() * product.columns.channels / product.groups;
  const std::int64_t block = round_up(even_part(columns, kBlockColumns), width);
  return {block, ceil_div(columns, block), even_part(inner, kConvInner)};
}

/// A task's scratch memory: what a panel is packed into, and for a product that is too deep for float sums alone, a row
/// of zeros and the panels' sums in double.
template <class T>
struct TaskMemory {
  bool deep = false;
  T* workspace = nullptr;
  T* zeros = nullptr;
  double* sums = nullptr;

  TaskMemory(std::int64_t inner, const Blocks& blocks, std::int64_t panels)
      : deep(std::is_same_v<T, float> && inner > kChainSums / kBlockChains * blocks.inner) {
    const std::int64_t row_bytes = blocks.columns * static_cast<std::int64_t>(sizeof(double));
    const std::int64_t deep_bytes = deep ? row_bytes * (1 + panels * conv_kernels().rows) : 0;
    char* const memory = conv_scratch<char>(ScratchSlot::task, kConvWorkspace + deep_bytes);
    workspace = reinterpret_cast<T*>(memory);
    if (!deep) return;
    zeros = reinterpret_cast<T*>(memory + kConvWorkspace);
    std::fill_n(zeros, blocks.columns, T(0));
    sums = reinterpret_cast<double*>(memory + kConvWorkspace + row_bytes);
  }
};

/// Adds a panel's results to sums (rows, cols), which begin as such and, at last, are the results.
template <class T>
void add_in_double(const ConvPanel<T>& panel, bool first, bool last, double* sums) {
  for (std::int64_t r = 0; r < panel.rows; ++r, sums += panel.cols) {
    T* const out = panel.out + r * panel.out_stride;
    for (std::int64_t j = 0; j < panel.cols; ++j) sums[j] = (first ? 0 : sums[j]) + static_cast<double>(out[j]);
    for (std::int64_t j = 0; last && j < panel.cols; ++j) out[j] = static_cast<T>(sums[j]);
  }
}

/// Panels [begin, end) of one block of columns, so that a piece of its weights meets them all before the next.
template <class T>
void multiply_block(const ConvProduct<T>& product, const Panels& panels, std::int64_t begin, std::int64_t end,
                    const Blocks& blocks, std::int64_t block) {
  const ConvColumns& columns = product.columns;
  const std::int64_t channels = columns.channels / product.groups, group_columns = product.channels / product.groups;
  const std::int64_t inner = columns.taps() * channels, padded = padded_columns<T>(group_columns);
  const std::int64_t group = block / blocks.per_group, col = block % blocks.per_group * blocks.columns;
  const std::int64_t image = columns.image();
  const std::int64_t out_image = product.extent[0] * product.extent[1] * product.extent[2] * product.channels;
  const T* const bias = product.bias + group * padded + col;
  const TaskMemory<T> memory(inner, blocks, end - begin);
  const std::int64_t chain = memory.deep ? kChainSums / kBlockChains * blocks.inner : std::max<std::int64_t>(inner, 1);

  std::vector<ConvRun> runs;
  runs.reserve(static_cast<std::size_t>(columns.taps()));
  ConvPanel<T> panel;
  panel.workspace = memory.workspace;
  panel.weight = product.weight + (group * padded + col) * inner;
  panel.weight_inner = inner;
  panel.cols = std::min(blocks.columns, group_columns - col);
  panel.source_stride = panels.images ? image : columns.axes[2].step * columns.channels;
  panel.out_stride = panels.images ? out_image : product.step[2] * product.channels;
  for (std::int64_t p = 0; p == 0 || p < inner; p += blocks.inner) {
    const bool begins = p % chain == 0, last = p + blocks.inner >= inner;
    const bool ends = memory.deep && (last || (p + blocks.inner) % chain == 0);
    for (std::int64_t i = begin; i < end; ++i) {
      const PanelOrigin at = panel_origin(columns, panels, i);
      list_runs(columns, panels, at, channels, p, std::min(inner, p + blocks.inner), runs);
      if (runs.empty() && !begins && !ends) continue;
      std::int64_t position = at.n;
      for (std::size_t d = 0; d < 3; ++d) {
        position = position * product.extent[d] + product.first[d] + at.o[d] * product.step[d];
      }
      panel.first_chain = first_chain(runs);
      panel.runs = runs.data();
      panel.run_count = static_cast<std::int64_t>(runs.size());
      panel.rows = at.rows;
      panel.source = product.source + at.n * image + group * channels;
      panel.out = product.out + position * product.channels + group * group_columns + col;
      panel.start = p == 0 ? bias : begins ? memory.zeros : panel.out;
      panel.start_stride = begins ? 0 : panel.out_stride;
      of<T>(conv_kernels()).panel(panel);
      if (ends) {
        double* const sums = memory.sums + (i - begin) * conv_kernels().rows * panel.cols;
        add_in_double(panel, p < chain, last, sums);
      }
    }
  }
}

}  // namespace

template <class T>
std::int64_t padded_columns(std::int64_t columns) {
  return round_up(columns, lanes<T>());
}

template <class T>
void pack_weight(const ConvColumns& columns, const std::array<std::int64_t, 3>& filter, std::int64_t groups,
                 std::int64_t group_columns, const WeightLayout<T>& layout, T* packed) {
  const std::int64_t channels = columns.channels / groups, inner = columns.taps() * channels;
  const std::int64_t padded = padded_columns<T>(group_columns), width = 2 * lanes<T>();
  const std::int64_t blocks = ceil_div(group_columns, width);
  const std::vector<ConvTap> taps = list_taps(columns, filter);
  parallel_for(groups * blocks, [&](std::int64_t task) {
    const std::int64_t group = task / blocks, col = task % blocks * width;
    const std::int64_t block_width = std::min(width, padded - col), cols = std::min(width, group_columns - col);
    T* to = packed + (group * padded + col) * inner;
    for (const ConvTap& tap : taps) {
      const T* from = layout.data + group * layout.group + tap.filter * layout.tap + col * layout.column;
      for (std::int64_t first = 0; first < channels; first += kPackChannels) {
        const std::int64_t count = std::min(kPackChannels, channels - first);
        if (cols < block_width) std::fill_n(to, count * block_width, T(0));  // dropped, but no slow denormals
        if (layout.column == 1) {
          for (std::int64_t c = 0; c < count; ++c) {
            std::copy_n(from + (first + c) * layout.channel, cols, to + c * block_width);
          }
        } else {
          for (std::int64_t j = 0; j < cols; ++j) {
            const T* column = from + j * layout.column + first;
            __builtin_prefetch(column + 2 * kPackChannels);
            for (std::int64_t c = 0; c < count; ++c) to[c * block_width + j] = column[c];
          }
        }
        to += count * block_width;
      }
    }
  });
}

template <class T>
void multiply_products(const std::vector<ConvProduct<T>>& products) {
  struct ProductTasks {
    const ConvProduct<T>* product;
    Panels panels;
    Blocks blocks;
    std::int64_t grain, first_task;
  };
  std::vector<ProductTasks> lists;
  std::int64_t tasks = 0;
  for (const ConvProduct<T>& product : products) {
    const Panels panels(product.columns);
    const Blocks blocks = cut_columns(product);
    const std::int64_t count = product.groups * blocks.per_group;
    const std::int64_t grain = std::clamp<std::int64_t>(panels.count * count / kTasks, 1, kTaskPanels);
    lists.push_back({&product, panels, blocks, grain, tasks});
    tasks += ceil_div(panels.count, grain) * count;
  }
  parallel_for(tasks, [&](std::int64_t task) {
    const auto after = std::upper_bound(lists.begin(), lists.end(), task,
                                        [](std::int64_t i, const ProductTasks& list) { return i < list.first_task; });
    const ProductTasks& list = *(after - 1);
    const std::int64_t count = list.product->groups * list.blocks.per_group;
    const std::int64_t begin = (task - list.first_task) / count * list.grain;
    multiply_block(*list.product, list.panels, begin, std::min(begin + list.grain, list.panels.count), list.blocks,
                   (task - list.first_task) % count);
  });
}

template std::int64_t padded_columns<float>(std::int64_t);
template std::int64_t padded_columns<double>(std::int64_t);
template void pack_weight<float>(const ConvColumns&, const std::array<std::int64_t, 3>&, std::int64_t, std::int64_t,
                                 const WeightLayout<float>&, float*);
template void pack_weight<double>(const ConvColumns&, const std::array<std::int64_t, 3>&, std::int64_t, std::int64_t,
                                  const WeightLayout<double>&, double*);
template void multiply_products<float>(const std::vector<ConvProduct<float>>&);
template void multiply_products<double>(const std::vector<ConvProduct<double>>&);

}  // namespace weft::cpu
