#include "cpu/norm.h"
#include "cpu/pack.h"

namespace weft::cpu::WEFT_ISA {
namespace {

/// Rows whose sums are kept apart, so that few columns still give enough independent additions.
constexpr int rows_at_once(int packs) { return packs == 1 ? 4 : packs == 2 ? 2 : 1; }

template <class P, class T>
void put_as_double(double* out, P pack) {
  constexpr int kWidth = sizeof(P) / sizeof(T);
  T values[kWidth];
  std::memcpy(values, &pack, sizeof pack);
  for (int i = 0; i < kWidth; ++i) out[i] = static_cast<double>(values[i]);
}

/// Sums differences from the first row: as that row is in the sample, the squares exceed what they are centred to by
/// a factor of at most rows + 1, whatever the mean.
template <class T>
void moments(std::int64_t rows, std::int64_t width, const T* x, double* mean, double* squares) {
  for_packs<T>(width, [&](auto packs, std::int64_t column) {
    using P = typename decltype(packs)::Pack;
    constexpr int kPacks = packs.kCount, kRows = rows_at_once(kPacks), kWidth = sizeof(P) / sizeof(T);
    P shift[kPacks], sum[kRows][kPacks] = {}, square[kRows][kPacks] = {};
    const T* p = x + column;
    for (int i = 0; i < kPacks; ++i) shift[i] = get<P>(p + i * kWidth);
    const auto add = [&](const T* row, int j) {
      for (int i = 0; i < kPacks; ++i) {
        const P difference = get<P>(row + i * kWidth) - shift[i];
        sum[j][i] += difference;
        square[j][i] = mul_add<T>(difference, difference, square[j][i]);
      }
    };
    std::int64_t r = 0;
    for (; r + kRows <= rows; r += kRows, p += kRows * width) {
      for (int j = 0; j < kRows; ++j) add(p + j * width, j);
    }
    for (; r < rows; ++r, p += width) add(p, 0);
    for (int i = 0; i < kPacks; ++i) {
      for (int j = 1; j < kRows; ++j) {
        sum[0][i] += sum[j][i];
        square[0][i] += square[j][i];
      }
      double shifts[kWidth], sums[kWidth];
      put_as_double<P, T>(shifts, shift[i]);
      put_as_double<P, T>(sums, sum[0][i]);
      double* m = mean + column + i * kWidth;
      double* s = squares + column + i * kWidth;
      put_as_double<P, T>(s, square[0][i]);
      for (int j = 0; j < kWidth; ++j) {
        const double offset = sums[j] / static_cast<double>(rows), centred = s[j] - sums[j] * offset;
        m[j] = shifts[j] + offset;
        s[j] = centred < 0 ? 0 : centred;
      }
    }
  });
}

template <class T, bool kRelu>
void apply_rows(std::int64_t rows, std::int64_t width, const T* x, const T* scale, const T* shift, T* y) {
  for_packs<T>(width, [&](auto packs, std::int64_t column) {
    using P = typename decltype(packs)::Pack;
    constexpr int kPacks = packs.kCount, kWidth = sizeof(P) / sizeof(T);
    P a[kPacks], b[kPacks];
    for (int i = 0; i < kPacks; ++i) {
      a[i] = get<P>(scale + column + i * kWidth);
      b[i] = get<P>(shift + column + i * kWidth);
    }
    const T* p = x + column;
    T* out = y + column;
    for (std::int64_t r = 0; r < rows; ++r, p += width, out += width) {
      for (int i = 0; i < kPacks; ++i) {
        P value = mul_add<T>(get<P>(p + i * kWidth), a[i], b[i]);
        if constexpr (kRelu) value = value <= P{} ? P{} : value;
        put(out + i * kWidth, value);
      }
    }
  });
}

template <class T>
void apply(std::int64_t rows, std::int64_t width, const T* x, const T* scale, const T* shift, bool relu, T* y) {
  relu ? apply_rows<T, true>(rows, width, x, scale, shift, y) : apply_rows<T, false>(rows, width, x, scale, shift, y);
}

template <class P, bool kMasked, class T>
P masked_gradient(const T* y_grad, const T* y, std::int64_t at) {
  const P gradient = get<P>(y_grad + at);
  if constexpr (kMasked) return get<P>(y + at) > P{} ? gradient : P{};
  return gradient;
}

template <class T, bool kMasked>
void grad_sums_of(std::int64_t rows, std::int64_t width, const T* y_grad, const T* x, const T* y, const T* mean,
                  double* sum, double* product) {
  for_packs<T>(width, [&](auto packs, std::int64_t column) {
    using P = typename decltype(packs)::Pack;
    constexpr int kPacks = packs.kCount, kRows = rows_at_once(kPacks), kWidth = sizeof(P) / sizeof(T);
    P m[kPacks], s[kRows][kPacks] = {}, q[kRows][kPacks] = {};
    for (int i = 0; i < kPacks; ++i) m[i] = get<P>(mean + column + i * kWidth);
    const auto add = [&](std::int64_t at, int j) {
      for (int i = 0; i < kPacks; ++i, at += kWidth) {
        const P gradient = masked_gradient<P, kMasked>(y_grad, y, at);
        s[j][i] += gradient;
        q[j][i] = mul_add<T>(gradient, get<P>(x + at) - m[i], q[j][i]);
      }
    };
    std::int64_t r = 0, at = column;
    for (; r + kRows <= rows; r += kRows, at += kRows * width) {
      for (int j = 0; j < kRows; ++j) add(at + j * width, j);
    }
    for (; r < rows; ++r, at += width) add(at, 0);
    for (int i = 0; i < kPacks; ++i) {
      for (int j = 1; j < kRows; ++j) {
        s[0][i] += s[j][i];
        q[0][i] += q[j][i];
      }
      put_as_double<P, T>(sum + column + i * kWidth, s[0][i]);
      put_as_double<P, T>(product + column + i * kWidth, q[0][i]);
    }
  });
}

template <class T>
void grad_sums(std::int64_t rows, std::int64_t width, const T* y_grad, const T* x, const T* y, const T* mean,
               double* sum, double* product) {
  (y != nullptr ? grad_sums_of<T, true> : grad_sums_of<T, false>)(rows, width, y_grad, x, y, mean, sum, product);
}

template <class T, bool kMasked>
void grad_apply_rows(std::int64_t rows, std::int64_t width, const T* y_grad, const T* x, const T* y, const T* mean,
                     const T* a, const T* b, const T* c, T* x_grad) {
  for_packs<T>(width, [&](auto packs, std::int64_t column) {
    using P = typename decltype(packs)::Pack;
    constexpr int kPacks = packs.kCount, kWidth = sizeof(P) / sizeof(T);
    P m[kPacks], f[kPacks], g[kPacks], h[kPacks];
    for (int i = 0; i < kPacks; ++i) {
      const std::int64_t at = column + i * kWidth;
      m[i] = get<P>(mean + at);
      f[i] = get<P>(a + at);
      g[i] = get<P>(b + at);
      h[i] = get<P>(c + at);
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      for (int i = 0; i < kPacks; ++i) {
        const std::int64_t at = r * width + column + i * kWidth;
        const P centred = mul_add<T>(get<P>(x + at) - m[i], g[i], h[i]);
        put(x_grad + at, mul_add<T>(masked_gradient<P, kMasked>(y_grad, y, at), f[i], centred));
      }
    }
  });
}

template <class T>
void grad_apply(std::int64_t rows, std::int64_t width, const T* y_grad, const T* x, const T* y, const T* mean,
                const T* a, const T* b, const T* c, T* x_grad) {
  (y != nullptr ? grad_apply_rows<T, true> : grad_apply_rows<T, false>)(rows, width, y_grad, x, y, mean, a, b, c,
                                                                        x_grad);
}

}  // namespace

const NormKernels norm_kernels = {kVectorBytes,
                                  {moments<float>, apply<float>, grad_sums<float>, grad_apply<float>},
                                  {moments<double>, apply<double>, grad_sums<double>, grad_apply<double>}};

}  // namespace weft::cpu::WEFT_ISA
