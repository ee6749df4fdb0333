#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>

#include "cuda/runtime/blas.h"
#include "cuda/runtime/memory.h"
#include "cuda/runtime/runtime.h"
#include "cuda/runtime/transfer.h"
#include "weft/device.h"

namespace weft::cuda {

/// Where the work of a device is cut, or done in another way. Tests lower the limits to reach each way with little
/// data.
struct Limits {
  static constexpr std::int64_t kCounters = 16384;  ///< of Context::counters

  /// Bytes of the columns that a convolution gathers at a time. Smaller ones would stay in the second-level cache, but
  /// their products would have too few tiles for a large chip. The environment variable WEFT_CUDA_COLUMN_MIB sets it.
  std::int64_t column_bytes = 0;
  std::int64_t counters_at_once = kCounters;        ///< for one kernel of batch normalisation
  std::int64_t narrow_end = std::int64_t{1} << 31;  ///< pooling counts in 32 bits where all numbers are below it
};

/// One device: the stream that all its work runs on, its memory and its handles. Made at first use, never destroyed.
/// `mutex` protects everything here.
struct Context {
  /// The context of the current device.
  explicit Context(int device);
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  int device;
  runtime::Properties properties;
  Limits limits;
  runtime::Stream stream;
  Memory memory;
  Staging staging;
  blas::Handle* blas;
  /// Limits::kCounters zeros for last_block (cuda/runtime/launch.h). Kernels of the stream use them in turn, and leave
  /// zeros.
  unsigned* counters;
  std::uint64_t matrix_products = 0;  ///< that gemm gave to cuBLASLt
  std::recursive_mutex mutex;
};

/// Throws DeviceError when the device is not available (the reason, or how many there are).
Context& context(int device);

/// Makes a device current in this thread. Returns the one that was, by CUDA's number, for runtime::restore_device.
int make_current(int device);

/// Makes a device current in this thread for the length of a scope.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device) : before_(make_current(device)) {}
  ~CurrentDevice() { runtime::restore_device(before_); }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  int before_;  ///< by CUDA's number
};

/// Holds a context's lock, and its device is current in this thread.
class ContextLock {
 public:
  explicit ContextLock(Context& context) : lock_(context.mutex), device_(context.device) {}

 private:
  std::lock_guard<std::recursive_mutex> lock_;
  CurrentDevice device_;
};

/// Device memory for the length of a scope. Work already queued may go on using it afterwards: reuse is in stream
/// order.
class Scratch {
 public:
  Scratch(Context& context, std::size_t bytes)
      : context_(&context), bytes_(bytes), data_(context.memory.allocate(bytes)) {}
  ~Scratch() { context_->memory.deallocate(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  Context* context_;
  std::size_t bytes_;
  void* data_;
};

}  // namespace weft::cuda
