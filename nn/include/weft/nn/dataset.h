#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "weft/tensor.h"

namespace weft::nn {

enum class Split { train, test };

struct LabelledImage {
  Tensor image;  ///< f32 (C, H, W), normalised
  Tensor label;  ///< i64 ()
};

/// Labelled 8-bit images in host memory, planar (N, C, H, W) bytes as in the CIFAR-10 files. A network gets
/// (byte / 255 - mean) / stddev, by channel. Both splits of a data set need the same mean and stddev: those of the
/// training images. The defaults keep pixels in [0, 1].
struct ImageDataset {
  std::string name;                  ///< what results are reported as: "CIFAR-10" or "built-in shapes"
  std::vector<std::string> classes;  ///< names; where there are any, every label must be below their number
  int channels = 3, height = 32, width = 32;
  std::vector<std::uint8_t> images;         ///< N * C * H * W
  std::vector<std::uint8_t> labels;         ///< N
  std::array<float, 3> mean = {0, 0, 0};    ///< of the pixels in [0, 1], by channel
  std::array<float, 3> stddev = {1, 1, 1};  ///< their standard deviation

  std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
  /// The image that a DataLoader without augmentation gives. Throws IndexError unless the index is in [0, size()).
  LabelledImage get(std::int64_t index) const;
};

/// CIFAR-10 from its official binary files (https://www.cs.toronto.edu/~kriz/cifar.html) in `folder` or in
/// `folder`/cifar-10-batches-bin; reads only the files of `split`. Throws IoError where a file is missing or cannot
/// be read, FormatError where its size or a label is wrong.
ImageDataset cifar10(const std::filesystem::path& folder, Split split);

/// Procedurally drawn 32x32 pictures of ten shapes; the class is that of the large figure. Image i depends on
/// (split, seed, i) alone and is the same on every machine. `count` 0 means 50,000 for train, 10,000 for test. Throws
/// OutOfMemoryError where that many do not fit.
ImageDataset builtin_images(Split split, std::int64_t count = 0, std::uint64_t seed = 0);

}  // namespace weft::nn
