#include "core/device/integer.h"
#include "cpu/array/chains.h"
#include "cpu/matmul/gemm.h"
#include "cpu/runtime/vec.h"

// A blocked product. B is packed in blocks of kInner x kWidth that stay in the second-level cache, as panels one
// register tile wide; then each panel of kRows rows of A is packed into the first-level cache and meets every panel of
// the block. An element of C is summed in order of k within a block of the inner size, whatever the tile it lies in.
// Floats are summed in chains (cpu/array/chains.h): such a block is one.

namespace weft::cpu::WEFT_ISA {
namespace {

using std::int64_t;

template <class T>
inline constexpr bool kIsReal = static_cast<T>(0.5) != T{0};

// Register tile: kRows x 2 vectors of accumulators, 2 of B and a broadcast element of A fill 16 or 32 registers.
template <class T>
inline constexpr int kRows = !kIsReal<T>          ? 4
                             : kVectorBytes == 64 ? 14
                                                  : 6;

constexpr int kInnerBytes = 1536;  // at most
constexpr int kWidth = 384;        // columns of a block of B: 576 KB with kInnerBytes, for a second-level cache

template <class T>
inline constexpr bool kIsFloat = kIsReal<T> && sizeof(T) == sizeof(float);

template <class T>
inline constexpr int kInner = kIsFloat<T> ? kChain : kInnerBytes / static_cast<int>(sizeof(T));

// Rows of a packed panel of A that is not transposed; one cache line more than kInner, so that rows do not all share
// cache sets.
template <class T>
inline constexpr int kRowStride = kInner<T> + 64 / static_cast<int>(sizeof(T));

constexpr std::size_t kPanelBytes = static_cast<std::size_t>(14) * (kInnerBytes + 64);
constexpr std::size_t kBlockBytes = static_cast<std::size_t>(kInnerBytes) * kWidth;

constexpr int kDeepRows = 512;  // whose doubles the workspace holds
constexpr std::size_t kDeepBytes = static_cast<std::size_t>(kDeepRows) * kWidth * sizeof(double);

/// What sums of sums are kept in.
template <class T>
struct WideOf {
  using type = T;
};
template <>
struct WideOf<float> {
  using type = double;
};
template <class T>
using Wide = typename WideOf<T>::type;

inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }

/// C[rows][cols] (+)= sums, for tiles narrower than their vectors.
template <class T>
__attribute__((noinline)) void put(const T* sums, int64_t width, int64_t rows, int64_t cols, bool add, T* c,
                                   int64_t ldc) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < cols; ++j) {
      const T sum = sums[r * width + j];
      c[r * ldc + j] = add ? static_cast<T>(c[r * ldc + j] + sum) : sum;
    }
  }
}

/// C[R][cols] (+)= A panel · B panel. A's element (r, p) is at a[r·kRowStride + p], or, from a transposed A, at
/// a[p·kRows + r]; B's row p is at b + p·step, whole vectors of it readable.
template <class T, int R, int V, bool kTransA>
void micro(int64_t k, const T* a, const T* b, int64_t step, bool add, T* c, int64_t ldc, int64_t cols) {
  constexpr int kR = kTransA ? 1 : kRowStride<T>;
  constexpr int kP = kTransA ? kRows<T> : 1;
  Vec<T> acc[R][V] = {};
  for (int64_t p = 0; p < k; ++p) {
    Vec<T> row[V];
    WEFT_UNROLL for (int v = 0; v < V; ++v) row[v] = load(b + v * kLanes<T>);
    WEFT_UNROLL for (int r = 0; r < R; ++r) {
      const Vec<T> x = splat(a[r * kR]);
      WEFT_UNROLL for (int v = 0; v < V; ++v) acc[r][v] = fma<T>(x, row[v], acc[r][v]);
    }
    a += kP;
    b += step;
  }
  if (cols < V * kLanes<T>) {
    T sums[R * V * kLanes<T>];
    WEFT_UNROLL for (int r = 0; r < R; ++r) {
      WEFT_UNROLL for (int v = 0; v < V; ++v) store(sums + (r * V + v) * kLanes<T>, acc[r][v]);
    }
    return put(sums, V * kLanes<T>, R, cols, add, c, ldc);
  }
  if (add) {
    WEFT_UNROLL for (int r = 0; r < R; ++r) {
      WEFT_UNROLL for (int v = 0; v < V; ++v) acc[r][v] = load(c + r * ldc + v * kLanes<T>) + acc[r][v];
    }
  }
  WEFT_UNROLL for (int r = 0; r < R; ++r) {
    WEFT_UNROLL for (int v = 0; v < V; ++v) store(c + r * ldc + v * kLanes<T>, acc[r][v]);
  }
}

/// micro on any number of rows in [1, kRows]: whole panels at once, others in powers of two.
template <class T, int V, bool kTransA, int R = kRows<T>>
inline void micro_rows(int64_t rows, int64_t k, const T* a, const T* b, int64_t step, bool add, T* c, int64_t ldc,
                       int64_t cols) {
  if (rows >= R) {
    micro<T, R, V, kTransA>(k, a, b, step, add, c, ldc, cols);
    rows -= R;
    a += kTransA ? R : R * kRowStride<T>;
    c += R * ldc;
  }
  if constexpr (R > 1) {
    constexpr int kFewer = R > 8 ? 8 : R > 4 ? 4 : R / 2;
    if (rows > 0) micro_rows<T, V, kTransA, kFewer>(rows, k, a, b, step, add, c, ldc, cols);
  }
}

/// Columns in the panel of B that begins with `cols` columns left.
template <class T>
inline int64_t panel_width(int64_t cols) {
  return cols > kLanes<T> ? 2 * kLanes<T> : kLanes<T>;
}

/// Columns in panels whose vectors are full; a narrower one may follow.
template <class T>
inline int64_t whole_panels(int64_t cols) {
  const int64_t rest = cols % (2 * kLanes<T>);
  return rest == kLanes<T> ? cols : cols - rest;
}

template <class T>
void pack_a(const T* a, int64_t lda, bool trans, int64_t rows, int64_t k, T* out) {
  if (!trans) {
    for (int64_t r = 0; r < rows; ++r) {
      std::memcpy(out + r * kRowStride<T>, a + r * lda, static_cast<std::size_t>(k) * sizeof(T));
    }
  } else if (rows == kRows<T>) {
    for (int64_t p = 0; p < k; ++p) std::memcpy(out + p * kRows<T>, a + p * lda, kRows<T> * sizeof(T));
  } else {
    for (int64_t p = 0; p < k; ++p) {
      for (int64_t r = 0; r < rows; ++r) out[p * kRows<T> + r] = a[p * lda + r];
    }
  }
}

template <class T>
void pack_b(const T* b, int64_t ldb, bool trans, int64_t k, int64_t cols, T* out) {
  for (int64_t j = 0; j < cols;) {
    const int64_t width = panel_width<T>(cols - j);
    const int64_t real = min(width, cols - j);
    if (!trans) {
      for (int64_t p = 0; p < k; ++p) {
        const T* row = b + p * ldb + j;
        T* to = out + p * width;
        if (real == width) {
          for (int64_t x = 0; x < width; x += kLanes<T>) store(to + x, load(row + x));
        } else {
          for (int64_t x = 0; x < width; ++x) to[x] = x < real ? row[x] : T{0};
        }
      }
    } else {
      constexpr int64_t kLine = 64 / sizeof(T);  // a cache line of each column at a time
      for (int64_t begin = 0; begin < k; begin += kLine) {
        const int64_t end = min(begin + kLine, k);
        for (int64_t x = 0; x < width; ++x) {
          const T* column = b + (j + x) * ldb;
          for (int64_t p = begin; p < end; ++p) out[p * width + x] = x < real ? column[p] : T{0};
        }
      }
    }
    out += k * width;
    j += width;
  }
}

/// A panel of A times a block of B: packed in `packed`, or, where `direct` is given, as stored with rows ldb apart, all
/// but a last panel of fewer columns than its vectors have, which is in `packed`.
template <class T, bool kTransA>
void multiply_block(const T* panel, int64_t rows, int64_t k, const T* packed, const T* direct, int64_t ldb,
                    int64_t cols, bool add, T* c, int64_t ldc) {
  for (int64_t j = 0; j < cols;) {
    const int64_t width = panel_width<T>(cols - j);
    const int64_t real = min(width, cols - j);
    const bool in_place = direct != nullptr && real == width;
    const T* const b = in_place ? direct + j : packed;
    const int64_t step = in_place ? ldb : width;
    if (width > kLanes<T>) {
      micro_rows<T, 2, kTransA>(rows, k, panel, b, step, add, c + j, ldc, real);
    } else {
      micro_rows<T, 1, kTransA>(rows, k, panel, b, step, add, c + j, ldc, real);
    }
    if (!in_place) packed += k * width;
    j += width;
  }
}

/// The blocks of the inner size in [begin, end), for columns [j, j + cols): C (+)= their sum.
template <class T>
void multiply_columns(const GemmArgs<T>& g, int64_t j, int64_t cols, int64_t begin, int64_t end, int64_t inner,
                      bool add, void* workspace) {
  T* const a_panel = static_cast<T*>(workspace);
  T* const b_block = a_panel + kPanelBytes / sizeof(T);
  const bool direct = !g.trans_b && g.m <= 4 * kRows<T>;  // too few rows to pay for packing B
  const int64_t packed_from = direct ? whole_panels<T>(cols) : 0;
  for (int64_t p = begin; p < end; p += inner, add = true) {
    const int64_t k = min(inner, end - p);
    const T* const b = g.b + (g.trans_b ? j * g.ldb + p : p * g.ldb + j);
    pack_b(b + packed_from, g.ldb, g.trans_b, k, cols - packed_from, b_block);
    for (int64_t i = 0; i < g.m; i += kRows<T>) {
      const int64_t rows = min(kRows<T>, g.m - i);
      const T* const b_direct = direct ? b : nullptr;
      T* const c = g.c + i * g.ldc + j;
      pack_a(g.a + (g.trans_a ? p * g.lda + i : i * g.lda + p), g.lda, g.trans_a, rows, k, a_panel);
      if (g.trans_a) {
        multiply_block<T, true>(a_panel, rows, k, b_block, b_direct, g.ldb, cols, add, c, g.ldc);
      } else {
        multiply_block<T, false>(a_panel, rows, k, b_block, b_direct, g.ldb, cols, add, c, g.ldc);
      }
    }
  }
}

template <class T>
void multiply_matrix(const GemmArgs<T>& g, void* workspace) {
  const int64_t width = round_up(even_part(g.n, kWidth), 2 * kLanes<T>);
  const int64_t inner = even_part(g.k, kInner<T>);
  for (int64_t j = 0; j < g.n; j += width) {
    multiply_columns(g, j, min(width, g.n - j), 0, g.k, inner, g.accumulate, workspace);
  }
}

/// The same for more than kChainSums blocks of the inner size: C holds the sum of kChainSums of them at a time, `sums`
/// all of them.
void multiply_deep(const GemmArgs<float>& g, void* workspace, double* sums) {
  const int64_t width = round_up(even_part(g.n, kWidth), 2 * kLanes<float>), inner = even_part(g.k, kInner<float>);
  for (int64_t j = 0; j < g.n; j += width) {
    const int64_t cols = min(width, g.n - j);
    for (int64_t i = 0; i < g.m; ++i) {
      for (int64_t x = 0; x < cols; ++x) sums[i * cols + x] = g.accumulate ? g.c[i * g.ldc + j + x] : 0;
    }
    for (int64_t p = 0; p < g.k; p += kChainSums * inner) {
      multiply_columns(g, j, cols, p, min(p + kChainSums * inner, g.k), inner, false, workspace);
      for (int64_t i = 0; i < g.m; ++i) {
        for (int64_t x = 0; x < cols; ++x) sums[i * cols + x] += g.c[i * g.ldc + j + x];
      }
    }
    for (int64_t i = 0; i < g.m; ++i) {
      for (int64_t x = 0; x < cols; ++x) g.c[i * g.ldc + j + x] = static_cast<float>(sums[i * cols + x]);
    }
  }
}

/// Takes rows by the number that double sums have room for. Those sums come after what multiply_columns uses of the
/// workspace.
void multiply_deep(GemmArgs<float> g, void* workspace) {
  auto* const sums = reinterpret_cast<double*>(static_cast<char*>(workspace) + kPanelBytes + kBlockBytes);
  const int64_t m = g.m;
  for (int64_t i = 0; i < m; i += kDeepRows) {
    g.m = min(kDeepRows, m - i);
    multiply_deep(g, workspace, sums);
    g.a += kDeepRows * (g.trans_a ? 1 : g.lda);
    g.c += kDeepRows * g.ldc;
  }
}

/// A stored matrix times a vector, the elements of x and y incx and incy apart.
template <class T>
struct VectorArgs {
  int64_t n, k;  // elements of y, of x
  const T* matrix;
  int64_t ld;
  const T* x;
  int64_t incx;
  T* y;
  int64_t incy;
  bool accumulate;
};

template <class T>
T dot(int64_t k, const T* a, const T* b) {
  Vec<T> acc[4] = {};
  int64_t p = 0;
  for (; p + 4 * kLanes<T> <= k; p += 4 * kLanes<T>) {
    WEFT_UNROLL for (int v = 0; v < 4; ++v) {
      acc[v] = fma<T>(load(a + p + v * kLanes<T>), load(b + p + v * kLanes<T>), acc[v]);
    }
  }
  const Vec<T> total = (acc[0] + acc[1]) + (acc[2] + acc[3]);
  T sum = 0, rest = 0;
  for (int lane = 0; lane < kLanes<T>; ++lane) sum = static_cast<T>(sum + total[lane]);
  for (; p < k; ++p) rest = static_cast<T>(rest + a[p] * b[p]);
  return static_cast<T>(sum + rest);
}

/// y = M·x, M stored (n, k), in parts of k for which x fits the workspace: half a chain for each lane of dot.
template <class T>
void multiply_by_dots(const VectorArgs<T>& g, T* workspace) {
  constexpr int64_t kPart = kChain / 2 * 4 * kLanes<T>, kSums = 1024;
  auto* const sums = reinterpret_cast<Wide<T>*>(workspace + kPart);
  for (int64_t j = 0; j < g.n; j += kSums) {
    const int64_t n = min(kSums, g.n - j);
    for (int64_t p = 0; p < g.k; p += kPart) {
      const int64_t k = min(kPart, g.k - p);
      for (int64_t i = 0; i < k; ++i) workspace[i] = g.x[(p + i) * g.incx];
      for (int64_t i = 0; i < n; ++i) {
        const Wide<T> before = p > 0 ? sums[i] : Wide<T>{0};
        sums[i] = static_cast<Wide<T>>(before + dot(k, g.matrix + (j + i) * g.ld + p, workspace));
      }
    }
    for (int64_t i = 0; i < n; ++i) {
      T& y = g.y[(j + i) * g.incy];
      y = static_cast<T>(g.accumulate ? y + sums[i] : sums[i]);
    }
  }
}

/// y (n) = the rows [begin, end) of M, from column j on, times x's elements: four rows at a time.
template <class T>
void add_rows(const VectorArgs<T>& g, int64_t j, int64_t n, int64_t begin, int64_t end, T* y) {
  const int64_t whole = n - n % kLanes<T>;
  for (int64_t i = 0; i < n; ++i) y[i] = T{0};
  for (int64_t p = begin; p < end; p += 4) {
    const int64_t rows = min(4, end - p);
    const T* m[4];
    T x[4];
    for (int64_t r = 0; r < 4; ++r) {
      m[r] = g.matrix + (p + min(r, rows - 1)) * g.ld + j;
      x[r] = g.x[(p + min(r, rows - 1)) * g.incx];
    }
    if (rows == 4) {
      for (int64_t i = 0; i < whole; i += kLanes<T>) {
        Vec<T> sum = load(y + i);
        WEFT_UNROLL for (int r = 0; r < 4; ++r) sum = fma<T>(splat(x[r]), load(m[r] + i), sum);
        store(y + i, sum);
      }
    }
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = rows == 4 ? whole : 0; i < n; ++i) y[i] = static_cast<T>(y[i] + x[r] * m[r][i]);
    }
  }
}

/// y = Mᵀ·x, M stored (k, n): y in parts that stay in the first-level cache, in chains of kChain terms.
template <class T>
void multiply_by_rows(const VectorArgs<T>& g, T* workspace) {
  constexpr int64_t kPart = 8192 / sizeof(T);
  auto* const sums = reinterpret_cast<Wide<T>*>(workspace + kPart);
  for (int64_t j = 0; j < g.n; j += kPart) {
    const int64_t n = min(kPart, g.n - j);
    for (int64_t p = 0; p < g.k; p += kChain) {
      add_rows(g, j, n, p, min(p + kChain, g.k), workspace);
      for (int64_t i = 0; i < n; ++i) {
        sums[i] = static_cast<Wide<T>>((p > 0 ? sums[i] : Wide<T>{0}) + workspace[i]);
      }
    }
    for (int64_t i = 0; i < n; ++i) {
      T& y = g.y[(j + i) * g.incy];
      y = static_cast<T>(g.accumulate ? y + sums[i] : sums[i]);
    }
  }
}

template <class T>
void product(const GemmArgs<T>& g, void* workspace) {
  T* const vector = static_cast<T*>(workspace);
  if (g.n == 1) {
    const VectorArgs<T> v{g.m, g.k, g.a, g.lda, g.b, g.trans_b ? 1 : g.ldb, g.c, g.ldc, g.accumulate};
    return g.trans_a ? multiply_by_rows(v, vector) : multiply_by_dots(v, vector);
  }
  if (g.m == 1) {
    const VectorArgs<T> v{g.n, g.k, g.b, g.ldb, g.a, g.trans_a ? g.lda : 1, g.c, 1, g.accumulate};
    return g.trans_b ? multiply_by_dots(v, vector) : multiply_by_rows(v, vector);
  }
  if constexpr (kIsFloat<T>) {
    if (g.k > kChainSums * kInner<T>) return multiply_deep(g, workspace);
  }
  multiply_matrix(g, workspace);
}

}  // namespace

const GemmKernels gemm_kernels = {product<float>,         product<double>,
                                  product<std::uint32_t>, product<std::uint64_t>,
                                  product<std::uint8_t>,  kPanelBytes + kBlockBytes + kDeepBytes};

}  // namespace weft::cpu::WEFT_ISA
