#include "module.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <unordered_map>

#include "decoder.h"
#include "statement.h"

namespace weft::ptx_on_cpu {

namespace {

std::vector<std::string>& form_names() {
  static auto* const names = new std::vector<std::string>;
  return *names;
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$';
}

}  // namespace

const std::string& form_name(std::uint32_t form) { return form_names().at(form); }
std::uint32_t form_of(const std::string& name) {
  static auto* const numbers = new std::unordered_map<std::string, std::uint32_t>;
  const auto [entry, added] = numbers->try_emplace(name, static_cast<std::uint32_t>(form_names().size()));
  if (added) form_names().push_back(name);
  return entry->second;
}
std::uint32_t form_count() { return static_cast<std::uint32_t>(form_names().size()); }

int type_bytes(std::string_view type) {
  if (type == "pred") return 1;
  if (type.size() < 2 || std::strchr("busf", type[0]) == nullptr) return 0;
  const std::string_view bits = type.substr(1);
  return bits == "8" ? 1 : bits == "16" ? 2 : bits == "32" ? 4 : bits == "64" ? 8 : 0;
}

std::uint64_t number_bits(std::string_view text) {
  const std::string_view all = text;
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  int base = 10;
  if (text.starts_with("0f") || text.starts_with("0d") || text.starts_with("0x") || text.starts_with("0F") ||
      text.starts_with("0D")) {
    text.remove_prefix(2);
    base = 16;
  }
  if (base == 10 && text.ends_with('U')) text.remove_suffix(1);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw PtxError("\"" + std::string(all) + "\" is not a number");
  }
  return negative ? 0 - value : value;
}

Module::Module(std::string name, std::string text) : name_(std::move(name)), text_(std::move(text)) {
  // Comments become spaces, so that places and lines stay.
  for (std::size_t at = text_.find("//"); at != std::string::npos; at = text_.find("//", at)) {
    for (; at < text_.size() && text_[at] != '\n'; ++at) text_[at] = ' ';
  }
  index();
}

// Directives of a module begin a line; everything in a function's braces is passed over.
void Module::index() {
  std::size_t at = 0;
  while (at < text_.size()) {
    const std::size_t end = std::min(text_.find('\n', at), text_.size());
    const std::string_view line(text_.data() + at, end - at);
    const std::size_t entry = line.find(".entry"), function = line.find(".func");
    if (line.starts_with('.') && entry != std::string_view::npos) {
      index_function(at + entry + 6, true);
    } else if (line.starts_with('.') && function != std::string_view::npos) {
      index_function(at + function + 5, false);
    } else if (line.starts_with('.') && line.find('=') != std::string_view::npos &&
               (line.find(".global") != std::string_view::npos || line.find(".const") != std::string_view::npos)) {
      index_data(at);
    } else if (line.starts_with(".shared")) {
      index_shared(line);
    }
    at = end + 1;
    if (!functions_.empty() && !functions_.back().body.empty()) {
      const std::string_view& body = functions_.back().body;
      at = std::max(at, static_cast<std::size_t>(body.data() + body.size() - text_.data()) + 1);
    }
  }
}

void Module::index_function(std::size_t at, bool entry) {
  const auto parenthesis = [&]() -> std::string_view {
    while (at < text_.size() && is_space(text_[at])) ++at;
    if (at >= text_.size() || text_[at] != '(') return {};
    const std::size_t end = text_.find(')', at);
    if (end == std::string::npos) throw PtxError(name_ + ": a list of parameters has no end");
    const std::string_view inside(text_.data() + at + 1, end - at - 1);
    at = end + 1;
    return inside;
  };
  Function f;
  f.module = this;
  f.is_entry = entry;
  f.returns = parenthesis();
  while (at < text_.size() && is_space(text_[at])) ++at;
  std::size_t end = at;
  while (end < text_.size() && is_name(text_[end])) ++end;
  f.name = text_.substr(at, end - at);
  at = end;
  f.parameters = parenthesis();
  while (at < text_.size() && text_[at] != '{' && text_[at] != ';') ++at;
  if (at >= text_.size()) throw PtxError(name_ + ": " + f.name + " has no body");
  if (text_[at] == ';') return;  // a declaration
  const std::size_t first = ++at;
  for (int depth = 1; depth > 0; ++at) {
    if (at >= text_.size()) throw PtxError(name_ + ": the body of " + f.name + " has no end");
    depth += text_[at] == '{' ? 1 : text_[at] == '}' ? -1 : 0;
  }
  f.body = std::string_view(text_).substr(first, at - 1 - first);
  counted_lines_ += static_cast<int>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(counted_),
                                                text_.begin() + static_cast<std::ptrdiff_t>(first), '\n'));
  counted_ = first;
  f.line = 1 + counted_lines_;
  functions_.push_back(std::move(f));
  by_name_[functions_.back().name] = &functions_.back();
}

// .global .align 8 .b8 name[144] = {8, 0x2a, ...};
void Module::index_data(std::size_t start) {
  const std::size_t equals = text_.find('=', start), open = text_.find('{', equals), close = text_.find('}', open);
  if (close == std::string::npos) throw PtxError(name_ + ": a variable has no values in braces");
  const std::string_view head(text_.data() + start, equals - start);
  const std::size_t bracket = head.find('['), closing = head.find(']');
  const std::size_t name = head.find_last_of(" \t", bracket) + 1;
  const std::size_t type = head.rfind('.', name);
  if (bracket == std::string_view::npos || type == std::string_view::npos) {
    throw PtxError(name_ + ": not an array: " + std::string(head));
  }
  const std::size_t type_end = head.find_first_of(" \t", type);
  const int width = type_bytes(head.substr(type + 1, type_end - type - 1));
  const std::uint64_t count = number_bits(head.substr(bracket + 1, closing - bracket - 1));
  if (width == 0) throw PtxError(name_ + ": a variable of an unknown type: " + std::string(head));
  std::vector<unsigned char> bytes;
  for (std::size_t at = open + 1; at < close;) {
    const std::size_t comma = std::min(text_.find(',', at), close);
    std::size_t from = at, to = comma;
    while (from < to && is_space(text_[from])) ++from;
    while (to > from && is_space(text_[to - 1])) --to;
    const std::uint64_t bits = number_bits(std::string_view(text_).substr(from, to - from));
    for (int byte = 0; byte < width; ++byte) bytes.push_back(static_cast<unsigned char>(bits >> (8 * byte)));
    at = comma + 1;
  }
  bytes.resize(count * static_cast<std::size_t>(width));
  data_[std::string(head.substr(name, bracket - name))] = std::move(bytes);
}

// .shared .align 4 .u32 name; or .b8 name[64];
void Module::index_shared(std::string_view line) {
  const std::vector<std::string> words = split_words(line.substr(0, line.find(';')));
  if (words.size() != 5 || words[1] != ".align") throw PtxError(name_ + ": not a shared array: " + std::string(line));
  const std::size_t bracket = words[4].find('[');
  std::size_t bytes = static_cast<std::size_t>(type_bytes(words[3].substr(1)));
  if (bracket != std::string::npos) {
    bytes *= number_bits(std::string_view(words[4]).substr(bracket + 1, words[4].find(']') - bracket - 1));
  }
  shared_.push_back({words[4].substr(0, bracket), number_bits(words[2]), bytes});
}

const SharedArray* Module::shared(std::string_view name) const {
  const auto found = std::find_if(shared_.begin(), shared_.end(), [&](const SharedArray& a) { return a.name == name; });
  return found == shared_.end() ? nullptr : &*found;
}

const Function* Module::find(const std::string& name) {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return nullptr;
  if (!found->second->decoded) Decoder(*this, *found->second).decode();
  return found->second;
}

const std::vector<unsigned char>* Module::data(const std::string& name) const {
  const auto found = data_.find(name);
  return found == data_.end() ? nullptr : &found->second;
}

}  // namespace weft::ptx_on_cpu
