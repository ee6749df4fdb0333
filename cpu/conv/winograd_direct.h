#pragma once

#include <vector>

#include "cpu/conv/winograd_tiles.h"

// Direct products of the tiles that Winograd's algorithm would not compute within its promise
// (cpu/conv/winograd_fit.h).
namespace weft::cpu::tiles {

/// The numbers of the tiles marked by 1, in order.
std::vector<std::int64_t> list_tiles(const std::uint8_t* marks, std::int64_t count);

/// A convolution (n, in, inner) -> (n, out, columns) cut into tiles. The weight is laid out as `from` says; bias may be
/// null.
template <class T>
struct DirectProduct {
  Grid grid;
  std::int64_t inner = 0, columns = 0;
  const T *source = nullptr, *zeros = nullptr;  ///< zeros: `inner` of them
  const T* bias = nullptr;
  T* out = nullptr;
  WinogradWeight<T> from;
};

/// Computes the outputs of these tiles.
template <class T>
void multiply_tiles(const DirectProduct<T>& product, const std::vector<std::int64_t>& tiles);

/// weight_grad (k, 3, 3, c) += the part of these tiles, in order.
template <class T>
void add_weight_grad_tiles(const Grid& grid, const ConvShape& shape, const T* y_grad, const T* x,
                           const std::vector<std::int64_t>& tiles, T* weight_grad);

}  // namespace weft::cpu::tiles
