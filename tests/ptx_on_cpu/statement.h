#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weft::ptx_on_cpu {

struct Statement {
  std::string text;  ///< with single spaces and without its semicolon; "{", "}" and "label:" too
  int line = 0;
};

/// The statements of a body one after another.
class StatementReader {
 public:
  StatementReader(std::string_view body, int line) : body_(body), line_(line) {}
  bool next(Statement& out);

 private:
  std::string_view body_;
  std::size_t at_ = 0;
  int line_;
};

std::vector<std::string> split_words(std::string_view text);
/// At the commas outside of all brackets, without spaces around.
std::vector<std::string> split_operands(std::string_view text);

}  // namespace weft::ptx_on_cpu
