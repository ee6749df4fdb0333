#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace weft::fuzz {

/// Ends the process where a target finds what must not be. abort() is what libFuzzer keeps an input for.
[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "fuzz: %s\n", what.c_str());
  std::abort();
}

/// The bytes of an input from front to back; zeros after its end. Every choice takes its usual answer from zeros.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : at_(data), end_(data + size) {}

  std::size_t remaining() const { return static_cast<std::size_t>(end_ - at_); }
  const std::uint8_t* position() const { return at_; }
  std::uint8_t byte() { return at_ == end_ ? std::uint8_t{0} : *at_++; }
  int below(int n) { return byte() % n; }
  bool flag() { return (byte() & 1) != 0; }
  /// True once in n random answers, and never from zeros.
  bool rarely(int n) { return byte() % n == n - 1; }
  /// Text of at most `most` bytes: its length, then its bytes.
  std::string text(int most) {
    std::string text(static_cast<std::size_t>(below(most + 1)), '\0');
    for (char& c : text) c = static_cast<char>(byte());
    return text;
  }

 private:
  const std::uint8_t* at_;
  const std::uint8_t* end_;
};

}  // namespace weft::fuzz
