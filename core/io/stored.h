#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/io/file.h"

/// Elements as files hold them, which are of more dtypes than weft's.
namespace weft::io {

struct StoredType {
  std::string_view safetensors;  ///< its name there
  std::string_view npy;          ///< its name there without the order of bytes; empty where NumPy has none
  int bits;                      ///< of one element
  std::optional<DType> dtype;    ///< the smallest of weft's kind that holds every value, if there is one
};

/// Those that are a dtype of weft's come first.
inline constexpr StoredType kStoredTypes[] = {
    {"F64", "f8", 64, DType::f64},
    {"F32", "f4", 32, DType::f32},
    {"F16", "f2", 16, DType::f16},
    {"BF16", "", 16, DType::bf16},
    {"I64", "i8", 64, DType::i64},
    {"I32", "i4", 32, DType::i32},
    {"U8", "u1", 8, DType::u8},
    {"BOOL", "b1", 8, DType::boolean},
    {"I8", "i1", 8, DType::i32},
    {"I16", "i2", 16, DType::i32},
    {"U16", "u2", 16, DType::i32},
    {"U32", "u4", 32, DType::i64},
    {"F8_E5M2", "", 8, DType::f16},  // the upper byte of an f16
    {"F8_E4M3", "", 8, DType::f16},  // no infinity, NaN where exponent and fraction are all ones
    {"F8_E8M0", "", 8, DType::f32},  // 2^-127 to 2^127, NaN where all bits are ones
    {"U64", "u8", 64, {}},
    {"C64", "c8", 64, {}},
    {"F6_E2M3", "", 6, {}},
    {"F6_E3M2", "", 6, {}},
    {"F4", "", 4, {}},
};

/// The one that is the dtype.
const StoredType& stored_type(DType dtype);
/// Bytes of the elements (axes of size 0 counted as 1), or -1 where that does not fit 63 bits or is no whole number.
std::int64_t stored_bytes(const Shape& shape, const StoredType& type);
/// The next elements, row-major, as a new array on the CPU of type.dtype, which it must have. Booleans must be bytes 0
/// or 1. `what` names the array in errors. `swapped`: each element has its bytes in the other order.
Array read_stored(Source& source, const Shape& shape, const StoredType& type, bool swapped, std::string_view what);

}  // namespace weft::io
