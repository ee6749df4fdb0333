#include "tests/fuzz/op_case.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace weft::fuzz {

namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kExtremes[] = {kMost,
                                      kMost - 1,
                                      kMost / 2,
                                      kMost / 2 + 1,
                                      std::int64_t{1} << 61,
                                      std::int64_t{1} << 60,
                                      std::int64_t{1} << 40,
                                      std::int64_t{1} << 33,
                                      std::int64_t{1} << 32,
                                      (std::int64_t{1} << 32) - 1,
                                      std::int64_t{1} << 31,
                                      (std::int64_t{1} << 31) - 1,
                                      (std::int64_t{1} << 30) + 1,
                                      kLeast,
                                      kLeast + 1,
                                      -(std::int64_t{1} << 32)};
constexpr std::int64_t kMostBytes = 1 << 16;  // of the memory below an input's tensor, about

template <class T>
void fill(T* data, std::int64_t count, std::uint32_t seed, bool special) {
  using Limits = std::numeric_limits<T>;
  std::uint32_t state = seed * 2654435761u + 1;
  for (std::int64_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    const int step = static_cast<int>(state >> 16) % 17 - 8;
    if constexpr (std::is_floating_point_v<T>) {
      data[i] = static_cast<T>(step) / 4;
      const T specials[] = {Limits::infinity(),
                            -Limits::infinity(),
                            Limits::quiet_NaN(),
                            Limits::max(),
                            Limits::denorm_min(),
                            T(-0.0),
                            T(1e30),
                            T(65504)};
      if (special && (state >> 8) % 5 == 0) data[i] = specials[(state >> 24) % 8];
    } else {
      data[i] = static_cast<T>((state >> 16) % 4);
      const T specials[] = {Limits::max(), Limits::min(), T(-1), T(-100)};
      if (special && (state >> 8) % 5 == 0) data[i] = specials[(state >> 24) % 4];
    }
  }
}

Array numbers(std::int64_t count, DType dtype, std::uint32_t seed, bool special) {
  if (dtype == DType::f64 || dtype == DType::i64) {
    Array array = Array::empty({count}, dtype);
    if (dtype == DType::f64) {
      fill(array.data_as<double>(), count, seed, special);
    } else {
      fill(array.data_as<std::int64_t>(), count, seed, special);
    }
    return array;
  }
  Array array = Array::empty({count}, is_floating_point(dtype) ? DType::f32 : DType::i32);
  if (is_floating_point(dtype)) {
    fill(array.data_as<float>(), count, seed, special);
  } else {
    fill(array.data_as<std::int32_t>(), count, seed, special);
  }
  return array.to(dtype);
}

double unit(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 1e-9;
    case DType::f16:
      return 1e-2;
    case DType::bf16:
      return 5e-2;
    default:
      return 1e-4;
  }
}

}  // namespace

std::int64_t OpInput::option(std::int64_t low, int count) {
  const std::uint8_t b = byte();
  if (b < 246) return low + b % count;
  if (b < 250) return low - 1 - b % 3;
  return kExtremes[static_cast<std::size_t>(below(static_cast<int>(std::size(kExtremes))))];
}

Axes OpInput::axes(int rank) {
  if (!rarely(3)) return Axes::all();
  Dims list;
  for (int count = below(3); count > 0; --count) {
    const bool from_front = flag();
    const int a = axis(rank);
    list.push_back(from_front || a < 0 ? a : a - rank);
  }
  return list;
}

DType OpInput::dtype() {
  static const DType all[] = {DType::f32, DType::f64, DType::f16, DType::bf16,
                              DType::i64, DType::i32, DType::u8,  DType::boolean};
  return all[rarely(2) ? below(8) : 0];
}

DType OpInput::floating_dtype() {
  static const DType all[] = {DType::f32, DType::f64, DType::f16, DType::bf16};
  return rarely(16) ? dtype() : all[rarely(2) ? below(4) : 0];
}

Shape OpInput::shape(int most_axes) {
  Shape shape;
  for (int rank = below(most_axes + 1); rank > 0; --rank) shape.push_back(size());
  return shape;
}

double OpInput::number() {
  static const double numbers[] = {1,    0,    -1,    0.5,      2,         3,   -0.25, 20,
                                   1e-5, 1e30, 1e300, HUGE_VAL, -HUGE_VAL, NAN, 4e18,  -1e19};
  return numbers[rarely(4) ? below(16) : below(8)];
}

Shape OpInput::broadcast(const Shape& other) {
  Shape shape = other;
  while (shape.rank() > 0 && rarely(4)) shape.erase(0);
  for (std::int64_t& size : shape) {
    if (rarely(4)) size = 1;
  }
  if (rarely(64)) shape.push_back(2);
  return shape;
}

Shape OpInput::huge(Shape shape) {
  if (shape.rank() == 0 || !rarely(24)) return shape;
  shape[below(shape.rank())] = kExtremes[static_cast<std::size_t>(below(13))];
  return shape;
}

Tensor OpInput::tensor(const Shape& shape, DType dtype) {
  const int rank = shape.rank();
  const int order = below(4), seed = byte();
  Dims axes;  // from the innermost to the outermost
  for (int i = 0; i < rank; ++i) axes.push_back(rank - 1 - i);
  if (rank > 1 && order == 1) std::swap(axes[0], axes[rank - 1]);
  if (order == 2) std::reverse(axes.begin(), axes.end());
  if (rank > 2 && order == 3) {  // channels last
    axes.erase(rank - 2);
    axes.insert(0, 1);
  }
  const bool strided = rarely(2);
  Layout layout(shape, Strides::filled(rank, 0), strided ? below(3) : 0);
  std::int64_t extent = 1;
  for (const std::int64_t a : axes) {
    const int i = static_cast<int>(a);
    const int kind = strided ? below(16) : 0;
    const std::int64_t step = kind >= 12 ? kind - 11 : 1;
    const bool repeated = kind == 11 || shape[i] > 1000 || extent * shape[i] * step > kMostBytes;
    if (repeated || shape[i] < 2) continue;
    layout.strides[i] = extent * step;
    if (kind == 10 || kind == 9) {
      layout.offset += (shape[i] - 1) * layout.strides[i];
      layout.strides[i] = -layout.strides[i];
    }
    extent *= shape[i] * step;
  }
  for (int i = 0; i < rank; ++i) {  // strides that no address depends on
    if (shape[i] == 1) layout.strides[i] = 1;
  }
  const Array memory = numbers(extent + layout.offset + 1, dtype, static_cast<std::uint32_t>(seed), special);
  return Tensor(memory.view(layout), is_floating_point(dtype) && !rarely(4));
}

bool agree(const Array& a, const Array& b, Match match, double tolerance) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  if (match == Match::none || a.size() > (1 << 20)) return true;
  const Array x = a.contiguous(), y = b.contiguous();
  const auto bytes = static_cast<std::size_t>(x.size()) * size_of(x.dtype());
  if (bytes == 0 || std::memcmp(x.data(), y.data(), bytes) == 0) return true;
  if (match == Match::bits) return false;
  const auto p = x.to(DType::f64).to_vector<double>(), q = y.to(DType::f64).to_vector<double>();
  double scale = 0;
  for (const double value : p) scale = std::isfinite(value) ? std::max(scale, std::abs(value)) : scale;
  const double bound = match == Match::exact ? 0 : tolerance * unit(x.dtype()) * (1 + scale);
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (p[i] == q[i] || (std::isnan(p[i]) && std::isnan(q[i]))) continue;
    if (!(std::abs(p[i] - q[i]) <= bound)) return false;
  }
  return true;
}

}  // namespace weft::fuzz
