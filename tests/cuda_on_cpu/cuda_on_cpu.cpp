#include "cuda_on_cpu.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <numeric>
#include <string>

#include "fiber.h"
#include "tests/ptx_on_cpu/executor.h"
#include "twin.h"
#include "weft/error.h"

weft::cuda_on_cpu::Index threadIdx, blockIdx, blockDim, gridDim;

namespace weft::cuda_on_cpu {

namespace {

constexpr int kMaxThreads = 1024, kWarp = 32;
constexpr std::size_t kSharedBytes = 48 << 10, kRedzone = 64, kMaxAlign = 128;
constexpr int kMaxRegions = 64;
constexpr bool kFiberPerThread = WEFT_TSAN != 0;  // ThreadSanitizer tells threads apart by their fibers

enum class State : std::uint8_t { ready, at_barrier, at_shuffle, done };

struct Thread {
  Fiber* fiber = nullptr;  // while it is inside the kernel
  State state = State::done;
  bool inside = false;  // the kernel
  int line = 0;         // of the barrier or shuffle where it waits
  Shuffle kind = Shuffle::by_xor;
  int operand = 0;
  alignas(16) unsigned char sent[kShuffleBytes] = {}, received[kShuffleBytes] = {};
};

struct Warp {
  int waiting = 0;
  unsigned shuffles = 0;
  alignas(16) unsigned char gathered[2][kWarp * kShuffleBytes] = {};  // in turn, as the tags
  // Two in turn, so that a lane that is already at its next shuffle is not ordered before one still leaving this.
  Tag tags[2];
};

// A declaration of shared memory.
struct Region {
  int line;
  unsigned column;
  const char *file, *function;
  std::size_t bytes;
  unsigned char* address;
};

class Engine {
 public:
  void run(const char* name, std::int64_t blocks, int threads, const std::function<void()>& body, Order order);
  void barrier(int line, const char* file);
  const unsigned char* exchange(Shuffle kind, int operand, const void* value, std::size_t bytes, int line);
  void* shared(std::size_t bytes, std::size_t align, int line, const Place& where);

 private:
  static void fiber_main();
  void run_block();
  void run_threads();
  void set_running(int index);
  void begin_thread(int index, Fiber& fiber);
  bool begin_next_thread(Fiber& fiber);
  void prepare_fiber(int index);
  void wait(State state, int line);
  void finish_shuffle(int warp);
  void release_barrier();
  std::string complaint() const;
  void shuffle_threads();
  void end_block(bool failed);
  [[noreturn]] void fail(const std::string& what) const { throw KernelError("kernel " + (name_ + (": " + what))); }
  std::uint64_t random();

  std::mutex mutex_;
  std::string name_;
  const std::function<void()>* body_ = nullptr;
  int threads_ = 0, running_ = 0, position_ = 0;  // position_: of the running thread in turn_
  Order order_ = Order::forward;
  std::uint64_t random_state_ = 0x9E3779B97F4A7C15u;

  Thread thread_[kMaxThreads];
  Fiber fiber_[kMaxThreads];
  Fiber* idle_[kMaxThreads] = {};
  int idle_fibers_ = 0;
  int turn_[kMaxThreads] = {};
  Warp warp_[kMaxThreads / kWarp];
  int prepared_ = 0, ready_ = 0, done_ = 0, at_barrier_ = 0;
  int barrier_line_ = 0;
  const char* barrier_file_ = "";
  int other_barrier_line_ = -1;  // of a thread at another barrier than the first one to wait
  unsigned barriers_ = 0;
  Tag start_tag_, end_tag_, barrier_tags_[2];
  std::exception_ptr error_;

  Region region_[kMaxRegions];
  int regions_ = 0;
  std::size_t shared_bytes_ = 0, arena_used_ = 0;
  alignas(kMaxAlign) unsigned char arena_[kSharedBytes + (kMaxRegions + 1) * (kRedzone + 2 * kMaxAlign)];
};

Engine engine;
std::atomic<std::uint64_t> launch_count{0};

Order order_of_environment() {
  const char* const text = std::getenv("WEFT_CUDA_ON_CPU_ORDER");
  if (text == nullptr || std::strcmp(text, "forward") == 0) return Order::forward;
  if (std::strcmp(text, "reverse") == 0) return Order::reverse;
  if (std::strcmp(text, "shuffled") == 0) return Order::shuffled;
  throw KernelError(std::string("WEFT_CUDA_ON_CPU_ORDER is \"") + text + "\", not forward, reverse or shuffled");
}

std::atomic<int> chosen_order{-1};

Order current_order() {
  const int chosen = chosen_order.load();
  if (chosen >= 0) return static_cast<Order>(chosen);
  static const Order initial = order_of_environment();
  return initial;
}

void Engine::fiber_main() {
  fiber_entered();
  Fiber& fiber = *engine.thread_[engine.running_].fiber;
  for (;;) {
    engine.start_tag_.acquire();
    try {
      (*engine.body_)();
    } catch (...) {
      const Quiet quiet;
      engine.error_ = std::current_exception();
    }
    engine.end_tag_.release();
    const Quiet quiet;
    Thread& thread = engine.thread_[engine.running_];
    thread.state = State::done;
    thread.inside = false;
    ++engine.done_;
    if (engine.begin_next_thread(fiber)) continue;
    engine.idle_[engine.idle_fibers_++] = &fiber;
    suspend(fiber);
  }
}

void Engine::set_running(int index) {
  running_ = index;
  threadIdx = {static_cast<unsigned>(index), 0, 0};
}

void Engine::begin_thread(int index, Fiber& fiber) {
  thread_[index].fiber = &fiber;
  thread_[index].inside = true;
  set_running(index);
}

// A thread that ended without waiting leaves its fiber to the next one, which saves the switch.
bool Engine::begin_next_thread(Fiber& fiber) {
  if (kFiberPerThread || error_ != nullptr || position_ + 1 == threads_) return false;
  const int next = turn_[position_ + 1];
  if (thread_[next].state != State::ready || thread_[next].inside) return false;
  ++position_;
  --ready_;
  begin_thread(next, fiber);
  return true;
}

void Engine::prepare_fiber(int index) {
  prepare(fiber_[index], fiber_main, index);
  idle_[idle_fibers_++] = &fiber_[index];
}

std::uint64_t Engine::random() {
  random_state_ ^= random_state_ << 13;
  random_state_ ^= random_state_ >> 7;
  random_state_ ^= random_state_ << 17;
  return random_state_;
}

void Engine::shuffle_threads() {
  for (int i = threads_ - 1; i > 0; --i) {
    const auto other = static_cast<int>((random() >> 32) * static_cast<std::uint64_t>(i + 1) >> 32);
    std::swap(turn_[i], turn_[other]);
  }
}

void Engine::run(const char* name, std::int64_t blocks, int threads, const std::function<void()>& body, Order order) {
  const std::lock_guard lock(mutex_);
  const Quiet quiet;
  name_ = name;
  body_ = &body;
  threads_ = threads;
  order_ = order;
  for (; prepared_ < threads; ++prepared_) prepare_fiber(prepared_);
  for (int i = 0; i < threads; ++i) turn_[i] = order == Order::reverse ? threads - 1 - i : i;
  blockDim = {static_cast<unsigned>(threads), 1, 1};
  gridDim = {static_cast<unsigned>(blocks), 1, 1};

  // first, first + step, ... modulo blocks: a permutation, as step has no factor in common with blocks.
  const auto count = static_cast<std::uint64_t>(blocks);
  std::uint64_t block = 0, step = 1;
  if (order == Order::reverse) {
    block = count - 1;
    step = count - 1;
  } else if (order == Order::shuffled) {
    block = random() % count;
    do {
      step = 1 + random() % count;
    } while (std::gcd(step, count) != 1);
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    blockIdx = {static_cast<unsigned>(block), 0, 0};
    run_block();
    block = (block + step) % count;
  }
}

void Engine::run_block() {
  ready_ = threads_;
  done_ = at_barrier_ = 0;
  for (int i = 0; i < threads_; ++i) thread_[i].state = State::ready;
  start_tag_.release();
  try {
    run_threads();
  } catch (...) {
    end_block(true);
    throw;
  }
  end_block(false);
}

void Engine::run_threads() {
  while (done_ < threads_) {
    if (order_ == Order::shuffled) shuffle_threads();
    for (position_ = 0; position_ < threads_; ++position_) {
      const int index = turn_[position_];
      Thread& thread = thread_[index];
      if (thread.state != State::ready) continue;
      if (thread.inside) {
        set_running(index);
      } else {
        --idle_fibers_;
        begin_thread(index, kFiberPerThread ? fiber_[index] : *idle_[idle_fibers_]);
      }
      resume(*thread.fiber);
      --ready_;
      if (error_ != nullptr) std::rethrow_exception(std::exchange(error_, nullptr));
    }
    if (done_ == threads_ || ready_ > 0) continue;
    if (at_barrier_ != threads_ || other_barrier_line_ >= 0) fail(complaint());
    release_barrier();
  }
}

void Engine::end_block(bool failed) {
  end_tag_.acquire();
  if (failed) {
    for (int i = 0; i < threads_; ++i) {
      if (std::exchange(thread_[i].inside, false)) prepare_fiber(static_cast<int>(thread_[i].fiber - fiber_));
    }
    for (Warp& warp : warp_) warp.waiting = 0;
    other_barrier_line_ = -1;
    error_ = nullptr;
  }
  if (regions_ > 0) {
    poison(arena_, arena_used_);
    regions_ = 0;
    shared_bytes_ = arena_used_ = 0;
  }
}

std::string Engine::complaint() const {
  if (other_barrier_line_ >= 0) {
    return "threads of a block wait at different barriers (lines " + std::to_string(barrier_line_) + " and " +
           std::to_string(other_barrier_line_) + ")";
  }
  for (int i = 0; i < threads_; ++i) {
    if (thread_[i].state == State::at_shuffle) {
      return "a shuffle is not reached by every lane of its warp (line " + std::to_string(thread_[i].line) + ")";
    }
  }
  return "some threads ended while others wait at line " + std::to_string(barrier_line_);
}

void Engine::wait(State state, int line) {
  Thread& self = thread_[running_];
  self.state = state;
  self.line = line;
  suspend(*self.fiber);
}

void Engine::barrier(int line, const char* file) {
  Tag& tag = barrier_tags_[barriers_ % 2];  // as for shuffles
  tag.release();
  {
    const Quiet quiet;
    if (at_barrier_ == 0) {
      barrier_line_ = line;
      barrier_file_ = file;
    } else if (line != barrier_line_ || (file != barrier_file_ && std::strcmp(file, barrier_file_) != 0)) {
      other_barrier_line_ = line;
    }
    ++at_barrier_;
    wait(State::at_barrier, line);
  }
  tag.acquire();
}

void Engine::release_barrier() {
  ++barriers_;
  at_barrier_ = 0;
  ready_ = threads_;
  for (int i = 0; i < threads_; ++i) thread_[i].state = State::ready;
}

// Returns what the lane received, or for Shuffle::all what every lane sent.
const unsigned char* Engine::exchange(Shuffle kind, int operand, const void* value, std::size_t bytes, int line) {
  Tag* tag = nullptr;
  const unsigned char* received = nullptr;
  {
    const Quiet quiet;
    if (threads_ % kWarp != 0) {
      fail("a shuffle in a block of " + std::to_string(threads_) + " threads, which are not whole warps (line " +
           std::to_string(line) + ")");
    }
    Warp& warp = warp_[running_ / kWarp];
    const unsigned turn = warp.shuffles % 2;
    tag = &warp.tags[turn];
    tag->release();
    Thread& self = thread_[running_];
    self.kind = kind;
    self.operand = operand;
    std::memcpy(self.sent, value, bytes);
    self.line = line;
    if (++warp.waiting < kWarp) {
      wait(State::at_shuffle, line);
    } else {
      finish_shuffle(running_ / kWarp);
    }
    received = kind == Shuffle::all ? warp.gathered[turn] : self.received;
  }
  tag->acquire();
  return received;
}

// The last lane has come; it goes on at once.
void Engine::finish_shuffle(int warp) {
  Thread* const lanes = thread_ + warp * kWarp;
  for (int lane = 0; lane < kWarp; ++lane) {
    if (lanes[lane].line != lanes[0].line || lanes[lane].kind != lanes[0].kind) {
      fail("lanes of a warp wait at different shuffles (lines " + std::to_string(lanes[0].line) + " and " +
           std::to_string(lanes[lane].line) + ")");
    }
    if (lanes[lane].kind == Shuffle::all) {
      std::memcpy(warp_[warp].gathered[warp_[warp].shuffles % 2] + lane * kShuffleBytes, lanes[lane].sent,
                  kShuffleBytes);
    }
    const int operand = lanes[lane].operand;
    const int source = lanes[lane].kind == Shuffle::by_xor ? lane ^ operand : lane + operand;
    const bool exists = operand >= 0 && operand < kWarp && source < kWarp;
    std::memcpy(lanes[lane].received, lanes[exists ? source : lane].sent, kShuffleBytes);
    lanes[lane].state = State::ready;
  }
  ready_ += kWarp - 1;
  warp_[warp].waiting = 0;
  ++warp_[warp].shuffles;
}

// Each region lies at the least aligned address that its declaration allows, so that a wider load from it is caught.
void* Engine::shared(std::size_t bytes, std::size_t align, int line, const Place& where) {
  const Quiet quiet;
  for (const Region* region = region_; region < region_ + regions_; ++region) {
    if (region->line != line || region->column != where.column() || region->bytes != bytes) continue;
    if (region->function == where.function_name() || (std::strcmp(region->function, where.function_name()) == 0 &&
                                                      std::strcmp(region->file, where.file_name()) == 0)) {
      return region->address;
    }
  }
  shared_bytes_ = (shared_bytes_ + align - 1) / align * align + bytes;
  if (shared_bytes_ > kSharedBytes) {
    fail(std::to_string(shared_bytes_) + " bytes of shared memory, more than " + std::to_string(kSharedBytes));
  }
  if (regions_ == kMaxRegions || align > kMaxAlign) fail("too many or too aligned arrays in shared memory");
  const std::size_t granule = std::max<std::size_t>(align, 8);
  const std::size_t start = (arena_used_ + kRedzone + 2 * granule - 1) / (2 * granule) * (2 * granule) + granule;
  if (regions_ == 0) poison(arena_, sizeof arena_);
  arena_used_ = start + bytes;
  unsigned char* const address = arena_ + start;
  unpoison(address, bytes);
  std::memset(address, 0xFF, bytes);
  region_[regions_++] = {line, where.column(), where.file_name(), where.function_name(), bytes, address};
  return address;
}

}  // namespace

void set_order(Order order) { chosen_order = static_cast<int>(order); }
std::uint64_t launches() noexcept { return launch_count.load(); }

void* shared(std::size_t bytes, std::size_t align, int line, const Place& where) {
  return engine.shared(bytes, align, line, where);
}
void barrier(int line, const char* file) { engine.barrier(line, file); }
void exchange(Shuffle kind, int operand, void* value, std::size_t bytes, int line) {
  const unsigned char* const received = engine.exchange(kind, operand, value, bytes, line);
  const Quiet quiet;
  std::memcpy(value, received, bytes);
}
const unsigned char* exchange_all(const void* value, std::size_t bytes, int line) {
  return engine.exchange(Shuffle::all, 0, value, bytes, line);
}

void launch_body(const char* name, std::int64_t blocks, int threads, cuda::runtime::Stream stream, Call call,
                 std::function<void()> body) {
  cuda::runtime::check_launch_shape(name, blocks, threads);
  constexpr const char* what = "cudaLaunchKernel";
  if (device_of(stream, what) != current_device()) {
    throw DeviceError(std::string(what) + ": kernel " + name + " on a stream of another device");
  }
  enqueue(what, stream, [name = std::string(name), blocks, threads, call = std::move(call), body = std::move(body)] {
    if (blocks == 0) return;
    launch_count.fetch_add(1);
    const auto fibers = [&] { engine.run(name.c_str(), blocks, threads, body, current_order()); };
    if (call.kernel == nullptr || !ptx_on_cpu::wanted()) return fibers();
    ptx_on_cpu::run_kernel({name, call.kernel, call.arguments, blocks, threads, fibers});
  });
}

}  // namespace weft::cuda_on_cpu
