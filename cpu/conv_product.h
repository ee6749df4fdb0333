#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "cpu/conv_gather.h"

namespace weft::cpu {

/// Columns times weight, added to `bias`, for each group: row (n, o...) goes to position first + o·step of an output
/// (n, extent..., channels), dense.
template <class T>
struct ConvProduct {
  ConvColumns columns;
  std::int64_t groups = 1;
  const T* source = nullptr;
  const T* weight = nullptr;  ///< from pack_weight
  const T* bias = nullptr;    ///< (groups, padded columns), see padded_columns
  T* out = nullptr;
  std::int64_t channels = 0;
  std::array<std::int64_t, 3> first{0, 0, 0}, step{1, 1, 1}, extent{1, 1, 1};
};

/// `columns` of a group, rounded up to whole vectors of this CPU.
template <class T>
std::int64_t padded_columns(std::int64_t columns);

/// Writes the taps that `columns` keeps as the kernel wants them, (groups, blocks of columns, depth, width): depth is
/// (tap, channel of the source), a column a channel of the output. Element (channel, column) of a tap lies at group·
/// group_stride + filter tap·tap_stride + channel·channel_stride + column·column_stride.
template <class T>
struct WeightLayout {
  const T* data = nullptr;
  std::int64_t group = 0, tap = 0, channel = 0, column = 0;  ///< strides
};
template <class T>
void pack_weight(const ConvColumns& columns, const std::array<std::int64_t, 3>& filter, std::int64_t groups,
                 std::int64_t group_columns, const WeightLayout<T>& layout, T* packed);

template <class T>
void run(const std::vector<ConvProduct<T>>& products);

}  // namespace weft::cpu
