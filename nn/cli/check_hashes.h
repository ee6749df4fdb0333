#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "nn/cli/check_compare.h"

// Hashes of the results that a GPU has to give to the bit. They are of what its kernels gave elsewhere, by name of
// family and case: lines of "HASH FAMILY: CASE" with sixteen hexadecimal digits.

namespace weft::cli::check {

using Hashes = std::map<std::string, std::uint64_t>;

std::string full_name(const Family& family, const Case& c);
/// FNV-1a of dtypes, shapes and elements (Fowler, Noll and Vo), with one NaN for all.
std::uint64_t hash_of(const Outcome& outcome);

/// Throws IoError where the file cannot be read, FormatError on a line that is none of these.
Hashes read_hashes(const std::string& path);
/// Throws IoError where the file cannot be written.
void write_hashes(const std::string& path, const Hashes& hashes);

}  // namespace weft::cli::check
