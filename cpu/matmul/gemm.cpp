#include "cpu/matmul/gemm.h"

#include <algorithm>
#include <atomic>
#include <type_traits>

#include "core/device/integer.h"
#include "cpu/runtime/threads.h"

#ifdef WEFT_ONEDNN
#include <dnnl.h>
#include <omp.h>
#endif

namespace weft::cpu {

WEFT_SIMD_DEFINE(GemmKernels, gemm_kernels)

namespace {

using std::int64_t;

// How a product is cut. Tiles of fewer than 256 rows cost oneDNN dearly at small k; splits add traffic over C.
constexpr int64_t kSmallProduct = int64_t{1} << 20;  // multiplications: fewer cost less than waking threads
constexpr int64_t kTiles = 16;                       // of a product at least, where sizes allow: work for 16 threads
constexpr int64_t kMinSide = 256, kMaxRows = 1024, kMaxColumns = 4096;  // of a tile
constexpr int64_t kMinSplit = 1024, kMaxSplit = int64_t{1} << 20;  // inner size of a split; largest m·n with splits

std::atomic<bool> own_gemm{false};

/// The length of `parts` equal parts of `total`, within [least, most] and a multiple of 32.
int64_t even_length(int64_t total, int64_t parts, int64_t least, int64_t most) {
  return std::min(total, round_up(std::clamp(ceil_div(total, parts), least, most), 32));
}

struct Tiling {
  int64_t rows, columns, inner;  // of one tile
};

Tiling tiling_of(int64_t m, int64_t n, int64_t k) {
  const double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  if (work <= static_cast<double>(kSmallProduct)) return {m, n, k};
  Tiling tiling{};
  tiling.rows = even_length(m, kTiles, kMinSide, kMaxRows);
  const int64_t down = ceil_div(m, tiling.rows);
  tiling.columns = even_length(n, ceil_div(kTiles, down), kMinSide, kMaxColumns);
  const int64_t tiles = down * ceil_div(n, tiling.columns);
  tiling.inner = k;
  if (tiles < kTiles && k >= 2 * kMinSplit && m * n <= kMaxSplit) {
    tiling.inner = even_length(k, ceil_div(kTiles, tiles), kMinSplit, k);
  }
  return tiling;
}

template <class T>
void own_tile(const GemmArgs<T>& g) {
  const GemmKernels& kernels = gemm_kernels();
  void* workspace = scratch(ScratchSlot::gemm_panels, kernels.workspace_bytes);
  if constexpr (std::is_same_v<T, float>) {
    kernels.f32(g, workspace);
  } else if constexpr (std::is_same_v<T, double>) {
    kernels.f64(g, workspace);
  } else if constexpr (std::is_same_v<T, std::uint8_t>) {
    kernels.u8(g, workspace);
  } else {  // the unsigned twin may alias, and wraps
    using U = std::make_unsigned_t<T>;
    const GemmArgs<U> unsigned_args{g.trans_a,
                                    g.trans_b,
                                    g.m,
                                    g.n,
                                    g.k,
                                    reinterpret_cast<const U*>(g.a),
                                    g.lda,
                                    reinterpret_cast<const U*>(g.b),
                                    g.ldb,
                                    g.accumulate,
                                    reinterpret_cast<U*>(g.c),
                                    g.ldc};
    if constexpr (sizeof(T) == 4) {
      kernels.u32(unsigned_args, workspace);
    } else {
      kernels.u64(unsigned_args, workspace);
    }
  }
}

#ifdef WEFT_ONEDNN
/// One thread for oneDNN's OpenMP regions begun by this thread; the setting is the thread's own.
class OneOmpThread {
 public:
  OneOmpThread() : threads_(omp_get_max_threads()) {
    if (threads_ != 1) omp_set_num_threads(1);
  }
  ~OneOmpThread() {
    if (threads_ != 1) omp_set_num_threads(threads_);
  }
  OneOmpThread(const OneOmpThread&) = delete;
  OneOmpThread& operator=(const OneOmpThread&) = delete;

 private:
  int threads_;
};

/// False if oneDNN declines. It wants leading dimensions of a full row even where there is only one.
bool onednn_tile(const GemmArgs<float>& g) {
  const OneOmpThread one;
  const int64_t lda = std::max(g.lda, g.trans_a ? g.m : g.k);
  const int64_t ldb = std::max(g.ldb, g.trans_b ? g.k : g.n);
  return dnnl_sgemm(g.trans_a ? 'T' : 'N', g.trans_b ? 'T' : 'N', g.m, g.n, g.k, 1.0f, g.a, lda, g.b, ldb,
                    g.accumulate ? 1.0f : 0.0f, g.c, std::max(g.ldc, g.n)) == dnnl_success;
}
#endif

template <class T>
void multiply_tile(const GemmArgs<T>& g) {
  if (g.m <= 0 || g.n <= 0) return;
  if (g.k <= 0) {
    for (int64_t i = 0; i < g.m && !g.accumulate; ++i) std::fill_n(g.c + i * g.ldc, g.n, T{0});
    return;
  }
#ifdef WEFT_ONEDNN
  if constexpr (std::is_same_v<T, float>) {
    if (gemm_uses_onednn() && onednn_tile(g)) return;
  }
#endif
  own_tile(g);
}

/// C (rows, columns) += the splits' sums, `split_size` apart, in order; floats in double, integers wrap.
template <class T>
void add_splits(int64_t rows, int64_t columns, int64_t splits, const T* sums, int64_t split_size, T* c, int64_t ldc) {
  constexpr int64_t kPart = 256;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t first = 0; first < columns; first += kPart) {
      const int64_t count = std::min(kPart, columns - first);
      T* const out = c + i * ldc + first;
      const T* from = sums + i * columns + first;
      if constexpr (std::is_floating_point_v<T>) {
        double total[kPart];
        std::copy_n(out, count, total);
        for (int64_t s = 0; s < splits; ++s, from += split_size) {
          for (int64_t j = 0; j < count; ++j) total[j] += from[j];
        }
        for (int64_t j = 0; j < count; ++j) out[j] = static_cast<T>(total[j]);
      } else {
        using U = std::make_unsigned_t<T>;
        for (int64_t s = 0; s < splits; ++s, from += split_size) {
          for (int64_t j = 0; j < count; ++j) {
            out[j] = static_cast<T>(static_cast<U>(static_cast<U>(out[j]) + static_cast<U>(from[j])));
          }
        }
      }
    }
  }
}

}  // namespace

bool gemm_uses_onednn() noexcept {
#ifdef WEFT_ONEDNN
  return !own_gemm.load(std::memory_order_relaxed) && !process_ends();
#else
  return false;
#endif
}

void use_own_gemm(bool own) noexcept { own_gemm.store(own, std::memory_order_relaxed); }

template <class T>
void gemm_tile(const GemmArgs<T>& product) {
  multiply_tile(product);
}

template <class T>
void gemm(const GemmArgs<T>& product) {
  const int64_t m = product.m, n = product.n, k = product.k;
  if (m <= 0 || n <= 0) return;
  const Tiling tiling = tiling_of(m, n, std::max<int64_t>(k, 0));
  const int64_t down = ceil_div(m, tiling.rows), across = ceil_div(n, tiling.columns);
  const int64_t splits = k > 0 ? ceil_div(k, tiling.inner) : 1;
  // The first split goes to C, the others to sums that are then added in order.
  T* const sums =
      splits > 1 ? static_cast<T*>(scratch(ScratchSlot::gemm_sums, (splits - 1) * m * n * sizeof(T))) : nullptr;
  parallel_for(down * across * splits, [&](int64_t task) {
    const int64_t split = task % splits, tile = task / splits;
    const int64_t i = tile % down * tiling.rows, j = tile / down * tiling.columns, p = split * tiling.inner;
    GemmArgs<T> g = product;
    g.m = std::min(tiling.rows, m - i);
    g.n = std::min(tiling.columns, n - j);
    g.k = std::min(tiling.inner, k - p);
    g.a += g.trans_a ? p * g.lda + i : i * g.lda + p;
    g.b += g.trans_b ? j * g.ldb + p : p * g.ldb + j;
    if (split == 0) {
      g.c += i * g.ldc + j;
    } else {
      g.accumulate = false;
      g.c = sums + (split - 1) * m * n + i * n + j;
      g.ldc = n;
    }
    multiply_tile(g);
  });
  if (splits == 1) return;
  const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 14) / n);
  parallel_blocks(m, grain, [&](int64_t begin, int64_t end) {
    add_splits(end - begin, n, splits - 1, sums + begin * n, m * n, product.c + begin * product.ldc, product.ldc);
  });
}

#define WEFT_INSTANTIATE(T)                  \
  template void gemm<T>(const GemmArgs<T>&); \
  template void gemm_tile<T>(const GemmArgs<T>&);
WEFT_INSTANTIATE(float)
WEFT_INSTANTIATE(double)
WEFT_INSTANTIATE(std::int32_t)
WEFT_INSTANTIATE(std::int64_t)
WEFT_INSTANTIATE(std::uint8_t)
#undef WEFT_INSTANTIATE

}  // namespace weft::cpu
