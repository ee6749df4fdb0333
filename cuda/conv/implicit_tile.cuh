#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cuda/array/chains.h"
#include "cuda/array/element.h"

// The tile that a block of the implicit products computes:
//
//   for k in steps of kInner:              load() fetches the operands of the next step into registers,
//     for i < kRows, j < kColumns:         multiply() adds kInner products to each sum,
//       sums(i, j) += a(i, k) · b(j, k)    store() puts the fetched operands into shared memory
//
//              b: kColumns lines                    registers      a fragment of the sums of each thread
//              ┌─────────────┐                      shared memory  kBuffers x (a and b, kInner of each line)
//   a: kRows   │  kRows x    │  inner: kInner       device memory  the source and the weight, read in vectors of V
//   lines      │  kColumns   │  at a time                          neighbours along inner (kAlong) or along the lines
//              └─────────────┘
//
// FmaTile uses fused multiply-adds (f64, and f32 without tf32), TensorTile the tensor cores (tf32 and bf16). Sums of
// f32 by fused multiply-adds are cut into chains of 256 terms (cuda/array/chains.h).
//
// kInner is the number of elements in kLineBytes = 128 bytes, a cache line of device memory. A block has kThreads =
// 128, four warps, so that each thread may have all 255 registers for its fragments. Two buffers overlap the stores of
// a step with the products of another; where both exceed 40 KiB of the 48 KiB that a block may declare, there is one.
// Lines in shared memory have gaps of 16 bytes (FmaOperand, and TensorOperand along inner) or 8 elements, so that the
// addresses that a warp reads at a time meet different banks.
namespace weft::cuda::implicit {

/// V neighbours as they are moved: pairs of bf16 are words, which nothing takes apart.
template <class T, int V>
struct Loaded {
  static constexpr int kBytes = V * static_cast<int>(sizeof(T));
  using type = std::conditional_t<sizeof(T) == 2 && kBytes >= 4, Vector<std::uint32_t, kBytes / 4>, Vector<T, V>>;
};
template <class T, int V>
using loaded_t = typename Loaded<T, V>::type;

template <int V, class T>
WEFT_DEVICE loaded_t<T, V> load_neighbours(const T* data) {
  return *reinterpret_cast<const loaded_t<T, V>*>(data);
}
/// V neighbours of parameters, whose type is that of the arithmetic, as they are loaded. They become T when they are
/// stored: a conversion after the load would wait for all loads that are on their way.
template <class T, int V>
struct LoadedParameters {
  static_assert(std::is_same_v<T, compute_t<T>>);
  loaded_t<T, V> vector;

  WEFT_DEVICE void load(const T* data) { vector = load_neighbours<V>(data); }
  WEFT_DEVICE loaded_t<T, V> get() const { return vector; }
};
template <>
struct LoadedParameters<Bfloat, 1> {
  float value;

  WEFT_DEVICE void load(const float* data) { value = *data; }
  WEFT_DEVICE loaded_t<Bfloat, 1> get() const { return {{narrow<Bfloat>(value)}}; }
};
template <int V>
struct LoadedParameters<Bfloat, V> {
  Vector<float, 4> vectors[V / 4];

  WEFT_DEVICE void load(const float* data) {
    WEFT_UNROLL
    for (int i = 0; i < V / 4; ++i) vectors[i] = load_neighbours<4>(data + 4 * i);
  }
  WEFT_DEVICE loaded_t<Bfloat, V> get() const {
    loaded_t<Bfloat, V> words;
    WEFT_UNROLL
    for (int i = 0; i < V / 2; ++i) {
      words.value[i] = to_bfloats(vectors[i / 2].value[i % 2 * 2], vectors[i / 2].value[i % 2 * 2 + 1]);
    }
    return words;
  }
};
/// Number j of a vector.
template <class T, int V>
WEFT_DEVICE compute_t<T> loaded_value(const loaded_t<T, V>& vector, int j) {
  if constexpr (std::is_same_v<loaded_t<T, V>, Vector<T, V>>) {
    return widen(vector.value[j]);
  } else {
    return widen(T{static_cast<std::uint16_t>(vector.value[j / 2] >> (j % 2 * 16))});
  }
}

inline constexpr int kThreads = 128;    // four warps: TensorTile gives each a rectangle of the tile
inline constexpr int kLineBytes = 128;  // of a line in shared memory: a cache line of device memory

/// An operand of fused multiply-adds, (inner, line): a thread's lines follow each other.
template <class T, int kLines, bool kAlong>
struct FmaOperand {
  static constexpr int kInner = kLineBytes / static_cast<int>(sizeof(T));
  static constexpr int kStep = kLines + 16 / static_cast<int>(sizeof(T));  // fewer conflicts of banks
  static constexpr int kWords = kInner * kStep;

  template <int V>
  static WEFT_DEVICE void put(T* to, int line, int k, const loaded_t<T, V>& vector) {
    if constexpr (kAlong) {
      WEFT_UNROLL
      for (int j = 0; j < V; ++j) to[(k + j) * kStep + line] = vector.value[j];
    } else {
      *reinterpret_cast<Vector<T, V>*>(to + k * kStep + line) = vector;
    }
  }
  template <int kCount>
  static WEFT_DEVICE void read(const T* from, int line, int k, T (&to)[kCount]) {
    constexpr int kUnit = 16 / static_cast<int>(sizeof(T)), kVector = kCount < kUnit ? kCount : kUnit;
    WEFT_UNROLL
    for (int i = 0; i < kCount; i += kVector) {
      const auto vector = *reinterpret_cast<const Vector<T, kVector>*>(from + k * kStep + line + i);
      WEFT_UNROLL
      for (int j = 0; j < kVector; ++j) to[i + j] = vector.value[j];
    }
  }
};

/// By fused multiply-adds: a thread has kDown x kAcross sums.
template <class T, int kDown, int kAcross, int kThreadsAcross, bool kAlongA, bool kAlongB>
struct FmaTile {
  using Word = T;
  using Sum = T;
  static constexpr int kRun = kAcross * static_cast<int>(sizeof(T)) > 16 ? 16 / static_cast<int>(sizeof(T)) : kAcross;
  using Sums = T[kDown][kAcross / kRun][kRun];
  static constexpr bool kChained = std::is_same_v<T, float>;
  static constexpr int kRows = kThreads / kThreadsAcross * kDown, kColumns = kThreadsAcross * kAcross;
  static constexpr int kInner = kLineBytes / static_cast<int>(sizeof(T)), kBuffers = 2;
  using A = FmaOperand<T, kRows, kAlongA>;
  using B = FmaOperand<T, kColumns, kAlongB>;

  static WEFT_DEVICE void multiply(const Word* a, const Word* b, Sums& sums) {
    const int thread = static_cast<int>(threadIdx.x);
    WEFT_UNROLL_BY(8)
    for (int k = 0; k < kInner; ++k) {
      T left[kDown], right[kAcross];
      A::read(a, thread / kThreadsAcross * kDown, k, left);
      B::read(b, thread % kThreadsAcross * kAcross, k, right);
      WEFT_UNROLL
      for (int i = 0; i < kDown; ++i) {
        WEFT_UNROLL
        for (int j = 0; j < kAcross; ++j) {
          T& sum = sums[i][j / kRun][j % kRun];
          sum = std::fma(left[i], right[j], sum);
        }
      }
    }
  }
  /// total += sums, which begin again at zero, or, the first of them, total = sums; `lost` as in add_to.
  static WEFT_DEVICE void take(Sums& sums, Sums& total, Sums& lost, bool first) {
    WEFT_UNROLL
    for (int i = 0; i < kDown; ++i) {
      WEFT_UNROLL
      for (int j = 0; j < kAcross / kRun; ++j) {
        WEFT_UNROLL
        for (int k = 0; k < kRun; ++k) {
          if (first) {
            total[i][j][k] = sums[i][j][k];
          } else {
            add_to(total[i][j][k], lost[i][j][k], sums[i][j][k]);
          }
          sums[i][j][k] = 0;
        }
      }
    }
  }
  /// use(row, column, run) for the thread's sums: kRun of neighbouring columns, from a multiple of kRun on.
  template <class Use>
  static WEFT_DEVICE void each(Sums& sums, const Use& use) {
    const int thread = static_cast<int>(threadIdx.x);
    const int row = thread / kThreadsAcross * kDown, column = thread % kThreadsAcross * kAcross;
    WEFT_UNROLL
    for (int i = 0; i < kDown; ++i) {
      WEFT_UNROLL
      for (int j = 0; j < kAcross / kRun; ++j) use(row + i, column + j * kRun, sums[i][j]);
    }
  }
};

/// An operand of tensor cores in words of 32 bits: one tf32 number or two bf16. kAlong: (line, inner); otherwise
/// (inner, line). Lines of memory are apart so that the warp's reads meet all banks.
template <class T, int kLines, bool kAlong>
struct TensorOperand {
  using Word = std::uint32_t;
  static constexpr bool kTf32 = std::is_same_v<T, float>;
  static constexpr int kInner = kLineBytes / static_cast<int>(sizeof(T));
  static constexpr int kStep = kAlong ? kLineBytes / 4 + 4 : (kLines + 8) * static_cast<int>(sizeof(T)) / 4;
  static constexpr int kWords = (kAlong ? kLines : kInner) * kStep;

  template <int V>
  static WEFT_DEVICE void put(Word* to, int line, int k, const loaded_t<T, V>& vector) {
    const int row = kAlong ? line : k, place = kAlong ? k : line;
    if constexpr (kTf32) {
      Vector<Word, V> words;
      WEFT_UNROLL
      for (int j = 0; j < V; ++j) words.value[j] = to_tf32(vector.value[j]);
      *reinterpret_cast<Vector<Word, V>*>(to + row * kStep + place) = words;
    } else if constexpr (V > 1) {
      *reinterpret_cast<loaded_t<T, V>*>(to + row * kStep + place / 2) = vector;
    } else {
      std::memcpy(reinterpret_cast<char*>(to + row * kStep) + 2 * place, &vector, 2);
    }
  }
  /// The lane's words of 16 lines by 8 words along inner, as multiply_add takes them for a; words 0, 2 and 1, 3 are
  /// those of two b.
  static WEFT_DEVICE void read(const Word* from, int line, int word, Word (&to)[4]) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    if constexpr (kAlong) {
      load_matrices<false>(from + (line + lane % 16) * kStep + word + lane / 16 * 4, to);
    } else if constexpr (kTf32) {
      from += (word + lane % 4) * kStep + line + lane / 4;
      WEFT_UNROLL
      for (int j = 0; j < 4; ++j) to[j] = from[j / 2 * 4 * kStep + j % 2 * 8];
    } else {
      load_matrices<true>(from + (2 * word + lane % 8 + lane / 16 * 8) * kStep + (line + lane / 8 % 2 * 8) / 2, to);
    }
  }
};

/// By tensor cores: a warp has kDown x kAcross of their 16 x 8 sums. T is float, rounded to tf32, or Bfloat; sums are
/// f32.
template <class T, int kDown, int kAcross, int kWarpsAcross, bool kAlongA, bool kAlongB>
struct TensorTile {
  static_assert(kAcross % 2 == 0);
  using Word = std::uint32_t;
  using Sum = float;
  using Sums = float[kDown][kAcross][2][2];
  static constexpr bool kChained = false;
  static constexpr int kRun = 2;  // neighbouring sums that a lane has of each row of 8
  static constexpr TensorCore kCore = std::is_same_v<T, float> ? TensorCore::tf32 : TensorCore::bf16;
  static constexpr int kWarpsDown = kThreads / kWarp / kWarpsAcross;
  static constexpr int kRows = kWarpsDown * kDown * 16, kColumns = kWarpsAcross * kAcross * 8;
  static constexpr int kInner = kLineBytes / static_cast<int>(sizeof(T));
  using A = TensorOperand<T, kRows, kAlongA>;
  using B = TensorOperand<T, kColumns, kAlongB>;
  static constexpr int kBuffers = 2 * 4 * (A::kWords + B::kWords) <= (40 << 10) ? 2 : 1;

  static WEFT_DEVICE void multiply(const Word* a, const Word* b, Sums& sums) {
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const int row = warp / kWarpsAcross * kDown * 16, column = warp % kWarpsAcross * kAcross * 8;
    WEFT_UNROLL
    for (int word = 0; word < kLineBytes / 4; word += 8) {
      Word left[kDown][4], right[kAcross / 2][4];
      WEFT_UNROLL
      for (int i = 0; i < kDown; ++i) A::read(a, row + i * 16, word, left[i]);
      WEFT_UNROLL
      for (int j = 0; j < kAcross / 2; ++j) B::read(b, column + j * 16, word, right[j]);
      WEFT_UNROLL
      for (int i = 0; i < kDown; ++i) {
        WEFT_UNROLL
        for (int j = 0; j < kAcross; ++j) {
          multiply_add<kCore>(sums[i][j], left[i], {right[j / 2][j % 2], right[j / 2][j % 2 + 2]});
        }
      }
    }
  }
  template <class Use>
  static WEFT_DEVICE void each(Sums& sums, const Use& use) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
    const int row = warp / kWarpsAcross * kDown * 16 + lane / 4;
    const int column = warp % kWarpsAcross * kAcross * 8 + lane % 4 * 2;
    WEFT_UNROLL
    for (int i = 0; i < kDown; ++i) {
      WEFT_UNROLL
      for (int j = 0; j < kAcross; ++j) {
        WEFT_UNROLL
        for (int k = 0; k < 2; ++k) use(row + i * 16 + k * 8, column + j * 8, sums[i][j][k]);
      }
    }
  }
};

/// sums = a · b over depths [begin, end): load(k) fetches the next kInner, store(a, b) puts them into shared memory,
/// while those before are multiplied. Every thread calls it, with the same range and sums of zero.
template <class Tile, class Load, class Store>
WEFT_DEVICE void multiply_all(typename Tile::Word* a, typename Tile::Word* b, std::int64_t begin, std::int64_t end,
                              const Load& load, const Store& store, typename Tile::Sums& sums) {
  if (begin < end) {
    load(begin);
    store(a, b);
  }
  WEFT_BARRIER();
  int buffer = 0;
  const auto multiply_chain = [&](std::int64_t first, std::int64_t last, typename Tile::Sums& chain) {
    for (std::int64_t k = first; k < last; k += Tile::kInner) {
      const bool more = k + Tile::kInner < end;
      if (more) load(k + Tile::kInner);
      Tile::multiply(a + buffer * Tile::A::kWords, b + buffer * Tile::B::kWords, chain);
      if constexpr (Tile::kBuffers == 1) {
        WEFT_BARRIER();
      } else {
        buffer ^= 1;
      }
      if (more) store(a + buffer * Tile::A::kWords, b + buffer * Tile::B::kWords);
      WEFT_BARRIER();
    }
  };
  if constexpr (Tile::kChained) {
    typename Tile::Sums chain = {}, lost = {};
    for (std::int64_t first = begin; first < end; first += kChain) {
      multiply_chain(first, first + kChain < end ? first + kChain : end, chain);
      Tile::take(chain, sums, lost, first == begin);
    }
  } else {
    multiply_chain(begin, end, sums);
  }
}

/// Writes a run of sums, converted, to `out`: kWhole all of it at once (is_even), else the first `count`.
template <bool kWhole, class T, class Sum, int kRun>
WEFT_DEVICE void write_run(T* out, const Sum (&run)[kRun], std::int64_t count) {
  const Vector<T, kRun> vector = narrow_all<T>(run);
  if constexpr (kWhole) {  // as words, which the compiler does not store in parts
    using Word = std::conditional_t<sizeof vector % 8 == 0, std::uint64_t, std::uint32_t>;
    Vector<Word, sizeof vector / sizeof(Word)> words;
    std::memcpy(&words, &vector, sizeof vector);
    *reinterpret_cast<decltype(words)*>(out) = words;
  } else {
    WEFT_UNROLL
    for (int j = 0; j < kRun; ++j) {
      if (j < count) out[j] = vector.value[j];
    }
  }
}

/// Whether runs of `run` from multiples of it on lie at multiples of their size in every line of `count` elements.
template <class T>
WEFT_HOST_DEVICE bool is_even(const T* out, std::int64_t count, int run) {
  return count % run == 0 && reinterpret_cast<std::uintptr_t>(out) % (sizeof(T) * static_cast<std::size_t>(run)) == 0;
}

/// Whether `count` neighbours of each line can be read 16 bytes at a time from every address.
template <class T, class... Data>
bool is_wide(std::int64_t count, Data... data) {
  return count % (16 / static_cast<std::int64_t>(sizeof(T))) == 0 &&
         (reinterpret_cast<std::uintptr_t>(data) | ...) % 16 == 0;
}

}  // namespace weft::cuda::implicit
