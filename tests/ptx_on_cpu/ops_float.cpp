#include "ops.h"

// Floating-point arithmetic to nearest. The host rounds as the GPU does: IEEE 754, nothing fused, denormals kept.

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace weft::ptx_on_cpu {

namespace {

template <class T>
using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
template <class T>
constexpr Bits<T> kSign = Bits<T>{1} << (8 * sizeof(T) - 1);

// -0 is below +0, and a number wins against NaN.
template <class T>
T smaller(T a, T b) {
  if (a != a) return canonical(b);
  if (b != b) return a;
  if (a == b)
    return std::bit_cast<T>(static_cast<Bits<T>>(std::bit_cast<Bits<T>>(a) | (std::bit_cast<Bits<T>>(b) & kSign<T>)));
  return a < b ? a : b;
}
template <class T>
T larger(T a, T b) {
  if (a != a) return canonical(b);
  if (b != b) return a;
  if (a == b)
    return std::bit_cast<T>(static_cast<Bits<T>>(std::bit_cast<Bits<T>>(a) & (std::bit_cast<Bits<T>>(b) | ~kSign<T>)));
  return a > b ? a : b;
}

void fma_portable(Frame& frame, const Instruction& in, const Lanes& lanes, float) {
  float* const d = frame.reg<float>(in.registers[0]);
  const float *const a = frame.reg<float>(in.registers[1]), *const b = frame.reg<float>(in.registers[2]);
  const float* const c = frame.reg<float>(in.registers[3]);
  for_each(lanes, [=](int i) { d[i] = canonical(std::fma(a[i], b[i], c[i])); });
}
void fma_portable(Frame& frame, const Instruction& in, const Lanes& lanes, double) {
  double* const d = frame.reg<double>(in.registers[0]);
  const double *const a = frame.reg<double>(in.registers[1]), *const b = frame.reg<double>(in.registers[2]);
  const double* const c = frame.reg<double>(in.registers[3]);
  for_each(lanes, [=](int i) { d[i] = std::fma(a[i], b[i], c[i]); });
}

#if defined(__x86_64__)
const bool has_fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");

// Eight at a time; `count` is a multiple of eight.
[[gnu::target("avx2,fma")]] void fma_wide(float* d, const float* a, const float* b, const float* c, int count) {
  const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF));
  for (int i = 0; i < count; i += 8) {
    const __m256 x = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), _mm256_loadu_ps(c + i));
    _mm256_storeu_ps(d + i, _mm256_blendv_ps(x, nan, _mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
  }
}
[[gnu::target("avx2,fma")]] void fma_wide(double* d, const double* a, const double* b, const double* c, int count) {
  for (int i = 0; i < count; i += 4) {
    _mm256_storeu_pd(d + i, _mm256_fmadd_pd(_mm256_loadu_pd(a + i), _mm256_loadu_pd(b + i), _mm256_loadu_pd(c + i)));
  }
}
#endif

template <class T>
void fused(Frame& frame, const Instruction& in, const Lanes& lanes) {
#if defined(__x86_64__)
  if (has_fma && lanes.dense && lanes.count % 8 == 0) {
    const int first = lanes.first;
    fma_wide(frame.reg<T>(in.registers[0]) + first, frame.reg<T>(in.registers[1]) + first,
             frame.reg<T>(in.registers[2]) + first, frame.reg<T>(in.registers[3]) + first, lanes.count);
    return;
  }
#endif
  fma_portable(frame, in, lanes, T{});
}

template <class T>
void add_arithmetic(Forms& f, const std::string& type) {
  for (const char* rounding : {"", ".rn"}) {
    f.add<T, T, T>("add" + (rounding + type), [](T a, T b) { return canonical(a + b); });
    f.add<T, T, T>("sub" + (rounding + type), [](T a, T b) { return canonical(a - b); });
    f.add<T, T, T>("mul" + (rounding + type), [](T a, T b) { return canonical(a * b); });
  }
  f.add<T, T, T>("div.rn" + type, [](T a, T b) { return canonical(a / b); });
  f.add<T, T>("rcp.rn" + type, [](T a) { return canonical(T(1) / a); });
  f.add<T, T>("sqrt.rn" + type, [](T a) { return canonical(std::sqrt(a)); });
  f.add("fma.rn" + type, {fused<T>, 1, std::vector<int>(4, sizeof(T))});
  f.add<T, T, T>("min" + type, [](T a, T b) { return smaller(a, b); });
  f.add<T, T, T>("max" + type, [](T a, T b) { return larger(a, b); });
  f.add<T, T, T>("min.NaN" + type, [](T a, T b) { return a == a && b == b ? smaller(a, b) : canonical(a + b); });
  f.add<T, T, T>("max.NaN" + type, [](T a, T b) { return a == a && b == b ? larger(a, b) : canonical(a + b); });
  using U = Bits<T>;
  f.add<U, U>("neg" + type, [](U a) { return static_cast<U>(a ^ kSign<T>); });
  f.add<U, U>("abs" + type, [](U a) { return static_cast<U>(a & ~kSign<T>); });
  f.add<U, U, U>("copysign" + type, [](U a, U b) { return static_cast<U>((b & ~kSign<T>) | (a & kSign<T>)); });
}

}  // namespace

void add_float_forms(Forms& f) {
  add_arithmetic<float>(f, ".f32");
  add_arithmetic<double>(f, ".f64");
}

}  // namespace weft::ptx_on_cpu
