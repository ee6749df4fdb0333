#pragma once

#include <cstdint>

#include "cpu/array/chains.h"
#include "cpu/runtime/simd.h"

// The inner part of a convolution's products, as cpu/matmul/gemm.h's kernel but with rows that are copied from a
// channels-last source tap by tap: columns never exist but as one panel in the first-level cache.
namespace weft::cpu {

/// Columns [inner, inner + length) of a panel: for rows [first_row, end_row) the values at source + row·source_stride,
/// for the others zeros.
struct ConvRun {
  std::int64_t source = 0, inner = 0, length = 0;
  std::int64_t first_row = 0, end_row = 0;
};

/// out (rows, cols) = start + columns·weight, over the columns in `runs`, at most kConvInner of them.
template <class T>
struct ConvPanel {
  const ConvRun* runs = nullptr;
  std::int64_t run_count = 0;
  std::int64_t first_chain =
      0;  ///< runs whose products are one chain (cpu/array/chains.h); those of the others are another
  const T* source = nullptr;
  std::int64_t rows = 0, source_stride = 0;
  const T* weight = nullptr;  ///< blocks of two vectors of columns, the last one or two, each (weight_inner, width)
  std::int64_t weight_inner = 0;
  const T* start = nullptr;  ///< stride 0: a row padded to whole blocks; else the stride is out's and start is out
  std::int64_t start_stride = 0;
  T* out = nullptr;
  std::int64_t out_stride = 0, cols = 0;
  T* workspace = nullptr;  ///< kConvWorkspace bytes
};

/// Rows of a sum: values at source + i·source_stride and y + i·y_stride, i in [0, rows).
struct ConvRows {
  std::int64_t source = 0, y = 0, rows = 0;
};

/// sum (channels, cols) += Σ over the rows, at most kChain of them, of sourceᵀ·y.
template <class T>
struct ConvSum {
  const ConvRows* runs = nullptr;
  std::int64_t run_count = 0;
  const T* source = nullptr;
  const T* y = nullptr;
  std::int64_t source_stride = 0, y_stride = 0;
  std::int64_t channels = 0, cols = 0;
  T* sum = nullptr;
  std::int64_t sum_stride = 0;  ///< cols rounded up to whole vectors, at least
};

inline constexpr int kConvInner = 384, kConvRows = 14;
inline constexpr std::int64_t kConvWorkspace = std::int64_t{kConvRows} * (kConvInner + 16) * 8;

template <class T>
struct ConvKernelsOf {
  void (*panel)(const ConvPanel<T>& panel);
  void (*sum)(const ConvSum<T>& sum);
};

struct ConvKernels {
  ConvKernelsOf<float> f32;
  ConvKernelsOf<double> f64;
  int rows;          ///< most rows of a panel
  int vector_bytes;  ///< of a vector of columns
};

WEFT_SIMD_DECLARE(ConvKernels, conv_kernels)

}  // namespace weft::cpu
