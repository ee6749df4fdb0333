#pragma once

#include <cstdint>
#include <span>

#include "weft/nn/data.h"

namespace weft::nn {

/// Writes the normalised, augmented images number `indices` as f32 (N, H, W, C). `epoch` picks the random numbers:
/// those of image i are Philox block i of stream (1 << 32) + epoch, so that they do not depend on its place in the
/// order.
void write_images(const ImageDataset& dataset, const DataLoaderOptions& options, std::int64_t epoch,
                  std::span<const std::int64_t> indices, float* out);

}  // namespace weft::nn
