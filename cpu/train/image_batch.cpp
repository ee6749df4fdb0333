#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "core/device/image_draw.h"
#include "cpu/runtime/backend.h"
#include "cpu/runtime/threads.h"
#include "weft/error.h"

namespace weft::cpu {

namespace {

constexpr std::int64_t kTaskElements = 16384;  // of the batch: enough work to pay for waking a thread

using ByteValues = std::array<std::array<float, 256>, 3>;  // by channel and byte

ByteValues byte_values(const ImageBatchArguments& a) {
  ByteValues values;
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      values[c][byte] = (static_cast<float>(byte) / 255.0f - a.mean[c]) / a.stddev[c];
    }
  }
  return values;
}

/// Channels-last from planes.
struct Images {
  const ImageBatchArguments& arguments;
  ByteValues values;
  const std::uint8_t* bytes;
  int channels, height, width;

  /// `columns` has room for a row.
  void write(std::int64_t index, std::int64_t epoch, std::vector<int>& columns, float* out) const {
    const ImageBatchArguments& a = arguments;
    const std::int64_t plane = std::int64_t{height} * width, line = std::int64_t{width} * channels;
    const std::uint8_t* image = bytes + index * channels * plane;
    const ImageDraw draw = draw_image(a.seed, epoch, index, height, width, a.padding, a.flip, a.cutout);
    for (int x = 0; x < width; ++x) {
      const int across = draw.mirrored ? width - 1 - x : x;
      columns[static_cast<std::size_t>(x)] = source_pixel(across + draw.left, a.padding, width, a.reflect);
    }
    for (int y = 0; y < height; ++y, out += line) {
      const int row = source_pixel(y + draw.top, a.padding, height, a.reflect);
      if (row < 0) {
        std::fill_n(out, line, 0.0f);
        continue;
      }
      const std::uint8_t* source = image + std::int64_t{row} * width;
      for (int x = 0; x < width; ++x) {
        const int column = columns[static_cast<std::size_t>(x)];
        for (int c = 0; c < channels; ++c) {
          out[x * channels + c] = column < 0 ? 0.0f : values[static_cast<std::size_t>(c)][source[c * plane + column]];
        }
      }
      if (y >= draw.cut_top && y < draw.cut_top + a.cutout) {
        std::fill_n(out + draw.cut_left * channels, a.cutout * channels, 0.0f);
      }
    }
  }
};

}  // namespace

void CpuBackend::image_batch(const ImageBatchCall& call) {
  const DenormalMode mode;
  const ConstView &images = call.images, &order = call.order;
  const View& out = call.out;
  if (out.dtype != DType::f32) {
    throw DTypeError("cpu: image_batch of " + std::string(name(out.dtype)) + " is not supported");
  }
  const Images all{call.arguments,
                   byte_values(call.arguments),
                   images.as<std::uint8_t>(),
                   static_cast<int>(images.shape[1]),
                   static_cast<int>(images.shape[2]),
                   static_cast<int>(images.shape[3])};
  const std::int64_t epoch = call.clock.as<std::int64_t>()[0];
  std::int64_t& position = call.clock.as<std::int64_t>()[1];
  const std::int64_t first = position;
  const std::int64_t elements = images.shape[1] * images.shape[2] * images.shape[3];
  const std::int64_t grain = std::max<std::int64_t>(kTaskElements / std::max<std::int64_t>(elements, 1), 1);
  parallel_blocks(out.shape[0], grain, [&](std::int64_t begin, std::int64_t end) {
    std::vector<int> columns(static_cast<std::size_t>(all.width));
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t index = order.as<std::int64_t>()[(first + i) % order.size()];
      call.out_labels.as<std::int64_t>()[i] = call.labels.as<std::uint8_t>()[index];
      all.write(index, epoch, columns, out.as<float>() + i * elements);
    }
  });
  position += out.shape[0];
}

}  // namespace weft::cpu
