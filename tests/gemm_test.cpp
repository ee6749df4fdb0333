#include "cpu/matmul/gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <limits>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "core/device/sanitizers.h"
#include "cpu/runtime/threads.h"
#include "weft/ops.h"
#include "weft/random.h"

namespace weft::cpu {
namespace {

using std::int64_t;

struct Random {
  std::uint64_t state = 88172645463325252u;
  std::uint64_t next() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
  }
  template <class T>
  T value() {
    if constexpr (std::is_floating_point_v<T>) {
      return static_cast<T>(static_cast<double>(next() >> 40) * 0x1p-23 - 1.0);
    } else {
      return static_cast<T>(next());  // all bits: products wrap
    }
  }
};

/// A stored matrix whose rows are `gap` longer than needed; the gaps hold what nobody may read or write.
template <class T>
struct Matrix {
  Matrix(int64_t rows_, int64_t cols_, int64_t gap, Random& random) : rows(rows_), cols(cols_), ld(cols_ + gap) {
    values.assign(rows * ld, guard());
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < cols; ++j) at(i, j) = random.value<T>();
    }
  }
  static T guard() {
    if constexpr (std::is_floating_point_v<T>) return std::numeric_limits<T>::quiet_NaN();
    return static_cast<T>(77);
  }
  T& at(int64_t i, int64_t j) { return values[i * ld + j]; }
  bool guards_intact() {
    const T expected = guard();
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = cols; j < ld; ++j) {
        if (std::memcmp(&at(i, j), &expected, sizeof(T)) != 0) return false;
      }
    }
    return true;
  }
  int64_t rows, cols, ld;
  std::vector<T> values;
};

/// Who computes: gemm or gemm_tile with oneDNN where built in, or the own kernel of one instruction set.
enum class Way { gemm, tile, own_gemm, portable, avx2, avx512 };

std::vector<Way> ways() {
  std::vector<Way> all{Way::gemm, Way::tile, Way::own_gemm, Way::portable};
  if (widest_isa() >= Isa::avx2) all.push_back(Way::avx2);
  if (widest_isa() >= Isa::avx512) all.push_back(Way::avx512);
  return all;
}

template <class T>
void run_kernel(Isa isa, const GemmArgs<T>& g) {
  const GemmKernels& kernels = gemm_kernels(isa);
  void* workspace = scratch(ScratchSlot::task, kernels.workspace_bytes);
  if constexpr (std::is_same_v<T, float>) kernels.f32(g, workspace);
  if constexpr (std::is_same_v<T, double>) kernels.f64(g, workspace);
  if constexpr (std::is_same_v<T, std::uint32_t>) kernels.u32(g, workspace);
  if constexpr (std::is_same_v<T, std::uint64_t>) kernels.u64(g, workspace);
  if constexpr (std::is_same_v<T, std::uint8_t>) kernels.u8(g, workspace);
}

template <class T>
void run(Way way, const GemmArgs<T>& g) {
  if (way == Way::gemm || way == Way::own_gemm) {
    use_own_gemm(way == Way::own_gemm);
    gemm<T>(g);
    use_own_gemm(false);
  } else if (way == Way::tile) {
    gemm_tile<T>(g);
  } else if (g.m > 0 && g.n > 0 && g.k > 0) {
    const Isa isa = way == Way::avx512 ? Isa::avx512 : way == Way::avx2 ? Isa::avx2 : Isa::portable;
    if constexpr (std::is_signed_v<T> && std::is_integral_v<T>) {
      using U = std::make_unsigned_t<T>;
      run_kernel<U>(isa, {g.trans_a, g.trans_b, g.m, g.n, g.k, reinterpret_cast<const U*>(g.a), g.lda,
                          reinterpret_cast<const U*>(g.b), g.ldb, g.accumulate, reinterpret_cast<U*>(g.c), g.ldc});
    } else {
      run_kernel<T>(isa, g);
    }
  }
}

/// One product against plain loops: doubles within (k + 2)·eps of the sum of magnitudes, integers exactly.
template <class T>
void check(Way way, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, int64_t gap, bool accumulate) {
  SCOPED_TRACE("way " + std::to_string(static_cast<int>(way)) + ", " + (trans_a ? "T" : "N") + (trans_b ? "T" : "N") +
               " " + std::to_string(m) + " " + std::to_string(n) + " " + std::to_string(k) + ", gap " +
               std::to_string(gap) + ", accumulate " + std::to_string(accumulate));
  Random random;
  Matrix<T> a(trans_a ? k : m, trans_a ? m : k, gap, random), b(trans_b ? n : k, trans_b ? k : n, gap, random);
  Matrix<T> c(m, n, gap, random);
  const Matrix<T> before = c;
  if (!accumulate) std::fill(c.values.begin(), c.values.end(), Matrix<T>::guard());
  run<T>(way,
         {trans_a, trans_b, m, n, k, a.values.data(), a.ld, b.values.data(), b.ld, accumulate, c.values.data(), c.ld});
  EXPECT_TRUE(c.guards_intact());
  const bool ran = k > 0 || way == Way::gemm || way == Way::tile || way == Way::own_gemm;
  for (int64_t i = 0; ran && i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const T old = accumulate ? before.values[i * c.ld + j] : T{0};
      if constexpr (std::is_floating_point_v<T>) {
        long double sum = old, magnitude = std::abs(sum);
        for (int64_t p = 0; p < k; ++p) {
          const long double x = static_cast<long double>(trans_a ? a.at(p, i) : a.at(i, p)) *
                                static_cast<long double>(trans_b ? b.at(j, p) : b.at(p, j));
          sum += x;
          magnitude += std::abs(x);
        }
        const long double bound = static_cast<long double>(k + 2) * std::numeric_limits<T>::epsilon() * magnitude;
        ASSERT_LE(std::abs(c.at(i, j) - sum), bound) << "at " << i << ", " << j;
      } else {
        std::uint64_t sum = static_cast<std::uint64_t>(old);
        for (int64_t p = 0; p < k; ++p) {
          sum += static_cast<std::uint64_t>(trans_a ? a.at(p, i) : a.at(i, p)) *
                 static_cast<std::uint64_t>(trans_b ? b.at(j, p) : b.at(p, j));
        }
        ASSERT_EQ(c.at(i, j), static_cast<T>(sum)) << "at " << i << ", " << j;
      }
    }
  }
}

template <class T>
void check_forms(int64_t m, int64_t n, int64_t k) {
  for (Way way : ways()) {
    for (int form = 0; form < 8; ++form) {
      check<T>(way, form & 1, form & 2, m, n, k, form & 4 ? 3 : 0, (form ^ form >> 1) & 1);
      check<T>(way, form & 1, form & 2, m, n, k, form & 4 ? 0 : 5, !((form ^ form >> 1) & 1));
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

template <class T>
class Gemm : public testing::Test {};
using Types = testing::Types<float, double, std::int32_t, std::int64_t, std::uint8_t>;
TYPED_TEST_SUITE(Gemm, Types);

TYPED_TEST(Gemm, SmallestSizes) {
  for (int64_t m : {0, 1, 2}) {
    for (int64_t n : {0, 1, 2}) {
      for (int64_t k : {0, 1, 2}) check_forms<TypeParam>(m, n, k);
    }
  }
}

TYPED_TEST(Gemm, RemaindersAroundTheRegisterTile) {
  for (int64_t m : {3, 4, 5, 6, 7, 12, 13, 14, 15, 27}) check_forms<TypeParam>(m, 33, 5);
  const int64_t lanes = 64 / sizeof(TypeParam);
  for (int64_t base : {lanes / 4, lanes / 2, lanes, 2 * lanes}) {
    for (int64_t n = base - 1; n <= base + 1; ++n) check_forms<TypeParam>(15, n, 3);
  }
}

TYPED_TEST(Gemm, RowsEnoughToPackB) {
  for (int64_t n : {7, 16, 40}) check_forms<TypeParam>(61, n, 9);
}

TYPED_TEST(Gemm, SeveralBlocks) {
  const int64_t block = 1536 / sizeof(TypeParam);
  check_forms<TypeParam>(17, 5, block + 1);
  check_forms<TypeParam>(5, block + 3, 2);
}

TYPED_TEST(Gemm, Vectors) {
  const int64_t part = 32768 / sizeof(TypeParam);
  for (int64_t length : {3, 64, 65, 261}) {
    check_forms<TypeParam>(1, 7, length);
    check_forms<TypeParam>(7, 1, length);
    check_forms<TypeParam>(1, length, 6);
    check_forms<TypeParam>(length, 1, 9);
    check_forms<TypeParam>(1, 1, length);
  }
  check_forms<TypeParam>(2, 1, part + 5);
  check_forms<TypeParam>(1, part / 4 + 5, 5);
}

TYPED_TEST(Gemm, CutInRowsColumnsAndDepth) {
  for (Way way : {Way::gemm, Way::own_gemm}) {
    for (bool trans : {false, true}) {
      check<TypeParam>(way, trans, !trans, 1100, 60, 20, 1, trans);
      check<TypeParam>(way, trans, trans, 20, 1100, 60, 1, !trans);
      check<TypeParam>(way, trans, !trans, 300, 520, 9, 0, trans);
      check<TypeParam>(way, trans, trans, 9, 33, 4100, 2, trans);
      check<TypeParam>(way, trans, trans, 1, 17, 70000, 0, !trans);
    }
  }
}

/// What the terms of a deep product are: constants, a ramp, random signs.
struct Terms {
  const char* name;
  float (*value)(int64_t p, Random& random);
};
const Terms kTerms[] = {
    {"0.1", [](int64_t, Random&) { return 0.1f; }},
    {"1/3", [](int64_t, Random&) { return 1.0f / 3; }},
    {"0.7", [](int64_t, Random&) { return 0.7f; }},
    {"1.01", [](int64_t, Random&) { return 1.01f; }},
    {"ramp", [](int64_t p, Random&) { return static_cast<float>(p + 1) * 1e-3f; }},
    {"signs", [](int64_t, Random& random) { return random.next() >> 40 & 1 ? 0.7f : -0.7f; }},
};
constexpr double kDeepBound = 5e-6;  // of the sum of the terms' magnitudes

/// A product all of whose rows of A are one row of terms, and whose columns of B are one constant, C = 3 to begin with.
void check_depth(Way way, const Terms& terms, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
                 bool accumulate) {
  constexpr float kFactor = 0.9f, kBefore = 3;
  Random random;
  double sum = accumulate ? kBefore : 0, magnitude = sum;
  std::vector<float> a(m * k), b(n * k, kFactor), c(m * n, kBefore);
  for (int64_t p = 0; p < k; ++p) {
    const float term = terms.value(p, random);
    sum += static_cast<double>(term) * kFactor;
    magnitude += std::abs(static_cast<double>(term) * kFactor);
    for (int64_t i = 0; i < m; ++i) a[trans_a ? p * m + i : i * k + p] = term;
  }
  run<float>(
      way, {trans_a, trans_b, m, n, k, a.data(), trans_a ? m : k, b.data(), trans_b ? k : n, accumulate, c.data(), n});
  double error = 0;
  for (const float value : c) error = std::max(error, std::abs(value - sum));
  EXPECT_LE(error, kDeepBound * magnitude)
      << "way " << static_cast<int>(way) << ", terms " << terms.name << ", " << (trans_a ? "T" : "N")
      << (trans_b ? "T " : "N ") << m << " " << n << " " << k << ", accumulate " << accumulate << ": "
      << error / magnitude << " of the terms' magnitudes";
}

std::vector<Way> own_ways() {
  std::vector<Way> own = ways();
  own.erase(own.begin(), own.begin() + 2);  // those that may take oneDNN
  return own;
}

TEST(GemmDepth, SumsOfManyTermsAreAccurate) {
  const int64_t sizes[][2] = {{1, 1}, {1, 5}, {5, 1}, {2, 3}};
  for (const Way way : own_ways()) {
    for (const Terms& terms : kTerms) {
      for (const int64_t k : {1000, 20000}) {
        for (const auto& [m, n] : sizes) {
          for (int form = 0; form < 4; ++form) check_depth(way, terms, form & 1, form & 2, m, n, k, form == 1);
        }
      }
    }
  }
}

TEST(GemmDepth, AroundTheLengthsOfChains) {
  for (const Way way : own_ways()) {
    for (const int64_t whole : {256, 2048, 4096, 8192, 16384, 16 * 8192}) {
      for (const int64_t k : {whole - 1, whole, whole + 1}) {
        check_depth(way, kTerms[0], true, false, 3, 2, k, k % 2);
        check_depth(way, kTerms[1], false, true, 1, 2, k, k % 2);
        check_depth(way, kTerms[2], true, false, 2, 1, k, k % 2);
      }
    }
  }
}

// More rows and columns than the sums of a deep product have room for at once.
TEST(GemmDepth, ManyRowsAndColumns) {
  for (const Way way : {Way::own_gemm, static_cast<Way>(static_cast<int>(Way::portable) + static_cast<int>(isa()))}) {
    for (const bool accumulate : {false, true}) {
      check_depth(way, kTerms[0], true, false, 530, 3, 8300, accumulate);
      check_depth(way, kTerms[1], false, true, 3, 420, 8300, accumulate);
      check_depth(way, kTerms[2], false, true, 1, 1030, 8300, accumulate);
      check_depth(way, kTerms[3], true, false, 2060, 1, 300, accumulate);
    }
  }
}

/// Terms that all lie in one place: leading dimensions of 0 make rows of depth the same memory.
void check_expanded(Way way, float x, float y, int64_t m, int64_t n, int64_t k) {
  const std::vector<float> a(m, x), b(n, y);
  std::vector<float> c(m * n);
  run<float>(way, {true, false, m, n, k, a.data(), 0, b.data(), 0, false, c.data(), n});
  const double sum = static_cast<double>(x) * y * static_cast<double>(k);
  for (const float value : c) {
    ASSERT_LE(std::abs(value - sum), kDeepBound * sum) << "way " << static_cast<int>(way) << ", " << x << " by " << y
                                                       << ", " << m << " " << n << " " << k << ": " << value / sum - 1;
  }
}

TEST(GemmDepth, OfExpandedOperands) {
#if WEFT_ASAN || WEFT_TSAN
  constexpr int64_t kDeepest = 1000000;
#else
  constexpr int64_t kDeepest = 100000000;
#endif
  check_expanded(Way::own_gemm, 0.1f, 1.01f, 1, 1, kDeepest);
  for (const Way way : own_ways()) {
    check_expanded(way, 1.01f, 1, 1, 1, kDeepest / 10);
    for (const float x : {0.1f, 1.0f / 3, 0.7f, 1.01f}) {
      check_expanded(way, x, 1, 2, 2, kDeepest / 100);
      check_expanded(way, x, x, 1, 1, kDeepest / 100);
      check_expanded(way, 1, x, 1, 3, kDeepest / 100);
    }
  }
}

template <class T>
std::vector<T> product(int threads, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, bool own) {
  Random random;
  Matrix<T> a(trans_a ? k : m, trans_a ? m : k, 0, random), b(trans_b ? n : k, trans_b ? k : n, 0, random);
  Matrix<T> c(m, n, 0, random);
  set_thread_count(threads);
  use_own_gemm(own);
  gemm<T>({trans_a, trans_b, m, n, k, a.values.data(), a.ld, b.values.data(), b.ld, true, c.values.data(), c.ld});
  use_own_gemm(false);
  set_thread_count(allowed_cpus());
  return c.values;
}

template <class T>
void check_bits() {
  const int64_t sizes[][3] = {{1000, 30, 50}, {40, 700, 70}, {32, 48, 5000}, {530, 510, 30}, {1, 300, 5000}};
  for (const auto& [m, n, k] : sizes) {
    for (int form = 0; form < 8; ++form) {
      const std::vector<T> one = product<T>(1, form & 1, form & 2, m, n, k, form & 4);
      for (int threads : {2, 3, 8}) {
        const std::vector<T> many = product<T>(threads, form & 1, form & 2, m, n, k, form & 4);
        EXPECT_EQ(std::memcmp(one.data(), many.data(), one.size() * sizeof(T)), 0)
            << m << " " << n << " " << k << ", form " << form << ", threads " << threads;
      }
    }
  }
}

TEST(GemmBits, DoNotDependOnThreadsFloat) { check_bits<float>(); }
TEST(GemmBits, DoNotDependOnThreadsDouble) { check_bits<double>(); }

TEST(GemmBits, OfBatchesDoNotDependOnThreads) {
  for (const int64_t batch : {1, 3, 8}) {
    const Tensor a = randn({batch, 40, 4096}), b = randn({batch, 4096, 24});
    set_thread_count(1);
    const auto alone = matmul(a, b).to_vector<float>();
    for (const int threads : {2, 4, 8}) {
      set_thread_count(threads);
      EXPECT_EQ(matmul(a, b).to_vector<float>(), alone) << batch << " by " << threads << " threads";
    }
  }
  set_thread_count(allowed_cpus());
}

TEST(GemmBits, OwnKernelSumsInTheSameOrderWhateverTheTile) {
  Random random;
  const int64_t m = 45, n = 70, k = 400;
  Matrix<float> a(m, k, 0, random), b(k, n, 0, random), whole(m, n, 0, random), part(m, n, 0, random);
  use_own_gemm(true);
  gemm_tile<float>({false, false, m, n, k, a.values.data(), k, b.values.data(), n, false, whole.values.data(), n});
  for (int64_t i = 0; i < m; i += 9) {
    for (int64_t j = 0; j < n; j += 35) {
      gemm_tile<float>({false, false, 9, 35, k, &a.at(i, 0), k, &b.at(0, j), n, false, &part.at(i, j), n});
    }
  }
  use_own_gemm(false);
  EXPECT_EQ(std::memcmp(whole.values.data(), part.values.data(), whole.values.size() * sizeof(float)), 0);
}

TEST(GemmOneDnn, AgreesWithTheOwnKernel) {
  if (!gemm_uses_onednn()) GTEST_SKIP() << "built without oneDNN";
  const int64_t m = 300, n = 150, k = 200;
  const std::vector<float> own = product<float>(1, false, true, m, n, k, true);
  const std::vector<float> other = product<float>(1, false, true, m, n, k, false);
  for (std::size_t i = 0; i < own.size(); ++i) ASSERT_NEAR(own[i], other[i], 1e-4) << "at " << i;
}

TEST(GemmOneDnn, LeadingDimensionOfASingleRowIsNotLookedAt) {
  const float a[3] = {1, 2, 3}, b[3] = {4, 5, 6};
  float c = -1;
  gemm_tile<float>({false, true, 1, 1, 3, a, 1, b, 1, false, &c, 1});
  EXPECT_EQ(c, 32.0f);
}

TEST(GemmOneDnn, StartsNoThreadsOfItsOwn) {
  const auto threads = [] {
    const std::filesystem::directory_iterator begin("/proc/self/task"), end;
    return std::distance(begin, end);
  };
  if (!std::filesystem::exists("/proc/self/task")) GTEST_SKIP() << "no /proc";
  set_thread_count(1);
  const auto before = threads();
  product<float>(1, false, true, 512, 512, 512, false);
  std::vector<float> a(512 * 512, 1.0f), c(512 * 512);
  gemm_tile<float>({false, false, 512, 512, 512, a.data(), 512, a.data(), 512, false, c.data(), 512});
  EXPECT_EQ(threads(), before);
  std::ptrdiff_t inside = 0;
  std::thread other([&] {
    gemm_tile<float>({false, false, 512, 512, 512, a.data(), 512, a.data(), 512, false, c.data(), 512});
    inside = threads();
  });
  other.join();
  EXPECT_EQ(inside, before + 1);
  set_thread_count(allowed_cpus());
}

TEST(Isa, NamesAndOrder) {
  EXPECT_LE(isa(), widest_isa());
  EXPECT_STREQ(name(Isa::portable), "portable");
  EXPECT_STREQ(name(Isa::avx2), "avx2");
  EXPECT_STREQ(name(Isa::avx512), "avx512");
}

}  // namespace
}  // namespace weft::cpu
