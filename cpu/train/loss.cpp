#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "core/device/integer.h"
#include "cpu/runtime/backend.h"
#include "cpu/runtime/threads.h"
#include "cpu/train/loss_kernels.h"

namespace weft::cpu {

WEFT_SIMD_DEFINE(LossKernels, loss_kernels)

namespace {

constexpr std::int64_t kTaskElements = 4096;  // of the logits: enough exponentials to pay for waking a thread

/// The rows of (rows, columns) that make a task.
std::int64_t task_rows(const Shape& shape) {
  return std::max<std::int64_t>(kTaskElements / std::max<std::int64_t>(shape[1], 1), 1);
}

/// body(row) for every row of (rows, columns), in parallel.
template <class Body>
void for_rows(const Shape& shape, const Body& body) {
  parallel_blocks(shape[0], task_rows(shape), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) body(row);
  });
}

/// The element of a vector of any stride.
template <class T>
T element(const ConstView& vector, std::int64_t i) {
  return vector.as<T>()[i * vector.strides[0]];
}

template <class T>
void softmax_of(bool log, const ConstView& x, const View& y) {
  const std::int64_t n = x.shape[1];
  if (n == 0) return;
  for_rows(x.shape,
           [&](std::int64_t row) { of<T>(loss_kernels()).softmax(log, n, x.as<T>() + row * n, y.as<T>() + row * n); });
}

template <class T>
void softmax_grad_of(bool log, const ConstView& y, const ConstView& y_grad, const View& x_grad) {
  const std::int64_t n = y.shape[1];
  for_rows(y.shape, [&](std::int64_t row) {
    of<T>(loss_kernels()).softmax_grad(log, n, y.as<T>() + row * n, y_grad.as<T>() + row * n, x_grad.as<T>() + row * n);
  });
}

/// The losses of some rows, and how many of them count.
struct LossSum {
  double losses = 0;
  std::int64_t count = 0;
};

template <class T>
void cross_entropy_of(const CrossEntropyForward& call) {
  const ConstView &logits = call.logits, &labels = call.labels;
  const CrossEntropyArguments& arguments = call.arguments;
  const View& losses = call.losses;
  const std::int64_t n = logits.shape[1], rows = logits.shape[0], grain = task_rows(logits.shape);
  const bool each = arguments.reduction == LossReduction::none;
  std::vector<LossSum> parts(static_cast<std::size_t>(each ? 0 : ceil_div(rows, grain)));
  parallel_blocks(rows, grain, [&](std::int64_t begin, std::int64_t end) {
    LossSum part;
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t label = element<std::int64_t>(labels, row);
      const bool counts = label != arguments.ignore_index;
      const double loss =
          counts ? of<T>(loss_kernels()).cross_entropy(n, logits.as<T>() + row * n, label, arguments.smoothing) : 0;
      part.losses += loss;
      part.count += counts ? 1 : 0;
      if (each) losses.as<T>()[row * losses.strides[0]] = static_cast<T>(loss);
    }
    if (!each) parts[static_cast<std::size_t>(begin / grain)] = part;
  });
  if (each) return;
  LossSum total;
  for (const LossSum& part : parts) {
    total.losses += part.losses;
    total.count += part.count;
  }
  const bool mean = arguments.reduction == LossReduction::mean;
  const double counted = static_cast<double>(total.count);
  *losses.as<T>() = static_cast<T>(mean ? total.losses / counted : total.losses);
  if (mean) *call.count.as<double>() = counted;
}

template <class T>
void cross_entropy_grad_of(const CrossEntropyGradient& call) {
  const CrossEntropyArguments& arguments = call.arguments;
  const ConstView &logits = call.logits, &losses_grad = call.losses_grad;
  const std::int64_t n = logits.shape[1];
  const std::int64_t stride = arguments.reduction == LossReduction::none ? losses_grad.strides[0] : 0;
  const double counted = arguments.reduction == LossReduction::mean ? *call.count.as<double>() : 1;
  for_rows(logits.shape, [&](std::int64_t row) {
    const std::int64_t label = element<std::int64_t>(call.labels, row);
    T* const z_grad = call.logits_grad.as<T>() + row * n;
    if (label == arguments.ignore_index) {
      std::fill_n(z_grad, n, T(0));
    } else {
      const double loss_grad = static_cast<double>(losses_grad.as<T>()[row * stride]) / counted;
      of<T>(loss_kernels())
          .cross_entropy_grad(n, logits.as<T>() + row * n, label, arguments.smoothing, loss_grad, z_grad);
    }
  });
}

/// Whether the label is the row's argmax: NaN wins, and the first of equals.
template <class T>
bool is_hit(const T* z, std::int64_t n, std::int64_t label) {
  if (label < 0 || label >= n) return false;
  std::int64_t best = 0;
  for (std::int64_t i = 1; i < n; ++i) {
    if (!std::isnan(z[best]) && !(z[i] <= z[best])) best = i;
  }
  return best == label;
}

struct Tallied {
  double loss_sum = 0;
  std::int64_t hits = 0;
};

template <class T>
void tally_of(const TallyCall& call) {
  const ConstView &logits = call.logits, &labels = call.labels, &losses = call.losses;
  const std::int64_t n = logits.shape[1], rows = logits.shape[0], grain = task_rows(logits.shape);
  std::vector<Tallied> parts(static_cast<std::size_t>(ceil_div(rows, grain)));
  parallel_blocks(rows, grain, [&](std::int64_t begin, std::int64_t end) {
    Tallied& part = parts[static_cast<std::size_t>(begin / grain)];
    for (std::int64_t row = begin; row < end; ++row) {
      part.loss_sum += static_cast<double>(element<T>(losses, row));
      part.hits += is_hit(logits.as<T>() + row * n, n, element<std::int64_t>(labels, row)) ? 1 : 0;
    }
  });
  Tallied total;
  for (const Tallied& part : parts) {
    total.loss_sum += part.loss_sum;
    total.hits += part.hits;
  }
  *call.loss_sum.as<double>() += total.loss_sum;
  *call.hits.as<std::int64_t>() += total.hits;
}

}  // namespace

void CpuBackend::softmax(bool log, const ConstView& x, const View& y) {
  const DenormalMode mode;
  (x.dtype == DType::f32 ? softmax_of<float> : softmax_of<double>)(log, x, y);
}

void CpuBackend::softmax_grad(bool log, const ConstView& y, const ConstView& y_grad, const View& x_grad) {
  const DenormalMode mode;
  (y.dtype == DType::f32 ? softmax_grad_of<float> : softmax_grad_of<double>)(log, y, y_grad, x_grad);
}

void CpuBackend::cross_entropy(const CrossEntropyForward& call) {
  const DenormalMode mode;
  (call.logits.dtype == DType::f32 ? cross_entropy_of<float> : cross_entropy_of<double>)(call);
}

void CpuBackend::cross_entropy_grad(const CrossEntropyGradient& call) {
  const DenormalMode mode;
  (call.logits.dtype == DType::f32 ? cross_entropy_grad_of<float> : cross_entropy_grad_of<double>)(call);
}

void CpuBackend::tally(const TallyCall& call) {
  const DenormalMode mode;
  (call.logits.dtype == DType::f32 ? tally_of<float> : tally_of<double>)(call);
}

}  // namespace weft::cpu
