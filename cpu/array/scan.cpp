#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <type_traits>

#include "core/device/scalar_ops.h"
#include "cpu/array/nest.h"
#include "cpu/runtime/backend.h"
#include "weft/error.h"

namespace weft::cpu {

namespace {

constexpr std::int64_t kLines = 64;  // that are summed side by side: their elements fill whole cache lines

/// The axis of running sums: its size, and its strides in out and in x.
struct ScanAxis {
  std::int64_t size, out, x;
};

/// The sums of `count` lines, at most kLines, each in order. They lie out_step and x_step apart.
template <class T>
void scan_lines(const ScanAxis& axis, std::int64_t count, std::int64_t out_step, std::int64_t x_step, T* out,
                const T* x) {
  using Sum = std::conditional_t<std::is_floating_point_v<T>, double, T>;
  Sum sums[kLines] = {};
  for (std::int64_t j = 0; j < axis.size; ++j) {
    for (std::int64_t i = 0; i < count; ++i) {
      sums[i] = scalar::add()(sums[i], static_cast<Sum>(x[j * axis.x + i * x_step]));
      out[j * axis.out + i * out_step] = static_cast<T>(sums[i]);
    }
  }
}

template <class T>
void cumsum_of(const ConstView& x, int at, const View& out) {
  const ScanAxis axis{x.shape[at], out.strides[at], x.strides[at]};
  Shape lines = x.shape;
  lines[at] = 1;
  if (axis.size == 0) return;
  View results = out;
  ConstView elements = x;
  results.shape = elements.shape = lines;
  const Nest nest(lines, {results, elements});
  const std::int64_t most = std::abs(nest.axis(0).stride[1]) < std::abs(axis.x) ? kLines : 1;
  nest.for_tiles_in_parallel(
      [&](const Tile& tile) {
        for (std::int64_t row = 0; row < tile.rows; ++row) {
          T* const to = static_cast<T*>(tile.data[0]) + row * tile.row_stride[0];
          const T* const from = static_cast<const T*>(tile.data[1]) + row * tile.row_stride[1];
          for (std::int64_t i = 0; i < tile.n; i += most) {
            scan_lines(axis, std::min(most, tile.n - i), tile.stride[0], tile.stride[1], to + i * tile.stride[0],
                       from + i * tile.stride[1]);
          }
        }
      },
      std::max(most, Nest::kGrain / axis.size));
}

}  // namespace

void CpuBackend::cumsum(const ConstView& x, int axis, const View& out) {
  const DenormalMode mode;
  switch (x.dtype) {
    case DType::f32:
      return cumsum_of<float>(x, axis, out);
    case DType::f64:
      return cumsum_of<double>(x, axis, out);
    case DType::i64:
      return cumsum_of<std::int64_t>(x, axis, out);
    default:
      throw DTypeError("cumsum: no kernel for dtype " + std::string(name(x.dtype)));
  }
}

}  // namespace weft::cpu
