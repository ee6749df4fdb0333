#pragma once

#include <cstddef>
#include <cstdint>

namespace weft::cpu {

/// Memory from the system that is cut into blocks of any size. It grows at its end as one piece where the system lets
/// it, a request takes the lowest free bytes that hold it, and free neighbours join. What a loop uses thus fits into
/// little more than what is live at its peak, and the highest free bytes are the ones that are missed least.
/// Everything it notes stands in the memory itself. Not safe from several threads.
class Space {
 public:
  /// Blocks are aligned to `alignment`, a power of two from 64 to kUnit. Above 64 all blocks have alignment - 64 bytes.
  Space(std::size_t alignment, bool huge_pages) : alignment_(alignment), huge_pages_(huge_pages) {}
  Space(const Space&) = delete;
  Space& operator=(const Space&) = delete;

  /// Null where the system has no more.
  void* allocate(std::size_t bytes) noexcept;
  void deallocate(void* block) noexcept;
  /// Bytes that the block takes, its header among them.
  static std::size_t size(const void* block) noexcept;

  /// Gives whole free units back to the system, the highest first, until `bytes` are gone or none is found in a range
  /// of two units or more.
  void trim(std::size_t bytes) noexcept;
  /// Gives back every free unit.
  void release() noexcept;

  std::size_t reserved() const { return reserved_; }
  /// Calls that asked the system for memory.
  std::size_t system_allocations() const { return system_allocations_; }

  static constexpr std::size_t kUnit = std::size_t{2} << 20;  ///< a huge page: what comes from the system and goes back

 private:
  struct Range;

  bool grow(std::size_t bytes) noexcept;
  void* map(void* hint, std::size_t bytes) noexcept;
  void put(Range* range) noexcept;
  void link(Range* range, Range* before) noexcept;
  void unlink(Range* range) noexcept;
  bool cut(Range* range, std::size_t bytes) noexcept;

  std::size_t alignment_;
  bool huge_pages_;
  Range* first_ = nullptr;  // of all ranges, by address
  Range* last_ = nullptr;
  Range* root_ = nullptr;  // of the tree of free ranges
  std::size_t reserved_ = 0;
  std::size_t system_allocations_ = 0;
};

}  // namespace weft::cpu
