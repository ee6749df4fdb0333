#include <algorithm>
#include <string>
#include <vector>

#include "nn/data/cifar10_parse.h"
#include "tests/fuzz/fuzz_input.h"
#include "weft/error.h"

// The readers of CIFAR-10's files. An input is the text of the class names, or it names what differs from a file of a
// few records of zeros: its size, some bytes. Either is refused with a typed error, or what was read is exactly that.

namespace weft::fuzz {
namespace {

using nn::kCifar10RecordBytes;

void read_names(const std::string& text) {
  io::MemorySource source("names", text);
  try {
    const auto names = nn::read_cifar10_names(source);
    if (names.size() != nn::kCifar10Classes) fail("there are not ten names");
    std::size_t bytes = 0;
    for (const auto& name : names) {
      if (name.empty() || text.find(name) == std::string::npos) fail("a name is not in the text");
      bytes += name.size();
    }
    if (bytes + names.size() > text.size() + 1) fail("there are more names than text");
  } catch (const FormatError&) {
    const auto lines = std::count(text.begin(), text.end(), '\n');
    const bool blank = text.find("\n\n") != std::string::npos || text.find('\r') != std::string::npos;
    if (lines == 10 && text.size() <= 4096 && !blank && text.front() != '\n' && text.back() == '\n')
      fail("ten names were refused");
  }
}

void read_records(Input input) {
  const auto records = static_cast<std::size_t>(input.below(5));
  std::size_t size = records * kCifar10RecordBytes;
  if (input.rarely(8)) size = static_cast<std::size_t>(input.byte()) << input.below(8);
  std::string file(size, '\0');
  while (input.remaining() > 0 && size > 0) {
    const auto record = static_cast<std::size_t>(input.byte());
    const auto place = input.flag() ? 0 : static_cast<std::size_t>(input.byte() << 8 | input.byte());
    file[(record * kCifar10RecordBytes + place) % size] = static_cast<char>(input.byte());
  }
  std::vector<std::uint8_t> images(records * nn::kCifar10ImageBytes), labels(records);
  const bool right_size = size == records * kCifar10RecordBytes;
  io::MemorySource source("records", file);
  try {
    nn::read_cifar10_records(source, records, images.data(), labels.data());
  } catch (const FormatError&) {
    bool bad_label = false;
    for (std::size_t i = 0; right_size && i < records; ++i) {
      bad_label = bad_label || static_cast<std::uint8_t>(file[i * kCifar10RecordBytes]) > 9;
    }
    if (right_size && !bad_label) fail("a right file was refused");
    return;
  }
  if (!right_size) fail("a file of a wrong size was read");
  for (std::size_t i = 0; i < records; ++i) {
    const auto* record = reinterpret_cast<const std::uint8_t*>(file.data()) + i * kCifar10RecordBytes;
    if (labels[i] != record[0] || labels[i] > 9) fail("a label");
    if (!std::equal(record + 1, record + kCifar10RecordBytes, images.data() + i * nn::kCifar10ImageBytes))
      fail("a pixel");
  }
}

}  // namespace
}  // namespace weft::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  weft::fuzz::Input input(data, size);
  if (input.flag()) {
    weft::fuzz::read_names({reinterpret_cast<const char*>(input.position()), input.remaining()});
  } else {
    weft::fuzz::read_records(input);
  }
  return 0;
}
