#include <weft/error.h>
#include <weft/nn/dataset.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace weft::nn {
namespace {

namespace fs = std::filesystem;

constexpr int kClasses = 10;
constexpr std::size_t kImageBytes = 3 * 32 * 32;
constexpr std::size_t kRecordBytes = 1 + kImageBytes;  // the label, then the red, green and blue planes
constexpr std::size_t kRecordsPerFile = 10'000;
constexpr std::size_t kFileBytes = kRecordsPerFile * kRecordBytes;
constexpr std::size_t kRecordsPerRead = 100;  // divides kRecordsPerFile
constexpr std::uintmax_t kMetaBytesMax = 4096;

[[noreturn]] void fail_reading(const fs::path& file, const std::string& why) {
  throw IoError("cifar10: cannot read '" + file.string() + "': " + why);
}

std::uintmax_t size_of(const fs::path& file) {
  std::error_code error;
  const auto bytes = fs::file_size(file, error);
  if (error) fail_reading(file, error.message());
  return bytes;
}

std::vector<std::string> batch_names(Split split) {
  if (split == Split::test) return {"test_batch.bin"};
  return {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"};
}

/// The folder that holds the batch files: `folder` itself or its cifar-10-batches-bin.
fs::path batch_folder(const fs::path& folder, const std::string& first_file) {
  std::error_code error;
  const auto status = fs::status(folder, error);
  if (!fs::is_directory(status)) {
    const std::string found = fs::exists(status)                          ? "is not a folder"
                              : status.type() == fs::file_type::not_found ? "does not exist"
                                                                          : "cannot be reached: " + error.message();
    throw IoError("cifar10: '" + folder.string() + "' must be a folder with the CIFAR-10 binary files, but " + found);
  }
  const auto inner = folder / "cifar-10-batches-bin";
  return !fs::exists(folder / first_file, error) && fs::is_directory(inner, error) ? inner : folder;
}

/// The names in batches.meta.txt, one a line; the standard ten where there is no such file.
std::vector<std::string> class_names(const fs::path& folder) {
  const auto file = folder / "batches.meta.txt";
  std::error_code error;
  if (!fs::exists(file, error)) {
    return {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
  }
  if (const auto bytes = size_of(file); bytes > kMetaBytesMax) {
    throw FormatError("cifar10: '" + file.string() + "' must be at most " + std::to_string(kMetaBytesMax) +
                      " bytes, but is " + std::to_string(bytes));
  }
  std::ifstream in(file);
  if (!in) fail_reading(file, std::strerror(errno));
  std::vector<std::string> names;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) names.push_back(std::move(line));
  }
  if (in.bad()) fail_reading(file, std::strerror(errno));
  if (names.size() != kClasses) {
    throw FormatError("cifar10: '" + file.string() + "' must have 10 class names, one a line, but has " +
                      std::to_string(names.size()));
  }
  return names;
}

/// Splits one batch file into `images` and `labels`, with room for kRecordsPerFile records each.
void read_batch(const fs::path& file, std::uint8_t* images, std::uint8_t* labels) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> in(std::fopen(file.c_str(), "rb"), &std::fclose);
  if (!in) fail_reading(file, std::strerror(errno));
  std::vector<std::uint8_t> records(kRecordsPerRead * kRecordBytes);
  for (std::size_t first = 0; first < kRecordsPerFile; first += kRecordsPerRead) {
    if (std::fread(records.data(), kRecordBytes, kRecordsPerRead, in.get()) != kRecordsPerRead) {
      fail_reading(file, std::ferror(in.get()) ? std::strerror(errno) : "it shrank while being read");
    }
    for (std::size_t i = 0; i < kRecordsPerRead; ++i) {
      const std::uint8_t* record = records.data() + i * kRecordBytes;
      if (record[0] >= kClasses) {
        throw FormatError("cifar10: '" + file.string() + "': the label of record " + std::to_string(first + i) +
                          " must be 0 to 9, but is " + std::to_string(record[0]));
      }
      labels[first + i] = record[0];
      std::memcpy(images + (first + i) * kImageBytes, record + 1, kImageBytes);
    }
  }
}

}  // namespace

ImageDataset cifar10(const fs::path& folder, Split split) {
  const auto names = batch_names(split);
  const auto where = batch_folder(folder, names.front());
  for (const auto& name : names) {
    if (const auto bytes = size_of(where / name); bytes != kFileBytes) {
      throw FormatError("cifar10: '" + (where / name).string() + "' must be exactly " + std::to_string(kFileBytes) +
                        " bytes (10000 records of 3073), but is " + std::to_string(bytes));
    }
  }
  ImageDataset data{.name = "CIFAR-10",
                    .classes = class_names(where),
                    .images = {},
                    .labels = {},
                    .mean = {0.4914f, 0.4822f, 0.4465f},
                    .stddev = {0.2470f, 0.2435f, 0.2616f}};
  data.images.resize(names.size() * kRecordsPerFile * kImageBytes);
  data.labels.resize(names.size() * kRecordsPerFile);
  for (std::size_t i = 0; i < names.size(); ++i) {
    read_batch(where / names[i], data.images.data() + i * kRecordsPerFile * kImageBytes,
               data.labels.data() + i * kRecordsPerFile);
  }
  return data;
}

}  // namespace weft::nn
