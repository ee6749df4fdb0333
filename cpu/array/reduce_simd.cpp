#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/device/scalar_ops.h"
#include "cpu/array/float_sums.h"
#include "cpu/array/reduce_kernels.h"
#include "cpu/runtime/vec.h"

namespace weft::cpu::WEFT_ISA {
namespace {

// Rows and columns are taken 64 bytes at a time on every instruction set, so that sums have the same bits on all of
// them, but in vectors of the set: compilers take wider ones apart into elements.
constexpr int kParts = 64 / kVectorBytes;
template <class T>
inline constexpr int kWide = 64 / static_cast<int>(sizeof(T));

template <class T>
constexpr T lowest() {
  if constexpr (scalar::kIsFloat<T>) {
    return -static_cast<T>(__builtin_inf());
  } else {
    return std::is_signed_v<T> ? static_cast<T>(std::uint64_t{1} << (8 * sizeof(T) - 1)) : T(0);
  }
}

struct Sum {
  template <class T>
  static constexpr T identity() {
    return T(0);
  }
  template <class T>
  [[gnu::always_inline]] static void combine(T& a, T b) {
    a = scalar::add()(a, b);
  }
  template <class T>
  [[gnu::always_inline]] static void combine_vector(Vec<T>& a, Vec<T> b) {
    using W = Vec<scalar::wrap_t<T>>;
    a = (Vec<T>)((W)a + (W)b);
  }
};

struct Max {
  template <class T>
  static constexpr T identity() {
    return lowest<T>();
  }
  template <class T>
  [[gnu::always_inline]] static void combine(T& a, T b) {
    a = scalar::maximum()(a, b);
  }
  template <class T>
  [[gnu::always_inline]] static void combine_vector(Vec<T>& a, Vec<T> b) {
    a = ((a > b) | (a != a)) ? a : b;
  }
  template <class T>
  [[gnu::always_inline]] static bool better(T a, T b) {
    return a > b;
  }
};

struct Min {
  template <class T>
  static constexpr T identity() {
    if constexpr (scalar::kIsFloat<T>) return -lowest<T>();
    return static_cast<T>(~static_cast<std::int64_t>(lowest<T>()));
  }
  template <class T>
  [[gnu::always_inline]] static void combine(T& a, T b) {
    a = scalar::minimum()(a, b);
  }
  template <class T>
  [[gnu::always_inline]] static void combine_vector(Vec<T>& a, Vec<T> b) {
    a = ((a < b) | (a != a)) ? a : b;
  }
  template <class T>
  [[gnu::always_inline]] static bool better(T a, T b) {
    return a < b;
  }
};

/// The next elements from x on into `count` vectors.
template <class Op, class T, int count>
[[gnu::always_inline]] inline void combine_next(Vec<T> (&sums)[count], const T* x) {
  WEFT_UNROLL
  for (int k = 0; k < count; ++k) Op::template combine_vector<T>(sums[k], load(x + k * kLanes<T>));
}

template <class T>
T* row_of(const Tile& tile, int operand, std::int64_t row) {
  return static_cast<T*>(tile.data[operand]) + row * tile.row_stride[operand];
}

/// Partial results, combined as a binary tree.
template <class Op, class T, int count>
[[gnu::always_inline]] inline T combine_lanes(T (&lanes)[count]) {
  for (int half = count / 2; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) Op::combine(lanes[l], lanes[l + half]);
  }
  return lanes[0];
}

template <class Op, class T>
[[gnu::always_inline]] inline T reduce_row(const T* x, std::int64_t n, std::int64_t stride) {
  constexpr int width = kWide<T>;
  if (stride == 1 && n >= width) {
    Vec<T> sums[4 * kParts];
    WEFT_UNROLL
    for (Vec<T>& sum : sums) sum = splat(Op::template identity<T>());
    std::int64_t i = 0;
    for (; i + 4 * width <= n; i += 4 * width) combine_next<Op, T>(sums, x + i);
    for (; i + width <= n; i += width) {
      WEFT_UNROLL
      for (int k = 0; k < kParts; ++k) Op::template combine_vector<T>(sums[k], load(x + i + k * kLanes<T>));
    }
    WEFT_UNROLL
    for (int k = 0; k < kParts; ++k) {
      Op::template combine_vector<T>(sums[k], sums[kParts + k]);
      Op::template combine_vector<T>(sums[2 * kParts + k], sums[3 * kParts + k]);
      Op::template combine_vector<T>(sums[k], sums[2 * kParts + k]);
    }
    T lanes[width];
    std::memcpy(lanes, sums, sizeof lanes);
    for (int l = 0; i < n; ++i, ++l) Op::combine(lanes[l], x[i]);
    return combine_lanes<Op>(lanes);
  }
  T lanes[8];
  for (T& lane : lanes) lane = Op::template identity<T>();
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int l = 0; l < 8; ++l) Op::combine(lanes[l], x[(i + l) * stride]);
  }
  for (int l = 0; i < n; ++i, ++l) Op::combine(lanes[l], x[i * stride]);
  return combine_lanes<Op>(lanes);
}

template <class Op, class T, class Out = T>
void rows_loop(const Tile& tile) {
  for (std::int64_t row = 0; row < tile.rows; ++row) {
    *row_of<Out>(tile, 0, row) =
        static_cast<Out>(reduce_row<Op>(row_of<const T>(tile, 1, row), tile.n, tile.stride[1]));
  }
}

/// kVectors times 64 bytes of adjacent columns, each column from its first row to its last.
template <class Op, class T, class Out, int kVectors>
[[gnu::always_inline]] inline void wide_columns(const Tile& tile, std::int64_t column) {
  constexpr int width = kWide<T>;
  Vec<T> sums[kVectors * kParts];
  WEFT_UNROLL
  for (Vec<T>& sum : sums) sum = splat(Op::template identity<T>());
  for (std::int64_t row = 0; row < tile.rows; ++row) combine_next<Op, T>(sums, row_of<const T>(tile, 1, row) + column);
  T values[kVectors * width];
  std::memcpy(values, sums, sizeof values);
  Out* out = static_cast<Out*>(tile.data[0]) + column * tile.stride[0];
  for (int l = 0; l < kVectors * width; ++l) out[l * tile.stride[0]] = static_cast<Out>(values[l]);
}

/// Up to eight columns of any stride.
template <class Op, class T, class Out>
[[gnu::always_inline]] inline void few_columns(const Tile& tile, std::int64_t column, int count) {
  const std::int64_t stride = tile.stride[1];
  T lanes[8];
  for (T& lane : lanes) lane = Op::template identity<T>();
  for (std::int64_t row = 0; row < tile.rows; ++row) {
    const T* x = row_of<const T>(tile, 1, row) + column * stride;
    for (int l = 0; l < count; ++l) Op::combine(lanes[l], x[l * stride]);
  }
  Out* out = static_cast<Out*>(tile.data[0]) + column * tile.stride[0];
  for (int l = 0; l < count; ++l) out[l * tile.stride[0]] = static_cast<Out>(lanes[l]);
}

template <class Op, class T, class Out = T>
void columns_loop(const Tile& tile) {
  constexpr int width = kWide<T>;
  const std::int64_t n = tile.n;
  std::int64_t column = 0;
  if (tile.stride[1] == 1) {
    for (; column + 4 * width <= n; column += 4 * width) wide_columns<Op, T, Out, 4>(tile, column);
    for (; column + width <= n; column += width) wide_columns<Op, T, Out, 1>(tile, column);
  }
  for (; column + 8 <= n; column += 8) few_columns<Op, T, Out>(tile, column, 8);
  if (column < n) few_columns<Op, T, Out>(tile, column, static_cast<int>(n - column));
}

/// The first block of 256 bytes with an element equal to `best`, or NaN where `best` is.
template <class T>
[[gnu::always_inline]] inline std::int64_t find_block(const T* x, std::int64_t n, T best) {
  constexpr int width = kWide<T>;
  const bool nan = best != best;
  std::int64_t i = 0;
  for (; i + 4 * width <= n; i += 4 * width) {
    auto equal = Vec<T>{} != Vec<T>{};  // nowhere yet
    WEFT_UNROLL
    for (int k = 0; k < 4 * width; k += kLanes<T>) {
      const Vec<T> v = load(x + i + k);
      equal |= nan ? v != v : v == best;
    }
    std::uint64_t words[kVectorBytes / 8], any = 0;
    std::memcpy(words, &equal, sizeof words);
    for (std::uint64_t word : words) any |= word;
    if (any != 0) break;
  }
  return i;
}

template <class Op, class T>
void arg_rows_loop(const Tile& tile) {
  const std::int64_t n = tile.n, stride = tile.stride[1];
  for (std::int64_t row = 0; row < tile.rows; ++row) {
    const T* x = row_of<const T>(tile, 1, row);
    const T best = reduce_row<Op>(x, n, stride);
    std::int64_t i = stride == 1 ? find_block(x, n, best) : 0;
    while (!(x[i * stride] == best || (best != best && x[i * stride] != x[i * stride]))) ++i;
    *row_of<std::int64_t>(tile, 0, row) = i;
  }
}

template <class Op, class T>
void arg_columns_loop(const Tile& tile) {
  constexpr int kBlock = 64;
  const std::int64_t stride = tile.stride[1];
  for (std::int64_t column = 0; column < tile.n; column += kBlock) {
    const int count = static_cast<int>(tile.n - column < kBlock ? tile.n - column : kBlock);
    const T* x = static_cast<const T*>(tile.data[1]) + column * stride;
    T best[kBlock];
    std::int64_t at[kBlock] = {};
    for (int l = 0; l < count; ++l) best[l] = x[l * stride];
    for (std::int64_t row = 1; row < tile.rows; ++row) {
      x += tile.row_stride[1];
      for (int l = 0; l < count; ++l) {
        const T value = x[l * stride];
        const bool wins = (Op::better(value, best[l]) | (value != value)) & (best[l] == best[l]);
        best[l] = wins ? value : best[l];
        at[l] = wins ? row : at[l];
      }
    }
    std::int64_t* out = static_cast<std::int64_t*>(tile.data[0]) + column * tile.stride[0];
    for (int l = 0; l < count; ++l) out[l * tile.stride[0]] = at[l];
  }
}

}  // namespace

// Booleans, stored as 0 and 1, are reduced as u8.
#define WEFT_REDUCE_ROW(LOOP, OP, BOOL_LOOP, FLOAT_LOOP)                                                             \
  {                                                                                                                  \
    BOOL_LOOP, LOOP<OP, std::uint8_t>, LOOP<OP, std::int32_t>, LOOP<OP, std::int64_t>, nullptr, nullptr, FLOAT_LOOP, \
        LOOP<OP, double>                                                                                             \
  }
#define WEFT_EXTREME_ROW(LOOP, OP) WEFT_REDUCE_ROW(LOOP, OP, (LOOP<OP, std::uint8_t>), (LOOP<OP, float>))

const ReduceKernels reduce_kernels = {
    {WEFT_REDUCE_ROW(rows_loop, Sum, nullptr, sum_rows_loop<float>), WEFT_EXTREME_ROW(rows_loop, Max),
     WEFT_EXTREME_ROW(rows_loop, Min)},
    {WEFT_REDUCE_ROW(columns_loop, Sum, nullptr, sum_columns_loop<float>), WEFT_EXTREME_ROW(columns_loop, Max),
     WEFT_EXTREME_ROW(columns_loop, Min)},
    {WEFT_EXTREME_ROW(arg_rows_loop, Max), WEFT_EXTREME_ROW(arg_rows_loop, Min)},
    {WEFT_EXTREME_ROW(arg_columns_loop, Max), WEFT_EXTREME_ROW(arg_columns_loop, Min)},
    {sum_rows_loop<double>, sum_columns_loop<double>},
    {rows_loop<Sum, double, float>, columns_loop<Sum, double, float>},
};

}  // namespace weft::cpu::WEFT_ISA
