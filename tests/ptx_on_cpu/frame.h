#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "memory.h"
#include "module.h"

// A block of threads that executes a function. All threads at the lowest program counter run an instruction together,
// so that paths which branched apart meet again where they join.

namespace weft::ptx_on_cpu {

/// Threads that run an instruction: `count` of them, in order; `dense`: all from `first` on.
struct Lanes {
  const std::uint16_t* at;
  int count, first;
  bool dense;
};

/// What the blocks of a launch share.
struct Launch {
  const Function* entry;
  std::int64_t blocks;
  int threads;
  const unsigned char* parameters;
  DeviceMemory* memory;
  std::uint32_t left_out = kNowhere;  ///< an instruction that is passed over: a fault that a test plants
  std::uint64_t executed = 0;         ///< thread instructions
  /// Where set, a read of shared memory that nobody wrote is noted there and gets bytes of `fill`, because compilers
  /// may read early what they then do not use. Where null, it is an error.
  std::string* unwritten = nullptr;
  unsigned char fill = 0xFF;
  bool shares = false;  ///< some block counted with others, so that it may see what they wrote
};

enum class Stop : std::uint8_t { done, barrier, fence, atomic };

class Block;

class Frame {
 public:
  /// Room for the registers of the function in `threads` threads.
  Frame(Block& block, const Function& function, int threads);
  /// All threads of `group` begin at the first instruction.
  void begin(const Lanes& group);
  /// Until the next instruction that other blocks may see or wait for.
  Stop run();

  template <class T>
  T* reg(std::uint32_t place) {
    return reinterpret_cast<T*>(registers_.data() + static_cast<std::size_t>(place) * stride_);
  }
  unsigned char* local(int thread) { return local_.data() + static_cast<std::size_t>(thread) * function_->local_bytes; }
  const Function& function() const { return *function_; }
  Block& block() { return *block_; }
  int threads() const { return threads_; }
  std::uint32_t* carry() { return carry_.data(); }
  /// Throws PtxError with the kernel, the block and the instruction.
  [[noreturn]] void fail(const Instruction& at, const std::string& what) const;

 private:
  struct Group {
    std::uint32_t pc;
    std::vector<std::uint16_t> threads;
  };
  void add(std::uint32_t pc, const std::uint16_t* threads, int count);
  void select(const Instruction& in, const Lanes& lanes, std::vector<std::uint16_t>& yes,
              std::vector<std::uint16_t>& no);
  bool branch(const Instruction& in, Lanes& lanes, std::uint32_t& pc);
  void arrive(const Instruction& in, const Lanes& lanes, std::uint32_t pc);
  bool release();

  Block* block_;
  const Function* function_;
  int threads_;
  std::size_t stride_;
  std::vector<unsigned char> registers_, local_;
  std::vector<std::uint32_t> carry_;
  std::vector<Group> ready_;  // the lowest program counter last
  std::vector<std::uint16_t> waiting_, current_, yes_, no_, buffer_;
  std::uint32_t waiting_pc_ = kNowhere;
  int exited_ = 0, begun_ = 0;
  bool resumed_ = false;  // at the instruction where run() stopped
};

class Block {
 public:
  Block(Launch& launch, const Function& entry);
  void begin(std::int64_t index);
  Stop run() { return frame_.run(); }
  /// Its last stores reach the device.
  void end();

  Launch& launch() { return *launch_; }
  std::int64_t index() const { return index_; }
  SharedMemory& shared() { return shared_; }
  BlockView* view() { return view_.get(); }

 private:
  Launch* launch_;
  std::int64_t index_ = 0;
  SharedMemory shared_;
  std::unique_ptr<BlockView> view_;
  Frame frame_;
  std::vector<std::uint16_t> all_;
};

struct Schedule {
  std::uint64_t seed = 1;
  int alive = 4;  ///< blocks at a time, where the kernel has fences or atomics
};
/// Runs every block. Throws PtxError.
void run(Launch& launch, const Schedule& schedule);

}  // namespace weft::ptx_on_cpu
