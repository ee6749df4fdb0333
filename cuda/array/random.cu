#include <cmath>
#include <cstdint>
#include <string>

#include "core/device/philox.h"
#include "cuda/array/element.h"
#include "cuda/array/walk.h"
#include "cuda/runtime/backend.h"

namespace weft::cuda {
namespace {

constexpr int kThreads = 256;  // of a block; threads share nothing

// What is made of the numbers of one Philox block: 16 bytes, or four of u8.

template <class T>
constexpr int kPerBlock = sizeof(T) == 8 ? 2 : 4;

/// Number j of kPerBlock<T>: of 64 bits for types of that size.
template <class T>
WEFT_DEVICE auto number(const PhiloxBlock& block, int j) {
  if constexpr (sizeof(T) == 8) {
    return scalar::join(block.number[2 * j], block.number[2 * j + 1]);
  } else {
    return block.number[j];
  }
}

template <class T>
struct Uniform {
  T low, range, top;

  WEFT_DEVICE void operator()(const PhiloxBlock& block, T (&values)[kPerBlock<T>]) const {
    WEFT_UNROLL
    for (int j = 0; j < kPerBlock<T>; ++j) {
      values[j] = scalar::uniform(scalar::unit_interval(number<T>(block, j)), low, range, top);
    }
  }
};

template <class T>
struct Normal {
  T mean, deviation;

  WEFT_DEVICE void operator()(const PhiloxBlock& block, T (&values)[kPerBlock<T>]) const {
    WEFT_UNROLL
    for (int j = 0; j < kPerBlock<T>; j += 2) {
      const auto pair = scalar::normal_pair(number<T>(block, j), number<T>(block, j + 1));
      values[j] = mean + deviation * pair.first;
      values[j + 1] = mean + deviation * pair.second;
    }
  }
};

template <class T>
struct Integer {
  std::uint64_t low, range;

  WEFT_DEVICE void operator()(const PhiloxBlock& block, T (&values)[kPerBlock<T>]) const {
    WEFT_UNROLL
    for (int j = 0; j < kPerBlock<T>; ++j) {
      values[j] = static_cast<T>(low + scalar::below(number<T>(block, j), range));
    }
  }
};

/// Thread t writes the elements of block offset + t.
template <class T, class Make>
WEFT_KERNEL_OF(kThreads)
random_kernel(PhiloxKey key, Make make, std::int64_t n, T* out) {
  const std::int64_t thread = global_thread(), first = thread * kPerBlock<T>;
  if (first >= n) return;
  std::uint64_t block = key.offset + static_cast<std::uint64_t>(thread);
  if (key.base != nullptr) block += *key.base;
  Vector<T, kPerBlock<T>> values;
  make(philox(key.seed, key.stream, block), values.value);
  if (n - first >= kPerBlock<T> && reinterpret_cast<std::uintptr_t>(out) % sizeof values == 0) {
    *reinterpret_cast<Vector<T, kPerBlock<T>>*>(out + first) = values;
  } else {
    WEFT_UNROLL
    for (int j = 0; j < kPerBlock<T>; ++j) {
      if (first + j < n) out[first + j] = values.value[j];
    }
  }
}

template <class T, class Make>
void draw(Context& context, const PhiloxKey& key, const Make& make, const View& out) {
  const std::int64_t n = out.size();
  launch({"random", blocks_for(blocks_for(n, kPerBlock<T>), kThreads), kThreads, context.stream},
         random_kernel<T, Make>, key, make, n, out.as<T>());
}

template <class T>
void draw_floating(Context& context, bool uniform, const PhiloxKey& key, T low, T high, const View& out) {
  if (uniform) {
    const T below = std::nextafter(high, low);
    draw<T>(context, key, Uniform<T>{low, high - low, below < low ? low : below}, out);
  } else {
    draw<T>(context, key, Normal<T>{low, high}, out);
  }
}

template <class T>
void draw_integers(Context& context, const PhiloxKey& key, Scalar low, Scalar high, const View& out) {
  const auto start = static_cast<std::uint64_t>(low.as_int());
  draw<T>(context, key, Integer<T>{start, static_cast<std::uint64_t>(high.as_int()) - start}, out);
}

}  // namespace

void CudaBackend::random(RandomKind kind, const PhiloxKey& key, Scalar low, Scalar high, const View& out) {
  const bool uniform = kind == RandomKind::uniform;
  if (kind == RandomKind::integer) {
    switch (out.dtype) {
      case DType::u8:
        return draw_integers<std::uint8_t>(context_, key, low, high, out);
      case DType::i32:
        return draw_integers<std::int32_t>(context_, key, low, high, out);
      case DType::i64:
        return draw_integers<std::int64_t>(context_, key, low, high, out);
      default:
        break;
    }
  } else if (out.dtype == DType::f32) {
    return draw_floating(context_, uniform, key, static_cast<float>(low.as_double()),
                         static_cast<float>(high.as_double()), out);
  } else if (out.dtype == DType::f64) {
    return draw_floating(context_, uniform, key, low.as_double(), high.as_double(), out);
  }
  throw DTypeError("random: no " +
                   std::string(kind == RandomKind::integer ? "integers"
                               : uniform                   ? "uniform"
                                                           : "normal") +
                   " numbers of dtype " + std::string(name(out.dtype)));
}

}  // namespace weft::cuda
