#include "cuda/runtime/runtime.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "cuda/runtime/devices.h"
#include "weft/error.h"

namespace weft::cuda::runtime {

namespace {

constexpr std::int64_t kMaxBlocks = 2147483647;
constexpr int kMaxThreads = 1024;

std::string message(cudaError_t error, const std::string& call) {
  return call + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")";
}

// Takes the failure out of the runtime's per-thread "last error" as well, or check_launch would report it again.
[[noreturn]] void fail(cudaError_t error, const std::string& call) {
  static_cast<void>(cudaGetLastError());
  throw DeviceError(message(error, call));
}

void check(cudaError_t error, const char* call) {
  if (error != cudaSuccess) fail(error, call);
}

void ignore(cudaError_t error) noexcept {
  if (error != cudaSuccess) static_cast<void>(cudaGetLastError());
}

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string reason_without_devices(cudaError_t error) {
  int driver = 0;
  ignore(cudaDriverGetVersion(&driver));
  if (error == cudaSuccess || error == cudaErrorNoDevice) return "the NVIDIA driver sees no GPU";
  if (error == cudaErrorInsufficientDriver && driver == 0) return "no NVIDIA driver is installed";
  if (error == cudaErrorInsufficientDriver) {
    return "the NVIDIA driver is too old: it supports CUDA " + version_text(driver) + ", this build of weft needs " +
           version_text(CUDART_VERSION);
  }
  return message(error, "cudaGetDeviceCount");
}

UsableGpus find_devices() {
  int count = 0;
  cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    ignore(error);
    return {{}, reason_without_devices(error)};
  }
  std::vector<Gpu> gpus;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp found{};
    error = cudaGetDeviceProperties(&found, i);
    if (error != cudaSuccess) {
      ignore(error);
      return {{}, message(error, "cudaGetDeviceProperties of CUDA's device " + std::to_string(i))};
    }
    gpus.push_back({found.name, found.major, found.minor});
  }
  return usable_gpus(gpus);
}

const UsableGpus& usable() {
  static const UsableGpus found = find_devices();
  return found;
}

// -1, an invalid one, for what is no device.
int number_of(int device) {
  const std::vector<int>& numbers = usable().numbers;
  const auto index = static_cast<std::size_t>(device);
  return index < numbers.size() ? numbers[index] : -1;
}

// Bytes of the current device; 0 where CUDA does not tell.
std::size_t device_memory() noexcept {
  std::size_t free = 0, total = 0;
  ignore(cudaMemGetInfo(&free, &total));
  return total;
}

// Whether the current device allocates in stream order; some virtual GPUs do not.
bool has_pools() noexcept {
  int device = 0, supported = 1;
  ignore(cudaGetDevice(&device));
  ignore(cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, device));
  return supported != 0;
}

// The driver's cuDevicePrimaryCtxGetState, as the driver is not linked; null where it cannot be found.
void* primary_context_state() noexcept {
  constexpr const char* name = "cuDevicePrimaryCtxGetState";
  void* found = nullptr;
  cudaDriverEntryPointQueryResult status{};
#if CUDART_VERSION >= 12050
  ignore(cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &status));
#else
  ignore(cudaGetDriverEntryPoint(name, &found, cudaEnableDefault, &status));
#endif
  return status == cudaDriverEntryPointSuccess ? found : nullptr;
}

}  // namespace

int device_count() { return static_cast<int>(usable().numbers.size()); }
std::string unavailable_reason() { return usable().reason; }

Properties properties(int device) {
  cudaDeviceProp found{};
  check(cudaGetDeviceProperties(&found, number_of(device)), "cudaGetDeviceProperties");
  Properties result;
  result.name = found.name;
  result.major = found.major;
  result.minor = found.minor;
  result.multiprocessors = found.multiProcessorCount;
  result.memory_bytes = found.totalGlobalMem;
  result.l2_bytes = static_cast<std::size_t>(found.l2CacheSize);
  check(cudaDriverGetVersion(&result.driver_version), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&result.runtime_version), "cudaRuntimeGetVersion");
  return result;
}

void set_device(int device) { check(cudaSetDevice(number_of(device)), "cudaSetDevice"); }

int current_device() noexcept {
  int device = 0;
  ignore(cudaGetDevice(&device));
  return device;
}

void restore_device(int device) noexcept {
  using GetState = int (*)(int, unsigned*, int*);
  if (device == current_device()) return;
  static std::atomic<GetState> kept{nullptr};  // a look-up asks the driver
  GetState get_state = kept.load(std::memory_order_relaxed);
  if (get_state == nullptr) {
    get_state = reinterpret_cast<GetState>(primary_context_state());
    if (get_state == nullptr) return;
    kept.store(get_state, std::memory_order_relaxed);
  }
  unsigned flags = 0;
  int active = 0;
  if (get_state(device, &flags, &active) != 0 || active == 0) return;
  ignore(cudaSetDevice(device));
}

MemoryInfo memory_info() {
  MemoryInfo info;
  check(cudaMemGetInfo(&info.free, &info.total), "cudaMemGetInfo");
  return info;
}

void* allocate(std::size_t bytes, Stream stream) {
  void* address = nullptr;
  const bool pools = has_pools();
  const cudaError_t error = pools ? cudaMallocAsync(&address, bytes, stream) : cudaMalloc(&address, bytes);
  if (error == cudaErrorMemoryAllocation || (error == cudaErrorInvalidValue && bytes > device_memory())) {
    ignore(error);
    return nullptr;
  }
  check(error, pools ? "cudaMallocAsync" : "cudaMalloc");
  return address;
}

void deallocate(void* address, Stream stream) noexcept {
  ignore(has_pools() ? cudaFreeAsync(address, stream) : cudaFree(address));
}

void* allocate_host(std::size_t bytes) {
  void* address = nullptr;
  const cudaError_t error = cudaHostAlloc(&address, bytes, cudaHostAllocPortable);
  if (error == cudaErrorMemoryAllocation) {
    ignore(error);
    return nullptr;
  }
  check(error, "cudaHostAlloc");
  return address;
}

void deallocate_host(void* address) noexcept { ignore(cudaFreeHost(address)); }

void copy_to_device(void* out, const void* host, std::size_t bytes, Stream stream) {
  check(cudaMemcpyAsync(out, host, bytes, cudaMemcpyHostToDevice, stream), "cudaMemcpyAsync to the device");
}

void copy_to_host(void* host, const void* in, std::size_t bytes, Stream stream) {
  check(cudaMemcpyAsync(host, in, bytes, cudaMemcpyDeviceToHost, stream), "cudaMemcpyAsync to the host");
}

void copy_on_device(void* out, const void* in, std::size_t bytes, Stream stream) {
  check(cudaMemcpyAsync(out, in, bytes, cudaMemcpyDeviceToDevice, stream), "cudaMemcpyAsync on the device");
}

void set_bytes(void* out, int value, std::size_t bytes, Stream stream) {
  check(cudaMemsetAsync(out, value, bytes, stream), "cudaMemsetAsync");
}

Stream create_stream() {
  Stream stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  return stream;
}

void destroy_stream(Stream stream) noexcept { ignore(cudaStreamDestroy(stream)); }

void synchronize(Stream stream) { check(cudaStreamSynchronize(stream), "cudaStreamSynchronize"); }

Event create_event() {
  Event event = nullptr;
  check(cudaEventCreate(&event), "cudaEventCreate");
  return event;
}

void destroy_event(Event event) noexcept { ignore(cudaEventDestroy(event)); }

void record(Event event, Stream stream) { check(cudaEventRecord(event, stream), "cudaEventRecord"); }

void synchronize(Event event) { check(cudaEventSynchronize(event), "cudaEventSynchronize"); }

bool is_finished(Event event) {
  const cudaError_t error = cudaEventQuery(event);
  if (error == cudaErrorNotReady) {
    ignore(error);
    return false;
  }
  check(error, "cudaEventQuery");
  return true;
}

float elapsed(Event start, Event end) {
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, start, end), "cudaEventElapsedTime");
  return milliseconds;
}

void begin_capture(Stream stream) {
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
}

bool is_capturing(Stream stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream, &status), "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
}

// A broken capture (something in it cannot be recorded) ends here too: cudaStreamEndCapture reports it and takes the
// stream out of capture mode either way.
GraphExec end_capture(Stream stream, std::size_t* nodes) {
  cudaGraph_t graph = nullptr;
  cudaError_t error = cudaStreamEndCapture(stream, &graph);
  if (error != cudaSuccess) {
    if (graph != nullptr) ignore(cudaGraphDestroy(graph));
    fail(error, "cudaStreamEndCapture");
  }
  if (nodes != nullptr && (error = cudaGraphGetNodes(graph, nullptr, nodes)) != cudaSuccess) {
    ignore(cudaGraphDestroy(graph));
    fail(error, "cudaGraphGetNodes");
  }
  GraphExec executable = nullptr;
  error = cudaGraphInstantiate(&executable, graph, 0);
  ignore(cudaGraphDestroy(graph));
  if (error == cudaErrorMemoryAllocation) {
    ignore(error);
    throw OutOfMemoryError("cudaGraphInstantiate: too little memory for the recorded work");
  }
  check(error, "cudaGraphInstantiate");
  return executable;
}

void abandon_capture(Stream stream) noexcept {
  cudaGraph_t graph = nullptr;
  ignore(cudaStreamEndCapture(stream, &graph));
  if (graph != nullptr) ignore(cudaGraphDestroy(graph));
}

void launch_graph(GraphExec graph, Stream stream) { check(cudaGraphLaunch(graph, stream), "cudaGraphLaunch"); }

void destroy_graph(GraphExec graph) noexcept { ignore(cudaGraphExecDestroy(graph)); }

KernelFacts kernel_facts(const void* kernel, int threads) {
  KernelFacts facts;
  cudaFuncAttributes attributes{};
  check(cudaFuncGetAttributes(&attributes, kernel), "cudaFuncGetAttributes");
  facts.registers = attributes.numRegs;
  facts.shared_bytes = attributes.sharedSizeBytes;
  facts.local_bytes = attributes.localSizeBytes;
  int device = 0, most_threads = 0, blocks = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&most_threads, cudaDevAttrMaxThreadsPerMultiProcessor, device),
        "cudaDeviceGetAttribute");
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, 0),
        "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
  facts.occupancy = static_cast<double>(blocks) * threads / std::max(most_threads, 1);
#if CUDART_VERSION >= 12030
  const char* name = nullptr;
  ignore(cudaFuncGetName(&name, kernel));
  if (name != nullptr) facts.function = name;
#endif
  return facts;
}

void check_launch_shape(const char* kernel, std::int64_t blocks, int threads) {
  if (blocks < 1 || blocks > kMaxBlocks || threads < 1 || threads > kMaxThreads) {
    throw ValueError(std::string("cuda: ") + kernel + ": a launch of " + std::to_string(blocks) + " blocks of " +
                     std::to_string(threads) + " threads; at most " + std::to_string(kMaxBlocks) + " of " +
                     std::to_string(kMaxThreads) + " are possible");
  }
}

void check_launch(const char* kernel) {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) fail(error, std::string("launch of ") + kernel);
}

}  // namespace weft::cuda::runtime
