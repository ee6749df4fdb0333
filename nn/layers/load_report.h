#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "weft/array.h"
#include "weft/error.h"
#include "weft/quote.h"

namespace weft::nn {

/// Collects what keeps a state dict from being loaded, to be said in one error: of each kind the first ten, and how
/// many more there are. Names may come from a file, so they are quoted.
class LoadReport {
 public:
  explicit LoadReport(std::string owner) : owner_(std::move(owner)) {}

  void missing(const std::string& name) { missing_.add(quote(name)); }
  void unexpected(const std::string& name) { unexpected_.add(quote(name)); }
  void mismatch(const std::string& name, const std::string& text) { mismatched_.add(quote(name) + text); }
  /// Whether the array has the shape; reports it where not.
  bool fits(const std::string& name, const Array& array, const Shape& shape) {
    if (array.defined() && array.shape() == shape) return true;
    mismatch(name,
             " is " + (array.defined() ? to_string(array.shape()) : "undefined") + ", expected " + to_string(shape));
    return false;
  }

  /// Throws FormatError.
  void throw_if_any() const {
    std::string text;
    const auto add = [&](const char* title, const List& list) {
      if (list.count > 0) text += (text.empty() ? ": " : "; ") + std::string(title) + " " + list.text();
    };
    add("missing", missing_);
    add("unexpected", unexpected_);
    add("mismatched", mismatched_);
    if (!text.empty()) throw FormatError(owner_ + text);
  }

 private:
  struct List {
    std::string first;
    std::int64_t count = 0;

    void add(const std::string& item) {
      if (++count <= kShown) first += (count == 1 ? "" : ", ") + item;
    }
    std::string text() const {
      return count <= kShown ? first : first + " and " + std::to_string(count - kShown) + " more";
    }
  };
  static constexpr std::int64_t kShown = 10;

  std::string owner_;
  List missing_, unexpected_, mismatched_;
};

}  // namespace weft::nn
