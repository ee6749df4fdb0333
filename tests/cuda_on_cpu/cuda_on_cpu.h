#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "cuda/runtime/runtime.h"

#if !defined(__cpp_lib_source_location)
#include <experimental/source_location>
#endif

// CUDA's execution model on the CPU, for cuda/runtime/launch.h: one block at a time, one fiber per thread of the block.
// One kernel runs at a time in the process; launches from several host threads wait for each other.

namespace weft::cuda_on_cpu {

struct Index {
  unsigned x, y, z;
};

/// A kernel that breaks CUDA's rules; launch throws it. The harness can be used again afterwards.
class KernelError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// The order in which the blocks and the threads of a block run; `shuffled` is another one each time. Of the
/// environment's WEFT_CUDA_ON_CPU_ORDER at first, or forward.
enum class Order { forward, reverse, shuffled };
void set_order(Order order);

/// Kernels run so far, those of replayed graphs included.
std::uint64_t launches() noexcept;

#if defined(__cpp_lib_source_location)
using Place = std::source_location;
#else
using Place = std::experimental::source_location;  // does not tell the instantiations of a template apart
#endif

/// Block-shared memory of the declaration at `where`: the same address for all threads of a block, NaN bits at first.
void* shared(std::size_t bytes, std::size_t align, int line, const Place& where = Place::current());
void barrier(int line, const char* file = __builtin_FILE());

enum class Shuffle : std::uint8_t { by_xor, down, all };
/// Replaces the value by that of the source lane; by none when there is no such lane.
void exchange(Shuffle kind, int operand, void* value, std::size_t bytes, int line);
/// The values of all lanes of the warp, kShuffleBytes apart, until the lane's second exchange from now.
const unsigned char* exchange_all(const void* value, std::size_t bytes, int line);

inline constexpr std::size_t kShuffleBytes = 32;

template <class T>
T shuffle_xor(T value, int lane_mask, int line) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kShuffleBytes);
  exchange(Shuffle::by_xor, lane_mask, &value, sizeof value, line);
  return value;
}
template <class T>
T shuffle_down(T value, int lanes, int line) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kShuffleBytes);
  exchange(Shuffle::down, lanes, &value, sizeof value, line);
  return value;
}

/// The tensor cores of cuda/runtime/launch.h, with each sum of products in double precision, rounded once.
enum class TensorCore : std::uint8_t { tf32, bf16 };
std::uint32_t to_tf32(float x);
std::uint32_t to_bfloats(float first, float second);
void multiply_add(TensorCore kind, float (&sums)[2][2], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                  int line);
template <TensorCore kKind>
void multiply_add(float (&sums)[2][2], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                  int line = __builtin_LINE()) {
  multiply_add(kKind, sums, a, b, line);
}
void load_matrices(bool transposed, const void* row, std::uint32_t (&words)[4], int line);
template <bool kTransposed>
void load_matrices(const void* row, std::uint32_t (&words)[4], int line = __builtin_LINE()) {
  load_matrices(kTransposed, row, words, line);
}

/// A kernel as a GPU's driver gets it: which one, and its arguments, each at its alignment.
struct Call {
  const void* kernel = nullptr;
  std::vector<unsigned char> arguments = {};
};
template <class... P>
Call call_of(void (*kernel)(P...), const P&... values) {
  Call call{reinterpret_cast<const void*>(kernel)};
  [[maybe_unused]] const auto put = [&call](const auto& value) {
    constexpr std::size_t align = alignof(std::decay_t<decltype(value)>);
    const std::size_t place = (call.arguments.size() + align - 1) / align * align;
    call.arguments.resize(place + sizeof value);
    std::memcpy(call.arguments.data() + place, &value, sizeof value);
  };
  (put(values), ...);
  return call;
}

void launch_body(const char* name, std::int64_t blocks, int threads, cuda::runtime::Stream stream, Call call,
                 std::function<void()> body);

/// Runs body() in every thread of every block, or records it when the stream is capturing. `call` is the same kernel
/// for tests/ptx_on_cpu, which runs what nvcc made of it.
template <class Body>
void launch(const char* name, std::int64_t blocks, int threads, cuda::runtime::Stream stream, Call call, Body body) {
  launch_body(name, blocks, threads, stream, std::move(call), std::function<void()>(std::move(body)));
}
template <class Body>
void launch(const char* name, std::int64_t blocks, int threads, cuda::runtime::Stream stream, Body body) {
  launch_body(name, blocks, threads, stream, {}, std::function<void()>(std::move(body)));
}

}  // namespace weft::cuda_on_cpu

extern weft::cuda_on_cpu::Index threadIdx, blockIdx, blockDim, gridDim;
