#include "data/device_batches.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "weft/error.h"
#include "weft/random.h"

namespace weft::nn {

std::vector<std::int64_t> epoch_order(std::int64_t size, const DataLoaderOptions& options, std::int64_t epoch) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  if (!options.shuffle) return order;
  Generator generator(options.seed, static_cast<std::uint64_t>(epoch));
  for (std::size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[generator.below(i)]);  // Fisher and Yates
  return order;
}

namespace {

void check_normalisation(const ImageDataset& dataset) {
  for (std::size_t c = 0; c < static_cast<std::size_t>(dataset.channels); ++c) {
    const float mean = dataset.mean[c], stddev = dataset.stddev[c];
    if (!std::isfinite(mean)) throw ValueError("data loader: mean must be finite, got " + to_string(Scalar(mean)));
    if (!(stddev > 0 && std::isfinite(stddev)))
      throw ValueError("data loader: stddev must be finite and positive, got " + to_string(Scalar(stddev)));
  }
}

/// Without names of the classes their number is not known.
void check_labels(const ImageDataset& dataset) {
  const std::size_t classes = dataset.classes.size();
  if (classes == 0) return;
  const auto bad =
      std::find_if(dataset.labels.begin(), dataset.labels.end(), [=](std::uint8_t label) { return label >= classes; });
  if (bad == dataset.labels.end()) return;
  throw IndexError("data loader: label " + std::to_string(*bad) + " of image " +
                   std::to_string(bad - dataset.labels.begin()) + " is outside [0, " + std::to_string(classes) +
                   "): the data set has " + std::to_string(classes) + " classes");
}

}  // namespace

void check_loader_options(const ImageDataset& dataset, const DataLoaderOptions& options) {
  const Augmentation& a = options.augmentation;
  const int smaller = std::min(dataset.height, dataset.width);
  const auto require = [](bool holds, const std::string& what, std::int64_t value) {
    if (!holds) throw ValueError("data loader: " + what + " must not be " + std::to_string(value));
  };
  require(options.batch_size >= 1, "batch_size", options.batch_size);
  require(dataset.channels >= 1 && dataset.channels <= 3, "the number of channels (1 to 3)", dataset.channels);
  require(dataset.height >= 1 && dataset.height <= 1024, "the height (1 to 1024)", dataset.height);
  require(dataset.width >= 1 && dataset.width <= 1024, "the width (1 to 1024)", dataset.width);
  const Shape image{dataset.channels, dataset.height, dataset.width};
  const auto bytes = static_cast<std::size_t>(element_count(image));
  if (dataset.images.size() % bytes != 0 || dataset.images.size() / bytes != dataset.labels.size()) {
    throw ShapeError("data loader: images of " + to_string(image) + " with " + std::to_string(dataset.labels.size()) +
                     " labels cannot have " + std::to_string(dataset.images.size()) + " bytes");
  }
  require(a.crop_padding >= 0 && (!a.reflect || a.crop_padding < smaller) && a.crop_padding <= 1024, "crop_padding",
          a.crop_padding);
  require(a.cutout >= 0 && a.cutout <= smaller, "cutout", a.cutout);
  check_normalisation(dataset);
  check_labels(dataset);
}

ImageBatchOptions image_batch_options(const ImageDataset& dataset, const DataLoaderOptions& options) {
  const Augmentation& a = options.augmentation;
  return {.padding = a.crop_padding,
          .reflect = a.reflect,
          .flip = a.flip,
          .cutout = a.cutout,
          .mean = dataset.mean,
          .stddev = dataset.stddev,
          .seed = options.seed};
}

DeviceBatches::DeviceBatches(const ImageDataset& dataset, const DataLoaderOptions& options) : options_(options) {
  check_loader_options(dataset, options);
  image_options_ = image_batch_options(dataset, options);
  const Device& device = options.device;
  images_ = Array::from(std::span<const std::uint8_t>(dataset.images),
                        {dataset.size(), dataset.channels, dataset.height, dataset.width}, device);
  labels_ = Array::from(std::span<const std::uint8_t>(dataset.labels), {dataset.size()}, device);
  order_ = Array::empty({dataset.size()}, DType::i64, device);
  clock_ = Array::empty({2}, DType::i64, device);
  start_epoch(0);
}

void DeviceBatches::start_epoch(std::int64_t epoch) {
  const std::vector<std::int64_t> order = epoch_order(images(), options_, epoch);
  const std::array<std::int64_t, 2> clock{epoch, 0};
  order_.copy_from_host(std::span<const std::int64_t>(order));
  clock_.copy_from_host(std::span<const std::int64_t>(clock));
}

Batch DeviceBatches::make_arrays(std::int64_t count, DType dtype) const {
  const Shape& all = images_.shape();
  const Layout layout = Layout::channels_last({count, all[1], all[2], all[3]});
  return {Tensor(Array::empty_like(layout, dtype, options_.device)),
          Tensor(Array::empty({count}, DType::i64, options_.device))};
}

void DeviceBatches::next(const Batch& out) {
  image_batch(images_, labels_, order_, clock_, out.images.array(), out.labels.array(), image_options_);
}

}  // namespace weft::nn
