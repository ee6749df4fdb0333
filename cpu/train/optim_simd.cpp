#include "cpu/runtime/vector_loop.h"
#include "cpu/train/optim_kernels.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace weft::cpu::WEFT_ISA {
namespace {

#if defined(__AVX512F__)  // g++ 12 warns of an uninitialised value in the unmasked form
Vec<float> square_root(Vec<float> v) { return _mm512_maskz_sqrt_ps(0xffff, v); }
Vec<double> square_root(Vec<double> v) { return _mm512_maskz_sqrt_pd(0xff, v); }
#elif defined(__AVX2__)
Vec<float> square_root(Vec<float> v) { return _mm256_sqrt_ps(v); }
Vec<double> square_root(Vec<double> v) { return _mm256_sqrt_pd(v); }
#elif defined(__SSE2__)
Vec<float> square_root(Vec<float> v) { return _mm_sqrt_ps(v); }
Vec<double> square_root(Vec<double> v) { return _mm_sqrt_pd(v); }
#else
template <class V>
V square_root(V v) {
  for (unsigned i = 0; i < sizeof(V) / sizeof(v[0]); ++i) v[i] = __builtin_sqrt(v[i]);
  return v;
}
#endif
float square_root(float x) { return __builtin_sqrtf(x); }
double square_root(double x) { return __builtin_sqrt(x); }

/// body(Vectors<T, P, 1>{}, i) for the vectors of [0, n).
template <class T, class Body>
void for_elements(std::int64_t n, const Body& body) {
  for_vectors<Tail::single, T>(n, [&](auto vectors, std::int64_t first) {
    for (int i = 0; i < vectors.kCount; ++i) {
      body(Vectors<T, typename decltype(vectors)::Vector, 1>{}, first + i * vectors.kWidth);
    }
  });
}

template <class T>
void sgd(std::int64_t n, const SgdStep<T>& step, const T* grad, T* value, T* buffer) {
  const SgdStep<T> s = step;
  const T outer_rate = s.buffer_holds_steps ? T(1) : -s.lr;
  for_elements<T>(n, [&](auto vectors, std::int64_t i) {
    using P = typename decltype(vectors)::Vector;
    const P v = get<P>(value + i);
    P d = get<P>(grad + i);
    if (s.weight_decay != 0) d = mul_add<T>(all<P>(s.weight_decay), v, d);
    if (s.buffer_holds_steps) d = all<P>(-s.lr) * d;
    if (buffer != nullptr) {
      const P momentum = all<P>(s.momentum), b = mul_add<T>(momentum, get<P>(buffer + i), d);
      put(buffer + i, b);
      d = s.nesterov ? mul_add<T>(momentum, b, d) : b;
    }
    put(value + i, mul_add<T>(all<P>(outer_rate), d, v));
  });
}

template <class T>
void adam(std::int64_t n, const AdamStep<T>& step, const T* grad, T* value, T* first, T* second) {
  const AdamStep<T> s = step;
  for_elements<T>(n, [&](auto vectors, std::int64_t i) {
    using P = typename decltype(vectors)::Vector;
    P v = get<P>(value + i), g = get<P>(grad + i);
    if (s.weight_decay != 0) g = mul_add<T>(all<P>(s.weight_decay), v, g);
    v = v * all<P>(s.shrink);
    const P m1 = mul_add<T>(all<P>(s.rest1), g, all<P>(s.beta1) * get<P>(first + i));
    const P m2 = mul_add<T>(all<P>(s.rest2) * g, g, all<P>(s.beta2) * get<P>(second + i));
    put(first + i, m1);
    put(second + i, m2);
    const P denominator = mul_add<T>(square_root(m2), all<P>(s.second_factor), all<P>(s.eps));
    put(value + i, v - all<P>(s.rate) * m1 / denominator);
  });
}

}  // namespace

const OptimKernels optim_kernels = {{sgd<float>, adam<float>}, {sgd<double>, adam<double>}};

}  // namespace weft::cpu::WEFT_ISA
