// What the table of cases does not say of the composed ops: their errors, gradients at 0, memory and random numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "tests/device.h"
#include "tests/error_support.h"
#include "weft/weft.h"

// std is still the standard library's namespace where weft's names are in scope, or this does not compile.
namespace user_of_weft {
using namespace weft;  // NOLINT(google-build-using-namespace)
inline std::string text_of(const Tensor& x) { return std::to_string(weft::std(x).size()); }
}  // namespace user_of_weft

namespace weft {
namespace {

using Numbers = std::vector<double>;

const TensorOptions kWide{.dtype = DType::f64, .device = kTestDevice};

// The numbers of a tensor of any dtype.
Numbers values(const Tensor& x) { return x.to(DType::f64).to_vector<double>(); }

Tensor wide(std::initializer_list<double> values, const Shape& shape) { return Tensor::from(values, shape, kWide); }

TEST(Composed, ErrorsNameTheRule) {
  const Tensor x = zeros({2, 5}, kWide);
  expect_error<ValueError>("split: size 0 must be positive for axis 1 of (2, 5)", [&] { split(x, 0, 1); });
  expect_error<ValueError>("split: size -2 must be positive for axis 1 of (2, 5)", [&] { split(x, -2, 1); });
  const std::vector<std::int64_t> short_of{2, 2}, negative{6, -1}, beyond{INT64_MAX, INT64_MAX};
  expect_error<ValueError>("split: the sizes add up to 4, not to the 5 of axis 1 of (2, 5)",
                           [&] { split(x, short_of, 1); });
  expect_error<ValueError>("split: a size must not be -1", [&] { split(x, negative, 1); });
  expect_error<ValueError>("split: the sum of the sizes overflows", [&] { split(x, beyond, 1); });
  expect_error<IndexError>("split: axis 2 is out of range for 2 dimensions", [&] { split(x, 1, 2); });
  expect_error<ValueError>("chunk: chunks must be positive, got 0", [&] { chunk(x, 0); });
  expect_error<ValueError>("tile: repeats (2, -1) must not be negative", [&] { tile(x, {2, -1}); });
  expect_error<ShapeError>("tile: repeats (1, 9223372036854775807) of (2, 5) overflow axis 1", [&] {
    tile(x, {1, INT64_MAX});
  });
  expect_error<ShapeError>("tril: input needs 2 or more dimensions (..., rows, columns), got (3,)",
                           [&] { tril(zeros({3}, kWide)); });
  expect_error<ValueError>("norm: p must not be nan", [&] { norm(x, std::nan("")); });
  expect_error<ShapeError>("norm: p inf of (2, 0), which has no elements along the reduced axes", [&] {
    norm(zeros({2, 0}, kWide), std::numeric_limits<double>::infinity(), 1);
  });
  expect_error<ValueError>("linspace: steps must not be -1", [&] { linspace(0, 1, -1); });
  expect_error<ValueError>("linspace: 300 does not fit u8", [&] { linspace(0, 300, 3, {.dtype = DType::u8}); });
  expect_error<ValueError>("full_like: 300 does not fit u8", [&] { full_like(x.to(DType::u8), 300); });
  expect_error<DTypeError>("rand_like: gives f32 or f64, not i64", [&] { rand_like(x.to(DType::i64)); });
  expect_error<ValueError>("randperm: n must not be -1", [] { randperm(-1); });
  expect_error<ValueError>("randperm: 256 does not fit u8", [] { randperm(257, {.dtype = DType::u8}); });
  expect_error<DTypeError>("bernoulli: gives f32 or f64, not i64", [&] { bernoulli(x.to(DType::i64)); });
  expect_error<ValueError>("bernoulli: a probability must not be 1.5", [] { bernoulli(full({3}, 1.5)); });
  expect_error<ValueError>("bernoulli: a probability must not be -1", [] { bernoulli(full({3}, -1.0)); });
  expect_error<ValueError>("bernoulli: a probability must not be nan", [] { bernoulli(full({3}, std::nan(""))); });
}

TEST(Composed, TheNormOfZerosHasGradientZero) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double p : {2.0, 1.0, 3.0, 0.5, 1.5, 0.0, kInfinity}) {
    Tensor x = zeros({2, 3}, kWide);
    x.set_requires_grad(true);
    const Tensor y = norm(x, p, 1);
    EXPECT_EQ(y.to_vector<double>(), (Numbers{0, 0})) << p;
    if (p == 0) continue;
    const Tensor first = grad({sum(y)}, {x}, {}, {.create_graph = true})[0];
    EXPECT_EQ(first.to_vector<double>(), Numbers(6, 0)) << p;
    if (!first.requires_grad()) continue;
    const Tensor second = grad({sum(first)}, {x}, {}, {}, true)[0];
    if (!second.defined()) continue;
    EXPECT_EQ(second.to_vector<double>(), Numbers(6, 0)) << p;
  }
  Tensor x = wide({0, 1}, {2});
  x.set_requires_grad(true);
  for (const double p : {0.5, 1.5}) EXPECT_EQ(grad({norm(x, p)}, {x})[0].to_vector<double>(), (Numbers{0, 1})) << p;
  const Tensor inverse = norm(x, -1);
  EXPECT_EQ(inverse.item<double>(), 0);
  EXPECT_EQ(grad({inverse}, {x})[0].to_vector<double>(), (Numbers{0, 0}));
}

TEST(Composed, TheDeviationOfEqualNumbersHasGradientZero) {
  Tensor x = full({4}, 3.0, kWide);
  x.set_requires_grad(true);
  const Tensor y = weft::std(x);
  EXPECT_EQ(y.item<double>(), 0);
  EXPECT_EQ(grad({y}, {x})[0].to_vector<double>(), Numbers(4, 0));
  EXPECT_TRUE(std::isnan(weft::std(full({1}, 3.0, kWide)).item<double>()));
}

TEST(Composed, AGradientOfAProductIsTheProductOfTheOthers) {
  Tensor x = wide({2, 0, 5, 3, 0, 0, 7, 1}, {2, 4});
  x.set_requires_grad(true);
  EXPECT_EQ(grad({sum(prod(x, 1))}, {x})[0].to_vector<double>(), (Numbers{0, 30, 0, 0, 0, 0, 0, 0}));
  Tensor z = wide({0, 0, 5}, {3});
  z.set_requires_grad(true);
  const Tensor first = grad({prod(z)}, {z}, {}, {.create_graph = true})[0];
  EXPECT_EQ(grad({first.select(0, 0)}, {z})[0].to_vector<double>(), (Numbers{0, 5, 0}));
}

TEST(Composed, PartsAreViewsAndTilesAreCopies) {
  const Tensor x = zeros({6, 2}, kWide);
  for (const Tensor& part : split(x, 4)) EXPECT_EQ(part.array().layout().strides, x.array().layout().strides);
  EXPECT_EQ(split(x, 4)[0].array().data(), x.array().data());
  EXPECT_EQ(chunk(x, 1)[0].array().data(), x.array().data());
  for (const Dims& repeats : {Dims{1, 1}, Dims{}, Dims{2, 1}}) {
    const Tensor y = tile(x, repeats);
    EXPECT_NE(y.array().data(), x.array().data()) << to_string(repeats);
    EXPECT_TRUE(y.array().layout().is_row_major()) << to_string(repeats);
  }
  EXPECT_TRUE(tile(zeros({}, kWide), {3}).array().layout().is_row_major());
  EXPECT_EQ(tile(zeros({1, 2, 1, 1, 1, 1, 1, 1}, kWide), {3, 1, 2, 1, 1, 1, 1, 2}).shape(),
            (Shape{3, 2, 2, 1, 1, 1, 1, 2}));
}

TEST(Composed, ARangeHasBothEndsInEveryDType) {
  for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
    const Tensor x = linspace(-3, 0.5, 8, {.dtype = dtype, .device = kTestDevice}).to(DType::f64);
    EXPECT_EQ(x.to_vector<double>(), (Numbers{-3, -2.5, -2, -1.5, -1, -0.5, 0, 0.5})) << name(dtype);
  }
  const Tensor tenths = linspace(0.1, 0.7, 7, kWide);
  EXPECT_EQ(tenths.select(0, 0).item<double>(), 0.1);
  EXPECT_EQ(tenths.select(0, 6).item<double>(), 0.7);
  EXPECT_TRUE(linspace(0, 1, 3, {.device = kTestDevice, .requires_grad = true}).requires_grad());
  EXPECT_EQ(linspace(0, 1, 3).dtype(), DType::f32);
}

TEST(Composed, FullLikeKeepsTheOrderOfAxes) {
  const Tensor x = zeros({2, 3, 4}, kWide).transpose(0, 2);
  const Tensor y = full_like(x, 7);
  EXPECT_EQ(y.array().layout().strides, x.array().layout().strides);
  EXPECT_EQ(y.to_vector<double>(), Numbers(24, 7));
}

// Element numbers in the storage, in the order of a layout's indices.
std::vector<std::int64_t> places(const Layout& layout) {
  std::vector<std::int64_t> all{layout.offset};
  for (int axis = 0; axis < layout.rank(); ++axis) {
    std::vector<std::int64_t> next;
    for (const std::int64_t at : all) {
      for (std::int64_t i = 0; i < layout.shape[axis]; ++i) next.push_back(at + i * layout.strides[axis]);
    }
    all = next;
  }
  return all;
}

// Each number of `from` goes to its place in the storage, whose sum the elements of `to` share equally.
Numbers by_way_of_memory(const Layout& from, const Numbers& numbers, const Layout& to) {
  std::map<std::int64_t, double> memory, shares;
  const auto sources = places(from), targets = places(to);
  for (std::size_t i = 0; i < sources.size(); ++i) memory[sources[i]] += numbers[i];
  for (const std::int64_t at : targets) shares[at] += 1;
  Numbers result;
  for (const std::int64_t at : targets) result.push_back(memory[at] / shares[at]);
  return result;
}

TEST(AsStrided, HasAGradientForEveryView) {
  struct View {
    Shape shape;
    Strides strides;
    std::int64_t offset;
  };
  const Tensor whole = arange(0, 90, 1, kWide);
  const Tensor inner = whole.slice(0, 12, 48);  // memory lies before and after it
  const Tensor sheet = inner.reshape({4, 9});
  const std::vector<Tensor> inputs{
      sheet.transpose(0, 1),
      sheet.slice(1, 2, 7),
      sheet.slice(0, std::nullopt, std::nullopt, -1).slice(1, std::nullopt, std::nullopt, -2),
      sheet.slice(1, 0, 1).expand({4, 3}),
      as_strided(inner, {5, 4}, {3, 2}),
      sheet,
      Tensor(whole.array().view(Layout({0}, {1}, 20))),
      sheet.select(0, 1).select(0, 3)};
  const std::vector<View> views{{{3, 4}, {2, 3}, 0},  {{5}, {-1}, 4},        {{2, 3, 2}, {0, 4, -1}, 1},
                                {{4, 4}, {1, 1}, -2}, {{0, 3}, {1, 1}, 100}, {{}, {}, 5}};
  for (const Tensor& input : inputs) {
    for (const View& v : views) {
      SCOPED_TRACE(to_string(input.shape()) + to_string(input.array().strides()) + " " + to_string(v.shape) +
                   to_string(v.strides));
      if (input.size() == 0 && v.offset < 0) continue;  // it lies at the start of its storage
      const Tensor x(input.array(), true);
      const Tensor y = as_strided(x, v.shape, v.strides, v.offset);
      Generator generator(1);
      const Tensor g(rand(y.shape(), kWide, -1, 1, generator).array(), true);
      const Tensor first = grad({y}, {x}, {g}, {.create_graph = true})[0];
      const Layout seen = y.array().layout(), had = x.array().layout();
      const Numbers expected = by_way_of_memory(seen, g.to_vector<double>(), had), found = first.to_vector<double>();
      ASSERT_EQ(found.size(), expected.size());
      for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-14) << i;
      // The gradient is linear in g: its own gradient maps back, each element by its share.
      const Tensor probe = rand(x.shape(), kWide, -1, 1, generator);
      const Numbers second = grad({first}, {g}, {probe})[0].to_vector<double>();
      Numbers shared = probe.to_vector<double>();
      const auto own = places(had);
      for (std::size_t i = 0; i < own.size(); ++i)
        shared[i] /= static_cast<double>(std::count(own.begin(), own.end(), own[i]));
      std::map<std::int64_t, double> memory;
      for (std::size_t i = 0; i < own.size(); ++i) memory[own[i]] += shared[i];
      const auto read = places(seen);
      ASSERT_EQ(second.size(), read.size());
      for (std::size_t i = 0; i < read.size(); ++i) EXPECT_NEAR(second[i], memory[read[i]], 1e-14) << i;
    }
  }
}

TEST(ComposedRandom, DrawsAreThoseOfTheCPU) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const TensorOptions here{.dtype = dtype, .device = kTestDevice}, host{.dtype = dtype};
    const Tensor p = linspace(0, 1, 1003, here);
    Generator a(5), b(5), c(6);
    const Numbers first = values(bernoulli(p, a));
    EXPECT_EQ(first, values(bernoulli(linspace(0, 1, 1003, host), b)));
    EXPECT_EQ(a.offset(), b.offset());
    EXPECT_NE(first, values(bernoulli(p, a)));
    EXPECT_NE(first, values(bernoulli(p, c)));
    Generator d(9), e(9);
    EXPECT_EQ(values(rand_like(p, -1, 3, d)), values(rand({1003}, host, -1, 3, e)));
  }
}

TEST(ComposedRandom, APermutationHasEveryNumberOnce) {
  for (const std::int64_t n : {0, 1, 2, 1000}) {
    Generator a(7), b(7);
    const Numbers found = values(randperm(n, {.device = kTestDevice}, a));
    EXPECT_EQ(found, values(randperm(n, {}, b)));
    Numbers sorted = found, all;
    std::sort(sorted.begin(), sorted.end());
    for (std::int64_t i = 0; i < n; ++i) all.push_back(static_cast<double>(i));
    EXPECT_EQ(sorted, all);
    EXPECT_TRUE(n < 1000 || found != all);
  }
  EXPECT_EQ(randperm(256, {.dtype = DType::u8, .device = kTestDevice}).dtype(), DType::u8);
  // Every number stands at every place equally often.
  constexpr int kDraws = 600;
  std::map<std::pair<int, int>, int> counts;
  Generator generator(11);
  for (int i = 0; i < kDraws; ++i) {
    const Numbers order = values(randperm(5, {.device = kTestDevice}, generator));
    for (int place = 0; place < 5; ++place) ++counts[{place, static_cast<int>(order[static_cast<std::size_t>(place)])}];
  }
  EXPECT_EQ(counts.size(), 25u);
  for (const auto& entry : counts) EXPECT_NEAR(entry.second, kDraws / 5, 5 * std::sqrt(kDraws / 5 * 0.8));
}

TEST(ComposedRandom, BernoulliHasTheProbabilityOfEachElement) {
  constexpr std::int64_t kDraws = 40000;
  const Numbers probabilities{0, 0.1, 0.5, 0.875, 1};
  const Tensor p =
      expand(Tensor::from(std::span<const double>(probabilities), {5, 1}, {.device = kTestDevice}), {5, kDraws});
  Generator generator(3);
  const Tensor drawn = bernoulli(p, generator);
  EXPECT_TRUE(all(logical_or(equal(drawn, zeros_like(drawn)), equal(drawn, ones_like(drawn)))).item<bool>());
  const Numbers shares = mean(drawn, 1).to_vector<double>();
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    const double q = probabilities[i];
    EXPECT_LE(std::fabs(shares[i] - q), 5 * std::sqrt(q * (1 - q) / kDraws)) << q;
  }
  EXPECT_FALSE(bernoulli(full({3}, 0.5, {.device = kTestDevice, .requires_grad = true})).requires_grad());
}

TEST(Composed, TheNameStdLeavesTheStandardLibraryAlone) { EXPECT_EQ(user_of_weft::text_of(ones({3})), "1"); }

}  // namespace
}  // namespace weft
