#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cuda/element.h"

// Tiles of a product that a block computes from shared memory: kRows x kColumns sums, kDepth products of each at a
// time. a is (rows, depth), b is (columns, depth); put_along stores neighbours in depth, put_across neighbours in the
// other axis.
namespace weft::cuda::implicit {

inline constexpr int kThreads = 128;
inline constexpr int kLineBytes = 128;  // of a row's part that lies in shared memory

/// By fused multiply-adds: a thread has kDown x kAcross sums. Memory is (depth, row), so that a thread's rows follow
/// each other.
template <class T, int kDown, int kAcross, int kThreadsAcross>
struct FmaTile {
  using Word = T;
  using Sum = T;
  static constexpr int kRows = kThreads / kThreadsAcross * kDown, kColumns = kThreadsAcross * kAcross;
  using Sums = T[kDown][kAcross];
  static constexpr int kDepth = kLineBytes / static_cast<int>(sizeof(T)), kBuffers = 2;
  static constexpr int kUnit = 16 / static_cast<int>(sizeof(T));
  static constexpr int kLineA = kRows + kUnit, kLineB = kColumns + kUnit;  // fewer conflicts of banks
  static constexpr int kWordsA = kDepth * kLineA, kWordsB = kDepth * kLineB;

  template <int V>
  static WEFT_DEVICE void put_along_a(Word* a, int row, int k, const Pack<T, V>& pack) {
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) a[(k + j) * kLineA + row] = pack.value[j];
  }
  template <int V>
  static WEFT_DEVICE void put_along_b(Word* b, int column, int k, const Pack<T, V>& pack) {
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) b[(k + j) * kLineB + column] = pack.value[j];
  }
  template <int V>
  static WEFT_DEVICE void put_across_a(Word* a, int row, int k, const Pack<T, V>& pack) {
    *reinterpret_cast<Pack<T, V>*>(a + k * kLineA + row) = pack;
  }
  template <int V>
  static WEFT_DEVICE void put_across_b(Word* b, int column, int k, const Pack<T, V>& pack) {
    *reinterpret_cast<Pack<T, V>*>(b + k * kLineB + column) = pack;
  }

  static WEFT_DEVICE void multiply(const Word* a, const Word* b, Sums& sums) {
    const int thread = static_cast<int>(threadIdx.x);
    a += thread / kThreadsAcross * kDown;
    b += thread % kThreadsAcross * kAcross;
    WEFT_UNROLL_BY(8)
    for (int k = 0; k < kDepth; ++k, a += kLineA, b += kLineB) {
      T left[kDown], right[kAcross];
      read(a, left);
      read(b, right);
      WEFT_UNROLL
      for (int i = 0; i < kDown; ++i) {
        WEFT_UNROLL
        for (int j = 0; j < kAcross; ++j) {
          sums[i][j] = std::fma(left[i], right[j], sums[i][j]);
        }
      }
    }
  }
  /// use(row, column, sum&) for the thread's sums.
  template <class Use>
  static WEFT_DEVICE void each(Sums& sums, const Use& use) {
    const int thread = static_cast<int>(threadIdx.x);
    const int row = thread / kThreadsAcross * kDown, column = thread % kThreadsAcross * kAcross;
    WEFT_UNROLL
    for (int i = 0; i < kDown; ++i) {
      WEFT_UNROLL
      for (int j = 0; j < kAcross; ++j) use(row + i, column + j, sums[i][j]);
    }
  }

 private:
  template <int kCount>
  static WEFT_DEVICE void read(const T* from, T (&to)[kCount]) {
    constexpr int kPack = kCount < kUnit ? kCount : kUnit;
    WEFT_UNROLL
    for (int i = 0; i < kCount; i += kPack) {
      const auto pack = *reinterpret_cast<const Pack<T, kPack>*>(from + i);
      WEFT_UNROLL
      for (int j = 0; j < kPack; ++j) to[i + j] = pack.value[j];
    }
  }
};

/// By tensor cores: a warp has kDown x kAcross of their 16 x 8 sums. T is float, rounded to tf32, or Bfloat; sums are
/// f32. Memory is (row, depth) in words of 32 bits.
template <class T, int kDown, int kAcross, int kWarpsAcross>
struct TensorTile {
  using Word = std::uint32_t;
  using Sum = float;
  static constexpr TensorCore kCore = std::is_same_v<T, float> ? TensorCore::tf32 : TensorCore::bf16;
  static constexpr int kWarpsDown = kThreads / kWarp / kWarpsAcross;
  static constexpr int kRows = kWarpsDown * kDown * 16, kColumns = kWarpsAcross * kAcross * 8;
  static constexpr int kLineWords = kLineBytes / 4, kDepth = kLineBytes / static_cast<int>(sizeof(T));
  using Sums = float[kDown][kAcross][4];
  static constexpr int kLine = kLineWords + 4;  // a warp's reads of 8 rows by 4 words meet 32 banks
  static constexpr int kWordsA = kRows * kLine, kWordsB = kColumns * kLine;
  static constexpr int kBuffers = 2 * 4 * (kWordsA + kWordsB) <= (44 << 10) ? 2 : 1;

  template <int V>
  static WEFT_DEVICE void put_along_a(Word* a, int row, int k, const Pack<T, V>& pack) {
    if constexpr (kCore == TensorCore::tf32) {
      Pack<Word, V> words;
      WEFT_UNROLL
      for (int j = 0; j < V; ++j) words.value[j] = to_tf32(pack.value[j]);
      *reinterpret_cast<Pack<Word, V>*>(a + row * kLine + k) = words;
    } else if constexpr (V > 1) {
      Pack<Word, V / 2> words;
      WEFT_UNROLL
      for (int j = 0; j < V / 2; ++j) {
        words.value[j] = pack.value[2 * j].bits | static_cast<Word>(pack.value[2 * j + 1].bits) << 16;
      }
      *reinterpret_cast<Pack<Word, V / 2>*>(a + row * kLine + k / 2) = words;
    } else {
      std::memcpy(reinterpret_cast<char*>(a + row * kLine) + 2 * k, &pack, 2);
    }
  }
  template <int V>
  static WEFT_DEVICE void put_along_b(Word* b, int column, int k, const Pack<T, V>& pack) {
    put_along_a(b, column, k, pack);
  }
  template <int V>
  static WEFT_DEVICE void put_across_a(Word* a, int row, int k, const Pack<T, V>& pack) {
    WEFT_UNROLL
    for (int j = 0; j < V; ++j) put_along_a(a, row + j, k, Pack<T, 1>{{pack.value[j]}});
  }
  template <int V>
  static WEFT_DEVICE void put_across_b(Word* b, int column, int k, const Pack<T, V>& pack) {
    put_across_a(b, column, k, pack);
  }

  static WEFT_DEVICE void multiply(const Word* a, const Word* b, Sums& sums) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
    a += (warp / kWarpsAcross * kDown * 16 + lane / 4) * kLine + lane % 4;
    b += (warp % kWarpsAcross * kAcross * 8 + lane / 4) * kLine + lane % 4;
    WEFT_UNROLL
    for (int word = 0; word < kLineWords; word += 8) {
      Word left[kDown][4], right[kAcross][2];
      WEFT_UNROLL
      for (int i = 0; i < kDown; ++i) {
        WEFT_UNROLL
        for (int j = 0; j < 4; ++j) left[i][j] = a[(i * 16 + j % 2 * 8) * kLine + word + j / 2 * 4];
      }
      WEFT_UNROLL
      for (int i = 0; i < kAcross; ++i) {
        right[i][0] = b[i * 8 * kLine + word];
        right[i][1] = b[i * 8 * kLine + word + 4];
      }
      WEFT_UNROLL
      for (int i = 0; i < kDown; ++i) {
        WEFT_UNROLL
        for (int j = 0; j < kAcross; ++j) multiply_add<kCore>(sums[i][j], left[i], right[j]);
      }
    }
  }
  template <class Use>
  static WEFT_DEVICE void each(Sums& sums, const Use& use) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
    const int row = warp / kWarpsAcross * kDown * 16 + lane / 4,
              column = warp % kWarpsAcross * kAcross * 8 + lane % 4 * 2;
    WEFT_UNROLL
    for (int i = 0; i < kDown; ++i) {
      WEFT_UNROLL
      for (int j = 0; j < kAcross; ++j) {
        WEFT_UNROLL
        for (int k = 0; k < 4; ++k) use(row + i * 16 + k / 2 * 8, column + j * 8 + k % 2, sums[i][j][k]);
      }
    }
  }
};

}  // namespace weft::cuda::implicit
