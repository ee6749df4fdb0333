#include "nn/image_batch.h"

#include <algorithm>

#include "core/philox.h"

namespace weft::nn {

namespace {

// The random choices for one image: where the crop starts in the padded image, whether it is mirrored, where the square
// begins.
struct Draw {
  int top, left;
  bool mirrored;
  int cut_top, cut_left;
};

Draw draw(const ImageDataset& dataset, const Augmentation& a, std::uint64_t seed, std::int64_t epoch,
          std::int64_t index) {
  const PhiloxBlock block =
      philox(seed, (std::uint64_t{1} << 32) + static_cast<std::uint64_t>(epoch), static_cast<std::uint64_t>(index));
  const auto below = [](std::uint32_t bits16, int bound) {
    return static_cast<int>((bits16 & 0xffffu) * static_cast<std::uint32_t>(bound) >> 16);
  };
  Draw d{};
  d.top = below(block.number[0], 2 * a.crop_padding + 1);
  d.left = below(block.number[0] >> 16, 2 * a.crop_padding + 1);
  d.mirrored = a.flip && (block.number[1] & 1u) != 0;
  d.cut_top = below(block.number[2], dataset.height - a.cutout + 1);
  d.cut_left = below(block.number[2] >> 16, dataset.width - a.cutout + 1);
  return d;
}

// The pixel that position `at` of the padded axis shows, or -1 where that is padding.
int source(int at, int padding, int size, bool reflect) {
  const int position = at - padding;
  if (position >= 0 && position < size) return position;
  if (!reflect) return -1;
  return position < 0 ? -position : 2 * (size - 1) - position;
}

}  // namespace

void write_images(const ImageDataset& dataset, const DataLoaderOptions& options, std::int64_t epoch,
                  std::span<const std::int64_t> indices, float* out) {
  const int channels = dataset.channels;
  const int height = dataset.height;
  const int width = dataset.width;
  const Augmentation& a = options.augmentation;
  std::array<std::array<float, 256>, 3> value{};  // by channel and byte
  for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
    for (std::size_t byte = 0; byte < 256; ++byte)
      value[c][byte] = (static_cast<float>(byte) / 255.0f - options.mean[c]) / options.stddev[c];
  }
  const std::int64_t plane = static_cast<std::int64_t>(height) * width;
  std::array<int, 1024> columns{};  // the source column of each output column

  for (const std::int64_t index : indices) {
    const std::uint8_t* image = dataset.images.data() + index * channels * plane;
    const Draw d = draw(dataset, a, options.seed, epoch, index);
    for (int x = 0; x < width; ++x) {
      const int across = d.mirrored ? width - 1 - x : x;
      columns[static_cast<std::size_t>(x)] = source(across + d.left, a.crop_padding, width, a.reflect);
    }
    for (int y = 0; y < height; ++y, out += width * channels) {
      const int row = source(y + d.top, a.crop_padding, height, a.reflect);
      if (row < 0) {
        std::fill_n(out, width * channels, 0.0f);
        continue;
      }
      for (int x = 0; x < width; ++x) {
        const int column = columns[static_cast<std::size_t>(x)];
        for (int c = 0; c < channels; ++c) {
          const std::uint8_t byte = column < 0 ? 0 : image[c * plane + row * width + column];
          out[x * channels + c] = column < 0 ? 0.0f : value[static_cast<std::size_t>(c)][byte];
        }
      }
      if (y >= d.cut_top && y < d.cut_top + a.cutout)
        std::fill_n(out + d.cut_left * channels, a.cutout * channels, 0.0f);
    }
  }
}

}  // namespace weft::nn
