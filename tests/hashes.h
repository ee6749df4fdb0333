#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "nn/cli/check_hashes.h"

/// What a GPU must compute to the bit: hashes of results, of the file golden/gpu_hashes.txt, which `weft check
/// --hashes` reads too. It has the rows of the table of cases whose PTX, as it ran on the CPU (tests/ptx_on_cpu), took
/// no approximation, no tensor core and no product of cuBLAS: a line for each op and dtype, "HASH table: OP DTYPE
/// ROWS", where ROWS has a + for each row whose result is in the hash, and a - for each other one. The environment's
/// WEFT_WRITE_HASHES names a file that gets these lines.

namespace weft::cases {

/// The results of an op's rows.
class RowHashes {
 public:
  explicit RowHashes(std::string op) : op_(std::move(op)) {}

  /// The next row's result, made by all kernels since begin_result().
  void add(DType dtype, const Tensor& result) {
    Rows& rows = rows_[std::string(name(dtype))];
    rows.exact += cli::check::end_result(false) ? '+' : '-';
    rows.results.push_back(result.array().to(Device::cpu()).contiguous());
  }

  /// After the last row: writes the op's lines, or compares with them. A line of other rows than there are now is
  /// passed over.
  void finish() const {
    const char* const path = std::getenv("WEFT_WRITE_HASHES");
    for (const auto& [dtype, rows] : rows_) {
      const std::string start = "table: " + op_ + " " + dtype + " ";
      if (path != nullptr) {
        if (rows.exact.find('+') == std::string::npos) continue;
        std::ofstream(path, std::ios::app) << cli::check::hash_line(start + rows.exact, rows.hash(rows.exact));
        continue;
      }
      const auto stored = stored_hashes().lower_bound(start);
      if (stored == stored_hashes().end() || !stored->first.starts_with(start)) continue;
      const std::string which = stored->first.substr(start.size());
      if (which.size() != rows.results.size()) continue;
      EXPECT_EQ(rows.hash(which), stored->second)
          << op_ << " " << dtype << " has other bits than the kernels' PTX gave on the CPU";
    }
  }

 private:
  struct Rows {
    std::string exact;
    std::vector<Array> results;

    std::uint64_t hash(const std::string& which) const {
      std::vector<Array> chosen;
      for (std::size_t i = 0; i < which.size(); ++i) {
        if (which[i] == '+') chosen.push_back(results[i]);
      }
      return cli::check::hash_of(chosen);
    }
  };

  static const cli::check::Hashes& stored_hashes() {
    static const cli::check::Hashes all = cli::check::read_hashes(WEFT_GOLDEN_DIR "/gpu_hashes.txt");
    return all;
  }

  std::string op_;
  std::map<std::string, Rows> rows_;  // by dtype
};

}  // namespace weft::cases
