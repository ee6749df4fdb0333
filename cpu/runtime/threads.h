#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/runtime/function_ref.h"

namespace weft::cpu {

/// Threads that a parallel region uses, the caller included. At first OMP_NUM_THREADS if set, else allowed_cpus().
int thread_count();

/// Changes it; `n` may exceed the CPUs, n < 1 counts as 1. Waits for a region running in another thread; inside a
/// parallel body it throws weft::Error.
void set_thread_count(int n);

/// CPUs this process may use: its affinity mask, limited by its cgroup's quota (rounded up); at least 1.
int allowed_cpus();

/// Runs body(i) once for each i in [0, tasks), in no order, on up to thread_count() threads. The first exception is
/// rethrown here once the tasks in flight have ended; tasks not yet begun are dropped. Calls from inside a body, and
/// calls while another thread's region has the workers, run in the calling thread alone.
void parallel_for(std::int64_t tasks, FunctionRef<void(std::int64_t)> body);

/// Runs body(begin, end) over [0, n) in blocks of `grain` (>= 1), the last one shorter. The partition depends on n and
/// grain alone, so what is computed per block has the same bits on any number of threads.
void parallel_blocks(std::int64_t n, std::int64_t grain, FunctionRef<void(std::int64_t, std::int64_t)> body);

/// The buffers of a thread. A kernel may hold all those that are not gemm's while it calls gemm or gemm_tile.
enum class ScratchSlot {
  task,         ///< for the operands and results of one task
  shared,       ///< for what the calling thread hands to all of its tasks, some of which it runs itself
  sums,         ///< for the sums of all tasks, or for those that a task keeps in double
  extra,        ///< for a second operand or result of one task
  gemm_panels,  ///< gemm's panels
  gemm_sums,    ///< gemm's sums of the splits after the first
  count
};

/// This thread's buffer of the name `slot`, 64-byte aligned, of at least `bytes`. Its contents are undefined; it stays
/// valid until this thread asks for a larger one of the same slot, and is freed when the thread ends.
void* scratch(ScratchSlot slot, std::size_t bytes);

/// True once the process is ending and its workers are gone: destructors of statics run, and libraries' own are gone.
bool process_ends() noexcept;

}  // namespace weft::cpu
