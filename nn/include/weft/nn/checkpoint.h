#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "weft/nn/module.h"

namespace weft::nn {

/// Writes the arrays (of any device and memory order) to a safetensors file that PyTorch's safetensors package reads
/// back under the same names and shapes. The metadata gets "format": "pt" and the process's conv_choices() as
/// "weft.conv_choices", where there are any. The target is either the old file or the whole new one. Throws IoError.
void save(const std::filesystem::path& path, const StateDict& state,
          const std::map<std::string, std::string>& metadata = {});
/// The arrays of a safetensors file, on the CPU. Its conv_choices are added to the process's. Throws IoError,
/// FormatError.
StateDict load(const std::filesystem::path& path);

}  // namespace weft::nn
