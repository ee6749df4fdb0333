#include <cstdint>
#include <cstring>

#include "core/device/convert.h"
#include "cpu/array/gather_kernels.h"
#include "cpu/runtime/vec.h"

namespace weft::cpu::WEFT_ISA {
namespace {

using scalar::Bfloat;
using scalar::convert;
using scalar::Half;

template <class T>
T* row_of(const Tile& tile, int operand, std::int64_t row) {
  return static_cast<T*>(tile.data[operand]) + row * tile.row_stride[operand];
}

template <class T>
void copy_loop(const Tile& tile) {
  const std::int64_t n = tile.n, out_stride = tile.stride[0], in_stride = tile.stride[1];
  for (std::int64_t row = 0; row < tile.rows; ++row) {
    T* out = row_of<T>(tile, 0, row);
    const T* in = row_of<T>(tile, 1, row);
    if (out_stride == 1 && in_stride == 1) {
      std::memcpy(out, in, static_cast<std::size_t>(n) * sizeof(T));
    } else if (out_stride == 1 && in_stride == 0) {
      const T value = *in;
      for (std::int64_t i = 0; i < n; ++i) out[i] = value;
    } else {
      for (std::int64_t i = 0; i < n; ++i) out[i * out_stride] = in[i * in_stride];
    }
  }
}

template <class From, class To>
void convert_loop(const Tile& tile) {
  const std::int64_t n = tile.n, out_stride = tile.stride[0], in_stride = tile.stride[1];
  for (std::int64_t row = 0; row < tile.rows; ++row) {
    To* __restrict out = row_of<To>(tile, 0, row);
    const From* __restrict in = row_of<From>(tile, 1, row);
    if (out_stride == 1 && in_stride == 1) {
      for (std::int64_t i = 0; i < n; ++i) out[i] = convert<To>(in[i]);
    } else {
      for (std::int64_t i = 0; i < n; ++i) out[i * out_stride] = convert<To>(in[i * in_stride]);
    }
  }
}

template <int... I>
struct Ints {};
template <int N, int... I>
struct Count : Count<N - 1, N - 1, I...> {};
template <int... I>
struct Count<0, I...> {
  using type = Ints<I...>;
};

/// At most 16 x 16 elements fit the registers.
template <class T>
inline constexpr int kSide = (kVectorBytes < 16 * int(sizeof(T)) ? kVectorBytes : 16 * int(sizeof(T))) / int(sizeof(T));

template <class T>
struct LineOf {
  typedef T type __attribute__((vector_size(kSide<T> * sizeof(T))));
};

// A square of kSide rows is transposed by log2(kSide) perfect shuffles of the rows' pairs (v[i], v[i + half]).
template <class T, int... I>
void transpose_square(const T* in, std::int64_t in_stride, T* out, std::int64_t out_stride, Ints<I...>) {
  using Line = typename LineOf<T>::type;
  constexpr int side = kSide<T>, half = side / 2;
  Line v[side], w[side];
  for (int r = 0; r < side; ++r) std::memcpy(&v[r], in + r * in_stride, sizeof(Line));
  for (int step = 1; step < side; step *= 2) {
    for (int r = 0; r < half; ++r) {
      w[2 * r] = __builtin_shufflevector(v[r], v[r + half], (I / 2 + I % 2 * side)...);
      w[2 * r + 1] = __builtin_shufflevector(v[r], v[r + half], (half + I / 2 + I % 2 * side)...);
    }
    for (int r = 0; r < side; ++r) v[r] = w[r];
  }
  for (int r = 0; r < side; ++r) std::memcpy(out + r * out_stride, &v[r], sizeof(Line));
}

template <class T>
void transpose_loop(const Tile& tile) {
  constexpr int side = kSide<T>;
  const std::int64_t out_stride = tile.row_stride[0], in_stride = tile.stride[1];
  T* out = static_cast<T*>(tile.data[0]);
  const T* in = static_cast<const T*>(tile.data[1]);
  const std::int64_t rows = tile.rows - tile.rows % side, n = tile.n - tile.n % side;
  for (std::int64_t r = 0; r < rows; r += side) {
    for (std::int64_t i = 0; i < n; i += side) {
      transpose_square(in + i * in_stride + r, in_stride, out + r * out_stride + i, out_stride,
                       typename Count<side>::type());
    }
  }
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    for (std::int64_t i = r < rows ? n : 0; i < tile.n; ++i) out[r * out_stride + i] = in[i * in_stride + r];
  }
}

}  // namespace

#define WEFT_CONVERT_ROW(FROM)                                                                    \
  {                                                                                               \
    convert_loop<FROM, bool>, convert_loop<FROM, std::uint8_t>, convert_loop<FROM, std::int32_t>, \
        convert_loop<FROM, std::int64_t>, convert_loop<FROM, Half>, convert_loop<FROM, Bfloat>,   \
        convert_loop<FROM, float>, convert_loop<FROM, double>                                     \
  }

const GatherKernels gather_kernels = {
    {copy_loop<std::uint8_t>, copy_loop<std::uint16_t>, copy_loop<std::uint32_t>, copy_loop<std::uint64_t>},
    {transpose_loop<std::uint8_t>, transpose_loop<std::uint16_t>, transpose_loop<std::uint32_t>,
     transpose_loop<std::uint64_t>},
    {WEFT_CONVERT_ROW(bool), WEFT_CONVERT_ROW(std::uint8_t), WEFT_CONVERT_ROW(std::int32_t),
     WEFT_CONVERT_ROW(std::int64_t), WEFT_CONVERT_ROW(Half), WEFT_CONVERT_ROW(Bfloat), WEFT_CONVERT_ROW(float),
     WEFT_CONVERT_ROW(double)},
};

}  // namespace weft::cpu::WEFT_ISA
