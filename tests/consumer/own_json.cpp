// A stranger's program with nlohmann-json built by its own options, beside weft, which reads files with its own.
#define JSON_DIAGNOSTICS 1
#include <weft/weft.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <iostream>
#include <string>

int main() {
  const std::filesystem::path file = "own_json.safetensors";
  weft::nn::Linear layer(3, 2);
  weft::nn::save(file, layer.state_dict());
  weft::nn::Linear other(3, 2);
  other.load_state_dict(weft::nn::load(file));
  try {
    static_cast<void>(nlohmann::json::parse(R"({"a": {"b": "text"}})").at("a").at("b").get<int>());
  } catch (const nlohmann::json::type_error& error) {
    std::cout << error.what() << '\n';  // with JSON_DIAGNOSTICS it names the place
    return std::string(error.what()).find("(/a/b)") != std::string::npos ? 0 : 1;
  }
  return 1;
}
