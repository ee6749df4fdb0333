#pragma once

#include <map>
#include <string>
#include <vector>

namespace weft::cli {

/// Runs this program again with other arguments and changes of the environment, and returns what it wrote on standard
/// output. Throws Error where it cannot be started or does not exit with 0.
std::string run_again(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment);

}  // namespace weft::cli
