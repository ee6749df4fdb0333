#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <type_traits>

#include "core/device/convert.h"
#include "cpu/array/nest.h"
#include "cpu/runtime/backend.h"
#include "cpu/runtime/threads.h"
#include "weft/error.h"

namespace weft::cpu {

namespace {

/// x with stride 0 along the axis: where the element of index 0 would be read or written.
ConstView at_first(ConstView x, int axis, const Shape& shape) {
  x.shape = shape;
  x.strides[axis] = 0;
  return x;
}

/// body(U{}) with the unsigned integer of the dtype's size.
template <class Body>
void dispatch_size(DType dtype, const Body& body) {
  switch (size_of(dtype)) {
    case 1:
      return body(std::uint8_t{});
    case 2:
      return body(std::uint16_t{});
    case 4:
      return body(std::uint32_t{});
    default:
      return body(std::uint64_t{});
  }
}

/// The bits of what an index outside of the axis gives.
std::uint64_t missing_bits(DType dtype) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  switch (dtype) {
    case DType::f16:
      return scalar::convert<scalar::Half>(kNan).bits;
    case DType::bf16:
      return scalar::convert<scalar::Bfloat>(kNan).bits;
    case DType::f32:
      return std::bit_cast<std::uint32_t>(std::numeric_limits<float>::quiet_NaN());
    case DType::f64:
      return std::bit_cast<std::uint64_t>(kNan);
    default:
      return 0;
  }
}

bool is_inside(std::int64_t index, std::int64_t size) {
  return static_cast<std::uint64_t>(index) < static_cast<std::uint64_t>(size);
}

/// Copies one run of a tile whose operands are out, x at index 0 and the index. `size` and `step` are the axis's size
/// and stride in x.
template <class U>
void gather_run(const Tile& tile, std::int64_t row, std::int64_t size, std::int64_t step, U missing) {
  U* out = static_cast<U*>(tile.data[0]) + row * tile.row_stride[0];
  const U* x = static_cast<const U*>(tile.data[1]) + row * tile.row_stride[1];
  const auto* index = static_cast<const std::int64_t*>(tile.data[2]) + row * tile.row_stride[2];
  if (tile.stride[2] == 0 && is_inside(*index, size)) {  // a row of a table
    x += *index * step;
    if (tile.stride[0] == 1 && tile.stride[1] == 1) {
      std::copy_n(x, tile.n, out);
    } else {
      for (std::int64_t i = 0; i < tile.n; ++i) out[i * tile.stride[0]] = x[i * tile.stride[1]];
    }
    return;
  }
  for (std::int64_t i = 0; i < tile.n; ++i) {
    const std::int64_t at = index[i * tile.stride[2]];
    out[i * tile.stride[0]] = is_inside(at, size) ? x[i * tile.stride[1] + at * step] : missing;
  }
}

struct Assign {
  template <class T>
  void operator()(T& out, T value) const {
    out = value;
  }
};
struct Add {
  template <class T>
  void operator()(T& out, T value) const {
    out = scalar::add()(out, value);
  }
};

/// The axis of a scatter: its length in the index, its size in out, and its strides.
struct ScatterAxis {
  std::int64_t length, size, out, source, index;
};

/// Writes the lines of one run of a tile, whose operands are out at index 0, source and index. Lines are independent;
/// each is walked in order.
template <class T, class Write>
void scatter_run(const Tile& tile, std::int64_t row, const ScatterAxis& axis, const Write& write) {
  T* out = static_cast<T*>(tile.data[0]) + row * tile.row_stride[0];
  const T* source = static_cast<const T*>(tile.data[1]) + row * tile.row_stride[1];
  const auto* index = static_cast<const std::int64_t*>(tile.data[2]) + row * tile.row_stride[2];
  const auto step = [&](std::int64_t i, std::int64_t j) {
    const std::int64_t at = index[i * tile.stride[2] + j * axis.index];
    if (!is_inside(at, axis.size)) return;
    write(out[i * tile.stride[0] + at * axis.out], source[i * tile.stride[1] + j * axis.source]);
  };
  if (std::abs(axis.source) < std::abs(tile.stride[1])) {
    for (std::int64_t i = 0; i < tile.n; ++i) {
      for (std::int64_t j = 0; j < axis.length; ++j) step(i, j);
    }
  } else {
    for (std::int64_t j = 0; j < axis.length; ++j) {
      for (std::int64_t i = 0; i < tile.n; ++i) step(i, j);
    }
  }
}

template <class T, class Write>
void scatter_of(const ScatterCall& call, const Write& write) {
  Shape lines = call.index.shape;
  lines[call.axis] = 1;
  const ScatterAxis axis{call.index.shape[call.axis], call.out.shape[call.axis], call.out.strides[call.axis],
                         call.source.strides[call.axis], call.index.strides[call.axis]};
  if (axis.length == 0) return;
  const Nest nest(lines, {at_first(call.out, call.axis, lines), at_first(call.source, call.axis, lines),
                          at_first(call.index, call.axis, lines)});
  const std::int64_t grain = std::max<std::int64_t>(1, Nest::kGrain / axis.length);
  nest.for_tiles_in_parallel(
      [&](const Tile& tile) {
        for (std::int64_t row = 0; row < tile.rows; ++row) scatter_run<T>(tile, row, axis, write);
      },
      grain);
}

}  // namespace

void CpuBackend::gather(const GatherCall& call) {
  const std::int64_t size = call.x.shape[call.axis], step = call.x.strides[call.axis];
  const Nest nest(call.out.shape, {call.out, at_first(call.x, call.axis, call.out.shape), call.index});
  dispatch_size(call.out.dtype, [&](auto type) {
    using U = decltype(type);
    const U missing = static_cast<U>(missing_bits(call.out.dtype));
    nest.for_tiles_in_parallel([&](const Tile& tile) {
      for (std::int64_t row = 0; row < tile.rows; ++row) gather_run<U>(tile, row, size, step, missing);
    });
  });
}

void CpuBackend::scatter(const ScatterCall& call) {
  if (!call.adds) {
    return dispatch_size(call.out.dtype, [&](auto type) { scatter_of<decltype(type)>(call, Assign{}); });
  }
  const DenormalMode mode;
  switch (call.out.dtype) {
    case DType::u8:
      return scatter_of<std::uint8_t>(call, Add{});
    case DType::i32:
      return scatter_of<std::int32_t>(call, Add{});
    case DType::i64:
      return scatter_of<std::int64_t>(call, Add{});
    case DType::f32:
      return scatter_of<float>(call, Add{});
    case DType::f64:
      return scatter_of<double>(call, Add{});
    default:
      throw DTypeError("scatter_add: no kernel for dtype " + std::string(name(call.out.dtype)));
  }
}

}  // namespace weft::cpu
