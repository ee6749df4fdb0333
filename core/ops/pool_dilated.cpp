#include <algorithm>
#include <vector>

#include "core/ops/pool.h"

/// Averages of windows with gaps, written in the public ops:
///
///   x, padded   . a b c d e f .        kernel 3, dilation 2, stride 1, padding 1
///   window 0    ^   ^   ^              a view (N, P, Q, C, R, S) over the padded x,
///   window 1      ^   ^   ^            whose last axes are summed
///
/// The pools of neighbours have kernels; PyTorch has no averages with gaps, and they are rare.
namespace weft {

namespace {

/// The taps that can meet x, because a window starts no earlier than -padding.
std::int64_t taps(const PoolShape& s, std::size_t d) {
  const std::int64_t most = s.in[d] + s.padding[d];
  return std::min(s.kernel[d], (most - 1) / s.dilation[d] + 1);
}

/// For each window the positions that count, along one axis; at least 1.
std::vector<double> counts(const PoolShape& s, std::size_t d) {
  std::vector<double> result;
  const std::int64_t first = s.count_padding ? -s.padding[d] : 0;
  const std::int64_t end = s.in[d] + (s.count_padding ? s.padding[d] : 0);
  for (std::int64_t o = 0; o < s.out[d]; ++o) {
    const std::int64_t start = o * s.stride[d] - s.padding[d];
    // Taps below these numbers lie before `first` and before `end`.
    const auto below = [&](std::int64_t place) {
      const std::int64_t distance = std::max<std::int64_t>(place - start, 0);
      return std::min(s.kernel[d], distance / s.dilation[d] + (distance % s.dilation[d] != 0 ? 1 : 0));
    };
    result.push_back(static_cast<double>(std::max<std::int64_t>(below(end) - below(first), 1)));
  }
  return result;
}

/// What the sums (N, P, Q, C) are divided by, as a tensor (P, Q, 1).
Tensor divisors(const Pooling& p, const Tensor& sums) {
  Tensor all = full({1}, 1.0, {.dtype = DType::f64, .device = sums.device()});
  for (std::size_t d = first_axis(p.axes); d < 3; ++d) {
    const std::vector<double> along = counts(p.shape, d);
    Shape shape{p.shape.out[d]};
    for (std::size_t later = d; later < 3; ++later) shape.push_back(1);
    all = all * Tensor::from(std::span<const double>(along), shape, {.device = sums.device()});
  }
  return all.to(sums.dtype());
}

}  // namespace

Tensor dilated_average(const Pooling& p, const Tensor& x) {
  const PoolShape& s = p.shape;
  std::vector<std::pair<std::int64_t, std::int64_t>> padding(2);
  for (std::size_t d = first_axis(p.axes); d < 3; ++d) {
    const std::int64_t reach = (s.out[d] - 1) * s.stride[d] + s.dilation[d] * (taps(s, d) - 1) + 1;
    padding.emplace_back(s.padding[d], std::max<std::int64_t>(reach - s.padding[d] - s.in[d], 0));
  }
  const Tensor padded = pad(x, padding);
  const Strides& steps = padded.array().strides();
  Shape shape{s.n};
  Strides strides{steps[0]};
  Dims window, order{0, p.axes + 1};
  for (std::size_t d = first_axis(p.axes); d < 3; ++d) {
    order.push_back(shape.rank());
    shape.push_back(s.out[d]);
    strides.push_back(steps[order.rank() - 1] * s.stride[d]);
  }
  shape.push_back(s.c);
  strides.push_back(steps[1]);
  for (std::size_t d = first_axis(p.axes); d < 3; ++d) {
    window.push_back(shape.rank());
    shape.push_back(taps(s, d));
    strides.push_back(steps[window.rank() + 1] * s.dilation[d]);
  }
  const Tensor sums = sum(as_strided(padded, shape, strides), window);
  // The axes as a result has them, over channels-last memory.
  return permute(s.divisor != 0 ? sums / s.divisor : sums / divisors(p, sums), order);
}

}  // namespace weft
