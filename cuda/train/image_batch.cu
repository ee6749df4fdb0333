#include <algorithm>
#include <cstdint>

#include "core/device/image_draw.h"
#include "cuda/array/element.h"
#include "cuda/array/walk.h"
#include "cuda/runtime/backend.h"

namespace weft::cuda {
namespace {

constexpr int kThreads = 256;  // of a block; threads share nothing

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

/// The image that a block writes: its place among all images, and what is drawn for it.
struct Chosen {
  std::int64_t index;
  ImageDraw draw;
};

template <class T>
WEFT_DEVICE void write_pixel(const Images& images, const Chosen& chosen, int pixel, T* out) {
  const ImageDraw& draw = chosen.draw;
  const std::int64_t plane = static_cast<std::int64_t>(images.height) * images.width;
  const int y = pixel / images.width, x = pixel - y * images.width;
  const int row = source_pixel(y + draw.top, images.padding, images.height, images.reflect);
  const int column = source_pixel((draw.mirrored ? images.width - 1 - x : x) + draw.left, images.padding, images.width,
                                  images.reflect);
  const bool cut =
      y >= draw.cut_top && y < draw.cut_top + images.cutout && x >= draw.cut_left && x < draw.cut_left + images.cutout;
  const bool blank = cut || row < 0 || column < 0;
  const std::uint8_t* bytes = images.pixels + chosen.index * images.channels * plane;
  if (!blank) bytes += row * images.width + column;
  T* result = out + (blockIdx.x * plane + pixel) * images.channels;
  WEFT_UNROLL
  for (int c = 0; c < 3; ++c) {
    if (c >= images.channels) continue;
    const float byte = blank ? 0.0f : static_cast<float>(bytes[c * plane]);
    result[c] = narrow<T>(blank ? 0.0f : (byte / 255.0f - images.mean[c]) / images.stddev[c]);
  }
}

/// Block b writes image b of the batch and its label. One thread of each block reads the clock before the barrier and
/// counts its block after it; the last one that counts advances the clock, which all have read by then. No block reads
/// what another wrote, so there is no fence.
template <class T>
WEFT_KERNEL_OF(kThreads)
image_batch_kernel(Images images, unsigned* counter, T* out, std::int64_t* out_labels) {
  WEFT_SHARED(Chosen, chosen, 1);
  std::int64_t first = 0;
  if (threadIdx.x == 0) {
    const std::int64_t epoch = images.clock[0];
    first = images.clock[1];
    const std::int64_t index = images.order[(first + blockIdx.x) % images.order_size];
    chosen[0] = {index, draw_image(images.seed, epoch, index, images.height, images.width, images.padding, images.flip,
                                   images.cutout)};
    out_labels[blockIdx.x] = images.labels[index];
  }
  WEFT_BARRIER();
  const unsigned last = gridDim.x - 1;
  if (threadIdx.x == 0 && count_up(counter, last) == last) images.clock[1] = first + images.count;
  const int plane = images.height * images.width;
  for (int pixel = static_cast<int>(threadIdx.x); pixel < plane; pixel += kThreads) {
    write_pixel(images, chosen[0], pixel, out);
  }
}

}  // namespace

void CudaBackend::image_batch(const ImageBatchCall& call) {
  const ImageBatchArguments& arguments = call.arguments;
  const ConstView &images = call.images, &order = call.order;
  const View& out = call.out;
  Images all{};
  all.pixels = images.as<std::uint8_t>();
  all.labels = call.labels.as<std::uint8_t>();
  all.order = order.as<std::int64_t>();
  all.clock = call.clock.as<std::int64_t>();
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
  dispatch_floating("image_batch", out.dtype, [&]<class T>(Type<T>) {
    launch({"image_batch", all.count, kThreads, context_.stream}, image_batch_kernel<T>, all, context_.counters,
           out.as<T>(), call.out_labels.as<std::int64_t>());
  });
}

}  // namespace weft::cuda
