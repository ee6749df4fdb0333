#pragma once

#include "core/device/backend.h"
#include "core/device/convert.h"

// Convolution by its definition, compiled for every device: an element of each pass in plain loops, its products and
// sum in double. What every other algorithm is tested against.
namespace weft::reference {

/// An element of a channels-last array (image, size..., channels); of the weight, the filter is the image.
struct Position {
  std::int64_t image, at[3], channel;
};

WEFT_SCALAR Position position_of(std::int64_t index, const std::array<std::int64_t, 3>& size, std::int64_t channels) {
  Position position{};
  position.channel = index % channels;
  index /= channels;
  for (int d = 2; d >= 0; --d) {
    const std::int64_t extent = size[static_cast<std::size_t>(d)];
    position.at[d] = index % extent;
    index /= extent;
  }
  position.image = index;
  return position;
}

WEFT_SCALAR std::int64_t index_of(const Position& p, const std::array<std::int64_t, 3>& size, std::int64_t channels) {
  return (((p.image * size[0] + p.at[0]) * size[1] + p.at[1]) * size[2] + p.at[2]) * channels + p.channel;
}

template <class A, class B>
WEFT_SCALAR double product(A a, B b) {
  return scalar::convert<double>(a) * scalar::convert<double>(b);
}

/// Moves x to what a tap reads for an output; false where that is padding.
WEFT_SCALAR bool read(const ConvShape& s, const Position& output, const Position& tap, Position& x) {
  for (int d = 0; d < 3; ++d) {
    const auto i = static_cast<std::size_t>(d);
    x.at[d] = output.at[d] * s.stride[i] - s.padding[i] + tap.at[d] * s.dilation[i];
    if (x.at[d] < 0 || x.at[d] >= s.in[i]) return false;
  }
  return true;
}

/// Moves y to the output for which a tap reads x; false where there is none.
WEFT_SCALAR bool written(const ConvShape& s, const Position& x, const Position& tap, Position& y) {
  for (int d = 0; d < 3; ++d) {
    const auto i = static_cast<std::size_t>(d);
    const std::int64_t steps = x.at[d] + s.padding[i] - tap.at[d] * s.dilation[i];
    y.at[d] = steps / s.stride[i];
    if (steps < 0 || steps % s.stride[i] != 0 || y.at[d] >= s.out[i]) return false;
  }
  return true;
}

/// Element `index` of y; bias may be null.
template <class T, class P>
WEFT_SCALAR double forward(const ConvShape& s, const T* x, const P* weight, const P* bias, std::int64_t index) {
  const Position y = position_of(index, s.out, s.k);
  const std::int64_t channels = s.c / s.groups, first = y.channel / (s.k / s.groups) * channels;
  double sum = bias != nullptr ? scalar::convert<double>(bias[y.channel]) : 0;
  Position tap{y.channel, {}, 0}, source{y.image, {}, 0};
  for (tap.at[0] = 0; tap.at[0] < s.filter[0]; ++tap.at[0]) {
    for (tap.at[1] = 0; tap.at[1] < s.filter[1]; ++tap.at[1]) {
      for (tap.at[2] = 0; tap.at[2] < s.filter[2]; ++tap.at[2]) {
        if (!read(s, y, tap, source)) continue;
        for (tap.channel = 0; tap.channel < channels; ++tap.channel) {
          source.channel = first + tap.channel;
          sum += product(x[index_of(source, s.in, s.c)], weight[index_of(tap, s.filter, channels)]);
        }
      }
    }
  }
  return sum;
}

/// Element `index` of the gradient of x.
template <class T, class P>
WEFT_SCALAR double input_grad(const ConvShape& s, const T* y_grad, const P* weight, std::int64_t index) {
  const Position x = position_of(index, s.in, s.c);
  const std::int64_t channels = s.c / s.groups, filters = s.k / s.groups, first = x.channel / channels * filters;
  double sum = 0;
  Position tap{0, {}, x.channel % channels}, y{x.image, {}, 0};
  for (tap.at[0] = 0; tap.at[0] < s.filter[0]; ++tap.at[0]) {
    for (tap.at[1] = 0; tap.at[1] < s.filter[1]; ++tap.at[1]) {
      for (tap.at[2] = 0; tap.at[2] < s.filter[2]; ++tap.at[2]) {
        if (!written(s, x, tap, y)) continue;
        for (tap.image = first; tap.image < first + filters; ++tap.image) {
          y.channel = tap.image;
          sum += product(y_grad[index_of(y, s.out, s.k)], weight[index_of(tap, s.filter, channels)]);
        }
      }
    }
  }
  return sum;
}

/// Element `index` of the gradient of the weight.
template <class T>
WEFT_SCALAR double weight_grad(const ConvShape& s, const T* y_grad, const T* x, std::int64_t index) {
  const std::int64_t channels = s.c / s.groups;
  const Position tap = position_of(index, s.filter, channels);
  double sum = 0;
  Position y{0, {}, tap.image}, source{0, {}, tap.image / (s.k / s.groups) * channels + tap.channel};
  for (y.image = 0; y.image < s.n; ++y.image) {
    source.image = y.image;
    for (y.at[0] = 0; y.at[0] < s.out[0]; ++y.at[0]) {
      for (y.at[1] = 0; y.at[1] < s.out[1]; ++y.at[1]) {
        for (y.at[2] = 0; y.at[2] < s.out[2]; ++y.at[2]) {
          if (!read(s, y, tap, source)) continue;
          sum += product(y_grad[index_of(y, s.out, s.k)], x[index_of(source, s.in, s.c)]);
        }
      }
    }
  }
  return sum;
}

}  // namespace weft::reference
