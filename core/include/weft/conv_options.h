#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "weft/conv_algo.h"
#include "weft/shape.h"

/// The options of convolution, for one, two or three spatial axes: length; height, width; depth, height, width.
namespace weft {

/// A number for each spatial axis; one number stands for all of them.
template <int N>
struct PerAxis : std::array<std::int64_t, static_cast<std::size_t>(N)> {
  static_assert(N >= 1 && N <= 3);
  // NOLINTBEGIN(google-explicit-constructor): .stride = 2, .stride = {2, 1}
  PerAxis(std::int64_t all) { this->fill(all); }
  PerAxis(std::int64_t height, std::int64_t width) requires(N == 2) : std::array<std::int64_t, 2>{height, width} {}
  PerAxis(std::int64_t depth, std::int64_t height, std::int64_t width) requires(N == 3)
      : std::array<std::int64_t, 3>{depth, height, width} {}
  PerAxis(const std::array<std::int64_t, static_cast<std::size_t>(N)>& each)
      : std::array<std::int64_t, static_cast<std::size_t>(N)>(each) {}
  // NOLINTEND(google-explicit-constructor)
};

struct Sides {
  std::int64_t before, after;
};

/// valid: no padding. same: the padding that keeps the input's sizes at stride 1, with an odd amount's rest at the end.
enum class PaddingRule { valid, same };

/// The amounts added around the spatial axes: one number, one per axis, a {before, after} per axis, or a rule.
template <int N>
struct Padding {
  PerAxis<N> before = 0, after = 0;
  bool same = false;  ///< the amounts follow from the kernel

  // NOLINTBEGIN(google-explicit-constructor): .padding = 1, .padding = {1, 0}, .padding = {{1, 2}, {0, 0}}
  Padding(std::int64_t all) : before(all), after(all) {}
  Padding(const PerAxis<N>& each) : before(each), after(each) {}
  Padding(PaddingRule rule) : same(rule == PaddingRule::same) {}
  Padding(std::int64_t height, std::int64_t width) requires(N == 2) : before(height, width), after(height, width) {}
  Padding(std::int64_t depth, std::int64_t height, std::int64_t width) requires(N == 3)
      : before(depth, height, width), after(depth, height, width) {}
  Padding(Sides length) requires(N == 1) : before(length.before), after(length.after) {}
  Padding(Sides height, Sides width) requires(N == 2)
      : before(height.before, width.before), after(height.after, width.after) {}
  Padding(Sides depth, Sides height, Sides width) requires(N == 3)
      : before(depth.before, height.before, width.before), after(depth.after, height.after, width.after) {}
  // NOLINTEND(google-explicit-constructor)
};

/// The values that pad puts around a tensor: a constant, its mirror image without the edge, its edge, or its other end.
enum class PadMode { constant, reflect, replicate, circular };

template <int N>
struct ConvOptions {
  PerAxis<N> stride = 1;
  Padding<N> padding = 0;
  PerAxis<N> dilation = 1;
  std::int64_t groups = 1;
  PadMode padding_mode = PadMode::constant;  ///< constant: zeros
  ConvAlgo algo = ConvAlgo::automatic;       ///< of the convolution and its gradients
};
using Conv1dOptions = ConvOptions<1>;
using Conv2dOptions = ConvOptions<2>;
using Conv3dOptions = ConvOptions<3>;

template <int N>
struct ConvTransposeOptions {
  PerAxis<N> stride = 1;
  Padding<N> padding = 0;         ///< cut off the result; the padding of the convolution in the other direction
  PerAxis<N> output_padding = 0;  ///< added to the sizes at the end; less than the stride or the dilation
  std::int64_t groups = 1;
  PerAxis<N> dilation = 1;
  ConvAlgo algo = ConvAlgo::automatic;  ///< of the convolution and its gradients
};
using ConvTranspose1dOptions = ConvTransposeOptions<1>;
using ConvTranspose2dOptions = ConvTransposeOptions<2>;
using ConvTranspose3dOptions = ConvTransposeOptions<3>;

/// Throws ValueError, with the name of the function or layer `owner`, on a kernel or on options that fit no input:
/// "conv2d: stride (0, 1) must be positive". The functions and the layers call the same check.
template <int N>
void check_options(std::string_view owner, const PerAxis<N>& kernel, const ConvOptions<N>& options);
template <int N>
void check_options(std::string_view owner, const PerAxis<N>& kernel, const ConvTransposeOptions<N>& options);
/// Throws ValueError, with the name `owner`, unless the channels are positive and the positive number of groups divides
/// both.
void check_channels(std::string_view owner, std::int64_t in_channels, std::int64_t out_channels, std::int64_t groups);

/// How im2col's windows lie; one number stands for all axes.
struct WindowOptions {
  Dims stride = {1};
  Dims padding = {0};  ///< zeros on both sides
  Dims dilation = {1};
};
/// The order of a row's columns: by channel, then by place in the window, or the other way round.
enum class ColumnOrder { crs, rsc };

}  // namespace weft
