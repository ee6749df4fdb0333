#pragma once

#include <array>
#include <cstddef>

#include "cuda/runtime/runtime.h"

namespace weft::cuda {

/// Page-locked memory that host copies pass through: a ring of chunks on the way to the device, two chunks on the way
/// back. Chunks are made at first use. The context's lock protects it.
class Staging {
 public:
  Staging() = default;
  /// The stream must have passed the last copy.
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  /// Enqueues the copy. Waits only for an older chunk of the ring, when all of the ring is on its way.
  void upload(void* out, const void* host, std::size_t bytes, runtime::Stream stream);
  /// Waits for the stream.
  void download(void* host, const void* in, std::size_t bytes, runtime::Stream stream);

 private:
  struct Chunk {
    std::byte* data = nullptr;
    runtime::Event event = nullptr;  // after the last copy from or to the chunk
    bool pending = false;            // the event was recorded and not yet waited for
  };

  void open(Chunk& chunk);

  std::array<Chunk, 4> up_;
  std::array<Chunk, 2> down_;
  std::size_t current_ = 0;  // chunk of up_ that is being filled
  std::size_t used_ = 0;     // bytes of it
};

}  // namespace weft::cuda
