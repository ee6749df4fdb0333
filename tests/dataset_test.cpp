#include <gtest/gtest.h>
#include <weft/error.h>
#include <weft/nn/dataset.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "core/device/sanitizers.h"

namespace {

namespace fs = std::filesystem;
using weft::nn::builtin_images;
using weft::nn::cifar10;
using weft::nn::ImageDataset;
using weft::nn::Split;

constexpr std::size_t kImageBytes = 3 * 32 * 32, kRecordBytes = 1 + kImageBytes, kRecords = 10'000;
constexpr std::uintmax_t kFileBytes = 30'730'000;

std::uint64_t fnv1a(const std::vector<std::uint8_t>& bytes) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const auto byte : bytes) hash = (hash ^ byte) * 0x100000001B3u;
  return hash;
}

template <typename E, typename F>
void expect_throw(F&& call, const std::string& message) {
  try {
    call();
    ADD_FAILURE() << "nothing thrown; expected: " << message;
  } catch (const E& error) {
    EXPECT_EQ(error.what(), message);
  }
}

// What every machine must draw; a change of the drawing changes these on purpose.
TEST(BuiltinImages, SameBytesOnEveryMachine) {
  const auto train = builtin_images(Split::train, 200);
  EXPECT_EQ(fnv1a(train.images), 0x397C00D575256196u);
  EXPECT_EQ(fnv1a(train.labels), 0xD3FA3149D35AAE2Cu);
  EXPECT_EQ(fnv1a(builtin_images(Split::test, 200).images), 0x34E99B3CC9C4DB81u);
  EXPECT_EQ(fnv1a(builtin_images(Split::train, 200, 7).images), 0x9F14161B803C3260u);
}

TEST(BuiltinImages, ImageDependsOnItsIndexAlone) {
  const auto few = builtin_images(Split::train, 10), many = builtin_images(Split::train, 100);
  EXPECT_TRUE(std::equal(few.images.begin(), few.images.end(), many.images.begin()));
  EXPECT_TRUE(std::equal(few.labels.begin(), few.labels.end(), many.labels.begin()));
}

TEST(BuiltinImages, NoImageTwiceAcrossSplitsAndSeeds) {
  std::set<std::vector<std::uint8_t>> seen;
  for (const auto split : {Split::train, Split::test}) {
    for (const std::uint64_t seed : {0, 1, 2}) {
      const auto data = builtin_images(split, 50, seed);
      for (auto at = data.images.begin(); at != data.images.end(); at += kImageBytes)
        seen.emplace(at, at + kImageBytes);
    }
  }
  EXPECT_EQ(seen.size(), 300u);
}

TEST(BuiltinImages, TestSplitIsBalancedAndNamed) {
  const auto data = builtin_images(Split::test);
  EXPECT_EQ(data.name, "built-in shapes");
  EXPECT_EQ(data.classes.size(), 10u);
  EXPECT_EQ(data.size(), 10'000);
  EXPECT_EQ(data.images.size(), 10'000u * data.channels * data.height * data.width);
  std::array<int, 10> count{};
  for (const auto label : data.labels) ++count.at(label);
  for (const int n : count) EXPECT_NEAR(n, 1000, 120);  // four standard deviations
}

// Those of the training images, which the test images come near to.
TEST(BuiltinImages, HaveTheirOwnMeanAndDeviation) {
  const auto data = builtin_images(Split::train, 2000);
  for (std::size_t c = 0; c < 3; ++c) {
    double sum = 0, squares = 0;
    for (std::size_t image = 0; image < 2000; ++image) {
      for (std::size_t i = 0; i < 1024; ++i) {
        const double pixel = data.images[image * kImageBytes + c * 1024 + i] / 255.0;
        sum += pixel;
        squares += pixel * pixel;
      }
    }
    const double mean = sum / 2000 / 1024, stddev = std::sqrt(squares / 2000 / 1024 - mean * mean);
    EXPECT_NEAR(data.mean[c], mean, 0.01);
    EXPECT_NEAR(data.stddev[c], stddev, 0.01);
  }
  EXPECT_EQ(data.mean, builtin_images(Split::test, 1).mean);
  EXPECT_EQ(data.stddev, builtin_images(Split::test, 1).stddev);
}

TEST(BuiltinImages, RefusesBadCounts) {
#if !WEFT_ASAN  // whose operator new ends the process instead of throwing
  EXPECT_THROW(builtin_images(Split::train, std::int64_t{1} << 50), weft::OutOfMemoryError);
#endif
  expect_throw<weft::ValueError>([] { builtin_images(Split::train, -1); },
                                 "builtin_images: count must be from 0 to 3002399751580330, but is -1");
  expect_throw<weft::ValueError>([] { builtin_images(Split::train, 3'002'399'751'580'331); },
                                 "builtin_images: count must be from 0 to 3002399751580330, but is 3002399751580331");
}

// Each test has its own folder. Batch files are sparse: records of zeros but for what a test writes.
class Cifar10 : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("weft_cifar10_" + std::to_string(std::random_device{}()));
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  fs::path batch(const std::string& name, std::uintmax_t bytes = kFileBytes) const {
    const auto file = root_ / name;
    fs::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary).flush();
    fs::resize_file(file, bytes);
    return file;
  }

  static void write_at(const fs::path& file, std::size_t offset, const std::vector<std::uint8_t>& bytes) {
    std::fstream out(file, std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(static_cast<std::streamoff>(offset));
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }

  void write_text(const std::string& name, const std::string& text) const { std::ofstream(root_ / name) << text; }

  fs::path root_;
};

TEST_F(Cifar10, ReadsLabelsAndPlanes) {
  const auto file = batch("test_batch.bin");
  std::vector<std::uint8_t> record(kRecordBytes);
  for (const std::size_t i : {std::size_t{0}, std::size_t{99}, std::size_t{100}, kRecords - 1}) {
    record[0] = static_cast<std::uint8_t>(i % 7 + 3);
    for (std::size_t k = 1; k < kRecordBytes; ++k) record[k] = static_cast<std::uint8_t>(i + k * 31);
    write_at(file, i * kRecordBytes, record);
  }
  const auto data = cifar10(root_, Split::test);
  EXPECT_EQ(data.name, "CIFAR-10");
  EXPECT_EQ(data.mean, (std::array<float, 3>{0.4914f, 0.4822f, 0.4465f}));
  EXPECT_EQ(data.stddev, (std::array<float, 3>{0.2470f, 0.2435f, 0.2616f}));
  EXPECT_EQ(data.classes.front(), "airplane");
  EXPECT_EQ(data.classes.back(), "truck");
  ASSERT_EQ(data.size(), 10'000);
  ASSERT_EQ(data.images.size(), kRecords * kImageBytes);
  for (const std::size_t i : {std::size_t{0}, std::size_t{99}, std::size_t{100}, kRecords - 1}) {
    EXPECT_EQ(data.labels[i], i % 7 + 3);
    for (std::size_t k = 0; k < kImageBytes; ++k) {
      ASSERT_EQ(data.images[i * kImageBytes + k], static_cast<std::uint8_t>(i + (k + 1) * 31)) << i << ' ' << k;
    }
  }
  EXPECT_EQ(data.labels[1], 0);
  EXPECT_EQ(data.images[kImageBytes], 0);
}

TEST_F(Cifar10, TrainIsTheFiveBatchesInOrder) {
  for (int i = 1; i <= 5; ++i) {
    const auto file = batch("data_batch_" + std::to_string(i) + ".bin");
    write_at(file, 0, {static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(10 * i)});
  }
  const auto data = cifar10(root_, Split::train);
  ASSERT_EQ(data.size(), 50'000);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(data.labels[i * kRecords], i + 1);
    EXPECT_EQ(data.images[i * kRecords * kImageBytes], 10 * (i + 1));
  }
}

TEST_F(Cifar10, AcceptsTheParentFolder) {
  write_at(batch("cifar-10-batches-bin/test_batch.bin"), 0, {9});
  EXPECT_EQ(cifar10(root_, Split::test).labels[0], 9);
}

TEST_F(Cifar10, ClassNamesFromTheMetaFile) {
  batch("test_batch.bin");
  write_text("batches.meta.txt", "a\r\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
  EXPECT_EQ(cifar10(root_, Split::test).classes,
            (std::vector<std::string>{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}));

  const auto meta = (root_ / "batches.meta.txt").string();
  write_text("batches.meta.txt", "a\nb\n");
  expect_throw<weft::FormatError>([&] { cifar10(root_, Split::test); },
                                  meta + ": must have 10 class names, one a line (2 names)");
  fs::resize_file(root_ / "batches.meta.txt", 4097);
  expect_throw<weft::FormatError>([&] { cifar10(root_, Split::test); },
                                  meta + ": must be at most 4096 bytes (4097 bytes)");
}

TEST_F(Cifar10, RefusesWrongSizes) {
  for (const std::uintmax_t bytes : {std::uintmax_t{0}, kFileBytes - 1, kFileBytes + 1, 2 * kFileBytes}) {
    const auto file = batch("test_batch.bin", bytes);
    expect_throw<weft::FormatError>([&] { cifar10(root_, Split::test); },
                                    file.string() + ": must be exactly 30730000 bytes, 10000 records of 3073 (" +
                                        std::to_string(bytes) + " bytes)");
  }
}

TEST_F(Cifar10, RefusesLabelsAboveNine) {
  const auto file = batch("test_batch.bin");
  write_at(file, 1234 * kRecordBytes, {10});
  expect_throw<weft::FormatError>([&] { cifar10(root_, Split::test); },
                                  file.string() + ": a label must be 0 to 9 (10 in record 1234)");
}

TEST_F(Cifar10, NamesWhatIsMissing) {
  expect_throw<weft::IoError>([&] { cifar10(root_, Split::test); },
                              (root_ / "test_batch.bin").string() + ": cannot open (No such file or directory)");
  for (const char* name : {"data_batch_1.bin", "data_batch_2.bin", "data_batch_4.bin", "data_batch_5.bin"}) batch(name);
  expect_throw<weft::IoError>([&] { cifar10(root_, Split::train); },
                              (root_ / "data_batch_3.bin").string() + ": cannot open (No such file or directory)");
  const std::string rule = "' must be a folder with the CIFAR-10 binary files, but ";
  expect_throw<weft::IoError>([&] { cifar10(root_ / "none", Split::test); },
                              "cifar10: '" + (root_ / "none").string() + rule + "does not exist");
  expect_throw<weft::IoError>([&] { cifar10(root_ / "data_batch_1.bin", Split::test); },
                              "cifar10: '" + (root_ / "data_batch_1.bin").string() + rule + "is not a folder");
}

TEST_F(Cifar10, RefusesAFolderInAFilesPlace) {
  fs::create_directories(root_ / "test_batch.bin");
  expect_throw<weft::IoError>([&] { cifar10(root_, Split::test); },
                              (root_ / "test_batch.bin").string() + ": cannot open (not a regular file)");
}

}  // namespace
