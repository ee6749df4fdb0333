#pragma once

#include <cstdint>
#include <functional>
#include <map>

#include "weft/nn/layer.h"
#include "weft/nn/recipe.h"
#include "weft/precision.h"

namespace weft::nn {

struct Metrics {
  double loss = 0;      ///< mean per image
  double accuracy = 0;  ///< share of images, in [0, 1]
  std::int64_t images = 0;
  double seconds = 0;
  double images_per_second() const { return seconds > 0 ? static_cast<double>(images) / seconds : 0; }
};

/// Loss and accuracy in evaluation mode, of images normalised by the data set's mean and stddev; the mode of every
/// module is restored. Throws as DataLoader and cross_entropy.
Metrics evaluate(Layer& model, const ImageDataset& dataset, const Device& device, std::int64_t batch_size = 512,
                 Precision precision = Precision::fp32);

struct TrainerOptions {
  Recipe recipe;
  std::uint64_t seed = 0;
  Device device = Device::cpu();
  Precision precision = Precision::fp32;
  bool graph = true;  ///< on a GPU, run full batches as one StepGraph; the same bits either way
};

class Tally;

/// Runs a recipe, an epoch at a time.
class Trainer {
 public:
  /// Called after every step with the metrics of the epoch so far, reading which waits for the device; return false to
  /// stop.
  struct Step {
    std::int64_t epoch, step, steps;  ///< counted from 0 within the epoch; steps per epoch
    std::function<Metrics()> metrics;
  };
  using Callback = std::function<bool(const Step&)>;

  /// Model and data set must outlive the trainer; the model's arrays stay in place while it lives. Throws ValueError
  /// where an epoch would have no batch, and as DataLoader.
  Trainer(Layer& model, const ImageDataset& train, const TrainerOptions& options);
  ~Trainer();

  /// Trains one epoch and returns its training metrics; of the images seen until then when the callback stopped it.
  Metrics run_epoch(const Callback& callback = {});
  /// The number of the epoch that the next run_epoch() trains, which sets its order, augmentation and rates; set it to
  /// resume. Throws ValueError below 0.
  std::int64_t epoch() const { return epoch_; }
  void set_epoch(std::int64_t epoch);
  /// True when the callback stopped the last epoch.
  bool stopped() const { return stopped_; }
  /// True when full batches run as a recorded graph.
  bool captured() const;
  Optimizer& optimizer() { return *optimizer_; }

 private:
  class DeviceSteps;
  /// Forward, backward, optimizer and tally.
  void train_step(const Batch& batch);
  /// Returns the gradient of the loss, which is the sum or the mean of the batch's losses. It is made once per batch
  /// size, before any step of that size is recorded.
  const Tensor& losses_gradient(const Tensor& losses);
  void set_rate(std::int64_t step, std::int64_t steps);
  bool goes_on(const Callback& callback, std::int64_t step, std::int64_t steps);

  Layer& model_;
  TrainerOptions options_;
  DataLoader loader_;
  Schedule schedule_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Tally> tally_;
  std::map<std::int64_t, Tensor> losses_gradients_;  // by batch size
  std::unique_ptr<DeviceSteps> device_steps_;        // on a GPU
  std::int64_t epoch_ = 0;
  bool stopped_ = false;
};

}  // namespace weft::nn
