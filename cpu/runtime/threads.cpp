#include "cpu/runtime/threads.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "core/device/integer.h"
#include "cpu/runtime/cgroup.h"
#include "cpu/runtime/denormals.h"
#include "weft/error.h"

namespace weft::cpu {
namespace {

constexpr std::size_t kCacheLine = 64;
constexpr std::chrono::microseconds kSpin{30};  // a few times what waking a thread costs

thread_local bool in_region = false;

struct RegionMark {
  RegionMark() : outer(in_region) { in_region = true; }
  ~RegionMark() { in_region = outer; }
  bool outer;
};

void pause_cpu() {
#ifdef WEFT_X86
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Polls `ready` for at most kSpin.
template <class Ready>
bool spin_until(Ready ready) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      pause_cpu();
    }
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

int affinity_cpus() {
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {  // too small a mask for the kernel gives EINVAL
    cpu_set_t* mask = CPU_ALLOC(cpus);
    if (mask == nullptr) break;
    const std::size_t bytes = CPU_ALLOC_SIZE(cpus);
    const int count = sched_getaffinity(0, bytes, mask) == 0 ? CPU_COUNT_S(bytes, mask) : 0;
    CPU_FREE(mask);
    if (count > 0) return count;
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int initial_thread_count() {
  if (const char* text = std::getenv("OMP_NUM_THREADS")) {  // "4", or "4,2" for nested levels
    char* end = nullptr;
    const long wanted = std::strtol(text, &end, 10);
    const bool is_number = std::strchr(", \t\n", *end) != nullptr;  // the end of the text too
    if (is_number && wanted >= 1 && wanted < LONG_MAX) return static_cast<int>(std::min(wanted, 1024L));
  }
  return allowed_cpus();
}

/// One region at a time. A task is claimed by counting unclaimed_ down, and only a claim makes a thread part of the
/// region: body_, tasks_ and flushes_ are read after it and hold until unfinished_ is zero, which needs the claimed
/// task's end. So a worker that is late, or off the CPU, can neither delay a region nor see a stale one.
class Pool {
 public:
  explicit Pool(int threads) : threads_(threads) {}
  int threads() const { return threads_.load(std::memory_order_relaxed); }

  void resize(int n) {
    const std::lock_guard region(region_);
    stop_workers();
    threads_.store(std::max(1, n), std::memory_order_relaxed);
  }

  /// Joins the workers for good; later regions run in their caller.
  void close() {
    const std::lock_guard region(region_);
    stop_workers();
    closed_ = true;
  }

  /// False, and nothing done, while another thread has the workers or when there are none.
  bool run_tasks(std::int64_t tasks, FunctionRef<void(std::int64_t)> body) {
    const std::unique_lock region(region_, std::try_to_lock);
    if (!region.owns_lock() || closed_ || threads() == 1) return false;
    if (workers_.empty()) start_workers();
    if (workers_.empty()) return false;

    body_ = &body;
    tasks_ = tasks;
    flushes_ = thread_flushes();
    unfinished_.store(tasks, std::memory_order_relaxed);
    unclaimed_.store(tasks);
    if (sleepers_.load() > 0) {
      { const std::lock_guard lock(mutex_); }  // a worker on its way to sleep has either seen the tasks or is waiting
      if (tasks > 2) {
        wake_.notify_all();
      } else {
        wake_.notify_one();
      }
    }
    work();
    wait_for_end();
    if (error_) {
      const std::exception_ptr error = std::exchange(error_, nullptr);
      std::rethrow_exception(error);
    }
    return true;
  }

 private:
  void start_workers() {
    spin_ = threads() <= allowed_cpus();
    try {
      while (static_cast<int>(workers_.size()) < threads() - 1) workers_.emplace_back([this] { worker(); });
    } catch (const std::exception&) {  // the system gives no more threads: fewer do the same work
    }
  }

  void stop_workers() {
    {
      const std::lock_guard lock(mutex_);
      stop_.store(true);
    }
    wake_.notify_all();
    for (std::thread& thread : workers_) thread.join();
    workers_.clear();
    stop_.store(false);
  }

  bool worker_wanted() const { return unclaimed_.load() > 0 || stop_.load(); }

  void worker() {
    in_region = true;
    while (!stop_.load()) {
      work();
      if (spin_ && spin_until([this] { return worker_wanted(); })) continue;
      std::unique_lock lock(mutex_);
      sleepers_.fetch_add(1);
      wake_.wait(lock, [this] { return worker_wanted(); });
      sleepers_.fetch_sub(1);
    }
  }

  /// Claims and runs tasks until none is unclaimed.
  void work() {
    const RegionMark mark;
    std::int64_t left = unclaimed_.load();
    while (left > 0) {
      if (!unclaimed_.compare_exchange_weak(left, left - 1)) continue;
      std::int64_t ended = 1;
      set_thread_flushes(flushes_);
      try {
        (*body_)(tasks_ - left);
      } catch (...) {
        ended += unclaimed_.exchange(0);
        const std::lock_guard lock(mutex_);
        if (!error_) error_ = std::current_exception();
      }
      if (unfinished_.fetch_sub(ended) == ended && caller_waits_.load()) {
        const std::lock_guard lock(mutex_);
        done_.notify_one();
      }
      left = unclaimed_.load();
    }
  }

  void wait_for_end() {
    const auto ended = [this] { return unfinished_.load() == 0; };
    if (ended() || (spin_ && spin_until(ended))) return;
    std::unique_lock lock(mutex_);
    caller_waits_.store(true);
    done_.wait(lock, ended);
    caller_waits_.store(false);
  }

  alignas(kCacheLine) std::atomic<std::int64_t> unclaimed_{0};
  alignas(kCacheLine) std::atomic<std::int64_t> unfinished_{0};
  alignas(kCacheLine) std::atomic<int> sleepers_{0};
  std::atomic<bool> caller_waits_{false};
  std::atomic<bool> stop_{false};
  const FunctionRef<void(std::int64_t)>* body_ = nullptr;
  std::int64_t tasks_ = 0;
  bool flushes_ = false;  // denormal numbers, as the region's caller does
  bool spin_ = false;     // written while there are no workers

  std::mutex region_;  // held by the thread whose region this is
  bool closed_ = false;
  std::atomic<int> threads_;
  std::vector<std::thread> workers_;

  std::mutex mutex_;  // sleeping, waking and error_
  std::condition_variable wake_, done_;
  std::exception_ptr error_;
};

std::atomic<bool> workers_ended{false};

/// Never destroyed, so that destructors of other statics may still run regions; its workers are joined at exit. A child
/// process has none of its parent's threads, so it gets another pool; the parent's, whose locks may be held for ever,
/// stays as it is.
Pool& pool() {
  static std::atomic<Pool*> current{new Pool(initial_thread_count())};
  [[maybe_unused]] static const int watched =
      pthread_atfork(nullptr, nullptr, [] { current.store(new Pool(current.load()->threads())); });
  static struct Closer {
    ~Closer() {
      current.load()->close();
      workers_ended.store(true);
    }
  } closer;
  return *current.load(std::memory_order_acquire);
}

constexpr auto kScratchSlots = static_cast<std::size_t>(ScratchSlot::count);

/// The buffers of a thread. It has no destructor, because destructors of statics may use the buffers after that of
/// ScratchOwner.
struct Scratch {
  void* buffers[kScratchSlots];
  std::size_t sizes[kScratchSlots];

  void release(std::size_t slot) {
    ::operator delete (std::exchange(buffers[slot], nullptr), std::align_val_t{kCacheLine});
    sizes[slot] = 0;
  }
};
thread_local constinit Scratch thread_scratch{};

struct ScratchOwner {
  ScratchOwner() = default;
  ScratchOwner(const ScratchOwner&) = delete;
  ScratchOwner& operator=(const ScratchOwner&) = delete;
  ~ScratchOwner() {
    for (std::size_t slot = 0; slot < kScratchSlots; ++slot) thread_scratch.release(slot);
  }
};

}  // namespace

int allowed_cpus() {
  const int quota = cgroup_cpus();
  const int affinity = affinity_cpus();
  return quota > 0 ? std::min(quota, affinity) : affinity;
}

int thread_count() { return pool().threads(); }

void set_thread_count(int n) {
  if (in_region) throw Error("set_thread_count: called from inside a parallel body");
  pool().resize(n);
}

void parallel_for(std::int64_t tasks, FunctionRef<void(std::int64_t)> body) {
  if (tasks <= 1) {  // no region: what is inside may be one
    if (tasks == 1) body(0);
    return;
  }
  if (!in_region && pool().run_tasks(tasks, body)) return;
  const RegionMark mark;
  for (std::int64_t i = 0; i < tasks; ++i) body(i);
}

void parallel_blocks(std::int64_t n, std::int64_t grain, FunctionRef<void(std::int64_t, std::int64_t)> body) {
  if (n <= 0) return;
  grain = std::max<std::int64_t>(1, grain);
  parallel_for(ceil_div(n, grain), [&](std::int64_t block) {
    const std::int64_t begin = block * grain;
    body(begin, begin + std::min(grain, n - begin));
  });
}

void* scratch(ScratchSlot slot, std::size_t bytes) {
  thread_local const ScratchOwner owner;
  Scratch& own = thread_scratch;
  const auto i = static_cast<std::size_t>(slot);
  if (bytes > own.sizes[i]) {
    own.release(i);
    own.buffers[i] = ::operator new (bytes, std::align_val_t{kCacheLine});
    own.sizes[i] = bytes;
  }
  return own.buffers[i];
}

bool process_ends() noexcept { return workers_ended.load(std::memory_order_relaxed); }

}  // namespace weft::cpu
