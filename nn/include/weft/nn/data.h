#pragma once

#include <cstdint>
#include <memory>

#include "weft/nn/dataset.h"
#include "weft/tensor.h"

namespace weft::nn {

/// Random changes to each image of an epoch, drawn anew per image; applied in the order of the members.
struct Augmentation {
  int crop_padding = 0;  ///< pad every side by this much, then crop back to size at a random place
  bool reflect = false;  ///< pad by reflection instead of the mean colour
  bool flip = false;     ///< mirror left to right with probability 1/2
  int cutout = 0;        ///< set a square of this size, wholly inside, to the mean colour
};

struct DataLoaderOptions {
  std::int64_t batch_size = 128;
  bool shuffle = false;
  bool drop_last = false;  ///< leave out a last batch that is not full
  Augmentation augmentation = {};
  std::uint64_t seed = 0;
  Device device = Device::cpu();
};

class DeviceBatches;

struct Batch {
  Tensor images;  ///< f32 (N, C, H, W), normalised by the data set's mean and stddev, channels-last memory
  Tensor labels;  ///< i64 (N,)
};

/// The batches of a data set. On the CPU the next one is made by a thread of its own while the current one is in use,
/// or when it is asked for where the system gives no thread; for a GPU the data set is copied there once, as bytes, and
/// each batch is made there. Each begin() starts a new epoch; on a GPU, one that is still being read must not be read
/// on. Order and augmentation depend on (seed, epoch) alone. The data set must outlive the loader.
class DataLoader {
 public:
  /// Throws ValueError on options, a mean or a stddev out of range, ShapeError where the data set's bytes are not those
  /// of its images, IndexError where a label is none of its classes.
  DataLoader(const ImageDataset& dataset, const DataLoaderOptions& options = {});
  DataLoader(ImageDataset&& dataset, const DataLoaderOptions& options = {}) = delete;

  /// Batches per epoch.
  std::int64_t size() const;
  std::int64_t images() const;
  /// The number of the epoch that the next begin() starts; set it to resume.
  std::int64_t epoch() const { return epoch_; }
  void set_epoch(std::int64_t epoch) { epoch_ = epoch; }

  class Sentinel {};
  class Iterator {
   public:
    Batch& operator*() { return batch_; }
    Iterator& operator++();
    friend bool operator==(const Iterator& it, Sentinel) { return !it.batch_.images.defined(); }

    class Producer;

   private:
    friend class DataLoader;
    explicit Iterator(std::shared_ptr<Producer> producer);
    std::shared_ptr<Producer> producer_;
    Batch batch_;
  };

  Iterator begin();
  Sentinel end() const { return {}; }

 private:
  const ImageDataset* dataset_;
  DataLoaderOptions options_;
  std::int64_t epoch_ = 0;
  std::shared_ptr<DeviceBatches> device_batches_;  // on a GPU
};

}  // namespace weft::nn
