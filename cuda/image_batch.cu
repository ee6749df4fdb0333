#include "cuda/image_batch.h"

#include <algorithm>
#include <cstdint>

#include "core/image_draw.h"
#include "cuda/element.h"
#include "cuda/walk.h"

namespace weft::cuda {
namespace {

constexpr int kThreads = 256;

struct Images {
  const std::uint8_t *pixels, *labels;
  const std::int64_t* order;
  std::int64_t* clock;
  std::int64_t count, order_size;
  int channels, height, width;
  int padding, cutout;
  bool reflect, flip;
  float mean[3], stddev[3];
  std::uint64_t seed;
};

/// One thread's pixel.
template <class T>
WEFT_DEVICE void write_pixel(const Images& images, T* out, std::int64_t* out_labels) {
  const std::int64_t plane = static_cast<std::int64_t>(images.height) * images.width, threads = plane > 0 ? plane : 1;
  const std::int64_t thread = global_thread(), image = thread / threads;
  if (image >= images.count) return;
  const auto pixel = static_cast<int>(thread - image * threads);
  const std::int64_t index = images.order[(images.clock[1] + image) % images.order_size];
  if (pixel == 0) out_labels[image] = images.labels[index];
  if (plane == 0) return;
  const ImageDraw draw = draw_image(images.seed, images.clock[0], index, images.height, images.width, images.padding,
                                    images.flip, images.cutout);
  const int y = pixel / images.width, x = pixel - y * images.width;
  const int row = source_pixel(y + draw.top, images.padding, images.height, images.reflect);
  const int column = source_pixel((draw.mirrored ? images.width - 1 - x : x) + draw.left, images.padding, images.width,
                                  images.reflect);
  const bool cut =
      y >= draw.cut_top && y < draw.cut_top + images.cutout && x >= draw.cut_left && x < draw.cut_left + images.cutout;
  const bool blank = cut || row < 0 || column < 0;
  const std::uint8_t* bytes = images.pixels + index * images.channels * plane;
  if (!blank) bytes += row * images.width + column;
  T* result = out + thread * images.channels;
  WEFT_UNROLL
  for (int c = 0; c < 3; ++c) {
    if (c >= images.channels) continue;
    const float byte = blank ? 0.0f : static_cast<float>(bytes[c * plane]);
    result[c] = narrow<T>(blank ? 0.0f : (byte / 255.0f - images.mean[c]) / images.stddev[c]);
  }
}

/// Thread t has pixel t % max(height·width, 1) of image t / max(height·width, 1) of the batch; the first of an image
/// also writes its label. When all have read the clock, the last block advances it.
template <class T>
WEFT_KERNEL_OF(kThreads)
image_batch_kernel(Images images, unsigned* counter, T* out, std::int64_t* out_labels) {
  write_pixel(images, out, out_labels);
  if (last_block(counter, gridDim.x) && threadIdx.x == 0) images.clock[1] += images.count;
}

}  // namespace

void image_batch(Context& context, const ImageBatchArguments& arguments, const ConstView& images,
                 const ConstView& labels, const ConstView& order, const View& clock, const View& out,
                 const View& out_labels) {
  Images all{};
  all.pixels = images.as<std::uint8_t>();
  all.labels = labels.as<std::uint8_t>();
  all.order = order.as<std::int64_t>();
  all.clock = clock.as<std::int64_t>();
  all.count = out.shape[0];
  all.order_size = order.size();
  all.channels = static_cast<int>(images.shape[1]);
  all.height = static_cast<int>(images.shape[2]);
  all.width = static_cast<int>(images.shape[3]);
  all.padding = arguments.padding;
  all.cutout = arguments.cutout;
  all.reflect = arguments.reflect;
  all.flip = arguments.flip;
  std::copy_n(arguments.mean.data(), 3, all.mean);
  std::copy_n(arguments.stddev.data(), 3, all.stddev);
  all.seed = arguments.seed;
  const std::int64_t threads = std::max<std::int64_t>(images.shape[2] * images.shape[3], 1);
  dispatch_floating("image_batch", out.dtype, [&]<class T>(Type<T>) {
    launch({"image_batch", blocks_for(all.count * threads, kThreads), kThreads, context.stream}, image_batch_kernel<T>,
           all, context.counters, out.as<T>(), out_labels.as<std::int64_t>());
  });
}

}  // namespace weft::cuda
