#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

// The CUDA runtime as the rest of cuda/ sees it: runtime.cpp calls CUDA, tests/cuda_on_cpu has the same functions on
// the CPU. Every function works on the calling thread's current device (set_device) and checks what it calls; a failure
// throws DeviceError with the call's name and CUDA's message, except where the function says otherwise. `noexcept`
// ones swallow failures, for destructors.

struct CUstream_st;
struct CUevent_st;
struct CUgraph_st;
struct CUgraphExec_st;

namespace weft::cuda::runtime {

using Stream = CUstream_st*;
using Event = CUevent_st*;
using GraphExec = CUgraphExec_st*;

/// Devices that can be used: those of cuda/runtime/devices.h's rule; 0 when there is no driver, no device or the driver
/// is too old. A device is its place among them, which is not CUDA's number where an unusable one comes before it.
int device_count();
/// Why device_count() is 0, or why other GPUs of the machine are not counted; empty when it counts all.
std::string unavailable_reason();

struct Properties {
  std::string name;
  int major = 0, minor = 0;  ///< compute capability
  int multiprocessors = 1;
  std::size_t memory_bytes = 0, l2_bytes = 0;
  int driver_version = 0, runtime_version = 0;  ///< as CUDA numbers them: 13000 is 13.0
};
Properties properties(int device);
/// Makes the device current in this thread.
void set_device(int device);
/// By CUDA's number.
int current_device() noexcept;
/// Makes CUDA's `device` current again where set_device made another one so. Nothing is done where this process has no
/// context on it: CUDA would create one, of some hundred MB.
void restore_device(int device) noexcept;

struct MemoryInfo {
  std::size_t free = 0, total = 0;
};
MemoryInfo memory_info();
/// Stream-ordered device memory, aligned to 256 bytes; null when there is not enough, also where CUDA calls a size
/// beyond the device's memory an invalid value.
void* allocate(std::size_t bytes, Stream stream);
void deallocate(void* address, Stream stream) noexcept;
/// Page-locked host memory; null when there is not enough.
void* allocate_host(std::size_t bytes);
void deallocate_host(void* address) noexcept;
/// Asynchronous; `host` must be page-locked and stay as it is until the stream has passed this point.
void copy_to_device(void* out, const void* host, std::size_t bytes, Stream stream);
void copy_to_host(void* host, const void* in, std::size_t bytes, Stream stream);
void copy_on_device(void* out, const void* in, std::size_t bytes, Stream stream);
void set_bytes(void* out, int value, std::size_t bytes, Stream stream);

Stream create_stream();
void destroy_stream(Stream stream) noexcept;
/// Waits for the stream; reports what failed in it.
void synchronize(Stream stream);

Event create_event();
void destroy_event(Event event) noexcept;
void record(Event event, Stream stream);
/// Waits on the host.
void synchronize(Event event);
/// Whether the stream has passed the event; an event that was never recorded counts as passed.
bool is_finished(Event event);
/// Milliseconds between two recorded and finished events.
float elapsed(Event start, Event end);

/// Records what is enqueued on the stream until end_capture instead of running it; other streams of the process go on.
void begin_capture(Stream stream);
/// Whether what is enqueued on the stream is recorded.
bool is_capturing(Stream stream);
/// The recorded graph, ready to launch; `nodes`, unless null, becomes how many kernels, copies and fills it has. Throws
/// DeviceError when the capture broke, OutOfMemoryError when there is too little memory for the graph; the stream then
/// is as before.
GraphExec end_capture(Stream stream, std::size_t* nodes = nullptr);
/// Ends the capture and forgets what was recorded.
void abandon_capture(Stream stream) noexcept;
void launch_graph(GraphExec graph, Stream stream);
void destroy_graph(GraphExec graph) noexcept;

/// What the compiler made of a kernel, and how its blocks fit a multiprocessor of the current device.
struct KernelFacts {
  std::string function;          ///< the mangled name; empty where the runtime does not tell (before CUDA 12.3)
  int registers = 0;             ///< registers of a thread
  std::size_t shared_bytes = 0;  ///< shared memory of a block
  std::size_t local_bytes = 0;   ///< local memory of a thread
  double occupancy = 0;          ///< threads that are resident at once, a share of the most that are possible
};
/// Returns the facts of a kernel launched with blocks of `threads`. Loads the kernel's code.
KernelFacts kernel_facts(const void* kernel, int threads);

/// Throws ValueError beyond the limits of a launch: 2^31 - 1 blocks, 1,024 threads.
void check_launch_shape(const char* kernel, std::int64_t blocks, int threads);
/// After a launch: throws DeviceError naming the kernel when it could not start.
void check_launch(const char* kernel);

}  // namespace weft::cuda::runtime
