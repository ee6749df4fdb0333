#include "core/io/stored.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <vector>

namespace weft::io {

namespace {

template <class T>
T swapped_bytes(T value) {
  unsigned char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  std::reverse(bytes, bytes + sizeof(T));
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

/// The next elements, of type S, each as f gives it in the array's dtype T.
template <class S, class T, class F>
Array converted(Source& source, const Shape& shape, bool swapped, const F& f) {
  constexpr std::int64_t kElements = 8192;
  Array array = Array::empty(shape, dtype_of<T>);
  std::vector<S> some(static_cast<std::size_t>(std::min(kElements, array.size())));
  T* out = array.data_as<T>();
  for (std::int64_t left = array.size(); left > 0;) {
    const std::int64_t count = std::min(kElements, left);
    source.read(some.data(), static_cast<std::size_t>(count) * sizeof(S));
    for (std::int64_t i = 0; i < count; ++i) {
      const S value = some[static_cast<std::size_t>(i)];
      *out++ = f(swapped ? swapped_bytes(value) : value);
    }
    left -= count;
  }
  return array;
}

template <class S, class T>
Array widened(Source& source, const Shape& shape, bool swapped) {
  return converted<S, T>(source, shape, swapped, [](S value) { return static_cast<T>(value); });
}

float16 from_e5m2(std::uint8_t bits) {
  float16 value;
  value.bits = static_cast<std::uint16_t>(bits << 8);
  return value;
}

float16 from_e4m3(std::uint8_t bits) {
  const int exponent = bits >> 3 & 15, fraction = bits & 7;
  double magnitude = exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
  if (exponent == 15 && fraction == 7) magnitude = std::numeric_limits<double>::quiet_NaN();
  return float16(std::copysign(magnitude, (bits & 0x80) != 0 ? -1.0 : 1.0));
}

float from_e8m0(std::uint8_t bits) {
  return bits == 255 ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0F, bits - 127);
}

template <class T>
void swap_in_place(const Array& array) {
  T* values = static_cast<T*>(array.data());
  std::transform(values, values + array.size(), values, swapped_bytes<T>);
}

}  // namespace

const StoredType& stored_type(DType dtype) {
  return *std::find_if(std::begin(kStoredTypes), std::end(kStoredTypes),
                       [&](const StoredType& candidate) { return candidate.dtype == dtype; });
}

std::int64_t stored_bytes(const Shape& shape, const StoredType& type) {
  const std::int64_t elements = byte_count(shape, DType::u8);
  if (elements < 0 || elements > std::numeric_limits<std::int64_t>::max() / type.bits) return -1;
  return elements * type.bits % 8 == 0 ? elements * type.bits / 8 : -1;
}

Array read_stored(Source& source, const Shape& shape, const StoredType& type, bool swapped, std::string_view what) {
  const std::string_view stored = type.safetensors;
  if (stored == "I8") return widened<std::int8_t, std::int32_t>(source, shape, swapped);
  if (stored == "I16") return widened<std::int16_t, std::int32_t>(source, shape, swapped);
  if (stored == "U16") return widened<std::uint16_t, std::int32_t>(source, shape, swapped);
  if (stored == "U32") return widened<std::uint32_t, std::int64_t>(source, shape, swapped);
  if (stored == "F8_E5M2") return converted<std::uint8_t, float16>(source, shape, swapped, from_e5m2);
  if (stored == "F8_E4M3") return converted<std::uint8_t, float16>(source, shape, swapped, from_e4m3);
  if (stored == "F8_E8M0") return converted<std::uint8_t, float>(source, shape, swapped, from_e8m0);
  const Array array = read_elements(source, shape, type.dtype.value(), what);
  if (swapped && type.bits == 16) swap_in_place<std::uint16_t>(array);
  if (swapped && type.bits == 32) swap_in_place<std::uint32_t>(array);
  if (swapped && type.bits == 64) swap_in_place<std::uint64_t>(array);
  return array;
}

}  // namespace weft::io
