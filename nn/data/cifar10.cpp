#include "data/cifar10_parse.h"

#include <weft/error.h>
#include <weft/nn/dataset.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <list>
#include <system_error>
#include <utility>

namespace weft::nn {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kRecordsPerFile = 10'000;
constexpr std::size_t kRecordsPerRead = 100;
constexpr std::size_t kMetaBytesMax = 4096;

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

/// The names in batches.meta.txt; the standard ten where there is no such file.
std::vector<std::string> class_names(const fs::path& folder) {
  const auto file = folder / "batches.meta.txt";
  std::error_code error;
  if (!fs::exists(file, error)) {
    return {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
  }
  io::FileSource source(file);
  return read_cifar10_names(source);
}

}  // namespace

void check_cifar10_size(const io::Source& source, std::size_t records) {
  if (source.size() == records * kCifar10RecordBytes) return;
  source.fail("must be exactly " + std::to_string(records * kCifar10RecordBytes) + " bytes, " +
                  std::to_string(records) + " records of " + std::to_string(kCifar10RecordBytes),
              std::to_string(source.size()) + " bytes");
}

void read_cifar10_records(io::Source& source, std::size_t records, std::uint8_t* images, std::uint8_t* labels) {
  check_cifar10_size(source, records);
  std::vector<std::uint8_t> read(std::min(records, kRecordsPerRead) * kCifar10RecordBytes);
  for (std::size_t first = 0; first < records; first += kRecordsPerRead) {
    const std::size_t count = std::min(kRecordsPerRead, records - first);
    source.read(read.data(), count * kCifar10RecordBytes);
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint8_t* record = read.data() + i * kCifar10RecordBytes;
      if (record[0] >= kCifar10Classes) {
        source.fail("a label must be 0 to 9", std::to_string(record[0]) + " in record " + std::to_string(first + i));
      }
      labels[first + i] = record[0];
      std::memcpy(images + (first + i) * kCifar10ImageBytes, record + 1, kCifar10ImageBytes);
    }
  }
}

std::vector<std::string> read_cifar10_names(io::Source& source) {
  if (source.size() > kMetaBytesMax) {
    source.fail("must be at most " + std::to_string(kMetaBytesMax) + " bytes",
                std::to_string(source.size()) + " bytes");
  }
  const std::string text = source.read_text(static_cast<std::size_t>(source.size()));
  std::vector<std::string> names;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) names.push_back(std::move(line));
  }
  if (names.size() != kCifar10Classes) {
    source.fail("must have 10 class names, one a line", std::to_string(names.size()) + " names");
  }
  return names;
}

ImageDataset cifar10(const fs::path& folder, Split split) {
  const auto names = batch_names(split);
  const auto where = batch_folder(folder, names.front());
  std::list<io::FileSource> files;
  for (const auto& name : names) check_cifar10_size(files.emplace_back(where / name), kRecordsPerFile);
  ImageDataset data{.name = "CIFAR-10",
                    .classes = class_names(where),
                    .images = {},
                    .labels = {},
                    .mean = {0.4914f, 0.4822f, 0.4465f},
                    .stddev = {0.2470f, 0.2435f, 0.2616f}};
  data.images.resize(files.size() * kRecordsPerFile * kCifar10ImageBytes);
  data.labels.resize(files.size() * kRecordsPerFile);
  std::uint8_t* images = data.images.data();
  std::uint8_t* labels = data.labels.data();
  for (auto& file : files) {
    read_cifar10_records(file, kRecordsPerFile, images, labels);
    images += kRecordsPerFile * kCifar10ImageBytes;
    labels += kRecordsPerFile;
  }
  return data;
}

}  // namespace weft::nn
