#include "cpu/conv_gather.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace weft::cpu {
std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return a > 0 ? (a - 1) / b + 1 : -(-a / b); }

std::int64_t even_part(std::int64_t total, std::int64_t most) {
  return total == 0 ? 1 : ceil_div(total, ceil_div(total, most));
}

Range inside(std::int64_t first, std::int64_t step, std::int64_t count, std::int64_t size) {
  const std::int64_t begin = std::clamp<std::int64_t>(ceil_div(-first, step), 0, count);
  return {begin, std::clamp(ceil_div(size - first, step), begin, count)};
}

namespace {

/// Drops the taps at either end that no output reads inside the source.
TapAxis trim(TapAxis axis) {
  const auto reads_source = [&](std::int64_t tap) {
    const std::int64_t first = axis.offset + tap * axis.tap_step;
    const std::int64_t o = std::max<std::int64_t>(0, ceil_div(-first, axis.step));
    return o < axis.out && first + o * axis.step < axis.in;
  };
  std::int64_t begin = 0, end = axis.taps;
  while (begin < end && !reads_source(begin)) ++begin;
  while (end > begin && !reads_source(end - 1)) --end;
  return axis.slice(begin, end - begin);
}

/// Positions first + i·stride of x. Output p contributes through tap r where p·stride + r·dilation = position + padding,
/// so the taps that hit are r = r0 + m·(stride / g), g = gcd(stride, dilation), and p falls by dilation / g from one to
/// the next: listed backwards they walk up the output.
TapAxis phase_axis(const ConvShape& shape, std::size_t d, std::int64_t first) {
  const std::int64_t stride = shape.stride[d], dilation = shape.dilation[d];
  const std::int64_t common = std::gcd(stride, dilation), spacing = stride / common;
  TapAxis axis;
  axis.out = ceil_div(shape.in[d] - first, stride);
  axis.in = shape.out[d];
  axis.taps = 0;
  const std::int64_t limit = std::min(spacing, shape.filter[d]);
  for (std::int64_t r0 = 0; r0 < limit; ++r0) {
    const std::int64_t distance = first + shape.padding[d] - r0 * dilation;
    if (distance % stride != 0) continue;
    axis.taps = (shape.filter[d] - 1 - r0) / spacing + 1;
    axis.tap_step = dilation / common;
    axis.offset = distance / stride - (axis.taps - 1) * axis.tap_step;
    axis.tap_stride = -spacing;
    axis.first_tap = r0 + (axis.taps - 1) * spacing;
    break;
  }
  return trim(axis);
}

/// One output position's taps along the last axis: `taps` pieces of `channels` values, `source` at position 0.
template <class T>
void gather_run(const TapAxis& axis, std::int64_t position, const T* source, std::int64_t source_channels,
                std::int64_t channels, T* out) {
  if (axis.tap_step == 1 && channels == source_channels) {  // one run, clipped at the borders
    const std::int64_t begin = std::clamp<std::int64_t>(-position, 0, axis.taps);
    const std::int64_t end = std::clamp<std::int64_t>(axis.in - position, begin, axis.taps);
    std::fill(out, out + begin * channels, T(0));
    std::copy_n(source + (position + begin) * channels, (end - begin) * channels, out + begin * channels);
    std::fill(out + end * channels, out + axis.taps * channels, T(0));
    return;
  }
  for (std::int64_t tap = 0; tap < axis.taps; ++tap, position += axis.tap_step, out += channels) {
    if (position >= 0 && position < axis.in) {
      std::copy_n(source + position * source_channels, channels, out);
    } else {
      std::fill_n(out, channels, T(0));
    }
  }
}

}  // namespace

TapAxis TapAxis::slice(std::int64_t tap, std::int64_t count) const {
  TapAxis part = *this;
  part.taps = count;
  part.offset += tap * tap_step;
  part.first_tap += tap * tap_stride;
  return part;
}

ConvColumns forward_columns(const ConvShape& shape) {
  ConvColumns columns{shape.n, shape.c, {}};
  for (std::size_t d = 0; d < 3; ++d) {
    TapAxis axis;
    axis.out = shape.out[d];
    axis.in = shape.in[d];
    axis.taps = shape.filter[d];
    axis.step = shape.stride[d];
    axis.offset = -shape.padding[d];
    axis.tap_step = shape.dilation[d];
    columns.axes[d] = trim(axis);
  }
  return columns;
}

std::vector<ConvPhase> input_grad_phases(const ConvShape& shape) {
  std::array<std::vector<TapAxis>, 3> axes;
  for (std::size_t d = 0; d < 3; ++d) {
    for (std::int64_t first = 0; first < std::min(shape.stride[d], shape.in[d]); ++first) {
      axes[d].push_back(phase_axis(shape, d, first));
    }
  }
  std::vector<ConvPhase> phases;
  for (std::size_t i = 0; i < axes[0].size(); ++i) {
    for (std::size_t j = 0; j < axes[1].size(); ++j) {
      for (std::size_t k = 0; k < axes[2].size(); ++k) {
        phases.push_back({{static_cast<std::int64_t>(i), static_cast<std::int64_t>(j), static_cast<std::int64_t>(k)},
                          {shape.n, shape.k, {axes[0][i], axes[1][j], axes[2][k]}}});
      }
    }
  }
  return phases;
}

std::int64_t direct_row_stride(const ConvColumns& columns, std::int64_t groups) {
  std::int64_t stride = columns.channels;
  int d = 2;
  for (; d >= 0; --d) {  // inner axes of which every row reads all
    const TapAxis& axis = columns.axes[static_cast<std::size_t>(d)];
    if (axis.out != 1 || axis.taps != axis.in || axis.offset != 0 || (axis.taps > 1 && axis.tap_step != 1)) break;
    stride *= axis.in;
  }
  if (groups > 1 && stride != columns.channels) return 0;
  for (; d >= 0; --d) {  // outer axes of which row i reads position i
    const TapAxis& axis = columns.axes[static_cast<std::size_t>(d)];
    if (axis.taps != 1 || axis.offset != 0 || axis.out != axis.in || (axis.out > 1 && axis.step != 1)) return 0;
  }
  return stride;
}

template <class T>
void gather_columns(const ConvColumns& columns, const T* source, std::int64_t first_row, std::int64_t rows,
                    std::int64_t first_channel, std::int64_t channels, T* out) {
  const auto& [depth, height, width] = columns.axes;
  const std::int64_t run = width.taps * channels, plane = height.taps * run;
  const std::int64_t line = width.in * columns.channels;
  std::int64_t row = first_row;
  while (row < first_row + rows) {
    const std::int64_t w_begin = row % width.out, h = row / width.out % height.out;
    const std::int64_t d = row / width.out / height.out % depth.out, n = row / width.out / height.out / depth.out;
    const std::int64_t w_end = std::min(width.out, w_begin + first_row + rows - row);
    const T* image = source + n * depth.in * height.in * line + first_channel;
    for (std::int64_t i = 0; i < depth.taps; ++i) {
      const std::int64_t z = d * depth.step + depth.offset + i * depth.tap_step;
      for (std::int64_t j = 0; j < height.taps; ++j) {
        const std::int64_t y = h * height.step + height.offset + j * height.tap_step;
        T* target = out + i * plane + j * run;
        if (z < 0 || z >= depth.in || y < 0 || y >= height.in) {
          for (std::int64_t w = w_begin; w < w_end; ++w, target += depth.taps * plane) std::fill_n(target, run, T(0));
          continue;
        }
        const T* start = image + (z * height.in + y) * line;
        for (std::int64_t w = w_begin; w < w_end; ++w, target += depth.taps * plane) {
          gather_run(width, w * width.step + width.offset, start, columns.channels, channels, target);
        }
      }
    }
    out += (w_end - w_begin) * depth.taps * plane;
    row += w_end - w_begin;
  }
}

std::int64_t rows_per_tile(std::int64_t rows, std::int64_t row_bytes) {
  constexpr std::int64_t kTileBytes = 512 << 10, kStep = 32;
  const std::int64_t wanted = std::clamp<std::int64_t>(kTileBytes / std::max<std::int64_t>(1, row_bytes), 256, 1024);
  const std::int64_t tiles = std::max(ceil_div(rows, wanted), std::min<std::int64_t>(4, rows / 64));
  return ceil_div(ceil_div(rows, std::max<std::int64_t>(1, tiles)), kStep) * kStep;
}

template void gather_columns<float>(const ConvColumns&, const float*, std::int64_t, std::int64_t, std::int64_t,
                                    std::int64_t, float*);
template void gather_columns<double>(const ConvColumns&, const double*, std::int64_t, std::int64_t, std::int64_t,
                                     std::int64_t, double*);

}  // namespace weft::cpu
