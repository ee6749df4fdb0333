#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <iostream>

#include "cli/commands.h"

namespace weft::cli {

void add_device_option(CLI::App& command, std::string& device) {
  command.add_option("--device", device, "auto, cpu, cuda or cuda:N")
      ->capture_default_str()
      ->check([](const std::string& text) {
        try {
          if (text != "auto") Device::parse(text);
        } catch (const Error& error) {
          return std::string(error.what());
        }
        return std::string();
      });
}

Device choose_device(const std::string& text) {
  if (text == "auto") {
    const Device device = cuda_is_available() ? Device::cuda() : Device::cpu();
    const std::string reason = cuda_unavailable_reason();
    std::cerr << "device: " << weft::to_string(device) << (reason.empty() ? "" : " (" + reason + ")") << '\n';
    return device;
  }
  const Device device = Device::parse(text);
  require_device(device);
  return device;
}

namespace {

nn::ImageDataset first_images(nn::ImageDataset dataset, std::int64_t limit) {
  if (limit == 0 || limit >= dataset.size()) return dataset;
  const std::size_t image_bytes = dataset.images.size() / dataset.labels.size();
  dataset.labels.resize(static_cast<std::size_t>(limit));
  dataset.images.resize(dataset.labels.size() * image_bytes);
  dataset.images.shrink_to_fit();
  return dataset;
}

}  // namespace

nn::ImageDataset load_split(const std::string& data, nn::Split split, std::int64_t limit) {
  static const std::filesystem::path usual = "data/cifar-10-batches-bin";
  const bool is_usual = data.empty() && std::filesystem::is_directory(usual);
  if (is_usual || (!data.empty() && data != "builtin")) {
    return first_images(nn::cifar10(is_usual ? usual.string() : data, split), limit);
  }
  if (data.empty() && split == nn::Split::train) {
    std::cerr << "data: " << usual.string()
              << " does not exist; using the built-in images (scripts/fetch_cifar10.sh gets CIFAR-10)\n";
  }
  return nn::builtin_images(split, std::min<std::int64_t>(limit, split == nn::Split::train ? 50000 : 10000));
}

std::optional<nn::ResNet9> find_model(const std::string& name) {
  if (name == "resnet9-narrow" || name == "needle") return nn::ResNet9::narrow;
  if (name == "resnet9" || name == "page") return nn::ResNet9::full;
  return {};
}

Precision parse_precision(const std::string& name, const Device& device) {
  if (name == "fp32") return Precision::fp32;
  if (device.is_cpu()) throw ValueError("--precision " + name + " needs a GPU; the CPU computes in fp32");
  return name == "tf32" ? Precision::tf32 : Precision::bf16;
}

std::string to_string(nn::ResNet9 variant) { return variant == nn::ResNet9::narrow ? "resnet9-narrow" : "resnet9"; }

namespace {

using Channels = std::array<float, 3>;

/// The shortest texts that read back as the numbers, with blanks between them.
std::string to_text(const Channels& numbers) {
  std::string text;
  for (const float number : numbers) {
    char digits[32];
    if (!text.empty()) text += ' ';
    text.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
  }
  return text;
}

/// What to_text wrote; finite numbers.
std::optional<Channels> parse_channels(const std::string& text) {
  Channels numbers;
  const char* at = text.data();
  const char* const end = at + text.size();
  for (std::size_t c = 0; c < numbers.size(); ++c) {
    if (c > 0 && (at == end || *at++ != ' ')) return {};
    const auto [rest, error] = std::from_chars(at, end, numbers[c]);
    if (error != std::errc() || !std::isfinite(numbers[c])) return {};
    at = rest;
  }
  return at == end ? std::optional(numbers) : std::nullopt;
}

}  // namespace

void put_normalisation(const nn::ImageDataset& images, Metadata& metadata) {
  metadata["mean"] = to_text(images.mean);
  metadata["stddev"] = to_text(images.stddev);
}

Checkpoint::Checkpoint(const std::string& file_path) : path(file_path) {
  TensorFile file = load_safetensors(path);
  metadata = std::move(file.metadata);
  const auto name = metadata.find("model");
  const auto variant = name == metadata.end() ? std::nullopt : find_model(name->second);
  if (!variant) {
    throw FormatError(path + ": the metadata does not name a model that weft knows (resnet9-narrow, resnet9)");
  }
  model = nn::resnet9({.variant = *variant});
  try {
    model.load_state_dict(file.arrays);
  } catch (const FormatError& error) {
    throw FormatError(path + ": " + error.what());
  }
}

void Checkpoint::normalise(nn::ImageDataset& images) const {
  const auto read = [this](const char* key, Channels& numbers) {
    const auto found = metadata.find(key);
    if (found == metadata.end()) return;
    const std::optional<Channels> parsed = parse_channels(found->second);
    if (!parsed) {
      throw FormatError(path + ": the metadata's " + key + " must be three finite numbers, but is '" + found->second +
                        "'");
    }
    numbers = *parsed;
  };
  read("mean", images.mean);
  read("stddev", images.stddev);
}

}  // namespace weft::cli
