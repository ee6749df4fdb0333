#pragma once

// Loops over columns for kernels whose body is a template on its pack: a whole vector, or one element where no vector
// fits. For *_simd.cpp files only, as cpu/runtime/vec.h.

#include <cstdint>
#include <cstring>

#include "cpu/runtime/vec.h"

namespace weft::cpu::WEFT_ISA {

template <class P, class T>
inline P get(const T* p) {
  P pack;
  std::memcpy(&pack, p, sizeof pack);
  return pack;
}

template <class P, class T>
inline void put(T* p, P pack) {
  std::memcpy(p, &pack, sizeof pack);
}

template <class P, class T>
inline P all(T x) {
  return x - P{};  // keeps the sign of zero
}

/// a·b + c, for packs of T: one element gets what it would get in a vector.
template <class T, class P>
inline P mul_add(P a, P b, P c) {
  if constexpr (sizeof(P) == kVectorBytes) {
    return fma<T>(a, b, c);
  } else {
#if defined(__FMA__)
    return sizeof(T) == sizeof(float) ? static_cast<P>(__builtin_fmaf(a, b, c)) : __builtin_fma(a, b, c);
#else
    return a * b + c;
#endif
  }
}

/// The argument of a loop's generic body: `count` packs of type P, of kWidth elements each.
template <class T, class P, int count>
struct Packs {
  using Pack = P;
  static constexpr int kCount = count;
  static constexpr int kWidth = static_cast<int>(sizeof(P) / sizeof(T));  // NOLINT(bugprone-sizeof-expression)
};

/// What follows the last whole vector: single elements, or, in a row as wide as a vector at least, one that overlaps
/// the last. Overlapping needs a body that only overwrites, by what depends on the column alone.
enum class Tail { single, overlapping };

/// Covers columns [0, width) with body(Packs<T, P, count>{}, column), count <= most, a multiple of 4.
template <Tail tail, class T, int most = 4, class Body>
inline void for_packs(std::int64_t width, const Body& body) {
  using V = Vec<T>;
  constexpr std::int64_t kWidth = kLanes<T>;
  std::int64_t column = 0;
  for (; column + most * kWidth <= width; column += most * kWidth) body(Packs<T, V, most>{}, column);
  for (; column + 4 * kWidth <= width; column += 4 * kWidth) body(Packs<T, V, 4>{}, column);
  const std::int64_t vectors = (width - column) / kWidth;
  if (vectors == 3) body(Packs<T, V, 3>{}, column);
  if (vectors == 2) body(Packs<T, V, 2>{}, column);
  if (vectors == 1) body(Packs<T, V, 1>{}, column);
  column += vectors * kWidth;
  if (column == width) return;
  if (tail == Tail::overlapping && width >= kWidth) {
    body(Packs<T, V, 1>{}, width - kWidth);
  } else {
    for (; column < width; ++column) body(Packs<T, T, 1>{}, column);
  }
}

}  // namespace weft::cpu::WEFT_ISA
