#include <algorithm>
#include <array>
#include <optional>

#include "core/device/conv_algo.h"
#include "core/device/integer.h"
#include "cuda/array/element.h"
#include "cuda/array/walk.h"
#include "cuda/conv/algorithms.h"
#include "cuda/conv/columns.h"
#include "cuda/matmul/gemm.h"

// Backend::conv, and its algorithm im2col: the columns of each pass (core/device/conv_plan.h) are gathered into device
// memory, a chunk of rows at a time, and multiplied by cuBLASLt. For each group g it replaces
//
//   for each chunk of rows (n, o, p, q):
//     columns(row, (t, r, s, c)) = x(n, place of (o, p, q) and (t, r, s), c), or 0       im2col_(rows_)kernel
//     y(row, k) = bias(k) + Σ over (t, r, s, c) of columns · weight(k, t, r, s, c)       gemm
//
//              (t, r, s, c)    0s
//            ┌───────────────┬──┐   A chunk is rows whose columns fit Limits::column_bytes. A row is the columns and
//   chunk 0  │               │  │   zeros up to a multiple of kRowBytes. The input gradient does this for each phase
//            ├───────────────┼──┤   with y's gradient, and copies products of a stride to the positions of the phase.
//   chunk 1  │               │  │   The weight gradient sums the products y_gradᵀ · columns of all chunks.
//            └───────────────┴──┘
//
// A 1x1 filter that steps by 1 needs no columns: x is the matrix. In a gather, a thread moves one vector of up to 16
// bytes, or one of each tap, and neighbouring threads have neighbouring channels.
namespace weft::cuda {

namespace {

constexpr int kThreads = 256;             // of a gather, which needs few registers
constexpr std::int64_t kChunkRows = 256;  // a chunk has a multiple, because products over ragged ones are slow
constexpr std::int64_t kRowBytes = 16;    // a row has a multiple for the same reason: zeros fill it up
constexpr int kWinogradTile = 4;          // the larger one saves more products: 2.25 for an output, not 4
// Up to here implicit_gemm's one launch is expected to beat im2col's columns and faster products; not yet measured.
constexpr double kFewProducts = 1 << 28;

/// One chunk of columns as the kernel sees it, in vectors of neighbouring channels.
struct Im2col {
  ColumnAxis axis[3];
  FastDivisor32 width, channels, positions;  ///< width: vectors of a row; channels: of a group
  std::uint32_t all_taps = 0;
  std::int64_t first_image = 0, first_position = 0;  ///< of the chunk's first row
  std::int64_t source_channels = 0, image = 0;       ///< vectors
  std::int64_t size = 0;                             ///< vectors of the chunk, below 2^31
};

/// Thread i copies vector i of the columns (row, tap, channel), or writes zeros where the tap reads padding and after
/// the last tap of a row.
template <class P>
WEFT_KERNEL_OF(kThreads)
im2col_kernel(Im2col g, const P* source, P* columns) {
  const std::int64_t i = global_thread();
  if (i >= g.size) return;
  auto rest = static_cast<std::uint32_t>(i);
  std::uint32_t tap = take_digit(rest, g.width);
  const std::uint32_t channel = take_digit(tap, g.channels);
  bool inside = tap < g.all_taps;
  rest += static_cast<std::uint32_t>(g.first_position);
  std::uint32_t position = take_digit(rest, g.positions);
  std::int64_t at = 0, scale = 1;
  WEFT_UNROLL
  for (int d = 2; d >= 0; --d) {
    const ColumnAxis& axis = g.axis[d];
    const auto o = static_cast<std::int32_t>(take_digit(position, axis.out));
    const auto t = static_cast<std::int32_t>(take_digit(tap, axis.taps));
    const std::int32_t place = o * axis.step + axis.offset + t * axis.tap_step;
    inside = inside && place >= 0 && place < axis.in;
    at += place * scale;
    scale *= axis.in;
  }
  P value{};
  if (inside) value = source[(g.first_image + rest) * g.image + at * g.source_channels + channel];
  columns[i] = value;
}

/// The same where a row is taps and no zeros follow them: thread i has vector i % channels of row i / channels, of
/// every tap. So the divisions serve all taps of a row, and neighbours read and write neighbours.
template <class P>
WEFT_KERNEL_OF(kThreads)
im2col_rows_kernel(Im2col g, const P* source, P* columns) {
  const std::int64_t i = global_thread();
  if (i >= g.size) return;
  auto rest = static_cast<std::uint32_t>(i);
  const std::uint32_t channel = take_digit(rest, g.channels);
  P* to = columns + std::int64_t{rest} * g.width.value + channel;
  rest += static_cast<std::uint32_t>(g.first_position);
  std::uint32_t position = take_digit(rest, g.positions);
  std::int32_t place[3];
  WEFT_UNROLL
  for (int d = 2; d >= 0; --d) {
    place[d] = static_cast<std::int32_t>(take_digit(position, g.axis[d].out)) * g.axis[d].step + g.axis[d].offset;
  }
  source += (g.first_image + rest) * g.image + channel;
  const std::int64_t step = g.axis[2].tap_step * g.source_channels;
  const auto count = [&](int d) { return static_cast<std::int32_t>(g.axis[d].taps.value); };
  const auto is_inside = [&](int d, std::int32_t at) {
    return static_cast<std::uint32_t>(at) < static_cast<std::uint32_t>(g.axis[d].in);
  };
  for (std::int32_t t0 = 0, z = place[0]; t0 < count(0); ++t0, z += g.axis[0].tap_step) {
    for (std::int32_t t1 = 0, y = place[1]; t1 < count(1); ++t1, y += g.axis[1].tap_step) {
      const bool inside = is_inside(0, z) && is_inside(1, y);
      const std::int64_t line = (std::int64_t{z} * g.axis[1].in + y) * g.axis[2].in + place[2];
      const P* from = source + line * g.source_channels;
      WEFT_UNROLL_BY(1)
      for (std::int32_t t2 = 0, x = place[2]; t2 < count(2); ++t2, x += g.axis[2].tap_step) {
        P value{};
        if (inside && is_inside(2, x)) value = *from;
        *to = value;
        to += g.channels.value;
        from += step;
      }
    }
  }
}

/// The columns of one group of channels, whole or in chunks of rows.
class Columns {
 public:
  /// `group_channels` of the source's channels from `source` on.
  Columns(Context& context, const ConvColumns& plan, std::int64_t group_channels, DType dtype)
      : context_(context), plan_(plan), channels_(group_channels), dtype_(dtype) {
    inner_ = plan.taps() * channels_;
    is_source_ = true;  // a 1x1 filter that steps by 1 reads the source as it lies
    for (const TapAxis& axis : plan.axes) {
      is_source_ = is_source_ && axis.taps == 1 && axis.step == 1 && axis.offset == 0 && axis.in == axis.out;
    }
    if (is_source_) {
      width_ = inner_;
      chunk_ = plan.rows();
      return;
    }
    check_places(plan, inner_);
    const std::int64_t unit = kRowBytes / bytes();
    width_ = round_up(inner_, unit);
    const std::int64_t row_bytes = std::max<std::int64_t>(width_, 1) * bytes();
    const std::int64_t most = std::max<std::int64_t>(context.limits.column_bytes / row_bytes, 1);
    chunk_ = even_part(plan.rows(), most);
    if (most >= kChunkRows) chunk_ = round_up(chunk_, kChunkRows);
    chunk_ = std::min(chunk_, plan.rows());
    memory_.emplace(context, static_cast<std::size_t>(chunk_ * width_ * bytes()));
  }

  /// Products of an output: (tap, channel), and the zeros that fill a row up.
  std::int64_t width() const { return width_; }

  /// body(first row, rows, matrices) for each chunk in order.
  template <class Body>
  void for_chunks(const void* source, const Body& body) {
    for (std::int64_t first = 0; first < plan_.rows(); first += chunk_) {
      const std::int64_t rows = std::min(chunk_, plan_.rows() - first);
      body(first, rows, chunk(source, first, rows));
    }
  }

 private:
  std::int64_t bytes() const { return static_cast<std::int64_t>(size_of(dtype_)); }

  Matrices chunk(const void* source, std::int64_t first, std::int64_t rows) {
    if (is_source_) return {source, plan_.channels, 1, 0};
    if (inner_ > 0) gather(source, first, rows);
    return {memory_->data(), width_, 1, 0};
  }

  void gather(const void* source, std::int64_t first, std::int64_t rows) {
    const auto wide = [&](std::int64_t vector_bytes) {
      const std::int64_t vector = vector_bytes / bytes();
      return vector >= 1 && channels_ % vector == 0 && plan_.channels % vector == 0 &&
             reinterpret_cast<std::uintptr_t>(source) % static_cast<std::uintptr_t>(vector_bytes) == 0;
    };
    if (wide(16)) return gather_vectors<Vector<std::uint64_t, 2>>(source, first, rows);
    if (wide(8)) return gather_vectors<std::uint64_t>(source, first, rows);
    if (wide(4)) return gather_vectors<std::uint32_t>(source, first, rows);
    gather_vectors<std::uint16_t>(source, first, rows);
  }

  template <class P>
  void gather_vectors(const void* source, std::int64_t first, std::int64_t rows) {
    const std::int64_t vector = static_cast<std::int64_t>(sizeof(P)) / bytes();
    Im2col g;
    for (std::size_t d = 0; d < 3; ++d) g.axis[d] = ColumnAxis(plan_.axes[d]);
    g.channels = FastDivisor32(static_cast<std::uint32_t>(channels_ / vector));
    g.all_taps = static_cast<std::uint32_t>(plan_.taps());
    g.width = FastDivisor32(static_cast<std::uint32_t>(width_ / vector));
    g.positions = FastDivisor32(static_cast<std::uint32_t>(plan_.positions()));
    g.first_image = first / plan_.positions();
    g.first_position = first % plan_.positions();
    g.source_channels = plan_.channels / vector;
    g.image = plan_.image() / vector;
    if constexpr (sizeof(P) == 16) {  // rows of whole vectors need no zeros
      g.size = rows * channels_ / vector;
      launch({"im2col", blocks_for(g.size, kThreads), kThreads, context_.stream}, im2col_rows_kernel<P>, g,
             static_cast<const P*>(source), memory_->as<P>());
    } else {
      g.size = rows * width_ / vector;
      launch({"im2col", blocks_for(g.size, kThreads), kThreads, context_.stream}, im2col_kernel<P>, g,
             static_cast<const P*>(source), memory_->as<P>());
    }
  }

  Context& context_;
  ConvColumns plan_;
  std::int64_t channels_;
  DType dtype_;
  std::int64_t inner_ = 0, width_ = 0, chunk_ = 0;
  bool is_source_ = false;
  std::optional<Scratch> memory_;
};

const void* offset(const void* data, std::int64_t elements, DType dtype) {
  return static_cast<const char*>(data) + elements * static_cast<std::int64_t>(size_of(dtype));
}
void* offset(void* data, std::int64_t elements, DType dtype) {
  return static_cast<char*>(data) + elements * static_cast<std::int64_t>(size_of(dtype));
}

/// The taps that `columns` keeps of one group's filters (filters, taps..., channels), as a view of shape
/// (taps..., filters, channels).
View kept_taps(const ConvColumns& columns, const ConvShape& shape, std::int64_t filters, std::int64_t channels,
               void* weight, DType dtype) {
  View view{weight, {}, {}, dtype};
  std::int64_t step = channels, first = 0;
  std::array<std::int64_t, 3> strides{};
  for (std::size_t d = 3; d-- > 0;) {
    strides[d] = columns.axes[d].tap_stride * step;
    first += columns.axes[d].first_tap * step;
    step *= shape.filter[d];
  }
  for (std::size_t d = 0; d < 3; ++d) {
    view.shape.push_back(columns.axes[d].taps);
    view.strides.push_back(strides[d]);
  }
  view.shape.push_back(filters);
  view.strides.push_back(step);
  view.shape.push_back(channels);
  view.strides.push_back(1);
  view.data = offset(weight, first, dtype);
  return view;
}

View permuted(View view, std::initializer_list<int> axes) {
  View result{view.data, {}, {}, view.dtype};
  for (int axis : axes) {
    result.shape.push_back(view.shape[axis]);
    result.strides.push_back(view.strides[axis]);
  }
  return result;
}

/// A pass by im2col. dtype_ is that of x and y, parameter_ that of weight, bias and their gradients.
class Im2colPass {
 public:
  Im2colPass(CudaBackend& device, const ConvCall& call)
      : device_(device),
        context_(device.context()),
        shape_(call.shape),
        precision_(call.precision),
        dtype_(call.a.dtype),
        parameter_(call.pass == ConvPass::weight_grad ? call.out.dtype : call.b.dtype),
        channels_(shape_.c / shape_.groups),
        filters_(shape_.k / shape_.groups),
        group_weight_(filters_ * shape_.filter[0] * shape_.filter[1] * shape_.filter[2] * channels_) {}

  void forward(const void* x, const void* weight, const void* bias, void* y) {
    const ConvColumns plan = forward_columns(shape_);
    Columns columns(context_, plan, channels_, dtype_);
    const bool as_it_lies = is_whole(plan, columns) && dtype_ == parameter_;
    std::optional<Scratch> rounded_bias;
    if (bias != nullptr) bias = rounded(bias, shape_.k, rounded_bias);
    for (std::int64_t group = 0; group < shape_.groups; ++group) {
      const void* filters = offset(weight, group * group_weight_, parameter_);
      std::optional<Scratch> packed;
      if (!as_it_lies)
        filters = packed_taps(plan, filters, {3, 0, 1, 2, 4}, columns.width(), columns.width() * filters_, packed);
      columns.for_chunks(offset(x, group * channels_, dtype_),
                         [&](std::int64_t first, std::int64_t rows, const Matrices& matrix) {
                           Gemm g = product(rows, filters_, columns.width());
                           g.a = matrix;
                           g.b = {filters, 1, columns.width(), 0};
                           g.out = offset(y, first * shape_.k + group * filters_, dtype_);
                           g.out_row = shape_.k;
                           if (bias != nullptr) g.bias = offset(bias, group * filters_, dtype_);
                           gemm(device_, g);
                         });
    }
  }

  void input_grad(const void* y_grad, const void* weight, void* x_grad) {
    for (const ConvPhase& phase : input_grad_phases(shape_)) {
      if (phase.columns.rows() == 0) continue;
      for (std::int64_t group = 0; group < shape_.groups; ++group) {
        const View target = phase_view(phase, offset(x_grad, group * channels_, dtype_));
        if (phase.columns.taps() == 0 || filters_ == 0) {
          device_.fill(target, 0);
          continue;
        }
        Columns columns(context_, phase.columns, filters_, dtype_);
        std::optional<Scratch> packed, rows_memory;
        const void* filters = offset(weight, group * group_weight_, parameter_);
        const bool one_tap = group_weight_ == filters_ * channels_ && columns.width() == filters_;
        if (!one_tap || dtype_ != parameter_)
          filters = packed_taps(phase.columns, filters, {0, 1, 2, 3, 4}, 0, columns.width() * channels_, packed);
        const bool direct = shape_.stride == std::array<std::int64_t, 3>{1, 1, 1};
        if (!direct) rows_memory.emplace(context_, bytes(phase.columns.rows() * channels_));
        void* const out = direct ? target.data : rows_memory->data();
        const std::int64_t out_row = direct ? shape_.c : channels_;
        columns.for_chunks(offset(y_grad, group * filters_, dtype_),
                           [&](std::int64_t first, std::int64_t rows, const Matrices& matrix) {
                             Gemm g = product(rows, channels_, columns.width());
                             g.a = matrix;
                             g.b = {filters, channels_, 1, 0};
                             g.out = offset(out, first * out_row, dtype_);
                             g.out_row = out_row;
                             gemm(device_, g);
                           });
        if (!direct) device_.copy({out, target.shape, row_major_strides(target.shape), dtype_}, target);
      }
    }
  }

  void weight_grad(const void* y_grad, const void* x, void* out) {
    const ConvColumns plan = forward_columns(shape_);
    Columns columns(context_, plan, channels_, dtype_);
    const std::int64_t width = columns.width();
    const bool whole = is_whole(plan, columns);
    const View all{out, {shape_.groups * group_weight_}, {1}, parameter_};
    if (!whole || plan.rows() == 0) device_.fill(all, 0);
    if (plan.rows() == 0 || width == 0) return;
    std::optional<Scratch> sums;
    if (!whole) sums.emplace(context_, static_cast<std::size_t>(filters_ * width) * size_of(parameter_));
    for (std::int64_t group = 0; group < shape_.groups; ++group) {
      void* const target = offset(out, group * group_weight_, parameter_);
      columns.for_chunks(offset(x, group * channels_, dtype_),
                         [&](std::int64_t first, std::int64_t rows, const Matrices& matrix) {
                           Gemm g = product(filters_, width, rows);
                           g.out_type = parameter_;
                           g.a = {offset(y_grad, first * shape_.k + group * filters_, dtype_), 1, shape_.k, 0};
                           g.b = matrix;
                           g.out = whole ? target : sums->data();
                           g.out_row = width;
                           g.accumulate = first > 0;
                           gemm(device_, g);
                         });
      if (whole) continue;
      const View kept = permuted(kept_taps(plan, shape_, filters_, channels_, target, parameter_), {3, 0, 1, 2, 4});
      Strides strides = row_major_strides(kept.shape);
      strides[0] = width;
      device_.copy({sums->data(), kept.shape, strides, parameter_}, kept);
    }
  }

 private:
  std::size_t bytes(std::int64_t elements) const { return static_cast<std::size_t>(elements) * size_of(dtype_); }

  /// Whether the filters lie as the columns do: no tap left out, no row filled up.
  bool is_whole(const ConvColumns& plan, const Columns& columns) const {
    const std::int64_t inner = plan.taps() * channels_;
    return columns.width() == inner && inner * filters_ == group_weight_;
  }

  Gemm product(std::int64_t m, std::int64_t n, std::int64_t k) const {
    Gemm g;
    g.in = g.out_type = dtype_;
    g.precision = precision_;
    g.m = m;
    g.n = n;
    g.k = k;
    return g;
  }

  /// `count` numbers of a parameter as products take them: where they lie, or a copy.
  const void* rounded(const void* parameter, std::int64_t count, std::optional<Scratch>& memory) {
    if (dtype_ == parameter_) return parameter;
    memory.emplace(context_, bytes(count));
    device_.copy({parameter, {count}, {1}, parameter_}, {memory->data(), {count}, {1}, dtype_});
    return memory->data();
  }

  /// A copy of the taps that `plan` keeps of one group's filters, in `size` elements of which the rest are 0; `axes`
  /// orders (taps..., filters, channels), and the first of them has steps of `first_step` unless that is 0 (dense).
  const void* packed_taps(const ConvColumns& plan, const void* weight, std::initializer_list<int> axes,
                          std::int64_t first_step, std::int64_t size, std::optional<Scratch>& memory) {
    const View kept =
        permuted(kept_taps(plan, shape_, filters_, channels_, const_cast<void*>(weight), parameter_), axes);
    memory.emplace(context_, bytes(size));
    if (kept.size() != size) device_.fill({memory->data(), {size}, {1}, dtype_}, 0);
    Strides strides = row_major_strides(kept.shape);
    if (first_step > 0) strides[0] = first_step;
    device_.copy(kept, {memory->data(), kept.shape, strides, dtype_});
    return memory->data();
  }

  /// The positions of x_grad that a phase writes: (n, positions..., channels of the group).
  View phase_view(const ConvPhase& phase, void* x_grad) const {
    std::array<std::int64_t, 3> steps{};
    std::int64_t step = shape_.c, first = 0;
    for (std::size_t d = 3; d-- > 0;) {
      steps[d] = step * shape_.stride[d];
      first += step * phase.first[d];
      step *= shape_.in[d];
    }
    View view{offset(x_grad, first, dtype_), {shape_.n}, {step}, dtype_};
    for (std::size_t d = 0; d < 3; ++d) {
      view.shape.push_back(phase.columns.axes[d].out);
      view.strides.push_back(steps[d]);
    }
    view.shape.push_back(channels_);
    view.strides.push_back(1);
    return view;
  }

  CudaBackend& device_;
  Context& context_;
  const ConvShape& shape_;
  Precision precision_;
  DType dtype_, parameter_;
  std::int64_t channels_, filters_, group_weight_;  // of a group
};

}  // namespace

ConvAlgo CudaBackend::conv_algo(ConvPass, const ConvShape& s, DType) const {
  if (is_depthwise(s) && s.c > 1) return ConvAlgo::direct;
  const auto volume = [](const std::array<std::int64_t, 3>& sizes) {
    return static_cast<double>(sizes[0]) * static_cast<double>(sizes[1]) * static_cast<double>(sizes[2]);
  };
  const double outputs = static_cast<double>(s.n) * volume(s.out) * static_cast<double>(s.k);
  const double products = outputs * volume(s.filter) * static_cast<double>(s.c / s.groups);
  return s.groups > 1 || products <= kFewProducts ? ConvAlgo::implicit_gemm : ConvAlgo::im2col;
}

/// By im2col, columns of each pass (core/device/conv_plan.h) are gathered chunk by chunk and multiplied by cuBLASLt;
/// the other algorithms are in files of their names.
void CudaBackend::conv(const ConvCall& call) {
  const ConvShape& shape = call.shape;
  const ConvAlgo algo = shape.algo == ConvAlgo::automatic ? conv_algo(call.pass, shape, call.a.dtype) : shape.algo;
  const bool empty = call.out.size() == 0;
  if (call.pass == ConvPass::input_grad && has_gaps(shape)) fill(call.out, 0);
  if (algo == ConvAlgo::implicit_gemm && !empty) return implicit_gemm(context_, call);
  if (call.bias_grad.data != nullptr) {
    const BiasSum sum = bias_sum(shape, call.a, call.bias_grad);
    reduce(ReduceOp::sum, sum.y_grad, sum.bias_grad);
  }
  if (empty) return;
  switch (algo) {
    case ConvAlgo::reference:
      return conv_reference(context_, call);
    case ConvAlgo::direct:
      if (is_depthwise(shape)) return depthwise(*this, call);
      break;  // 1x1: x is the columns
    case ConvAlgo::winograd:
      return winograd(*this, kWinogradTile, call);
    case ConvAlgo::automatic:
    case ConvAlgo::im2col:
    case ConvAlgo::implicit_gemm:
      break;
  }
  Im2colPass im2col(*this, call);
  switch (call.pass) {
    case ConvPass::forward:
      return im2col.forward(call.a.data, call.b.data, call.bias.data, call.out.data);
    case ConvPass::input_grad:
      return im2col.input_grad(call.a.data, call.b.data, call.out.data);
    case ConvPass::weight_grad:
      return im2col.weight_grad(call.a.data, call.b.data, call.out.data);
  }
}

}  // namespace weft::cuda
