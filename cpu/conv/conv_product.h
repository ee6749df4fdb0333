#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/device/conv_plan.h"
#include "cpu/runtime/threads.h"

namespace weft::cpu {

template <class T>
T* conv_scratch(ScratchSlot slot, std::int64_t count) {
  return static_cast<T*>(scratch(slot, static_cast<std::size_t>(count) * sizeof(T)));
}

/// `columns` of a group, rounded up to whole vectors of this CPU.
template <class T>
std::int64_t padded_columns(std::int64_t columns);

/// Where the filter's element (group, filter tap, source channel, output channel) lies: strides of each.
template <class T>
struct WeightLayout {
  const T* data = nullptr;
  std::int64_t group = 0, tap = 0, channel = 0, column = 0;
};

/// Writes the taps that `columns` keeps as ConvPanel wants them, group by group: groups · padded_columns(group_columns)
/// · inner values, where the inner index is (tap, channel).
template <class T>
void pack_weight(const ConvColumns& columns, const std::array<std::int64_t, 3>& filter, std::int64_t groups,
                 std::int64_t group_columns, const WeightLayout<T>& layout, T* packed);

/// Columns · weight + bias, for each group; row (n, o...) goes to position first + o·step of out (n, extent...,
/// channels).
template <class T>
struct ConvProduct {
  ConvColumns columns;
  std::int64_t groups = 1;
  const T* source = nullptr;
  const T* weight = nullptr;  ///< from pack_weight
  const T* bias = nullptr;    ///< (groups, padded_columns)
  T* out = nullptr;
  std::int64_t channels = 0;
  std::array<std::int64_t, 3> first{0, 0, 0}, step{1, 1, 1}, extent{1, 1, 1};
};

/// All of them, in one parallel region.
template <class T>
void multiply_products(const std::vector<ConvProduct<T>>& products);

template <class T>
void conv_weight_grad(const ConvShape& shape, const T* y_grad, const T* x, T* weight_grad);

}  // namespace weft::cpu
