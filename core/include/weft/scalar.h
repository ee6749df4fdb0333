#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "weft/dtype.h"

namespace weft {

/// A number of any kind: booleans and integers as int64, the rest as double. Unsigned integers above 2^63 - 1 are kept
/// as double too and count as floating point, except for dtype().
class Scalar {
 public:
  template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
  Scalar(T value)  // NOLINT(google-explicit-constructor): x + 1
      : kind_(std::is_same_v<T, bool> ? Kind::boolean
              : std::is_integral_v<T> ? Kind::integer
                                      : Kind::floating) {
    floating_ = static_cast<double>(value);
    if constexpr (std::is_integral_v<T>) integer_ = static_cast<std::int64_t>(value);
    if constexpr (std::is_integral_v<T> && std::is_unsigned_v<T> && sizeof(T) == sizeof(integer_)) {
      if (value > static_cast<T>(INT64_MAX)) kind_ = Kind::large;
    }
  }
  bool is_boolean() const { return kind_ == Kind::boolean; }
  bool is_integer() const { return kind_ == Kind::integer; }
  bool is_floating_point() const { return kind_ == Kind::floating || kind_ == Kind::large; }
  /// The dtype of what is made of this number where no dtype is named: bool of a boolean, i64 of any integer, f32.
  DType dtype() const {
    if (kind_ == Kind::boolean) return DType::boolean;
    return kind_ == Kind::floating ? DType::f32 : DType::i64;
  }
  double as_double() const { return floating_; }
  /// Truncates; the nearest int64 beyond its range; NaN is 0.
  std::int64_t as_int() const;
  /// Whether the number without its fraction is an integer of `bits` bits, where the sign does not count.
  bool fits(int bits, bool is_signed) const;

 private:
  enum class Kind : std::uint8_t { boolean, integer, large, floating };
  Kind kind_;
  std::int64_t integer_ = 0;
  double floating_ = 0;
};

/// The shortest text that reads back as the number.
std::string to_string(const Scalar& value);

}  // namespace weft
