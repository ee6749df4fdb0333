#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "module.h"

// The memories of a launch: the device's, whose allocations are memory of this process, and a block's own view of it;
// and shared memory.

namespace weft::ptx_on_cpu {

struct Range {
  std::uintptr_t begin, end;
  bool constant = false;  ///< nothing may be stored to it
};

/// The allocations that a launch may touch. `adversarial`: a block reads a view of the time of its last fence, and what
/// a thread stores reaches the device only at its next fence, or when the launch ends.
class DeviceMemory {
 public:
  DeviceMemory(std::vector<Range> ranges, bool adversarial);
  bool adversarial() const { return adversarial_; }

  /// Whether all of the bytes lie in one allocation; `storing`: that may be written.
  bool contains(std::uintptr_t address, std::size_t bytes, bool storing) const;
  /// The same for all that begins in [first, last].
  bool contains_all(std::uintptr_t first, std::uintptr_t last, std::size_t bytes, bool storing) const {
    const Range& range = ranges_[latest_];
    if (first >= range.begin && last + bytes <= range.end && !(storing && range.constant)) return true;
    return contains(first, last - first + bytes, storing);
  }
  /// "8 bytes at 0x..., 16 bytes after the end of an allocation of 1024 bytes".
  std::string describe(std::uintptr_t address, std::size_t bytes) const;

  /// A word of 8 bytes as it was when `version` began.
  std::uint64_t word(std::uintptr_t address, std::uint64_t version) const;
  void commit(std::uintptr_t address, std::uint64_t bits, std::uint64_t mask);
  std::uint64_t version() const { return version_; }

 private:
  std::vector<Range> ranges_;
  mutable std::size_t latest_ = 0;
  bool adversarial_;
  std::uint64_t version_ = 0;  // commits so far
  struct Old {
    std::uint64_t version, bits;
  };
  std::unordered_map<std::uintptr_t, std::vector<Old>> history_;
};

/// What one block sees of an adversarial memory.
class BlockView {
 public:
  explicit BlockView(DeviceMemory& memory) : memory_(&memory), version_(memory.version()) {}
  void load(std::uintptr_t address, void* out, std::size_t bytes) const;
  void store(int thread, std::uintptr_t address, const void* in, std::size_t bytes);
  /// What the threads stored reaches the device, and the block sees the device as it is now.
  void fence(const std::uint16_t* threads, int count);
  void flush();  ///< the stores of all threads

 private:
  struct Store {
    int thread;
    std::uintptr_t word;
    std::uint64_t bits, mask;
  };
  struct Own {
    std::uint64_t bits = 0, mask = 0;
  };
  DeviceMemory* memory_;
  std::uint64_t version_;
  std::vector<Store> pending_;
  std::unordered_map<std::uintptr_t, Own> own_;  // words of the pending stores
};

/// Shared memory of a block. Each granule knows which thread wrote it and which read it since the last barrier, so that
/// two threads that touch it without a barrier between them are an error, and so is a read of what nobody wrote.
class SharedMemory {
 public:
  /// `unwritten` and `fill` as in Launch (frame.h).
  SharedMemory(const Function& function, std::string* unwritten, unsigned char fill);
  void begin_block();
  void begin_phase();  ///< after a barrier
  /// Both throw PtxError.
  void check_load(int thread, std::uint64_t address, std::size_t bytes);
  void check_store(int thread, std::uint64_t address, std::size_t bytes);
  unsigned char* at(std::uint64_t address) { return bytes_.data() + address; }

 private:
  struct Granule {
    std::uint32_t writer = 0;  // phase and thread; 0: nobody; kOutside: no array's
    std::uint32_t reader = 0;  // phase and thread, or kMany
  };
  std::string complaint(const char* what, int thread, std::uint64_t address, std::size_t bytes, int other) const;
  [[noreturn]] void complain(const char* what, int thread, std::uint64_t address, std::size_t bytes, int other) const;
  void check_bounds(const char* what, int thread, std::uint64_t address, std::size_t bytes) const;
  const Function* function_;
  std::string* unwritten_;
  unsigned char fill_;
  std::vector<unsigned char> bytes_;
  std::vector<Granule> granules_;
  int shift_ = 0;  // log2 of the granule
  std::uint32_t phase_ = 1;
};

}  // namespace weft::ptx_on_cpu
