#pragma once

#include <cstdint>
#include <limits>

#include "cpu/runtime/simd.h"

// The inner parts of cpu/conv/winograd.cpp. A tile has e = tile + 2 numbers a side, so each transformed operand is e² =
// 16 or 36 matrices, one per place of the tile.
namespace weft::cpu {

/// Elements along the inner size of a left operand that lie together: its memory is (inner / kWinogradInner, rows,
/// kWinogradInner), so that the distance of rows is a constant that shares few cache sets.
inline constexpr int kWinogradInner = 64;

/// The bits of a number without its sign: infinity is above every finite number, and NaN above infinity.
template <class T>
struct MagnitudeOf;
template <>
struct MagnitudeOf<float> {
  using type = std::int32_t;
};
template <>
struct MagnitudeOf<double> {
  using type = std::int64_t;
};
template <class T>
using Magnitude = typename MagnitudeOf<T>::type;

/// The least and the largest of some magnitudes.
template <class T>
struct WinogradRange {
  Magnitude<T> least = std::numeric_limits<Magnitude<T>>::max(), most = 0;
};

/// One transformed tile: the matrices are `matrix` apart, blocks of kWinogradInner channels `block`. The channels that
/// fill a vector up are zeros.
template <class T>
struct WinogradPlace {
  T* data = nullptr;
  std::int64_t matrix = 0, block = 0;
};

/// The weights of one block of columns: out is (inner, width) for
/// each of e² matrices, width one or two vectors, its rest zeros. Tap t of
/// (inner, column) is at weight + t·tap + d·inner_step + c·column_step, one of the steps is 1, the taps are in order
/// or, with a negative one, weight is the last.
template <class T>
struct WinogradWeight {
  const T* weight = nullptr;
  std::int64_t tap = 0, inner_step = 0, column_step = 0;
  std::int64_t first = 0, last = 0;  ///< of the inner size, for this call
  std::int64_t columns = 0, width = 0, matrix = 0;
  T* out = nullptr;
};

/// out (rows, cols) = left·right or, with add, += it. Not transposed, left is in blocks (see kWinogradInner);
/// transposed, its element (row, inner) is at left + inner·left_step + row. Columns come in whole vectors.
template <class T>
struct WinogradProduct {
  std::int64_t rows = 0, cols = 0, inner = 0;
  const T* left = nullptr;
  std::int64_t left_step = 0;  ///< between blocks, or, transposed, along the inner size
  const T* right = nullptr;
  std::int64_t right_step = 0;
  T* out = nullptr;
  std::int64_t out_step = 0;
  bool add = false;
};

/// One tile of the output: place p of the tile at from + p·matrix, `rows` x `cols` of them are stored.
template <class T>
struct WinogradOutput {
  const T* from = nullptr;
  std::int64_t matrix = 0, channels = 0;
  const T* bias = nullptr;
  T* out = nullptr;
  std::int64_t row_step = 0, col_step = 0;
  int rows = 0, cols = 0;
};

template <class T>
struct WinogradSet {
  /// Bᵀ d B of the e² pixels, and A y Aᵀ of the tile² pixels, of `channels` each.
  void (*input)(const T* const* pixels, std::int64_t channels, const WinogradPlace<T>& place);
  void (*output_grad)(const T* const* pixels, std::int64_t channels, const WinogradPlace<T>& place);
  /// Returns the largest magnitude of its taps.
  Magnitude<T> (*weight)(const WinogradWeight<T>& weight);
  void (*output)(const WinogradOutput<T>& output);
  /// Gᵀ u G of one filter: place p at from + p·matrix, tap t to out + t·channels.
  void (*weight_grad)(const T* from, std::int64_t matrix, std::int64_t channels, T* out);
};

template <class T>
struct WinogradKernelsOf {
  WinogradSet<T> two, four;  // by tile
  void (*product)(const WinogradProduct<T>& product);
  void (*product_transposed)(const WinogradProduct<T>& product);
  /// out[i] = the largest magnitude of pixel i of `count`. Returns the least and the largest of them.
  WinogradRange<T> (*largest)(const T* pixels, std::int64_t count, std::int64_t channels, Magnitude<T>* out);
  /// The largest magnitude of `count` numbers.
  Magnitude<T> (*most)(const T* numbers, std::int64_t count);
};

struct WinogradKernels {
  WinogradKernelsOf<float> f32;
  WinogradKernelsOf<double> f64;
  int rows;          ///< most rows of a block of a left operand that is not transposed
  int vector_bytes;  ///< of a vector of columns
};

WEFT_SIMD_DECLARE(WinogradKernels, winograd_kernels)

}  // namespace weft::cpu
