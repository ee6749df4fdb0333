#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <numeric>
#include <optional>
#include <thread>

#include "nn/image_batch.h"
#include "weft/error.h"
#include "weft/ops.h"
#include "weft/random.h"

namespace weft::nn {

namespace {

std::vector<std::int64_t> epoch_order(std::int64_t size, const DataLoaderOptions& options, std::int64_t epoch) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  if (!options.shuffle) return order;
  Generator generator(options.seed, static_cast<std::uint64_t>(epoch));
  for (std::size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[generator.below(i)]);  // Fisher and Yates
  return order;
}

std::int64_t batch_count(std::int64_t images, const DataLoaderOptions& options) {
  return options.drop_last ? images / options.batch_size : (images + options.batch_size - 1) / options.batch_size;
}

}  // namespace

// Makes the batches of one epoch in a thread, one ahead of the reader.
class DataLoader::Iterator::Producer {
 public:
  Producer(const ImageDataset& dataset, const DataLoaderOptions& options, std::int64_t epoch)
      : dataset_(dataset),
        options_(options),
        epoch_(epoch),
        order_(epoch_order(dataset.size(), options, epoch)),
        thread_([this] { run(); }) {}

  ~Producer() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  /// The next batch; undefined tensors behind the last one. Rethrows what stopped the thread.
  Batch next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ready_.has_value() || finished_; });
    if (!ready_) {
      if (error_) std::rethrow_exception(error_);
      return {};
    }
    Batch batch = std::move(*ready_);
    ready_.reset();
    lock.unlock();
    changed_.notify_all();
    return {batch.images.to(options_.device), batch.labels.to(options_.device)};
  }

 private:
  void run() {
    try {
      const std::int64_t batches = batch_count(dataset_.size(), options_);
      for (std::int64_t i = 0; i < batches; ++i) {
        Batch batch = make(i);
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return !ready_.has_value() || stopping_; });
        if (stopping_) return;
        ready_ = std::move(batch);
        lock.unlock();
        changed_.notify_all();
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      error_ = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    finished_ = true;
    changed_.notify_all();
  }

  Batch make(std::int64_t number) const {
    const std::int64_t first = number * options_.batch_size;
    const std::int64_t count = std::min(options_.batch_size, dataset_.size() - first);
    const std::span<const std::int64_t> indices(order_.data() + first, static_cast<std::size_t>(count));
    const Array images = Array::empty_like(
        Layout::channels_last({count, dataset_.channels, dataset_.height, dataset_.width}), DType::f32, Device::cpu());
    write_images(dataset_, options_, epoch_, indices, images.data_as<float>());
    const Array labels = Array::empty({count}, DType::i64);
    std::transform(indices.begin(), indices.end(), labels.data_as<std::int64_t>(),
                   [this](std::int64_t index) { return dataset_.labels[static_cast<std::size_t>(index)]; });
    return {Tensor(images), Tensor(labels)};
  }

  const ImageDataset& dataset_;
  const DataLoaderOptions options_;
  const std::int64_t epoch_;
  const std::vector<std::int64_t> order_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Batch> ready_;
  std::exception_ptr error_;
  bool finished_ = false;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all the others
};

DataLoader::Iterator::Iterator(std::shared_ptr<Producer> producer)
    : producer_(std::move(producer)), batch_(producer_->next()) {}

DataLoader::Iterator& DataLoader::Iterator::operator++() {
  batch_ = {};  // its memory serves the batch after the next
  batch_ = producer_->next();
  return *this;
}

DataLoader::DataLoader(const ImageDataset& dataset, const DataLoaderOptions& options)
    : dataset_(&dataset), options_(options) {
  const Augmentation& a = options.augmentation;
  const int smaller = std::min(dataset.height, dataset.width);
  const auto require = [](bool holds, const std::string& what, std::int64_t value) {
    if (!holds) throw ValueError("data loader: " + what + " must not be " + std::to_string(value));
  };
  require(options.batch_size >= 1, "batch_size", options.batch_size);
  require(dataset.channels >= 1 && dataset.channels <= 3, "the number of channels", dataset.channels);
  require(dataset.width >= 1 && dataset.width <= 1024, "the width", dataset.width);
  require(a.crop_padding >= 0 && (!a.reflect || a.crop_padding < smaller) && a.crop_padding <= 1024, "crop_padding",
          a.crop_padding);
  require(a.cutout >= 0 && a.cutout <= smaller, "cutout", a.cutout);
}

std::int64_t DataLoader::size() const { return batch_count(dataset_->size(), options_); }

DataLoader::Iterator DataLoader::begin() {
  return Iterator(std::make_shared<Iterator::Producer>(*dataset_, options_, epoch_++));
}

}  // namespace weft::nn
