#include "weft/nn/checkpoint.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "weft/conv_algo.h"
#include "weft/error.h"
#include "weft/io.h"
#include "weft/quote.h"

namespace weft::nn {

namespace {

constexpr const char* kConvChoices = "weft.conv_choices";

/// Takes the JSON of the choices token by token. A tree of nlohmann::json allocates where it is destroyed, which ends
/// the process when there is no memory.
class ChoicesReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  ConvChoices choices;
  std::string error = "the text is no object";

  bool start_object(std::size_t) override {
    if (inside_) return no_string();
    return inside_ = true;
  }
  bool end_object() override {
    error.clear();
    return true;
  }
  bool key(string_t& text) override {
    work_ = std::move(text);
    if (work_.size() > kMaxConvWork) {
      error = "a name has " + std::to_string(work_.size()) + " bytes, more than " + std::to_string(kMaxConvWork);
    } else if (choices.size() == kMaxConvChoices) {
      error = "there are more than " + std::to_string(kMaxConvChoices);
    } else {
      return true;
    }
    return false;
  }
  bool string(string_t& text) override {
    if (!inside_) return false;
    choices[work_] = std::move(text);
    return true;
  }
  bool null() override { return no_string(); }
  bool boolean(bool) override { return no_string(); }
  bool number_integer(number_integer_t) override { return no_string(); }
  bool number_unsigned(number_unsigned_t) override { return no_string(); }
  bool number_float(number_float_t, const string_t&) override { return no_string(); }
  bool binary(binary_t&) override { return no_string(); }
  bool start_array(std::size_t) override { return no_string(); }
  bool end_array() override { return no_string(); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    error = "invalid at byte " + std::to_string(position);
    return false;
  }

 private:
  bool no_string() {
    if (inside_) error = "the value of " + quote(work_) + " is no string";
    return false;
  }

  bool inside_ = false;
  std::string work_;
};

std::string choices_text(const ConvChoices& choices) {
  std::string text = "{";
  for (const auto& [work, algo] : choices) {
    if (text.size() > 1) text += ',';
    text.append(nlohmann::json(work).dump()).append(":").append(nlohmann::json(algo).dump());
  }
  return text + "}";
}

void add_choices(const std::filesystem::path& path, const std::string& text) {
  ChoicesReader reader;
  if (!nlohmann::json::sax_parse(text, &reader)) {
    throw FormatError(path.string() + ": metadata " + kConvChoices +
                      " must be a JSON object of strings: " + reader.error);
  }
  try {
    add_conv_choices(reader.choices);
  } catch (const ValueError& error) {
    throw FormatError(path.string() + ": metadata " + kConvChoices + ": " + error.what());
  }
}

}  // namespace

void save(const std::filesystem::path& path, const StateDict& state,
          const std::map<std::string, std::string>& metadata) {
  TensorFile file{{}, metadata};
  if (const ConvChoices choices = conv_choices(); !choices.empty()) {
    file.metadata.emplace(kConvChoices, choices_text(choices));
  }
  file.metadata.emplace("format", "pt");  // what other readers of the format ask for
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
