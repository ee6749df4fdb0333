#include <algorithm>
#include <bit>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "core/device/integer.h"
#include "core/io/parse.h"
#include "core/io/stored.h"
#include "weft/error.h"
#include "weft/quote.h"

// The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

namespace weft {
namespace io {
namespace {

static_assert(std::endian::native == std::endian::little, ".npy data is read and written as it lies in memory");

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kMaxHeader = 65'535;
constexpr std::size_t kAlignment = 64;
struct Header {
  const StoredType* type = nullptr;
  bool swapped = false;  ///< big-endian
  bool fortran_order = false;
  Shape shape;
};

/// Parses the Python dict literal {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }.
class HeaderParser {
 public:
  HeaderParser(const Source& source, std::string_view text) : source_(source), text_(text) {}

  Header parse() {
    const StoredType* type = nullptr;
    std::optional<bool> fortran_order;
    std::optional<Shape> shape;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = string();
      expect(':');
      bool is_new = true;
      if (key == "descr") {
        is_new = type == nullptr;
        type = descr();
      } else if (key == "fortran_order") {
        is_new = !fortran_order;
        fortran_order = boolean();
      } else if (key == "shape") {
        is_new = !shape;
        shape = tuple();
      } else {
        source_.fail("keys must be descr, fortran_order and shape", quote(key));
      }
      if (!is_new) source_.fail("keys must be unique", quote(key));
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_spaces();
    if (at_ != text_.size()) invalid("the end");
    if (type == nullptr || !fortran_order || !shape)
      source_.fail("a key is missing", type == nullptr ? "descr" : !fortran_order ? "fortran_order" : "shape");
    return {type, swapped_, *fortran_order, *shape};
  }

 private:
  [[noreturn]] void invalid(std::string_view expected) const {
    source_.fail("header must be a Python dict",
                 "expected " + std::string(expected) + " at byte " + std::to_string(at_) + " of it");
  }
  void skip_spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool accept(char c) {
    skip_spaces();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) invalid(std::string(1, c));
  }
  bool accept_word(std::string_view word) {
    skip_spaces();
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  std::string_view string() {
    const char quote = accept('"') ? '"' : '\'';
    if (quote == '\'') expect('\'');
    const std::size_t begin = at_, end = text_.find(quote, begin);
    if (end == std::string_view::npos) invalid("a closing quote");
    at_ = end + 1;
    return text_.substr(begin, end - begin);
  }

  /// "<f4": the order of bytes, kind and size.
  const StoredType* descr() {
    if (accept('[')) source_.fail("structured dtypes are not supported", "descr is a list");
    const std::string_view text = string();
    const auto* known = std::find_if(std::begin(kStoredTypes), std::end(kStoredTypes), [&](const StoredType& type) {
      const bool one_byte = type.bits == 8;
      const std::string_view orders = one_byte ? "|" : "<>";
      return !type.npy.empty() && text.size() == 3 && text.substr(1) == type.npy &&
             orders.find(text[0]) != std::string_view::npos;
    });
    if (known == std::end(kStoredTypes) || !known->dtype) {
      source_.fail("dtype must be f8, f4, f2, i8, i4, i2, i1, u4, u2, u1 or b1 after <, > or, for one byte, |",
                   quote(text));
    }
    swapped_ = text[0] == '>';
    return known;
  }

  bool boolean() {
    if (accept_word("True")) return true;
    if (!accept_word("False")) invalid("True or False");
    return false;
  }

  Shape tuple() {
    Shape shape;
    expect('(');
    bool comma = true;  // (3) is a number in Python, (3,) a tuple
    while (!accept(')')) {
      if (!comma) invalid(",");
      if (shape.rank() == kMaxRank) source_.fail("rank must be at most 8", "at least 9");
      shape.push_back(integer());
      comma = accept(',');
    }
    if (shape.rank() == 1 && !comma) invalid(",");
    return shape;
  }

  std::int64_t integer() {
    skip_spaces();
    const std::size_t begin = at_;
    std::int64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      const int digit = text_[at_] - '0';
      if (value > (INT64_MAX - digit) / 10) source_.fail("sizes must be at most 2^63 - 1", text_.substr(begin, 20));
      value = value * 10 + digit;
    }
    if (at_ == begin) invalid("a non-negative integer");
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // a long of Python 2
    return value;
  }

  const Source& source_;
  std::string_view text_;
  std::size_t at_ = 0;
  bool swapped_ = false;
};

/// As NumPy writes it on this machine.
std::string descr_of(DType dtype) {
  const StoredType& type = stored_type(dtype);
  if (type.npy.empty())
    throw DTypeError("save_npy: NumPy has no such dtype, convert to f32 first (" + std::string(name(dtype)) + ")");
  return (type.bits == 8 ? "|" : "<") + std::string(type.npy);
}

/// Version 1.0, byte for byte as NumPy writes it.
std::string header_text(const Array& array) {
  std::string dict = "{'descr': '" + descr_of(array.dtype()) + "', 'fortran_order': False, 'shape': (";
  for (int axis = 0; axis < array.rank(); ++axis)
    dict.append(axis > 0 ? ", " : "").append(std::to_string(array.shape()[axis]));
  dict += array.rank() == 1 ? ",), }" : "), }";
  constexpr std::size_t kPrefix = 10;  // magic, version, length
  const std::size_t total = round_up(kPrefix + dict.size() + 1, kAlignment);
  dict.append(total - kPrefix - dict.size() - 1, ' ').append("\n");
  std::string text(kMagic);
  text.append({'\x01', '\x00', static_cast<char>(dict.size() & 0xff), static_cast<char>(dict.size() >> 8)});
  return text + dict;
}

}  // namespace

Array read_npy(Source& source) {
  unsigned char prefix[8];
  source.read(prefix, sizeof(prefix));
  if (!std::equal(kMagic.begin(), kMagic.end(), reinterpret_cast<const char*>(prefix)))
    source.fail("file must begin with \\x93NUMPY", quote({reinterpret_cast<const char*>(prefix), kMagic.size()}));
  const int major = prefix[6], minor = prefix[7];
  if (major < 1 || major > 3 || minor != 0)
    source.fail("version must be 1.0, 2.0 or 3.0", std::to_string(major) + "." + std::to_string(minor));
  std::uint32_t length = 0;
  source.read(&length, major == 1 ? 2 : 4);
  if (length > kMaxHeader) source.fail("header must be at most 65535 bytes", std::to_string(length));
  const std::string text = source.read_text(length);
  const Header header = HeaderParser(source, text).parse();

  const std::int64_t bytes = stored_bytes(header.shape, *header.type);
  const std::string what = std::string(header.type->npy) + " " + to_string(header.shape);
  if (bytes < 0) source.fail("shape is too large", what);
  if (static_cast<std::uint64_t>(bytes) != source.remaining())
    source.fail("data must be shape times dtype size", what + " needs " + std::to_string(bytes) + " bytes, " +
                                                           std::to_string(source.remaining()) + " present");
  if (!header.fortran_order) return read_stored(source, header.shape, *header.type, header.swapped, what);

  Shape reversed = header.shape;
  std::reverse(reversed.begin(), reversed.end());
  Strides strides = row_major_strides(reversed);
  std::reverse(strides.begin(), strides.end());
  return read_stored(source, reversed, *header.type, header.swapped, what)
      .view(Layout(header.shape, strides))
      .contiguous();
}

}  // namespace io

Array load_npy(const std::filesystem::path& path) {
  io::FileSource source(path);
  Array array = io::read_npy(source);
  source.check_size_unchanged();
  return array;
}

void save_npy(const std::filesystem::path& path, const Array& array) {
  if (!array.defined()) throw ValueError("save_npy: array is undefined");
  const std::string header = io::header_text(array);
  io::AtomicFile file(path);
  file.write(header.data(), header.size());
  io::write_elements(file, array);
  file.commit();
}

}  // namespace weft
