// The functions of the CUDA runtime that cuda/runtime/runtime.cpp calls, by the twin of tests/cuda_on_cpu, whose checks
// they share. Here the twin's namespace weft::cuda::runtime is weft::cuda::twin_runtime (CMakeLists.txt).
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "faults.h"
#include "twin.h"
#include "weft/error.h"

namespace twin = weft::cuda::twin_runtime;
using weft::cuda_libraries::driver;
using weft::cuda_libraries::faults;
using weft::cuda_libraries::live_objects;

struct CUgraph_st {
  twin::GraphExec work;
  std::size_t nodes;
};

namespace {

thread_local cudaError_t last_error = cudaSuccess;

struct Named {
  cudaError_t error;
  const char *name, *text;
};
constexpr Named kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorIllegalState, "cudaErrorIllegalState", "illegal state"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
};

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

// The twin's message ends with CUDA's text of the error, or with more in brackets.
cudaError_t error_of(const std::string& message) {
  for (const Named& named : kErrors) {
    if (message.find(named.text) != std::string::npos) return named.error;
  }
  return cudaErrorUnknown;
}

template <class F>
cudaError_t run(const char* function, const F& f) {
  if (const int failed = faults().enter(function, cudaErrorUnknown)) {
    return remember(static_cast<cudaError_t>(failed));
  }
  try {
    return remember(f());
  } catch (const weft::Error& error) {
    return remember(error_of(error.what()));
  }
}
template <class F>
cudaError_t call(const char* function, const F& f) {
  return run(function, [&] {
    f();
    return cudaSuccess;
  });
}

cudaError_t allocate(void** out, std::size_t bytes, cudaStream_t stream) {
  *out = nullptr;
  if (bytes > twin::memory_info().total) return cudaErrorInvalidValue;  // as a driver may say of what no device has
  *out = twin::allocate(bytes, stream);
  return *out == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}

// The driver's cuDevicePrimaryCtxGetState: here every device has its context.
int primary_context_state(int, unsigned* flags, int* active) {
  *flags = 0;
  *active = 1;
  return 0;
}

}  // namespace

extern "C" {

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}
const char* cudaGetErrorName(cudaError_t error) {
  for (const Named& named : kErrors) {
    if (named.error == error) return named.name;
  }
  return "unrecognized error code";
}
const char* cudaGetErrorString(cudaError_t error) {
  for (const Named& named : kErrors) {
    if (named.error == error) return named.text;
  }
  return "unrecognized error code";
}

cudaError_t cudaGetDeviceCount(int* count) {
  return run(__func__, [&] {
    *count = static_cast<int>(driver().gpus.size());
    weft::cuda_on_cpu::set_device_count(*count);
    return static_cast<cudaError_t>(driver().count_error);
  });
}
cudaError_t cudaDriverGetVersion(int* version) {
  return call(__func__, [&] { *version = driver().version; });
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  return call(__func__, [&] { *version = CUDART_VERSION; });
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* out, int device) {
  return call(__func__, [&] {
    const twin::Properties found = twin::properties(device);
    const weft::cuda_libraries::Gpu& gpu = driver().gpus.at(static_cast<std::size_t>(device));
    *out = {};
    std::strncpy(out->name, gpu.name.c_str(), sizeof out->name - 1);
    out->major = gpu.major;
    out->minor = gpu.minor;
    out->multiProcessorCount = found.multiprocessors;
    out->totalGlobalMem = found.memory_bytes;
    out->l2CacheSize = static_cast<int>(found.l2_bytes);
  });
}
cudaError_t cudaGetDevice(int* device) {
  return call(__func__, [&] { *device = weft::cuda_on_cpu::current_device(); });
}
cudaError_t cudaSetDevice(int device) {
  return call(__func__, [&] { twin::set_device(device); });
}
cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned version,
                                             unsigned long long flags, cudaDriverEntryPointQueryResult* status) {
  return run(__func__, [&] {
    *function = nullptr;
    if (std::string(name) != "cuDevicePrimaryCtxGetState" || version < 7000 || flags != cudaEnableDefault) {
      return cudaErrorInvalidValue;
    }
    *function = reinterpret_cast<void*>(primary_context_state);
    *status = cudaDriverEntryPointSuccess;
    return cudaSuccess;
  });
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return run(__func__, [&] {
    if (device != weft::cuda_on_cpu::current_device()) return cudaErrorInvalidValue;
    if (attribute == cudaDevAttrMemoryPoolsSupported) {
      *value = driver().pools ? 1 : 0;
    } else if (attribute == cudaDevAttrMaxThreadsPerMultiProcessor) {
      *value = 2048;
    } else {
      return cudaErrorInvalidValue;
    }
    return cudaSuccess;
  });
}

// Every kernel has 40 registers and fills an eighth of the 2,048 threads of a multiprocessor.
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  return call(__func__, [&] {
    *attributes = {};
    attributes->numRegs = 40;
    attributes->sharedSizeBytes = 512;
    attributes->localSizeBytes = 8;
  });
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int threads,
                                                          std::size_t shared_bytes) {
  return run(__func__, [&] {
    if (threads < 1 || shared_bytes != 0) return cudaErrorInvalidValue;
    *blocks = 256 / threads;
    return cudaSuccess;
  });
}
cudaError_t cudaFuncGetName(const char** name, const void*) {
  return call(__func__, [&] { *name = "_Z5scaleIfEvPT_"; });
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  return call(__func__, [&] {
    const twin::MemoryInfo info = twin::memory_info();
    *free = info.free;
    *total = info.total;
  });
}
cudaError_t cudaMallocAsync(void** address, std::size_t bytes, cudaStream_t stream) {
  return run(__func__, [&] { return driver().pools ? allocate(address, bytes, stream) : cudaErrorInvalidValue; });
}
cudaError_t cudaMalloc(void** address, std::size_t bytes) {
  return run(__func__, [&] { return allocate(address, bytes, nullptr); });
}
cudaError_t cudaFreeAsync(void* address, cudaStream_t stream) {
  return run(__func__, [&] {
    if (!driver().pools) return cudaErrorInvalidValue;
    twin::deallocate(address, stream);
    return cudaSuccess;
  });
}
cudaError_t cudaFree(void* address) {
  return call(__func__, [&] { twin::deallocate(address, nullptr); });
}
cudaError_t cudaHostAlloc(void** address, std::size_t bytes, unsigned flags) {
  return run(__func__, [&] {
    if (flags != cudaHostAllocPortable) return cudaErrorInvalidValue;
    *address = twin::allocate_host(bytes);
    return *address == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
  });
}
cudaError_t cudaFreeHost(void* address) {
  return call(__func__, [&] { twin::deallocate_host(address); });
}
cudaError_t cudaMemcpyAsync(void* out, const void* in, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return run(__func__, [&] {
    switch (kind) {
      case cudaMemcpyHostToDevice:
        twin::copy_to_device(out, in, bytes, stream);
        return cudaSuccess;
      case cudaMemcpyDeviceToHost:
        twin::copy_to_host(out, in, bytes, stream);
        return cudaSuccess;
      case cudaMemcpyDeviceToDevice:
        twin::copy_on_device(out, in, bytes, stream);
        return cudaSuccess;
      default:
        return cudaErrorInvalidValue;
    }
  });
}
cudaError_t cudaMemsetAsync(void* out, int value, std::size_t bytes, cudaStream_t stream) {
  return call(__func__, [&] { twin::set_bytes(out, value, bytes, stream); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return run(__func__, [&] {
    if (flags != cudaStreamNonBlocking) return cudaErrorInvalidValue;
    *stream = twin::create_stream();
    live_objects().add("stream", 1);
    return cudaSuccess;
  });
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call(__func__, [&] {
    twin::destroy_stream(stream);
    live_objects().add("stream", -1);
  });
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return call(__func__, [&] { twin::synchronize(stream); });
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return call(__func__, [&] {
    *event = twin::create_event();
    live_objects().add("event", 1);
  });
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call(__func__, [&] {
    twin::destroy_event(event);
    live_objects().add("event", -1);
  });
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call(__func__, [&] { twin::record(event, stream); });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call(__func__, [&] { twin::synchronize(event); });
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return run(__func__, [&] { return twin::is_finished(event) ? cudaSuccess : cudaErrorNotReady; });
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return call(__func__, [&] { *milliseconds = twin::elapsed(start, end); });
}

// A failure that was asked for breaks the capture, whose graph then exists without being of use: so CUDA may do.
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return run(__func__, [&] {
    if (mode != cudaStreamCaptureModeRelaxed) return cudaErrorInvalidValue;
    twin::begin_capture(stream);
    return cudaSuccess;
  });
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  cudaError_t error = cudaSuccess;
  try {
    std::size_t nodes = 0;
    const twin::GraphExec work = twin::end_capture(stream, &nodes);
    *graph = new CUgraph_st{work, nodes};
    live_objects().add("graph", 1);
  } catch (const weft::Error& found) {
    error = error_of(found.what());
  }
  return run(__func__, [&] { return error; });
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return call(__func__, [&] {
    *status = twin::is_capturing(stream) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  });
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  return run(__func__, [&] {
    if (nodes != nullptr) return cudaErrorInvalidValue;
    *count = graph->nodes;
    return cudaSuccess;
  });
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags) {
  return run(__func__, [&] {
    if (flags != 0 || graph->work == nullptr) return cudaErrorInvalidValue;
    *executable = std::exchange(graph->work, nullptr);
    live_objects().add("executable graph", 1);
    return cudaSuccess;
  });
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return call(__func__, [&] {
    twin::destroy_graph(graph->work);
    delete graph;
    live_objects().add("graph", -1);
  });
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return call(__func__, [&] {
    twin::destroy_graph(executable);
    live_objects().add("executable graph", -1);
  });
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return call(__func__, [&] { twin::launch_graph(executable, stream); });
}

}  // extern "C"
