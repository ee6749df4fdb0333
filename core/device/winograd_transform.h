#pragma once

// Winograd convolution F(m x m, 3x3), m = 2 or 4, of Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural
// Networks", section 4: Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A with the matrices B, G and A printed there. Each matrix is a map
// of a vector, applied to both sides of a square. P is one number or a vector of them, T its element.

#include "core/device/unroll.h"

#if defined(__CUDACC__)
#define WEFT_TRANSFORM __device__ __forceinline__
#else
#define WEFT_TRANSFORM [[gnu::always_inline]] inline  // cpu/runtime/simd.h: its copies must not be merged
#endif

namespace weft::winograd {

/// Numbers along one side: of an output tile, of the input tile that it reads.
template <int m>
inline constexpr int kSide = m + 2;

template <int m, class T>
struct Input;  // Bᵀ
template <int m, class T>
struct Weight;  // G
template <int m, class T>
struct Output;  // Aᵀ
template <int m, class T>
struct OutputGrad;  // A
template <int m, class T>
struct WeightGrad;  // Gᵀ

template <class T>
struct Input<2, T> {
  static constexpr int kIn = 4, kOut = 4;
  template <class P>
  WEFT_TRANSFORM static void apply(const P* d, P* v) {
    v[0] = d[0] - d[2];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[1] - d[3];
  }
};

template <class T>
struct Weight<2, T> {
  static constexpr int kIn = 3, kOut = 4;
  template <class P>
  WEFT_TRANSFORM static void apply(const P* g, P* u) {
    const P even = (g[0] + g[2]) * T(0.5), odd = g[1] * T(0.5);
    u[0] = g[0];
    u[1] = even + odd;
    u[2] = even - odd;
    u[3] = g[2];
  }
};

template <class T>
struct Output<2, T> {
  static constexpr int kIn = 4, kOut = 2;
  template <class P>
  WEFT_TRANSFORM static void apply(const P* m, P* y) {
    y[0] = m[0] + m[1] + m[2];
    y[1] = m[1] - m[2] - m[3];
  }
};

template <class T>
struct OutputGrad<2, T> {
  static constexpr int kIn = 2, kOut = 4;
  template <class P>
  WEFT_TRANSFORM static void apply(const P* y, P* m) {
    m[0] = y[0];
    m[1] = y[0] + y[1];
    m[2] = y[0] - y[1];
    m[3] = -y[1];
  }
};

template <class T>
struct WeightGrad<2, T> {
  static constexpr int kIn = 4, kOut = 3;
  template <class P>
  WEFT_TRANSFORM static void apply(const P* u, P* g) {
    const P sum = (u[1] + u[2]) * T(0.5);
    g[0] = u[0] + sum;
    g[1] = (u[1] - u[2]) * T(0.5);
    g[2] = sum + u[3];
  }
};

template <class T>
struct Input<4, T> {
  static constexpr int kIn = 6, kOut = 6;
  template <class P>
  WEFT_TRANSFORM static void apply(const P* d, P* v) {
    const P a = d[4] - d[2] * T(4), b = d[3] - d[1] * T(4), c = d[4] - d[2], e = (d[3] - d[1]) * T(2);
    v[0] = d[0] * T(4) - d[2] * T(5) + d[4];
    v[1] = a + b;
    v[2] = a - b;
    v[3] = c + e;
    v[4] = c - e;
    v[5] = d[1] * T(4) - d[3] * T(5) + d[5];
  }
};

template <class T>
struct Weight<4, T> {
  static constexpr int kIn = 3, kOut = 6;
  template <class P>
  WEFT_TRANSFORM static void apply(const P* g, P* u) {
    const P a = (g[0] + g[2]) * T(-1.0 / 6), b = g[1] * T(-1.0 / 6);
    const P c = g[0] * T(1.0 / 24) + g[2] * T(1.0 / 6), e = g[1] * T(1.0 / 12);
    u[0] = g[0] * T(0.25);
    u[1] = a + b;
    u[2] = a - b;
    u[3] = c + e;
    u[4] = c - e;
    u[5] = g[2];
  }
};

template <class T>
struct Output<4, T> {
  static constexpr int kIn = 6, kOut = 4;
  template <class P>
  WEFT_TRANSFORM static void apply(const P* m, P* y) {
    const P a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], e = m[3] - m[4];
    y[0] = m[0] + a + c;
    y[1] = b + e * T(2);
    y[2] = a + c * T(4);
    y[3] = b + e * T(8) + m[5];
  }
};

template <class T>
struct OutputGrad<4, T> {
  static constexpr int kIn = 4, kOut = 6;
  template <class P>
  WEFT_TRANSFORM static void apply(const P* y, P* m) {
    const P a = y[0] + y[2], b = y[1] + y[3], c = y[0] + y[2] * T(4), e = y[1] * T(2) + y[3] * T(8);
    m[0] = y[0];
    m[1] = a + b;
    m[2] = a - b;
    m[3] = c + e;
    m[4] = c - e;
    m[5] = y[3];
  }
};

template <class T>
struct WeightGrad<4, T> {
  static constexpr int kIn = 6, kOut = 3;
  template <class P>
  WEFT_TRANSFORM static void apply(const P* u, P* g) {
    const P a = (u[1] + u[2]) * T(-1.0 / 6), b = (u[1] - u[2]) * T(-1.0 / 6);
    const P c = u[3] + u[4], e = (u[3] - u[4]) * T(1.0 / 12);
    g[0] = u[0] * T(0.25) + a + c * T(1.0 / 24);
    g[1] = b + e;
    g[2] = a + c * T(1.0 / 6) + u[5];
  }
};

/// Map · square · Mapᵀ: takes the square's elements from load(i, j) and hands the result's to store(i, j, value).
template <class Map, class P, class Load, class Store>
WEFT_TRANSFORM void both_sides(const Load& load, const Store& store) {
  P half[Map::kOut][Map::kIn];
  WEFT_UNROLL
  for (int j = 0; j < Map::kIn; ++j) {
    P in[Map::kIn], out[Map::kOut];
    WEFT_UNROLL
    for (int i = 0; i < Map::kIn; ++i) in[i] = load(i, j);
    Map::apply(in, out);
    WEFT_UNROLL
    for (int i = 0; i < Map::kOut; ++i) half[i][j] = out[i];
  }
  WEFT_UNROLL
  for (int i = 0; i < Map::kOut; ++i) {
    P out[Map::kOut];
    Map::apply(half[i], out);
    WEFT_UNROLL
    for (int j = 0; j < Map::kOut; ++j) store(i, j, out[j]);
  }
}

}  // namespace weft::winograd

#undef WEFT_TRANSFORM
