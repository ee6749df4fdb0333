#include <cstdint>

#include "core/device/scalar_ops.h"
#include "cpu/array/pointwise_kernels.h"
#include "cpu/runtime/vector_math.h"

#ifdef __clang__
#pragma clang diagnostic ignored "-Wpass-failed"  // loops that call libm stay scalar
#endif

namespace weft::cpu::WEFT_ISA {
namespace {

template <class T>
T* row_of(const Tile& tile, int operand, std::int64_t row) {
  return static_cast<T*>(tile.data[operand]) + row * tile.row_stride[operand];
}

/// A tile for loops over vectors: rows that are shorter than one become columns.
template <class T>
Tile long_rows(const Tile& tile) {
  Tile result = tile;
  if (tile.n >= kLanes<T> || tile.n >= tile.rows) return result;
  result.n = tile.rows;
  result.rows = tile.n;
  for (int o = 0; o < Tile::kOperands; ++o) {
    result.stride[o] = tile.row_stride[o];
    result.row_stride[o] = tile.stride[o];
  }
  return result;
}

template <class Op, class T>
void unary_loop(const Tile& given) {
  using R = decltype(Op()(T()));
  const Tile tile = has_vector_function<Op, T, 1>() ? long_rows<T>(given) : given;
  const std::int64_t n = tile.n, out_stride = tile.stride[0], x_stride = tile.stride[1];
  for (std::int64_t row = 0; row < tile.rows; ++row) {
    R* out = row_of<R>(tile, 0, row);
    const T* x = row_of<T>(tile, 1, row);
    if constexpr (has_vector_function<Op, T, 1>()) {
      for (std::int64_t i = 0; i < n; i += kLanes<T>) {
        store_lanes(out + i * out_stride, out_stride, n - i,
                    vector_function(Op(), load_lanes(x + i * x_stride, x_stride, n - i)));
      }
    } else if (out_stride == 1 && x_stride == 1) {
      WEFT_INDEPENDENT
      for (std::int64_t i = 0; i < n; ++i) out[i] = Op()(x[i]);
    } else {
      for (std::int64_t i = 0; i < n; ++i) out[i * out_stride] = Op()(x[i * x_stride]);
    }
  }
}

template <class Op, class T>
void binary_loop(const Tile& given) {
  using R = decltype(Op()(T(), T()));
  const Tile tile = has_vector_function<Op, T, 2>() ? long_rows<T>(given) : given;
  const std::int64_t n = tile.n, out_stride = tile.stride[0], a_stride = tile.stride[1], b_stride = tile.stride[2];
  for (std::int64_t row = 0; row < tile.rows; ++row) {
    R* out = row_of<R>(tile, 0, row);
    const T* a = row_of<T>(tile, 1, row);
    const T* b = row_of<T>(tile, 2, row);
    if constexpr (has_vector_function<Op, T, 2>()) {
      for (std::int64_t i = 0; i < n; i += kLanes<T>) {
        store_lanes(out + i * out_stride, out_stride, n - i,
                    vector_function(Op(), load_lanes(a + i * a_stride, a_stride, n - i),
                                    load_lanes(b + i * b_stride, b_stride, n - i)));
      }
    } else if (out_stride == 1 && a_stride == 1 && b_stride == 1) {
      WEFT_INDEPENDENT
      for (std::int64_t i = 0; i < n; ++i) out[i] = Op()(a[i], b[i]);
    } else if (out_stride == 1 && a_stride == 1 && b_stride == 0) {
      const T scalar = *b;
      WEFT_INDEPENDENT
      for (std::int64_t i = 0; i < n; ++i) out[i] = Op()(a[i], scalar);
    } else if (out_stride == 1 && a_stride == 0 && b_stride == 1) {
      const T scalar = *a;
      WEFT_INDEPENDENT
      for (std::int64_t i = 0; i < n; ++i) out[i] = Op()(scalar, b[i]);
    } else {
      for (std::int64_t i = 0; i < n; ++i) out[i * out_stride] = Op()(a[i * a_stride], b[i * b_stride]);
    }
  }
}

/// yes where the condition is not 0 and no where it is, without a branch, for vectors. T is unsigned.
template <class T>
[[gnu::always_inline]] inline T choose(std::uint8_t condition, T yes, T no) {
  const T mask = static_cast<T>(-static_cast<T>(condition != 0));
  return static_cast<T>((yes & mask) | (no & ~mask));
}

template <class T>
void where_loop(const Tile& tile) {
  const std::int64_t n = tile.n;
  const std::int64_t* stride = tile.stride;
  for (std::int64_t row = 0; row < tile.rows; ++row) {
    T* out = row_of<T>(tile, 0, row);
    const std::uint8_t* condition = row_of<std::uint8_t>(tile, 1, row);  // bool, which does not vectorize
    const T* a = row_of<T>(tile, 2, row);
    const T* b = row_of<T>(tile, 3, row);
    if (stride[0] == 1 && stride[1] == 1 && stride[2] == 1 && stride[3] == 1) {
      WEFT_INDEPENDENT
      for (std::int64_t i = 0; i < n; ++i) out[i] = choose(condition[i], a[i], b[i]);
    } else if (stride[0] == 1 && stride[1] == 1 && stride[2] == 1 && stride[3] == 0) {
      const T no = *b;
      WEFT_INDEPENDENT
      for (std::int64_t i = 0; i < n; ++i) out[i] = choose(condition[i], a[i], no);
    } else if (stride[0] == 1 && stride[1] == 1 && stride[2] == 0 && stride[3] == 1) {
      const T yes = *a;
      WEFT_INDEPENDENT
      for (std::int64_t i = 0; i < n; ++i) out[i] = choose(condition[i], yes, b[i]);
    } else {
      for (std::int64_t i = 0; i < n; ++i) {
        out[i * stride[0]] = choose(condition[i * stride[1]], a[i * stride[2]], b[i * stride[3]]);
      }
    }
  }
}

}  // namespace

// One row of a table per op, in the order of the enumerations; columns as in tile.h. Booleans, stored as 0 and 1, are
// compared as u8.
#define WEFT_FLOAT_ROW(LOOP, OP) \
  {nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, LOOP<scalar::OP, float>, LOOP<scalar::OP, double>},
#define WEFT_NUMERIC_ROW(LOOP, OP)                                                                                   \
  {nullptr, LOOP<scalar::OP, std::uint8_t>, LOOP<scalar::OP, std::int32_t>, LOOP<scalar::OP, std::int64_t>, nullptr, \
   nullptr, LOOP<scalar::OP, float>,        LOOP<scalar::OP, double>},
#define WEFT_PREDICATE_ROW(LOOP, OP) \
  {LOOP<scalar::OP, std::uint8_t>,   \
   LOOP<scalar::OP, std::uint8_t>,   \
   LOOP<scalar::OP, std::int32_t>,   \
   LOOP<scalar::OP, std::int64_t>,   \
   nullptr,                          \
   nullptr,                          \
   LOOP<scalar::OP, float>,          \
   LOOP<scalar::OP, double>},
#define WEFT_UNARY_NUMERIC_ROW(OP) WEFT_NUMERIC_ROW(unary_loop, OP)
#define WEFT_UNARY_FLOAT_ROW(OP) WEFT_FLOAT_ROW(unary_loop, OP)
#define WEFT_UNARY_PREDICATE_ROW(OP) WEFT_PREDICATE_ROW(unary_loop, OP)
#define WEFT_BINARY_NUMERIC_ROW(OP) WEFT_NUMERIC_ROW(binary_loop, OP)
#define WEFT_BINARY_FLOAT_ROW(OP) WEFT_FLOAT_ROW(binary_loop, OP)
#define WEFT_BINARY_PREDICATE_ROW(OP) WEFT_PREDICATE_ROW(binary_loop, OP)

const ElementwiseKernels elementwise_kernels = {
    {WEFT_UNARY_NUMERIC(WEFT_UNARY_NUMERIC_ROW) WEFT_UNARY_FLOAT(WEFT_UNARY_FLOAT_ROW)
         WEFT_UNARY_PREDICATE(WEFT_UNARY_PREDICATE_ROW)},
    {WEFT_BINARY_NUMERIC(WEFT_BINARY_NUMERIC_ROW) WEFT_BINARY_FLOAT(WEFT_BINARY_FLOAT_ROW)
         WEFT_BINARY_PREDICATE(WEFT_BINARY_PREDICATE_ROW)},
    {where_loop<std::uint8_t>, where_loop<std::uint16_t>, where_loop<std::uint32_t>, where_loop<std::uint64_t>},
};

}  // namespace weft::cpu::WEFT_ISA
