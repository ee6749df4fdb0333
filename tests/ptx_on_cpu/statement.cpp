#include "statement.h"

namespace weft::ptx_on_cpu {

namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

bool is_location(std::string_view text) { return text.size() > 4 && text.starts_with(".loc") && is_space(text[4]); }

}  // namespace

bool StatementReader::next(Statement& out) {
  const auto skip = [&] {
    for (; at_ < body_.size() && is_space(body_[at_]); ++at_) line_ += body_[at_] == '\n';
  };
  skip();
  // .loc has no semicolon: the rest of its line is dropped.
  while (at_ < body_.size() && is_location(body_.substr(at_))) {
    while (at_ < body_.size() && body_[at_] != '\n') ++at_;
    skip();
  }
  if (at_ >= body_.size()) return false;
  out.text.clear();
  out.line = line_;
  if (body_[at_] == '{' || body_[at_] == '}') {
    out.text = body_[at_++];
    return true;
  }
  for (; at_ < body_.size(); ++at_) {
    const char c = body_[at_];
    if (c == ';') {
      ++at_;
      break;
    }
    line_ += c == '\n';
    if (is_space(c)) {
      if (!out.text.empty() && out.text.back() != ' ') out.text += ' ';
      continue;
    }
    out.text += c;
    // A label is one word; a colon within a word belongs to a state space such as shared::cta.
    if (c == ':' && out.text.find(' ') == std::string::npos && at_ + 1 < body_.size() && is_space(body_[at_ + 1])) {
      ++at_;
      break;
    }
  }
  while (!out.text.empty() && out.text.back() == ' ') out.text.pop_back();
  return !out.text.empty() || next(out);
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : text) {
    if (!is_space(c)) {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

std::vector<std::string> split_operands(std::string_view text) {
  std::vector<std::string> operands;
  std::string one;
  int depth = 0;
  const auto finish = [&] {
    while (!one.empty() && is_space(one.back())) one.pop_back();
    if (!one.empty()) operands.push_back(std::move(one));
    one.clear();
  };
  for (const char c : text) {
    if (c == '{' || c == '[' || c == '(') ++depth;
    if (c == '}' || c == ']' || c == ')') --depth;
    if (c == ',' && depth == 0) {
      finish();
    } else if (!is_space(c) || !one.empty()) {
      one += c;
    }
  }
  finish();
  return operands;
}

}  // namespace weft::ptx_on_cpu
