#include <weft/error.h>
#include <weft/nn/dataset.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>

// Everything here is integer arithmetic, and no call draws two of its arguments from Random, so that every machine and
// compiler draws the same bytes. Lengths and coordinates of figures are in sixteenths of a pixel.
namespace weft::nn {
namespace {

constexpr int kSide = 32, kPlane = kSide * kSide, kImageBytes = 3 * kPlane;
constexpr int kPixel = 16;

enum Shape : int { kDisc, kRing, kSquare, kFrame, kTriangle, kPlus, kCross, kRows, kColumns, kCheckers, kShapes };

using Color = std::array<int, 3>;  // red, green, blue, 0 to 255

/// SplitMix64 (Steele, Lea, Flood 2014).
class Random {
 public:
  explicit Random(std::uint64_t state) : state_(state) {}

  static std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

  std::uint64_t next() { return mix(state_ += 0x9E3779B97F4A7C15u); }

  /// Uniform in low..high, both included.
  int between(int low, int high) {
    return low + static_cast<int>((next() >> 32) * static_cast<std::uint64_t>(high - low + 1) >> 32);
  }

  Color color() { return {between(0, 255), between(0, 255), between(0, 255)}; }

 private:
  std::uint64_t state_;
};

struct Figure {
  Shape shape = kDisc;
  int x = 0, y = 0;             // centre
  int radius = 0, stroke = 0;   // stroke: width of a line or stripe, half that of an arm
  int phase = 0;                // shifts stripes
  int cosine = 1024, sine = 0;  // of its tilt, in 1/1024
  Color color{};

  /// Tilts by the angle whose half has the tangent t / 256.
  void tilt(int t) {
    const int length = 256 * 256 + t * t;
    cosine = 1024 * (256 * 256 - t * t) / length;
    sine = 1024 * 512 * t / length;
  }

  bool covers(int px, int py) const {
    const int dx = px - x, dy = py - y;
    const int u = (dx * cosine + dy * sine) >> 10, v = (dy * cosine - dx * sine) >> 10;
    const int far = std::max(std::abs(u), std::abs(v)), square = u * u + v * v;
    const int core = radius - stroke, side = radius * 7 / 8;
    const auto arms = [this](int a, int b) { return std::min(a, b) <= stroke && std::max(a, b) <= radius; };
    const auto stripe = [this](int w) { return (w + phase + 64 * stroke) / stroke % 2 == 0; };
    switch (shape) {
      case kDisc:
        return square <= radius * radius;
      case kRing:
        return square <= radius * radius && square >= core * core;
      case kSquare:
        return far <= side;
      case kFrame:
        return far <= side && far >= side - stroke;
      case kTriangle:
        return 2 * v <= radius && 7 * std::abs(u) <= 4 * (v + radius);  // 7/4 for the root of 3
      case kPlus:
        return arms(std::abs(u), std::abs(v));
      case kCross:
        return arms(std::abs(u + v) * 5 / 7, std::abs(u - v) * 5 / 7);  // 5/7 for the root of 1/2
      case kRows:
        return far <= side && stripe(v);
      case kColumns:
        return far <= side && stripe(u);
      case kCheckers:
        return far <= side && stripe(u) != stripe(v);
      case kShapes:
        break;
    }
    return false;
  }
};

class Canvas {
 public:
  explicit Canvas(std::uint8_t* image) : image_(image) {}

  /// A 5x5 lattice of colours around `base`, interpolated: gradients and soft blotches.
  void background(const Color& base, Random& random) {
    constexpr int kNodes = 5, kCell = 8;
    for (int c = 0; c < 3; ++c) {
      const int slope_x = random.between(-12, 12), slope_y = random.between(-12, 12);
      int node[kNodes][kNodes];
      for (int i = 0; i < kNodes; ++i) {
        for (int j = 0; j < kNodes; ++j) {
          node[i][j] = base[c] + slope_y * (i - 2) + slope_x * (j - 2) + random.between(-24, 24);
        }
      }
      for (int y = 0; y < kSide; ++y) {
        const int* above = node[y / kCell];
        const int* below = node[y / kCell + 1];
        const int down = y % kCell;
        for (int x = 0; x < kSide; ++x) {
          const int j = x / kCell, right = x % kCell;
          const int left_side = above[j] * (kCell - down) + below[j] * down;
          const int right_side = above[j + 1] * (kCell - down) + below[j + 1] * down;
          set(c, y, x, (left_side * (kCell - right) + right_side * right) / (kCell * kCell));
        }
      }
    }
  }

  /// Antialiased by four samples a pixel.
  void draw(const Figure& figure) {
    const int reach = figure.radius * 3 / 2;  // a tilted square's corner
    const auto pixel = [](int length) { return std::clamp(length / kPixel, 0, kSide - 1); };
    for (int y = pixel(figure.y - reach); y <= pixel(figure.y + reach); ++y) {
      for (int x = pixel(figure.x - reach); x <= pixel(figure.x + reach); ++x) {
        int covered = 0;
        for (const int dy : {kPixel / 4, 3 * kPixel / 4}) {
          for (const int dx : {kPixel / 4, 3 * kPixel / 4}) {
            covered += figure.covers(x * kPixel + dx, y * kPixel + dy);
          }
        }
        if (covered == 0) continue;
        for (int c = 0; c < 3; ++c) set(c, y, x, (at(c, y, x) * (4 - covered) + figure.color[c] * covered) / 4);
      }
    }
  }

  /// Adds to every value the difference of two uniform ones up to 2^bits - 1.
  void noise(int bits, Random& random) {
    const int mask = (1 << bits) - 1;
    for (int i = 0; i < kPlane; ++i) {
      std::uint64_t r = random.next();
      for (int c = 0; c < 3; ++c, r >>= 16) {
        const int difference = static_cast<int>(r & mask) - static_cast<int>(r >> 8 & mask);
        std::uint8_t& value = image_[c * kPlane + i];
        value = static_cast<std::uint8_t>(std::clamp(value + difference, 0, 255));
      }
    }
  }

 private:
  int at(int c, int y, int x) const { return image_[c * kPlane + y * kSide + x]; }
  void set(int c, int y, int x, int value) {
    image_[c * kPlane + y * kSide + x] = static_cast<std::uint8_t>(std::clamp(value, 0, 255));
  }

  std::uint8_t* image_;
};

Figure figure_of(Shape shape, int radius, Random& random) {
  Figure figure{.shape = shape, .radius = radius};
  const int margin = radius - kPixel;
  figure.x = random.between(margin, kSide * kPixel - margin);
  figure.y = random.between(margin, kSide * kPixel - margin);
  figure.stroke = shape >= kRows ? random.between(radius * 2 / 5, radius / 2) : random.between(radius / 5, radius / 3);
  figure.phase = random.between(0, 2 * figure.stroke);
  figure.tilt(shape == kTriangle ? random.between(-256, 256) : random.between(-24, 24));
  return figure;
}

/// A colour that stands out from `other`, lighter in most cases (or a linear classifier would learn nothing).
Color contrast(const Color& other, int least, Random& random) {
  for (;;) {
    const Color color = random.color();
    int difference = 0;
    for (int c = 0; c < 3; ++c) difference += color[c] - other[c];
    if (difference >= least || (difference <= -least && random.between(1, 8) == 1)) return color;
  }
}

void distract(Canvas& canvas, int count, Random& random) {
  for (int i = 0; i < count; ++i) {
    const auto shape = static_cast<Shape>(random.between(0, kShapes - 1));
    Figure figure = figure_of(shape, random.between(3 * kPixel / 2, 3 * kPixel), random);
    figure.color = random.color();
    canvas.draw(figure);
  }
}

Shape draw_image(std::uint8_t* image, Random random) {
  Canvas canvas(image);
  const auto shape = static_cast<Shape>(random.between(0, kShapes - 1));
  const Color base{random.between(0, 160), random.between(0, 160), random.between(0, 160)};
  canvas.background(base, random);
  distract(canvas, random.between(1, 3), random);
  Figure figure = figure_of(shape, random.between(8 * kPixel, 13 * kPixel), random);
  figure.color = contrast(base, 150, random);
  canvas.draw(figure);
  distract(canvas, random.between(0, 2), random);
  canvas.noise(5, random);
  return shape;
}

}  // namespace

ImageDataset builtin_images(Split split, std::int64_t count, std::uint64_t seed) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() / kImageBytes;
  if (count < 0 || count > kMost) {
    throw ValueError("builtin_images: count must be from 0 to " + std::to_string(kMost) + ", but is " +
                     std::to_string(count));
  }
  if (count == 0) count = split == Split::train ? 50'000 : 10'000;
  ImageDataset data{
      .name = "built-in shapes",
      .classes = {"disc", "ring", "square", "frame", "triangle", "plus", "cross", "rows", "columns", "checkers"},
      .images = {},
      .labels = {},
      .mean = {0.3847f, 0.3854f, 0.3845f},  // measured on the 50,000 training images of seed 0
      .stddev = {0.2428f, 0.2425f, 0.2435f}};
  try {
    data.images.resize(static_cast<std::size_t>(count) * kImageBytes);
    data.labels.resize(static_cast<std::size_t>(count));
  } catch (const std::exception&) {  // bad_alloc, or length_error
    throw OutOfMemoryError("builtin_images: cannot allocate " + std::to_string(count * kImageBytes) + " bytes");
  }
  const std::uint64_t set = Random::mix(2 * Random::mix(seed) + (split == Split::test));
  for (std::size_t i = 0; i < data.labels.size(); ++i) {
    data.labels[i] =
        static_cast<std::uint8_t>(draw_image(data.images.data() + i * kImageBytes, Random(Random::mix(set + i))));
  }
  return data;
}

}  // namespace weft::nn
