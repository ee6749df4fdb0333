#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "core/device/size_class.h"
#include "cuda/runtime/runtime.h"
#include "weft/device.h"

namespace weft::cuda {

/// Device memory by size class (core/device/size_class.h): freed blocks are kept and handed out again in the order of
/// the stream that all work of the device runs on, so a block may be reused while earlier work on it is still queued.
/// The system is asked only when no cached block fits: runtime::allocate on a stream of its own that is then waited
/// for, so that a new block can be used on any stream at once, also during a capture. Small blocks are cut from
/// segments, so that a first step does not ask and wait for each; a segment goes back to the system when none of its
/// blocks is held. Not thread-safe: the context's lock protects it.
class Memory {
 public:
  /// For the device that is current; all work on its memory runs on `stream`. Blocks of up to an eighth of
  /// `segment_bytes` are cut from segments of that size; with 0 every block is an allocation of its own, whose bounds
  /// compute-sanitizer sees.
  explicit Memory(runtime::Stream stream, std::size_t segment_bytes = 0);
  /// Waits for the stream and gives everything that is not live back.
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /// Throws OutOfMemoryError (what was asked, what is live, cached and free), after giving the cache back to the system
  /// and trying once more (not between begin_graph and end_graph, where nothing may be waited for). The device works
  /// on. Never null, aligned to 256 bytes; 0 bytes are the smallest class.
  void* allocate(std::size_t bytes);
  /// `bytes` as it was allocated with. Null is ignored.
  void deallocate(void* address, std::size_t bytes) noexcept;
  /// Sizes of the classes, not of what was asked for. Blocks that only a graph holds count as cached, and what is left
  /// of segments too.
  MemoryStatistics statistics() const { return statistics_; }
  /// Gives cached blocks back to the system; the stream is waited for first. Blocks of graphs stay, and segments with a
  /// block that is held. Throws DeviceError between begin_graph and end_graph.
  void release_cached();

  // Between begin_graph and end_graph blocks come from the graph's own pool, then from the cache, then from the system,
  // and every block handed out or freed meanwhile belongs to the graph: it is not used by anyone else until free_graph,
  // even when freed by its owner in between, since each replay writes to it. A block may so belong to several graphs
  // (the gradients of one that the next one frees): then it stays until the last of them is freed.
  using GraphId = std::uint64_t;
  /// Throws DeviceError when the graph before has not ended.
  GraphId begin_graph();
  void end_graph() noexcept { recording_ = 0; }
  bool recording() const { return recording_ != 0; }
  /// Its blocks go to the cache, or to those who hold them. The graph does not run again.
  void free_graph(GraphId graph) noexcept;

 private:
  struct Owned {
    std::size_t index = 0;        // size class
    std::vector<GraphId> graphs;  // never empty
    bool live = false;
  };

  struct Segment {
    std::size_t bytes = 0, used = 0;
    std::size_t blocks = 0, cached = 0;  // cut from it, and for give_back those of them in free_
  };

  void* from_system(std::size_t index);
  void* from_segment(std::size_t bytes);
  void* new_allocation(std::size_t bytes);
  Segment* segment_of(const void* address) noexcept;
  void give_back() noexcept;
  void own(void* address, std::size_t index, bool live);

  runtime::Stream stream_;
  runtime::Stream memory_stream_;
  std::size_t segment_bytes_;
  std::map<std::uintptr_t, Segment> segments_;     // by address
  std::array<std::vector<void*>, kClasses> free_;  // room for every block of the class: deallocate never grows one
  std::array<std::size_t, kClasses> blocks_{};     // taken from the system, by class
  std::unordered_map<void*, Owned> owned_;
  std::array<std::vector<void*>, kClasses> pool_;  // free blocks of the graph being recorded
  GraphId recording_ = 0;
  GraphId last_graph_ = 0;
  MemoryStatistics statistics_;
};

}  // namespace weft::cuda
