#include <string>

#include "cpu/array/random_kernels.h"
#include "cpu/runtime/backend.h"
#include "cpu/runtime/threads.h"
#include "weft/error.h"

namespace weft::cpu {

WEFT_SIMD_DEFINE(RandomKernels, random_kernels)

namespace {

/// Blocks of a fixed number of elements in parallel; each finds its place in the stream by itself.
template <class T, class Bound>
void draw(void (*kernel)(const RandomStream&, Bound, Bound, T*), const PhiloxKey& key, Bound low, Bound high,
          const View& out) {
  constexpr std::int64_t kGrain = 8192;  // elements of a task: enough work to pay for waking a thread
  constexpr std::int64_t kPerBlock = sizeof(T) == 8 ? 2 : 4;
  parallel_blocks(out.size(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    const RandomStream stream{key.seed, key.stream, key.offset + static_cast<std::uint64_t>(begin / kPerBlock),
                              end - begin};
    kernel(stream, low, high, out.as<T>() + begin);
  });
}

}  // namespace

/// uniform and normal: f32 and f64; integer: u8, i32 and i64. core/device/philox.h has the formulas.
void CpuBackend::random(RandomKind kind, const PhiloxKey& key, Scalar low, Scalar high, const View& out) {
  const DenormalMode mode;
  const RandomKernels& kernels = random_kernels();
  const bool uniform = kind == RandomKind::uniform;
  if (kind == RandomKind::integer) {
    switch (out.dtype) {
      case DType::u8:
        return draw(kernels.integer_u8, key, low.as_int(), high.as_int(), out);
      case DType::i32:
        return draw(kernels.integer_i32, key, low.as_int(), high.as_int(), out);
      case DType::i64:
        return draw(kernels.integer_i64, key, low.as_int(), high.as_int(), out);
      default:
        break;
    }
  } else if (out.dtype == DType::f32) {
    return draw(uniform ? kernels.uniform_f32 : kernels.normal_f32, key, static_cast<float>(low.as_double()),
                static_cast<float>(high.as_double()), out);
  } else if (out.dtype == DType::f64) {
    return draw(uniform ? kernels.uniform_f64 : kernels.normal_f64, key, low.as_double(), high.as_double(), out);
  }
  throw DTypeError("random: no " +
                   std::string(kind == RandomKind::integer ? "integers"
                               : uniform                   ? "uniform"
                                                           : "normal") +
                   " numbers of dtype " + std::string(name(out.dtype)));
}

}  // namespace weft::cpu
