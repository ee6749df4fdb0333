// The batches of a seed against a plain reference in double: pad, crop, mirror, cutout and normalise, written anew.
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "core/device/philox.h"
#include "weft/weft.h"

namespace weft::nn {
namespace {

/// The rows of one channel.
using Plane = std::vector<std::vector<double>>;

ImageDataset random_images(int count, int channels, int height, int width) {
  ImageDataset data;
  data.name = "random";
  data.mean = {0.25f, 0.625f, 0.375f};
  data.stddev = {0.5f, 0.125f, 0.75f};
  data.channels = channels;
  data.height = height;
  data.width = width;
  Generator generator(17);
  for (int i = 0; i < count; ++i) {
    data.labels.push_back(static_cast<std::uint8_t>(generator.below(10)));
    for (int j = 0; j < channels * height * width; ++j)
      data.images.push_back(static_cast<std::uint8_t>(generator.below(256)));
  }
  return data;
}

/// Fisher's and Yates's shuffle from the last place on, one block of stream `epoch` each.
std::vector<int> shuffled(int count, std::uint64_t seed, std::uint64_t epoch) {
  std::vector<int> order;
  for (int i = 0; i < count; ++i) order.push_back(i);
  std::uint64_t block = 0;
  for (int i = count; i > 1; --i) {
    const PhiloxBlock numbers = philox(seed, epoch, block++);
    const auto high = static_cast<unsigned __int128>(numbers.number[1]) << 32 | numbers.number[0];
    std::swap(order[static_cast<std::size_t>(i - 1)],
              order[static_cast<std::size_t>(high * static_cast<unsigned>(i) >> 64)]);
  }
  return order;
}

Plane normalised(const ImageDataset& data, int image, int channel) {
  const auto c = static_cast<std::size_t>(channel);
  const auto height = static_cast<std::size_t>(data.height), width = static_cast<std::size_t>(data.width);
  std::size_t at = (static_cast<std::size_t>(image * data.channels + channel)) * height * width;
  Plane plane(height, std::vector<double>(width));
  for (auto& row : plane) {
    for (double& value : row) {
      value = (data.images[at++] / 255.0 - static_cast<double>(data.mean[c])) / static_cast<double>(data.stddev[c]);
    }
  }
  return plane;
}

/// A line with `padding` more elements at either end: 0, or the elements next to the end in reverse, without the end.
template <class T>
std::vector<T> padded_line(const std::vector<T>& line, int padding, bool reflect, const T& zero) {
  std::vector<T> before, after;
  for (int i = 1; i <= padding; ++i) {
    before.insert(before.begin(), reflect ? line[static_cast<std::size_t>(i)] : zero);
    after.push_back(reflect ? line[line.size() - 1 - static_cast<std::size_t>(i)] : zero);
  }
  before.insert(before.end(), line.begin(), line.end());
  before.insert(before.end(), after.begin(), after.end());
  return before;
}

/// Block `image` of stream 2^32 + epoch: values below n are (16 bits * n) >> 16.
Plane augmented(Plane plane, const Augmentation& a, std::uint64_t seed, std::uint64_t epoch, int image) {
  const std::size_t height = plane.size(), width = plane[0].size();
  const PhiloxBlock numbers = philox(seed, 0x100000000u + epoch, static_cast<std::uint64_t>(image));
  const auto half = [&](int number, int which) { return numbers.number[number] >> 16 * which & 0xffff; };
  const auto below = [](std::uint32_t bits, std::size_t n) { return bits * n / 65536; };

  for (auto& row : plane) row = padded_line(row, a.crop_padding, a.reflect, 0.0);
  const std::vector<double> zeros(plane[0].size(), 0.0);
  plane = padded_line(plane, a.crop_padding, a.reflect, zeros);
  const auto places = static_cast<std::size_t>(2 * a.crop_padding + 1);
  const std::size_t top = below(half(0, 0), places), left = below(half(0, 1), places);
  Plane out;
  for (std::size_t y = top; y < top + height; ++y) {
    std::vector<double> row;
    for (std::size_t x = left; x < left + width; ++x) row.push_back(plane[y][x]);
    if (a.flip && numbers.number[1] % 2 == 1) row = {row.rbegin(), row.rend()};
    out.push_back(row);
  }
  const auto side = static_cast<std::size_t>(a.cutout);
  const std::size_t cut_top = below(half(2, 0), height - side + 1), cut_left = below(half(2, 1), width - side + 1);
  for (std::size_t y = 0; y < side; ++y) {
    for (std::size_t x = 0; x < side; ++x) out[cut_top + y][cut_left + x] = 0;
  }
  return out;
}

/// Images that came as batch `number` of `size`.
void expect_batch(const Batch& batch, const ImageDataset& data, const Augmentation& augmentation, std::uint64_t seed,
                  std::uint64_t epoch, const std::vector<int>& order, std::size_t first) {
  const auto labels = batch.labels.to_vector<std::int64_t>();
  const auto values = batch.images.to_vector<float>();
  std::size_t at = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const int image = order[first + i];
    EXPECT_EQ(labels[i], data.labels[static_cast<std::size_t>(image)]) << "image " << image;
    for (int c = 0; c < data.channels; ++c) {
      for (const auto& row : augmented(normalised(data, image, c), augmentation, seed, epoch, image)) {
        for (const double expected : row) {
          ASSERT_NEAR(static_cast<double>(values[at]), expected, 1e-6 * (1 + std::abs(expected)))
              << "epoch " << epoch << ", image " << image << ", element " << at;
          ++at;
        }
      }
    }
  }
  EXPECT_EQ(at, values.size());
}

void expect_epochs(const ImageDataset& data, const DataLoaderOptions& options) {
  DataLoader loader(data, options);
  const int count = static_cast<int>(data.size());
  for (std::uint64_t epoch = 0; epoch < 2; ++epoch) {
    const std::vector<int> order = shuffled(count, options.seed, epoch);
    std::size_t first = 0;
    for (const Batch& batch : loader) {
      expect_batch(batch, data, options.augmentation, options.seed, epoch, order, first);
      first += static_cast<std::size_t>(batch.labels.size());
    }
    EXPECT_EQ(first, static_cast<std::size_t>(count));
  }
}

TEST(Augmentation, BatchesAreThoseOfAPlainReference) {
  for (const int channels : {1, 3}) {
    const ImageDataset data = random_images(23, channels, 11, 7);
    for (const bool reflect : {false, true}) {
      for (const bool flip : {false, true}) {
        for (const int cutout : {0, 1, 3, 7}) {
          expect_epochs(data, {.batch_size = 6,
                               .shuffle = true,
                               .augmentation = {.crop_padding = 5, .reflect = reflect, .flip = flip, .cutout = cutout},
                               .seed = 0x123456789abcdefu});
        }
      }
    }
  }
}

TEST(Augmentation, OfEachRecipe) {
  const ImageDataset data = random_images(40, 3, 32, 32);
  for (const Augmentation& augmentation :
       {Augmentation{.crop_padding = 3, .flip = true},
        Augmentation{.crop_padding = 4, .reflect = true, .flip = true, .cutout = 8}}) {
    expect_epochs(data, {.batch_size = 16, .shuffle = true, .augmentation = augmentation, .seed = 5});
  }
}

/// Keeps what it is given.
class Witness : public Layer {
 public:
  Tensor forward(const Tensor& x) const override {
    seen.push_back(x.detach());
    return layer_(flatten_(x));
  }
  mutable std::vector<Tensor> seen;

 private:
  Flatten flatten_ = register_module("flatten", Flatten());
  Linear layer_ = register_module("layer", Linear(3 * 32 * 32, 10));
};

TEST(Augmentation, ATrainerUsesThatOfItsRecipe) {
  const ImageDataset data = random_images(20, 3, 32, 32);
  for (const Recipe::Kind kind : {Recipe::Kind::adam, Recipe::Kind::dawnbench}) {
    const bool dawnbench = kind == Recipe::Kind::dawnbench;
    Recipe recipe = Recipe::make(kind);
    recipe.batch_size = 8;
    Witness model;
    Trainer trainer(model, data, {.recipe = recipe, .seed = 9});
    trainer.set_epoch(3);
    trainer.run_epoch();
    ASSERT_EQ(model.seen.size(), dawnbench ? 2u : 3u);
    const std::vector<int> order = shuffled(20, 9, 3);
    std::size_t first = 0;
    for (const Tensor& images : model.seen) {
      std::vector<std::int64_t> labels;
      for (std::int64_t i = 0; i < images.shape()[0]; ++i)
        labels.push_back(data.labels[static_cast<std::size_t>(order[first + static_cast<std::size_t>(i)])]);
      const Batch batch{images, Tensor::from(std::span<const std::int64_t>(labels), {images.shape()[0]})};
      expect_batch(batch, data,
                   dawnbench ? Augmentation{.crop_padding = 4, .reflect = true, .flip = true, .cutout = 8}
                             : Augmentation{.crop_padding = 3, .flip = true},
                   9, 3, order, first);
      first += labels.size();
    }
  }
}

}  // namespace
}  // namespace weft::nn
