#include "weft/nn/trainer.h"

#include <algorithm>

#include "data/device_batches.h"
#include "layers/check.h"
#include "train/tally.h"
#include "weft/graph.h"
#include "weft/ops.h"

namespace weft::nn {

namespace {

DataLoaderOptions loader_options(const TrainerOptions& options, const Device& device) {
  const Recipe& recipe = options.recipe;
  return {.batch_size = recipe.batch_size,
          .shuffle = true,
          .drop_last = recipe.drop_last,
          .augmentation = recipe.augmentation,
          .seed = options.seed,
          .device = device};
}

// The labels of a data set are all classes, so none is looked for that does not count.
Tensor losses_of(const Tensor& logits, const Tensor& labels) {
  return cross_entropy(logits, labels, {.reduction = Reduction::none, .ignore_index = std::nullopt});
}

/// Puts a model into evaluation mode; in the end every module is in its own again.
class EvaluationMode {
 public:
  explicit EvaluationMode(Module& model) {
    remember(model);
    model.eval();
  }
  ~EvaluationMode() {  // a module's mode is also given to those below, which come after it
    for (const auto& [module, training] : modes_) module->train(training);
  }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  void remember(Module& module) {
    modes_.emplace_back(&module, module.is_training());
    for (const auto& child : module.named_children()) remember(*child.second);
  }

  std::vector<std::pair<Module*, bool>> modes_;
};

}  // namespace

Metrics evaluate(Layer& model, const ImageDataset& dataset, const Device& device, std::int64_t batch_size,
                 Precision precision) {
  const EvaluationMode mode(model);
  const NoGrad no_grad;
  const PrecisionGuard precise(precision);
  Tally tally(device);
  for (auto& [images, labels] : DataLoader(dataset, {.batch_size = batch_size, .device = device})) {
    const Tensor logits = model(images);
    tally.add(logits, labels, losses_of(logits, labels));
    tally.count(labels.size());
  }
  return tally.metrics();
}

/// The steps of a GPU: the data set lies there, batches of one size are made in the same arrays, and making one is part
/// of the recorded step.
class Trainer::DeviceSteps {
 public:
  DeviceSteps(const ImageDataset& train, const TrainerOptions& options)
      : batches_(train, loader_options(options, options.device)),
        dtype_(options.precision == Precision::bf16 ? DType::bf16 : DType::f32),
        full_(batches_.make_arrays(std::min(options.recipe.batch_size, batches_.images()), dtype_)),
        graph_(options.device, options.graph) {}

  void start_epoch(std::int64_t epoch) { batches_.start_epoch(epoch); }
  template <class Step>
  void run_step(std::int64_t count, const Step& step) {
    if (count == full_.labels.size()) {
      graph_.run([&] {
        batches_.next(full_);
        step(full_);
      });
    } else {
      const Batch rest = batches_.make_arrays(count, dtype_);
      batches_.next(rest);
      step(rest);
    }
  }
  bool captured() const { return graph_.is_captured(); }

 private:
  DeviceBatches batches_;
  DType dtype_;
  Batch full_;
  StepGraph graph_;
};

Trainer::Trainer(Layer& model, const ImageDataset& train, const TrainerOptions& options)
    : model_(model),
      options_(options),
      loader_(train, loader_options(options, Device::cpu())),
      schedule_(options.recipe.schedule()),
      optimizer_(options.recipe.optimizer(model.parameters())),
      tally_(std::make_unique<Tally>(options.device)) {
  if (loader_.size() == 0) {
    throw ValueError("Trainer: " + std::to_string(loader_.images()) + " images make no batch of " +
                     std::to_string(options.recipe.batch_size));
  }
  if (options.device.is_cuda()) device_steps_ = std::make_unique<DeviceSteps>(train, options);
}

Trainer::~Trainer() = default;

void Trainer::set_epoch(std::int64_t epoch) {
  require_at_least(0, "Trainer::set_epoch", "the epoch", epoch);
  epoch_ = epoch;
}

bool Trainer::captured() const { return device_steps_ != nullptr && device_steps_->captured(); }

void Trainer::set_rate(std::int64_t step, std::int64_t steps) {
  // The rate at the end of this step: a rise from zero starts above it.
  optimizer_->set_lr(
      schedule_(static_cast<double>(epoch_) + static_cast<double>(step + 1) / static_cast<double>(steps)));
}

void Trainer::train_step(const Batch& batch) {
  const auto& [images, labels] = batch;
  optimizer_->zero_grad();
  const Tensor logits = model_(images);
  const Tensor losses = losses_of(logits, labels);
  losses.backward(losses_gradient(losses));
  optimizer_->step();
  tally_->add(logits, labels, losses);
}

const Tensor& Trainer::losses_gradient(const Tensor& losses) {
  Tensor& gradient = losses_gradients_[losses.size()];
  if (!gradient.defined() || gradient.dtype() != losses.dtype()) {
    const double share = options_.recipe.sum_loss ? 1 : 1 / static_cast<double>(losses.size());
    gradient = full(losses.shape(), share, {.dtype = losses.dtype(), .device = losses.device()});
  }
  return gradient;
}

bool Trainer::goes_on(const Callback& callback, std::int64_t step, std::int64_t steps) {
  stopped_ = callback && !callback({epoch_, step, steps, [&] { return tally_->metrics(); }});
  return !stopped_;
}

Metrics Trainer::run_epoch(const Callback& callback) {
  const PrecisionGuard precise(options_.precision);
  model_.train();
  stopped_ = false;
  tally_->start();
  const std::int64_t steps = loader_.size();
  std::int64_t step = 0;
  if (device_steps_ != nullptr) {
    device_steps_->start_epoch(epoch_);
    for (; step < steps; ++step) {
      const std::int64_t count =
          std::min(options_.recipe.batch_size, loader_.images() - step * options_.recipe.batch_size);
      set_rate(step, steps);
      device_steps_->run_step(count, [&](const Batch& batch) { train_step(batch); });
      tally_->count(count);
      if (!goes_on(callback, step, steps)) break;
    }
  } else {
    loader_.set_epoch(epoch_);
    for (const Batch& batch : loader_) {
      set_rate(step, steps);
      train_step(batch);
      tally_->count(batch.labels.size());
      if (!goes_on(callback, step, steps)) break;
      ++step;
    }
  }
  if (!stopped_) ++epoch_;
  return tally_->metrics();
}

}  // namespace weft::nn
