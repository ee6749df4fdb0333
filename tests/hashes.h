#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

/// What a GPU must compute to the bit: hashes of results, of the file golden/device_hashes.txt. It has the rows whose
/// PTX, as it ran on the CPU (tests/ptx_on_cpu), took no approximation, no tensor core and no product of cuBLAS. The
/// environment's WEFT_WRITE_HASHES names a file that gets the lines of such rows.

/// The hook of tests/ptx_on_cpu/report.h; there is none where no PTX is executed.
extern "C" [[gnu::weak]] int weft_ptx_traits();

namespace weft::cases {

/// FNV-1a of the numbers as f64; every NaN counts as the same.
inline std::uint64_t hash_of(const std::vector<double>& values) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const double value : values) {
    std::uint64_t bits = 0x7FF8000000000000u;
    if (!std::isnan(value)) std::memcpy(&bits, &value, sizeof bits);
    for (int byte = 0; byte < 8; ++byte) hash = (hash ^ (bits >> (8 * byte) & 255)) * 0x100000001B3u;
  }
  return hash;
}

inline std::string hash_text(std::uint64_t hash) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

inline const std::map<std::string, std::string>& stored_hashes() {
  static const std::map<std::string, std::string> all = [] {
    std::map<std::string, std::string> hashes;
    std::ifstream in(WEFT_GOLDEN_DIR "/device_hashes.txt");
    for (std::string line; std::getline(in, line);) {
      if (line.size() > 17 && line[0] != '#') hashes[line.substr(17)] = line.substr(0, 16);
    }
    return hashes;
  }();
  return all;
}

/// The hash of the result of `row`, a name that no other result has; whatever ran since the last call made it.
inline void check_hash(const std::string& row, const std::vector<double>& values) {
  const std::string hash = hash_text(hash_of(values));
  const int traits = weft_ptx_traits != nullptr ? weft_ptx_traits() : -1;
  if (const char* const path = std::getenv("WEFT_WRITE_HASHES"); path != nullptr) {
    if (traits == 0) std::ofstream(path, std::ios::app) << hash << ' ' << row << '\n';
    return;
  }
  const auto stored = stored_hashes().find(row);
  if (stored == stored_hashes().end()) return;
  EXPECT_EQ(hash, stored->second) << row << " has other bits than the PTX gave on the CPU";
}

}  // namespace weft::cases
