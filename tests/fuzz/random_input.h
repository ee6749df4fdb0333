#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <random>
#include <vector>

namespace weft::fuzz {

using Bytes = std::vector<std::uint8_t>;

/// One of `inputs` with one to eight changes, at most `most` bytes long: bits flipped, bytes replaced, inserted,
/// repeated or erased, integers of 1, 2, 4 or 8 bytes at the ends of their ranges, a piece of another input.
inline Bytes random_input(const std::vector<Bytes>& inputs, std::size_t most, std::mt19937_64& random) {
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % std::max<std::size_t>(n, 1)); };
  const auto place = [](Bytes& bytes, std::size_t at) { return bytes.begin() + static_cast<std::ptrdiff_t>(at); };
  Bytes bytes = inputs[below(inputs.size())];
  for (std::size_t changes = 1 + below(8); changes > 0; --changes) {
    const std::size_t at = below(bytes.size()), length = std::min(1 + below(8), bytes.size() - at);
    switch (below(6)) {
      case 0:
        if (length > 0) bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (1u << below(8)));
        break;
      case 1:
        if (length > 0) bytes[at] = static_cast<std::uint8_t>(random());
        break;
      case 2: {
        const std::uint64_t values[] = {0, 1, ~0ull, 1ull << 63, (1ull << 63) - 1, 1ull << 31, 1ull << 32, random()};
        const std::uint64_t value = values[below(8)] >> (below(2) == 0 ? 0 : 8 * below(8));
        const std::size_t count = std::min(std::size_t{1} << below(4), bytes.size() - at);
        for (std::size_t i = 0; i < count; ++i) bytes[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
        break;
      }
      case 3:
        bytes.erase(place(bytes, at), place(bytes, at + length));
        break;
      case 4: {
        const Bytes inserted(1 + below(8), below(2) == 0 ? static_cast<std::uint8_t>(random())
                                                         : (length > 0 ? bytes[at] : std::uint8_t{0}));
        bytes.insert(place(bytes, at), inserted.begin(), inserted.end());
        break;
      }
      default: {
        Bytes other = inputs[below(inputs.size())];
        const std::size_t from = below(other.size()), count = below(other.size() - from + 1);
        bytes.insert(place(bytes, at), place(other, from), place(other, from + count));
      }
    }
  }
  bytes.resize(std::min(bytes.size(), most));
  return bytes;
}

}  // namespace weft::fuzz
