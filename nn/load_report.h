#pragma once

#include <string>
#include <utility>

#include "weft/array.h"
#include "weft/error.h"

namespace weft::nn {

/// Collects what keeps a state dict from being loaded, to be said in one error.
class LoadReport {
 public:
  explicit LoadReport(std::string owner) : owner_(std::move(owner)) {}

  void missing(const std::string& name) { append(missing_, name); }
  void unexpected(const std::string& name) { append(unexpected_, name); }
  void mismatch(const std::string& text) { append(mismatched_, text); }
  /// Whether the array has the shape; reports it where not.
  bool fits(const std::string& name, const Array& array, const Shape& shape) {
    if (array.defined() && array.shape() == shape) return true;
    mismatch(name + " is " + (array.defined() ? to_string(array.shape()) : "undefined") + ", expected " +
             to_string(shape));
    return false;
  }

  /// Throws FormatError.
  void throw_if_any() const {
    std::string text;
    const auto add = [&](const char* title, const std::string& list) {
      if (!list.empty()) text += (text.empty() ? ": " : "; ") + std::string(title) + " " + list;
    };
    add("missing", missing_);
    add("unexpected", unexpected_);
    add("mismatched", mismatched_);
    if (!text.empty()) throw FormatError(owner_ + text);
  }

 private:
  static void append(std::string& list, const std::string& text) { list += (list.empty() ? "" : ", ") + text; }

  std::string owner_, missing_, unexpected_, mismatched_;
};

}  // namespace weft::nn
