#include <algorithm>
#include <bit>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/io/parse.h"
#include "core/io/stored.h"
#include "weft/error.h"
#include "weft/quote.h"

// The format: https://github.com/huggingface/safetensors#format

namespace weft {
namespace io {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors and weft's copies of it are little-endian");

constexpr std::uint64_t kMaxHeader = 100'000'000;
constexpr std::size_t kMaxName = 1024;
constexpr std::size_t kAlignment = 64;
constexpr std::string_view kMetadata = "__metadata__";
struct Entry {
  const StoredType* type = nullptr;
  Shape shape;
  std::int64_t begin = 0, end = 0;  // bytes from the start of the data
};

struct Header {
  std::map<std::string, Entry> entries;
  std::map<std::string, std::string> metadata;
};

/// Takes the header's JSON token by token and refuses the first that does not belong where it stands, so neither depth
/// nor size grows beyond what the format has.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(const Source& source) : source_(source) {}
  Header take() { return std::move(header_); }

  bool null() override { misplaced("null"); }
  bool boolean(bool) override { misplaced("a boolean"); }
  bool number_integer(number_integer_t value) override { misplaced(std::to_string(value)); }
  bool number_float(number_float_t, const string_t& text) override { misplaced(text.substr(0, 32)); }
  bool binary(binary_t&) override { misplaced("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (inside_ != Inside::shape && inside_ != Inside::offsets) misplaced(std::to_string(value));
    if (!std::in_range<std::int64_t>(value)) fail("integers must be at most 2^63 - 1", std::to_string(value));
    const auto number = static_cast<std::int64_t>(value);
    if (inside_ == Inside::offsets) {
      if (offset_count_ == 2) fail("data_offsets must be two integers", "at least 3");
      (offset_count_++ == 0 ? entry_.begin : entry_.end) = number;
    } else {
      if (entry_.shape.rank() == kMaxRank) fail("rank must be at most 8", "at least 9");
      entry_.shape.push_back(number);
    }
    return true;
  }

  bool string(string_t& text) override {
    if (inside_ == Inside::metadata) {
      header_.metadata[key_] = std::move(text);
    } else if (inside_ == Inside::entry && key_ == "dtype") {
      const auto* known = std::find_if(std::begin(kStoredTypes), std::end(kStoredTypes),
                                       [&](const StoredType& candidate) { return candidate.safetensors == text; });
      if (known == std::end(kStoredTypes)) fail("dtype must be one of the format", quote(text));
      entry_.type = known;
    } else {
      misplaced("string " + quote(text));
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (inside_ == Inside::start) {
      inside_ = Inside::root;
    } else if (inside_ == Inside::root) {
      inside_ = name_ == kMetadata ? Inside::metadata : Inside::entry;
    } else {
      misplaced("an object");
    }
    return true;
  }

  bool key(string_t& text) override {
    if (inside_ == Inside::root) {
      name_ = std::move(text);
      if (name_.size() > kMaxName) fail("names must be at most 1024 bytes", std::to_string(name_.size()));
      const bool is_new =
          name_ == kMetadata ? !std::exchange(has_metadata_, true) : header_.entries.try_emplace(name_).second;
      if (!is_new) source_.fail("names must be unique", quote(name_));
      entry_ = {};
      has_dtype_ = has_shape_ = has_offsets_ = false;
      return true;
    }
    key_ = std::move(text);
    bool is_new = true;
    if (inside_ == Inside::metadata) {
      is_new = header_.metadata.try_emplace(key_).second;
    } else if (key_ == "dtype") {
      is_new = !std::exchange(has_dtype_, true);
    } else if (key_ == "shape") {
      is_new = !std::exchange(has_shape_, true);
    } else if (key_ == "data_offsets") {
      is_new = !std::exchange(has_offsets_, true);
    } else {
      fail("keys must be dtype, shape and data_offsets", quote(key_));
    }
    if (!is_new) fail("keys must be unique", quote(key_));
    return true;
  }

  bool end_object() override {
    if (inside_ == Inside::entry) {
      if (!has_dtype_ || !has_shape_ || !has_offsets_)
        fail("a key is missing", !has_dtype_ ? "dtype" : !has_shape_ ? "shape" : "data_offsets");
      header_.entries[name_] = entry_;
    }
    inside_ = inside_ == Inside::root ? Inside::end : Inside::root;
    return true;
  }

  bool start_array(std::size_t) override {
    if (inside_ != Inside::entry || key_ == "dtype") misplaced("an array");
    inside_ = key_ == "shape" ? Inside::shape : Inside::offsets;
    offset_count_ = 0;
    return true;
  }

  bool end_array() override {
    if (inside_ == Inside::offsets && offset_count_ != 2)
      fail("data_offsets must be two integers", std::to_string(offset_count_));
    inside_ = Inside::entry;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    fail_syntax(position);
  }
  [[noreturn]] void fail_syntax(std::size_t position) const {
    source_.fail("header must be JSON in UTF-8", "invalid at byte " + std::to_string(position));
  }

 private:
  enum class Inside { start, root, metadata, entry, shape, offsets, end };

  [[noreturn]] void fail(std::string_view rule, std::string_view values) const {
    source_.fail(rule, quote(name_) + ": " + std::string(values));
  }
  [[noreturn]] void misplaced(std::string_view token) const {
    switch (inside_) {
      case Inside::metadata:
        fail("metadata values must be strings", quote(key_) + " is " + std::string(token));
      case Inside::entry:
        if (key_ == "dtype") fail("dtype must be a string", token);
        fail(key_ + " must be an array", token);
      case Inside::shape:
        fail("shape must hold non-negative integers", token);
      case Inside::offsets:
        fail("data_offsets must be two non-negative integers", token);
      default:
        fail("every entry must be an object", token);
    }
  }

  const Source& source_;
  Header header_;
  Inside inside_ = Inside::start;
  std::string name_, key_;
  Entry entry_;
  int offset_count_ = 0;
  bool has_metadata_ = false, has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
};

using NamedEntry = std::pair<const std::string, Entry>;

/// The entries in the order of their data, which must fill [0, data_bytes) without hole or overlap.
std::vector<const NamedEntry*> check_offsets(const Source& source, const Header& header, std::uint64_t data_bytes) {
  std::vector<const NamedEntry*> order;
  order.reserve(header.entries.size());
  for (const auto& entry : header.entries) order.push_back(&entry);
  std::stable_sort(order.begin(), order.end(), [](const NamedEntry* a, const NamedEntry* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  std::int64_t expected = 0;
  for (const NamedEntry* named : order) {
    const Entry& entry = named->second;
    const auto values = [&] {
      return quote(named->first) + ": " + std::string(entry.type->safetensors) + " " + to_string(entry.shape) +
             " at [" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) + "]";
    };
    if (entry.begin != expected)
      source.fail("data must be contiguous from 0", values() + ", expected to begin at " + std::to_string(expected));
    const std::int64_t bytes = stored_bytes(entry.shape, *entry.type);
    if (bytes < 0) source.fail("shape must be of whole bytes, less than 2^63", values());
    if (entry.end < entry.begin || entry.end - entry.begin != bytes)
      source.fail("data_offsets must span shape times dtype size",
                  values() + ", needs " + std::to_string(bytes) + " bytes");
    expected = entry.end;
  }
  if (static_cast<std::uint64_t>(expected) != data_bytes)
    source.fail("data must end with the file",
                std::to_string(expected) + " bytes described, " + std::to_string(data_bytes) + " present");
  return order;
}

std::string json_string(const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::type_error&) {
    throw ValueError("save_safetensors: names and metadata must be UTF-8 (" + quote(text) + ")");
  }
}

using NamedArray = std::pair<const std::string, Array>;

/// Larger elements first, so that every array's data is aligned to its elements; then by name.
std::vector<const NamedArray*> check_arrays(const TensorFile& file) {
  std::vector<const NamedArray*> order;
  for (const auto& named : file.arrays) {
    if (named.first.size() > kMaxName || named.first == kMetadata)
      throw ValueError("save_safetensors: names must be at most 1024 bytes and not __metadata__ (" +
                       quote(named.first) + ")");
    if (!named.second.defined()) throw ValueError("save_safetensors: array is undefined (" + quote(named.first) + ")");
    order.push_back(&named);
  }
  std::stable_sort(order.begin(), order.end(), [](const NamedArray* a, const NamedArray* b) {
    return size_of(a->second.dtype()) > size_of(b->second.dtype());
  });
  return order;
}

std::string header_text(const TensorFile& file, const std::vector<const NamedArray*>& order) {
  std::string text = "{";
  const auto separate = [&] {
    if (text.back() != '{') text += ',';
  };
  if (!file.metadata.empty()) {
    text += "\"__metadata__\":{";
    for (const auto& item : file.metadata) {
      separate();
      text.append(json_string(item.first)).append(":").append(json_string(item.second));
    }
    text += '}';
  }
  std::int64_t begin = 0;
  for (const NamedArray* named : order) {
    const Array& array = named->second;
    const std::int64_t end = begin + byte_count(array.shape(), array.dtype());
    separate();
    text.append(json_string(named->first))
        .append(":{\"dtype\":\"")
        .append(stored_type(array.dtype()).safetensors)
        .append("\",\"shape\":[");
    for (int axis = 0; axis < array.rank(); ++axis)
      text.append(axis > 0 ? "," : "").append(std::to_string(array.shape()[axis]));
    text.append("],\"data_offsets\":[")
        .append(std::to_string(begin))
        .append(",")
        .append(std::to_string(end))
        .append("]}");
    begin = end;
  }
  text += '}';
  const std::size_t total = sizeof(std::uint64_t) + text.size();
  text.append((kAlignment - total % kAlignment) % kAlignment, ' ');
  if (text.size() > kMaxHeader)
    throw ValueError("save_safetensors: header must be at most 100000000 bytes (" + std::to_string(text.size()) + ")");
  return text;
}

}  // namespace

TensorFile read_safetensors(Source& source) {
  std::uint64_t length = 0;
  source.read(&length, sizeof(length));
  if (length > kMaxHeader) source.fail("header must be at most 100000000 bytes", std::to_string(length));
  if (length > source.remaining())
    source.fail("header must end within the file",
                std::to_string(length) + " bytes of header, " + std::to_string(source.size()) + " of file");
  HeaderReader reader(source);
  {
    const std::string text = source.read_text(static_cast<std::size_t>(length));
    if (text.empty() || text.front() != '{') source.fail("header must begin with {", quote(text.substr(0, 1)));
    const std::size_t nul = text.find('\0');  // which the parser would take for the end of the text
    if (nul != std::string::npos) reader.fail_syntax(nul + 1);
    nlohmann::json::sax_parse(text, &reader);
  }
  Header header = reader.take();
  TensorFile file;
  for (const NamedEntry* named : check_offsets(source, header, source.remaining())) {
    const auto& [name, entry] = *named;
    if (entry.type->dtype) {
      file.arrays.emplace(name, read_stored(source, entry.shape, *entry.type, false, quote(name)));
    } else {
      source.skip(static_cast<std::size_t>(entry.end - entry.begin));
      file.unsupported.emplace(name, std::string(entry.type->safetensors) + " " + to_string(entry.shape));
    }
  }
  file.metadata = std::move(header.metadata);
  return file;
}

}  // namespace io

const Array& TensorFile::at(const std::string& name) const {
  if (const auto found = arrays.find(name); found != arrays.end()) return found->second;
  const auto known = unsupported.find(name);
  if (known == unsupported.end()) throw ValueError("TensorFile: there is no " + quote(name));
  throw DTypeError("TensorFile: " + quote(name) + " is " + known->second + ", which no dtype of weft holds");
}

TensorFile load_safetensors(const std::filesystem::path& path) {
  io::FileSource source(path);
  TensorFile file = io::read_safetensors(source);
  source.check_size_unchanged();
  return file;
}

void save_safetensors(const std::filesystem::path& path, const TensorFile& file) {
  const auto order = io::check_arrays(file);
  const std::string header = io::header_text(file, order);
  const std::uint64_t length = header.size();
  io::AtomicFile output(path);
  output.write(&length, sizeof(length));
  output.write(header.data(), header.size());
  for (const auto* named : order) io::write_elements(output, named->second);
  output.commit();
}

}  // namespace weft
