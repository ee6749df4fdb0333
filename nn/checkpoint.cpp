#include "weft/nn/checkpoint.h"

#include <nlohmann/json.hpp>

#include "weft/conv_algo.h"
#include "weft/error.h"
#include "weft/io.h"

namespace weft::nn {

namespace {

constexpr const char* kConvChoices = "weft.conv_choices";

void add_choices(const std::filesystem::path& path, const std::string& text) {
  try {
    add_conv_choices(nlohmann::json::parse(text).get<ConvChoices>());
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(path.string() + ": metadata " + kConvChoices + " is no JSON object of strings: " + error.what());
  } catch (const ValueError& error) {
    throw FormatError(path.string() + ": metadata " + kConvChoices + ": " + error.what());
  }
}

}  // namespace

void save(const std::filesystem::path& path, const StateDict& state,
          const std::map<std::string, std::string>& metadata) {
  TensorFile file{{}, metadata};
  if (const ConvChoices choices = conv_choices(); !choices.empty()) {
    file.metadata.emplace(kConvChoices, nlohmann::json(choices).dump());
  }
  for (const auto& [name, array] : state) file.arrays.emplace(name, array.to(Device::cpu()).contiguous());
  save_safetensors(path, file);
}

StateDict load(const std::filesystem::path& path) {
  TensorFile file = load_safetensors(path);
  const auto choices = file.metadata.find(kConvChoices);
  if (choices != file.metadata.end()) add_choices(path, choices->second);
  return std::move(file.arrays);
}

}  // namespace weft::nn
