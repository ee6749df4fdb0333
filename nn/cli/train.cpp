#include <CLI/CLI.hpp>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>

#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/run_log.h"
#include "weft/version.h"

namespace weft::cli {

namespace {

volatile std::sig_atomic_t stop_signal = 0;

void on_signal(int signal) {
  stop_signal = signal;
  std::signal(signal, SIG_DFL);  // a second one ends the process at once
}

struct Options {
  std::string device = "auto";
  std::string model;
  std::string recipe;
  std::string data;
  std::string out = "runs/latest";
  std::string init;
  std::optional<std::int64_t> epochs, batch;
  std::optional<double> lr;
  std::uint64_t seed = 1;
  std::int64_t limit = 0;
  std::string precision = "fp32";
  bool no_graph = false;
  bool conv_timing = false;
};

nn::Recipe make_recipe(const Options& o) {
  nn::Recipe recipe = nn::Recipe::make(o.recipe == "adam" ? nn::Recipe::Kind::adam : nn::Recipe::Kind::dawnbench);
  recipe.epochs = o.epochs.value_or(recipe.epochs);
  recipe.batch_size = o.batch.value_or(recipe.batch_size);
  recipe.peak_lr = o.lr.value_or(recipe.peak_lr);
  return recipe;
}

void print_epoch(std::int64_t epoch, std::int64_t epochs, const nn::Metrics& train, const nn::Metrics& test) {
  std::printf("epoch %*ld/%ld  train loss %.4f acc %.2f%%  test loss %.4f acc %.2f%%  %.0f images/s  %.1f s\n",
              epochs >= 10 ? 2 : 1, static_cast<long>(epoch), static_cast<long>(epochs), train.loss,
              100 * train.accuracy, test.loss, 100 * test.accuracy, train.images_per_second(), train.seconds);
  std::fflush(stdout);
}

nlohmann::ordered_json to_json(const nn::Metrics& m) {
  return {{"loss", m.loss},
          {"accuracy", m.accuracy},
          {"images", m.images},
          {"seconds", m.seconds},
          {"images_per_s", m.images_per_second()}};
}

class Run {
 public:
  explicit Run(Options options)
      : options_(std::move(options)),
        device_(choose_device(options_.device)),
        variant_(options_.model.empty() ? (device_.is_cuda() ? nn::ResNet9::full : nn::ResNet9::narrow)
                                        : find_model(options_.model).value()) {
    if (options_.recipe.empty()) options_.recipe = variant_ == nn::ResNet9::narrow ? "adam" : "dawnbench";
    recipe_ = make_recipe(options_);
    precision_ = parse_precision(options_.precision, device_);
  }

  int train() {
    const nn::ImageDataset train_set = load_split(options_.data, nn::Split::train, options_.limit);
    const nn::ImageDataset test_set = load_split(options_.data, nn::Split::test, options_.limit);
    check_batches(train_set.size());
    make_out_folder();
    RunLog log(options_.out);

    manual_seed(options_.seed);
    set_conv_timing(options_.conv_timing);
    nn::Sequential model = make_model();
    nn::Trainer trainer(model, train_set,
                        {.recipe = recipe_,
                         .seed = options_.seed,
                         .device = device_,
                         .precision = precision_,
                         .graph = !options_.no_graph});
    catch_signals();
    start(log, model, train_set, test_set);

    const std::int64_t epochs = recipe_.epochs;
    bool saved = false;
    Progress progress;
    nn::Metrics test;
    while (trainer.epoch() < epochs && stop_signal == 0) {
      const std::int64_t epoch = trainer.epoch();
      saved = false;
      const nn::Metrics train = trainer.run_epoch([&](const nn::Trainer::Step& step) {
        if (progress.due()) progress.update(epoch, epochs, step.step + 1, step.steps, step.metrics());
        return stop_signal == 0;
      });
      progress.clear();
      if (trainer.stopped()) break;
      check_finite(log, "", train.loss, epoch + 1);
      test = nn::evaluate(model, test_set, device_, 512, precision_);
      check_finite(log, "test ", test.loss, epoch + 1);  // the last step can ruin a model whose losses were finite
      print_epoch(epoch + 1, epochs, train, test);
      log.write(
          "epoch",
          {{"epoch", epoch + 1}, {"lr", trainer.optimizer().lr()}, {"train", to_json(train)}, {"test", to_json(test)}});
      save(log, model, train_set, epoch + 1, test.accuracy);
      saved = true;
    }
    if (stop_signal != 0) {
      if (!saved) save(log, model, train_set, trainer.epoch(), {});
      return end_by_signal(log);
    }
    log.write("run_end", {{"reason", "done"}, {"test_accuracy", test.accuracy}});
    std::printf("test accuracy on %s: %.2f%% (%s)\n", test_set.name.c_str(), 100 * test.accuracy, checkpoint().c_str());
    return kOk;
  }

 private:
  /// Throws ValueError on a number of images that batches of this size cannot train.
  void check_batches(std::int64_t images) const {
    if (recipe_.drop_last && images < recipe_.batch_size) {
      throw ValueError("train: a batch of " + std::to_string(recipe_.batch_size) + " exceeds the " +
                       std::to_string(images) + " images");
    }
    if (!recipe_.drop_last && images % recipe_.batch_size == 1 && variant_ == nn::ResNet9::narrow) {
      throw ValueError("train: of " + std::to_string(images) + " images in batches of " +
                       std::to_string(recipe_.batch_size) +
                       " the last would be alone, and batch norm needs two; choose another --batch or --limit");
    }
  }

  void make_out_folder() const {
    std::error_code error;
    std::filesystem::create_directories(options_.out, error);
    if (error) throw IoError(options_.out + ": cannot be created (" + error.message() + ")");
  }

  nn::Sequential make_model() const {
    nn::ResNet9Options model_options{.variant = variant_};
    if (!options_.init.empty())
      model_options.init = options_.init == "kaiming_uniform" ? nn::Init::kaiming_uniform : nn::Init::pytorch;
    nn::Sequential model = nn::resnet9(model_options);
    model.to(device_);
    return model;
  }

  /// A signal that whoever started this program has had ignored stays ignored.
  static void catch_signals() {
    for (const int signal : {SIGINT, SIGTERM}) {
      if (std::signal(signal, on_signal) == SIG_IGN) std::signal(signal, SIG_IGN);
    }
  }

  int end_by_signal(RunLog& log) const {
    log.write("run_end", {{"reason", "signal"}, {"signal", static_cast<int>(stop_signal)}});
    std::cerr << "weft: stopped by signal " << stop_signal << "; the model is in " << checkpoint().string() << '\n';
    return stop_signal == SIGINT ? kInterrupted : kTerminated;
  }

  std::filesystem::path checkpoint() const { return std::filesystem::path(options_.out) / "model.safetensors"; }

  void start(RunLog& log, const nn::Sequential& model, const nn::ImageDataset& train_set,
             const nn::ImageDataset& test_set) {
    log.write("run_start", {{"version", WEFT_VERSION},
                            {"device", weft::to_string(device_)},
                            {"model", to_string(variant_)},
                            {"parameters", model.parameter_count()},
                            {"recipe", options_.recipe},
                            {"epochs", recipe_.epochs},
                            {"batch", recipe_.batch_size},
                            {"lr", recipe_.peak_lr},
                            {"seed", options_.seed},
                            {"precision", options_.precision},
                            {"conv_timing", options_.conv_timing},
                            {"graph", device_.is_cuda() && !options_.no_graph},
                            {"data", train_set.name},
                            {"train_images", train_set.size()},
                            {"test_images", test_set.size()}});
    std::printf("%s (%ld parameters) on %s: %ld training and %ld test images, device %s\n", to_string(variant_).c_str(),
                static_cast<long>(model.parameter_count()), train_set.name.c_str(), static_cast<long>(train_set.size()),
                static_cast<long>(test_set.size()), weft::to_string(device_).c_str());
    std::fflush(stdout);
  }

  void check_finite(RunLog& log, const char* which, double loss, std::int64_t epoch) const {
    if (std::isfinite(loss)) return;
    log.write("run_end", {{"reason", "diverged"}, {"epoch", epoch}});
    const std::string labels =  // which the CPU checks
        device_.is_cuda() ? ", and check that every label is one of the model's classes" : "";
    throw DivergedError("train: the " + std::string(which) + "loss is " + std::to_string(loss) + " after epoch " +
                        std::to_string(epoch) + "; try a smaller --lr" + labels);
  }

  /// `epochs` are whole ones; a model that was stopped within one has no accuracy.
  void save(RunLog& log, const nn::Sequential& model, const nn::ImageDataset& data, std::int64_t epochs,
            std::optional<double> accuracy) {
    Metadata metadata = {{"model", to_string(variant_)},
                         {"data", data.name},
                         {"epochs", std::to_string(epochs)},
                         {"weft_version", WEFT_VERSION}};
    put_normalisation(data, metadata);
    if (accuracy) metadata["test_accuracy"] = nlohmann::json(*accuracy).dump();
    nn::save(checkpoint(), model.state_dict(), metadata);
    log.write("checkpoint", {{"epoch", epochs}, {"file", checkpoint().string()}});
  }

  Options options_;
  Device device_;
  nn::ResNet9 variant_;
  nn::Recipe recipe_;
  Precision precision_ = Precision::fp32;
};

/// Replaces former names of an option's values, which scripts may still have, by those of today.
std::function<std::string(std::string)> present_name(std::map<std::string, std::string> former) {
  return [former = std::move(former)](const std::string& name) {
    const auto found = former.find(name);
    return found == former.end() ? name : found->second;
  };
}

}  // namespace

Command add_train(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("train", "Train a ResNet9, evaluate it after every epoch and save it");
  add_device_option(*command, options->device);
  command
      ->add_option("--model", options->model,
                   "resnet9-narrow or resnet9 (default: resnet9-narrow on the CPU, resnet9 on a GPU)")
      ->check(CLI::IsMember({"resnet9-narrow", "resnet9"}))
      ->transform(present_name({{"needle", "resnet9-narrow"}, {"page", "resnet9"}}));
  command->add_option("--recipe", options->recipe, "adam or dawnbench (default: the model's)")
      ->check(CLI::IsMember({"adam", "dawnbench"}))
      ->transform(present_name({{"needle", "adam"}, {"page", "dawnbench"}}));
  command->add_option("--init", options->init, "pytorch or kaiming_uniform (default: the model's)")
      ->check(CLI::IsMember({"pytorch", "kaiming_uniform"}))
      ->transform(present_name({{"needle", "kaiming_uniform"}}));
  command->add_option("--epochs", options->epochs, "default: the recipe's, 10 or 24")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30));
  command->add_option("--batch", options->batch, "images per step (default: the recipe's, 128 or 512)")
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{1} << 20));
  command->add_option("--lr", options->lr, "peak learning rate (default: the recipe's)")
      ->check(CLI::NonNegativeNumber)
      ->check([](const std::string& text) {  // CLI11's ranges take "nan"
        return std::isfinite(std::strtod(text.c_str(), nullptr)) ? std::string() : text + " is not finite";
      });
  command->add_option("--seed", options->seed, "of initialisation, order and augmentation")
      ->check([](const std::string& text) { return text.starts_with('-') ? text + " is negative" : std::string(); })
      ->capture_default_str();
  command->add_option(
      "--data", options->data,
      "folder of CIFAR-10's binary files, or builtin (default: data/cifar-10-batches-bin if it exists)");
  command->add_option("--limit", options->limit, "use only the first N training and N test images (0: all)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--precision", options->precision,
                   "of matrix products and convolutions: fp32, tf32 or bf16 (the last two on a GPU only)")
      ->check(CLI::IsMember({"fp32", "tf32", "bf16"}))
      ->capture_default_str();
  command->add_flag("--no-graph", options->no_graph, "launch every kernel by itself instead of one graph per step");
  command->add_flag("--conv-timing", options->conv_timing,
                    "time the algorithms of each convolution once and keep to the fastest, instead of a fixed table");
  command->add_option("--out", options->out, "run folder: model.safetensors and log.jsonl")->capture_default_str();
  return [options] { return Run(*options).train(); };
}

}  // namespace weft::cli
