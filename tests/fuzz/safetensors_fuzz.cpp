#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string_view>

#include "core/io/parse.h"
#include "weft/error.h"

/// Any bytes either are refused with a typed error or load as arrays whose elements are all there.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  weft::io::MemorySource source("input", std::string_view(reinterpret_cast<const char*>(data), size));
  try {
    const weft::TensorFile file = weft::io::read_safetensors(source);
    volatile std::uint8_t sum = 0;
    std::size_t bytes = 0;
    for (const auto& named : file.arrays) {
      const auto* first = static_cast<const std::uint8_t*>(named.second.data());
      const auto count = static_cast<std::size_t>(weft::io::byte_count(named.second.shape(), named.second.dtype()));
      sum = std::accumulate(first, first + count, sum);
      bytes += count;
    }
    if (bytes > size) __builtin_trap();
  } catch (const weft::Error&) {
  }
  return 0;
}
