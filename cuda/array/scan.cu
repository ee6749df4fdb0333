#include <algorithm>
#include <cstdlib>
#include <string>
#include <type_traits>

#include "core/device/scalar_ops.h"
#include "cuda/array/element.h"
#include "cuda/array/walk.h"
#include "cuda/runtime/backend.h"

// Running sums along one axis. They replace
//
//   for each line of the other axes:                   Walk<2>: offsets in out and x
//     sum = 0
//     for each place j of the axis:
//       out(j) = sum += x(j)
//
// A line is walked by a thread where lines are short, or many and lie side by side in memory. Otherwise a block walks
// it, kThreads·kItems places at a time: each thread adds up its places in order, the threads' totals become running
// sums by doubling steps in shared memory, and the sum of all places before is carried in a register. f32 and bf16 are
// summed in double.
namespace weft::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kItems = 4;  // neighbours of a thread

template <class T>
using sum_t = std::conditional_t<std::is_same_v<T, std::int64_t>, std::int64_t, double>;

/// The axis of running sums: its size, and its strides in out and in x.
struct ScanAxis {
  std::int64_t size, out, x;
};

template <class T>
WEFT_KERNEL scan_lines_kernel(Walk<2> lines, ScanAxis axis, T* out, const T* x) {
  const std::int64_t line = global_thread();
  if (line >= lines.size) return;
  const auto start = lines(line);
  sum_t<T> sum = 0;
  for (std::int64_t j = 0; j < axis.size; ++j) {
    sum = scalar::add()(sum, static_cast<sum_t<T>>(widen(x[start.of[1] + j * axis.x])));
    out[start.of[0] + j * axis.out] = narrow<T>(sum);
  }
}

/// Block b walks line b.
template <class T>
WEFT_KERNEL_OF(kThreads)
scan_line_kernel(Walk<2> lines, ScanAxis axis, T* out, const T* x) {
  using Sum = sum_t<T>;
  WEFT_SHARED(Sum, totals, kThreads);
  const scalar::add add;
  const int thread = static_cast<int>(threadIdx.x);
  const auto start = lines(blockIdx.x);
  Sum before = 0;
  for (std::int64_t first = 0; first < axis.size; first += kThreads * kItems) {
    const std::int64_t own = first + thread * kItems;
    Sum sums[kItems], sum = 0;
    WEFT_UNROLL
    for (int j = 0; j < kItems; ++j) {
      if (own + j < axis.size) sum = add(sum, static_cast<Sum>(widen(x[start.of[1] + (own + j) * axis.x])));
      sums[j] = sum;
    }
    totals[thread] = sum;
    WEFT_BARRIER();
    WEFT_UNROLL_BY(1)
    for (int step = 1; step < kThreads; step *= 2) {
      const Sum left = thread >= step ? totals[thread - step] : Sum(0);
      WEFT_BARRIER();
      sum = add(left, sum);
      totals[thread] = sum;
      WEFT_BARRIER();
    }
    const Sum base = thread > 0 ? add(before, totals[thread - 1]) : before;
    WEFT_UNROLL
    for (int j = 0; j < kItems; ++j) {
      if (own + j < axis.size) out[start.of[0] + (own + j) * axis.out] = narrow<T>(add(base, sums[j]));
    }
    before = add(before, totals[kThreads - 1]);
    WEFT_BARRIER();
  }
}

template <class T>
void cumsum_of(Context& context, const ConstView& x, int at, const View& out) {
  const ScanAxis axis{x.shape[at], out.strides[at], x.strides[at]};
  Shape lines = x.shape;
  lines[at] = 1;
  View results = out;
  ConstView elements = x;
  results.shape = elements.shape = lines;
  const LoopNest nest(lines, {results, elements});
  if (nest.size() == 0 || axis.size == 0) return;
  constexpr std::int64_t kShort = 32;   // places for which a block would mostly wait
  constexpr std::int64_t kMany = 4096;  // lines whose threads fill a GPU
  const bool side_by_side = nest.size() >= kMany && std::abs(nest.axis(0).stride[1]) < std::abs(axis.x);
  T* const to = static_cast<T*>(nest.origin(0));
  const T* const from = static_cast<const T*>(nest.origin(1));
  if (axis.size <= kShort || side_by_side) {
    launch({"cumsum", blocks_for(nest.size(), kThreads), kThreads, context.stream}, scan_lines_kernel<T>, Walk<2>(nest),
           axis, to, from);
  } else {
    launch({"cumsum", nest.size(), kThreads, context.stream}, scan_line_kernel<T>, Walk<2>(nest), axis, to, from);
  }
}

}  // namespace

void CudaBackend::cumsum(const ConstView& x, int axis, const View& out) {
  if (x.dtype == DType::i64) return cumsum_of<std::int64_t>(context_, x, axis, out);
  dispatch_floating("cumsum", x.dtype,
                    [&](auto type) { cumsum_of<typename decltype(type)::type>(context_, x, axis, out); });
}

}  // namespace weft::cuda
