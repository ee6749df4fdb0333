#include "weft/nn/trainer.h"

#include <chrono>

#include "weft/ops.h"

namespace weft::nn {

namespace {

// Sums that stay on the device until somebody asks.
class Tally {
 public:
  explicit Tally(const Device& device)
      : loss_(zeros({}, {.dtype = DType::f64, .device = device})),
        hits_(zeros({}, {.dtype = DType::i64, .device = device})) {}

  void add(const Tensor& logits, const Tensor& labels, const Tensor& loss_sum) {
    const NoGrad no_grad;
    loss_ = loss_ + loss_sum.detach().to(DType::f64);
    hits_ = hits_ + equal(argmax(logits, 1), labels).sum();
    images_ += labels.size();
  }

  Metrics metrics() const {
    Metrics m;
    const auto count = static_cast<double>(std::max<std::int64_t>(images_, 1));
    m.loss = loss_.item<double>() / count;
    m.accuracy = static_cast<double>(hits_.item<std::int64_t>()) / count;
    m.images = images_;
    m.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    return m;
  }

 private:
  Tensor loss_;
  Tensor hits_;
  std::int64_t images_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

DataLoaderOptions loader_options(const TrainerOptions& options) {
  const Recipe& recipe = options.recipe;
  return {.batch_size = recipe.batch_size,
          .shuffle = true,
          .drop_last = recipe.drop_last,
          .augmentation = recipe.augmentation,
          .seed = options.seed,
          .device = options.device};
}

}  // namespace

Metrics evaluate(Module& model, const ImageDataset& dataset, const Device& device, std::int64_t batch_size) {
  const bool training = model.is_training();
  model.eval();
  const NoGrad no_grad;
  Tally tally(device);
  for (auto& [images, labels] : DataLoader(dataset, {.batch_size = batch_size, .device = device})) {
    const Tensor logits = model(images);
    tally.add(logits, labels, cross_entropy(logits, labels, {.reduction = Reduction::sum}));
  }
  model.train(training);
  return tally.metrics();
}

Trainer::Trainer(Module& model, const ImageDataset& train, const TrainerOptions& options)
    : model_(model),
      options_(options),
      loader_(train, loader_options(options)),
      schedule_(options.recipe.schedule()),
      optimizer_(options.recipe.optimizer(model.parameters())) {}

Metrics Trainer::run_epoch(const Callback& callback) {
  model_.train();
  stopped_ = false;
  Tally tally(options_.device);
  const std::int64_t steps = loader_.size();
  std::int64_t step = 0;
  loader_.set_epoch(epoch_);
  for (auto& [images, labels] : loader_) {
    // The rate at the end of this step: a rise from zero starts above it.
    optimizer_->set_lr(
        schedule_(static_cast<double>(epoch_) + static_cast<double>(step + 1) / static_cast<double>(steps)));
    optimizer_->zero_grad();
    const Tensor logits = model_(images);
    const Tensor loss_sum = cross_entropy(logits, labels, {.reduction = Reduction::sum});
    const Tensor loss = options_.recipe.sum_loss ? loss_sum : loss_sum / static_cast<double>(labels.size());
    loss.backward();
    optimizer_->step();
    tally.add(logits, labels, loss_sum);
    if (callback && !callback({epoch_, step, steps, [&] { return tally.metrics(); }})) {
      stopped_ = true;
      break;
    }
    ++step;
  }
  if (!stopped_) ++epoch_;
  return tally.metrics();
}

}  // namespace weft::nn
