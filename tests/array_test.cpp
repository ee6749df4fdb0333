// What an Array refuses, and numbers that a dtype or a C++ type cannot hold.
#include "weft/array.h"

#include <cmath>
#include <limits>

#include "tests/device.h"
#include "tests/error_support.h"
#include "weft/error.h"
#include "weft/random.h"

namespace weft {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
constexpr auto kLeast = std::numeric_limits<std::int64_t>::min();
constexpr auto kMostUnsigned = std::numeric_limits<std::uint64_t>::max();

using Integers = std::vector<std::int64_t>;

TensorOptions of(DType dtype) { return {.dtype = dtype, .device = kTestDevice}; }
Integers integers(const Tensor& x) { return x.to(DType::i64).to_vector<std::int64_t>(); }

TEST(Array, AnUndefinedOneThrows) {
  const std::string message = "array: the array is undefined";
  expect_error<Error>(message, [] { Array().view(Layout()); });
  expect_error<Error>(message, [] { Array().contiguous(); });
  expect_error<Error>(message, [] { Array().clone(); });
  expect_error<Error>(message, [] { Array().to(DType::f32); });
  expect_error<Error>(message, [] { Array().to(DType::i64); });
  expect_error<Error>(message, [] { Array().to(Device::cpu()); });
  expect_error<Error>(message, [] { Array().fill(1); });
  expect_error<Error>(message, [] { Array().copy_from(Array::full({}, 1)); });
  expect_error<Error>(message, [] { Array::full({}, 1).copy_from(Array()); });
  expect_error<Error>(message, [] { Array().data(); });
  expect_error<Error>(message, [] { Array().to_vector<float>(); });
  expect_error<ShapeError>("item: an undefined array does not have one element", [] { Array().item<float>(); });
}

TEST(Array, AViewHasOneStrideForEachAxis) {
  const Array x = Array::full({4}, 1);
  expect_error<ShapeError>("view: shape (3, 5) and strides (1,) differ in length", [&] {
    x.view(Layout({3, 5}, {1}));
  });
  expect_error<ShapeError>("view: shape (3,) and strides (1, 1) differ in length", [&] {
    x.view(Layout({3}, {1, 1}));
  });
}

TEST(Array, AnEmptyViewMayLieAnywhere) {
  const Tensor x = ones({4}, of(DType::f32));
  for (const std::int64_t offset : {kMost, kMost / 2, kLeast}) {
    const Array y = x.array().view(Layout({0, 5}, {kMost, kLeast}, offset));
    EXPECT_EQ(y.data(), x.array().data());
    EXPECT_EQ((Tensor(y) + 1).shape(), (Shape{0, 5}));
    EXPECT_EQ(flip(Tensor(y), 1).shape(), (Shape{0, 5}));
    EXPECT_EQ(select(Tensor(y), 1, 3).shape(), Shape{0});
    EXPECT_EQ(slice(Tensor(y), 1, 1, 5, 2).shape(), (Shape{0, 2}));
    EXPECT_EQ(im2col(Tensor(y).unsqueeze(0), {1}, {.stride = {2}}).shape(), (Shape{3, 0}));
  }
}

TEST(Device, ThereIsOneCpu) {
  const Device third{Device::Type::cpu, 3};
  EXPECT_EQ(third, Device::cpu());
  EXPECT_NE(third, Device::cuda(3));
  EXPECT_NE(Device::cuda(0), Device::cuda(1));
  EXPECT_EQ(integers(ones({2}, {.dtype = DType::i64, .device = third}) + ones({2})), (Integers{2, 2}));
}

TEST(Scalar, KeepsNumbersOfEveryKind) {
  EXPECT_TRUE(Scalar(true).is_boolean());
  EXPECT_TRUE(Scalar(static_cast<std::uint64_t>(kMost)).is_integer());
  EXPECT_EQ(Scalar(static_cast<std::uint64_t>(kMost)).as_int(), kMost);
  EXPECT_TRUE(Scalar(kMostUnsigned).is_floating_point());
  EXPECT_EQ(Scalar(kMostUnsigned).as_double(), 0x1p64);
  EXPECT_EQ(full({1}, kMostUnsigned, of(DType::f64)).item<double>(), 0x1p64);
  EXPECT_EQ((ones({1}, of(DType::f64)) + kMostUnsigned).item<double>(), 0x1p64);
}

TEST(Scalar, AFloatingOneBeyondInt64IsTheNearest) {
  const auto as_int = [](double value) {
    const volatile double unfolded = value;
    return Scalar(unfolded).as_int();
  };
  EXPECT_EQ(as_int(-2.75), -2);
  EXPECT_EQ(as_int(0x1p63), kMost);
  EXPECT_EQ(as_int(-0x1p63), kLeast);
  EXPECT_EQ(as_int(1e300), kMost);
  EXPECT_EQ(as_int(-kInf), kLeast);
  EXPECT_EQ(as_int(kNaN), 0);
}

TEST(Item, IsOfTheTypeAskedForOrThrows) {
  const auto f64 = [](double value) { return full({}, value, of(DType::f64)); };
  const auto i64 = [](std::int64_t value) { return full({}, value, of(DType::i64)); };
  EXPECT_TRUE(f64(0.5).item<bool>());
  EXPECT_TRUE(f64(kNaN).item<bool>());
  EXPECT_FALSE(f64(-0.0).item<bool>());
  EXPECT_TRUE(i64(kLeast).item<bool>());
  EXPECT_EQ(f64(-0.75).item<unsigned>(), 0u);
  EXPECT_EQ(f64(255.75).item<std::uint8_t>(), 255);
  EXPECT_EQ(f64(0x1p63).item<std::uint64_t>(), std::uint64_t{1} << 63);
  EXPECT_EQ(f64(-0x1p63).item<std::int64_t>(), kLeast);
  EXPECT_EQ(i64(INT32_MIN).item<int>(), INT32_MIN);
  EXPECT_EQ(i64(kLeast).item<std::int64_t>(), kLeast);
  EXPECT_EQ(i64(kMost).item<std::uint64_t>(), static_cast<std::uint64_t>(kMost));
  EXPECT_EQ(i64(kMost).item<double>(), 0x1p63);
  expect_error<ValueError>("item: 1e+30 does not fit a signed integer of 32 bits", [&] { f64(1e30).item<int>(); });
  expect_error<ValueError>("item: nan does not fit a signed integer of 64 bits",
                           [&] { f64(kNaN).item<std::int64_t>(); });
  expect_error<ValueError>("item: -inf does not fit a signed integer of 64 bits",
                           [&] { f64(-kInf).item<std::int64_t>(); });
  expect_error<ValueError>("item: 2147483648 does not fit a signed integer of 32 bits",
                           [&] { i64(2147483648).item<int>(); });
  expect_error<ValueError>("item: -2147483649 does not fit a signed integer of 32 bits",
                           [&] { i64(-2147483649).item<int>(); });
  expect_error<ValueError>("item: -1 does not fit an unsigned integer of 64 bits",
                           [&] { i64(-1).item<std::uint64_t>(); });
  expect_error<ValueError>("item: 256 does not fit an unsigned integer of 8 bits",
                           [&] { i64(256).item<std::uint8_t>(); });
}

TEST(Full, RefusesWhatAnIntegerDTypeCannotHold) {
  EXPECT_EQ(integers(full({2}, 255.75, of(DType::u8))), (Integers{255, 255}));
  EXPECT_EQ(integers(full({1}, -0.75, of(DType::u8))), Integers{0});
  EXPECT_EQ(integers(full({1}, -2147483648.5, of(DType::i32))), Integers{INT32_MIN});
  EXPECT_EQ(integers(full({1}, kLeast, of(DType::i64))), Integers{kLeast});
  EXPECT_EQ(integers(full({1}, kNaN, of(DType::boolean))), Integers{1});
  EXPECT_EQ(full({1}, 1e300, of(DType::f32)).item<float>(), std::numeric_limits<float>::infinity());
  const auto refuses = [](Scalar value, DType dtype, const std::string& message) {
    expect_error<ValueError>("full: " + message, [&] { full({2}, value, of(dtype)); });
    expect_error<ValueError>("full: " + message, [&] { Array::full({2}, value, dtype, kTestDevice); });
    expect_error<ValueError>("fill: " + message, [&] { Array::empty({2}, dtype, kTestDevice).fill(value); });
  };
  refuses(300, DType::u8, "300 does not fit u8");
  refuses(-1, DType::u8, "-1 does not fit u8");
  refuses(3'000'000'000, DType::i32, "3000000000 does not fit i32");
  refuses(1e30, DType::i32, "1e+30 does not fit i32");
  refuses(0x1p63, DType::i64, "9223372036854775808 does not fit i64");
  refuses(kNaN, DType::i64, "nan does not fit i64");
  refuses(-kInf, DType::i64, "-inf does not fit i64");
}

TEST(Arange, RefusesWhatAnIntegerDTypeCannotHold) {
  expect_error<ValueError>("arange: 299 does not fit u8", [] { arange(0, 300, 1, of(DType::u8)); });
  expect_error<ValueError>("arange: -1 does not fit u8", [] { arange(-1, 3, 1, of(DType::u8)); });
  expect_error<ValueError>("arange: 4e+09 does not fit i32", [] { arange(0.0, 5e9, 1e9, of(DType::i32)); });
  EXPECT_EQ(integers(arange(0, 300, 255, of(DType::u8))), (Integers{0, 255}));
  EXPECT_EQ(integers(arange(300, 0, 1, of(DType::u8))), Integers());
}

constexpr TensorOptions kHere{.device = kTestDevice};

template <class T>
void expect_stored_as(DType dtype, T value) {
  const T values[] = {value, value};
  for (const Tensor& x :
       {Tensor::from<T>({value, value}, {2}, kHere), Tensor::from(std::span<const T>(values), {2}, kHere)}) {
    EXPECT_EQ(x.dtype(), dtype);
    EXPECT_EQ(x.device(), kTestDevice);
    EXPECT_EQ(Tensor::from<T>({value}, {1}, of(DType::f32)).dtype(), DType::f32);
  }
}

TEST(Creation, TypedValuesKeepTheirTypeWhereNoDTypeIsNamed) {
  expect_stored_as(DType::boolean, true);
  expect_stored_as(DType::u8, std::uint8_t{7});
  expect_stored_as(DType::i32, std::int32_t{7});
  expect_stored_as(DType::i64, std::int64_t{7});
  expect_stored_as(DType::f16, float16(0.5f));
  expect_stored_as(DType::bf16, bfloat16(0.5f));
  expect_stored_as(DType::f32, 0.1f);
  expect_stored_as(DType::f64, 0.1);
  const Tensor leaf = Tensor::from<double>({0.1, 1e300}, {2}, {.device = kTestDevice, .requires_grad = true});
  EXPECT_EQ(leaf.to_vector<double>(), (std::vector<double>{0.1, 1e300}));
  EXPECT_TRUE(leaf.requires_grad());
  EXPECT_EQ(Tensor::from<std::int64_t>({16777217}, {1}, kHere).item<std::int64_t>(), 16777217);
}

TEST(Creation, ANumberDecidesWhereNoDTypeIsNamed) {
  const auto expect_full = [](Scalar value, DType dtype, double expected) {
    for (const Tensor& x : {full({2}, value), full({2}, value, kHere), Tensor(Array::full({2}, value))}) {
      EXPECT_EQ(x.dtype(), dtype);
      EXPECT_EQ(x.to(DType::f64).to_vector<double>(), (std::vector<double>{expected, expected}));
    }
  };
  expect_full(16777217, DType::i64, 16777217);
  expect_full(std::uint8_t{255}, DType::i64, 255);
  expect_full(true, DType::boolean, 1);
  expect_full(0.5, DType::f32, 0.5);
  expect_full(3.0f, DType::f32, 3);
  EXPECT_EQ(full({}, kMost, kHere).item<std::int64_t>(), kMost);
  EXPECT_EQ(full({}, 3, of(DType::f32)).dtype(), DType::f32);
  // Greater than any i64, so not to be rounded into another dtype.
  expect_error<ValueError>("full: 18446744073709551616 does not fit i64", [] { full({2}, kMostUnsigned, kHere); });
  expect_error<DTypeError>("requires_grad: a tensor of i64 cannot have a gradient; floating dtypes can",
                           [] { full({2}, 1, {.requires_grad = true}); });
}

TEST(Creation, ARangeIsOfIntegersUnlessANumberIsFloating) {
  for (const Tensor& x : {arange(16777216, 16777219, 1, kHere), arange(16777216, 16777219)}) {
    EXPECT_EQ(x.dtype(), DType::i64);
    EXPECT_EQ(integers(x), (Integers{16777216, 16777217, 16777218}));
  }
  EXPECT_EQ(arange(false, true).dtype(), DType::i64);
  const std::vector<float> halves{0, 0.5, 1};
  EXPECT_EQ(arange(0.0, 1.5, 0.5, kHere).to_vector<float>(), halves);
  EXPECT_EQ(arange(0, 1.5, 0.5).to_vector<float>(), halves);
  EXPECT_EQ(arange(0.0f, 3).to_vector<float>(), (std::vector<float>{0, 1, 2}));
  EXPECT_EQ(arange(0, 3, 1.0).dtype(), DType::f32);
  EXPECT_EQ(arange(0, 3, 1, of(DType::f64)).dtype(), DType::f64);
}

TEST(Creation, WhatTakesNoNumberHasItsOwnDType) {
  for (const TensorOptions& options : {TensorOptions{}, kHere}) {
    for (const Tensor& x : {empty({2}, options), zeros({2}, options), ones({2}, options), eye(2, {}, options),
                            rand({2}, options), randn({2}, options)}) {
      EXPECT_EQ(x.dtype(), DType::f32);
    }
    EXPECT_EQ(randint(16777217, 16777218, {1}, options).item<std::int64_t>(), 16777217);
  }
  EXPECT_EQ(zeros_like(full({2}, 3)).dtype(), DType::i64);
  EXPECT_EQ(ones({2}, of(DType::f64)).dtype(), DType::f64);
  EXPECT_EQ(rand({2}, of(DType::f64)).dtype(), DType::f64);
}

TEST(FromBlob, SeesForeignMemoryUntilTheLastArray) {
  const Array owner = Array::from(std::span<const float>(std::vector<float>{1, 2, 3, 4, 5, 6}), {6}, kTestDevice);
  int deleted = 0;
  {
    Array view;
    {
      const Array array = Array::from_blob(owner.data(), Layout({2, 2}, {-3, 1}, 4), DType::f32, kTestDevice,
                                           [&](void* data) { deleted += data == owner.data() ? 1 : 100; });
      EXPECT_EQ(array.to_vector<float>(), (std::vector<float>{5, 6, 2, 3}));
      view = array.view(Layout({2}, {1}, 1));
    }
    EXPECT_EQ(deleted, 0);
    view.fill(9);
    EXPECT_EQ(owner.to_vector<float>(), (std::vector<float>{1, 9, 9, 4, 5, 6}));
    EXPECT_EQ((Tensor(view) * 2).to_vector<float>(), (std::vector<float>{18, 18}));
  }
  EXPECT_EQ(deleted, 1);
  EXPECT_EQ(Array::from_blob(nullptr, Layout::row_major({0, 3}), DType::f64, kTestDevice).size(), 0);
}

TEST(FromBlob, NamesWhatIsWrongAndLeavesTheMemory) {
  const Array owner = Array::empty({4}, DType::f32, kTestDevice);
  const auto blob = [&](void* data, const Layout& layout, DType dtype) {
    Array::from_blob(data, layout, dtype, kTestDevice, [](void*) { FAIL() << "the deleter was called"; });
  };
  expect_error<ValueError>("from_blob: the address is null",
                           [&] { blob(nullptr, Layout::row_major({2}), DType::f32); });
  expect_error<ValueError>("from_blob: the address is not a multiple of 4 bytes, the size of f32", [&] {
    blob(static_cast<std::byte*>(owner.data()) + 2, Layout::row_major({2}), DType::f32);
  });
  expect_error<IndexError>(
      "from_blob: shape (3,), strides (-1,), offset 1 reach outside the memory from the address on",
      [&] { blob(owner.data(), Layout({3}, {-1}, 1), DType::f32); });
  expect_error<ShapeError>("from_blob: shape (3,) and strides (1, 1) differ in length", [&] {
    blob(owner.data(), Layout({3}, {1, 1}), DType::f32);
  });
}

TEST(Span, IsOfRowMajorElements) {
  if (!kTestDevice.is_cpu()) GTEST_SKIP() << "elements of a GPU have no host address";
  Array x = Array::from(std::span<const float>(std::vector<float>{1, 2, 3, 4}), {2, 2});
  const std::uint64_t version = x.version();
  EXPECT_EQ(x.span<const float>()[3], 4);
  EXPECT_EQ(x.version(), version);
  x.span<float>()[3] = 7;
  EXPECT_EQ(x.version(), version + 1);
  EXPECT_EQ(x.to_vector<float>(), (std::vector<float>{1, 2, 3, 7}));
  const Array transposed = x.view(Layout({2, 2}, {1, 2}));
  expect_error<ShapeError>("span: shape (2, 2) with strides (1, 2) is not row-major; contiguous() is",
                           [&] { transposed.span<const float>(); });
  expect_error<DTypeError>("array: elements are f32, not f64", [&] { x.span<const double>(); });
}

TEST(Scalars, MustFitTheIntegerDTypeOfTheOtherOperand) {
  const Tensor x = full({2}, 44, of(DType::u8));
  expect_error<ValueError>("add: 300 does not fit u8", [&] { x + 300; });
  expect_error<ValueError>("subtract: 300 does not fit u8", [&] { 300 - x; });
  expect_error<ValueError>("maximum: 300 does not fit u8", [&] { maximum(x, 300); });
  expect_error<ValueError>("where: 300 does not fit u8", [&] { where(x == x, x, 300); });
  expect_error<ValueError>("multiply: -1 does not fit u8", [&] { x * -1; });
  EXPECT_EQ((x + 300.5).to_vector<float>(), (std::vector<float>{344.5, 344.5}));
  EXPECT_EQ(integers(x + 211), (Integers{255, 255}));
  EXPECT_EQ(integers(x.to(DType::boolean) + 300), (Integers{301, 301}));
}

TEST(Clamp, OfIntegersTakesBoundsBeyondTheDType) {
  const Tensor x = Tensor::from<std::uint8_t>({0, 100, 255}, {3}, of(DType::u8));
  const auto check = [&](std::optional<Scalar> low, std::optional<Scalar> high, const Integers& expected) {
    const Tensor y = clamp(x, low, high);
    EXPECT_EQ(y.dtype(), DType::u8);
    EXPECT_EQ(integers(y), expected);
    EXPECT_NE(y.array().data(), x.array().data());
  };
  check(-1, 300, {0, 100, 255});
  check(-1, {}, {0, 100, 255});
  check({}, kMost, {0, 100, 255});
  check(kLeast, 50, {0, 50, 50});
  check(50, 300, {50, 100, 255});
  check({}, {}, {0, 100, 255});
  expect_error<ValueError>("clamp: no u8 reaches low 300", [&] { clamp(x, 300, {}); });
  expect_error<ValueError>("clamp: no u8 is as small as high -1", [&] { clamp(x, {}, -1); });
  EXPECT_EQ(clamp(x, -0.5, 300.0).dtype(), DType::f32);
  EXPECT_EQ(integers(clamp(x.to(DType::i32), kLeast, 3'000'000'000)), (Integers{0, 100, 255}));
}

TEST(Array, DivisionByANumberIsOfRealNumbers) {
  const Tensor x = arange(1, 3, 1, {.dtype = DType::u8, .device = kTestDevice});
  EXPECT_EQ((x / -1).to_vector<float>(), (std::vector<float>{-1, -2}));
  EXPECT_EQ((x / 256).to_vector<float>(), (std::vector<float>{1 / 256.0f, 2 / 256.0f}));
  EXPECT_EQ((1000 / x).to_vector<float>(), (std::vector<float>{1000, 500}));
}

TEST(Array, CopiesWithinOneReadWhatWasThere) {
  const auto counted = [](const Shape& shape) {
    return Array::from(std::span<const double>(std::vector<double>{1, 2, 3, 4, 5, 6}), shape, kTestDevice);
  };
  Array line = counted({6});
  line.view({{5}, {1}, 1}).copy_from(line.view({{5}, {1}, 0}));
  EXPECT_EQ(line.to_vector<double>(), (std::vector<double>{1, 1, 2, 3, 4, 5}));
  Array square = counted({6}).view({{2, 2}, {2, 1}});
  square.copy_from(square.view({{2, 2}, {1, 2}}));
  EXPECT_EQ(square.to_vector<double>(), (std::vector<double>{1, 3, 2, 4}));
}

}  // namespace
}  // namespace weft
