#pragma once

// Loops over columns for kernels whose body is a template on its pack: a whole vector, or one element where a row is
// narrower than a vector. For *_simd.cpp files only, as cpu/vec.h.

#include <cstdint>
#include <cstring>

#include "cpu/vec.h"

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
    return sizeof(T) == sizeof(float) ? static_cast<P>(__builtin_fmaf(a, b, c))
                                      : static_cast<P>(__builtin_fma(a, b, c));
#else
    return a * b + c;
#endif
  }
}

/// `count` packs of type P, as an argument of a generic lambda.
template <class P, int count>
struct Packs {
  using Pack = P;
  static constexpr int kCount = count;
};

/// Covers columns [0, width) with body(Packs<P, count>{}, column), count <= 4. The last vector may overlap the one
/// before it, so the body must only overwrite, by what depends on the column alone.
template <class T, class Body>
inline void for_packs(std::int64_t width, const Body& body) {
  using V = Vec<T>;
  constexpr std::int64_t kWidth = kLanes<T>;
  if (width < kWidth) {
    for (std::int64_t column = 0; column < width; ++column) body(Packs<T, 1>{}, column);
    return;
  }
  std::int64_t column = 0;
  for (; column + 4 * kWidth <= width; column += 4 * kWidth) body(Packs<V, 4>{}, column);
  switch ((width - column) / kWidth) {
    case 3:
      body(Packs<V, 3>{}, column);
      break;
    case 2:
      body(Packs<V, 2>{}, column);
      break;
    case 1:
      body(Packs<V, 1>{}, column);
      break;
    default:
      break;
  }
  if (width % kWidth != 0) body(Packs<V, 1>{}, width - kWidth);
}

}  // namespace weft::cpu::WEFT_ISA
