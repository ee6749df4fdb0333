#include "cpu/pool.h"

#include <algorithm>
#include <array>
#include <type_traits>
#include <vector>

#include "core/backend.h"
#include "cpu/threads.h"

namespace weft::cpu {

WEFT_SIMD_DEFINE(PoolKernels, pool_kernels)

namespace {

constexpr std::int64_t kTaskElements = 16384;

template <class T>
const PoolKernelsOf<T>& kernels() {
  if constexpr (std::is_same_v<T, float>) {
    return pool_kernels().f32;
  } else {
    return pool_kernels().f64;
  }
}

using Extent = std::array<std::int64_t, 3>;
using Ranges = std::vector<PoolRange>;

std::int64_t volume(const Extent& extent) { return extent[0] * extent[1] * extent[2]; }

/// For each output the inputs in its window, along one axis.
Ranges windows(const PoolShape& s, std::size_t axis) {
  Ranges ranges(static_cast<std::size_t>(s.out[axis]));
  std::int64_t begin = -s.padding[axis];
  for (PoolRange& range : ranges) {
    range = {std::max<std::int64_t>(begin, 0), std::min(begin + s.kernel[axis], s.in[axis])};
    begin += s.stride[axis];
  }
  return ranges;
}

/// For each input the outputs whose window has it, along one axis.
Ranges covering(const PoolShape& s, std::size_t axis) {
  Ranges ranges(static_cast<std::size_t>(s.in[axis]));
  std::int64_t end_of_first = s.kernel[axis] - s.padding[axis];  // of the first window that may have the input
  std::int64_t begin = 0, end = 0;
  for (std::int64_t i = 0; i < s.in[axis]; ++i) {
    while (end_of_first <= i) {
      ++begin;
      end_of_first += s.stride[axis];
    }
    while (end < s.out[axis] && end * s.stride[axis] - s.padding[axis] <= i) ++end;
    ranges[static_cast<std::size_t>(i)] = {std::min(begin, end), end};
  }
  return ranges;
}

/// body(row, image, first element of the row) for all rows of the destination, in parallel.
template <class Body>
void for_rows(const PoolShape& s, const Extent& source, const Extent& destination, const std::array<Ranges, 3>& ranges,
              const Body& body) {
  const std::int64_t rows = destination[0] * destination[1], row_size = destination[2] * s.c;
  if (row_size == 0) return;
  parallel_blocks(s.n * rows, std::max<std::int64_t>(kTaskElements / row_size, 1),
                  [&](std::int64_t begin, std::int64_t end) {
                    PoolRow row{s.c, destination[2], 0, source[1], source[2], {}, {}, ranges[2].data()};
                    for (std::int64_t i = begin; i < end; ++i) {
                      const std::int64_t in_image = i % rows;
                      row.position = in_image * destination[2];
                      row.depth = ranges[0][static_cast<std::size_t>(in_image / destination[1])];
                      row.height = ranges[1][static_cast<std::size_t>(in_image % destination[1])];
                      body(row, i / rows, i * row_size);
                    }
                  });
}

template <class T>
void gather_maxima(const PoolShape& s, const T* x, const std::int32_t* indices, T* y) {
  const std::int64_t in_image = volume(s.in), out_image = volume(s.out);
  if (s.c == 0) return;
  parallel_blocks(s.n * out_image, std::max<std::int64_t>(kTaskElements / s.c, 1),
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t pixel = begin; pixel < end; ++pixel) {
                      const T* image = x + pixel / out_image * in_image * s.c;
                      for (std::int64_t c = 0; c < s.c; ++c) {
                        y[pixel * s.c + c] = image[indices[pixel * s.c + c] * s.c + c];
                      }
                    }
                  });
}

template <class T>
void pool_of(PoolPass pass, const PoolShape& s, const T* in, std::int32_t* indices, T* out) {
  const std::int64_t x_image = volume(s.in) * s.c, y_image = volume(s.out) * s.c;
  const T factor = static_cast<T>(1 / static_cast<double>(volume(s.kernel)));
  const auto forward = [&](const auto& body) {
    for_rows(s, s.in, s.out, {windows(s, 0), windows(s, 1), windows(s, 2)}, body);
  };
  const auto backward = [&](const auto& body) {
    for_rows(s, s.out, s.in, {covering(s, 0), covering(s, 1), covering(s, 2)}, body);
  };
  switch (pass) {
    case PoolPass::max:
      return forward([&](const PoolRow& row, std::int64_t image, std::int64_t at) {
        kernels<T>().largest(row, in + image * x_image, out + at, indices + at);
      });
    case PoolPass::max_scatter:
      return backward([&](const PoolRow& row, std::int64_t image, std::int64_t at) {
        kernels<T>().matching(row, in + image * y_image, indices + image * y_image, out + at);
      });
    case PoolPass::max_gather:
      return gather_maxima(s, in, indices, out);
    case PoolPass::average:
      return forward([&](const PoolRow& row, std::int64_t image, std::int64_t at) {
        kernels<T>().sum(row, in + image * x_image, factor, out + at);
      });
    case PoolPass::average_grad:
      return backward([&](const PoolRow& row, std::int64_t image, std::int64_t at) {
        kernels<T>().sum(row, in + image * y_image, factor, out + at);
      });
  }
}

}  // namespace

void pool(PoolPass pass, const PoolShape& shape, const ConstView& in, const View& indices, const View& out) {
  if (in.dtype == DType::f32) {
    pool_of(pass, shape, in.as<float>(), indices.as<std::int32_t>(), out.as<float>());
  } else {
    pool_of(pass, shape, in.as<double>(), indices.as<std::int32_t>(), out.as<double>());
  }
}

}  // namespace weft::cpu
