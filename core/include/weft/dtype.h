#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weft {

enum class DType : std::uint8_t { boolean, u8, i32, i64, f16, bf16, f32, f64 };

/// IEEE 754 binary16, storage only: convert to float to compute.
struct float16 {
  std::uint16_t bits = 0;
  float16() = default;
  explicit float16(double value);  ///< rounded once, to nearest even
  explicit operator float() const;
};

/// The upper half of a float, rounded to nearest even; storage only.
struct bfloat16 {
  std::uint16_t bits = 0;
  bfloat16() = default;
  explicit bfloat16(double value);
  explicit operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
};

/// Bytes per element.
std::size_t size_of(DType dtype);
/// "f32", "i64", "bool", ...
std::string_view name(DType dtype);
bool is_floating_point(DType dtype);
/// True for u8, i32 and i64.
bool is_integer(DType dtype);
/// PyTorch's promotion of two array dtypes: the wider of the same kind, floating over integer over bool; f16 with bf16
/// is f32.
DType promote(DType a, DType b);

template <class T>
struct dtype_of_type;
template <>
struct dtype_of_type<bool> {
  static constexpr DType value = DType::boolean;
};
template <>
struct dtype_of_type<std::uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct dtype_of_type<std::int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct dtype_of_type<std::int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct dtype_of_type<float16> {
  static constexpr DType value = DType::f16;
};
template <>
struct dtype_of_type<bfloat16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct dtype_of_type<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct dtype_of_type<double> {
  static constexpr DType value = DType::f64;
};

/// The DType that stores the C++ type T.
template <class T>
inline constexpr DType dtype_of = dtype_of_type<T>::value;

}  // namespace weft
