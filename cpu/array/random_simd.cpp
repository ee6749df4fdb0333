#include <cmath>
#include <cstdint>

#include "core/device/philox.h"
#include "cpu/array/random_kernels.h"

#ifdef __clang__
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace weft::cpu::WEFT_ISA {
namespace {

constexpr int kBlocks = 64;  // made at a time; each round is one vector loop

/// numbers[j][b] is number j of block first + b.
struct Numbers {
  std::uint32_t number[4][kBlocks];

  void make(const RandomStream& stream, std::uint64_t first) {
    for (int b = 0; b < kBlocks; ++b) {
      const PhiloxBlock block = philox(stream.seed, stream.stream, first + static_cast<std::uint64_t>(b));
      for (int j = 0; j < 4; ++j) number[j][b] = block.number[j];
    }
  }
};

/// Writes elements made of whole blocks: `make(numbers, b, values)` gives the kPerBlock elements of block b.
template <int kPerBlock, class T, class Make>
[[gnu::always_inline]] inline void for_blocks(const RandomStream& stream, T* out, Make make) {
  Numbers numbers;
  std::uint64_t block = stream.block;
  for (std::int64_t i = 0; i < stream.count; i += kPerBlock * kBlocks, block += kBlocks) {
    numbers.make(stream, block);
    if (stream.count - i >= kPerBlock * kBlocks) {
      for (int b = 0; b < kBlocks; ++b) make(numbers, b, out + i + b * kPerBlock);
    } else {
      T values[kPerBlock * kBlocks];
      for (int b = 0; b < kBlocks; ++b) make(numbers, b, values + b * kPerBlock);
      for (std::int64_t k = 0; k < stream.count - i; ++k) out[i + k] = values[k];
    }
  }
}

template <class T>
[[gnu::always_inline]] inline T largest_below(T high, T low) {
  const T below = std::nextafter(high, low);
  return below < low ? low : below;
}

void uniform_f32(const RandomStream& stream, float low, float high, float* out) {
  const float range = high - low, top = largest_below(high, low);
  for_blocks<4>(stream, out, [=](const Numbers& numbers, int b, float* values) {
    for (int j = 0; j < 4; ++j) {
      values[j] = scalar::uniform(scalar::unit_interval(numbers.number[j][b]), low, range, top);
    }
  });
}

void uniform_f64(const RandomStream& stream, double low, double high, double* out) {
  const double range = high - low, top = largest_below(high, low);
  for_blocks<2>(stream, out, [=](const Numbers& numbers, int b, double* values) {
    for (int j = 0; j < 2; ++j) {
      const std::uint64_t number = scalar::join(numbers.number[2 * j][b], numbers.number[2 * j + 1][b]);
      values[j] = scalar::uniform(scalar::unit_interval(number), low, range, top);
    }
  });
}

void normal_f32(const RandomStream& stream, float mean, float deviation, float* out) {
  for_blocks<4>(stream, out, [=](const Numbers& numbers, int b, float* values) {
    for (int j = 0; j < 4; j += 2) {
      const auto pair = scalar::normal_pair(numbers.number[j][b], numbers.number[j + 1][b]);
      values[j] = mean + deviation * pair.first;
      values[j + 1] = mean + deviation * pair.second;
    }
  });
}

void normal_f64(const RandomStream& stream, double mean, double deviation, double* out) {
  for_blocks<2>(stream, out, [=](const Numbers& numbers, int b, double* values) {
    const auto pair = scalar::normal_pair(scalar::join(numbers.number[0][b], numbers.number[1][b]),
                                          scalar::join(numbers.number[2][b], numbers.number[3][b]));
    values[0] = mean + deviation * pair.first;
    values[1] = mean + deviation * pair.second;
  });
}

template <class T>
void integer(const RandomStream& stream, std::int64_t low, std::int64_t high, T* out) {
  const std::uint64_t start = static_cast<std::uint64_t>(low);
  const std::uint64_t range = static_cast<std::uint64_t>(high) - start;
  constexpr int kPerBlock = sizeof(T) == 8 ? 2 : 4;
  for_blocks<kPerBlock>(stream, out, [=](const Numbers& numbers, int b, T* values) {
    for (int j = 0; j < kPerBlock; ++j) {
      if constexpr (kPerBlock == 2) {
        const std::uint64_t number = scalar::join(numbers.number[2 * j][b], numbers.number[2 * j + 1][b]);
        values[j] = static_cast<T>(start + scalar::below(number, range));
      } else {
        values[j] = static_cast<T>(start + scalar::below(numbers.number[j][b], range));
      }
    }
  });
}

}  // namespace

const RandomKernels random_kernels = {uniform_f32,           uniform_f64,           normal_f32,           normal_f64,
                                      integer<std::uint8_t>, integer<std::int32_t>, integer<std::int64_t>};

}  // namespace weft::cpu::WEFT_ISA
