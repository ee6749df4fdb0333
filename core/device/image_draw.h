#pragma once

#include <cstdint>

#include "core/device/philox.h"

/// The random choices for one image of a training batch, the same on every device.
namespace weft {

/// Where the crop starts in the padded image, whether it is mirrored, where the square begins.
struct ImageDraw {
  int top, left;
  bool mirrored;
  int cut_top, cut_left;
};

/// Of image `index` in `epoch`: integers of 16 bits of one Philox block each.
WEFT_SCALAR ImageDraw draw_image(std::uint64_t seed, std::int64_t epoch, std::int64_t index, int height, int width,
                                 int padding, bool flip, int cutout) {
  const PhiloxBlock block =
      philox(seed, (std::uint64_t{1} << 32) + static_cast<std::uint64_t>(epoch), static_cast<std::uint64_t>(index));
  const auto below = [](std::uint32_t bits, int bound) {
    return static_cast<int>((bits & 0xffffu) * static_cast<std::uint32_t>(bound) >> 16);
  };
  ImageDraw draw{};
  draw.top = below(block.number[0], 2 * padding + 1);
  draw.left = below(block.number[0] >> 16, 2 * padding + 1);
  draw.mirrored = flip && (block.number[1] & 1u) != 0;
  draw.cut_top = below(block.number[2], height - cutout + 1);
  draw.cut_left = below(block.number[2] >> 16, width - cutout + 1);
  return draw;
}

/// The pixel that position `at` of a padded axis shows, or -1 where that is padding.
WEFT_SCALAR int source_pixel(int at, int padding, int size, bool reflect) {
  const int position = at - padding;
  if (position >= 0 && position < size) return position;
  if (!reflect) return -1;
  return position < 0 ? -position : 2 * (size - 1) - position;
}

}  // namespace weft
