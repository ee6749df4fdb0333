// Sizes, axes and amounts at the ends of their ranges.
#include "core/value/layout.h"

#include <limits>

#include "tests/device.h"
#include "tests/error_support.h"
#include "weft/error.h"

namespace weft {
namespace {

constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
constexpr auto kLeast = std::numeric_limits<std::int64_t>::min();
constexpr auto kHuge = std::int64_t{1} << 40;
constexpr TensorOptions kF64{.dtype = DType::f64, .device = kTestDevice};

using Numbers = std::vector<double>;

Tensor counted(std::int64_t size) { return arange(1, size + 1, 1, kF64); }

TEST(Pad, CropsNoMoreThanThereIs) {
  const Tensor x(counted(3).array(), true);
  const auto refuses = [&](std::int64_t before, std::int64_t after) {
    expect_error<ValueError>(
        "pad: amounts (" + std::to_string(before) + ", " + std::to_string(after) + ") do not fit axis 1 of (1, 3)",
        [&] {
          pad(x.unsqueeze(0), {{0, 0}, {before, after}});
        });
  };
  refuses(10, -5);
  refuses(3, -4);
  refuses(-4, 3);
  refuses(-2, -2);
  refuses(kLeast, kMost);
  refuses(kMost, kLeast);
  refuses(kLeast, kLeast);
  refuses(kMost, kMost);
  refuses(kMost - 2, 0);
  const auto check = [&](std::int64_t before, std::int64_t after, const Numbers& expected, const Numbers& slopes) {
    const Tensor y = pad(x, {{before, after}});
    EXPECT_EQ(y.to_vector<double>(), expected);
    EXPECT_EQ(grad({sum(y)}, {x})[0].to_vector<double>(), slopes);
  };
  check(2, -3, {0, 0}, {0, 0, 0});
  check(-3, 1, {0}, {0, 0, 0});
  check(-1, -2, {}, {0, 0, 0});
  check(-1, -1, {2}, {0, 1, 0});
  check(1, -1, {0, 1, 2}, {1, 1, 0});
}

TEST(Pad, RefusesANumberThatTheDTypeCannotHold) {
  const Tensor x = ones({2}, {.dtype = DType::u8, .device = kTestDevice});
  expect_error<ValueError>("pad: 300 does not fit u8", [&] { pad(x, {{1, 0}}, PadMode::constant, 300); });
  EXPECT_EQ(pad(x, {{0, -1}}, PadMode::constant, 300).shape(), Shape{1});  // of no use where nothing is added
}

TEST(Pad, RefusesSizesThatOverflow) {
  const Tensor x = transpose(ones({2, 3}, kF64), 0, 1);
  expect_error<ShapeError>("shape: (1099511627779, 1099511627778) has more than 2^63 - 1 elements", [&] {
    pad(x, {{kHuge, 0}, {kHuge, 0}});
  });
  expect_error<ShapeError>("shape: (9223372036854775800, 9223372036854775799) has more than 2^63 - 1 elements", [&] {
    pad(x, {{kMost - 10, 0}, {kMost - 10, 0}});
  });
  expect_error<ShapeError>("shape: (4611686018427387905, 2305843009213693953) has more than 2^63 - 1 elements",
                           [&] { dilate(x, Axes::all(), kMost / 4); });
}

TEST(Stack, NamesItself) {
  const std::vector<Tensor> xs{ones({2, 2}, kF64), ones({2, 2}, kF64)};
  expect_error<IndexError>("stack: axis 3 is out of range for 3 dimensions", [&] { stack(xs, 3); });
  expect_error<IndexError>("stack: axis -4 is out of range for 3 dimensions", [&] { stack(xs, -4); });
  EXPECT_EQ(stack(xs, 2).shape(), (Shape{2, 2, 2}));
  EXPECT_EQ(stack(xs, -3).shape(), (Shape{2, 2, 2}));
  expect_error<ValueError>("stack: an operand is undefined", [&] { stack({Tensor()}, 0); });
}

TEST(Axes, AreReportedAsGiven) {
  const Tensor x = ones({2, 2}, kF64);
  expect_error<IndexError>("sum: axis 1000 is out of range for 2 dimensions", [&] { sum(x, {1000}); });
  expect_error<IndexError>("flip: axis -1000 is out of range for 2 dimensions", [&] { flip(x, {-1000}); });
  expect_error<IndexError>("permute: axis 4294967297 is out of range for 2 dimensions", [&] {
    permute(x, {0, 4294967297});
  });
  expect_error<IndexError>("sum: axis -9223372036854775808 is out of range for 2 dimensions",
                           [&] { sum(x, {kLeast}); });
}

TEST(Axes, NoDimensionsCountAsOne) {
  const Tensor x = full({}, 2, kF64);
  for (const int axis : {0, -1}) {
    EXPECT_EQ(softmax(x, axis).item<double>(), 1);
    EXPECT_EQ(log_softmax(x, axis).item<double>(), 0);
    EXPECT_EQ(flatten(x, axis, axis).shape(), Shape{1});
  }
  expect_error<IndexError>("softmax: axis 57 is out of range for 1 dimensions", [&] { softmax(x, 57); });
  expect_error<IndexError>("log_softmax: axis -2 is out of range for 1 dimensions", [&] { log_softmax(x, -2); });
  expect_error<IndexError>("flatten: axis 5 is out of range for 1 dimensions", [&] { flatten(x, 5, 9); });
  expect_error<IndexError>("flatten: axis 9 is out of range for 1 dimensions", [&] { flatten(x, 0, 9); });
}

TEST(AsStrided, OfAnEmptyShapeIsRowMajor) {
  const Tensor x = counted(3);
  for (const std::int64_t offset : {kMost, kMost / 2, kLeast}) {
    const Tensor y = as_strided(x, {0, 5}, {1, kMost}, offset);
    EXPECT_EQ(y.array().strides(), (Strides{5, 1}));
    EXPECT_EQ(y.array().layout().offset, 0);
    EXPECT_EQ(flip(y, 1).shape(), (Shape{0, 5}));
    EXPECT_EQ(select(y, 1, 3).shape(), Shape{0});
    EXPECT_EQ((y + 1).shape(), (Shape{0, 5}));
  }
  const Tensor leaf(x.array(), true);
  EXPECT_EQ(grad({sum(as_strided(leaf, {0}, {kMost}, kMost))}, {leaf})[0].to_vector<double>(), (Numbers{0, 0, 0}));
}

TEST(Windows, OfNothingDoNotOverflow) {
  const WindowOptions far{.padding = {kHuge}};
  expect_error<ShapeError>("col2im: windows (1099511627776, 2199023255553, 0, 1) overflow", [&] {
    col2im(ones({1, 1}, kF64), {kHuge, 0, 1}, {1}, far);
  });
  expect_error<ShapeError>("im2col: windows (1099511627776, 2199023255553, 0, 1) overflow", [&] {
    im2col(empty({kHuge, 0, 1}, kF64), {1}, far);
  });
  EXPECT_EQ(im2col(ones({2, 0, 5}, kF64), {3}).shape(), (Shape{6, 0}));
}

TEST(Windows, OneOfThemTakesAnyStep) {
  const Tensor x = counted(6).reshape({1, 1, 2, 3});
  EXPECT_EQ(im2col(x, {1}, {.stride = {kMost, 1}}).to_vector<double>(), (Numbers{1, 2, 3}));
  EXPECT_EQ(im2col(x, {1}, {.dilation = {kMost}}).to_vector<double>(), (Numbers{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(col2im(ones({3, 1}, kF64), x.shape(), {1}, {.stride = {kMost, 1}}).to_vector<double>(),
            (Numbers{1, 1, 1, 0, 0, 0}));
}

}  // namespace
}  // namespace weft
