#include "cuda/runtime/runtime.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "cuda/runtime/devices.h"
#include "twin.h"
#include "weft/error.h"

// cuda/runtime/runtime.h without CUDA. Streams run their work in the call that enqueues it; memory is the host's.

using Work = std::vector<std::function<void()>>;

struct CUstream_st {
  int device;
  bool capturing = false, broken = false;
  Work captured;
};
struct CUevent_st {
  int device;
  bool recorded = false, captured = false;
  std::chrono::steady_clock::time_point time;
};
struct CUgraphExec_st {
  std::shared_ptr<const Work> work;
};

namespace weft::cuda_on_cpu {

namespace {

using cuda::runtime::Stream;

constexpr int kHost = -1;

struct Allocation {
  std::size_t bytes;
  int device;  // or kHost
};

constexpr const char* kName = "CPU standing in for CUDA";

struct Twin {
  Twin() {
    const char* const capability = std::getenv("WEFT_CUDA_ON_CPU_CAPABILITY");
    if (capability != nullptr) static_cast<void>(std::sscanf(capability, "%d.%d", &major, &minor));
  }

  std::mutex mutex;
  int devices = 2, major = 9, minor = 0;
  std::size_t limit = std::size_t{4} << 30;
  std::map<std::uintptr_t, Allocation> allocations;
  std::map<int, std::size_t> live_bytes;
  std::set<Stream> streams;
  std::atomic<std::uint64_t> synchronizations{0}, system_allocations{0};
};

Twin& twin() {
  static Twin* const instance = new Twin;  // outlives every static object that frees memory
  return *instance;
}

thread_local int current = 0;

// Every block of device memory is an allocation of its own, so that an access outside of it is seen.
[[maybe_unused]] const int no_segments = setenv("WEFT_CUDA_SEGMENTS", "0", 0);

[[noreturn]] void fail(const char* call, const std::string& message) {
  throw DeviceError(std::string(call) + ": " + message);
}

void check_device(const char* call, int device) {
  const std::lock_guard lock(twin().mutex);
  if (twin().devices == 0) fail(call, "no CUDA-capable device is detected");
  if (device < 0 || device >= twin().devices) fail(call, "invalid device ordinal");
}

// Whether the bytes lie in one live allocation of the device, any device or the host.
bool inside(const void* address, std::size_t bytes, bool host) noexcept {
  const auto first = reinterpret_cast<std::uintptr_t>(address);
  const std::lock_guard lock(twin().mutex);
  auto found = twin().allocations.upper_bound(first);
  if (found == twin().allocations.begin()) return false;
  --found;
  const std::size_t offset = first - found->first;
  return (found->second.device == kHost) == host && offset <= found->second.bytes &&
         bytes <= found->second.bytes - offset;
}

void* new_allocation(std::size_t bytes, int device) {
  twin().system_allocations.fetch_add(1);
  const std::lock_guard lock(twin().mutex);
  std::size_t& live = twin().live_bytes[device];
  if (device != kHost && (live > twin().limit || bytes > twin().limit - live)) return nullptr;
  void* address = nullptr;
  if (posix_memalign(&address, 256, bytes) != 0) return nullptr;
  std::memset(address, 0xFF, bytes);
  twin().allocations[reinterpret_cast<std::uintptr_t>(address)] = {bytes, device};
  live += bytes;
  return address;
}

void end_allocation(void* address, bool host) noexcept {
  if (address == nullptr) return;
  {
    const std::lock_guard lock(twin().mutex);
    const auto found = twin().allocations.find(reinterpret_cast<std::uintptr_t>(address));
    if (found == twin().allocations.end() || (found->second.device == kHost) != host) {
      std::fprintf(stderr, "%p is freed, but is no live allocation of the %s\n", address, host ? "host" : "device");
      std::abort();
    }
    twin().live_bytes[found->second.device] -= found->second.bytes;
    twin().allocations.erase(found);
  }
  std::free(address);
}

void check_range(const char* call, const char* what, const void* address, std::size_t bytes, bool host) {
  if (inside(address, bytes, host)) return;
  fail(call, std::string("invalid argument (") + what + (host ? " is not page-locked host" : " is not device") +
                 " memory of " + std::to_string(bytes) + " bytes)");
}

// The ranges are checked when the copy is enqueued and, as a graph may outlive its memory, whenever it runs.
void copy(void* out, bool out_on_host, const void* in, bool in_on_host, std::size_t bytes, Stream stream) {
  if (bytes == 0) return;
  constexpr const char* call = "cudaMemcpyAsync";
  const auto check = [=] {
    check_range(call, "the destination", out, bytes, out_on_host);
    check_range(call, "the source", in, bytes, in_on_host);
    const auto from = reinterpret_cast<std::uintptr_t>(in), to = reinterpret_cast<std::uintptr_t>(out);
    if (from < to + bytes && to < from + bytes) fail(call, "invalid argument (source and destination overlap)");
  };
  check();
  enqueue(call, stream, [=] {
    check();
    std::memcpy(out, in, bytes);
  });
}

CUstream_st& live(const char* call, Stream stream) {
  const std::lock_guard lock(twin().mutex);
  if (!twin().streams.contains(stream)) fail(call, "invalid resource handle");
  return *stream;
}

}  // namespace

void set_device_count(int count) {
  const std::lock_guard lock(twin().mutex);
  twin().devices = count;
}
void set_capability(int major, int minor) {
  const std::lock_guard lock(twin().mutex);
  twin().major = major;
  twin().minor = minor;
}
void set_memory_limit(std::size_t bytes) {
  const std::lock_guard lock(twin().mutex);
  twin().limit = bytes;
}
std::uint64_t synchronizations() noexcept { return twin().synchronizations.load(); }
std::uint64_t system_allocations() noexcept { return twin().system_allocations.load(); }
int current_device() noexcept { return current; }
int device_of(Stream stream, const char* call) { return stream == nullptr ? current : live(call, stream).device; }
bool on_device(const void* address, std::size_t bytes) noexcept { return inside(address, bytes, false); }

std::vector<std::pair<std::uintptr_t, std::size_t>> device_allocations() {
  const std::lock_guard lock(twin().mutex);
  std::vector<std::pair<std::uintptr_t, std::size_t>> all;
  for (const auto& [address, allocation] : twin().allocations) {
    if (allocation.device != kHost) all.emplace_back(address, allocation.bytes);
  }
  return all;
}

void enqueue(const char* call, Stream stream, std::function<void()> work) {
  check_device(call, current);
  if (stream != nullptr && live(call, stream).capturing) {
    stream->captured.push_back(std::move(work));
  } else {
    work();
  }
}

}  // namespace weft::cuda_on_cpu

namespace weft::cuda::runtime {

namespace {

using namespace cuda_on_cpu;

UsableGpus usable() {
  const std::lock_guard lock(twin().mutex);
  if (twin().devices == 0) return {{}, "no CUDA-capable device is detected"};
  return usable_gpus(std::vector<Gpu>(static_cast<std::size_t>(twin().devices), {kName, twin().major, twin().minor}));
}

}  // namespace

int device_count() { return static_cast<int>(usable().numbers.size()); }

std::string unavailable_reason() { return usable().reason; }

Properties properties(int device) {
  check_device("cudaGetDeviceProperties", device);
  const std::lock_guard lock(twin().mutex);
  return {.name = kName,
          .major = twin().major,
          .minor = twin().minor,
          .multiprocessors = 4,
          .memory_bytes = twin().limit,
          .l2_bytes = std::size_t{1} << 20,
          .driver_version = 13000,
          .runtime_version = 13000};
}

void set_device(int device) {
  check_device("cudaSetDevice", device);
  current = device;
}

int current_device() noexcept { return current; }

void restore_device(int device) noexcept { current = device; }

MemoryInfo memory_info() {
  check_device("cudaMemGetInfo", current);
  const std::lock_guard lock(twin().mutex);
  const std::size_t live_bytes = twin().live_bytes[current];
  return {.free = twin().limit - std::min(live_bytes, twin().limit), .total = twin().limit};
}

void* allocate(std::size_t bytes, Stream stream) {
  constexpr const char* call = "cudaMallocAsync";
  check_device(call, current);
  if (bytes == 0) fail(call, "invalid argument");
  const int device = device_of(stream, call);
  // CUDA would make the memory part of the graph, which nothing here could free.
  if (stream != nullptr && stream->capturing) fail(call, "operation not permitted when stream is capturing");
  return new_allocation(bytes, device);
}
void deallocate(void* address, Stream) noexcept { end_allocation(address, false); }

void* allocate_host(std::size_t bytes) {
  check_device("cudaMallocHost", current);
  if (bytes == 0) fail("cudaMallocHost", "invalid argument");
  return new_allocation(bytes, kHost);
}
void deallocate_host(void* address) noexcept { end_allocation(address, true); }

void copy_to_device(void* out, const void* host, std::size_t bytes, Stream stream) {
  copy(out, false, host, true, bytes, stream);
}
void copy_to_host(void* host, const void* in, std::size_t bytes, Stream stream) {
  copy(host, true, in, false, bytes, stream);
}
void copy_on_device(void* out, const void* in, std::size_t bytes, Stream stream) {
  copy(out, false, in, false, bytes, stream);
}

void set_bytes(void* out, int value, std::size_t bytes, Stream stream) {
  if (bytes == 0) return;
  const auto check = [=] { check_range("cudaMemsetAsync", "the destination", out, bytes, false); };
  check();
  enqueue("cudaMemsetAsync", stream, [=] {
    check();
    std::memset(out, value, bytes);
  });
}

Stream create_stream() {
  check_device("cudaStreamCreate", current);
  auto stream = std::make_unique<CUstream_st>(CUstream_st{.device = current, .captured = {}});
  const std::lock_guard lock(twin().mutex);
  twin().streams.insert(stream.get());
  return stream.release();
}

void destroy_stream(Stream stream) noexcept {
  const std::lock_guard lock(twin().mutex);
  if (twin().streams.erase(stream) > 0) delete stream;
}

void synchronize(Stream stream) {
  constexpr const char* call = "cudaStreamSynchronize";
  twin().synchronizations.fetch_add(1);
  check_device(call, current);
  if (stream == nullptr || !live(call, stream).capturing) return;
  stream->broken = true;
  fail(call, "operation not permitted when stream is capturing");
}

Event create_event() {
  check_device("cudaEventCreate", current);
  return new CUevent_st{.device = current, .time = {}};
}
void destroy_event(Event event) noexcept { delete event; }

void record(Event event, Stream stream) {
  constexpr const char* call = "cudaEventRecord";
  if (device_of(stream, call) != event->device) fail(call, "invalid resource handle");
  event->captured = stream != nullptr && stream->capturing;
  event->recorded = !event->captured;
  event->time = std::chrono::steady_clock::now();
}

void synchronize(Event event) {
  twin().synchronizations.fetch_add(1);
  if (event->captured) fail("cudaEventSynchronize", "operation not permitted on an event last recorded in a capture");
}

bool is_finished(Event event) {
  if (event->captured) fail("cudaEventQuery", "operation not permitted on an event last recorded in a capture");
  return true;
}

float elapsed(Event start, Event end) {
  if (!start->recorded || !end->recorded) fail("cudaEventElapsedTime", "invalid resource handle");
  return std::chrono::duration<float, std::milli>(end->time - start->time).count();
}

void begin_capture(Stream stream) {
  constexpr const char* call = "cudaStreamBeginCapture";
  if (live(call, stream).capturing) fail(call, "illegal state");
  stream->capturing = true;
  stream->broken = false;
}

bool is_capturing(Stream stream) { return stream != nullptr && live("cudaStreamIsCapturing", stream).capturing; }

GraphExec end_capture(Stream stream, std::size_t* nodes) {
  constexpr const char* call = "cudaStreamEndCapture";
  if (!live(call, stream).capturing) fail(call, "illegal state");
  stream->capturing = false;
  auto work = std::make_shared<const Work>(std::exchange(stream->captured, {}));
  if (stream->broken) fail(call, "operation failed due to a previous error during capture");
  if (nodes != nullptr) *nodes = work->size();
  return new CUgraphExec_st{std::move(work)};
}

void abandon_capture(Stream stream) noexcept {
  stream->capturing = false;
  stream->captured.clear();
}

void launch_graph(GraphExec graph, Stream stream) {
  enqueue("cudaGraphLaunch", stream, [work = graph->work] {
    for (const auto& step : *work) step();
  });
}
void destroy_graph(GraphExec graph) noexcept { delete graph; }

KernelFacts kernel_facts(const void*, int) { return {}; }  // no compiler made code for a GPU

void check_launch_shape(const char* kernel, std::int64_t blocks, int threads) {
  const auto complain = [&](const std::string& what) { throw ValueError("kernel " + (kernel + (": " + what))); };
  if (blocks < 0 || blocks > 0x7FFFFFFF) complain("a grid of " + std::to_string(blocks) + " blocks");
  if (threads < 1 || threads > 1024) complain("blocks of " + std::to_string(threads) + " threads");
}

void check_launch(const char*) {}

}  // namespace weft::cuda::runtime
