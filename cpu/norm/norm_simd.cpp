#include "cpu/norm/norm.h"
#include "cpu/norm/norm_rows.h"

namespace weft::cpu::WEFT_ISA {
namespace {

/// Vectors whose sums and coefficients fit the registers.
constexpr int kMostVectors = kVectorBytes == 64 ? 8 : 4;
/// Additions of T in a chain, at most.
constexpr std::int64_t kChain = 16;

/// Narrow rows are taken together, tile by tile: a tile's sums and coefficients stay in registers. Wide rows are taken
/// in pairs, or one by one from a page on, because hopping from page to page halves the memory's speed.
template <class T>
bool is_narrow(std::int64_t width) {
  return width <= kMostVectors * kLanes<T>;
}

/// Covers (rows, width) with body(vectors, column, first row, rows).
template <class T, class Body>
void for_tiles(std::int64_t rows, std::int64_t width, const Body& body) {
  constexpr std::int64_t kPage = 4096 / sizeof(T);  // elements of a page of memory
  const std::int64_t at_once = is_narrow<T>(width) ? rows : width < kPage ? 2 : 1;
  for (std::int64_t row = 0; row < rows; row += at_once) {
    const std::int64_t count = rows - row < at_once ? rows - row : at_once;
    for_vectors<Tail::single, T, kMostVectors>(
        width, [&](auto vectors, std::int64_t column) { body(vectors, column, row, count); });
  }
}

/// The values of a row of coefficients that belong to a tile.
template <class VectorsType, class T>
struct TileVectors {
  using P = typename VectorsType::Vector;
  TileVectors(const T* row, std::int64_t column) {
    for (int i = 0; i < VectorsType::kCount; ++i) vector[i] = get<P>(row + column + i * VectorsType::kWidth);
  }
  P operator[](int i) const { return vector[i]; }
  P vector[VectorsType::kCount];
};

/// sums += vector, in double.
template <class T, class P>
void add_vector(double* sums, P vector) {
  if constexpr (sizeof(P) == sizeof(T)) {
    *sums += static_cast<double>(vector);
  } else if constexpr (sizeof(T) == sizeof(double)) {
    put(sums, get<P>(sums) + vector);
  } else {
    Vec<double> wide[2];
    widen(vector, wide);
    for (int h = 0; h < 2; ++h) put(sums + h * kLanes<double>, get<Vec<double>>(sums + h * kLanes<double>) + wide[h]);
  }
}

/// Adds to `first` and `second` the sums over the rows of a tile of what term(i, at, a, b) adds to the sums a and b of
/// vector i of the tile for element `at`. Where vectors are few, sums of several rows are kept apart: additions wait
/// for each other.
template <class VectorsType, class T, class Term>
void add_tile(VectorsType vectors, std::int64_t column, std::int64_t rows, std::int64_t width, double* first,
              double* second, const Term& term) {
  using P = typename VectorsType::Vector;
  constexpr int kVectors = vectors.kCount, kRows = kVectors == 1 ? 4 : kVectors * kVectors <= kMostVectors * 2 ? 2 : 1;
  std::int64_t at = column;
  while (rows > 0) {
    P a[kRows][kVectors] = {}, b[kRows][kVectors] = {};
    std::int64_t left = rows < kRows * kChain ? rows : kRows * kChain;
    rows -= left;
    for (; left >= kRows; left -= kRows, at += kRows * width) {
      for (int j = 0; j < kRows; ++j) {
        for (int i = 0; i < kVectors; ++i) term(i, at + j * width + i * vectors.kWidth, a[j][i], b[j][i]);
      }
    }
    for (; left > 0; --left, at += width) {
      for (int i = 0; i < kVectors; ++i) term(i, at + i * vectors.kWidth, a[0][i], b[0][i]);
    }
    for (int i = 0; i < kVectors; ++i) {
      for (int j = 1; j < kRows; ++j) {
        a[0][i] += a[j][i];
        b[0][i] += b[j][i];
      }
      add_vector<T>(first + column + i * vectors.kWidth, a[0][i]);
      add_vector<T>(second + column + i * vectors.kWidth, b[0][i]);
    }
  }
}

/// Adds to `first` and `second` each column's sums of what term adds (see add_tile), which term_of(vectors, column)
/// gives for a tile. partial: (2, width).
template <class T, class TermOf>
void add_columns(std::int64_t rows, std::int64_t width, T* partial, double* first, double* second,
                 const TermOf& term_of) {
  if (is_narrow<T>(width)) {
    return for_vectors<Tail::single, T, kMostVectors>(width, [&](auto vectors, std::int64_t column) {
      add_tile<decltype(vectors), T>(vectors, column, rows, width, first, second, term_of(vectors, column));
    });
  }
  for (std::int64_t begin = 0; begin < rows; begin += kChain) {
    const std::int64_t end = begin + kChain < rows ? begin + kChain : rows;
    for (std::int64_t row = begin; row < end; ++row) {
      for_vectors<Tail::single, T, kMostVectors>(width, [&](auto vectors, std::int64_t column) {
        using P = typename decltype(vectors)::Vector;
        const auto term = term_of(vectors, column);
        for (int i = 0; i < vectors.kCount; ++i) {
          T *const a = partial + column + i * vectors.kWidth, *const b = a + width;
          P sum_a = row == begin ? P{} : get<P>(a), sum_b = row == begin ? P{} : get<P>(b);
          term(i, row * width + column + i * vectors.kWidth, sum_a, sum_b);
          put(a, sum_a);
          put(b, sum_b);
        }
      });
    }
    for_vectors<Tail::single, T>(width, [&](auto vectors, std::int64_t column) {
      using P = typename decltype(vectors)::Vector;
      for (std::int64_t at = column; at < column + vectors.kCount * vectors.kWidth; at += vectors.kWidth) {
        add_vector<T>(first + at, get<P>(partial + at));
        add_vector<T>(second + at, get<P>(partial + width + at));
      }
    });
  }
}

/// element(i, at) for vector i of a tile and element `at`, row by row.
template <class VectorsType, class Element>
void for_elements(VectorsType vectors, std::int64_t column, std::int64_t row, std::int64_t rows, std::int64_t width,
                  const Element& element) {
  for (std::int64_t r = row; r < row + rows; ++r) {
    for (int i = 0; i < vectors.kCount; ++i) element(i, r * width + column + i * vectors.kWidth);
  }
}

template <class P>
P median(P a, P b, P c) {
  const P low = a < b ? a : b, high = a < b ? b : a, rest = c < high ? c : high;
  return rest < low ? low : rest;
}

template <class T>
void moments(std::int64_t rows, std::int64_t width, const T* x, T* origin, T* partial, double* sum, double* squares) {
  const T *const middle = x + rows / 2 * width, *const last = x + (rows - 1) * width;
  for_vectors<Tail::single, T>(width, [&](auto vectors, std::int64_t column) {
    using P = typename decltype(vectors)::Vector;
    for (std::int64_t at = column; at < column + vectors.kCount * vectors.kWidth; at += vectors.kWidth)
      put(origin + at, median(get<P>(x + at), get<P>(middle + at), get<P>(last + at)));
  });
  add_columns(rows, width, partial, sum, squares, [&](auto vectors, std::int64_t column) {
    using P = typename decltype(vectors)::Vector;
    return [x, o = TileVectors<decltype(vectors), T>(origin, column)](int i, std::int64_t at, P& s, P& q) {
      const P difference = get<P>(x + at) - o[i];
      s += difference;
      q = mul_add<T>(difference, difference, q);
    };
  });
}

/// What comes before the ReLU, of x - mean: the same bits wherever it is computed.
template <class T, class P>
P normalised(P centred, P scale, P shift) {
  return mul_add<T>(centred, scale, shift);
}

template <class T, bool kRelu, bool kResidual>
void apply_rows(std::int64_t rows, std::int64_t width, const T* x, const T* mean, const T* scale, const T* shift,
                const T* residual, T* y) {
  for_tiles<T>(rows, width, [&](auto vectors, std::int64_t column, std::int64_t row, std::int64_t n) {
    using P = typename decltype(vectors)::Vector;
    const TileVectors<decltype(vectors), T> m(mean, column), a(scale, column), b(shift, column);
    for_elements(vectors, column, row, n, width, [&](int i, std::int64_t at) {
      P value = normalised<T>(get<P>(x + at) - m[i], a[i], b[i]);
      if constexpr (kRelu) value = value <= P{} ? P{} : value;
      if constexpr (kResidual) value += get<P>(residual + at);
      put(y + at, value);
    });
  });
}

template <class T>
void apply(std::int64_t rows, std::int64_t width, const T* x, const T* mean, const T* scale, const T* shift,
           const T* residual, bool relu, T* y) {
  if (residual != nullptr) {
    (relu ? apply_rows<T, true, true> : apply_rows<T, false, true>)(rows, width, x, mean, scale, shift, residual, y);
  } else {
    (relu ? apply_rows<T, true, false> : apply_rows<T, false, false>)(rows, width, x, mean, scale, shift, residual, y);
  }
}

template <bool kMasked, class T, class P>
P masked(P gradient, P centred, P scale, P shift) {
  if constexpr (kMasked) return normalised<T>(centred, scale, shift) > P{} ? gradient : P{};
  return gradient;
}

template <class T, bool kMasked>
void grad_sums_of(std::int64_t rows, std::int64_t width, const T* y_grad, const T* x, const T* mean, const T* scale,
                  const T* shift, T* partial, double* sum, double* product) {
  add_columns(rows, width, partial, sum, product, [&](auto vectors, std::int64_t column) {
    using P = typename decltype(vectors)::Vector;
    using Columns = TileVectors<decltype(vectors), T>;
    return [y_grad, x, m = Columns(mean, column), a = Columns(scale, column),
            b = Columns(kMasked ? shift : scale, column)](int i, std::int64_t at, P& s, P& p) {
      const P centred = get<P>(x + at) - m[i];
      const P gradient = masked<kMasked, T>(get<P>(y_grad + at), centred, a[i], b[i]);
      s += gradient;
      p = mul_add<T>(gradient, centred, p);
    };
  });
}

template <class T>
void grad_sums(std::int64_t rows, std::int64_t width, const T* y_grad, const T* x, const T* mean, const T* scale,
               const T* shift, T* partial, double* sum, double* product) {
  (shift != nullptr ? grad_sums_of<T, true> : grad_sums_of<T, false>)(rows, width, y_grad, x, mean, scale, shift,
                                                                      partial, sum, product);
}

template <class T, bool kMasked>
void grad_apply_rows(std::int64_t rows, std::int64_t width, const T* y_grad, const T* x, const T* mean, const T* scale,
                     const T* shift, const T* b, const T* c, T* x_grad) {
  for_tiles<T>(rows, width, [&](auto vectors, std::int64_t column, std::int64_t row, std::int64_t n) {
    using P = typename decltype(vectors)::Vector;
    const TileVectors<decltype(vectors), T> m(mean, column), f(scale, column), s(kMasked ? shift : scale, column),
        g(b, column), h(c, column);
    for_elements(vectors, column, row, n, width, [&](int i, std::int64_t at) {
      const P centred = get<P>(x + at) - m[i];
      const P gradient = masked<kMasked, T>(get<P>(y_grad + at), centred, f[i], s[i]);
      put(x_grad + at, f[i] * mul_add<T>(centred, g[i], gradient + h[i]));
    });
  });
}

template <class T>
void grad_apply(std::int64_t rows, std::int64_t width, const T* y_grad, const T* x, const T* mean, const T* scale,
                const T* shift, const T* b, const T* c, T* x_grad) {
  (shift != nullptr ? grad_apply_rows<T, true> : grad_apply_rows<T, false>)(rows, width, y_grad, x, mean, scale, shift,
                                                                            b, c, x_grad);
}

template <class T>
constexpr NormKernelsOf<T> kernels_of() {
  return {moments<T>,     apply<T>,     grad_sums<T>,     grad_apply<T>,
          row_moments<T>, row_apply<T>, row_grad_sums<T>, row_grad_apply<T>};
}

}  // namespace

const NormKernels norm_kernels = {kVectorBytes, kernels_of<float>(), kernels_of<double>()};

}  // namespace weft::cpu::WEFT_ISA
