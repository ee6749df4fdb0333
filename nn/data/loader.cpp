#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "data/device_batches.h"
#include "weft/error.h"
#include "weft/ops.h"
#include "weft/random.h"

namespace weft::nn {

namespace {

std::int64_t batch_count(std::int64_t images, const DataLoaderOptions& options) {
  return images / options.batch_size + (!options.drop_last && images % options.batch_size != 0 ? 1 : 0);
}

}  // namespace

// The batches of one epoch, in order.
class DataLoader::Iterator::Producer {
 public:
  virtual ~Producer() = default;
  /// Returns the next batch, of undefined tensors after the last one.
  virtual Batch next() = 0;
};

namespace {

// Made in a thread, one ahead of the reader, or where the system gives no thread when they are asked for.
class HostProducer final : public DataLoader::Iterator::Producer {
 public:
  HostProducer(const ImageDataset& dataset, const DataLoaderOptions& options, std::int64_t epoch)
      : dataset_(dataset), options_(options), epoch_(epoch), order_(epoch_order(dataset.size(), options, epoch)) {
    try {
      thread_ = std::thread([this] { make_batches(); });
    } catch (const std::exception&) {  // next() makes the batches
    }
  }

  ~HostProducer() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  /// Rethrows what stopped the thread.
  Batch next() override {
    if (!thread_.joinable()) return made_ < batch_count(dataset_.size(), options_) ? make(made_++) : Batch{};
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
    return batch;
  }

 private:
  void make_batches() {
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
    const ImageDataset& d = dataset_;
    const std::int64_t first = number * options_.batch_size;
    const std::int64_t count = std::min(options_.batch_size, d.size() - first);
    const Array images =
        Array::empty_like(Layout::channels_last({count, d.channels, d.height, d.width}), DType::f32, Device::cpu());
    const Array labels = Array::empty({count}, DType::i64);
    image_batch({d.images, d.labels, d.channels, d.height, d.width}, order_, epoch_, first, images, labels,
                image_batch_options(d, options_));
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
  std::int64_t made_ = 0;  // batches, where there is no thread
  std::thread thread_;     // last: it uses all the others
};

// Made on the device when they are asked for, which costs the host a launch.
class DeviceProducer final : public DataLoader::Iterator::Producer {
 public:
  DeviceProducer(std::shared_ptr<DeviceBatches> batches, const DataLoaderOptions& options, std::int64_t epoch)
      : batches_(std::move(batches)), batch_size_(options.batch_size), left_(batch_count(batches_->images(), options)) {
    batches_->start_epoch(epoch);
  }
  Batch next() override {
    if (left_ == 0) return {};
    --left_;
    Batch batch = batches_->make_arrays(std::min(batch_size_, batches_->images() - first_));
    first_ += batch_size_;
    batches_->next(batch);
    return batch;
  }

 private:
  std::shared_ptr<DeviceBatches> batches_;
  std::int64_t batch_size_, left_, first_ = 0;
};

}  // namespace

DataLoader::Iterator::Iterator(std::shared_ptr<Producer> producer)
    : producer_(std::move(producer)), batch_(producer_->next()) {}

DataLoader::Iterator& DataLoader::Iterator::operator++() {
  batch_ = {};  // its memory serves the batch after the next
  batch_ = producer_->next();
  return *this;
}

DataLoader::DataLoader(const ImageDataset& dataset, const DataLoaderOptions& options)
    : dataset_(&dataset), options_(options) {
  check_loader_options(dataset, options);
  if (options.device.is_cuda()) device_batches_ = std::make_shared<DeviceBatches>(dataset, options);
}

std::int64_t DataLoader::images() const { return dataset_->size(); }
std::int64_t DataLoader::size() const { return batch_count(dataset_->size(), options_); }

DataLoader::Iterator DataLoader::begin() {
  Iterator first(device_batches_ != nullptr ? std::shared_ptr<Iterator::Producer>(
                                                  std::make_shared<DeviceProducer>(device_batches_, options_, epoch_))
                                            : std::make_shared<HostProducer>(*dataset_, options_, epoch_));
  ++epoch_;
  return first;
}

}  // namespace weft::nn
