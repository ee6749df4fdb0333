#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <functional>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include "core/device/backend.h"
#include "core/value/layout.h"
#include "core/value/number.h"
#include "core/value/views.h"
#include "weft/array.h"
#include "weft/error.h"

/// Arrays as NumPy's str() prints them, with its default options.
namespace weft {

namespace {

constexpr std::int64_t kSummaryAbove = 1000;  // elements
constexpr std::int64_t kEdge = 3;             // items kept at each end of a summarised axis
constexpr int kPrecision = 8;                 // digits behind the point
constexpr std::size_t kLineWidth = 75;

using Formatter = std::function<std::string(const Scalar&)>;

// Digits in positional notation, zeros filling up to the point: to_chars fills with the digits of the exact value.
std::string without_exponent(const std::string& text) {
  const std::size_t e = text.find('e');
  const int exponent = std::stoi(text.substr(e + 1));
  const std::size_t sign = text[0] == '-' ? 1 : 0;
  std::string digits = text.substr(sign, 1) + (e > sign + 1 ? text.substr(sign + 2, e - sign - 2) : "");
  if (exponent < 0)
    return text.substr(0, sign) + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  const std::size_t whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() < whole) digits.append(whole - digits.size(), '0');
  if (digits.size() > whole) digits.insert(whole, 1, '.');
  return text.substr(0, sign) + digits;
}

// The digits of a number in its own dtype: the fewest that read back as the same value.
std::string shortest(double value, DType dtype, std::chars_format format) {
  char text[400];
  const auto written = [&](auto number) {
    const std::string digits(text, std::to_chars(text, text + sizeof(text), number, std::chars_format::scientific).ptr);
    return format == std::chars_format::fixed ? without_exponent(digits) : digits;
  };
  if (dtype == DType::f64) return written(value);
  if (dtype == DType::f32) return written(static_cast<float>(value));
  double candidate = value;
  for (int digits = 1; digits <= 8; ++digits) {  // f16 and bf16 have no to_chars
    const std::string decimal = rounded(value, std::chars_format::scientific, digits - 1);
    std::from_chars(decimal.data(), decimal.data() + decimal.size(), candidate);
    const float stored =
        dtype == DType::f16 ? static_cast<float>(float16(candidate)) : static_cast<float>(bfloat16(candidate));
    if (stored == static_cast<float>(value)) break;
  }
  return written(candidate);
}

// "12.5" or "12.", at most eight digits behind the point.
std::string positional(double value, DType dtype) {
  std::string text = shortest(value, dtype, std::chars_format::fixed);
  const std::size_t point = text.find('.');
  if (point == std::string::npos) return text + '.';
  if (text.size() - point - 1 > kPrecision) {
    text = rounded(value, std::chars_format::fixed, kPrecision);
    text.erase(text.find_last_not_of('0') + 1);
  }
  return text;
}

struct Scientific {
  std::string mantissa;  // "-1.25" or "1."
  std::string exponent;  // "+05" without the e
};

Scientific scientific(double value, DType dtype) {
  std::string text = shortest(value, dtype, std::chars_format::scientific);
  std::size_t e = text.find('e');
  const std::size_t point = text.find('.');
  if (point != std::string::npos && e - point - 1 > kPrecision) {
    text = rounded(value, std::chars_format::scientific, kPrecision);
    e = text.find('e');
    const std::size_t last = text.find_last_not_of('0', e - 1);
    text.erase(last + 1, e - last - 1);
    e = text.find('e');
  }
  Scientific parts{text.substr(0, e), text.substr(e + 1)};
  if (parts.mantissa.find('.') == std::string::npos) parts.mantissa += '.';
  return parts;
}

std::string padded_left(const std::string& text, std::size_t width) {
  return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}

std::string special(double value) { return std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf"; }

Formatter scientific_formatter(const std::vector<double>& finite, DType dtype, std::size_t special_width) {
  std::size_t left = 0;
  std::size_t right = 0;
  std::size_t exponent = 0;
  for (const double value : finite) {
    const Scientific parts = scientific(value, dtype);
    const std::size_t point = parts.mantissa.find('.');
    left = std::max(left, point);
    right = std::max(right, parts.mantissa.size() - point - 1);
    exponent = std::max(exponent, parts.exponent.size());
  }
  const std::size_t width = std::max(left + 1 + right + 1 + exponent, special_width);
  return [=](const Scalar& scalar) {
    const double value = scalar.as_double();
    if (!std::isfinite(value)) return padded_left(special(value), width);
    Scientific parts = scientific(value, dtype);
    if (parts.mantissa.size() - parts.mantissa.find('.') - 1 < right) {  // filled up with digits of the exact value
      const std::string filled = rounded(value, std::chars_format::scientific, static_cast<int>(right));
      const std::size_t e = filled.find('e');
      parts = {filled.substr(0, e), filled.substr(e + 1)};  // the exponent can be smaller by one
    }
    parts.exponent.insert(1, exponent - parts.exponent.size(), '0');
    return padded_left(parts.mantissa + 'e' + parts.exponent, width);
  };
}

Formatter positional_formatter(const std::vector<double>& finite, DType dtype, std::size_t special_width) {
  std::size_t left = 0;
  std::size_t right = 0;
  for (const double value : finite) {
    const std::string text = positional(value, dtype);
    const std::size_t point = text.find('.');
    left = std::max(left, point);
    right = std::max(right, text.size() - point - 1);
  }
  const std::size_t width = std::max(left + 1 + right, special_width);
  return [=](const Scalar& scalar) {
    const double value = scalar.as_double();
    if (!std::isfinite(value)) return padded_left(special(value), width);
    std::string text = positional(value, dtype);
    text.append(right - (text.size() - text.find('.') - 1), ' ');
    return padded_left(text, width);
  };
}

Formatter float_formatter(const std::vector<Scalar>& shown, DType dtype) {
  std::vector<double> finite;
  double largest = 0;
  double smallest = std::numeric_limits<double>::infinity();
  std::size_t special_width = 0;
  for (const Scalar& scalar : shown) {
    const double value = scalar.as_double();
    if (!std::isfinite(value)) {
      special_width = std::max(special_width, special(value).size());
      continue;
    }
    finite.push_back(value);
    if (value == 0) continue;
    largest = std::max(largest, std::abs(value));
    smallest = std::min(smallest, std::abs(value));
  }
  const bool exponents = largest >= 1e8 || (largest > 0 && (smallest < 1e-4 || largest / smallest > 1000));
  return exponents ? scientific_formatter(finite, dtype, special_width)
                   : positional_formatter(finite, dtype, special_width);
}

Formatter formatter(const std::vector<Scalar>& shown, DType dtype) {
  if (is_floating_point(dtype)) return float_formatter(shown, dtype);
  if (dtype == DType::boolean)
    return [](const Scalar& value) { return std::string(value.as_int() != 0 ? " True" : "False"); };
  std::size_t width = 0;
  for (const Scalar& value : shown) width = std::max(width, std::to_string(value.as_int()).size());
  return [width](const Scalar& value) { return padded_left(std::to_string(value.as_int()), width); };
}

// A float on its own, as Python's str(): exponents outside [1e-4, 1e16).
std::string single(const Scalar& scalar, DType dtype) {
  if (dtype == DType::boolean) return scalar.as_int() != 0 ? "True" : "False";
  if (!is_floating_point(dtype)) return std::to_string(scalar.as_int());
  const double value = scalar.as_double();
  if (!std::isfinite(value)) return special(value);
  const bool plain = value == 0 || (std::abs(value) >= 1e-4 && std::abs(value) < 1e16);
  std::string text = shortest(value, dtype, plain ? std::chars_format::fixed : std::chars_format::scientific);
  if (plain && text.find('.') == std::string::npos) text += ".0";
  return text;
}

bool is_cut(const Array& array, int axis) { return array.size() > kSummaryAbove && array.shape()[axis] > 2 * kEdge; }

// The first and last items of every axis that is cut, dense: all that is shown of the array.
Array shown_items(const Array& array) {
  Shape shape = array.shape();
  Dims cut;
  for (int i = 0; i < array.rank(); ++i) {
    if (!is_cut(array, i)) continue;
    cut.push_back(i);
    shape[i] = 2 * kEdge;
  }
  if (cut.empty()) return array;
  Array shown = Array::empty(shape, array.dtype(), array.device());
  for (unsigned corner = 0; corner < 1u << cut.rank(); ++corner) {
    Layout from = array.layout();
    Layout to = shown.layout();
    for (int i = 0; i < cut.rank(); ++i) {
      const int axis = static_cast<int>(cut[i]);
      const bool last = (corner >> i & 1u) != 0;
      for (Layout* layout : {&from, &to}) {
        const std::int64_t start = last ? layout->shape[axis] - kEdge : 0;
        *layout = layout::slice("print", *layout, axis, start, start + kEdge, 1);
      }
    }
    const Array window = shown.view(to);
    backend(array.device())->copy(const_view(array.view(from)), mutable_view(window));
  }
  return shown;
}

class Printer {
 public:
  explicit Printer(const Array& array)
      : values_(shown_items(array).to(is_floating_point(array.dtype()) ? DType::f64 : DType::i64).to(Device::cpu())) {
    for (int i = 0; i < array.rank(); ++i) cut_[static_cast<std::size_t>(i)] = is_cut(array, i);
    std::vector<Scalar> shown;
    visit(0, values_.layout().offset, [&](std::int64_t at) { shown.push_back(value(at)); });
    format_ = formatter(shown, array.dtype());
  }

  std::string text() const { return nested(0, values_.layout().offset, " ", kLineWidth); }

 private:
  Scalar value(std::int64_t at) const {
    const Array& a = values_;
    const std::int64_t index = at - a.layout().offset;
    if (a.dtype() == DType::f64) return a.data_as<const double>()[index];
    return a.data_as<const std::int64_t>()[index];
  }

  // The positions along an axis of the shown items; -1 stands for the dots.
  std::vector<std::int64_t> positions(int axis) const {
    std::vector<std::int64_t> result;
    for (std::int64_t i = 0; i < values_.shape()[axis]; ++i) {
      if (i == kEdge && cut_[static_cast<std::size_t>(axis)]) result.push_back(-1);
      result.push_back(i);
    }
    return result;
  }

  template <class Visitor>
  void visit(int axis, std::int64_t at, const Visitor& visitor) const {
    if (axis == values_.rank()) return visitor(at);
    for (const std::int64_t i : positions(axis)) {
      if (i >= 0) visit(axis + 1, at + i * values_.strides()[axis], visitor);
    }
  }

  std::string nested(int axis, std::int64_t at, const std::string& indent, std::size_t width) const {
    if (axis == values_.rank()) return format_(value(at));
    const int left = values_.rank() - axis;
    const std::vector<std::int64_t> shown = positions(axis);
    std::string text;
    std::string line = indent;
    for (std::size_t i = 0; i < shown.size(); ++i) {
      const bool last = i + 1 == shown.size();
      const std::string word =
          shown[i] < 0 ? "..." : nested(axis + 1, at + shown[i] * values_.strides()[axis], indent + ' ', width - 1);
      if (left > 1) {
        text += indent + word + (last ? "" : std::string(static_cast<std::size_t>(left - 1), '\n'));
        continue;
      }
      if (line.size() + word.size() > width - 1 && line.size() > indent.size()) {
        text += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
        line = indent;
      }
      line += word + (last ? "" : " ");
    }
    if (left == 1) text += line;
    return '[' + text.substr(indent.size()) + ']';
  }

  Array values_;
  std::array<bool, kMaxRank> cut_{};
  Formatter format_;
};

}  // namespace

std::string to_string(const Array& array) {
  if (!array.defined()) return "undefined";
  if (array.rank() == 0) return single(array.scalar(), array.dtype());
  if (array.size() == 0) return "[]";
  return Printer(array).text();
}

std::ostream& operator<<(std::ostream& stream, const Array& array) { return stream << to_string(array); }

}  // namespace weft
