#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>

#include "nn/cli/commands.h"

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
    std::cerr << "device: " << weft::to_string(device)
              << (device.is_cpu() ? " (" + cuda_unavailable_reason() + ")" : "") << '\n';
    return device;
  }
  const Device device = Device::parse(text);
  memory_statistics(device);  // throws when it is not there
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
              << " is not there; using the built-in images (scripts/fetch_cifar10.sh gets CIFAR-10)\n";
  }
  return nn::builtin_images(split, std::min<std::int64_t>(limit, split == nn::Split::train ? 50000 : 10000));
}

nn::ResNet9 parse_model(const std::string& name) {
  if (name == "needle") return nn::ResNet9::needle;
  if (name == "page") return nn::ResNet9::page;
  throw ValueError("model: '" + name + "' is not needle or page");
}

Precision parse_precision(const std::string& name, const Device& device) {
  if (name == "fp32") return Precision::fp32;
  if (device.is_cpu()) throw ValueError("--precision " + name + " needs a GPU; the CPU computes in fp32");
  return name == "tf32" ? Precision::tf32 : Precision::bf16;
}

std::string to_string(nn::ResNet9 variant) { return variant == nn::ResNet9::needle ? "needle" : "page"; }

nn::Sequential load_model(const std::string& path) {
  TensorFile file = load_safetensors(path);
  const auto variant = file.metadata.find("model");
  if (variant == file.metadata.end() || (variant->second != "needle" && variant->second != "page")) {
    throw FormatError(path + ": the metadata does not name a model that weft knows (needle, page)");
  }
  nn::Sequential model = nn::resnet9({.variant = parse_model(variant->second)});
  try {
    model.load_state_dict(file.arrays);
  } catch (const FormatError& error) {
    throw FormatError(path + ": " + error.what());
  }
  return model;
}

}  // namespace weft::cli
