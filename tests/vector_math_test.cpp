// The functions that cpu/runtime/vector_math.h takes from the C library, through the tables of every instruction set.

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "cpu/array/pointwise_kernels.h"
#include "tests/strided_buffer.h"

namespace weft::cpu {
namespace {

using testing::pick;
using testing::Random;
using Real = long double;

struct Unary {
  const char* name;
  UnaryOp op;
  Real (*reference)(Real);
  double units;  // in the last place; 0: of 1 and of the argument, where the formula cancels
};

constexpr Real kRoot2 = 1.41421356237309504880168872420969808L;
constexpr Real kScale = 0.797884560802865355879892119868763737L;  // √(2/π)

const Unary kUnary[] = {
    {"exp", UnaryOp::exp, std::exp, 4.1},
    {"expm1", UnaryOp::expm1, std::expm1, 4.1},
    {"log", UnaryOp::log, std::log, 4.1},
    {"log1p", UnaryOp::log1p, std::log1p, 4.1},
    {"log2", UnaryOp::log2, std::log2, 4.1},
    {"log10", UnaryOp::log10, std::log10, 4.1},
    {"sin", UnaryOp::sin, std::sin, 4.1},
    {"cos", UnaryOp::cos, std::cos, 4.1},
    {"tan", UnaryOp::tan, std::tan, 4.1},
    {"asin", UnaryOp::asin, std::asin, 4.1},
    {"acos", UnaryOp::acos, std::acos, 4.1},
    {"atan", UnaryOp::atan, std::atan, 4.1},
    {"sinh", UnaryOp::sinh, std::sinh, 4.1},
    {"cosh", UnaryOp::cosh, std::cosh, 4.1},
    {"tanh", UnaryOp::tanh, std::tanh, 4.1},
    {"erf", UnaryOp::erf, std::erf, 4.1},
    {"erfc", UnaryOp::erfc, std::erfc, 4.1},
    {"sigmoid", UnaryOp::sigmoid, [](Real x) { return 1 / (1 + std::exp(-x)); }, 6},
    {"silu", UnaryOp::silu, [](Real x) { return std::isinf(x) && x < 0 ? -0.0L : x / (1 + std::exp(-x)); }, 8},
    {"gelu", UnaryOp::gelu, [](Real x) { return x / 2 * std::erfc(-x / kRoot2); }, 0},
    {"gelu_tanh", UnaryOp::gelu_tanh,
     [](Real x) { return x / 2 * (1 + std::tanh(kScale * (x + 0.044715L * x * x * x))); }, 0},
};

struct Binary {
  const char* name;
  BinaryOp op;
  Real (*reference)(Real, Real);
  double units;  // 0: of the first operand, times 1 and the second
};
const Binary kBinary[] = {
    {"power", BinaryOp::power, std::pow, 4.1},
    {"atan2", BinaryOp::atan2, std::atan2, 4.1},
    {"sigmoid_grad", BinaryOp::sigmoid_grad, [](Real g, Real x) { return g / std::pow(2 * std::cosh(x / 2), Real(2)); },
     0},
    {"tanh_grad", BinaryOp::tanh_grad, [](Real g, Real x) { return g / std::pow(std::cosh(x), Real(2)); }, 0},
    {"silu_grad", BinaryOp::silu_grad,
     [](Real g, Real x) {
       const Real s = 1 / (1 + std::exp(-x));
       return g * s * (1 + x * (1 - s));
     },
     0},
    {"gelu_grad", BinaryOp::gelu_grad,
     [](Real g, Real x) { return g * (std::erfc(-x / kRoot2) / 2 + x * kScale / 2 * std::exp(-x * x / 2)); }, 0},
    {"gelu_tanh_grad", BinaryOp::gelu_tanh_grad,
     [](Real g, Real x) {
       const Real u = kScale * (x + 0.044715L * x * x * x), slope = kScale * (1 + 3 * 0.044715L * x * x);
       return g / 2 * (1 + std::tanh(u) + x * slope / std::pow(std::cosh(u), 2));
     },
     0},
};

std::vector<Isa> sets() {
  std::vector<Isa> all;
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    if (isa <= widest_isa()) all.push_back(isa);
  }
  return all;
}

/// The distance of two adjacent values of T at x.
template <class T>
Real spacing(Real x) {
  using Limits = std::numeric_limits<T>;
  int exponent = Limits::min_exponent;
  if (x != 0) std::frexp(x, &exponent);
  return std::ldexp(1.0L, std::max(exponent, Limits::min_exponent) - Limits::digits);
}

/// `tolerance` is in units in the last place of `expected` where it is in T's range.
template <class T>
void expect_close(T value, Real expected, Real tolerance, const std::string& what) {
  const T rounded = static_cast<T>(expected);
  if (std::isnan(rounded)) {
    EXPECT_TRUE(std::isnan(value)) << what << " gave " << value;
  } else if (std::isinf(expected) || expected == 0) {
    EXPECT_TRUE(value == rounded && std::signbit(value) == std::signbit(rounded)) << what << " gave " << value;
  } else {
    const Real end = std::numeric_limits<T>::max();
    const Real far = std::isinf(value) ? std::copysign(end + spacing<T>(end), static_cast<Real>(value)) : Real(value);
    const Real near = std::abs(expected) > end ? std::copysign(end + spacing<T>(end), expected) : expected;
    EXPECT_LE(std::abs(far - near), tolerance * spacing<T>(near)) << what << " gave " << value;
  }
}

/// Bits of all kinds, whole numbers, and numbers around 0 as they are in a network.
template <class T>
std::vector<T> operands(std::size_t count, Random& random) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr T kInf = std::numeric_limits<T>::infinity(), kTiny = std::numeric_limits<T>::denorm_min();
  const T special[] = {T(0), -T(0), kInf, -kInf, std::numeric_limits<T>::quiet_NaN(), kTiny, -kTiny, T(1), T(-1)};
  std::vector<T> values;
  for (std::size_t i = 0; i < count; ++i) {
    switch (i % 4) {
      case 0:
        values.push_back(std::bit_cast<T>(std::uniform_int_distribution<Bits>()(random)));
        break;
      case 1:
        values.push_back(static_cast<T>(std::uniform_real_distribution<double>(-100, 100)(random)));
        break;
      case 2:
        values.push_back(static_cast<T>(std::normal_distribution<double>()(random)));
        break;
      default:
        values.push_back(pick(random, 0, 9) == 0 ? special[pick(random, 0, 8)]
                                                 : static_cast<T>(pick(random, -20, 20)) / 2);
    }
  }
  return values;
}

template <class T>
std::vector<T> run(TileLoop loop, const std::vector<T>& a, const std::vector<T>* b = nullptr) {
  std::vector<T> out(a.size());
  Tile tile;
  tile.n = static_cast<std::int64_t>(a.size());
  tile.data[0] = out.data();
  tile.data[1] = const_cast<T*>(a.data());
  tile.data[2] = b == nullptr ? nullptr : const_cast<T*>(b->data());
  for (int o = 0; o < 3; ++o) tile.stride[o] = 1;
  loop(tile);
  return out;
}

template <class T>
class VectorMath : public ::testing::Test {
 protected:
  static constexpr int kType = static_cast<int>(dtype_of<T>);
};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(VectorMath, Types);

TYPED_TEST(VectorMath, UnaryWithinUnitsInTheLastPlace) {
  using T = TypeParam;
  Random random(1);
  const std::vector<T> x = operands<T>(20001, random);
  for (Isa isa : sets()) {
    for (const Unary& f : kUnary) {
      const std::vector<T> y = run<T>(elementwise_kernels(isa).unary[static_cast<int>(f.op)][this->kType], x);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const Real expected = f.reference(x[i]);
        Real units = f.units;
        const Real scale = std::max(Real(1), std::abs(Real(x[i])));
        if (units == 0) {
          if (!(scale < 1000)) continue;  // the cube overflows; elementwise_test has infinities
          units = 6 * scale * spacing<T>(1) / spacing<T>(expected);
          if (expected == 0) {
            EXPECT_LE(std::abs(y[i]), T(6) * std::numeric_limits<T>::epsilon());
            continue;
          }
        }
        expect_close(y[i], expected, units, std::string(name(isa)) + " " + f.name + "(" + std::to_string(x[i]) + ")");
      }
    }
  }
}

TYPED_TEST(VectorMath, BinaryWithinUnitsInTheLastPlace) {
  using T = TypeParam;
  Random random(2);
  const std::vector<T> a = operands<T>(20001, random);
  std::vector<T> b = operands<T>(20001, random);
  std::shuffle(b.begin(), b.end(), random);
  for (Isa isa : sets()) {
    for (const Binary& f : kBinary) {
      const std::vector<T> y = run<T>(elementwise_kernels(isa).binary[static_cast<int>(f.op)][this->kType], a, &b);
      for (std::size_t i = 0; i < a.size(); ++i) {
        const Real expected = f.reference(a[i], b[i]);
        const std::string what =
            std::string(name(isa)) + " " + f.name + "(" + std::to_string(a[i]) + ", " + std::to_string(b[i]) + ")";
        if (f.units > 0) {
          expect_close(y[i], expected, f.units, what);
        } else if (std::abs(a[i]) < T(1e6) && std::abs(b[i]) < T(1000)) {  // the cube overflows, as above
          const Real scale = std::abs(Real(a[i])) * std::max(Real(1), std::abs(Real(b[i])));
          EXPECT_LE(std::abs(y[i] - expected), 8 * scale * spacing<T>(1) + std::numeric_limits<T>::min()) << what;
        }
      }
    }
  }
}

// What people take for granted.
TYPED_TEST(VectorMath, ExactWhereTheResultIsSimple) {
  using T = TypeParam;
  for (Isa isa : sets()) {
    SCOPED_TRACE(name(isa));
    const auto at = [&](UnaryOp op, T x) {
      return run<T>(elementwise_kernels(isa).unary[static_cast<int>(op)][this->kType], {x})[0];
    };
    EXPECT_EQ(at(UnaryOp::exp, 0), 1);
    EXPECT_EQ(at(UnaryOp::log, 1), 0);
    EXPECT_EQ(at(UnaryOp::cos, 0), 1);
    EXPECT_EQ(at(UnaryOp::cosh, 0), 1);
    EXPECT_EQ(at(UnaryOp::sigmoid, 0), T(0.5));
    for (int i = -30; i <= 30; ++i) EXPECT_EQ(at(UnaryOp::log2, std::ldexp(T(1), i)), i);
    for (int i = 0; i <= 10; ++i) EXPECT_EQ(at(UnaryOp::log10, static_cast<T>(std::pow(10.0, i))), i);
    for (double x : {-0x1.efd138d13b4c2p-38, 0x1.9cba0cp+10, 518.363, 1.57068, 1e-10, 1.5707963267948966}) {
      for (UnaryOp op : {UnaryOp::sin, UnaryOp::cos}) {
        EXPECT_LE(std::abs(at(op, static_cast<T>(x))), 1) << x;
        EXPECT_LE(std::abs(at(op, static_cast<T>(-x))), 1) << x;
      }
    }
    for (T x : {T(5), T(20), T(1e4), std::numeric_limits<T>::infinity()}) {
      EXPECT_LE(at(UnaryOp::tanh, x), 1);
      EXPECT_LE(at(UnaryOp::erf, x), 1);
      EXPECT_LE(at(UnaryOp::sigmoid, x), 1);
    }
    const TileLoop power = elementwise_kernels(isa).binary[static_cast<int>(BinaryOp::power)][this->kType];
    for (int base = -20; base <= 20; ++base) {
      for (int exponent = 0; exponent <= 5; ++exponent) {
        const std::vector<T> b = {static_cast<T>(exponent)};
        EXPECT_EQ(run<T>(power, {static_cast<T>(base)}, &b)[0], static_cast<T>(std::pow(double(base), exponent)))
            << base << " to the " << exponent;
      }
    }
    const T nan = std::numeric_limits<T>::quiet_NaN();
    const std::vector<T> a = {1, nan, nan, -nan, nan, 2}, b = {nan, 0, -T(0), 0, 1, nan};
    const std::vector<T> powers = run<T>(power, a, &b);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(powers[static_cast<std::size_t>(i)], 1) << i;
    EXPECT_TRUE(std::isnan(powers[4]) && std::isnan(powers[5]));
  }
}

// An element's bits depend on nothing but its operands: not on its row's length, strides, or the values beside it.
TYPED_TEST(VectorMath, PlaceDoesNotMatter) {
  using T = TypeParam;
  Random random(3);
  const std::vector<T> a = operands<T>(300, random);
  std::vector<T> b = operands<T>(300, random);
  std::shuffle(b.begin(), b.end(), random);
  const auto check = [&](TileLoop loop, bool binary, const std::string& what) {
    const std::vector<T> dense = run<T>(loop, a, &b);
    for (int round = 0; round < 40; ++round) {
      const std::int64_t n = pick(random, 1, 40);
      std::int64_t start[3], stride[3];
      for (int o = 0; o < 3; ++o) {
        stride[o] = pick(random, -3, 3);
        if (o == 0 && stride[o] == 0) stride[o] = 1;
        start[o] = 150 + (stride[o] < 0 ? 0 : -(n - 1)) + pick(random, -20, 20);
      }
      stride[2] = stride[1];  // pairs that `dense` has
      start[2] = start[1];
      std::vector<T> out(300, T(7));
      Tile tile;
      tile.n = n;
      tile.data[0] = out.data() + start[0];
      tile.data[1] = const_cast<T*>(a.data()) + start[1];
      tile.data[2] = const_cast<T*>(b.data()) + start[2];
      for (int o = 0; o < 3; ++o) tile.stride[o] = stride[o];
      loop(tile);
      std::vector<T> expected(300, T(7));
      for (std::int64_t i = 0; i < n; ++i) {
        expected[static_cast<std::size_t>(start[0] + i * stride[0])] =
            dense[static_cast<std::size_t>(start[1] + i * stride[1])];
      }
      for (std::size_t i = 0; i < 300; ++i) {
        ASSERT_TRUE(out[i] == expected[i] || (out[i] != out[i] && expected[i] != expected[i]))
            << what << (binary ? " of two" : "") << ", element " << i << ": " << out[i] << ", not " << expected[i];
      }
    }
  };
  for (Isa isa : sets()) {
    for (const Unary& f : kUnary) {
      check(elementwise_kernels(isa).unary[static_cast<int>(f.op)][this->kType], false,
            std::string(name(isa)) + " " + f.name);
    }
    for (const Binary& f : kBinary) {
      check(elementwise_kernels(isa).binary[static_cast<int>(f.op)][this->kType], true,
            std::string(name(isa)) + " " + f.name);
    }
  }
}

}  // namespace
}  // namespace weft::cpu
