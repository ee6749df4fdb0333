#include "core/device/integer.h"
#include "cpu/conv/depthwise_kernels.h"
#include "cpu/runtime/vector_loop.h"

namespace weft::cpu::WEFT_ISA {
namespace {

/// body(P{}, channel, place) for vectors P of all channels; `place` is the channel's in sums.
template <class T, class Body>
inline void for_channels(std::int64_t channels, const Body& body) {
  constexpr std::int64_t kWidth = kLanes<T>;
  std::int64_t channel = 0;
  if (channels < kWidth) {
    for (; channel < channels; ++channel) body(T{}, channel, channel);
    return;
  }
  for (; channel + kWidth <= channels; channel += kWidth) body(Vec<T>{}, channel, channel);
  if (channel < channels) body(Vec<T>{}, channels - kWidth, channel);
}

struct Columns {
  std::int64_t begin, end;
};

/// The columns for which `taps` taps from `first` on all read the source.
inline Columns full_columns(const DepthwiseAxis& axis, std::int64_t first, std::int64_t taps) {
  const std::int64_t low = axis.offset + first * axis.tap_step;
  const std::int64_t room = axis.in - low - (taps - 1) * axis.tap_step;  // o·step < room
  std::int64_t begin = low < 0 ? ceil_div(-low, axis.step) : 0;
  std::int64_t end = room > 0 ? ceil_div(room, axis.step) : 0;
  if (end > axis.out) end = axis.out;
  if (begin > end) begin = end;
  return {begin, end};
}

template <class P, class T>
inline P start_of(const DepthwiseRow<T>& row, std::int64_t channel) {
  return row.start == nullptr ? P{} : get<P>(row.start + channel);
}

constexpr std::int64_t kAhead = 16;  // columns that are fetched ahead, found by trial

/// Asks for `bytes` that begin `distance` elements after p. They may lie after the last element.
template <class T>
[[gnu::always_inline]] inline void prefetch(const T* p, std::int64_t distance, int bytes) {
  const auto at = reinterpret_cast<std::uintptr_t>(p) + static_cast<std::uintptr_t>(distance) * sizeof(T);
  for (int i = 0; i < bytes; i += 64)
    __builtin_prefetch(reinterpret_cast<const void*>(at + static_cast<std::uintptr_t>(i)), 0, 2);
}

/// Asks for the elements that later columns will read and write, in the order of addresses: a CPU that meets columns of
/// many channels one vector at a time does not foresee enough of them. It is always inlined, because g++ takes a
/// function that only prefetches for one without effects.
template <int kColumns, class P, class T>
[[gnu::always_inline]] inline void fetch_ahead(const DepthwiseRow<T>& row, std::int64_t column, std::int64_t step,
                                               std::int64_t channel) {
  constexpr int kBytes = static_cast<int>(sizeof(P)) * kColumns;
  const std::int64_t ahead = (column + kAhead) * step + row.axis.offset;
  for (std::int64_t i = row.line_count - row.fresh_lines; i < row.line_count; ++i) {
    for (std::int64_t j = 0; j < step; ++j) {
      prefetch(row.lines[i].source, (ahead + j * kColumns) * row.source_stride + channel * kColumns, kBytes);
    }
  }
  prefetch(row.out, (column + kAhead) * row.out_stride + channel * kColumns, kBytes);
}

/// Computes kColumns columns starting at `column`, none of which touches padding. kTaps is the number of adjacent taps;
/// 0 means any number and spacing. With kTaps known, each vector of the source is loaded once for all taps that meet
/// it.
template <int kTaps, int kStep, int kColumns, class P, class T>
inline void full_tile(const DepthwiseRow<T>& row, std::int64_t column, std::int64_t channel) {
  P sum[kColumns];
  WEFT_UNROLL
  for (int b = 0; b < kColumns; ++b) sum[b] = start_of<P>(row, channel);
  const std::int64_t step = kTaps == 0 ? row.axis.step : kStep;
  const std::int64_t first = (column * step + row.axis.offset) * row.source_stride + channel;
  for (std::int64_t i = 0; i < row.line_count; ++i) {
    const T* source = row.lines[i].source + first;
    const T* weight = row.lines[i].weight + channel;
    if constexpr (kTaps == 0) {
      for (std::int64_t t = 0; t < row.axis.taps; ++t, weight += row.weight_stride) {
        const P factor = get<P>(weight);
        const T* at = source + t * row.axis.tap_step * row.source_stride;
        WEFT_UNROLL
        for (int b = 0; b < kColumns; ++b, at += step * row.source_stride) {
          sum[b] = mul_add<T>(get<P>(at), factor, sum[b]);
        }
      }
    } else {
      P factor[kTaps];
      WEFT_UNROLL
      for (int t = 0; t < kTaps; ++t) factor[t] = get<P>(weight + t * row.weight_stride);
      WEFT_UNROLL
      for (int j = 0; j < (kColumns - 1) * kStep + kTaps; ++j) {
        const P value = get<P>(source + j * row.source_stride);
        WEFT_UNROLL
        for (int t = 0; t < kTaps; ++t) {
          const int b = (j - t) / kStep;
          if (j >= t && (j - t) % kStep == 0 && b < kColumns) sum[b] = mul_add<T>(value, factor[t], sum[b]);
        }
      }
    }
  }
  if constexpr (sizeof(P) > sizeof(T)) fetch_ahead<kColumns, P>(row, column, step, channel);
  WEFT_UNROLL
  for (int b = 0; b < kColumns; ++b) put(row.out + (column + b) * row.out_stride + channel, sum[b]);
}

/// A column whose window may reach beyond the source.
template <class P, class T>
inline void border_column(const DepthwiseRow<T>& row, std::int64_t column, std::int64_t channel) {
  P sum = start_of<P>(row, channel);
  const std::int64_t first = column * row.axis.step + row.axis.offset;
  for (std::int64_t i = 0; i < row.line_count; ++i) {
    for (std::int64_t t = 0; t < row.axis.taps; ++t) {
      const std::int64_t at = first + t * row.axis.tap_step;
      if (at < 0 || at >= row.axis.in) continue;
      sum = mul_add<T>(get<P>(row.lines[i].source + at * row.source_stride + channel),
                       get<P>(row.lines[i].weight + t * row.weight_stride + channel), sum);
    }
  }
  put(row.out + column * row.out_stride + channel, sum);
}

template <class T>
void border_columns(const DepthwiseRow<T>& row, std::int64_t begin, std::int64_t end) {
  for (std::int64_t column = begin; column < end; ++column) {
    for_channels<T>(row.channels, [&](auto vector, std::int64_t channel, std::int64_t) {
      border_column<decltype(vector)>(row, column, channel);
    });
  }
}

template <int kTaps, int kStep, int kColumns, class T>
inline std::int64_t full_tiles(const DepthwiseRow<T>& row, std::int64_t column, std::int64_t end) {
  for (; column + kColumns <= end; column += kColumns) {
    for_channels<T>(row.channels, [&](auto vector, std::int64_t channel, std::int64_t) {
      full_tile<kTaps, kStep, kColumns, decltype(vector)>(row, column, channel);
    });
  }
  return column;
}

template <int kTaps, int kStep, class T>
void whole_row(const DepthwiseRow<T>& row) {
  const Columns full = full_columns(row.axis, 0, row.axis.taps);
  border_columns(row, 0, full.begin);
  std::int64_t column = full.begin;
  if constexpr (kStep == 1) column = full_tiles<kTaps, kStep, 8>(row, column, full.end);
  column = full_tiles<kTaps, kStep, 4>(row, column, full.end);
  column = full_tiles<kTaps, kStep, 2>(row, column, full.end);
  full_tiles<kTaps, kStep, 1>(row, column, full.end);
  border_columns(row, full.end, row.axis.out);
}

template <class T>
void row_of(const DepthwiseRow<T>& row) {
  const DepthwiseAxis& axis = row.axis;
  if (axis.tap_step == 1 && axis.step == 1) {
    if (axis.taps == 2) return whole_row<2, 1>(row);
    if (axis.taps == 3) return whole_row<3, 1>(row);
    if (axis.taps == 5) return whole_row<5, 1>(row);
  }
  if (axis.tap_step == 1 && axis.step == 2) {
    if (axis.taps == 3) return whole_row<3, 2>(row);
    if (axis.taps == 5) return whole_row<5, 2>(row);
  }
  whole_row<0, 1>(row);
}

/// Adds columns [begin, end) of a row, whose taps may reach beyond the source. Tap 0 of column 0 reads column `low`.
template <int kLines, int kTaps, class P, class T>
[[gnu::always_inline]] inline void add_border(const DepthwiseSum<T>& s, const T* y, const T* const (&source)[kLines],
                                              std::int64_t low, std::int64_t begin, std::int64_t end,
                                              P (&sum)[kLines][kTaps]) {
  for (std::int64_t o = begin; o < end; ++o) {
    const P value = get<P>(y + o * s.y_stride);
    WEFT_UNROLL
    for (int t = 0; t < kTaps; ++t) {
      const std::int64_t at = low + o * s.axis.step + t * s.axis.tap_step;
      if (at < 0 || at >= s.axis.in) continue;
      WEFT_UNROLL
      for (int i = 0; i < kLines; ++i) {
        sum[i][t] = mul_add<T>(get<P>(source[i] + at * s.source_stride), value, sum[i][t]);
      }
    }
  }
}

/// Adds taps [first, first + kTaps) of kLines lines, in registers over all rows and columns.
template <int kLines, int kTaps, class P, class T>
inline void sum_block(const DepthwiseSum<T>& s, const DepthwiseSumLine<T>* lines, std::int64_t first, Columns full,
                      std::int64_t channel, std::int64_t place, bool fetch) {
  P sum[kLines][kTaps] = {};
  const std::int64_t tap = s.axis.tap_step * s.source_stride, low = s.axis.offset + first * s.axis.tap_step;
  for (std::int64_t row = 0; row < s.rows; ++row) {
    const T* y = s.y + row * s.y_row + channel;
    const T* source[kLines];
    WEFT_UNROLL
    for (int i = 0; i < kLines; ++i) source[i] = lines[i].source + row * s.source_row + channel;
    add_border(s, y, source, low, 0, full.begin, sum);
    for (std::int64_t o = full.begin; o < full.end; ++o) {
      const P value = get<P>(y + o * s.y_stride);
      const std::int64_t at = (low + o * s.axis.step) * s.source_stride;
      if (fetch) {
        const std::int64_t part = channel * s.axis.out * s.rows + (row * s.axis.out + o) * kLanes<T>;
        prefetch(s.y, s.rows * s.y_row + part, kVectorBytes);
        for (std::int64_t i = 0; i < s.fresh; ++i)
          prefetch(s.next_source, s.fresh * part + i * kLanes<T>, kVectorBytes);
      }
      WEFT_UNROLL
      for (int i = 0; i < kLines; ++i) {
        WEFT_UNROLL
        for (int t = 0; t < kTaps; ++t) {
          sum[i][t] = mul_add<T>(get<P>(source[i] + at + t * tap), value, sum[i][t]);
        }
      }
    }
    add_border(s, y, source, low, full.end, s.axis.out, sum);
  }
  WEFT_UNROLL
  for (int i = 0; i < kLines; ++i) {
    WEFT_UNROLL
    for (int t = 0; t < kTaps; ++t) {
      T* const to = lines[i].sums + (first + t) * s.width + place;
      put(to, get<P>(to) + sum[i][t]);
    }
  }
}

template <int kLines, int kTaps, class T>
void sum_taps(const DepthwiseSum<T>& s, const DepthwiseSumLine<T>* lines, std::int64_t first) {
  const bool fetch = s.fresh > 0 && lines == s.lines && first == 0 && s.channels >= kLanes<T>;
  const Columns full = full_columns(s.axis, first, kTaps);
  for_channels<T>(s.channels, [&](auto vector, std::int64_t channel, std::int64_t place) {
    sum_block<kLines, kTaps, decltype(vector)>(s, lines, first, full, channel, place, fetch);
  });
}

template <int kLines, class T>
void sum_lines(const DepthwiseSum<T>& s, const DepthwiseSumLine<T>* lines) {
  std::int64_t first = 0;
  for (; first + 3 <= s.axis.taps; first += 3) sum_taps<kLines, 3>(s, lines, first);
  if (s.axis.taps - first == 2) sum_taps<kLines, 2>(s, lines, first);
  if (s.axis.taps - first == 1) sum_taps<kLines, 1>(s, lines, first);
}

template <class T>
void sum_of(const DepthwiseSum<T>& s) {
  std::int64_t line = 0;
  for (; line + 3 <= s.line_count; line += 3) sum_lines<3>(s, s.lines + line);
  if (s.line_count - line == 2) sum_lines<2>(s, s.lines + line);
  if (s.line_count - line == 1) sum_lines<1>(s, s.lines + line);
}

}  // namespace

const DepthwiseKernels depthwise_kernels = {
    {row_of<float>, sum_of<float>}, {row_of<double>, sum_of<double>}, kVectorBytes};

}  // namespace weft::cpu::WEFT_ISA
