#include "cpu/conv/winograd.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/value/views.h"
#include "cpu/conv/winograd_fit.h"
#include "cpu/runtime/backend.h"
#include "tests/winograd_reference.h"

namespace weft {
namespace {

constexpr ConvPass kPasses[] = {ConvPass::forward, ConvPass::input_grad, ConvPass::weight_grad};

/// The result of a pass, computed over NaNs between guards.
template <class T>
std::vector<T> computed(ConvPass pass, int tile, const ConvShape& s, const Operands<T>& in, bool bias) {
  Guarded<T> out(result_size(pass, s), std::numeric_limits<T>::quiet_NaN());
  cpu::winograd(pass, tile, s, in.a(pass).data(), in.b(pass).data(), bias ? in.bias.data() : nullptr, out.data());
  return out.values();
}

template <class T>
void check(const ConvShape& s) {
  const Operands<T> in = winograd_operands<T>(s);
  for (const ConvPass pass : kPasses) {
    for (const bool bias : {false, true}) {
      if (bias && pass != ConvPass::forward) continue;
      const std::vector<double> expected = conv_expected(pass, s, in, bias);
      for (const int tile : {2, 4}) {
        const std::vector<T> found = computed(pass, tile, s, in, bias);
        EXPECT_LE(winograd_error(found.data(), expected).norm, sizeof(T) == 8 ? 1e-12 : 1e-5)
            << describe(s) << (sizeof(T) == 8 ? " f64" : " f32") << " pass " << static_cast<int>(pass) << " tile "
            << tile << (bias ? " with bias" : "");
      }
    }
  }
}

TEST(Winograd, AgreesWithPlainLoops) {
  for (const ConvShape& shape : winograd_shapes()) {
    check<float>(shape);
    check<double>(shape);
  }
}

// More than one block of tiles, chunk of a weight gradient and block of columns.
TEST(Winograd, AgreesWithPlainLoopsBeyondABlock) {
  check<float>(winograd_shape(30, 24, 40, {18, 22}, {1, 1}));
  check<double>(winograd_shape(30, 24, 40, {18, 22}, {1, 1}));
  check<float>(winograd_shape(3, 260, 300, {8, 8}, {1, 1}));
}

TEST(Winograd, BitsAreTheSameOnAnyThreads) {
  for (const ConvShape& s : {winograd_shape(9, 17, 33, {15, 14}, {1, 2}), winograd_shape(3, 130, 100, {6, 6}, {1, 1}),
                             winograd_shape(40, 16, 24, {16, 16}, {1, 1})}) {
    const Operands<float> in = winograd_operands<float>(s);
    for (const ConvPass pass : kPasses) {
      for (const int tile : {2, 4}) {
        expect_equal_on_any_threads([&] { return computed(pass, tile, s, in, pass == ConvPass::forward); });
      }
    }
  }
}

// cpu/conv/winograd.h has what was measured, a third to a half of this.
TEST(Winograd, ErrorsOfLargeTilesStaySmall) {
  for (const std::int64_t depth : {3, 64, 512}) {
    for (const ConvPass pass : kPasses) {
      const bool backward = pass == ConvPass::input_grad;
      const ConvShape s = winograd_shape(2, backward ? 32 : depth, backward ? depth : 32, {8, 8}, {1, 1});
      const Operands<float> in = winograd_operands<float>(s);
      const std::vector<double> expected = conv_expected(pass, s, in, false);
      for (const int tile : {2, 4}) {
        const std::vector<float> found = computed(pass, tile, s, in, false);
        const WinogradError error = winograd_error(found.data(), expected);
        EXPECT_LE(error.norm, tile == 2 ? 2e-6 : 1e-5);
        EXPECT_LE(error.largest, tile == 2 ? 2e-6 : 3e-5);
      }
    }
  }
}

/// A convolution of Backend::conv by Winograd's algorithm within the promise of ConvAlgo::automatic.
ConvShape bounded(ConvShape s) {
  s.algo = ConvAlgo::winograd;
  s.timed = true;
  return s;
}

template <class T>
std::vector<T> backend_result(ConvPass pass, const ConvShape& s, const Operands<T>& in) {
  Guarded<T> out(result_size(pass, s), std::numeric_limits<T>::quiet_NaN());
  cpu::backend().conv(
      {.pass = pass, .shape = s, .a = const_view(in.a(pass)), .b = const_view(in.b(pass)), .out = out.view()});
  return out.values();
}

/// Checks every element against double sums: NaN and infinity where those have them, else within the promise.
template <class T>
void expect_promise(ConvPass pass, const ConvShape& s, const Operands<T>& in, const std::string& what) {
  const std::vector<T> found = backend_result(pass, s, in);
  const std::vector<double> expected = conv_expected(pass, s, in, false), allowed = winograd_allowance(pass, s, in);
  const double tolerance = sizeof(T) == 8 ? 5e-6 * 0x1p-29 : 5e-6, least = sizeof(T) == 8 ? 1e-320 : 1e-43;
  std::size_t wrong = 0, worst = 0;
  double most = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const auto value = static_cast<double>(found[i]);
    double error = std::abs(value - expected[i]) / (tolerance * allowed[i] + least);
    if (std::isnan(expected[i])) error = std::isnan(value) ? 0 : 1e9;
    if (std::isinf(expected[i])) error = value == expected[i] ? 0 : 1e9;
    if (std::isnan(error)) error = 1e9;
    if (error > 1) ++wrong;
    if (error > most) worst = i;
    most = std::max(most, error);
  }
  if (wrong == 0) return;
  ADD_FAILURE() << what << ", " << describe(s) << (sizeof(T) == 8 ? " f64" : " f32") << " pass "
                << static_cast<int>(pass) << ": " << wrong << " of " << expected.size() << " break the promise, up to "
                << most << " times; element " << worst << " is " << found[worst] << ", expected " << expected[worst];
}

template <class T>
void expect_promises(const ConvShape& s, const Operands<T>& in, const std::string& what) {
  for (const ConvPass pass : kPasses) expect_promise(pass, s, in, what);
}

/// The operand whose pixels Winograd's algorithm transforms for a product.
template <class T>
std::vector<T>& map_of(ConvPass pass, Operands<T>& in) {
  return pass == ConvPass::input_grad ? in.y_grad : in.x;
}

// Ragged maps, every padding up to 2, and maps that take tiles of 2.
std::vector<ConvShape> promise_shapes() {
  std::vector<ConvShape> all;
  for (const std::int64_t padding : {0, 1, 2}) {
    for (const Pair in : {Pair{8, 8}, {5, 10}, {7, 6}, {9, 13}, {3, 4}}) {
      all.push_back(bounded(winograd_shape(2, 3, 5, in, {padding, padding})));
    }
  }
  all.push_back(bounded(winograd_shape(1, 20, 35, {11, 9}, {0, 2})));
  all.push_back(bounded(winograd_shape(2, 4, 3, {2, 7}, {1, 1})));
  all.push_back(bounded(winograd_shape(2, 4, 3, {4, 3}, {3, 4})));
  return all;
}

TEST(WinogradPromise, OneLargePixelReachesOnlyWhatSeesIt) {
  for (const ConvShape& s : promise_shapes()) {
    for (const double size : {1e3, 1e5, 1e7, 1e9}) {
      for (const double place : {0.0, 0.4, 0.99}) {
        const auto change = [&](auto in) {
          for (auto* map : {&in.x, &in.y_grad}) (*map)[static_cast<std::size_t>(map->size() * place)] *= size;
          return in;
        };
        const std::string what = "one pixel of " + std::to_string(size);
        expect_promises(s, change(winograd_operands<float>(s)), what);
        if (size == 1e9) expect_promises(s, change(winograd_operands<double>(s)), what);
      }
    }
  }
}

TEST(WinogradPromise, AutomaticKeepsIt) {
  ConvShape s = winograd_shape(2, 32, 32, {16, 16}, {1, 1});
  ASSERT_EQ(cpu::backend().conv_algo(ConvPass::weight_grad, s, DType::f32), ConvAlgo::winograd);
  Operands<float> in = winograd_operands<float>(s);
  in.x[40] = in.y_grad[5000] = 1e7f;
  expect_promises(s, in, "automatic");
  s = winograd_shape(1, 16, 16, {16, 16}, {1, 1});
  in = winograd_operands<float>(s);
  in.x.assign(in.x.size(), 0.1f);
  in.weight.assign(in.weight.size(), 1);
  in.x[0] = 1e6f;
  EXPECT_NEAR(backend_result(ConvPass::forward, s, in)[(3 * 16 + 3) * 16], 14.4, 1e-5);
}

TEST(WinogradPromise, NonfinitePixelsInEveryPlaceOfATile) {
  const ConvShape s = bounded(winograd_shape(1, 2, 3, {11, 12}, {1, 1}));
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float value : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    for (std::size_t y = 3; y < 9; ++y) {
      for (std::size_t x = 3; x < 9; ++x) {
        const std::string what = std::to_string(value) + " at " + std::to_string(y) + ", " + std::to_string(x);
        Operands<float> in = winograd_operands<float>(s);
        for (const ConvPass pass : {ConvPass::forward, ConvPass::input_grad}) {
          map_of(pass, in)[(y * 12 + x) * (pass == ConvPass::forward ? 2 : 3) + 1] = value;
          expect_promise(pass, s, in, what);
        }
        expect_promise(ConvPass::weight_grad, s, in, what + " of both");
        in.x = winograd_operands<float>(s).x;
        expect_promise(ConvPass::weight_grad, s, in, what + " of the gradient");
      }
    }
  }
}

TEST(WinogradPromise, NonfinitePixelsAtTheEdges) {
  for (const std::int64_t padding : {0, 1, 2, 3}) {
    const ConvShape s = bounded(winograd_shape(1, 2, 2, {6, 7}, {padding, padding}));
    const Operands<float> regular = winograd_operands<float>(s);
    for (const bool of_x : {true, false}) {
      for (std::size_t i = 0; i < (of_x ? regular.x : regular.y_grad).size(); ++i) {
        Operands<float> in = regular;
        (of_x ? in.x : in.y_grad)[i] = std::numeric_limits<float>::infinity();
        expect_promises(s, in, "infinity at " + std::to_string(i));
      }
    }
  }
}

TEST(WinogradPromise, LargeNumbersDoNotOverflow) {
  for (const ConvShape& s : promise_shapes()) {
    for (const auto& [pixel, tap] : {std::pair{1e37f, 1e-3f}, {1e-3f, 1e36f}, {1e31f, 1.0f}, {1e29f, 1e-36f}}) {
      const auto scale = [](std::vector<float> values, float factor) {
        for (float& value : values) value *= factor;
        return values;
      };
      Operands<float> in = winograd_operands<float>(s);
      in = {scale(in.x, pixel), scale(in.weight, tap), in.bias, scale(in.y_grad, pixel)};
      const std::string what = "pixels of " + std::to_string(pixel) + ", taps of " + std::to_string(tap);
      expect_promise(ConvPass::forward, s, in, what);
      expect_promise(ConvPass::input_grad, s, in, what);
      in.y_grad = scale(winograd_operands<float>(s).y_grad, tap);
      expect_promise(ConvPass::weight_grad, s, in, what);
    }
  }
}

// The whole goes by im2col, in which padding may be left out or multiplied as zeros.
TEST(WinogradPromise, FiltersMayHoldAnything) {
  const ConvShape s = bounded(winograd_shape(2, 5, 4, {9, 6}, {1, 2}));
  ConvShape other = s;
  other.algo = ConvAlgo::im2col;
  for (const float value : {1e31f, std::numeric_limits<float>::infinity(), std::nanf("")}) {
    for (std::size_t place = 0; place < 9; ++place) {
      Operands<float> in = winograd_operands<float>(s);
      in.weight[place * 5 + 45 * (place % 4) + place % 5] = value;
      for (const ConvPass pass : {ConvPass::forward, ConvPass::input_grad}) {
        if (std::isfinite(value)) expect_promise(pass, s, in, "a large tap");
        const std::vector<float> found = backend_result(pass, s, in), expected = backend_result(pass, other, in);
        EXPECT_EQ(std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)), 0) << value;
      }
    }
  }
}

// Sums of equal terms, whose rounding errors do not cancel, are as good as those of other algorithms: 5e-6 of the sum
// of magnitudes.
TEST(WinogradPromise, ConstantsSumUp) {
  for (const auto& [n, channels] : {std::pair<std::int64_t, std::int64_t>{1, 16}, {1, 64}, {1, 520}, {260, 32}}) {
    const ConvShape s = bounded(winograd_shape(n, channels, n > 1 ? 32 : 3, {32, 32}, {1, 1}));
    for (const float value : {0.1f, 1.0f / 3, 0.7f, 1.01f}) {
      Operands<float> in;
      in.x.assign(static_cast<std::size_t>(x_size(s)), value);
      in.y_grad.assign(static_cast<std::size_t>(y_size(s)), value);
      in.weight.assign(static_cast<std::size_t>(weight_size(s)), 1);
      const double term = static_cast<double>(value);
      if (n == 1) {
        const float found = backend_result(ConvPass::forward, s, in)[static_cast<std::size_t>((5 * 32 + 6) * s.k)];
        EXPECT_NEAR(found / (9 * term * static_cast<double>(channels)), 1, 5e-6) << channels << " x " << value;
      } else {
        const float found = backend_result(ConvPass::weight_grad, s, in)[static_cast<std::size_t>(4 * channels)];
        EXPECT_NEAR(found / (term * term * static_cast<double>(n * 32 * 32)), 1, 5e-6) << n << " x " << value;
      }
    }
  }
}

TEST(WinogradPromise, ZeroBackground) {
  for (const ConvShape& s : promise_shapes()) {
    for (const std::size_t every : {2, 7, 50}) {
      Operands<float> in = winograd_operands<float>(s);
      for (auto* map : {&in.x, &in.y_grad}) {
        for (std::size_t i = 0; i < map->size(); ++i) (*map)[i] = i / 20 % every == 0 ? (*map)[i] * 1e4f : 0;
      }
      expect_promises(s, in, "zeros around one of " + std::to_string(every));
      in.x.assign(in.x.size(), 0);
      in.y_grad.assign(in.y_grad.size(), 0);
      expect_promises(s, in, "zeros");
    }
  }
}

// From one tile in many to all: single tiles, blocks of tiles, and the whole by im2col.
TEST(WinogradPromise, AnyShareOfTilesMayFallBack) {
  const ConvShape s = bounded(winograd_shape(24, 20, 24, {12, 9}, {1, 1}));
  for (const std::size_t images : {1, 5, 13, 17, 24}) {
    Operands<float> in = winograd_operands<float>(s);
    for (std::size_t image = 0; image < images; ++image) {
      for (std::size_t tile = 0; tile < 9; ++tile) {
        const std::size_t pixel = (image * 12 + tile / 3 * 4) * 9 + tile % 3 * 4;
        in.x[pixel * 20 + 3] = tile % 2 == 0 ? 1e8f : 2e30f;
        in.y_grad[pixel * 24 + 5] = 1e5f;
      }
    }
    expect_promises(s, in, std::to_string(images) + " images");
    for (const ConvPass pass : kPasses) {
      expect_equal_on_any_threads([&] { return backend_result(pass, s, in); });
    }
  }
}

// Columns in several groups, whose tiles are transformed before any is multiplied.
TEST(WinogradPromise, SharedBlocksFallBack) {
  const ConvShape s = bounded(winograd_shape(3, 70, 200, {8, 8}, {1, 1}));
  Operands<float> in = winograd_operands<float>(s);
  in.x[70 * 64 + 9] = in.y_grad[200 * 70 + 3] = 1e8f;
  expect_promises(s, in, "one image of three");
  for (const ConvPass pass : kPasses) {
    expect_equal_on_any_threads([&] { return backend_result(pass, s, in); });
  }
}

TEST(WinogradPromise, BiasIsAddedToEveryTile) {
  const ConvShape s = bounded(winograd_shape(2, 3, 5, {9, 7}, {1, 1}));
  Operands<float> in = winograd_operands<float>(s);
  in.x[0] = 1e6f;
  const std::vector<float> bare = backend_result(ConvPass::forward, s, in);
  Guarded<float> out(y_size(s));
  cpu::backend().conv(
      {.shape = s, .a = const_view(in.x), .b = const_view(in.weight), .bias = const_view(in.bias), .out = out.view()});
  for (std::size_t i = 0; i < bare.size(); ++i) {
    EXPECT_NEAR(out.values()[i], bare[i] + in.bias[i % 5], 1e-5 + 1e-6 * std::abs(bare[i])) << i;
  }
}

// Ragged tiles too: the same bits as without the promise.
TEST(WinogradPromise, RegularTilesDoNotFallBack) {
  for (const std::int64_t padding : {0, 1, 2}) {
    for (const Pair size : {Pair{5, 7}, {6, 9}, {10, 8}, {3, 3}}) {
      const ConvShape s = winograd_shape(2, 16, 17, size, {padding, padding});
      const Operands<float> in = winograd_operands<float>(s);
      for (const ConvPass pass : kPasses) {
        ConvShape bare = s;
        bare.algo = ConvAlgo::winograd;
        EXPECT_EQ(backend_result(pass, bounded(s), in), backend_result(pass, bare, in))
            << describe(s) << " pass " << static_cast<int>(pass);
      }
    }
  }
}

/// Whether the tile fits, by plain loops over the pixels that its outputs see.
template <class T>
bool expected_to_fit(const cpu::tiles::Grid& grid, const cpu::tiles::Tile& tile, const std::vector<T>& map,
                     std::int64_t channels, double limit) {
  const std::int64_t side = grid.tile + 2;
  const auto largest = [&](std::int64_t y, std::int64_t x, std::int64_t size) {
    double most = 0;
    for (std::int64_t i = 0; i < size * size; ++i) {
      const std::int64_t row = tile.first[0] - grid.padding[0] + y + i / size;
      const std::int64_t col = tile.first[1] - grid.padding[1] + x + i % size;
      if (row < 0 || row >= grid.in[0] || col < 0 || col >= grid.in[1]) continue;
      for (std::int64_t c = 0; c < channels; ++c) {
        const std::int64_t at = ((tile.image * grid.in[0] + row) * grid.in[1] + col) * channels + c;
        const double value = std::abs(static_cast<double>(map[static_cast<std::size_t>(at)]));
        if (!(value <= most)) most = value;
        if (std::isnan(value)) return value;
      }
    }
    return most;
  };
  const double all = largest(0, 0, side);
  if (!(all <= limit)) return false;
  for (std::int64_t i = 0; i < tile.size[0] * tile.size[1]; ++i) {
    if (all > 64 * largest(i / tile.size[1], i % tile.size[1], 3)) return false;
  }
  return true;
}

/// Judges all tiles of a map of which pixels are 2^k times normal numbers, some of them not finite or too large.
/// Returns how many do not fit.
template <class T>
std::int64_t check_judgements(const cpu::tiles::Grid& grid, std::int64_t channels, int shift, double limit) {
  std::mt19937 random(static_cast<unsigned>(shift) + 1);
  std::vector<T> map = normals<T>(grid.n * grid.in[0] * grid.in[1] * channels, 7);
  for (std::size_t i = 0; i < map.size(); ++i) {
    if (i % static_cast<std::size_t>(channels) != 0) map[i] /= 16;
    if (random() % 5 == 0) map[i] = static_cast<T>(std::ldexp(static_cast<double>(map[i]), -shift));
    if (random() % 50 == 0) map[i] *= static_cast<T>(std::ldexp(1, shift));
    if (shift == 5 && random() % 3000 == 0) map[i] = std::numeric_limits<T>::quiet_NaN();
    if (shift == 5 && random() % 3000 == 0) map[i] = -std::numeric_limits<T>::infinity();
    if (shift == 5 && random() % 3000 == 0) map[i] = static_cast<T>(1e31);
  }
  cpu::tiles::Judge<T> judge(grid, map.data(), channels, static_cast<T>(limit));
  std::vector<std::uint8_t> unfit(static_cast<std::size_t>(grid.count()), 2);
  std::int64_t found = 0;
  for (std::int64_t begin = 0; begin < grid.count();) {
    const std::int64_t end = begin + cpu::tiles::strip_tiles(grid, begin, grid.count());
    judge.judge(begin, end, unfit.data() + begin);
    for (; begin < end; ++begin) {
      const bool fits = expected_to_fit(grid, cpu::tiles::tile_of(grid, begin), map, channels, limit);
      found += fits ? 0 : 1;
      EXPECT_EQ(unfit[static_cast<std::size_t>(begin)], fits ? 0 : 1) << "tile " << begin << " of " << grid.count();
    }
  }
  EXPECT_EQ(judge.found(), found);
  return found;
}

// Rows of tiles longer than a strip, several images in one, pixels that no tile reads, and windows of padding alone.
TEST(WinogradPromise, JudgesEachTileByWhatItsOutputsSee) {
  std::int64_t found = 0, all = 0;
  for (const auto& [shape, channels] : {std::pair{winograd_shape(2, 1, 1, {9, 150}, {1, 1}), 3},
                                        {winograd_shape(21, 1, 1, {4, 4}, {1, 1}), 32},
                                        {winograd_shape(3, 1, 1, {16, 16}, {1, 1}), 19},
                                        {winograd_shape(2, 1, 1, {21, 54}, {0, 2}), 5},
                                        {winograd_shape(2, 1, 1, {6, 13}, {4, 3}), 8},
                                        {winograd_shape(5, 1, 1, {7, 3}, {1, 0}), 16}}) {
    for (const int tile : {2, 4}) {
      for (const cpu::tiles::Grid& grid :
           {cpu::tiles::forward_grid(tile, shape), cpu::tiles::input_grad_grid(tile, shape)}) {
        for (const int shift : {0, 3, 5, 8}) {
          for (const double limit : {0x1p100, 100.0}) {
            found += check_judgements<float>(grid, channels, shift, limit);
            found += check_judgements<double>(grid, channels, shift, limit);
            all += 2 * grid.count();
          }
        }
      }
    }
  }
  EXPECT_GT(20 * found, all);
  EXPECT_LT(10 * found, 9 * all);
}

}  // namespace
}  // namespace weft
