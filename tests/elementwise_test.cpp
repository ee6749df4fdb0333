#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <type_traits>

#include "cpu/array/gather_kernels.h"
#include "cpu/array/pointwise_kernels.h"
#include "cpu/runtime/backend.h"
#include "cpu/runtime/threads.h"
#include "tests/scalar_reference.h"
#include "tests/strided_buffer.h"
#include "weft/error.h"

namespace weft::cpu {
namespace {

using testing::binary_reference;
using testing::Buffer;
using testing::pick;
using testing::Random;
using testing::random_shape;
using testing::unary_reference;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kLow64 = std::numeric_limits<std::int64_t>::min();

// Operands that also try the special values, kept small enough for exact integers.
template <class T>
T operand(Random& random) {
  if constexpr (std::is_floating_point_v<T>) {
    const T special[] = {T(0), T(-0.0), T(1), T(-1), T(0.5), T(2.5), T(kInf), T(-kInf), T(kNaN)};
    if (pick(random, 0, 7) == 0) return special[pick(random, 0, 8)];
    return static_cast<T>(std::uniform_real_distribution<double>(-4, 4)(random));
  } else if constexpr (std::is_same_v<T, bool>) {
    return pick(random, 0, 1) != 0;
  } else {
    return static_cast<T>(pick(random, std::is_signed_v<T> ? -6 : 0, 6));
  }
}

template <class R>
void expect_near(R value, double expected, const std::string& what) {
  if constexpr (std::is_floating_point_v<R>) {
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(value)) << what << " gave " << value;
    } else if (std::isinf(expected)) {
      EXPECT_EQ(value, expected) << what;
    } else {
      const double tolerance = sizeof(R) == 4 ? 4e-6 : 4e-14;
      EXPECT_NEAR(value, expected, tolerance * std::abs(expected) + (sizeof(R) == 4 ? 1e-6 : 1e-14)) << what;
    }
  } else {
    EXPECT_EQ(static_cast<R>(static_cast<std::int64_t>(expected)), value) << what;
  }
}

// Integer rules that differ from the reals: anything over 0 is 0, a negative power rounds towards zero.
template <class T>
double binary_expected(BinaryOp op, T a, T b) {
  if constexpr (!std::is_floating_point_v<T>) {
    if (op == BinaryOp::floor_divide && b == 0) return 0;
    if (op == BinaryOp::remainder && b == 0) return 0;
    if (op == BinaryOp::power) return a == 0 && b < T(0) ? 0 : std::trunc(std::pow(double(a), double(b)));
  }
  return binary_reference(op, double(a), double(b));
}

template <class T, class R>
void check_unary(UnaryOp op, Random& random) {
  const Shape shape = random_shape(random, 300);
  Buffer<T> x(shape, Buffer<T>::broadcast, random);
  Buffer<R> out(shape, Buffer<R>::strided, random);
  x.generate([&] { return operand<T>(random); });
  backend().unary(op, x.view(), out.view());
  for (std::int64_t i = 0; i < out.size(); ++i) {
    expect_near(out[i], unary_reference(op, double(x[i])),
                "unary " + std::to_string(int(op)) + " of " + std::to_string(double(x[i])));
  }
  out.expect_guards();
}

template <class T, class R>
void check_binary(BinaryOp op, Random& random) {
  const Shape shape = random_shape(random, 300);
  Buffer<T> a(shape, Buffer<T>::broadcast, random), b(shape, Buffer<T>::broadcast, random);
  Buffer<R> out(shape, Buffer<R>::strided, random);
  a.generate([&] { return operand<T>(random); });
  b.generate([&] { return operand<T>(random); });
  backend().binary(op, a.view(), b.view(), out.view());
  for (std::int64_t i = 0; i < out.size(); ++i) {
    expect_near(out[i], binary_expected(op, a[i], b[i]),
                "binary " + std::to_string(int(op)) + " of " + std::to_string(double(a[i])) + ", " +
                    std::to_string(double(b[i])));
  }
  out.expect_guards();
}

template <class T>
class Elementwise : public ::testing::Test {};
using Computed = ::testing::Types<bool, std::uint8_t, std::int32_t, std::int64_t, float, double>;
TYPED_TEST_SUITE(Elementwise, Computed);

TYPED_TEST(Elementwise, UnaryMatchesDoubles) {
  using T = TypeParam;
  Random random(1);
  for (int i = 0; i < kUnaryOps; ++i) {
    const auto op = static_cast<UnaryOp>(i);
    const auto* loops = elementwise_kernels().unary[i];
    if (loops[static_cast<int>(dtype_of<T>)] == nullptr) {
      Buffer<T> x({3}, Buffer<T>::dense, random);
      EXPECT_THROW(backend().unary(op, x.view(), x.view()), DTypeError);
      continue;
    }
    if (op == UnaryOp::negative && std::is_unsigned_v<T>) continue;  // wraps, see Wrapping
    for (int round = 0; round < 60; ++round) {
      is_predicate(op) ? check_unary<T, bool>(op, random) : check_unary<T, T>(op, random);
    }
  }
}

TYPED_TEST(Elementwise, BinaryMatchesDoubles) {
  using T = TypeParam;
  Random random(2);
  for (int i = 0; i < kBinaryOps; ++i) {
    const auto op = static_cast<BinaryOp>(i);
    if (elementwise_kernels().binary[i][static_cast<int>(dtype_of<T>)] == nullptr) {
      Buffer<T> x({3}, Buffer<T>::dense, random);
      EXPECT_THROW(backend().binary(op, x.view(), x.view(), x.view()), DTypeError);
      continue;
    }
    for (int round = 0; round < 60; ++round) {
      is_predicate(op) ? check_binary<T, bool>(op, random) : check_binary<T, T>(op, random);
    }
  }
}

// Every instruction set gives the bits of the portable one, on rows of every length around the vector's.
template <class T>
void compare_tables(TileLoop portable, TileLoop wide, int inputs, Random& random, const std::string& what) {
  for (std::int64_t n : {0, 1, 3, 15, 16, 17, 31, 64, 67, 130}) {
    for (int pattern = 0; pattern < 5; ++pattern) {  // all unit; one operand broadcast; gaps
      Buffer<T> a({400}, Buffer<T>::dense, random), b({400}, Buffer<T>::dense, random);
      a.generate([&] { return operand<T>(random); });
      b.generate([&] { return operand<T>(random); });
      std::vector<std::uint64_t> results[2] = {std::vector<std::uint64_t>(400, 7), std::vector<std::uint64_t>(400, 7)};
      for (int which = 0; which < 2; ++which) {
        Tile tile;
        tile.n = n;
        tile.data[0] = results[which].data();
        tile.data[1] = a.view().data;
        tile.data[2] = b.view().data;
        for (int o = 0; o <= inputs; ++o) tile.stride[o] = 1;
        if (pattern == 1) tile.stride[1] = 0;
        if (pattern == 2) tile.stride[2] = 0;
        if (pattern == 3) tile.stride[1] = 2;
        if (pattern == 4) tile.stride[0] = 3;
        (which == 0 ? portable : wide)(tile);
      }
      if (results[0] == results[1]) continue;
      ASSERT_TRUE(std::is_floating_point_v<T>) << what << ", n " << n << ", pattern " << pattern;
      // A NaN's sign and payload are nobody's promise.
      for (int i = 0; i < 400; ++i) {
        const T x = reinterpret_cast<const T*>(results[0].data())[i],
                y = reinterpret_cast<const T*>(results[1].data())[i];
        ASSERT_TRUE(x == y || (x != x && y != y))
            << what << ", n " << n << ", pattern " << pattern << ", element " << i;
      }
    }
  }
}

// The functions of the C library that vector_math_test compares with long doubles on every set.
bool is_of_vectors(BinaryOp op) {
  return op == BinaryOp::power || op == BinaryOp::atan2 ||
         (op >= BinaryOp::sigmoid_grad && op <= BinaryOp::gelu_tanh_grad);
}
bool is_of_vectors(UnaryOp op) {
  return op != UnaryOp::log10 && op != UnaryOp::relu && op >= UnaryOp::exp && op <= UnaryOp::silu;
}

TYPED_TEST(Elementwise, InstructionSetsAgree) {
  using T = TypeParam;
  Random random(3);
  const auto type = static_cast<int>(dtype_of<T>);
  for (Isa isa : {Isa::avx2, Isa::avx512}) {
    if (isa > widest_isa()) continue;
    const ElementwiseKernels& portable = elementwise_kernels(Isa::portable);
    const ElementwiseKernels& wide = elementwise_kernels(isa);
    for (int i = 0; i < kUnaryOps; ++i) {
      if (portable.unary[i][type] == nullptr || is_of_vectors(static_cast<UnaryOp>(i))) continue;
      compare_tables<T>(portable.unary[i][type], wide.unary[i][type], 1, random, "unary " + std::to_string(i));
    }
    for (int i = 0; i < kBinaryOps; ++i) {
      const auto op = static_cast<BinaryOp>(i);
      if (portable.binary[i][type] == nullptr) continue;
      if (std::is_floating_point_v<T> && is_of_vectors(op)) continue;
      compare_tables<T>(portable.binary[i][type], wide.binary[i][type], 2, random, "binary " + std::to_string(i));
    }
  }
}

TYPED_TEST(Elementwise, InPlace) {
  using T = TypeParam;
  if constexpr (std::is_floating_point_v<T>) {
    Random random(4);
    std::vector<T> x(100003), y(x.size()), sum(x.size());
    for (T& value : x) value = operand<T>(random);
    for (T& value : y) value = operand<T>(random);
    const auto view = [](std::vector<T>& v) {
      return View{v.data(), {static_cast<std::int64_t>(v.size())}, {1}, dtype_of<T>};
    };
    std::vector<T> x_relu(x);
    backend().unary(UnaryOp::relu, view(x_relu), view(x_relu));
    backend().binary(BinaryOp::add, view(x), view(y), view(sum));
    std::vector<T> a(x), b(y);
    backend().binary(BinaryOp::add, view(a), view(y), view(a));
    backend().binary(BinaryOp::add, view(x), view(b), view(b));
    for (std::size_t i = 0; i < x.size(); ++i) {
      expect_near(x_relu[i], unary_reference(UnaryOp::relu, x[i]), "relu");
      expect_near(a[i], sum[i], "a += y");
      expect_near(b[i], sum[i], "b = x + b");
    }
  }
}

template <class T>
T unary_of(UnaryOp op, T x) {
  T out{};
  backend().unary(op, {&x, {}, {}, dtype_of<T>}, {&out, {}, {}, dtype_of<T>});
  return out;
}
template <class T>
T binary_of(BinaryOp op, T a, T b) {
  T out{};
  backend().binary(op, {&a, {}, {}, dtype_of<T>}, {&b, {}, {}, dtype_of<T>}, {&out, {}, {}, dtype_of<T>});
  return out;
}

TEST(ElementwiseIntegers, Wrapping) {
  EXPECT_EQ(unary_of(UnaryOp::negative, kLow64), kLow64);
  EXPECT_EQ(unary_of(UnaryOp::abs, kLow64), kLow64);
  EXPECT_EQ(unary_of<std::uint8_t>(UnaryOp::negative, 3), 253);
  EXPECT_EQ(unary_of<std::int32_t>(UnaryOp::square, 65536), 0);
  EXPECT_EQ(binary_of<std::int64_t>(BinaryOp::add, INT64_MAX, 1), kLow64);
  EXPECT_EQ(binary_of<std::int32_t>(BinaryOp::subtract, INT32_MIN, 1), INT32_MAX);
  EXPECT_EQ(binary_of<std::int32_t>(BinaryOp::multiply, 1 << 20, 1 << 12), 0);
  EXPECT_EQ(binary_of<std::uint8_t>(BinaryOp::multiply, 20, 20), 400 % 256);
  EXPECT_EQ(binary_of<std::int64_t>(BinaryOp::floor_divide, kLow64, -1), kLow64);
  EXPECT_EQ(binary_of<std::int64_t>(BinaryOp::remainder, kLow64, -1), 0);
  EXPECT_EQ(binary_of<std::int32_t>(BinaryOp::floor_divide, -7, 2), -4);
  EXPECT_EQ(binary_of<std::int32_t>(BinaryOp::remainder, -7, 2), 1);
  EXPECT_EQ(binary_of<std::int64_t>(BinaryOp::power, 3, 39), 4052555153018976267);
  EXPECT_EQ(binary_of<std::int64_t>(BinaryOp::power, 2, 64), 0);
}

TYPED_TEST(Elementwise, Where) {
  using T = TypeParam;
  Random random(5);
  for (int round = 0; round < 200; ++round) {
    const Shape shape = random_shape(random, 300);
    Buffer<bool> condition(shape, Buffer<bool>::broadcast, random);
    Buffer<T> a(shape, Buffer<T>::broadcast, random), b(shape, Buffer<T>::broadcast, random);
    Buffer<T> out(shape, round % 2 ? Buffer<T>::strided : Buffer<T>::dense, random);
    condition.generate([&] { return operand<bool>(random); });
    a.generate([&] { return operand<T>(random); });
    b.generate([&] { return operand<T>(random); });
    backend().where(condition.view(), a.view(), b.view(), out.view());
    for (std::int64_t i = 0; i < out.size(); ++i) {
      const T expected = condition[i] ? a[i] : b[i];
      ASSERT_EQ(std::memcmp(&out[i], &expected, sizeof(T)), 0);
    }
    out.expect_guards();
  }
}

TYPED_TEST(Elementwise, AccumulateInRowMajorOrder) {
  using T = TypeParam;
  if constexpr (sizeof(T) >= 4) {
    Random random(6);
    for (int round = 0; round < 300; ++round) {
      const Shape shape = random_shape(random, 2000);
      Buffer<T> in(shape, Buffer<T>::broadcast, random);
      in.generate([&] { return static_cast<T>(std::uniform_real_distribution<double>(-99, 99)(random)); });
      Strides strides = Strides::filled(shape.rank(), 0);  // anything: positions may meet
      std::int64_t first = 0, reach = 1;
      for (int a = 0; a < shape.rank(); ++a) {
        strides[a] = pick(random, 0, 1) ? pick(random, -9, 9) : reach * pick(random, 0, 1);
        const std::int64_t span = std::max<std::int64_t>(0, shape[a] - 1) * std::abs(strides[a]);
        if (strides[a] < 0) first += span;
        reach += span;
      }
      std::vector<T> memory(static_cast<std::size_t>(reach), T(1)), expected(memory);
      std::vector<std::int64_t> index(kMaxRank);
      for (std::int64_t i = 0; i < in.size(); ++i) {
        std::int64_t offset = first;
        for (int a = 0; a < shape.rank(); ++a) offset += index[a] * strides[a];
        expected[offset] += in[i];
        for (int a = shape.rank() - 1; a >= 0 && ++index[a] == shape[a]; --a) index[a] = 0;
      }
      backend().accumulate(in.view(), {memory.data() + first, shape, strides, dtype_of<T>});
      ASSERT_EQ(memory, expected) << to_string(shape) << " with strides " << to_string(strides);
    }
  }
}

// Larger than the grain, split over threads, through windows that overlap along two axes.
TEST(Accumulate, LargeWindows) {
  Random random(7);
  const Shape shape{6, 30, 28, 3, 3, 16};
  const Strides strides{32 * 30 * 16, 30 * 16, 16, 30 * 16, 16, 1};
  Buffer<float> in(shape, Buffer<float>::dense, random);
  in.generate([&] { return operand<float>(random); });
  std::vector<float> results[4];
  const int threads[] = {1, 2, 3, 8};
  for (int t = 0; t < 4; ++t) {
    set_thread_count(threads[t]);
    results[t].assign(6 * 32 * 30 * 16, 0);
    backend().accumulate(in.view(), {results[t].data(), shape, strides, DType::f32});
    EXPECT_EQ(std::memcmp(results[t].data(), results[0].data(), results[t].size() * sizeof(float)), 0);
  }
  set_thread_count(allowed_cpus());
}

TEST(Elementwise, LargeAndThreaded) {
  Random random(8);
  const Shape shape{5, 33, 31, 29};
  Buffer<float> a(shape, Buffer<float>::strided, random), b(shape, Buffer<float>::broadcast, random);
  a.generate([&] { return operand<float>(random); });
  b.generate([&] { return operand<float>(random); });
  for (int threads : {1, 2, 3, 8}) {
    set_thread_count(threads);
    for (int round = 0; round < 8; ++round) {
      Buffer<float> out(shape, round ? Buffer<float>::strided : Buffer<float>::dense, random);
      backend().binary(BinaryOp::subtract, a.view(), b.view(), out.view());
      for (std::int64_t i = 0; i < out.size(); ++i) expect_near(out[i], double(a[i]) - double(b[i]), "subtract");
      out.expect_guards();
    }
  }
  set_thread_count(allowed_cpus());
}

TEST(Arange, EveryDType) {
  Random random(9);
  const auto check = [&](auto zero, Scalar start, Scalar step, auto reference) {
    using T = decltype(zero);
    for (std::int64_t n : {0, 1, 5, 1024, 1025, 70001}) {
      Buffer<T> out({n}, Buffer<T>::strided, random);
      backend().arange(out.view(), start, step);
      for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(out[i], reference(i)) << "element " << i;
      out.expect_guards();
    }
  };
  check(0.0f, 0.1, 0.3, [](std::int64_t i) { return static_cast<float>(0.1 + double(i) * 0.3); });
  check(0.0, -5, 0.25, [](std::int64_t i) { return -5 + double(i) * 0.25; });
  check(std::int64_t{0}, std::int64_t{1} << 60, 3, [](std::int64_t i) { return (std::int64_t{1} << 60) + 3 * i; });
  check(std::int32_t{0}, 10, -2, [](std::int64_t i) { return static_cast<std::int32_t>(10 - 2 * i); });
  check(std::uint8_t{0}, 0, 1, [](std::int64_t i) { return static_cast<std::uint8_t>(i); });
}

}  // namespace
}  // namespace weft::cpu
