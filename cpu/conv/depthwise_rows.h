#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "core/device/conv_plan.h"
#include "core/device/integer.h"
#include "cpu/conv/depthwise_kernels.h"
#include "cpu/runtime/threads.h"

// What the passes of depthwise convolutions share.
namespace weft::cpu {

/// Rows (or bands) of `bytes` each per task. Rows are independent, so this may depend on the number of threads without
/// changing results. A thread has at most eight tasks, of at least 128 KB, because the start of a task is not fetched
/// ahead.
inline std::int64_t depthwise_grain(std::int64_t total, std::int64_t bytes) {
  constexpr std::int64_t kTasksPerThread = 8, kTaskBytes = 128 << 10;  // see above
  return std::max(ceil_div(total, kTasksPerThread * thread_count()), ceil_div(kTaskBytes, bytes));
}

inline DepthwiseAxis depthwise_axis(const TapAxis& axis) {
  return {axis.out, axis.in, axis.taps, axis.step, axis.offset, axis.tap_step};
}

/// Lines of x with every channel repeated once for each of its filters: the last ones asked for, enough for all taps
/// of a row. With one filter of a channel, x itself.
template <class T>
class ExpandedLines {
 public:
  ExpandedLines(const std::array<TapAxis, 3>& axes, std::int64_t channels, std::int64_t multiplier)
      : channels_(channels), multiplier_(multiplier), columns_(axes[2].in) {
    if (multiplier == 1) return;
    for (std::size_t d = 0; d < 2; ++d) {
      kept_[d] = std::max<std::int64_t>(1, std::min((axes[d].taps - 1) * axes[d].tap_step + 1, axes[d].in));
    }
    height_ = axes[1].in;
    depth_ = axes[0].in;
    held_.assign(static_cast<std::size_t>(kept_[0] * kept_[1]), -1);
    data_ =
        static_cast<T*>(scratch(ScratchSlot::task, held_.size() * static_cast<std::size_t>(line_size()) * sizeof(T)));
  }

  const T* line(const T* from, std::int64_t image, std::int64_t d, std::int64_t h) {
    if (multiplier_ == 1) return from;
    const std::int64_t place = d % kept_[0] * kept_[1] + h % kept_[1];
    T* const line = data_ + place * line_size();
    std::int64_t& held = held_[static_cast<std::size_t>(place)];
    const std::int64_t wanted = (image * depth_ + d) * height_ + h;
    if (held == wanted) return line;
    held = wanted;
    T* out = line;
    for (std::int64_t i = 0; i < columns_ * channels_; ++i, out += multiplier_) std::fill_n(out, multiplier_, from[i]);
    return line;
  }

 private:
  std::int64_t line_size() const { return columns_ * channels_ * multiplier_; }

  std::int64_t channels_, multiplier_, columns_, height_ = 0, depth_ = 0;
  std::array<std::int64_t, 2> kept_{};
  std::vector<std::int64_t> held_;
  T* data_ = nullptr;
};

/// Whether depthwise_bands() takes a pass whose only phase has these columns, with one filter of a channel: 3x3 taps
/// without gaps at every position, image by image.
bool fits_bands(const ConvColumns& columns);
/// The source summed with a filter (taps, channels) whose taps are numbered as in `filter`; start: (channels) or null.
template <class T>
void depthwise_bands(Isa isa, const ConvColumns& columns, const std::array<std::int64_t, 3>& filter, const T* source,
                     const T* weight, const T* start, T* out);

template <class T>
void depthwise_weight_grad(const DepthwiseKernelsOf<T>& kernels, int vector_bytes, const ConvShape& shape,
                           const T* y_grad, const T* x, T* weight_grad);

}  // namespace weft::cpu
