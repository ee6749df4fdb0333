#pragma once

#include <charconv>
#include <string>
#include <string_view>

#include "weft/scalar.h"

namespace weft {

/// The shortest text that reads back as `value`.
inline std::string number(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}
/// A finite value rounded to `digits` digits after the point; std::printf would take the point from the C locale.
std::string rounded(double value, std::chars_format format, int digits);

/// Whether an integer dtype holds the value without its fraction; true of the other dtypes.
bool fits(const Scalar& value, DType dtype);
/// Throws ValueError, naming op, where it does not.
void check_fits(std::string_view op, const Scalar& value, DType dtype);

}  // namespace weft
