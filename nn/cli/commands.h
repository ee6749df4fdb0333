#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "weft/weft.h"

namespace CLI {
class App;
}

namespace weft::cli {

/// What the shell sees.
enum ExitCode : int {
  kOk = 0,
  kRuntimeError = 1,
  kUsageError = 2,
  kBadData = 3,
  kNoDevice = 4,
  kOutOfMemory = 5,
  kDiverged = 6,
  kInterrupted = 130,
  kTerminated = 143
};

/// Training whose loss is no longer finite.
class DivergedError : public Error {
 public:
  using Error::Error;
};

/// Each adds its subcommand; the returned function runs it and gives the exit code.
using Command = std::function<int()>;
Command add_train(CLI::App& app);
Command add_eval(CLI::App& app);
Command add_info(CLI::App& app);
Command add_check(CLI::App& app);

/// --device, which takes what choose_device does.
void add_device_option(CLI::App& command, std::string& device);

/// "auto", "cpu", "cuda" or "cuda:N"; auto takes a GPU where there is one. Throws DeviceError when the one asked for is
/// not available.
Device choose_device(const std::string& text);

/// "fp32", "tf32" or "bf16". Throws ValueError for the last two on the CPU.
Precision parse_precision(const std::string& name, const Device& device);

/// The two splits named by --data: a folder, "builtin", or (empty) ./data/cifar-10-batches-bin if it exists and the
/// built-in images if not. A `limit` above 0 keeps only that many, the first.
nn::ImageDataset load_split(const std::string& data, nn::Split split, std::int64_t limit);

using Metadata = std::map<std::string, std::string>;

/// Writes the images' mean and stddev, by which every image for the model has to be normalised.
void put_normalisation(const nn::ImageDataset& images, Metadata& metadata);

/// A ResNet9 in a file: its metadata says which.
struct Checkpoint {
  explicit Checkpoint(const std::string& path);
  /// Gives the images the mean and stddev of those that the model was trained on, where the metadata has them. Throws
  /// FormatError where either is not three finite numbers.
  void normalise(nn::ImageDataset& images) const;

  std::string path;
  Metadata metadata;
  nn::Sequential model;
};

/// "resnet9-narrow" or "resnet9", and their former names "needle" and "page", which older files have; nothing for
/// another name.
std::optional<nn::ResNet9> find_model(const std::string& name);
std::string to_string(nn::ResNet9 variant);

/// Runs this program again with other arguments and changes of the environment, and returns what it wrote on standard
/// output. Throws Error where it cannot be started or does not exit with 0.
std::string run_again(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment);

}  // namespace weft::cli
