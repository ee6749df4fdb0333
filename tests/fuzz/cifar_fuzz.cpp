#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <new>
#include <string>

#include "tests/fuzz/fuzz_input.h"
#include "weft/error.h"
#include "weft/nn/dataset.h"

// CIFAR-10's files are 30 MB each, so an input names what differs from a file of zeros: the file's size, a few bytes in
// it, the text of the class names. The reader has to refuse it with a typed error or give exactly those bytes.

namespace {

namespace fs = std::filesystem;
using weft::fuzz::fail;

constexpr std::int64_t kRecord = 3073, kRecords = 10'000, kFileBytes = kRecord * kRecords;

/// A folder with the files of both splits, the five for training being links to the one for testing.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "weft_cifar_fuzz_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) fail("no temporary folder");
    path = name;
    batch_ = ::open((path / "test_batch.bin").c_str(), O_RDWR | O_CREAT, 0600);
    if (batch_ < 0) fail("no file");
    for (int i = 1; i <= 5; ++i) {
      fs::create_symlink("test_batch.bin", path / ("data_batch_" + std::to_string(i) + ".bin"));
    }
  }
  ~Folder() {
    ::close(batch_);
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  void resize(std::int64_t bytes) const {
    if (::ftruncate(batch_, bytes) != 0) fail("ftruncate");
  }
  void put(std::int64_t at, std::uint8_t value) const {
    if (::pwrite(batch_, &value, 1, at) != 1) fail("pwrite");
  }
  void names(const std::string& text) const {
    const int file = ::open((path / "batches.meta.txt").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || ::write(file, text.data(), text.size()) != static_cast<ssize_t>(text.size())) fail("names");
    ::close(file);
  }

  fs::path path;

 private:
  int batch_ = -1;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder folder;
  weft::fuzz::Input input(data, size);
  const auto split = input.rarely(32) ? weft::nn::Split::train : weft::nn::Split::test;
  std::int64_t bytes = kFileBytes;
  if (input.rarely(8)) bytes += input.below(2) == 0 ? 1 + input.byte() : -1 - input.byte() * kRecord;
  if (input.rarely(64)) bytes = std::max<std::int64_t>(0, bytes - kFileBytes);

  std::map<std::int64_t, std::uint8_t> changed;
  for (int count = input.below(8); count > 0; --count) {
    const std::int64_t record = (input.byte() << 8 | input.byte()) % kRecords;
    const std::int64_t place = input.flag() ? 0 : (input.byte() << 8 | input.byte()) % kRecord;
    changed[record * kRecord + place] = input.byte();
  }
  const bool named = input.flag();
  if (named) {
    std::string names;
    if (input.flag()) {
      for (int i = 0; i < 10; ++i) names += std::string(1, static_cast<char>('a' + i)) + "\n";
    }
    while (input.remaining() > 0) names += static_cast<char>(input.byte());
    folder.names(names);
  }
  folder.resize(0);  // drops what the input before wrote
  folder.resize(bytes);
  for (const auto& [at, value] : changed) {
    if (at < bytes) folder.put(at, value);
  }

  try {
    const weft::nn::ImageDataset set = weft::nn::cifar10(folder.path, split);
    if (bytes != kFileBytes) fail("a file of a wrong size was read");
    const std::int64_t files = split == weft::nn::Split::train ? 5 : 1;
    if (set.size() != files * kRecords || set.classes.size() != 10) fail("wrong counts");
    if (static_cast<std::int64_t>(set.images.size()) != files * kRecords * (kRecord - 1)) fail("images are missing");
    for (std::int64_t i = 0; i < set.size(); ++i) {
      const auto found = changed.find(i % kRecords * kRecord);
      if (set.labels[static_cast<std::size_t>(i)] != (found == changed.end() ? 0 : found->second)) fail("a label");
    }
    for (const auto& [at, value] : changed) {
      const std::int64_t record = at / kRecord, place = at % kRecord;
      if (place == 0) continue;
      if (set.images[static_cast<std::size_t>(record * (kRecord - 1) + place - 1)] != value) fail("a pixel");
    }
  } catch (const weft::Error&) {
    const bool bad_label = std::any_of(changed.begin(), changed.end(),
                                       [](const auto& c) { return c.first % kRecord == 0 && c.second > 9; });
    if (bytes == kFileBytes && !bad_label && !named) fail("a right file was refused");
  } catch (const std::bad_alloc&) {
  }
  if (named) fs::remove(folder.path / "batches.meta.txt");
  return 0;
}
