#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <thread>

#include "weft/weft.h"

namespace weft::nn {
namespace {

// Sample i holds i, and a number drawn for it.
struct Noisy {
  struct Pair {
    Tensor number, noise;
  };
  std::int64_t count = 0;
  std::int64_t size() const { return count; }
  Pair get(std::int64_t index, Generator& generator) const {
    return {full({}, index, {.dtype = DType::i64}), rand({2}, {}, 0, 1, generator)};
  }
};

struct Sized {
  std::int64_t size() const { return 0; }
};

static_assert(Dataset<ImageDataset> && Dataset<TensorDataset<1>> && Dataset<Noisy> && Dataset<Subset<Noisy>>);
static_assert(Dataset<ConcatDataset<Noisy, Subset<Noisy>>>);
static_assert(!Dataset<Sized> && !Dataset<int>);
static_assert(std::is_constructible_v<Subset<Noisy>, Noisy&, std::vector<std::int64_t>>);
static_assert(!std::is_constructible_v<Subset<Noisy>, Noisy, std::vector<std::int64_t>>);
static_assert(std::is_constructible_v<ConcatDataset<Noisy, Noisy>, Noisy&, const Noisy&>);
static_assert(!std::is_constructible_v<ConcatDataset<Noisy, Noisy>, Noisy&, Noisy>);

TEST(TensorDataset, GivesViewsOfAnyLayoutAndDtype) {
  const Tensor x = arange(0, 12, 1, {.dtype = DType::f64}).reshape({3, 4}).transpose(0, 1).flip({0});
  const Tensor y = arange(0, 4, 1, {.dtype = DType::i32});
  const TensorDataset dataset(x, y);
  ASSERT_EQ(dataset.size(), 4);
  for (std::int64_t i = 0; i < 4; ++i) {
    const auto [features, label] = dataset.get(i);
    const auto first = static_cast<double>(3 - i);
    EXPECT_EQ(features.to_vector<double>(), (std::vector<double>{first, first + 4, first + 8}));
    EXPECT_EQ(label.item<int>(), i);
    EXPECT_EQ(label.dtype(), DType::i32);
  }
  EXPECT_THROW((void)dataset.get(-1), IndexError);
  EXPECT_THROW((void)dataset.get(4), IndexError);
}

TEST(TensorDataset, RefusesTensorsWithoutACommonFirstAxis) {
  EXPECT_THROW(TensorDataset(zeros({3, 2}), zeros({2})), ShapeError);
  EXPECT_THROW(TensorDataset(zeros({})), ShapeError);
  const TensorDataset none(zeros({0, 5}), zeros({0}));
  EXPECT_EQ(none.size(), 0);
  EXPECT_THROW((void)none.get(0), IndexError);
}

TEST(Subset, GivesTheNamedSamplesAndPassesTheGeneratorOn) {
  const Noisy all{6};
  const Subset some(all, {4, 0, 4});
  ASSERT_EQ(some.size(), 3);
  const std::vector<std::int64_t> expected{4, 0, 4};
  for (std::int64_t i = 0; i < 3; ++i) {
    Generator drawn(9), own(9);
    const auto sample = some.get(i, drawn);
    EXPECT_EQ(sample.number.item<std::int64_t>(), expected[static_cast<std::size_t>(i)]);
    EXPECT_EQ(sample.noise.to_vector<float>(), rand({2}, {}, 0, 1, own).to_vector<float>());
    EXPECT_EQ(drawn.offset(), own.offset());
  }
  Generator generator;
  EXPECT_THROW((void)some.get(3, generator), IndexError);
  EXPECT_THROW(Subset(all, {0, 6}), IndexError);
  EXPECT_THROW(Subset(all, {-1}), IndexError);
}

TEST(RandomSplit, CutsAllSamplesIntoDisjointPartsByTheSeed) {
  const Noisy all{11};
  const auto parts = random_split(all, {7, 0, 4}, 3);
  ASSERT_EQ(parts.size(), 3U);
  EXPECT_EQ(parts[0].size(), 7);
  EXPECT_EQ(parts[1].size(), 0);
  EXPECT_EQ(parts[2].size(), 4);
  std::vector<std::int64_t> seen = parts[0].indices(), every(11);
  seen.insert(seen.end(), parts[2].indices().begin(), parts[2].indices().end());
  std::iota(every.begin(), every.end(), 0);
  EXPECT_NE(seen, every);
  EXPECT_EQ(random_split(all, {7, 0, 4}, 3)[0].indices(), parts[0].indices());
  EXPECT_NE(random_split(all, {7, 0, 4}, 4)[0].indices(), parts[0].indices());
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, every);
}

TEST(RandomSplit, RefusesLengthsThatDoNotAddUp) {
  const Noisy all{5};
  EXPECT_THROW(random_split(all, {2, 2}), ValueError);
  EXPECT_THROW(random_split(all, {2, 4}), ValueError);
  EXPECT_THROW(random_split(all, {6, -1}), ValueError);
  EXPECT_THROW(random_split(all, {INT64_MAX, INT64_MAX}), ValueError);
}

TEST(ConcatDataset, GivesOneDataSetAfterAnother) {
  const Noisy three{3}, none{0}, two{2};
  const Subset reversed(three, {2, 1, 0});
  const ConcatDataset all(three, none, reversed, two);
  ASSERT_EQ(all.size(), 8);
  std::vector<std::int64_t> numbers;
  Generator generator;
  for (std::int64_t i = 0; i < all.size(); ++i) numbers.push_back(all.get(i, generator).number.item<std::int64_t>());
  EXPECT_EQ(numbers, (std::vector<std::int64_t>{0, 1, 2, 2, 1, 0, 0, 1}));
  EXPECT_THROW((void)all.get(8, generator), IndexError);
  EXPECT_THROW((void)all.get(-1, generator), IndexError);
}

TEST(ImageDataset, GivesTheBitsOfABatchFromSeveralThreads) {
  ImageDataset data = builtin_images(Split::train, 9);
  std::vector<std::vector<float>> images(9);
  std::vector<std::int64_t> labels(9);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = static_cast<std::size_t>(t); i < 9; i += 3) {
        const LabelledImage sample = data.get(static_cast<std::int64_t>(i));
        images[i] = sample.image.to_vector<float>();
        labels[i] = sample.label.item<std::int64_t>();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::size_t seen = 0;
  for (auto& batch : DataLoader(data, {.batch_size = 4})) {
    for (std::int64_t i = 0; i < batch.labels.size(); ++i, ++seen) {
      EXPECT_EQ(images[seen], batch.images.select(0, i).to_vector<float>());
      EXPECT_EQ(labels[seen], batch.labels.select(0, i).item<std::int64_t>());
    }
  }
  EXPECT_EQ(seen, 9U);
  EXPECT_THROW((void)data.get(9), IndexError);
}

}  // namespace
}  // namespace weft::nn
