#include "cpu/norm.h"
#include "cpu/pack.h"

namespace weft::cpu::WEFT_ISA {
namespace {

/// Packs whose sums and coefficients fit the registers.
constexpr int kMostPacks = kVectorBytes == 64 ? 8 : 4;

/// Covers (rows, width) with body(packs, column, first row, rows). Narrow rows are one strip, whose sums and
/// coefficients stay in registers; wide ones one by one: hopping from row to row halves the memory's speed.
template <class T, class Body>
void for_strips(std::int64_t rows, std::int64_t width, const Body& body) {
  const std::int64_t at_once = width <= kMostPacks * kLanes<T> ? rows : 1;
  for (std::int64_t row = 0; row < rows; row += at_once) {
    for_packs<Tail::single, T, kMostPacks>(width,
                                           [&](auto packs, std::int64_t column) { body(packs, column, row, at_once); });
  }
}

/// Adds to vectors `first` and `second` the sums over a strip of what term(i, at, first, second) adds for pack i of the
/// strip and element `at`. Where packs are few, sums of several rows are kept apart: additions wait for each other.
template <class PacksType, class T, class Term>
void add_strip(PacksType packs, std::int64_t column, std::int64_t row, std::int64_t rows, std::int64_t width, T* first,
               T* second, const Term& term) {
  using P = typename PacksType::Pack;
  constexpr int kPacks = packs.kCount, kRows = kPacks == 1 ? 4 : kPacks == 2 ? 2 : 1;
  P a[kRows][kPacks] = {}, b[kRows][kPacks] = {};
  for (int i = 0; i < kPacks; ++i) {
    a[0][i] = get<P>(first + column + i * packs.kWidth);
    b[0][i] = get<P>(second + column + i * packs.kWidth);
  }
  std::int64_t at = row * width + column;
  for (; rows >= kRows; rows -= kRows, at += kRows * width) {
    for (int j = 0; j < kRows; ++j) {
      for (int i = 0; i < kPacks; ++i) term(i, at + j * width + i * packs.kWidth, a[j][i], b[j][i]);
    }
  }
  for (; rows > 0; --rows, at += width) {
    for (int i = 0; i < kPacks; ++i) term(i, at + i * packs.kWidth, a[0][i], b[0][i]);
  }
  for (int i = 0; i < kPacks; ++i) {
    for (int j = 1; j < kRows; ++j) {
      a[0][i] += a[j][i];
      b[0][i] += b[j][i];
    }
    put(first + column + i * packs.kWidth, a[0][i]);
    put(second + column + i * packs.kWidth, b[0][i]);
  }
}

/// The packs of a vector that belong to a strip.
template <class PacksType, class T>
struct Strip {
  using P = typename PacksType::Pack;
  Strip(const T* vector, std::int64_t column) {
    for (int i = 0; i < PacksType::kCount; ++i) pack[i] = get<P>(vector + column + i * PacksType::kWidth);
  }
  P operator[](int i) const { return pack[i]; }
  P pack[PacksType::kCount];
};

/// element(i, at) for pack i of a strip and element `at`, row by row.
template <class PacksType, class Element>
void for_elements(PacksType packs, std::int64_t column, std::int64_t row, std::int64_t rows, std::int64_t width,
                  const Element& element) {
  for (std::int64_t r = row; r < row + rows; ++r) {
    for (int i = 0; i < packs.kCount; ++i) element(i, r * width + column + i * packs.kWidth);
  }
}

template <class T>
void moments(std::int64_t rows, std::int64_t width, const T* x, T* sum, T* squares) {
  for_strips<T>(rows, width, [&](auto packs, std::int64_t column, std::int64_t row, std::int64_t n) {
    using P = typename decltype(packs)::Pack;
    const Strip<decltype(packs), T> origin(x, column);
    add_strip(packs, column, row, n, width, sum, squares, [&](int i, std::int64_t at, P& s, P& q) {
      const P difference = get<P>(x + at) - origin[i];
      s += difference;
      q = mul_add<T>(difference, difference, q);
    });
  });
}

/// What comes before the ReLU, the same bits wherever it is computed.
template <class T, class P>
P normalised(P x, P scale, P shift) {
  return mul_add<T>(x, scale, shift);
}

template <class T, bool kRelu, bool kResidual>
void apply_rows(std::int64_t rows, std::int64_t width, const T* x, const T* scale, const T* shift, const T* residual,
                T* y) {
  for_strips<T>(rows, width, [&](auto packs, std::int64_t column, std::int64_t row, std::int64_t n) {
    using P = typename decltype(packs)::Pack;
    const Strip<decltype(packs), T> a(scale, column), b(shift, column);
    for_elements(packs, column, row, n, width, [&](int i, std::int64_t at) {
      P value = normalised<T>(get<P>(x + at), a[i], b[i]);
      if constexpr (kRelu) value = value <= P{} ? P{} : value;
      if constexpr (kResidual) value += get<P>(residual + at);
      put(y + at, value);
    });
  });
}

template <class T>
void apply(std::int64_t rows, std::int64_t width, const T* x, const T* scale, const T* shift, const T* residual,
           bool relu, T* y) {
  if (residual != nullptr) {
    (relu ? apply_rows<T, true, true> : apply_rows<T, false, true>)(rows, width, x, scale, shift, residual, y);
  } else {
    (relu ? apply_rows<T, true, false> : apply_rows<T, false, false>)(rows, width, x, scale, shift, residual, y);
  }
}

template <bool kMasked, class T, class P>
P masked(P gradient, P x, P scale, P shift) {
  if constexpr (kMasked) return normalised<T>(x, scale, shift) > P{} ? gradient : P{};
  return gradient;
}

template <class T, bool kMasked>
void grad_sums_of(std::int64_t rows, std::int64_t width, const T* y_grad, const T* x, const T* scale, const T* shift,
                  const T* mean, T* sum, T* product) {
  for_strips<T>(rows, width, [&](auto packs, std::int64_t column, std::int64_t row, std::int64_t n) {
    using P = typename decltype(packs)::Pack;
    const Strip<decltype(packs), T> m(mean, column), a(scale, column), b(kMasked ? shift : scale, column);
    add_strip(packs, column, row, n, width, sum, product, [&](int i, std::int64_t at, P& s, P& p) {
      const P value = get<P>(x + at), gradient = masked<kMasked, T>(get<P>(y_grad + at), value, a[i], b[i]);
      s += gradient;
      p = mul_add<T>(gradient, value - m[i], p);
    });
  });
}

template <class T>
void grad_sums(std::int64_t rows, std::int64_t width, const T* y_grad, const T* x, const T* scale, const T* shift,
               const T* mean, T* sum, T* product) {
  (shift != nullptr ? grad_sums_of<T, true> : grad_sums_of<T, false>)(rows, width, y_grad, x, scale, shift, mean, sum,
                                                                      product);
}

template <class T, bool kMasked>
void grad_apply_rows(std::int64_t rows, std::int64_t width, const T* y_grad, const T* x, const T* scale, const T* shift,
                     const T* mean, const T* b, const T* c, T* x_grad) {
  for_strips<T>(rows, width, [&](auto packs, std::int64_t column, std::int64_t row, std::int64_t n) {
    using P = typename decltype(packs)::Pack;
    const Strip<decltype(packs), T> m(mean, column), f(scale, column), s(kMasked ? shift : scale, column), g(b, column),
        h(c, column);
    for_elements(packs, column, row, n, width, [&](int i, std::int64_t at) {
      const P value = get<P>(x + at), gradient = masked<kMasked, T>(get<P>(y_grad + at), value, f[i], s[i]);
      put(x_grad + at, mul_add<T>(gradient, f[i], mul_add<T>(value - m[i], g[i], h[i])));
    });
  });
}

template <class T>
void grad_apply(std::int64_t rows, std::int64_t width, const T* y_grad, const T* x, const T* scale, const T* shift,
                const T* mean, const T* b, const T* c, T* x_grad) {
  (shift != nullptr ? grad_apply_rows<T, true> : grad_apply_rows<T, false>)(rows, width, y_grad, x, scale, shift, mean,
                                                                            b, c, x_grad);
}

}  // namespace

const NormKernels norm_kernels = {kVectorBytes,
                                  {moments<float>, apply<float>, grad_sums<float>, grad_apply<float>},
                                  {moments<double>, apply<double>, grad_sums<double>, grad_apply<double>}};

}  // namespace weft::cpu::WEFT_ISA
