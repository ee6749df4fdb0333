#include "cuda/runtime/backend.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "cuda/runtime/transfer.h"
#include "weft/error.h"

namespace weft::cuda {

namespace {

/// A captured graph with the memory that it keeps, made and recorded under the context's lock.
class Graph final : public Replay {
 public:
  explicit Graph(Context& context) : context_(context), memory_(context.memory.begin_graph()) {}
  ~Graph() override {
    const std::lock_guard lock(context_.mutex);
    if (graph_ != nullptr) runtime::destroy_graph(graph_);
    context_.memory.free_graph(memory_);
  }
  void record(const std::function<void()>& fn) {
    runtime::begin_capture(context_.stream);
    try {
      fn();
    } catch (...) {
      runtime::abandon_capture(context_.stream);
      throw;
    }
    graph_ = runtime::end_capture(context_.stream, &nodes_);
    context_.memory.end_graph();
  }
  void launch() override {
    const ContextLock lock(context_);
    runtime::launch_graph(graph_, context_.stream);
  }
  std::int64_t nodes() const override { return static_cast<std::int64_t>(nodes_); }

 private:
  Context& context_;
  runtime::GraphExec graph_ = nullptr;
  std::size_t nodes_ = 0;
  Memory::GraphId memory_;
};

}  // namespace

int CudaBackend::enter() {
  context_.mutex.lock();
  try {
    return make_current(context_.device);
  } catch (...) {
    context_.mutex.unlock();
    throw;
  }
}

void CudaBackend::leave(int previous) noexcept {
  runtime::restore_device(previous);
  context_.mutex.unlock();
}

std::string CudaBackend::description() const {
  const runtime::Properties& p = context_.properties;
  const auto version = [](int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); };
  return p.name + ", compute capability " + std::to_string(p.major) + "." + std::to_string(p.minor) + ", " +
         std::to_string(p.memory_bytes >> 20) + " MiB, driver for CUDA " + version(p.driver_version) + ", runtime " +
         version(p.runtime_version) + ", " + blas::description();
}

void* CudaBackend::allocate(std::size_t bytes) { return context_.memory.allocate(bytes); }

void CudaBackend::deallocate(void* address, std::size_t bytes) noexcept {
  const std::lock_guard lock(context_.mutex);
  context_.memory.deallocate(address, bytes);
}

MemoryStatistics CudaBackend::memory_statistics() const { return context_.memory.statistics(); }

void CudaBackend::release_cached_memory() { context_.memory.release_cached(); }

void CudaBackend::synchronize() { runtime::synchronize(context_.stream); }

std::unique_ptr<Replay> CudaBackend::capture(const std::function<void()>& fn) {
  auto graph = std::make_unique<Graph>(context_);
  graph->record(fn);
  return graph;
}

int device_count() { return runtime::device_count(); }

std::string unavailable_reason() { return runtime::unavailable_reason(); }

CudaBackend& backend(int index) {
  constexpr int kMost = 64;
  static std::atomic<CudaBackend*> backends[kMost];  // made at first use, never destroyed
  static std::mutex& mutex = *new std::mutex;
  if (index >= 0 && index < kMost) {
    if (CudaBackend* made = backends[index].load(std::memory_order_acquire)) return *made;
  }
  Context& of_index = context(index);
  if (index >= kMost) throw DeviceError("device cuda:" + std::to_string(index) + ": at most 64 devices are supported");
  const std::lock_guard lock(mutex);
  if (backends[index].load(std::memory_order_relaxed) == nullptr) {
    backends[index].store(new CudaBackend(of_index), std::memory_order_release);
  }
  return *backends[index].load(std::memory_order_relaxed);
}

}  // namespace weft::cuda
