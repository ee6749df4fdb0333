#pragma once

#include <string>
#include <string_view>

namespace weft {

/// The text with what could command a terminal or forge a line as `\x1b`: control characters of ASCII and of C1 (U+0080
/// to U+009F), line and paragraph separators, marks that turn the direction of writing, and bytes that are not UTF-8.
std::string printable(std::string_view text);
/// The printable text in quotes, a quote and a backslash in it as `\"` and `\\`, cut after 128 bytes: for error
/// messages.
std::string quote(std::string_view text);

}  // namespace weft
