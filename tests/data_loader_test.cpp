#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "cpu/runtime/threads.h"
#include "nn/data/device_batches.h"
#include "tests/nn_support.h"
#include "weft/weft.h"

namespace weft::nn {
namespace {

constexpr std::array<float, 3> kMean{0.25f, 0.625f, 0.375f}, kStd{0.5f, 0.125f, 0.75f};

// `count` images of random bytes; image i has label i mod 10 and byte i in its first pixel, to be known by.
ImageDataset random_images(int count, int height = 8, int width = 6, int channels = 3) {
  ImageDataset data;
  data.name = "random";
  data.mean = kMean;
  data.stddev = kStd;
  data.channels = channels;
  data.height = height;
  data.width = width;
  Generator generator(7);
  for (int i = 0; i < count; ++i) {
    data.labels.push_back(static_cast<std::uint8_t>(i % 10));
    for (int j = 0; j < channels * height * width; ++j)
      data.images.push_back(static_cast<std::uint8_t>(generator.below(256)));
  }
  return data;
}

double normalised(const ImageDataset& data, int image, int c, int y, int x) {
  const int at = ((image * data.channels + c) * data.height + y) * data.width + x;
  return (data.images[static_cast<std::size_t>(at)] / 255.0 - kMean[static_cast<std::size_t>(c)]) /
         kStd[static_cast<std::size_t>(c)];
}

// The padded image at (y, x), which may lie outside by up to the padding.
double padded(const ImageDataset& data, int image, int c, int y, int x, bool reflect) {
  const auto inside = [](int at, int size) { return at < 0 ? -at : at >= size ? 2 * size - 2 - at : at; };
  if (y < 0 || x < 0 || y >= data.height || x >= data.width) {
    if (!reflect) return 0;
    return normalised(data, image, c, inside(y, data.height), inside(x, data.width));
  }
  return normalised(data, image, c, y, x);
}

// Whether row-major (C, H, W) values show the image shifted by (dy, dx) and mirrored.
bool shows(const ImageDataset& data, const std::vector<float>& values, int image, int dy, int dx, bool mirrored,
           bool reflect) {
  for (int c = 0, i = 0; c < data.channels; ++c) {
    for (int y = 0; y < data.height; ++y) {
      for (int x = 0; x < data.width; ++x, ++i) {
        const int across = mirrored ? data.width - 1 - x : x;
        const double expected = padded(data, image, c, y + dy, across + dx, reflect);
        if (std::abs(values[static_cast<std::size_t>(i)] - expected) > 1e-5) return false;
      }
    }
  }
  return true;
}

TEST(DataLoader, GivesEveryImageNormalisedInOrder) {
  const ImageDataset data = random_images(10);
  std::int64_t seen = 0;
  for (auto& [images, labels] : DataLoader(data, {.batch_size = 4})) {
    EXPECT_TRUE(images.array().layout().is_channels_last());
    EXPECT_EQ(images.shape(), (Shape{std::min<std::int64_t>(4, 10 - seen), 3, 8, 6}));
    for (std::int64_t i = 0; i < labels.size(); ++i, ++seen) {
      EXPECT_EQ(labels.select(0, i).item<int>(), seen % 10);
      EXPECT_TRUE(shows(data, images.select(0, i).to_vector<float>(), static_cast<int>(seen), 0, 0, false, false));
    }
  }
  EXPECT_EQ(seen, 10);
}

TEST(DataLoader, ShufflesEachEpochAnewAndRepeatably) {
  const ImageDataset data = random_images(30);
  const auto order = [&](DataLoader& loader) {
    std::vector<std::int64_t> labels;
    for (auto& batch : loader) {
      for (const std::int64_t label : batch.labels.to_vector<std::int64_t>()) labels.push_back(label);
    }
    return labels;
  };
  DataLoader a(data, {.batch_size = 7, .shuffle = true, .seed = 3});
  DataLoader b(data, {.batch_size = 7, .shuffle = true, .seed = 3});
  DataLoader c(data, {.batch_size = 7, .shuffle = true, .seed = 4});
  const auto first = order(a);
  EXPECT_EQ(first, order(b));
  EXPECT_NE(first, order(c));
  const auto second = order(a);
  EXPECT_NE(first, second);
  b.set_epoch(1);
  EXPECT_EQ(second, order(b));
  std::vector<std::int64_t> sorted = first;
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 0; i < sorted.size(); ++i) EXPECT_EQ(sorted[i], static_cast<std::int64_t>(i / 3));
}

TEST(DataLoader, CropsAndFlipsEveryWay) {
  const ImageDataset data = random_images(1);
  for (const bool reflect : {false, true}) {
    DataLoader loader(data, {.batch_size = 1, .augmentation = {.crop_padding = 2, .reflect = reflect, .flip = true}});
    std::set<std::tuple<int, int, bool>> seen;
    for (int epoch = 0; epoch < 600; ++epoch) {
      const std::vector<float> values = (*loader.begin()).images.to_vector<float>();
      bool found = false;
      for (int dy = -2; dy <= 2; ++dy) {
        for (int dx = -2; dx <= 2; ++dx) {
          for (const bool mirrored : {false, true}) {
            if (!shows(data, values, 0, dy, dx, mirrored, reflect)) continue;
            found = true;
            seen.insert({dy, dx, mirrored});
          }
        }
      }
      ASSERT_TRUE(found) << "epoch " << epoch;
    }
    EXPECT_EQ(seen.size(), 50u);
  }
}

TEST(DataLoader, CutsASquareOut) {
  const ImageDataset data = random_images(1);
  DataLoader loader(data, {.batch_size = 1, .augmentation = {.cutout = 3}});
  std::set<std::pair<int, int>> places;
  for (int epoch = 0; epoch < 300; ++epoch) {
    const std::vector<float> values = (*loader.begin()).images.to_vector<float>();
    int top = data.height;
    int left = data.width;
    int zeros = 0;
    for (int c = 0, i = 0; c < 3; ++c) {
      for (int y = 0; y < data.height; ++y) {
        for (int x = 0; x < data.width; ++x, ++i) {
          if (values[static_cast<std::size_t>(i)] != 0.0f) continue;
          ++zeros;
          top = std::min(top, y);
          left = std::min(left, x);
        }
      }
    }
    ASSERT_EQ(zeros, 27);
    places.insert({top, left});
  }
  EXPECT_EQ(places.size(), 24u);
}

TEST(DataLoader, AugmentationOfAnImageIgnoresTheBatchSize) {
  const ImageDataset data = random_images(12);
  const auto all = [&](std::int64_t batch_size) {
    std::vector<Tensor> parts;
    for (auto& batch :
         DataLoader(data, {.batch_size = batch_size, .augmentation = {.crop_padding = 1, .flip = true, .cutout = 2}})) {
      parts.push_back(batch.images);
    }
    return concatenate(parts).to_vector<float>();
  };
  EXPECT_EQ(all(5), all(12));
}

TEST(DataLoader, BatchesOfADeviceAdvanceTheirClock) {
  const ImageDataset images = builtin_images(Split::train, 11);
  const DataLoaderOptions options{.batch_size = 4, .shuffle = true, .augmentation = {.crop_padding = 2}, .seed = 3};
  DeviceBatches batches(images, options);
  for (const std::int64_t epoch : {0, 1}) {
    batches.start_epoch(epoch);
    DataLoader loader(images, options);
    loader.set_epoch(epoch);
    for (auto& [x, y] : loader) {
      const Batch mine = batches.make_arrays(y.size());
      batches.next(mine);
      EXPECT_EQ(mine.images.to_vector<float>(), x.to_vector<float>());
      EXPECT_EQ(mine.labels.to_vector<std::int64_t>(), y.to_vector<std::int64_t>());
    }
  }
}

TEST(DataLoader, DropsTheLastBatch) {
  const ImageDataset data = random_images(10);
  DataLoader loader(data, {.batch_size = 4, .drop_last = true});
  EXPECT_EQ(loader.size(), 2);
  std::int64_t batches = 0;
  for (auto& batch : loader) batches += batch.labels.size() == 4 ? 1 : 100;
  EXPECT_EQ(batches, 2);
  EXPECT_EQ(DataLoader(data, {.batch_size = 4}).size(), 3);
}

TEST(DataLoader, CanBeLeftEarlyAndUsedTwiceAtOnce) {
  const ImageDataset data = random_images(40);
  DataLoader loader(data, {.batch_size = 2});
  for (auto& batch : loader) {
    EXPECT_EQ(batch.labels.size(), 2);
    break;
  }
  auto a = loader.begin();
  auto b = loader.begin();
  ++a;
  EXPECT_EQ((*a).labels.to_vector<std::int64_t>(), (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ((*b).labels.to_vector<std::int64_t>(), (std::vector<std::int64_t>{0, 1}));
}

TEST(DataLoader, AnEmptyDataSetHasNoBatches) {
  const ImageDataset data = random_images(0);
  DataLoader loader(data);
  EXPECT_EQ(loader.size(), 0);
  EXPECT_TRUE(loader.begin() == loader.end());
}

TEST(DataLoader, RefusesBadOptions) {
  const ImageDataset data = random_images(1);
  EXPECT_THROW(DataLoader(data, {.batch_size = 0}), ValueError);
  EXPECT_THROW(DataLoader(data, {.augmentation = {.crop_padding = -1}}), ValueError);
  EXPECT_THROW(DataLoader(data, {.augmentation = {.crop_padding = 6, .reflect = true}}), ValueError);
  EXPECT_THROW(DataLoader(data, {.augmentation = {.cutout = 7}}), ValueError);
}

TEST(Trainer, LearnsTheBuiltInImages) {
  const ImageDataset train = builtin_images(Split::train, 2000);
  const ImageDataset test = builtin_images(Split::test, 300);
  manual_seed(1);
  Sequential model = resnet9({.variant = ResNet9::narrow});
  const Metrics before = evaluate(model, test, Device::cpu());
  EXPECT_EQ(before.images, 300);
  EXPECT_TRUE(model.is_training());
  Trainer trainer(model, train, {.recipe = Recipe::make(Recipe::Kind::adam), .seed = 1});
  const Metrics first = trainer.run_epoch();
  EXPECT_EQ(first.images, 2000);
  Metrics last;
  for (int i = 0; i < 2; ++i) last = trainer.run_epoch();
  EXPECT_EQ(trainer.epoch(), 3);
  EXPECT_LT(last.loss, first.loss);
  EXPECT_GT(evaluate(model, test, Device::cpu()).accuracy, before.accuracy + 0.1);
}

// The plain loop beside the trainer's, with a last batch that is smaller.
TEST(Trainer, StepsByTheMeanOrTheSumOfTheLosses) {
  const ImageDataset train = builtin_images(Split::train, 7);
  Recipe recipe = Recipe::make(Recipe::Kind::dawnbench);
  recipe.batch_size = 4;
  recipe.drop_last = false;
  recipe.epochs = 1;
  const auto make_model = [] {
    manual_seed(2);
    return Sequential(Flatten(), Linear(3072, 10));
  };
  for (const bool sum_loss : {false, true}) {
    recipe.sum_loss = sum_loss;
    Sequential expected = make_model(), model = make_model();
    const auto optimizer = recipe.optimizer(expected.parameters());
    const Schedule rate = recipe.schedule();
    DataLoader loader(train, {.batch_size = 4, .shuffle = true, .augmentation = recipe.augmentation, .seed = 3});
    double losses = 0, hits = 0, step = 0;
    for (auto& [x, y] : loader) {
      optimizer->zero_grad();
      optimizer->set_lr(rate(++step / 2));
      const Tensor logits = expected(x);
      const Tensor loss = cross_entropy(logits, y, {.reduction = Reduction::sum});
      losses += loss.item<float>();
      hits += static_cast<double>(equal(argmax(logits, 1), y).sum().item<std::int64_t>());
      (sum_loss ? loss : loss / static_cast<double>(y.size())).backward();
      optimizer->step();
    }
    const Metrics metrics = Trainer(model, train, {.recipe = recipe, .seed = 3}).run_epoch();
    EXPECT_EQ(metrics.images, 7);
    EXPECT_NEAR(metrics.loss, losses / 7, 1e-5 * losses);
    EXPECT_DOUBLE_EQ(metrics.accuracy, hits / 7);
    for (std::size_t i = 0; i < 2; ++i) {
      const auto x = model.parameters()[i].to_vector<float>(), y = expected.parameters()[i].to_vector<float>();
      for (std::size_t j = 0; j < x.size(); ++j) ASSERT_NEAR(x[j], y[j], 1e-5 * (1 + std::abs(y[j])));
    }
  }
}

TEST(Trainer, RepeatsToTheBitOnAnyNumberOfThreads) {
  const ImageDataset train = builtin_images(Split::train, 300);
  const auto loss = [&](int threads) {
    cpu::set_thread_count(threads);
    manual_seed(5);
    Sequential model = resnet9({.variant = ResNet9::narrow});
    Trainer trainer(model, train, {.recipe = Recipe::make(Recipe::Kind::adam), .seed = 5});
    trainer.run_epoch();
    return trainer.run_epoch().loss;
  };
  const int threads = cpu::thread_count();
  const double alone = loss(1);
  EXPECT_EQ(alone, loss(1));
  for (const int others : {2, 3, 8}) EXPECT_EQ(alone, loss(others)) << others << " threads";
  cpu::set_thread_count(threads);
}

TEST(Trainer, StopsWhenAsked) {
  const ImageDataset train = builtin_images(Split::train, 600);
  Sequential model = resnet9({.variant = ResNet9::narrow});
  Trainer trainer(model, train, {.recipe = Recipe::make(Recipe::Kind::adam)});
  const Metrics metrics = trainer.run_epoch([](const Trainer::Step& step) { return step.step < 1; });
  EXPECT_TRUE(trainer.stopped());
  EXPECT_EQ(trainer.epoch(), 0);
  EXPECT_EQ(metrics.images, 256);
}

TEST(DataLoader, RefusesADataSetWhoseBytesAreNotItsImages) {
  const auto message = [](const ImageDataset& data, const DataLoaderOptions& options) {
    return message_of<Error>([&] { DataLoader(data, options); });
  };
  ImageDataset data = random_images(4);
  data.labels.resize(5);
  EXPECT_EQ(message(data, {}), "data loader: images of (3, 8, 6) with 5 labels cannot have 576 bytes");
  data.labels.resize(4);
  data.images.pop_back();
  EXPECT_EQ(message(data, {}), "data loader: images of (3, 8, 6) with 4 labels cannot have 575 bytes");
  data.height = 1 << 30;
  EXPECT_EQ(message(data, {}), "data loader: the height (1 to 1024) must not be 1073741824");
  data = random_images(4);
  data.stddev = {1, 0, 1};
  EXPECT_EQ(message(data, {}), "data loader: stddev must be finite and positive, got 0");
  data.stddev = kStd;
  data.mean = {1, 1, std::nanf("")};
  EXPECT_EQ(message(data, {}), "data loader: mean must be finite, got nan");
}

TEST(DataLoader, RefusesALabelThatIsNoneOfTheClasses) {
  ImageDataset data = random_images(24);
  data.classes.assign(9, "one of nine");
  const std::string message = "data loader: label 9 of image 9 is outside [0, 9): the data set has 9 classes";
  Sequential model(Flatten(), Linear(3 * 8 * 6, 12));
  const std::vector<float> before = model.parameters()[0].to_vector<float>();
  Recipe recipe = Recipe::make(Recipe::Kind::adam);
  EXPECT_EQ(message_of<IndexError>([&] { DataLoader(data, {}); }), message);
  EXPECT_EQ(message_of<IndexError>([&] { evaluate(model, data, Device::cpu()); }), message);
  EXPECT_EQ(message_of<IndexError>([&] { Trainer(model, data, {.recipe = recipe}); }), message);
  data.classes.emplace_back("the tenth");
  EXPECT_EQ(DataLoader(data, {}).size(), 1);
  // Without names of the classes, the model decides how many there are.
  data.classes.clear();
  data.labels[3] = 12;
  recipe.augmentation = {};
  EXPECT_EQ(message_of<IndexError>([&] { evaluate(model, data, Device::cpu()); }),
            "cross_entropy: label 12 at (3,) is outside [0, 12): logits (24, 12) have 12 classes");
  Trainer trainer(model, data, {.recipe = recipe});
  EXPECT_THROW(trainer.run_epoch(), IndexError);
  EXPECT_EQ(model.parameters()[0].to_vector<float>(), before);
}

TEST(DataLoader, ABatchMayBeLargerThanAnything) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  const ImageDataset data = random_images(5);
  DataLoader loader(data, {.batch_size = kMost});
  EXPECT_EQ(loader.size(), 1);
  for (const Batch& batch : loader) EXPECT_EQ(batch.labels.size(), 5);
  EXPECT_EQ(DataLoader(data, {.batch_size = kMost, .drop_last = true}).size(), 0);
}

TEST(Trainer, GoesOnWhereAnotherStopped) {
  const ImageDataset train = builtin_images(Split::train, 24);
  Recipe recipe = Recipe::make(Recipe::Kind::dawnbench);
  recipe.batch_size = 8;
  recipe.epochs = 4;
  const TrainerOptions options{.recipe = recipe, .seed = 3};
  const auto make_model = [] {
    manual_seed(2);
    return Sequential(Flatten(), Linear(3072, 10));
  };
  Sequential whole = make_model(), parts = make_model();
  Trainer once(whole, train, options), first(parts, train, options);
  for (int i = 0; i < 4; ++i) once.run_epoch();
  for (int i = 0; i < 2; ++i) first.run_epoch();
  Trainer second(parts, train, options);
  second.optimizer().load_state_dict(first.optimizer().state_dict());
  second.set_epoch(2);
  for (int i = 0; i < 2; ++i) second.run_epoch();
  EXPECT_EQ(second.epoch(), 4);
  EXPECT_EQ(parts.parameters()[0].to_vector<float>(), whole.parameters()[0].to_vector<float>());
  EXPECT_EQ(message_of<ValueError>([&] { second.set_epoch(-1); }),
            "Trainer::set_epoch: the epoch must be at least 0, got -1");
}

TEST(Trainer, RefusesADataSetWithoutABatch) {
  const ImageDataset train = builtin_images(Split::train, 24);
  Sequential model(Flatten(), Linear(3072, 10));
  EXPECT_EQ(message_of<ValueError>([&] { Trainer(model, train, {.recipe = Recipe::make(Recipe::Kind::dawnbench)}); }),
            "Trainer: 24 images make no batch of 512");
}

// Images of a data set that says nothing else are in [0, 1].
TEST(Evaluate, NormalisesAsTheDataSetSays) {
  ImageDataset data;
  const ImageDataset drawn = builtin_images(Split::train, 60);
  data.images = drawn.images;
  data.labels = drawn.labels;
  std::vector<float> pixels, normalised;
  for (const std::uint8_t byte : data.images) pixels.push_back(static_cast<float>(byte) / 255.0f);
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    const std::size_t c = i / 1024 % 3;
    normalised.push_back((pixels[i] - kMean[c]) / kStd[c]);
  }
  manual_seed(1);
  Sequential model(Flatten(), Linear(3072, 10));
  const auto by_hand = [&](const std::vector<float>& values) {
    const Tensor x = Tensor::from(std::span<const float>(values), {60, 3, 32, 32});
    const std::vector<std::int64_t> numbers(data.labels.begin(), data.labels.end());
    const Tensor y = Tensor::from(std::span<const std::int64_t>(numbers), {60}), logits = model(x);
    return std::pair{cross_entropy(logits, y).item<double>(), sum(equal(argmax(logits, 1), y)).item<double>() / 60};
  };
  const auto expect_scores = [&](const std::vector<float>& values) {
    const auto [loss, accuracy] = by_hand(values);
    const Metrics found = evaluate(model, data, Device::cpu(), 17);
    EXPECT_NEAR(found.loss, loss, 1e-5 * loss);
    EXPECT_EQ(found.accuracy, accuracy);
  };
  Recipe recipe = Recipe::make(Recipe::Kind::adam);
  recipe.augmentation = {};
  for (const std::vector<float>* values : {&pixels, &normalised}) {
    Trainer trainer(model, data, {.recipe = recipe});
    const double loss = trainer.run_epoch().loss;  // of one batch, as the model was before
    for (int i = 0; i < 9; ++i) trainer.run_epoch();
    expect_scores(*values);
    EXPECT_LT(by_hand(*values).first, loss);
    data.mean = kMean;
    data.stddev = kStd;
  }
}

TEST(Evaluate, RestoresTheModeOfEveryModule) {
  const ImageDataset data = builtin_images(Split::test, 8);
  const BatchNorm2d frozen(3);
  Sequential model(frozen, Flatten(), Linear(3072, 10), Residual(Identity()));
  BatchNorm2d(frozen).eval();
  const auto expect_modes = [&] {
    EXPECT_TRUE(model.is_training());
    EXPECT_FALSE(frozen.is_training());
    EXPECT_TRUE(model[3].is_training());
  };
  evaluate(model, data, Device::cpu());
  expect_modes();
  EXPECT_THROW(evaluate(model, data, Device::cpu(), 0), ValueError);
  expect_modes();
}

}  // namespace
}  // namespace weft::nn
