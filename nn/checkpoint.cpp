#include "weft/nn/checkpoint.h"

#include "weft/io.h"

namespace weft::nn {

void save(const std::filesystem::path& path, const StateDict& state,
          const std::map<std::string, std::string>& metadata) {
  TensorFile file{{}, metadata};
  for (const auto& [name, array] : state) file.arrays.emplace(name, array.to(Device::cpu()).contiguous());
  save_safetensors(path, file);
}

StateDict load(const std::filesystem::path& path) { return load_safetensors(path).arrays; }

}  // namespace weft::nn
