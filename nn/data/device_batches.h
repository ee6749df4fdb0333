#pragma once

#include <cstdint>
#include <vector>

#include "weft/nn/data.h"
#include "weft/train_ops.h"

namespace weft::nn {

/// The order of an epoch's images: a shuffle by the seed and the epoch, or the data set's own.
std::vector<std::int64_t> epoch_order(std::int64_t size, const DataLoaderOptions& options, std::int64_t epoch);
ImageBatchOptions image_batch_options(const ImageDataset& dataset, const DataLoaderOptions& options);
/// Throws as DataLoader's constructor.
void check_loader_options(const ImageDataset& dataset, const DataLoaderOptions& options);

/// Batches of a data set that lies on the device as bytes, each made there by one kernel. Between start_epoch() and the
/// epoch's end nothing passes between host and device, so that making a batch can be part of a recorded step.
class DeviceBatches {
 public:
  DeviceBatches(const ImageDataset& dataset, const DataLoaderOptions& options);

  std::int64_t images() const { return images_.shape()[0]; }
  void start_epoch(std::int64_t epoch);
  /// Uninitialised arrays for `count` images, f32 or bf16, and their labels.
  Batch make_arrays(std::int64_t count, DType dtype = DType::f32) const;
  /// Fills the arrays with the next images in order.
  void next(const Batch& out);

 private:
  DataLoaderOptions options_;
  ImageBatchOptions image_options_;
  Array images_, labels_;  // u8 (N, C, H, W) and (N,)
  Array order_, clock_;    // i64 (N,) and (2,): the epoch, and the position of the next image
};

}  // namespace weft::nn
