#include "core/value/number.h"

#include <cmath>

#include "core/device/convert.h"
#include "weft/error.h"

namespace weft {

std::int64_t Scalar::as_int() const {
  return is_floating_point() ? scalar::truncate<std::int64_t>(floating_) : integer_;
}

bool Scalar::fits(int bits, bool is_signed) const {
  if (is_floating_point()) {
    const double end = std::ldexp(1.0, bits);
    const double whole = std::trunc(floating_);
    return whole < end && whole >= (is_signed ? -end : 0.0);
  }
  if (integer_ < 0 && !is_signed) return false;
  return bits >= 63 || (integer_ >> bits) == (integer_ < 0 ? -1 : 0);
}

std::string to_string(const Scalar& value) {
  return value.is_floating_point() ? number(value.as_double()) : std::to_string(value.as_int());
}

std::string rounded(double value, std::chars_format format, int digits) {
  char text[400];  // the largest f64 has 309 digits before the point
  return {text, std::to_chars(text, text + sizeof text, value, format, digits).ptr};
}

bool fits(const Scalar& value, DType dtype) {
  const bool is_signed = dtype != DType::u8;
  return !is_integer(dtype) || value.fits(static_cast<int>(8 * size_of(dtype)) - (is_signed ? 1 : 0), is_signed);
}

void check_fits(std::string_view op, const Scalar& value, DType dtype) {
  if (fits(value, dtype)) return;
  throw ValueError(std::string(op) + ": " + to_string(value) + " does not fit " + std::string(name(dtype)));
}

}  // namespace weft
