#include "cuda/runtime/transfer.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/device/integer.h"
#include "cuda/runtime/backend.h"
#include "cuda/runtime/context.h"
#include "cuda/runtime/profile.h"
#include "weft/error.h"

namespace weft::cuda {

namespace {

constexpr std::size_t kChunk = std::size_t{4} << 20;
constexpr std::size_t kAlignment = 64;  // of copies inside a chunk

void require_no_capture(const Context& context, const char* what) {
  if (context.memory.recording()) throw DeviceError(std::string("cuda: ") + what + " inside a captured step");
}

}  // namespace

Staging::~Staging() {
  const auto close = [](const Chunk& chunk) {
    if (chunk.event != nullptr) runtime::destroy_event(chunk.event);
    if (chunk.data != nullptr) runtime::deallocate_host(chunk.data);
  };
  std::ranges::for_each(up_, close);
  std::ranges::for_each(down_, close);
}

// Makes the chunk's memory, or waits for what is still using it.
void Staging::open(Chunk& chunk) {
  if (chunk.event == nullptr) chunk.event = runtime::create_event();
  if (chunk.data == nullptr) chunk.data = static_cast<std::byte*>(runtime::allocate_host(kChunk));
  if (chunk.data == nullptr) {
    throw OutOfMemoryError("cuda: cannot allocate " + std::to_string(kChunk) +
                           " bytes of page-locked memory for host copies");
  }
  if (chunk.pending) {
    runtime::synchronize(chunk.event);
    chunk.pending = false;
  }
}

void Staging::upload(void* out, const void* host, std::size_t bytes, runtime::Stream stream) {
  auto* target = static_cast<std::byte*>(out);
  const auto* source = static_cast<const std::byte*>(host);
  while (bytes > 0) {
    // A small copy goes in one piece; a large one fills what is left.
    if (used_ == kChunk || (bytes <= kChunk / 4 && bytes > kChunk - used_)) {
      runtime::record(up_[current_].event, stream);
      up_[current_].pending = true;
      current_ = (current_ + 1) % up_.size();
      used_ = 0;
    }
    Chunk& chunk = up_[current_];
    if (used_ == 0) open(chunk);
    const std::size_t piece = std::min(bytes, kChunk - used_);
    std::memcpy(chunk.data + used_, source, piece);
    const profile::Scope measured("copy to the device", stream);
    runtime::copy_to_device(target, chunk.data + used_, piece, stream);
    used_ = std::min(kChunk, round_up(used_ + piece, kAlignment));
    target += piece;
    source += piece;
    bytes -= piece;
  }
}

void Staging::download(void* host, const void* in, std::size_t bytes, runtime::Stream stream) {
  auto* target = static_cast<std::byte*>(host);
  const auto* source = static_cast<const std::byte*>(in);
  // One piece is on its way while the one before it is copied out.
  std::size_t arrived = 0, sent = 0, number = 0;
  while (arrived < bytes) {
    if (sent < bytes) {
      Chunk& chunk = down_[number % 2];
      open(chunk);
      const std::size_t piece = std::min(bytes - sent, kChunk);
      {
        const profile::Scope measured("copy to the host", stream);
        runtime::copy_to_host(chunk.data, source + sent, piece, stream);
      }
      runtime::record(chunk.event, stream);
      chunk.pending = true;
      sent += piece;
      ++number;
      if (number == 1 && sent < bytes) continue;
    }
    const std::size_t oldest = arrived / kChunk;
    Chunk& chunk = down_[oldest % 2];
    open(chunk);
    const std::size_t piece = std::min(bytes - arrived, kChunk);
    std::memcpy(target + arrived, chunk.data, piece);
    arrived += piece;
  }
  runtime::synchronize(stream);
}

/// Copies in stream order. `host` may be any memory and may be reused on return; a copy does not wait for the stream
/// unless more than the staging ring (16 MiB) is on its way. Throws DeviceError inside a capture, OutOfMemoryError
/// where there is no page-locked memory.
void CudaBackend::copy_from_host(void* out, const void* host, std::size_t bytes) {
  require_no_capture(context_, "a copy from the host");
  context_.staging.upload(out, host, bytes, context_.stream);
}

/// Waits for the stream and reports what failed in it. Throws as copy_from_host does.
void CudaBackend::copy_to_host(void* host, const void* in, std::size_t bytes) {
  require_no_capture(context_, "a copy to the host");
  context_.staging.download(host, in, bytes, context_.stream);
}

}  // namespace weft::cuda
