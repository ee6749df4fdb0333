#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/commands.h"
#include "weft/quote.h"
#include "weft/version.h"

namespace weft::cli {

namespace {

void print_system() {
  std::printf("weft %s\n", WEFT_VERSION);
  std::printf("cpu: %s\n", description(Device::cpu()).c_str());
  const std::string reason = cuda_unavailable_reason();
  std::printf("cuda: %s%s%s\n", cuda_is_available() ? "available" : "",
              cuda_is_available() && !reason.empty() ? "; " : "", reason.c_str());
  for (int index = 0; index < cuda_device_count(); ++index) {
    const Device device = Device::cuda(index);
    std::printf("%s: %s\n", to_string(device).c_str(), description(device).c_str());
  }
}

void print_checkpoint(const std::string& path) {
  const TensorFile file = load_safetensors(path);
  for (const auto& [key, value] : file.metadata)
    std::printf("%s: %s\n", printable(key).c_str(), printable(value).c_str());
  for (const auto& [key, array] : file.arrays) {
    std::printf("%-32s %-5s %s\n", printable(key).c_str(), std::string(name(array.dtype())).c_str(),
                to_string(array.shape()).c_str());
  }
  for (const auto& [key, what] : file.unsupported)
    std::printf("%-32s %s, not supported\n", printable(key).c_str(), what.c_str());
}

}  // namespace

Command add_info(CLI::App& app) {
  const auto checkpoint = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("info", "What this build has, or what a checkpoint holds");
  command->add_option("checkpoint", *checkpoint, "a safetensors file");
  return [checkpoint] {
    if (checkpoint->empty()) {
      print_system();
    } else {
      print_checkpoint(*checkpoint);
    }
    return kOk;
  };
}

}  // namespace weft::cli
