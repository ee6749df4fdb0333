#include <algorithm>
#include <optional>
#include <type_traits>

#include "core/device/integer.h"
#include "cuda/conv/algorithms.h"
#include "cuda/conv/columns.h"
#include "cuda/conv/implicit_tile.cuh"

// The weight gradient as a product whose columns are never written. It replaces
//
//   for k x (t, r, s, c):                             filters x columns of a group
//     for n, o, p, q:                                 rows: the images and positions of y
//       weight_grad(k, t, r, s, c) += y_grad(n, o, p, q, k) · x(n, place of (o, p, q) and (t, r, s), c)
//
//              filters x columns                 rows   ┌─────────┐
//              ┌──────┬──────┐                          │ split 0 │  block tile 0: sums of split 0 ┐  the last block
//   filters    │ tile │ tile │    each tile over        ├─────────┤                                │  of a tile adds
//              ├──────┼──────┤    several splits of     │ split 1 │  block tiles:  sums of split 1 │  the splits in
//              │ tile │ tile │    the rows              ├─────────┤                                ┘  order
//              └──────┴──────┘                          │ ...     │
//
// A block computes one tile (cuda/conv/implicit_tile.cuh; its inner index is the row) over one split. With several
// splits it writes its sums to device memory, and the block that is done last adds those of all splits in order: the
// result does not depend on which block is last. Tiles of the first columns also sum y's gradient for the bias. One
// block writes the zeros of a tile whose taps all read padding.
//
// The number of splits is chosen to give each multiprocessor two blocks. It has four limits: a split has at least
// 4·kInner rows, a tile has at most 256 splits, all sums fit Limits::column_bytes, and each tile has a counter.
namespace weft::cuda {
namespace {

using implicit::FmaTile;
using implicit::kThreads;
using implicit::TensorTile;

constexpr int kBlocksPerMultiprocessor = 2;  // wanted: one multiplies while the other waits for memory
constexpr int kLeastSteps = 4;               // of kInner rows in a split, so that products outweigh the merging of sums
constexpr std::int64_t kMostSplits = 256;    // which the last block of a tile adds one after another

/// Rows are images and positions of y; columns are (tap, channel) of a filter.
struct WeightProduct {
  ColumnAxis axis[3];
  FastDivisor32 filter[3];         // taps
  std::int32_t first_tap[3] = {};  // that reads x anywhere; axis has the number of those
  FastDivisor32 channels;          // of a group of x
  FastDivisor64 positions;
  std::int64_t rows = 0, split_rows = 0, splits = 1;
  std::int32_t filters = 0, columns = 0;  // of a group
  std::int32_t filter_tiles = 0, column_tiles = 0, groups = 1;
  std::int64_t x_channels = 0, x_image = 0, y_channels = 0;
};

/// Column c of a filter: where it reads x relative to an output's first place; `none` taps read nothing at all.
struct Tap {
  std::int32_t at[3];
  std::int64_t source;
  bool none;
};

WEFT_DEVICE Tap tap_at(const WeightProduct& p, std::int32_t c) {
  Tap tap{};
  auto rest = static_cast<std::uint32_t>(c);
  tap.source = take_digit(rest, p.channels);
  tap.none = c >= p.columns;
  std::int64_t scale = p.x_channels;
  WEFT_UNROLL
  for (int d = 2; d >= 0; --d) {
    const ColumnAxis& axis = p.axis[d];
    const std::int32_t t = static_cast<std::int32_t>(take_digit(rest, p.filter[d])) - p.first_tap[d];
    tap.none = tap.none || t < 0 || t >= static_cast<std::int32_t>(axis.taps.value);
    tap.at[d] = tap.none ? 0 : t * axis.tap_step;
    tap.source += tap.at[d] * scale;
    scale *= axis.in;
  }
  return tap;
}

/// Whether a tile that begins with column c has a tap that reads x.
template <int kColumns>
WEFT_DEVICE bool reads_any(const WeightProduct& p, std::int32_t c) {
  const auto channels = static_cast<std::int32_t>(p.channels.value);
  const std::int32_t end = c + kColumns < p.columns ? c + kColumns : p.columns;
  for (; c < end; c += channels - c % channels) {
    if (!tap_at(p, c).none) return true;
  }
  return false;
}

/// A thread's part of the next kInner rows of a tile: VA filters of y's gradient and VB columns of x at a time.
template <class T, class Tile, int VA, int VB>
struct WeightFragment {
  static constexpr int kVectorsAcrossA = Tile::kRows / VA, kInnerLinesA = kThreads / kVectorsAcrossA;
  static constexpr int kVectorsAcrossB = Tile::kColumns / VB, kInnerLinesB = kThreads / kVectorsAcrossB;
  static constexpr int kVectorsA = Tile::kInner / kInnerLinesA, kVectorsB = Tile::kInner / kInnerLinesB;
  static_assert(Tile::kInner % kInnerLinesA == 0 && Tile::kInner % kInnerLinesB == 0);
  implicit::loaded_t<T, VA> a[kVectorsA];
  implicit::loaded_t<T, VB> b[kVectorsB];

  WEFT_DEVICE void load(const WeightProduct& p, const T* y_grad, const T* x, std::int32_t filter, const Tap& tap,
                        std::int64_t row, std::int64_t end) {
    const int thread = static_cast<int>(threadIdx.x);
    const std::int32_t f = filter + thread % kVectorsAcrossA * VA;
    WEFT_UNROLL
    for (int i = 0; i < kVectorsA; ++i) {
      const std::int64_t down = row + thread / kVectorsAcrossA + i * kInnerLinesA;
      a[i] = {};
      if ((down < end) & (f < p.filters)) a[i] = implicit::load_neighbours<VA>(y_grad + down * p.y_channels + f);
    }
    WEFT_UNROLL
    for (int i = 0; i < kVectorsB; ++i) {
      const std::int64_t down = row + thread / kVectorsAcrossB + i * kInnerLinesB;
      b[i] = {};
      if ((down < end) & !tap.none) load_column(p, x, tap, down, b[i]);
    }
  }

  /// Adds the rows of y's gradient up.
  WEFT_DEVICE void add_lines(double (&sums)[VA]) const {
    WEFT_UNROLL
    for (int i = 0; i < kVectorsA; ++i) {
      WEFT_UNROLL
      for (int j = 0; j < VA; ++j) sums[j] += static_cast<double>(implicit::loaded_value<T, VA>(a[i], j));
    }
  }

  WEFT_DEVICE void store(typename Tile::Word* to_a, typename Tile::Word* to_b) const {
    const int thread = static_cast<int>(threadIdx.x);
    WEFT_UNROLL
    for (int i = 0; i < kVectorsA; ++i) {
      Tile::A::template put<VA>(to_a, thread % kVectorsAcrossA * VA, thread / kVectorsAcrossA + i * kInnerLinesA, a[i]);
    }
    WEFT_UNROLL
    for (int i = 0; i < kVectorsB; ++i) {
      Tile::B::template put<VB>(to_b, thread % kVectorsAcrossB * VB, thread / kVectorsAcrossB + i * kInnerLinesB, b[i]);
    }
  }

 private:
  static WEFT_DEVICE void load_column(const WeightProduct& p, const T* x, const Tap& tap, std::int64_t row,
                                      implicit::loaded_t<T, VB>& vector) {
    const std::int64_t image = p.positions.quotient(row);
    auto position = static_cast<std::uint32_t>(row - image * p.positions.value);
    std::int64_t from = image * p.x_image + tap.source, scale = p.x_channels;
    bool inside = true;
    WEFT_UNROLL
    for (int d = 2; d >= 0; --d) {
      const ColumnAxis& axis = p.axis[d];
      const std::int32_t place = static_cast<std::int32_t>(take_digit(position, axis.out)) * axis.step + axis.offset;
      inside &= static_cast<std::uint32_t>(place + tap.at[d]) < static_cast<std::uint32_t>(axis.in);
      from += place * scale;
      scale *= axis.in;
    }
    if (inside) vector = implicit::load_neighbours<VB>(x + from);
  }
};

/// Where the results of a tile and split go when there are several splits: sums (tile, split, sum of a thread, thread),
/// bias_sums (tile, split, filter).
template <class Sum>
struct Partials {
  Sum *sums, *bias_sums;
  unsigned* counters;  // of the tiles
};

/// Whether this block is the last of its tile's splits: then its sums become those of all splits, added in order.
template <class Tile>
WEFT_DEVICE bool merge(const WeightProduct& p, const Partials<typename Tile::Sum>& partials, std::int64_t tile,
                       std::int64_t split, typename Tile::Sums& sums, double& bias_sum) {
  using Sum = typename Tile::Sum;
  constexpr int kTileSums = Tile::kRows * Tile::kColumns;
  const int thread = static_cast<int>(threadIdx.x);
  Sum* const tile_sums = partials.sums + tile * p.splits * kTileSums + thread;
  Sum* const tile_bias = partials.bias_sums + tile * p.splits * Tile::kRows + thread;
  const auto each = [&](typename Tile::Sums& all, const auto& use) {  // use(sum&, its place among the thread's)
    int next = 0;
    Tile::each(all, [&](int, int, Sum(&run)[Tile::kRun]) {
      WEFT_UNROLL
      for (int k = 0; k < Tile::kRun; ++k) use(run[k], next++);
    });
  };
  each(sums, [&](Sum& sum, int place) { tile_sums[split * kTileSums + kThreads * place] = sum; });
  if (thread < Tile::kRows) tile_bias[split * Tile::kRows] = static_cast<Sum>(bias_sum);
  if (!last_block(partials.counters + tile, p.splits)) return false;
  each(sums, [](Sum& sum, int) { sum = 0; });
  bias_sum = 0;
  [[maybe_unused]] typename Tile::Sums lost = {};
  [[maybe_unused]] constexpr int kSplitsAtOnce = kTileSums / kThreads > 16 ? 2 : 8;
  WEFT_UNROLL_BY(kSplitsAtOnce)  // loads under way together, in the registers that there are
  for (std::int64_t s = 0; s < p.splits; ++s) {
    if constexpr (Tile::kChained) {
      typename Tile::Sums part;
      each(part, [&](Sum& sum, int place) { sum = tile_sums[s * kTileSums + kThreads * place]; });
      Tile::take(part, sums, lost, false);
    } else {
      each(sums, [&](Sum& sum, int place) { sum += tile_sums[s * kTileSums + kThreads * place]; });
    }
    if (thread < Tile::kRows) bias_sum += static_cast<double>(tile_bias[s * Tile::kRows]);
  }
  return true;
}

/// Sums of the filters of a tile over a block: each thread has those of V filters, in `own`; thread f of the first
/// kRows gets that of filter f. `shared` has kThreads · V elements.
template <int kRows, int V, class Sum>
WEFT_DEVICE double sum_lines(const double (&own)[V], Sum* shared) {
  const int thread = static_cast<int>(threadIdx.x);
  double sum = 0;
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) shared[thread * V + j] = static_cast<Sum>(own[j]);
  WEFT_BARRIER();
  for (int i = thread; i < kThreads * V && thread < kRows; i += kRows) sum += static_cast<double>(shared[i]);
  return sum;
}

/// Writes the sums of a tile that begins with filter `filter` and column `column`, at `out`.
template <class Tile>
WEFT_DEVICE void write_tile(const WeightProduct& p, std::int32_t filter, std::int32_t column, typename Tile::Sums& sums,
                            typename Tile::Sum* out) {
  const auto write = [&]<bool kWhole>(std::bool_constant<kWhole>) {
    Tile::each(sums, [&](int i, int j, typename Tile::Sum(&run)[Tile::kRun]) {
      if (filter + i >= p.filters || column + j >= p.columns) return;
      implicit::write_run<kWhole>(out + std::int64_t{i} * p.columns + j, run, p.columns - column - j);
    });
  };
  implicit::is_even(out, p.columns, Tile::kRun) ? write(std::true_type{}) : write(std::false_type{});
}

/// Block s·tiles + i computes tile i (group, filters, columns) over split s of the rows; the last split to be done adds
/// all of them in order. Tiles of the first columns sum y's gradient as well.
template <class T, class Tile, int VA, int VB>
WEFT_KERNEL_OF(kThreads)
implicit_weight_grad_kernel(const WeightProduct p, const T* y_grad, const T* x, Partials<typename Tile::Sum> partials,
                            typename Tile::Sum* out, typename Tile::Sum* bias_grad) {
  using Sum = typename Tile::Sum;
  using Fragment = WeightFragment<T, Tile, VA, VB>;
  using Quad = Vector<typename Tile::Word, 16 / sizeof(typename Tile::Word)>;
  constexpr int kQuad = 16 / sizeof(typename Tile::Word);
  static_assert(Tile::kRows <= kThreads);
  WEFT_SHARED(Quad, quads_a, Tile::kBuffers * Tile::A::kWords / kQuad);
  WEFT_SHARED(Quad, quads_b, Tile::kBuffers * Tile::B::kWords / kQuad);
  WEFT_SHARED(Sum, bias_parts, kThreads * VA);
  typename Tile::Word *const a = quads_a[0].value, *const b = quads_b[0].value;
  const int thread = static_cast<int>(threadIdx.x);

  const std::int64_t tiles = std::int64_t{p.groups} * p.filter_tiles * p.column_tiles;
  const std::int64_t split = blockIdx.x / tiles, tile = blockIdx.x - split * tiles;
  const auto column = static_cast<std::int32_t>(tile % p.column_tiles) * Tile::kColumns;
  const auto filter = static_cast<std::int32_t>(tile / p.column_tiles % p.filter_tiles) * Tile::kRows;
  const std::int64_t group = tile / p.column_tiles / p.filter_tiles;
  const bool sums_bias = bias_grad != nullptr && column == 0;
  y_grad += group * p.filters;
  x += group * p.channels.value;

  typename Tile::Sums sums = {};
  double bias_sum[VA] = {}, bias_of_split = 0;
  if (reads_any<Tile::kColumns>(p, column) || sums_bias) {
    const Tap tap = tap_at(p, column + thread % Fragment::kVectorsAcrossB * VB);
    const std::int64_t begin = split * p.split_rows;
    const std::int64_t end = begin + p.split_rows < p.rows ? begin + p.split_rows : p.rows;
    Fragment fragment;
    implicit::multiply_all<Tile>(
        a, b, begin, end, [&](std::int64_t row) { fragment.load(p, y_grad, x, filter, tap, row, end); },
        [&](typename Tile::Word* to_a, typename Tile::Word* to_b) {
          if (sums_bias) fragment.add_lines(bias_sum);  // here, not in the load, whose numbers are still on their way
          fragment.store(to_a, to_b);
        },
        sums);
    if (sums_bias) bias_of_split = sum_lines<Tile::kRows>(bias_sum, &bias_parts[0]);
    if (p.splits > 1 && !merge<Tile>(p, partials, tile, split, sums, bias_of_split)) return;
  } else if (split > 0) {
    return;
  }

  write_tile<Tile>(p, filter, column, sums, out + (group * p.filters + filter) * p.columns + column);
  if (sums_bias && thread < Tile::kRows && filter + thread < p.filters) {
    bias_grad[group * p.filters + filter + thread] = static_cast<Sum>(bias_of_split);
  }
}

struct Operands {
  const void *y_grad, *x;
  void *out, *bias_grad;
  Precision precision;  ///< of products of f32
  bool wide_y, wide_x;  ///< read 16 bytes at a time
};

template <class Tile>
std::int64_t most_splits(std::int64_t rows) {
  return std::clamp<std::int64_t>(rows / (kLeastSteps * Tile::kInner), 1, kMostSplits);
}

template <class T, class Tile, int VA, int VB>
void launch_tiles(Context& context, WeightProduct p, std::int64_t reading_columns, const Operands& o) {
  using Sum = typename Tile::Sum;
  p.filter_tiles = ceil_div(p.filters, Tile::kRows);
  p.column_tiles = ceil_div(p.columns, Tile::kColumns);
  const std::int64_t tiles = std::int64_t{p.groups} * p.filter_tiles * p.column_tiles;
  const std::int64_t busy =
      std::max<std::int64_t>(std::int64_t{p.groups} * p.filter_tiles * blocks_for(reading_columns, Tile::kColumns), 1);
  const std::int64_t wanted = kBlocksPerMultiprocessor * context.properties.multiprocessors / busy;
  const std::int64_t split_bytes = tiles * Tile::kRows * (Tile::kColumns + 1) * static_cast<std::int64_t>(sizeof(Sum));
  const std::int64_t most = std::min(most_splits<Tile>(p.rows), context.limits.column_bytes / split_bytes);
  const std::int64_t splits = tiles > Limits::kCounters ? 1 : std::max<std::int64_t>(std::min(wanted, most), 1);
  p.split_rows = std::max<std::int64_t>(ceil_div(p.rows, splits), 1);
  p.split_rows = round_up(p.split_rows, Tile::kInner);
  p.splits = std::max<std::int64_t>(ceil_div(p.rows, p.split_rows), 1);
  Partials<Sum> partials{nullptr, nullptr, context.counters};
  std::optional<Scratch> memory;
  if (p.splits > 1) {
    const std::int64_t sums = tiles * p.splits * Tile::kRows * Tile::kColumns;
    memory.emplace(context, static_cast<std::size_t>(sums + tiles * p.splits * Tile::kRows) * sizeof(Sum));
    partials.sums = memory->as<Sum>();
    partials.bias_sums = partials.sums + sums;
  }
  launch({"implicit_weight_grad", tiles * p.splits, kThreads, context.stream},
         implicit_weight_grad_kernel<T, Tile, VA, VB>, p, static_cast<const T*>(o.y_grad), static_cast<const T*>(o.x),
         partials, static_cast<Sum*>(o.out), static_cast<Sum*>(o.bias_grad));
}

template <class T, class Tile>
void launch_any(Context& context, const WeightProduct& p, std::int64_t reading_columns, const Operands& o) {
  constexpr int kWide = 16 / static_cast<int>(sizeof(T));
  if (!o.wide_y) return launch_tiles<T, Tile, 1, 1>(context, p, reading_columns, o);
  return o.wide_x ? launch_tiles<T, Tile, kWide, kWide>(context, p, reading_columns, o)
                  : launch_tiles<T, Tile, kWide, 1>(context, p, reading_columns, o);
}

/// Large tiles where splits make enough of them for every multiprocessor.
template <class T>
void launch_tiled(Context& context, const WeightProduct& p, std::int64_t reading_columns, const Operands& o) {
  using Fma = FmaTile<T, 4, 2, 16, false, false>;
  if constexpr (std::is_same_v<T, double>) {
    return launch_any<T, Fma>(context, p, reading_columns, o);
  } else {
    if constexpr (std::is_same_v<T, float>) {
      if (o.precision != Precision::tf32) return launch_any<T, Fma>(context, p, reading_columns, o);
    }
    using Small = TensorTile<T, 1, 2, 2, false, false>;
    using Large = TensorTile<T, 4, 4, 2, false, false>;
    const std::int64_t tiles =
        blocks_for(p.filters, Large::kRows) * blocks_for(reading_columns, Large::kColumns) * p.groups;
    const bool enough = tiles * most_splits<Large>(p.rows) >= context.properties.multiprocessors;
    if (!enough || !o.wide_y || !o.wide_x || p.filters <= Large::kRows / 2 || reading_columns < Large::kColumns) {
      return launch_any<T, Small>(context, p, reading_columns, o);
    }
    constexpr int kWide = 16 / static_cast<int>(sizeof(T));
    launch_tiles<T, Large, kWide, kWide>(context, p, reading_columns, o);
  }
}

template <class T>
void weight_grad_of(Context& context, const ConvShape& shape, Operands o) {
  const ConvColumns columns = forward_columns(shape);
  const std::int64_t channels = shape.c / shape.groups, filters = shape.k / shape.groups;
  const std::int64_t inner = shape.filter[0] * shape.filter[1] * shape.filter[2] * channels;
  check_counts(shape);
  check_places(columns, inner);
  WeightProduct p;
  for (std::size_t d = 0; d < 3; ++d) {
    p.axis[d] = ColumnAxis(columns.axes[d]);
    p.filter[d] = FastDivisor32(static_cast<std::uint32_t>(shape.filter[d]));
    p.first_tap[d] = static_cast<std::int32_t>(columns.axes[d].first_tap);
  }
  p.channels = FastDivisor32(static_cast<std::uint32_t>(channels));
  p.positions = FastDivisor64(std::max<std::int64_t>(columns.positions(), 1));
  p.rows = columns.taps() > 0 || o.bias_grad != nullptr ? columns.rows() : 0;
  p.filters = static_cast<std::int32_t>(filters);
  p.columns = static_cast<std::int32_t>(inner);
  p.groups = static_cast<std::int32_t>(shape.groups);
  p.x_channels = shape.c;
  p.x_image = columns.image();
  p.y_channels = shape.k;
  o.wide_y = implicit::is_wide<T>(filters, o.y_grad);
  o.wide_x = implicit::is_wide<T>(channels, o.x);
  const std::int64_t reading = columns.taps() * channels;
  launch_tiled<T>(context, p, reading, o);
}

}  // namespace

void implicit_weight_grad(Context& context, const ConvCall& call) {
  const Operands operands{call.a.data, call.b.data, call.out.data, call.bias_grad.data, call.precision, false, false};
  dispatch_floating("conv", call.b.dtype, [&]<class T>(Type<T>) { weight_grad_of<T>(context, call.shape, operands); });
}

}  // namespace weft::cuda
