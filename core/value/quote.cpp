#include "weft/quote.h"

#include <cstddef>
#include <cstdint>

namespace weft {

namespace {

struct Character {
  std::size_t bytes = 1;
  std::uint32_t code = 0;
  bool valid = false;  ///< else one byte that begins no character
};

/// The first character of a text that is not empty, by table 3-7 of the Unicode Standard.
Character first(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
  const std::uint32_t lead = byte(0);
  if (lead < 0x80) return {1, lead, true};
  const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {1, lead, false};
  std::uint32_t code = lead & (0x7fU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return {1, lead, false};
    code = code << 6 | (byte(i) & 0x3fU);
  }
  constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool is_surrogate = code >= 0xd800 && code <= 0xdfff;
  return {bytes, code, code >= kLeast[bytes] && code <= 0x10ffff && !is_surrogate};
}

bool is_plain(std::uint32_t code) {
  const bool is_control = code < 0x20 || (code >= 0x7f && code <= 0x9f);
  const bool is_separator = code == 0x2028 || code == 0x2029;
  const bool turns =
      code == 0x200e || code == 0x200f || (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
  return !is_control && !is_separator && !turns;
}

std::string escaped(std::string_view text, std::string_view with_backslash) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  while (!text.empty()) {
    Character character = first(text);
    if (!character.valid) character.bytes = 1;
    const std::string_view bytes = text.substr(0, character.bytes);
    text.remove_prefix(character.bytes);
    if (character.valid && is_plain(character.code)) {
      if (with_backslash.find(bytes) != std::string_view::npos) out += '\\';
      out += bytes;
      continue;
    }
    for (const char c : bytes) {
      const auto value = static_cast<unsigned char>(c);
      out.append("\\x").append(1, kHex[value >> 4]).append(1, kHex[value & 15]);
    }
  }
  return out;
}

}  // namespace

std::string printable(std::string_view text) { return escaped(text, ""); }

std::string quote(std::string_view text) {
  constexpr std::size_t kLongest = 128;
  std::size_t length = text.size();
  if (length > kLongest) {
    length = kLongest;
    while (length > kLongest - 3 && (static_cast<unsigned char>(text[length]) & 0xc0U) == 0x80) --length;
  }
  return '"' + escaped(text.substr(0, length), "\"\\") + (length < text.size() ? "...\"" : "\"");
}

}  // namespace weft
