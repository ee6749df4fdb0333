#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/device/scalar_ops.h"

/// Conversions between element types, branch-free so that loops of them vectorise; compiled by g++ and nvcc.
namespace weft::scalar {

struct Half {
  std::uint16_t bits;
};
struct Bfloat {
  std::uint16_t bits;
};

template <class To, class From>
WEFT_SCALAR To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

WEFT_SCALAR float widen(Bfloat x) { return bits_as<float>(static_cast<std::uint32_t>(x.bits) << 16); }

WEFT_SCALAR float widen(Half x) {
  const std::uint32_t sign = (x.bits & 0x8000u) << 16;
  const std::uint32_t magnitude = (x.bits & 0x7FFFu) << 13;
  const float scaled = bits_as<float>(magnitude) * 0x1p112f;  // rebiases the exponent, subnormals included
  const std::uint32_t special = magnitude >= 0x0F800000u ? 0x7F800000u : 0u;
  return bits_as<float>(bits_as<std::uint32_t>(scaled) | special | sign);
}

WEFT_SCALAR Bfloat to_bfloat(float x) {
  const std::uint32_t bits = bits_as<std::uint32_t>(x);
  const std::uint32_t rounded = (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16;  // to nearest even
  const std::uint32_t quiet_nan = bits >> 16 | 0x40u;
  return {static_cast<std::uint16_t>((bits & 0x7FFFFFFFu) > 0x7F800000u ? quiet_nan : rounded)};
}

WEFT_SCALAR Half to_half(float x) {
  const std::uint32_t bits = bits_as<std::uint32_t>(x);
  const std::uint32_t sign = bits >> 16 & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  // Normal: rebias and round to nearest even. Below 2^-14 the sum with 0.5 rounds at the last subnormal bit.
  const std::uint32_t normal = (magnitude - 0x38000000u + 0xFFFu + (magnitude >> 13 & 1u)) >> 13;
  const std::uint32_t subnormal = bits_as<std::uint32_t>(bits_as<float>(magnitude) + 0.5f) - 0x3F000000u;
  const std::uint32_t finite = magnitude < 0x38800000u ? subnormal : normal;
  const std::uint32_t special = magnitude > 0x7F800000u ? 0x7E00u : 0x7C00u;
  return {
      static_cast<std::uint16_t>(sign | (magnitude >= 0x477FF000u ? special : finite))};  // 65520 rounds to infinity
}

/// x in f32, or the odd one of its two neighbours there: what is then rounded to at most 22 bits is rounded once.
WEFT_SCALAR float round_to_odd(double x) {
  const float nearest = static_cast<float>(x);
  const double back = static_cast<double>(nearest);
  const std::uint32_t bits = bits_as<std::uint32_t>(nearest);
  const bool beyond = x < 0 ? back < x : back > x, between = (back < x) | (back > x);
  const std::uint32_t step = beyond ? 0xFFFFFFFFu : 1u;
  return bits_as<float>(bits + ((between & ((bits & 1u) == 0)) ? step : 0u));
}
WEFT_SCALAR float round_to_odd(float x) { return x; }
WEFT_SCALAR float round_to_odd(std::int64_t x) {
  const std::uint64_t sign = static_cast<std::uint64_t>(x < 0 ? -1 : 0);
  const std::uint64_t size = (static_cast<std::uint64_t>(x) ^ sign) - sign;
  const std::uint64_t cut = (size & ~std::uint64_t{0x7FF}) | (size & 0x7FF ? std::uint64_t{0x800} : 0);
  const auto exact = static_cast<double>(size >> 53 != 0 ? cut : size);
  return round_to_odd(x < 0 ? -exact : exact);
}
template <class T>
WEFT_SCALAR float round_to_odd(T x) {  // the narrower integers
  return round_to_odd(static_cast<double>(x));
}

/// Truncates; saturates outside To's range; NaN is 0.
template <class To, class From>
WEFT_SCALAR To truncate(From x) {
  constexpr To lowest = std::is_signed_v<To> ? static_cast<To>(std::uint64_t{1} << (8 * sizeof(To) - 1)) : To(0);
  constexpr To highest = static_cast<To>(~lowest);
  constexpr From low = static_cast<From>(lowest);
  constexpr From end = static_cast<From>(std::uint64_t{1} << (8 * sizeof(To) - 1)) * (std::is_signed_v<To> ? 1 : 2);
  const bool inside = x > low && x < end;
  const To truncated = static_cast<To>(inside ? x : From(0));
  return x >= end ? highest : x <= low ? lowest : truncated;
}

/// Integers wrap; to bool is "is not zero".
template <class To, class From>
WEFT_SCALAR To convert(From x) {
  if constexpr (std::is_same_v<From, Half> || std::is_same_v<From, Bfloat>) {
    if constexpr (std::is_same_v<To, From>) {
      return x;
    } else {
      return convert<To>(widen(x));
    }
  } else if constexpr (std::is_same_v<To, bool>) {
    return x != From(0);
  } else if constexpr (std::is_same_v<To, Half>) {
    return to_half(round_to_odd(x));
  } else if constexpr (std::is_same_v<To, Bfloat>) {
    return to_bfloat(round_to_odd(x));
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    return truncate<To>(x);
  } else {
    return static_cast<To>(x);
  }
}

}  // namespace weft::scalar
