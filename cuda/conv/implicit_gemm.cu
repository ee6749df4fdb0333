#include <algorithm>
#include <array>
#include <type_traits>
#include <vector>

#include "core/device/integer.h"
#include "cuda/conv/algorithms.h"
#include "cuda/conv/columns.h"
#include "cuda/conv/implicit_tile.cuh"

// The forward pass and the input gradient as a product whose columns are never written. Forward, it replaces
//
//   for (n, o, p, q) x k:                             rows x columns of a group
//     y(n, o, p, q, k) = bias(k)
//     for t, r, s, c:                                 inner: (tap, channel)
//       y(n, o, p, q, k) += x(n, place of (o, p, q) and (t, r, s), c) · weight(k, t, r, s, c)
//
// The input gradient is such a product for each phase (core/device/conv_plan.h): its source is y's gradient, its rows
// are the positions of x in the phase, its columns are the channels of a group, its inner index is (tap, filter).
//
//                columns of a group
//              ┌──────┬──────┬──────┐
//   rows of    │ tile │ tile │ tile │   A block computes one tile (cuda/conv/implicit_tile.cuh). Blocks of the
//   a phase    ├──────┼──────┼──────┤   same rows are neighbours, so that a cache serves the source to all of them.
//              │ tile │ tile │ tile │
//              └──────┴──────┴──────┘
//
// Shared memory holds kInner elements of each line of the tile, and RowPlaces: where each row reads and writes,
// computed once for all steps. A thread computes the tap and the channel of its own column of the step, then adds
// addresses. A place outside of the source gives zeros.
//
// Tiles are narrow (16 columns) for few columns, and small (32 x 32) until large ones (128 x 64 by tensor cores, 64 x
// 32 by fused multiply-adds) give every multiprocessor one. f64 has small tiles only.
namespace weft::cuda {
namespace {

using implicit::FmaTile;
using implicit::kThreads;
using implicit::TensorTile;

constexpr int kPhases = 8;  // of a launch, those of stride 2 along three axes: more would exceed a kernel's parameters
constexpr std::int32_t kOutside = INT32_MIN;  // a place that no tap brings into the source

/// Rows of one phase of an input gradient; the forward pass is a single one. Strides are in elements.
struct Phase {
  ColumnAxis axis[3];
  FastDivisor64 positions;  // of an image
  std::int64_t rows = 0;
  std::int64_t first_block = 0;
  std::int64_t filter = 0, filter_step[3] = {};  // of the weight: its first tap, and from tap to tap
  std::int64_t target = 0, target_step[3] = {};  // of the result: its first position, and from one to the next
  std::int32_t inner = 0;                        // (tap, channel)
};

struct Product {
  Phase phase[kPhases];
  int phases = 0;
  FastDivisor32 channels;  // of a group of the source
  std::int32_t columns = 0, column_tiles = 0, groups = 1;
  std::int64_t source_channels = 0, source_image = 0, target_image = 0;
  std::int64_t weight_channel = 0, weight_column = 0, weight_group = 0;
};
static_assert(sizeof(Product) <= 4000);

/// Product number k of an output: where its channel lies relative to an output's first place in the source, and in
/// the weight.
struct Term {
  std::int32_t at[3];
  std::int64_t source, weight;
};

WEFT_DEVICE Term term_at(const Product& p, const Phase& phase, std::int32_t k) {
  Term term{};
  auto tap = static_cast<std::uint32_t>(k);
  const auto channel = static_cast<std::int64_t>(take_digit(tap, p.channels));
  std::int64_t scale = p.source_channels;
  term.source = channel;
  term.weight = phase.filter + channel * p.weight_channel;
  WEFT_UNROLL
  for (int d = 2; d >= 0; --d) {
    const ColumnAxis& axis = phase.axis[d];
    const auto t = static_cast<std::int32_t>(take_digit(tap, axis.taps));
    term.at[d] = t * axis.tap_step;
    term.source += term.at[d] * scale;
    term.weight += t * phase.filter_step[d];
    scale *= axis.in;
  }
  return term;
}

/// The places of a tile's rows: of tap 0 on each axis and its address, and the row's address in the result, -1 for rows
/// after the last one.
template <int kRows>
struct RowPlaces {
  std::int64_t source[kRows], target[kRows];
  std::int32_t at[3][kRows];

  WEFT_DEVICE void set(const Product& p, const Phase& phase, int i, std::int64_t row) {
    if (row >= phase.rows) {
      at[0][i] = at[1][i] = at[2][i] = kOutside;
      source[i] = 0;
      target[i] = -1;
      return;
    }
    const std::int64_t image = phase.positions.quotient(row);
    auto position = static_cast<std::uint32_t>(row - image * phase.positions.value);
    std::int64_t scale = p.source_channels, from = image * p.source_image, to = image * p.target_image + phase.target;
    WEFT_UNROLL
    for (int d = 2; d >= 0; --d) {
      const ColumnAxis& axis = phase.axis[d];
      const auto o = static_cast<std::int32_t>(take_digit(position, axis.out));
      const std::int32_t place = o * axis.step + axis.offset;
      at[d][i] = place;
      from += place * scale;
      to += o * phase.target_step[d];
      scale *= axis.in;
    }
    source[i] = from;
    target[i] = to;
  }
  WEFT_DEVICE bool reads(const Phase& phase, int i, const Term& term) const {
    bool inside = true;
    WEFT_UNROLL
    for (int d = 0; d < 3; ++d) {
      inside &= static_cast<std::uint32_t>(at[d][i] + term.at[d]) < static_cast<std::uint32_t>(phase.axis[d].in);
    }
    return inside;
  }
};

/// A thread's part of the next kInner products of a tile, on its way into shared memory. A vector is V channels of the
/// source and, forward, of the weight; for an input gradient, V columns of the weight.
template <class T, class Tile, int V, bool kForward>
struct Fragment {
  using P = implicit::loaded_t<T, V>;
  static constexpr int kLineVectors = Tile::kInner / V, kLines = kThreads / kLineVectors;
  static constexpr int kColumnVectors = Tile::kColumns / V, kInnerLines = kThreads / kColumnVectors;
  static_assert(Tile::kRows % kLines == 0 && (kForward ? Tile::kColumns % kLines : Tile::kInner % kInnerLines) == 0);
  static constexpr int kVectorsA = Tile::kRows / kLines;
  static constexpr int kVectorsB = kForward ? Tile::kColumns / kLines : Tile::kInner / kInnerLines;
  P a[kVectorsA];
  implicit::LoadedParameters<T, V> b[kVectorsB];

  WEFT_DEVICE void load(const Product& p, const Phase& phase, const RowPlaces<Tile::kRows>& rows, const T* source,
                        const compute_t<T>* weight, std::int32_t column, std::int32_t k) {
    const int thread = static_cast<int>(threadIdx.x), line = thread / kLineVectors;
    const std::int32_t own = k + thread % kLineVectors * V;
    const Term term = term_at(p, phase, own);
    WEFT_UNROLL
    for (int i = 0; i < kVectorsA; ++i) {
      const int row = line + i * kLines;
      a[i] = P{};
      if ((own < phase.inner) & rows.reads(phase, row, term)) {
        a[i] = implicit::load_neighbours<V>(source + rows.source[row] + term.source);
      }
    }
    WEFT_UNROLL
    for (int i = 0; i < kVectorsB; ++i) {
      b[i] = {};
      if constexpr (kForward) {
        const std::int32_t c = column + line + i * kLines;
        if ((c < p.columns) & (own < phase.inner)) {
          b[i].load(weight + term.weight + c * p.weight_column);
        }
      } else {
        const std::int32_t c = column + thread % kColumnVectors * V,
                           down = k + thread / kColumnVectors + i * kInnerLines;
        if ((c < p.columns) & (down < phase.inner)) {
          b[i].load(weight + term_at(p, phase, down).weight + c);
        }
      }
    }
  }

  WEFT_DEVICE void store(typename Tile::Word* to_a, typename Tile::Word* to_b) const {
    const int thread = static_cast<int>(threadIdx.x), line = thread / kLineVectors, k = thread % kLineVectors * V;
    WEFT_UNROLL
    for (int i = 0; i < kVectorsA; ++i) {
      Tile::A::template put<V>(to_a, line + i * kLines, k, a[i]);
    }
    WEFT_UNROLL
    for (int i = 0; i < kVectorsB; ++i) {
      if constexpr (kForward) {
        Tile::B::template put<V>(to_b, line + i * kLines, k, b[i].get());
      } else {
        Tile::B::template put<V>(to_b, thread % kColumnVectors * V, thread / kColumnVectors + i * kInnerLines,
                                 b[i].get());
      }
    }
  }
};

/// A block computes a tile of (rows of a phase) x (columns of a group), in the order phase, rows, group, columns.
template <class T, class Tile, int V, bool kForward>
WEFT_KERNEL_OF(kThreads)
implicit_gemm_kernel(const Product p, const T* source, const compute_t<T>* weight, const compute_t<T>* bias, T* out) {
  using Quad = Vector<typename Tile::Word, 16 / sizeof(typename Tile::Word)>;
  constexpr int kQuad = 16 / sizeof(typename Tile::Word);
  WEFT_SHARED(Quad, quads_a, Tile::kBuffers * Tile::A::kWords / kQuad);
  WEFT_SHARED(Quad, quads_b, Tile::kBuffers * Tile::B::kWords / kQuad);
  WEFT_SHARED(RowPlaces<Tile::kRows>, places, 1);
  typename Tile::Word *const a = quads_a[0].value, *const b = quads_b[0].value;
  RowPlaces<Tile::kRows>& rows = places[0];

  int number = 0;
  while (!kForward && number + 1 < p.phases && p.phase[number + 1].first_block <= blockIdx.x) ++number;
  const Phase& phase = p.phase[number];
  std::int64_t tile = blockIdx.x - phase.first_block;
  const std::int64_t column = tile % p.column_tiles * Tile::kColumns;
  tile /= p.column_tiles;
  const std::int64_t group = tile % p.groups, first_row = tile / p.groups * Tile::kRows;
  source += group * p.channels.value;
  weight += group * p.weight_group;
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kRows; i += kThreads) rows.set(p, phase, i, first_row + i);
  WEFT_BARRIER();

  typename Tile::Sums sums = {};
  Fragment<T, Tile, V, kForward> fragment;
  implicit::multiply_all<Tile>(
      a, b, 0, phase.inner,
      [&](std::int64_t k) {
        fragment.load(p, phase, rows, source, weight, static_cast<std::int32_t>(column), static_cast<std::int32_t>(k));
      },
      [&](typename Tile::Word* to_a, typename Tile::Word* to_b) { fragment.store(to_a, to_b); }, sums);

  out += group * p.columns + column;
  if (bias != nullptr) bias += group * p.columns + column;
  const std::int64_t left = p.columns - column;
  const auto write = [&]<bool kWhole>(std::bool_constant<kWhole>) {
    Tile::each(sums, [&](int i, int j, typename Tile::Sum(&run)[Tile::kRun]) {
      if (rows.target[i] < 0 || j >= left) return;
      if (bias != nullptr) {
        WEFT_UNROLL
        for (int k = 0; k < Tile::kRun; ++k) {
          if (kWhole || j + k < left) run[k] += bias[j + k];
        }
      }
      implicit::write_run<kWhole>(out + rows.target[i] + j, run, left - j);
    });
  };
  implicit::is_even(out, p.columns, Tile::kRun) ? write(std::true_type{}) : write(std::false_type{});
}

struct Operands {
  const void *source, *weight, *bias;
  void* out;
  Precision precision;  ///< of products of f32
  bool wide;            ///< all but the result are read 16 bytes at a time
};

template <class T, class Tile, int V, bool kForward>
void launch_all(Context& context, Product p, const std::vector<Phase>& phases, const Operands& o) {
  p.column_tiles = ceil_div(p.columns, Tile::kColumns);
  for (std::size_t first = 0; first < phases.size(); first += kPhases) {
    std::int64_t blocks = 0;
    p.phases = static_cast<int>(std::min<std::size_t>(kPhases, phases.size() - first));
    for (int i = 0; i < p.phases; ++i) {
      p.phase[i] = phases[first + static_cast<std::size_t>(i)];
      p.phase[i].first_block = blocks;
      blocks += blocks_for(p.phase[i].rows, Tile::kRows) * p.groups * p.column_tiles;
    }
    launch({"implicit_gemm", blocks, kThreads, context.stream}, implicit_gemm_kernel<T, Tile, V, kForward>, p,
           static_cast<const T*>(o.source), static_cast<const compute_t<T>*>(o.weight),
           static_cast<const compute_t<T>*>(o.bias), static_cast<T*>(o.out));
  }
}

template <class T, class Tile, bool kForward>
void launch_any(Context& context, const Product& p, const std::vector<Phase>& phases, const Operands& o) {
  constexpr int kWide = 16 / static_cast<int>(sizeof(T));
  return o.wide ? launch_all<T, Tile, kWide, kForward>(context, p, phases, o)
                : launch_all<T, Tile, 1, kForward>(context, p, phases, o);
}

/// Narrow tiles for few columns; small ones until there is one for every multiprocessor.
template <class T, bool kForward>
void launch_tiled(Context& context, const Product& p, const std::vector<Phase>& phases, const Operands& o) {
  std::int64_t rows = 0;
  for (const Phase& phase : phases) rows += phase.rows;
  const auto tiles = [&](std::int64_t down, std::int64_t across) {
    return ceil_div(rows, down) * ceil_div(p.columns, across) * p.groups;
  };
  const std::int64_t enough = context.properties.multiprocessors;
  if constexpr (std::is_same_v<T, double>) {
    return launch_any<T, FmaTile<T, 2, 4, 8, true, kForward>, kForward>(context, p, phases, o);
  } else {
    if constexpr (std::is_same_v<T, float>) {
      using Narrow = FmaTile<T, 4, 2, 8, true, kForward>;
      using Small = FmaTile<T, 2, 4, 8, true, kForward>;
      using Large = FmaTile<T, 4, 4, 8, true, kForward>;
      if (o.precision != Precision::tf32) {
        if (p.columns <= Narrow::kColumns) return launch_any<T, Narrow, kForward>(context, p, phases, o);
        if (tiles(Large::kRows, Large::kColumns) < enough) return launch_any<T, Small, kForward>(context, p, phases, o);
        return launch_any<T, Large, kForward>(context, p, phases, o);
      }
    }
    using Narrow = TensorTile<T, 1, 2, 1, true, kForward>;
    using Small = TensorTile<T, 1, 2, 2, true, kForward>;
    using Large = TensorTile<T, 4, 4, 2, true, kForward>;
    if (p.columns <= Narrow::kColumns) return launch_any<T, Narrow, kForward>(context, p, phases, o);
    if (!o.wide || p.columns <= Small::kColumns || tiles(Large::kRows, Large::kColumns) < enough) {
      return launch_any<T, Small, kForward>(context, p, phases, o);
    }
    launch_all<T, Large, 16 / static_cast<int>(sizeof(T)), kForward>(context, p, phases, o);
  }
}

/// What both passes share: strides of the weight (k, filter..., c/groups) along a phase's taps.
Phase phase_of(const ConvColumns& columns, const ConvShape& shape, std::int64_t inner_per_tap) {
  check_places(columns, columns.taps() * inner_per_tap);
  Phase phase;
  phase.rows = columns.rows();
  phase.positions = FastDivisor64(std::max<std::int64_t>(columns.positions(), 1));
  phase.inner = static_cast<std::int32_t>(columns.taps() * inner_per_tap);
  std::int64_t step = shape.c / shape.groups;
  for (std::size_t d = 3; d-- > 0;) {
    const TapAxis& axis = columns.axes[d];
    phase.axis[d] = ColumnAxis(axis);
    phase.filter += axis.first_tap * step;
    phase.filter_step[d] = axis.tap_stride * step;
    step *= shape.filter[d];
  }
  return phase;
}

/// Sets the strides of a result with `channels` whose size along the axes is `sizes`; returns those of an image.
std::int64_t set_target(Phase& phase, const std::array<std::int64_t, 3>& sizes, std::int64_t channels,
                        const std::array<std::int64_t, 3>& first, const std::array<std::int64_t, 3>& stride) {
  std::int64_t step = channels;
  for (std::size_t d = 3; d-- > 0;) {
    phase.target += first[d] * step;
    phase.target_step[d] = stride[d] * step;
    step *= sizes[d];
  }
  return step;
}

/// `source` has c channels in a forward pass and k in an input gradient.
Product product_of(const ConvShape& shape, std::int64_t source_channels, std::int64_t columns) {
  Product p;
  p.groups = static_cast<std::int32_t>(shape.groups);
  p.channels = FastDivisor32(static_cast<std::uint32_t>(std::max<std::int64_t>(source_channels / shape.groups, 1)));
  p.columns = static_cast<std::int32_t>(columns);
  p.source_channels = source_channels;
  p.weight_column = shape.filter[0] * shape.filter[1] * shape.filter[2] * (shape.c / shape.groups);
  p.weight_group = shape.k / shape.groups * p.weight_column;
  return p;
}

template <class T>
void implicit_gemm_of(Context& context, bool forward, const ConvShape& shape, Operands o) {
  constexpr std::array<std::int64_t, 3> kOrigin{0, 0, 0}, kOnes{1, 1, 1};
  check_counts(shape);
  const std::int64_t channels = shape.c / shape.groups, filters = shape.k / shape.groups;
  o.wide = implicit::is_wide<T>(channels, o.source, o.weight) && (forward || implicit::is_wide<T>(filters, o.source));
  std::vector<Phase> phases;
  Product p = forward ? product_of(shape, shape.c, filters) : product_of(shape, shape.k, channels);
  if (forward) {
    const ConvColumns columns = forward_columns(shape);
    p.weight_channel = 1;
    p.source_image = columns.image();
    phases.push_back(phase_of(columns, shape, channels));
    p.target_image = set_target(phases.back(), shape.out, shape.k, kOrigin, kOnes);
    return launch_tiled<T, true>(context, p, phases, o);
  }
  p.weight_channel = p.weight_column;
  for (const ConvPhase& phase : input_grad_phases(shape)) {
    if (phase.columns.rows() == 0) continue;
    p.source_image = phase.columns.image();
    phases.push_back(phase_of(phase.columns, shape, filters));
    p.target_image = set_target(phases.back(), shape.in, shape.c, phase.first, shape.stride);
  }
  launch_tiled<T, false>(context, p, phases, o);
}

}  // namespace

void implicit_gemm(Context& context, const ConvCall& call) {
  if (call.pass == ConvPass::weight_grad) return implicit_weight_grad(context, call);
  const Operands operands{call.a.data, call.b.data, call.bias.data, call.out.data, call.precision, false};
  dispatch_floating("conv", call.out.dtype, [&]<class T>(Type<T>) {
    implicit_gemm_of<T>(context, call.pass == ConvPass::forward, call.shape, operands);
  });
}

}  // namespace weft::cuda
