#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "cpu/array/reduce_kernels.h"
#include "cpu/runtime/backend.h"
#include "cpu/runtime/threads.h"
#include "tests/strided_buffer.h"
#include "weft/error.h"

namespace weft::cpu {
namespace {

using testing::Buffer;
using testing::pick;
using testing::Random;
using testing::random_shape;

template <class T>
T operand(Random& random) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(std::normal_distribution<double>()(random));
  } else if constexpr (std::is_same_v<T, bool>) {
    return pick(random, 0, 9) == 0;
  } else {
    return static_cast<T>(random());
  }
}

/// Uniform in [0, 1), and quick: the large cases draw millions.
float unit(Random& random) { return static_cast<float>(random() >> 40) * 0x1p-24f; }

/// Position in out of each element of x, both in row-major order.
std::vector<std::int64_t> targets(const Shape& x, const Shape& out) {
  std::vector<std::int64_t> result;
  std::vector<std::int64_t> index(kMaxRank);
  const std::int64_t size = element_count(x);
  for (std::int64_t i = 0; i < size; ++i) {
    std::int64_t at = 0;
    for (int a = 0; a < x.rank(); ++a) at = at * out[a] + (out[a] == 1 ? 0 : index[a]);
    result.push_back(at);
    for (int a = x.rank() - 1; a >= 0 && ++index[a] == x[a]; --a) index[a] = 0;
  }
  return result;
}

Shape reduced_shape(Random& random, const Shape& shape) {
  Shape out = shape;
  for (int a = 0; a < shape.rank(); ++a) {
    if (pick(random, 0, 1)) out[a] = 1;
  }
  return out;
}

template <class T>
class Reduce : public ::testing::Test {};
using Reduced = ::testing::Types<std::uint8_t, std::int32_t, std::int64_t, float, double>;
TYPED_TEST_SUITE(Reduce, Reduced);

TYPED_TEST(Reduce, SumOverAnyAxes) {
  using T = TypeParam;
  using Total = std::conditional_t<std::is_floating_point_v<T>, long double, std::uint64_t>;
  Random random(1);
  for (int round = 0; round < 700; ++round) {
    const Shape shape = random_shape(random, round % 10 == 0 ? 50000 : 900);
    const Shape out_shape = reduced_shape(random, shape);
    Buffer<T> x(shape, round % 4 ? Buffer<T>::broadcast : Buffer<T>::dense, random);
    Buffer<T> out(out_shape, Buffer<T>::strided, random);
    x.generate([&] { return operand<T>(random); });
    backend().reduce(ReduceOp::sum, x.view(), out.view());
    const std::vector<std::int64_t> target = targets(shape, out_shape);
    std::vector<Total> expected(static_cast<std::size_t>(out.size())), magnitude(expected);
    for (std::int64_t i = 0; i < x.size(); ++i) {
      expected[target[i]] += static_cast<Total>(x[i]);
      if constexpr (std::is_floating_point_v<T>) magnitude[target[i]] += std::abs(x[i]);
    }
    for (std::int64_t i = 0; i < out.size(); ++i) {
      if constexpr (std::is_floating_point_v<T>) {
        const double tolerance = 64 * std::numeric_limits<T>::epsilon() * static_cast<double>(magnitude[i]);
        ASSERT_NEAR(out[i], static_cast<double>(expected[i]), tolerance) << to_string(shape) << to_string(out_shape);
      } else {
        ASSERT_EQ(out[i], static_cast<T>(expected[i])) << to_string(shape) << to_string(out_shape);
      }
    }
    out.expect_guards();
  }
}

template <class T>
void check_extreme(ReduceOp op, int round, Random& random) {
  const Shape shape = random_shape(random, round % 10 == 0 ? 50000 : 900, false);
  const Shape out_shape = reduced_shape(random, shape);
  Buffer<T> x(shape, round % 4 ? Buffer<T>::broadcast : Buffer<T>::dense, random);
  Buffer<T> out(out_shape, Buffer<T>::strided, random);
  x.generate([&] { return operand<T>(random); });
  if constexpr (std::is_floating_point_v<T>) {
    x[pick(random, 0, x.size() - 1)] = static_cast<T>(round % 2 ? INFINITY : -INFINITY);
    if (round % 3 == 0) x[pick(random, 0, x.size() - 1)] = static_cast<T>(NAN);
  }
  backend().reduce(op, x.view(), out.view());
  const std::vector<std::int64_t> target = targets(shape, out_shape);
  std::vector<double> expected(static_cast<std::size_t>(out.size()), op == ReduceOp::max ? -INFINITY : INFINITY);
  std::vector<std::int64_t> exact(expected.size(), op == ReduceOp::max ? INT64_MIN : INT64_MAX);
  for (std::int64_t i = 0; i < x.size(); ++i) {
    if constexpr (std::is_floating_point_v<T>) {
      double& e = expected[target[i]];
      if (std::isnan(e)) continue;
      if (std::isnan(x[i]) || (op == ReduceOp::max ? x[i] > e : x[i] < e)) e = x[i];
    } else {
      std::int64_t& e = exact[target[i]];
      e = op == ReduceOp::max ? std::max<std::int64_t>(e, x[i]) : std::min<std::int64_t>(e, x[i]);
    }
  }
  for (std::int64_t i = 0; i < out.size(); ++i) {
    if constexpr (std::is_floating_point_v<T>) {
      ASSERT_TRUE(out[i] == expected[i] || (std::isnan(out[i]) && std::isnan(expected[i])))
          << out[i] << " is not " << expected[i] << ", " << to_string(shape) << to_string(out_shape);
    } else {
      ASSERT_EQ(out[i], exact[i]) << to_string(shape) << to_string(out_shape);
    }
  }
  out.expect_guards();
}

TYPED_TEST(Reduce, MaxAndMinOverAnyAxes) {
  Random random(2);
  for (int round = 0; round < 500; ++round) {
    check_extreme<TypeParam>(round / 2 % 2 ? ReduceOp::max : ReduceOp::min, round, random);
  }
}

TEST(ReduceBool, MaxIsAnyAndMinIsAll) {
  Random random(3);
  for (int round = 0; round < 200; ++round) {
    check_extreme<bool>(round / 2 % 2 ? ReduceOp::max : ReduceOp::min, round, random);
  }
  Buffer<bool> x({4}, Buffer<bool>::dense, random), out({1}, Buffer<bool>::dense, random);
  EXPECT_THROW(backend().reduce(ReduceOp::sum, x.view(), out.view()), DTypeError);
}

TEST(ReduceSum, EmptyIsZero) {
  Random random(4);
  Buffer<float> x({3, 0, 2}, Buffer<float>::dense, random), out({3, 1, 2}, Buffer<float>::strided, random);
  backend().reduce(ReduceOp::sum, x.view(), out.view());
  for (int i = 0; i < 6; ++i) EXPECT_EQ(out[i], 0.0f);
  out.expect_guards();
}

TEST(ReduceSum, TenMillionNumbersToOnePartInAMillion) {
  Random random(5);
  std::vector<float> x(10'000'019);
  for (float& value : x) value = unit(random);
  double expected = 0;
  for (float value : x) expected += static_cast<double>(value);
  float sum = 0;
  const auto n = static_cast<std::int64_t>(x.size());
  backend().reduce(ReduceOp::sum, {x.data(), {n}, {1}, DType::f32}, {&sum, {1}, {1}, DType::f32});
  EXPECT_NEAR(sum / expected, 1, 1e-7);
  backend().reduce(ReduceOp::sum, {x.data() + n - 1, {n}, {-1}, DType::f32}, {&sum, {1}, {1}, DType::f32});
  EXPECT_NEAR(sum / expected, 1, 1e-7);
  backend().reduce(ReduceOp::sum, {x.data(), {n / 2}, {2}, DType::f32},
                   {&sum, {1}, {1}, DType::f32});  // every other one
  expected = 0;
  for (std::int64_t i = 0; i < n / 2; ++i) expected += static_cast<double>(x[2 * i]);
  EXPECT_NEAR(sum / expected, 1, 1e-7);
}

TEST(ReduceSum, ColumnsAndChannels) {
  Random random(6);
  for (std::int64_t columns : {1, 3, 10, 64, 128, 200}) {
    const std::int64_t rows = 20'001;
    std::vector<float> x(static_cast<std::size_t>(rows * columns)), sum(static_cast<std::size_t>(columns));
    for (float& value : x) value = unit(random);
    backend().reduce(ReduceOp::sum, {x.data(), {rows, columns}, {columns, 1}, DType::f32},
                     {sum.data(), {1, columns}, {columns, 1}, DType::f32});
    for (std::int64_t c = 0; c < columns; ++c) {
      double expected = 0;
      for (std::int64_t r = 0; r < rows; ++r) expected += static_cast<double>(x[r * columns + c]);
      EXPECT_NEAR(sum[c] / expected, 1, 1e-6);
    }
  }
}

TEST(ReduceSum, SameBitsOnAnyThreadCount) {
  Random random(7);
  for (int round = 0; round < 12; ++round) {
    const Shape shape{3, 70, 33, 61};
    const Shape out_shape = reduced_shape(random, shape);
    Buffer<float> x(shape, Buffer<float>::strided, random);
    x.generate([&] { return operand<float>(random); });
    std::vector<std::vector<float>> results;
    for (int threads : {1, 2, 3, 8}) {
      set_thread_count(threads);
      std::vector<float> out(static_cast<std::size_t>(element_count(out_shape)));
      backend().reduce(ReduceOp::sum, x.view(), {out.data(), out_shape, row_major_strides(out_shape), DType::f32});
      results.push_back(out);
      EXPECT_EQ(std::memcmp(out.data(), results[0].data(), out.size() * sizeof(float)), 0) << threads << " threads";
    }
  }
  set_thread_count(allowed_cpus());
}

template <class T>
void check_arg(ArgReduceOp op, int round, Random& random) {
  const bool largest = op == ArgReduceOp::argmax;
  Shape shape = random_shape(random, round % 10 == 0 ? 30000 : 600);
  if (shape.rank() == 0) shape = {1};
  const int axis = static_cast<int>(pick(random, 0, shape.rank() - 1));
  shape[axis] = std::max<std::int64_t>(1, shape[axis]);
  Shape out_shape = shape;
  out_shape[axis] = 1;
  Buffer<T> x(shape, round % 4 ? Buffer<T>::broadcast : Buffer<T>::dense, random);
  Buffer<std::int64_t> out(out_shape, Buffer<std::int64_t>::strided, random);
  x.generate([&] {
    if constexpr (std::is_floating_point_v<T>) {
      if (pick(random, 0, 99) == 0) return static_cast<T>(pick(random, 0, 1) ? NAN : INFINITY);
      return static_cast<T>(pick(random, -20, 20));
    } else {
      return static_cast<T>(pick(random, 0, 20));  // many equals
    }
  });
  backend().arg_reduce(op, x.view(), axis, out.view());
  std::int64_t inner = 1;
  for (int a = axis + 1; a < shape.rank(); ++a) inner *= shape[a];
  for (std::int64_t i = 0; i < out.size(); ++i) {
    const std::int64_t first = i / inner * inner * shape[axis] + i % inner;
    std::int64_t best = 0;
    for (std::int64_t k = 1; k < shape[axis]; ++k) {
      const auto held = static_cast<double>(x[first + best * inner]), value = static_cast<double>(x[first + k * inner]);
      if (!std::isnan(held) && (std::isnan(value) || (largest ? value > held : value < held))) best = k;
    }
    ASSERT_EQ(out[i], best) << to_string(shape) << ", axis " << axis;
  }
  out.expect_guards();
}

TYPED_TEST(Reduce, ArgMaxAndArgMin) {
  Random random(8);
  for (int round = 0; round < 500; ++round) {
    check_arg<TypeParam>(round / 2 % 2 ? ArgReduceOp::argmax : ArgReduceOp::argmin, round, random);
  }
}

TEST(ReduceBool, ArgMax) {
  Random random(9);
  for (int round = 0; round < 100; ++round) check_arg<bool>(ArgReduceOp::argmax, round, random);
}

// Vectors are 64 bytes everywhere, so even float sums have the same bits.
TYPED_TEST(Reduce, InstructionSetsAgree) {
  using T = TypeParam;
  Random random(10);
  const auto type = static_cast<int>(dtype_of<T>);
  for (Isa isa : {Isa::avx2, Isa::avx512}) {
    if (isa > widest_isa()) continue;
    for (std::int64_t n : {1, 7, 8, 15, 16, 63, 64, 65, 200, 1000}) {
      for (std::int64_t stride : {1, 2}) {
        std::vector<T> x(static_cast<std::size_t>(2 * stride * n));
        for (T& value : x) value = operand<T>(random);
        const auto run = [&](const ReduceKernels& kernels) {
          std::vector<std::vector<T>> all;
          for (int op = 0; op < 3; ++op) {
            for (TileLoop loop : {kernels.rows[op][type], kernels.columns[op][type]}) {
              std::vector<T> out(static_cast<std::size_t>(n) + 2);
              Tile tile;
              tile.rows = 2;
              tile.n = n;
              tile.data[0] = out.data();
              tile.data[1] = x.data();
              tile.stride[0] = 1;
              tile.stride[1] = stride;
              tile.row_stride[0] = 1;
              tile.row_stride[1] = n * stride;
              loop(tile);
              all.push_back(out);
            }
          }
          return all;
        };
        EXPECT_EQ(run(reduce_kernels(Isa::portable)), run(reduce_kernels(isa))) << name(isa) << ", n " << n;
      }
    }
  }
}

}  // namespace
}  // namespace weft::cpu
