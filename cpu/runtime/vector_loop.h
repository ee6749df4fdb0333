#pragma once

// Loops over columns for kernels whose body is a template on its vector: a whole vector, or one element where no vector
// fits. For *_simd.cpp files only, as cpu/runtime/vec.h.

#include <cstdint>
#include <cstring>

#include "cpu/runtime/vec.h"

namespace weft::cpu::WEFT_ISA {

template <class P, class T>
inline P get(const T* p) {
  P vector;
  std::memcpy(&vector, p, sizeof vector);
  return vector;
}

template <class P, class T>
inline void put(T* p, P vector) {
  std::memcpy(p, &vector, sizeof vector);
}

template <class P, class T>
inline P all(T x) {
  return x - P{};  // keeps the sign of zero
}

/// a·b + c, for vectors of T: one element gets what it would get in a vector.
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

/// The argument of a loop's generic body: `count` vectors of type P, of kWidth elements each.
template <class T, class P, int count>
struct Vectors {
  using Vector = P;
  static constexpr int kCount = count;
  static constexpr int kWidth = static_cast<int>(sizeof(P) / sizeof(T));  // NOLINT(bugprone-sizeof-expression)
};

/// What follows the last whole vector: single elements, or, in a row as wide as a vector at least, one that overlaps
/// the last. Overlapping needs a body that only overwrites, by what depends on the column alone.
enum class Tail { single, overlapping };

/// Covers columns [0, width) with body(Vectors<T, P, count>{}, column), count <= most, a multiple of 4.
template <Tail tail, class T, int most = 4, class Body>
inline void for_vectors(std::int64_t width, const Body& body) {
  using V = Vec<T>;
  constexpr std::int64_t kWidth = kLanes<T>;
  std::int64_t column = 0;
  for (; column + most * kWidth <= width; column += most * kWidth) body(Vectors<T, V, most>{}, column);
  for (; column + 4 * kWidth <= width; column += 4 * kWidth) body(Vectors<T, V, 4>{}, column);
  const std::int64_t vectors = (width - column) / kWidth;
  if (vectors == 3) body(Vectors<T, V, 3>{}, column);
  if (vectors == 2) body(Vectors<T, V, 2>{}, column);
  if (vectors == 1) body(Vectors<T, V, 1>{}, column);
  column += vectors * kWidth;
  if (column == width) return;
  if (tail == Tail::overlapping && width >= kWidth) {
    body(Vectors<T, V, 1>{}, width - kWidth);
  } else {
    for (; column < width; ++column) body(Vectors<T, T, 1>{}, column);
  }
}

}  // namespace weft::cpu::WEFT_ISA
