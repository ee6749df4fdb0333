#pragma once

#include <charconv>
#include <string>

namespace weft {

/// The shortest text that reads back as `value`.
inline std::string number(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

}  // namespace weft
