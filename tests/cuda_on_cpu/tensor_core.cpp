#include <cmath>
#include <cstring>
#include <string>

#include "core/device/convert.h"
#include "cuda_on_cpu.h"
#include "fiber.h"

namespace weft::cuda_on_cpu {

namespace {

struct Fragments {
  std::uint32_t a[4], b[2];
};
static_assert(sizeof(Fragments) <= kShuffleBytes && sizeof(Fragments) == 6 * sizeof(std::uint32_t));

double product(TensorCore kind, std::uint32_t a, std::uint32_t b) {
  const auto tf32 = [](std::uint32_t word) { return double{scalar::bits_as<float>(word & ~0x1FFFu)}; };
  const auto low = [](std::uint32_t word) { return double{scalar::bits_as<float>(word << 16)}; };
  const auto high = [](std::uint32_t word) { return double{scalar::bits_as<float>(word & 0xFFFF0000u)}; };
  return kind == TensorCore::tf32 ? tf32(a) * tf32(b) : low(a) * low(b) + high(a) * high(b);
}

}  // namespace

std::uint32_t to_tf32(float x) {
  if (std::isnan(x)) return 0x7FFFFFFFu;
  const auto bits = scalar::bits_as<std::uint32_t>(x);
  return std::isfinite(x) ? (bits + 0x1000u) & ~0x1FFFu : bits;
}

std::uint32_t to_bfloats(float first, float second) {
  const auto bits = [](float x) { return std::isnan(x) ? 0x7FFFu : std::uint32_t{scalar::to_bfloat(x).bits}; };
  return bits(first) | bits(second) << 16;
}

void multiply_add(TensorCore kind, float (&sums)[2][2], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                  int line) {
  Fragments own;
  std::memcpy(own.a, a, sizeof own.a);
  std::memcpy(own.b, b, sizeof own.b);
  const unsigned char* const all = exchange_all(&own, sizeof own, line);
  const Quiet quiet;
  const auto word_of = [all](int lane, int at) {
    std::uint32_t word;
    std::memcpy(&word, all + lane * kShuffleBytes + at * int{sizeof word}, sizeof word);
    return word;
  };
  const int lane = static_cast<int>(threadIdx.x % 32), group = lane / 4, place = lane % 4;
  for (int i = 0; i < 4; ++i) {
    const int row = group + i / 2 * 8, column = 2 * place + i % 2;
    double sum = double{sums[i / 2][i % 2]};
    for (int word = 0; word < 8; ++word) {
      const std::uint32_t left = word_of(row % 8 * 4 + word % 4, row / 8 + word / 4 * 2);
      const std::uint32_t right = word_of(column * 4 + word % 4, 4 + word / 4);
      sum += product(kind, left, right);
    }
    sums[i / 2][i % 2] = static_cast<float>(sum);
  }
}

void load_matrices(bool transposed, const void* row, std::uint32_t (&words)[4], int line) {
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) {
    throw KernelError("ldmatrix: a row is not aligned to 16 bytes (line " + std::to_string(line) + ")");
  }
  const char* rows[32];
  const unsigned char* const all = exchange_all(&row, sizeof row, line);
  {
    const Quiet quiet;
    for (int lane = 0; lane < 32; ++lane) std::memcpy(&rows[lane], all + lane * kShuffleBytes, sizeof(char*));
  }
  const int lane = static_cast<int>(threadIdx.x % 32), first = lane / 4, second = lane % 4 * 2;
  for (int i = 0; i < 4; ++i) {
    std::uint16_t halves[2];
    for (int j = 0; j < 2; ++j) {
      const int from = transposed ? second + j : first, at = transposed ? first : second + j;
      std::memcpy(&halves[j], rows[i * 8 + from] + 2 * at, 2);
    }
    words[i] = halves[0] | static_cast<std::uint32_t>(halves[1]) << 16;
  }
}

}  // namespace weft::cuda_on_cpu
