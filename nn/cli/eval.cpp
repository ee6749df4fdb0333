#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/commands.h"

namespace weft::cli {

namespace {

struct Options {
  std::string checkpoint = "runs/latest/model.safetensors";
  std::string device = "auto";
  std::string data;
  std::int64_t batch = 512;
  std::int64_t limit = 0;
};

int evaluate(const Options& options) {
  const Device device = choose_device(options.device);
  Checkpoint checkpoint(options.checkpoint);
  checkpoint.model.to(device);
  nn::ImageDataset test_set = load_split(options.data, nn::Split::test, options.limit);
  checkpoint.normalise(test_set);
  const nn::Metrics test = nn::evaluate(checkpoint.model, test_set, device, options.batch);
  std::printf("test accuracy on %s: %.2f%%, loss %.4f (%ld images, %.0f images/s)\n", test_set.name.c_str(),
              100 * test.accuracy, test.loss, static_cast<long>(test.images), test.images_per_second());
  return kOk;
}

}  // namespace

Command add_eval(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("eval", "Test accuracy of a saved model");
  command->add_option("checkpoint", options->checkpoint, "a model.safetensors that weft train wrote")
      ->capture_default_str();
  add_device_option(*command, options->device);
  command->add_option(
      "--data", options->data,
      "folder of CIFAR-10's binary files, or builtin (default: data/cifar-10-batches-bin if it exists)");
  command->add_option("--batch", options->batch, "images per step")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("--limit", options->limit, "use only the first N images (0: all)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  return [options] { return evaluate(*options); };
}

}  // namespace weft::cli
