#pragma once

#include "cli/check.h"

namespace weft::cli::check {

/// What a case gave: its results in host memory, or why there are none.
struct Outcome {
  std::vector<Array> results;
  std::string error;
};
Outcome run_case(const Case& c, const Device& device);

/// How two outcomes of a case differ.
struct Difference {
  double error = 0;  ///< as a Case's bound is meant; 0 where all bits are the same, infinite where NaN or shapes differ
  std::string failure;  ///< empty where the error is within the case's bound
};
Difference compare(const Case& c, const Outcome& found, const Outcome& expected);

/// All outcomes in a row as bytes, for another process; from_bytes throws FormatError.
std::string to_bytes(const std::vector<Outcome>& outcomes);
std::vector<Outcome> from_bytes(const std::string& bytes);

/// A table of families: a line for each with its largest error, and a verdict.
class Report {
 public:
  /// The differences of a family's cases; `where` names the kind of kernel that they are of, or is empty.
  void add(const Family& family, const std::vector<Difference>& differences, const std::string& where);
  /// Prints the lines and the verdict; whether nothing failed.
  bool print(const std::string& what, const std::string& beside) const;

 private:
  struct Line {
    std::string family, worst;
    std::size_t cases = 0, failed = 0;
    double error = 0, bound = 0, share = -1;  ///< of the case that comes nearest to its bound
    bool bits = true;                         ///< all cases are of equal bits
    std::vector<std::string> failures;
  };
  std::vector<Line> lines_;
};

}  // namespace weft::cli::check
