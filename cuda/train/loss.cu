#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

#include "cuda/array/element.h"
#include "cuda/array/walk.h"
#include "cuda/runtime/backend.h"

// Softmax, cross entropy and the tally of hits. They replace, for logits (rows, n):
//
//   for each row:
//     max, Σ = max over i of z(i), Σ over i of exp(z(i) - max)       exp_sum
//     loss(row) = log Σ + max - z(label)                             or a probability, or a gradient, of each class
//   loss = sum or mean of loss(row)                                  grid_sum
//
//   row 0 ─── warp 0 ┐ block 0   A group of threads has a row: a warp up to kMostWarpColumns classes, else a block.
//   row 1 ─── warp 1 │           Each thread adds its classes in chains of 16 terms, whose sums go on in double. Pairs
//   ...       ...    │           of threads exchange their results by shuffles, so that all threads have the same
//   row 7 ─── warp 7 ┘           bits; the warps of a block meet in shared memory.
//
// A reduced loss is summed in each block, then by the last block over all of them, both as fixed trees: the order does
// not depend on which block is last. Logits are read again for each pass over a row; caches serve them after the first.
namespace weft::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;  // eight rows of a block at a time
constexpr std::int64_t kMostWarpColumns = 1024;           // 32 classes of each lane
constexpr std::int64_t kMostBlocks = 1 << 20;             // of a grid, whose blocks take further rows in turn
constexpr std::int64_t kMostPartials = 1024;  // blocks of a reduced loss: about the number that runs at a time

template <class C>
constexpr C kInfinity = std::numeric_limits<C>::infinity();
template <class C>
constexpr C kNaN = std::numeric_limits<C>::quiet_NaN();

/// Terms that are added in C before their sum goes on in double.
constexpr int kChain = 16;

/// Σ exp(x_i) = (1 + rest)·exp(max), where the largest term is the 1: rest may be too small to be seen in the sum. A
/// row of -inf, or one with NaN or +inf, gets the rest NaN from `checked`.
template <class C>
struct ExpSum {
  C max = -kInfinity<C>;
  double rest = -1;  // of no terms

  /// exp(from - to), also where both are -inf.
  static WEFT_DEVICE C factor(C from, C to) { return from == to ? C(1) : std::exp(from - to); }
  /// exp(from - to) for from <= to, also where both are -inf; near 1 so exact that the roundings of many small
  /// steps of the maximum do not add up.
  static WEFT_DEVICE double scale(C from, C to) {
    if (from == to) return 1;
    const C x = from - to;
    return x < C(-1) ? static_cast<double>(std::exp(x)) : 1 + static_cast<double>(std::expm1(x));
  }
  WEFT_DEVICE void merge(const ExpSum& other) {
    const bool grows = other.max > max;
    const C from = grows ? max : other.max, to = grows ? other.max : max;
    rest = grows ? other.rest + (1 + rest) * scale(from, to) : rest + (1 + other.rest) * scale(from, to);
    max = to;
  }
  WEFT_DEVICE ExpSum checked() const { return {max, rest + static_cast<double>(max - max)}; }
  WEFT_DEVICE C sum() const { return static_cast<C>(1 + rest); }
  WEFT_DEVICE C log_sum() const { return std::log1p(static_cast<C>(rest)); }
};

/// The threads of one row, and how they reduce: in pairs, so that all get the same bits.
struct WarpOfRow {
  static constexpr int kSize = kWarp, kRows = kWarps;
  static WEFT_DEVICE int thread() { return static_cast<int>(threadIdx.x) % kWarp; }
  static WEFT_DEVICE int row() { return static_cast<int>(threadIdx.x) / kWarp; }

  static WEFT_DEVICE double sum(double value, double*) {
    for (int mask = kWarp / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
    return value;
  }
  template <class C>
  static WEFT_DEVICE ExpSum<C> merged(ExpSum<C> value, double*) {
    for (int mask = kWarp / 2; mask > 0; mask /= 2) {
      const C max = shuffle_xor(value.max, mask);
      const double rest = shuffle_xor(value.rest, mask);
      // Both lanes of a pair merge the upper one's value into the lower one's.
      const bool upper = (thread() & mask) != 0;
      ExpSum<C> lower{upper ? max : value.max, upper ? rest : value.rest};
      lower.merge({upper ? value.max : max, upper ? value.rest : rest});
      value = lower;
    }
    return value;
  }
};

/// `shared` has 2·kWarps elements.
struct BlockOfRow {
  static constexpr int kSize = kThreads, kRows = 1;
  static WEFT_DEVICE int thread() { return static_cast<int>(threadIdx.x); }
  static WEFT_DEVICE int row() { return 0; }

  static WEFT_DEVICE double sum(double value, double* shared) {
    value = WarpOfRow::sum(value, shared);
    WEFT_BARRIER();
    if (WarpOfRow::thread() == 0) shared[WarpOfRow::row()] = value;
    WEFT_BARRIER();
    double total = shared[0];
    for (int i = 1; i < kWarps; ++i) total += shared[i];
    return total;
  }
  template <class C>
  static WEFT_DEVICE ExpSum<C> merged(ExpSum<C> value, double* shared) {
    value = WarpOfRow::merged(value, shared);
    WEFT_BARRIER();
    if (WarpOfRow::thread() == 0) {
      shared[WarpOfRow::row()] = static_cast<double>(value.max);
      shared[kWarps + WarpOfRow::row()] = value.rest;
    }
    WEFT_BARRIER();
    ExpSum<C> total{static_cast<C>(shared[0]), shared[kWarps]};
    for (int i = 1; i < kWarps; ++i) total.merge({static_cast<C>(shared[i]), shared[kWarps + i]});
    return total;
  }
};

/// of_row(row) for the rows of a group of threads; all of a group call it together.
template <class Group, class OfRow>
WEFT_DEVICE void for_rows(std::int64_t rows, const OfRow& of_row) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * Group::kRows;
  for (std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * Group::kRows + Group::row(); row < rows;
       row += step) {
    of_row(row);
  }
}

/// The number of terms of a thread's chain that begins at `first`, of a row of n.
template <class Group>
WEFT_DEVICE int terms_of(std::int64_t n, std::int64_t first) {
  const std::int64_t left = (n - first + Group::kSize - 1) / Group::kSize;
  return left < kChain ? static_cast<int>(left) : kChain;
}

template <class Group, class C, class T>
WEFT_DEVICE ExpSum<C> exp_sum(const T* x, std::int64_t n, double* shared) {
  ExpSum<C> own;
  for (std::int64_t first = Group::thread(); first < n; first += kChain * Group::kSize) {
    const int count = terms_of<Group>(n, first);
    C max = widen(x[first]), rest = 0;  // NaN stays
    int largest = 0;
    for (int k = 1; k < count; ++k) {
      const C value = widen(x[first + k * Group::kSize]);
      largest = value > max ? k : largest;
      max = value > max ? value : max;
    }
    for (int k = 0; k < count; ++k) {
      const C value = widen(x[first + k * Group::kSize]);
      rest += k == largest ? C(0) : ExpSum<C>::factor(value, max);
    }
    own.merge({max, static_cast<double>(rest)});
  }
  return Group::merged(own, shared).checked();
}

/// Σ term(i) for i in [0, n).
template <class Group, class C, class Term>
WEFT_DEVICE double row_sum(std::int64_t n, double* shared, const Term& term) {
  double own = 0;
  for (std::int64_t first = Group::thread(); first < n; first += kChain * Group::kSize) {
    C part = 0;
    for (int k = 0, count = terms_of<Group>(n, first); k < count; ++k) part += term(first + k * Group::kSize);
    own += static_cast<double>(part);
  }
  return Group::sum(own, shared);
}

template <class Group, class T>
WEFT_KERNEL_OF(kThreads)
softmax_kernel(bool log, std::int64_t rows, std::int64_t n, const T* x, T* y) {
  using C = compute_t<T>;
  WEFT_SHARED(double, shared, 2 * kWarps);
  for_rows<Group>(rows, [&](std::int64_t row) {
    const T* in = x + row * n;
    T* out = y + row * n;
    const ExpSum<C> total = exp_sum<Group, C>(in, n, &shared[0]);
    const C log_sum = log ? total.log_sum() : C(0), sum = total.sum();
    for (std::int64_t i = Group::thread(); i < n; i += Group::kSize) {
      const C difference = widen(in[i]) - total.max;
      out[i] = narrow<T>(log ? difference - log_sum : std::exp(difference) / sum);
    }
  });
}

template <class Group, class T>
WEFT_KERNEL_OF(kThreads)
softmax_grad_kernel(bool log, std::int64_t rows, std::int64_t n, const T* y, const T* y_grad, T* x_grad) {
  using C = compute_t<T>;
  WEFT_SHARED(double, shared, 2 * kWarps);
  for_rows<Group>(rows, [&](std::int64_t row) {
    const std::int64_t first = row * n;
    const C sum = static_cast<C>(row_sum<Group, C>(
        n, &shared[0], [&](std::int64_t i) { return widen(y_grad[first + i]) * (log ? C(1) : widen(y[first + i])); }));
    for (std::int64_t i = first + Group::thread(); i < first + n; i += Group::kSize) {
      const C gradient = widen(y_grad[i]), value = widen(y[i]);
      x_grad[i] = narrow<T>(log ? gradient - std::exp(value) * sum : value * (gradient - sum));
    }
  });
}

/// A vector of any stride.
template <class T>
struct Strided {
  T* data;
  std::int64_t stride;

  WEFT_DEVICE T& operator[](std::int64_t i) const { return data[i * stride]; }
};

/// The losses of some rows, and how many of them are hits or count.
struct RowSums {
  double losses;
  std::int64_t rows;

  WEFT_DEVICE void add(const RowSums& other) {
    losses += other.losses;
    rows += other.rows;
  }
};

/// The sum over a block in a fixed tree, in its thread 0.
WEFT_DEVICE RowSums block_sum(RowSums own, RowSums* shared) {
  shared[threadIdx.x] = own;
  WEFT_BARRIER();
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) shared[threadIdx.x].add(shared[threadIdx.x + half]);
    WEFT_BARRIER();
  }
  return shared[0];
}

/// Whether this block is the last; its thread 0 then has the sum over all blocks in `total`, in a fixed tree. Each
/// brings the sum of its own threads. `partials` has an element per block, unless there is one.
WEFT_DEVICE bool grid_sum(const RowSums& own, RowSums* shared, RowSums* partials, unsigned* counter, RowSums& total) {
  total = block_sum(own, shared);
  if (gridDim.x == 1) return true;
  if (threadIdx.x == 0) partials[blockIdx.x] = total;
  if (!last_block(counter, gridDim.x)) return false;
  RowSums blocks{0, 0};
  for (unsigned i = threadIdx.x; i < gridDim.x; i += kThreads) blocks.add(partials[i]);
  total = block_sum(blocks, shared);
  return true;
}

/// Logits (rows, n) with their labels.
template <class T>
struct Entropy {
  std::int64_t rows, n;
  const T* logits;
  Strided<const std::int64_t> labels;
  bool ignores;
  std::int64_t ignore_index;
  LossReduction reduction;

  WEFT_DEVICE bool counts(std::int64_t label) const { return !ignores || label != ignore_index; }
  WEFT_DEVICE bool valid(std::int64_t label) const { return label >= 0 && label < n; }
};

/// The loss of a row with a valid label: rest·(lse - z_label) + smoothing·(lse - mean(z)) with lse = log_sum + max and
/// rest = 1 - smoothing; differences from the maximum are summed, so that its size does not cost precision.
template <class Group, class T>
WEFT_DEVICE T row_loss(const T* z, std::int64_t n, std::int64_t label, T smoothing, T rest, double* shared) {
  const ExpSum<T> total = exp_sum<Group, T>(z, n, shared);
  const T log_sum = total.log_sum();
  const T loss = log_sum + (total.max - z[label]);
  if (smoothing == 0) return loss;
  const T inverse = T(1) / static_cast<T>(n);
  double below =
      row_sum<Group, T>(n, shared, [&](std::int64_t i) { return total.max - z[i]; }) / static_cast<double>(n);
  if (below - below != 0) {  // the sum may leave the range where the mean does not
    below = row_sum<Group, T>(n, shared, [&](std::int64_t i) { return (total.max - z[i]) * inverse; });
  }
  const T mean = log_sum + static_cast<T>(below);
  return smoothing == 1 ? mean : rest * loss + smoothing * mean;  // either may be infinite
}

/// `losses` gets a loss per row, or their sum or mean; of a mean `count` gets the number of rows in it.
template <class Group, class T>
WEFT_KERNEL_OF_BLOCKS(kThreads, 4)
cross_entropy_kernel(Entropy<T> entropy, T smoothing, T rest, RowSums* partials, unsigned* counter, Strided<T> losses,
                     double* count) {
  WEFT_SHARED(double, shared, 2 * kWarps);
  WEFT_SHARED(RowSums, sums, kThreads);
  RowSums own{0, 0};
  for_rows<Group>(entropy.rows, [&](std::int64_t row) {
    const std::int64_t n = entropy.n, label = entropy.labels[row];  // the same in all threads of the row
    const bool counts = entropy.counts(label);
    T loss = counts ? kNaN<T> : T(0);
    if (counts && entropy.valid(label)) {
      loss = row_loss<Group>(entropy.logits + row * n, n, label, smoothing, rest, &shared[0]);
    }
    if (Group::thread() != 0) return;
    if (entropy.reduction == LossReduction::none) {
      losses[row] = loss;
    } else {
      own.add({static_cast<double>(loss), counts ? 1 : 0});
    }
  });
  if (entropy.reduction == LossReduction::none) return;
  RowSums total;
  if (!grid_sum(own, &sums[0], partials, counter, total) || threadIdx.x != 0) return;
  const bool mean = entropy.reduction == LossReduction::mean;
  const double counted = static_cast<double>(total.rows);
  losses[0] = static_cast<T>(mean ? total.losses / counted : total.losses);
  if (mean) *count = counted;
}

/// gradient·(softmax - target), where the target is `own` for the label and `other` for the other classes; 0 where the
/// row does not count.
template <class Group, class T>
WEFT_KERNEL_OF(kThreads)
cross_entropy_grad_kernel(Entropy<T> entropy, T own, T other, Strided<const T> losses_grad, const double* count,
                          T* logits_grad) {
  WEFT_SHARED(double, shared, 2 * kWarps);
  const T counted = entropy.reduction == LossReduction::mean ? static_cast<T>(*count) : T(1);
  for_rows<Group>(entropy.rows, [&](std::int64_t row) {
    const std::int64_t n = entropy.n, label = entropy.labels[row];
    const T* z = entropy.logits + row * n;
    T* z_grad = logits_grad + row * n;
    if (!entropy.counts(label) || !entropy.valid(label)) {  // the same in all threads of the row
      const T nothing = entropy.counts(label) ? kNaN<T> : T(0);
      for (std::int64_t i = Group::thread(); i < n; i += Group::kSize) z_grad[i] = nothing;
      return;
    }
    const T gradient = losses_grad[row] / counted;
    const ExpSum<T> total = exp_sum<Group, T>(z, n, &shared[0]);
    const T sum = total.sum(), score = z[label];
    // The softmax less 1, which cancels where the label has the row's largest logit.
    const T below = score == total.max ? -static_cast<T>(total.rest) : std::exp(score - total.max) - sum;
    const T of_label = gradient * (below / sum + (T(1) - own));
    for (std::int64_t i = Group::thread(); i < n; i += Group::kSize) {
      z_grad[i] = i == label ? of_label : gradient * (std::exp(z[i] - total.max) / sum - other);
    }
  });
}

/// How a tally is cut, by its shape alone.
struct TallyCut {
  int lanes;  ///< threads of a row: 1 or kWarp
  std::int64_t blocks;

  explicit TallyCut(const Shape& shape) : lanes(shape[1] <= kWarp ? 1 : kWarp) {
    // Each thread or warp has kRows rows until there are kMost blocks: few partial sums for the last one to add.
    constexpr std::int64_t kRows = 4, kMost = 64;
    blocks = std::clamp<std::int64_t>(blocks_for(shape[0] * lanes, kRows * kThreads), 1, kMost);
  }
};

/// loss_sum += the losses' sum, hits += the number of rows whose label nothing beats: NaN beats numbers, and the first
/// of equals the others.
template <class T>
WEFT_KERNEL_OF(kThreads)
tally_kernel(std::int64_t rows, std::int64_t n, int lanes, const T* logits, Strided<const std::int64_t> labels,
             Strided<const compute_t<T>> losses, RowSums* partials, unsigned* counter, double* loss_sum,
             std::int64_t* hits) {
  using C = compute_t<T>;
  WEFT_SHARED(RowSums, shared, kThreads);
  const std::int64_t lane = threadIdx.x % lanes, step = static_cast<std::int64_t>(gridDim.x) * kThreads / lanes;
  const std::int64_t rounds = (rows + step - 1) / step;  // the same in all threads, because they shuffle
  RowSums own{0, 0};
  for (std::int64_t round = 0; round < rounds; ++round) {
    const std::int64_t row = round * step + global_thread() / lanes;
    const std::int64_t label = row < rows ? labels[row] : -1;
    int beaten = label < 0 || label >= n ? 1 : 0;
    if (beaten == 0) {
      const T* z = logits + row * n;
      const C best = widen(z[label]);
      for (std::int64_t i = lane; i < n; i += lanes) {
        const C other = widen(z[i]);
        const bool first = i < label;
        const bool wins = other != other ? best == best || first : other > best || (other == best && first);
        beaten |= wins ? 1 : 0;
      }
    }
    for (int mask = lanes / 2; mask > 0; mask /= 2) beaten |= shuffle_xor(beaten, mask);
    if (lane == 0 && row < rows) own.add({static_cast<double>(losses[row]), 1 - beaten});
  }
  RowSums total;
  if (!grid_sum(own, &shared[0], partials, counter, total) || threadIdx.x != 0) return;
  *loss_sum += total.losses;
  *hits += total.rows;
}

/// run(Group{}, shape) with the group and the grid that a matrix needs.
template <class Run>
void with_group(Context& context, const char* name, const Shape& shape, const Run& run) {
  if (shape[1] <= kMostWarpColumns) {
    run(WarpOfRow{}, LaunchShape{name, std::min(blocks_for(shape[0], kWarps), kMostBlocks), kThreads, context.stream});
  } else {
    run(BlockOfRow{}, LaunchShape{name, std::min(shape[0], kMostBlocks), kThreads, context.stream});
  }
}

template <class T>
Entropy<T> entropy_of(const ConstView& logits, const ConstView& labels, const CrossEntropyArguments& arguments) {
  return {logits.shape[0],
          logits.shape[1],
          logits.as<T>(),
          {labels.as<std::int64_t>(), labels.strides[0]},
          arguments.ignore_index.has_value(),
          arguments.ignore_index.value_or(0),
          arguments.reduction};
}

template <class Body>
void dispatch_loss(const char* op, DType dtype, const Body& body) {
  if (dtype == DType::bf16) throw DTypeError(std::string("cuda: ") + op + " of bf16 is not supported");
  dispatch_floating(op, dtype, [&]<class T>(Type<T> type) {
    if constexpr (std::is_floating_point_v<T>) body(type);
  });
}

}  // namespace

void CudaBackend::softmax(bool log, const ConstView& x, const View& y) {
  dispatch_floating("softmax", x.dtype, [&]<class T>(Type<T>) {
    with_group(context_, "softmax", x.shape, [&]<class Group>(Group, const LaunchShape& shape) {
      launch(shape, softmax_kernel<Group, T>, log, x.shape[0], x.shape[1], x.as<T>(), y.as<T>());
    });
  });
}

void CudaBackend::softmax_grad(bool log, const ConstView& y, const ConstView& y_grad, const View& x_grad) {
  dispatch_floating("softmax_grad", y.dtype, [&]<class T>(Type<T>) {
    with_group(context_, "softmax_grad", y.shape, [&]<class Group>(Group, const LaunchShape& shape) {
      launch(shape, softmax_grad_kernel<Group, T>, log, y.shape[0], y.shape[1], y.as<T>(), y_grad.as<T>(),
             x_grad.as<T>());
    });
  });
}

void CudaBackend::cross_entropy(const CrossEntropyForward& call) {
  const CrossEntropyArguments& arguments = call.arguments;
  const ConstView& logits = call.logits;
  const View& losses = call.losses;
  const double smoothing = arguments.smoothing;
  const bool each = arguments.reduction == LossReduction::none;
  const Scratch partials(context_, each ? 0 : kMostPartials * sizeof(RowSums));
  dispatch_loss("cross_entropy", logits.dtype, [&]<class T>(Type<T>) {
    with_group(context_, "cross_entropy", logits.shape, [&]<class Group>(Group, LaunchShape shape) {
      if (!each) shape.blocks = std::clamp<std::int64_t>(shape.blocks, 1, kMostPartials);
      launch(shape, cross_entropy_kernel<Group, T>, entropy_of<T>(logits, call.labels, arguments),
             static_cast<T>(smoothing), static_cast<T>(1 - smoothing), partials.as<RowSums>(), context_.counters,
             Strided<T>{losses.as<T>(), each ? losses.strides[0] : 0}, call.count.as<double>());
    });
  });
}

void CudaBackend::cross_entropy_grad(const CrossEntropyGradient& call) {
  const CrossEntropyArguments& arguments = call.arguments;
  const ConstView &logits = call.logits, &losses_grad = call.losses_grad;
  const double other = arguments.smoothing / static_cast<double>(logits.shape[1]);
  const std::int64_t stride = arguments.reduction == LossReduction::none ? losses_grad.strides[0] : 0;
  dispatch_loss("cross_entropy_grad", logits.dtype, [&]<class T>(Type<T>) {
    with_group(context_, "cross_entropy_grad", logits.shape, [&]<class Group>(Group, const LaunchShape& shape) {
      launch(shape, cross_entropy_grad_kernel<Group, T>, entropy_of<T>(logits, call.labels, arguments),
             static_cast<T>(1 - arguments.smoothing + other), static_cast<T>(other),
             Strided<const T>{losses_grad.as<T>(), stride}, call.count.as<double>(), call.logits_grad.as<T>());
    });
  });
}

void CudaBackend::tally(const TallyCall& call) {
  const ConstView &logits = call.logits, &labels = call.labels, &losses = call.losses;
  const TallyCut cut(logits.shape);
  const Scratch partials(context_, static_cast<std::size_t>(cut.blocks) * sizeof(RowSums));
  dispatch_floating("tally", logits.dtype, [&]<class T>(Type<T>) {
    launch({"tally", cut.blocks, kThreads, context_.stream}, tally_kernel<T>, logits.shape[0], logits.shape[1],
           cut.lanes, logits.as<T>(), Strided<const std::int64_t>{labels.as<std::int64_t>(), labels.strides[0]},
           Strided<const compute_t<T>>{losses.as<compute_t<T>>(), losses.strides[0]}, partials.as<RowSums>(),
           context_.counters, call.loss_sum.as<double>(), call.hits.as<std::int64_t>());
  });
}

}  // namespace weft::cuda
