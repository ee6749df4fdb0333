// Indices, sorting and running sums on the device of the test: against what PyTorch gave (tests/golden/make_indexing.py
// has the same cases by name), and what the table of cases does not reach.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <span>

#include "cpu/runtime/threads.h"
#include "tests/device.h"
#include "weft/weft.h"

namespace weft {
namespace {

struct Inputs {
  Tensor x, index = {}, source = {};
};
using Function = std::function<Tensor(const Inputs&)>;

// x times the indices, which so have an effect on the gradient too.
Tensor weigh(const Tensor& x, const Tensor& indices) { return x * indices.to(x.dtype()); }

const std::map<std::string, Function>& cases() {
  static const std::map<std::string, Function> all{
      {"index_select_0", [](const Inputs& t) { return index_select(t.x, 0, t.index); }},
      {"index_select_1", [](const Inputs& t) { return index_select(t.x, 1, t.index); }},
      {"gather_0", [](const Inputs& t) { return gather(t.x, 0, t.index); }},
      {"gather_1", [](const Inputs& t) { return gather(t.x, 1, t.index); }},
      {"scatter_0", [](const Inputs& t) { return scatter(t.x, 0, t.index, t.source); }},
      {"scatter_1", [](const Inputs& t) { return scatter(t.x, 1, t.index, t.source); }},
      {"scatter_number", [](const Inputs& t) { return scatter(t.x, 1, t.index, 0.25); }},
      {"scatter_add_0", [](const Inputs& t) { return scatter_add(t.x, 0, t.index, t.source); }},
      {"scatter_add_1", [](const Inputs& t) { return scatter_add(t.x, 1, t.index, t.source); }},
      {"masked_fill", [](const Inputs& t) { return masked_fill(t.x, t.index.to(DType::boolean), -1.5); }},
      {"embedding", [](const Inputs& t) { return embedding(t.index, t.x); }},
      {"cumsum_0", [](const Inputs& t) { return cumsum(t.x, 0); }},
      {"cumsum_1", [](const Inputs& t) { return cumsum(t.x, -1); }},
      {"sort_0", [](const Inputs& t) { return sort(t.x, 0).values; }},
      {"sort_1", [](const Inputs& t) { return sort(t.x, -1, true).values; }},
      {"argsort_0", [](const Inputs& t) { return weigh(t.x, argsort(t.x, 0)); }},
      {"argsort_1", [](const Inputs& t) { return weigh(t.x, argsort(round(t.x * 2), 1, true)); }},
      {"topk_largest", [](const Inputs& t) { return topk(t.x, 5).values; }},
      {"topk_smallest", [](const Inputs& t) { return topk(t.x, 3, 0, false).values; }},
      {"topk_indices",
       [](const Inputs& t) {
         const Sorted largest = topk(t.x, 5);
         return weigh(largest.values, largest.indices);
       }},
  };
  return all;
}

const std::map<std::string, Array>& golden() {
  static const auto& arrays =
      *new std::map<std::string, Array>(load_safetensors(WEFT_GOLDEN_DIR "/indexing.safetensors").arrays);
  return arrays;
}

class IndexingGolden : public testing::TestWithParam<std::string> {
 protected:
  static Tensor stored(const std::string& name, DType dtype, bool requires_grad = false) {
    const auto found = golden().find(GetParam() + "." + name);
    if (found == golden().end()) return {};
    return Tensor(found->second.to(dtype).to(kTestDevice), requires_grad);
  }
  static void expect_stored(const Tensor& found, const std::string& name, double tolerance) {
    const Array& expected = golden().at(GetParam() + "." + name);
    ASSERT_EQ(found.shape(), expected.shape()) << name;
    const auto x = found.to(DType::f64).to_vector<double>(), y = expected.to_vector<double>();
    for (std::size_t i = 0; i < x.size(); ++i)
      ASSERT_NEAR(x[i], y[i], tolerance * std::max(1.0, std::fabs(y[i]))) << name << ", element " << i;
  }
};

TEST_P(IndexingGolden, ValuesAndGradientsArePyTorchs) {
  for (const DType dtype : {DType::f64, DType::f32}) {
    SCOPED_TRACE(name(dtype));
    const double tolerance = dtype == DType::f64 ? 1e-10 : 1e-5;
    const Inputs inputs{stored("x", dtype, true), stored("index", DType::i64), stored("source", dtype, true)};
    const Tensor y = cases().at(GetParam())(inputs);
    expect_stored(y, "y", tolerance);
    std::vector<Tensor> leaves{inputs.x};
    if (inputs.source.defined()) leaves.push_back(inputs.source);
    const std::vector<Tensor> gradients = grad({y}, leaves, {stored("g", dtype)});
    expect_stored(gradients[0], "grad.x", tolerance);
    if (inputs.source.defined()) expect_stored(gradients[1], "grad.source", tolerance);
  }
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& entry : cases()) all.push_back(entry.first);
  return all;
}
INSTANTIATE_TEST_SUITE_P(Ops, IndexingGolden, testing::ValuesIn(names()), [](const auto& test) { return test.param; });

TEST(IndexingGoldenFile, EveryCaseOfTheScriptIsTested) {
  std::size_t results = 0;
  for (const auto& entry : golden()) results += entry.first.ends_with(".y") ? 1 : 0;
  EXPECT_EQ(results, cases().size());
}

Tensor on_device(const Tensor& x) { return x.to(kTestDevice); }
Tensor numbers(std::initializer_list<double> values, const Shape& shape) {
  return on_device(Tensor::from<double>(values, shape));
}
Tensor places(std::initializer_list<std::int64_t> values, const Shape& shape) {
  return on_device(Tensor::from<std::int64_t>(values, shape));
}

template <class E>
void expect_error(const std::function<void()>& call, const std::string& message) {
  try {
    call();
    ADD_FAILURE() << "no error: " << message;
  } catch (const E& error) {
    EXPECT_EQ(std::string(error.what()), message);
  }
}

TEST(Indexing, IndicesOutsideOfTheAxis) {
  const Tensor x = numbers({0, 1, 2, 3, 4, 5}, {2, 3});
  const Tensor by = places({0, 2, -1, 3}, {2, 2});
  const Tensor source = numbers({10, 20, 30, 40}, {2, 2});
  if (kTestDevice.is_cpu()) {
    expect_error<IndexError>([&] { gather(x, 1, by); },
                             "gather: index -1 at (1, 0) is outside [0, 3), axis 1 of (2, 3)");
    expect_error<IndexError>([&] { scatter(x, -1, by, source); },
                             "scatter: index -1 at (1, 0) is outside [0, 3), axis 1 of (2, 3)");
    expect_error<IndexError>([&] { scatter_add(x, 0, by, source); },
                             "scatter_add: index 2 at (0, 1) is outside [0, 2), axis 0 of (2, 3)");
    expect_error<IndexError>(
        [&] {
          index_select(x, 0, places({1, 2}, {2}));
        },
        "index_select: index 2 at (1,) is outside [0, 2), axis 0 of (2, 3)");
    expect_error<IndexError>([&] { embedding(by, x); },
                             "embedding: index 2 at (0, 1) is outside [0, 2), axis 0 of (2, 3)");
    expect_error<IndexError>([&] { gather(zeros({0}), 0, places({0}, {1})); },
                             "gather: index 0 at (0,) is outside [0, 0), axis 0 of (0,)");
    return;
  }
  const std::vector<double> read = gather(x, 1, by).to_vector<double>();
  EXPECT_EQ(read[0], 0);
  EXPECT_EQ(read[1], 2);
  EXPECT_TRUE(std::isnan(read[2]) && std::isnan(read[3]));
  EXPECT_EQ(gather(x.to(DType::i64), 1, by).to_vector<std::int64_t>(), (std::vector<std::int64_t>{0, 2, 0, 0}));
  EXPECT_EQ(scatter(x, 1, by, source).to_vector<double>(), (std::vector<double>{10, 1, 20, 3, 4, 5}));
  EXPECT_EQ(scatter_add(x, 1, by, source).to_vector<double>(), (std::vector<double>{10, 1, 22, 3, 4, 5}));
}

TEST(Indexing, ArgumentsThatDoNotFitAreErrors) {
  const Tensor x = numbers({0, 1, 2, 3, 4, 5}, {2, 3});
  const Tensor by = places({0, 1, 1, 0}, {2, 2});
  expect_error<DTypeError>([&] { gather(x, 1, by.to(DType::u8)); }, "gather: indices need dtype i64 or i32, not u8");
  expect_error<ShapeError>(
      [&] {
        gather(x, 1, places({0, 0, 0}, {3, 1}));
      },
      "gather: index (3, 1) does not fit x (2, 3) beside axis 1");
  expect_error<ShapeError>([&] { gather(x, 1, places({0}, {1})); },
                           "gather: index (1,) does not fit x (2, 3) beside axis 1");
  expect_error<ShapeError>(
      [&] {
        scatter(x, 1, by, numbers({1, 2}, {2, 1}));
      },
      "scatter: index (2, 2) does not fit source (2, 1)");
  expect_error<DTypeError>([&] { scatter_add(x, 1, by, by); }, "scatter_add: source is i64 and x f64");
  expect_error<IndexError>([&] { gather(x, 2, by); }, "gather: axis 2 is out of range for 2 dimensions");
  expect_error<ShapeError>([&] { index_select(x, 1, by); }, "index_select: indices needs 1 dimensions, got (2, 2)");
  expect_error<ShapeError>([&] { embedding(by, numbers({1}, {1})); }, "embedding: weight needs 2 dimensions, got (1,)");
  expect_error<DTypeError>([&] { masked_fill(x, by, 1); }, "masked_fill: the mask needs dtype bool, not i64");
  expect_error<ValueError>([&] { topk(x, 4); }, "topk: k 4 is outside [0, 3], the size of axis 1 of (2, 3)");
  expect_error<ValueError>([&] { topk(x, -1, 0); }, "topk: k -1 is outside [0, 2], the size of axis 0 of (2, 3)");
  EXPECT_THROW(scatter(x.to(DType::u8), 1, by, 256), ValueError);
  EXPECT_THROW(masked_fill(x.to(DType::u8), x.to(DType::boolean), -1), ValueError);
}

TEST(Indexing, ManyThatMeetAreSummedInDouble) {
  const std::int64_t n = 100000;
  const Tensor terms = full({n}, 0.1f, {.device = kTestDevice});
  const Tensor sums = scatter_add(zeros({2}, {.device = kTestDevice}), 0, full({n}, 1, {.device = kTestDevice}), terms);
  EXPECT_EQ(sums.to_vector<float>(), (std::vector<float>{0, static_cast<float>(static_cast<double>(0.1f) * 1e5)}));
}

TEST(Sort, KeepsBitsAndTheOrderOfEquals) {
  const float nan = std::bit_cast<float>(0xFFC00123u), infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> x{nan, 0.0f, -0.0f, infinity, -infinity, -0.0f, 0x1p-140f, -0x1p-140f};
  const Sorted sorted = sort(on_device(Tensor::from(std::span<const float>(x), {8})));
  EXPECT_EQ(sorted.indices.to_vector<std::int64_t>(), (std::vector<std::int64_t>{4, 7, 1, 2, 5, 6, 3, 0}));
  const std::vector<float> values = sorted.values.to_vector<float>();
  EXPECT_FALSE(std::signbit(values[2]));
  EXPECT_TRUE(std::signbit(values[3]) && std::signbit(values[4]));
  EXPECT_EQ(std::bit_cast<std::uint32_t>(values[7]), 0xFFC00123u);
}

// Several tiles, and runs of every length in the merges.
TEST(Sort, ALineLongerThanTheMemoryIsAnError) {
  for (const std::int64_t size : {std::int64_t{1} << 50, std::int64_t{1} << 60, INT64_MAX}) {
    const Tensor x = zeros({1}, {.device = kTestDevice}).expand({size});
    EXPECT_THROW(topk(x, 1), OutOfMemoryError) << size;
    EXPECT_THROW(argsort(x), Error) << size;
  }
}

TEST(Sort, LongLinesAreInOrder) {
  for (const std::int64_t n : {255, 256, 257, 511, 513, 1500}) {
    std::mt19937 random(static_cast<unsigned>(n));
    std::vector<std::int64_t> x(static_cast<std::size_t>(2 * n));
    for (std::int64_t& value : x) value = std::uniform_int_distribution<std::int64_t>(-50, 50)(random);
    x[3] = std::numeric_limits<std::int64_t>::min();
    x[5] = std::numeric_limits<std::int64_t>::max();
    const Tensor lines = on_device(Tensor::from(std::span<const std::int64_t>(x), {2, n}));
    for (const bool descending : {false, true}) {
      const std::vector<std::int64_t> found = argsort(lines, 1, descending).to_vector<std::int64_t>();
      for (int line = 0; line < 2; ++line) {
        std::vector<std::int64_t> expected(static_cast<std::size_t>(n));
        std::iota(expected.begin(), expected.end(), 0);
        std::stable_sort(expected.begin(), expected.end(), [&](std::int64_t a, std::int64_t b) {
          const std::int64_t at = line * n;
          return descending ? x[static_cast<std::size_t>(at + a)] > x[static_cast<std::size_t>(at + b)]
                            : x[static_cast<std::size_t>(at + a)] < x[static_cast<std::size_t>(at + b)];
        });
        EXPECT_TRUE(std::equal(expected.begin(), expected.end(), found.begin() + line * n)) << n << " line " << line;
      }
    }
  }
}

// One line that a block walks in several rounds, and lines side by side.
TEST(Cumsum, LongSumsOfFloatsAreRoundedOnce) {
  for (const Shape& shape : {Shape{1, 5000}, Shape{3, 1025}, Shape{5000, 40}}) {
    const Tensor x = rand(shape, {.device = kTestDevice});
    for (const Tensor& view : {x, transpose(x, 0, 1)}) {
      for (const int axis : {0, 1}) {
        const Tensor found = cumsum(view, axis).to(DType::f64);
        const Tensor expected = cumsum(view.to(Device::cpu()).to(DType::f64), axis);
        const double worst = max(abs(found.to(Device::cpu()) - expected) / expected).item<double>();
        EXPECT_LE(worst, 0x1.01p-24) << to_string(shape) << " axis " << axis;
      }
    }
  }
}

// Each result has more elements than a task, or more lines.
TEST(Indexing, OneThreadAndThreeGiveTheSameBits) {
  const TensorOptions options{.device = kTestDevice};
  const Tensor x = rand({700, 90}, options), many = rand({2000, 90}, options);
  const Tensor rows = randint(0, 700, {2000}, options), by = randint(0, 700, {2000, 90}, options);
  const auto results = [&](int threads) {
    cpu::set_thread_count(threads);
    std::vector<std::vector<float>> all;
    for (const Tensor& y :
         {index_select(x, 0, rows), gather(x, 0, by), scatter(x, 0, by, many), scatter_add(x, 0, by, many),
          scatter_add(transpose(x, 0, 1), 1, transpose(by, 0, 1), transpose(many, 0, 1)), embedding(rows, x),
          cumsum(many, 0), cumsum(many, 1), sort(many, 0).values, argsort(many, 1, true).to(DType::f32)}) {
      all.push_back(y.to_vector<float>());
    }
    return all;
  };
  const auto one = results(1), three = results(3);
  cpu::set_thread_count(cpu::allowed_cpus());
  EXPECT_EQ(one, three);
}

TEST(Cumsum, IntegersWrap) {
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(cumsum(places({most, 1, 1}, {3}), 0).to_vector<std::int64_t>(),
            (std::vector<std::int64_t>{most, -most - 1, -most}));
}

}  // namespace
}  // namespace weft
