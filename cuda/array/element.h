#pragma once

// Element types in kernels: what is stored, and what is computed with.

#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>

#include "core/device/convert.h"
#include "cuda/runtime/launch.h"
#include "weft/dtype.h"
#include "weft/error.h"

namespace weft::cuda {

using scalar::Bfloat;
using scalar::Half;

/// The type that arithmetic on T happens in: f32 for the 16-bit storage types, T itself otherwise.
template <class T>
struct ComputeType {
  using type = T;
};
template <>
struct ComputeType<Bfloat> {
  using type = float;
};
template <>
struct ComputeType<Half> {
  using type = float;
};
template <class T>
using compute_t = typename ComputeType<T>::type;

template <class T>
WEFT_HOST_DEVICE compute_t<T> widen(T value) {
  return scalar::convert<compute_t<T>>(value);
}
/// A number becomes what scalar::convert makes of it; of bf16, NaN becomes 0x7FFF whatever its sign and payload.
template <class T, class From>
WEFT_DEVICE T narrow(From value) {
  if constexpr (std::is_same_v<T, Bfloat> && !std::is_same_v<From, Bfloat>) {
    return {static_cast<std::uint16_t>(to_bfloats(scalar::round_to_odd(value), 0.0f))};
  } else {
    return scalar::convert<T>(value);
  }
}

/// `Count` neighbours that are read and written at once; Count · sizeof(T) is at most 16 bytes.
template <class T, int Count>
struct alignas(sizeof(T) * Count) Vector {
  T value[Count];
};

/// narrow of each; two bf16 take one instruction.
template <class T, int Count, class From>
WEFT_DEVICE Vector<T, Count> narrow_all(const From (&values)[Count]) {
  Vector<T, Count> vector;
  if constexpr (std::is_same_v<T, Bfloat> && std::is_same_v<From, float> && Count % 2 == 0) {
    Vector<std::uint32_t, Count / 2> words;
    WEFT_UNROLL
    for (int i = 0; i < Count / 2; ++i) words.value[i] = to_bfloats(values[2 * i], values[2 * i + 1]);
    std::memcpy(&vector, &words, sizeof vector);
  } else {
    WEFT_UNROLL
    for (int i = 0; i < Count; ++i) vector.value[i] = narrow<T>(values[i]);
  }
  return vector;
}

template <class T>
struct Type {
  using type = T;
};

/// The unsigned integer of a size: for what only moves elements.
template <std::size_t Bytes>
using unsigned_t = std::conditional_t<
    Bytes == 1, std::uint8_t,
    std::conditional_t<Bytes == 2, std::uint16_t, std::conditional_t<Bytes == 4, std::uint32_t, std::uint64_t>>>;

/// body(Type<T>{}) for the unsigned integer of the dtype's size.
template <class Body>
void dispatch_size(DType dtype, const Body& body) {
  switch (size_of(dtype)) {
    case 1:
      return body(Type<std::uint8_t>{});
    case 2:
      return body(Type<std::uint16_t>{});
    case 4:
      return body(Type<std::uint32_t>{});
    default:
      return body(Type<std::uint64_t>{});
  }
}

/// The dtypes that a kernel takes, each kind with those before it.
enum class Takes { floating, numbers, ordered, everything };  // f32 f64 bf16, u8 i32 i64, bool, f16

/// body(Type<T>{}) where the dtype is taken; throws DTypeError otherwise.
template <Takes kTakes, class Body>
void dispatch(const char* op, DType dtype, const Body& body) {
  switch (dtype) {
    case DType::f32:
      return body(Type<float>{});
    case DType::f64:
      return body(Type<double>{});
    case DType::bf16:
      return body(Type<Bfloat>{});
    case DType::u8:
      if constexpr (kTakes >= Takes::numbers) return body(Type<std::uint8_t>{});
      break;
    case DType::i32:
      if constexpr (kTakes >= Takes::numbers) return body(Type<std::int32_t>{});
      break;
    case DType::i64:
      if constexpr (kTakes >= Takes::numbers) return body(Type<std::int64_t>{});
      break;
    case DType::boolean:
      if constexpr (kTakes >= Takes::ordered) return body(Type<bool>{});
      break;
    case DType::f16:
      if constexpr (kTakes >= Takes::everything) return body(Type<Half>{});
      break;
  }
  throw DTypeError(std::string(op) + ": no kernel for dtype " + std::string(name(dtype)) + " on a GPU");
}

template <class Body>
void dispatch_floating(const char* op, DType dtype, const Body& body) {
  dispatch<Takes::floating>(op, dtype, body);
}
template <class Body>
void dispatch_any(DType dtype, const Body& body) {
  dispatch<Takes::everything>("any", dtype, body);
}

}  // namespace weft::cuda
