#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "weft/weft.h"

// Hashes of the results that a GPU has to give to the bit: a file of lines "HASH NAME" with sixteen hexadecimal digits.
// The cases of `weft check` have the names "FAMILY: CASE"; tests/hashes.h adds the rows of the table of cases.

namespace weft::cli::check {

using Hashes = std::map<std::string, std::uint64_t>;  // by name

/// FNV-1a (Fowler, Noll and Vo) of the dtypes, shapes and elements of dense arrays in host memory, with one NaN for
/// all.
std::uint64_t hash_of(const std::vector<Array>& results);

/// Throws IoError where the file cannot be read, FormatError on a line that is none of these.
Hashes read_hashes(const std::string& path);
/// Throws IoError where the file cannot be written.
void write_hashes(const std::string& path, const Hashes& hashes);
/// A line of the file, with its end.
std::string hash_line(const std::string& name, std::uint64_t hash);

/// Kernels that are launched from here on make the next result.
void begin_result();
/// Whether the kernels that were launched since begin_result gave what every GPU gives to the bit. A program that
/// executes the kernels' PTX on the CPU (tests/ptx_on_cpu) can tell. In all others the answer is `otherwise`.
bool end_result(bool otherwise);

}  // namespace weft::cli::check
