#include "cuda/runtime/memory.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/device/integer.h"
#include "weft/error.h"

namespace weft::cuda {

namespace {

constexpr std::size_t kAlignment = 256;  // of a block

}  // namespace

Memory::Memory(runtime::Stream stream, std::size_t segment_bytes)
    : stream_(stream), memory_stream_(runtime::create_stream()), segment_bytes_(segment_bytes) {}

Memory::~Memory() {
  try {
    runtime::synchronize(stream_);
  } catch (const Error&) {  // the device is broken: nothing is running that could still use the blocks
  }
  for (const auto& [address, owned] : owned_) {
    if (!owned.live) free_[owned.index].push_back(address);
  }
  give_back();
  runtime::destroy_stream(memory_stream_);
}

void* Memory::allocate(std::size_t bytes) {
  const std::size_t index = class_index(std::min<std::size_t>(bytes, PTRDIFF_MAX / 2));
  const std::size_t size = class_bytes(index);
  std::vector<void*>& source = recording() && !pool_[index].empty() ? pool_[index] : free_[index];
  void* address = nullptr;
  if (!source.empty()) {
    address = source.back();
    if (recording()) own(address, index, true);
    source.pop_back();
    statistics_.cached -= size;
  } else {
    if (bytes <= PTRDIFF_MAX / 2) {
      address = from_system(index);
      if (address == nullptr && !recording()) {
        release_cached();
        address = from_system(index);
      }
    }
    if (address == nullptr) {
      throw OutOfMemoryError("cuda: cannot allocate " + std::to_string(bytes) + " bytes; " +
                             std::to_string(statistics_.live) + " are live, " + std::to_string(statistics_.cached) +
                             " cached and " + std::to_string(runtime::memory_info().free) + " free on the device");
    }
    if (recording()) {
      try {
        own(address, index, true);
      } catch (...) {
        free_[index].push_back(address);
        throw;
      }
    }
    statistics_.cached -= size;
  }
  statistics_.live += size;
  statistics_.peak = std::max(statistics_.peak, statistics_.live);
  return address;
}

void Memory::deallocate(void* address, std::size_t bytes) noexcept {
  if (address == nullptr) return;
  const std::size_t index = class_index(bytes);
  statistics_.live -= class_bytes(index);
  statistics_.cached += class_bytes(index);
  if (!recording() && owned_.empty()) {
    free_[index].push_back(address);
    return;
  }
  if (recording()) {
    try {
      own(address, index, false);
      const Owned& owned = owned_.at(address);
      if (owned.graphs.size() == 1) pool_[index].push_back(address);
    } catch (...) {  // no host memory to note it down: the block is not used again, which is always right
    }
    return;
  }
  const auto found = owned_.find(address);
  if (found == owned_.end()) {
    free_[index].push_back(address);
  } else {
    found->second.live = false;
  }
}

void Memory::release_cached() {
  if (recording()) throw DeviceError("cuda: cached memory cannot be released inside a captured step");
  runtime::synchronize(stream_);
  give_back();
  runtime::synchronize(memory_stream_);
}

Memory::GraphId Memory::begin_graph() {
  if (recording()) throw DeviceError("cuda: a capture inside a capture");
  for (std::vector<void*>& blocks : pool_) blocks.clear();
  return recording_ = ++last_graph_;
}

void Memory::free_graph(GraphId graph) noexcept {
  if (recording_ == graph) recording_ = 0;
  for (auto entry = owned_.begin(); entry != owned_.end();) {
    Owned& owned = entry->second;
    std::erase(owned.graphs, graph);
    if (!owned.graphs.empty()) {
      ++entry;
      continue;
    }
    if (!owned.live) free_[owned.index].push_back(entry->first);
    entry = owned_.erase(entry);
  }
}

// A new block, which counts as cached. Null when there is not enough.
void* Memory::from_system(std::size_t index) {
  std::vector<void*>& blocks = free_[index];
  if (blocks.capacity() <= blocks_[index]) blocks.reserve(std::max<std::size_t>(8, 2 * blocks.capacity()));
  const std::size_t bytes = class_bytes(index);
  void* address = bytes <= segment_bytes_ / 8 ? from_segment(bytes) : nullptr;
  if (address == nullptr) address = new_allocation(bytes);
  if (address != nullptr) ++blocks_[index];
  return address;
}

// Null when there is not enough for another segment.
void* Memory::from_segment(std::size_t bytes) {
  const std::size_t aligned = round_up(bytes, kAlignment);
  auto found = std::ranges::find_if(
      segments_, [&](const auto& segment) { return segment.second.bytes - segment.second.used >= aligned; });
  if (found == segments_.end()) {
    std::map<std::uintptr_t, Segment> added;  // with room for it before there is something to lose
    added[0].bytes = segment_bytes_;
    void* const base = new_allocation(segment_bytes_);
    if (base == nullptr) return nullptr;
    auto node = added.extract(added.begin());
    node.key() = reinterpret_cast<std::uintptr_t>(base);
    found = segments_.insert(std::move(node)).position;
  }
  Segment& segment = found->second;
  void* const address = reinterpret_cast<void*>(found->first + segment.used);
  segment.used += aligned;
  ++segment.blocks;
  return address;
}

void* Memory::new_allocation(std::size_t bytes) {
  void* const address = runtime::allocate(bytes, memory_stream_);
  if (address == nullptr) return nullptr;
  runtime::synchronize(memory_stream_);
  ++statistics_.system_allocations;
  statistics_.reserved += bytes;
  statistics_.cached += bytes;
  return address;
}

// Null where the block is an allocation of its own.
Memory::Segment* Memory::segment_of(const void* address) noexcept {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  auto found = segments_.upper_bound(at);
  if (found == segments_.begin()) return nullptr;
  --found;
  return at - found->first < found->second.bytes ? &found->second : nullptr;
}

void Memory::give_back() noexcept {
  const auto give = [&](void* address, std::size_t bytes) {
    runtime::deallocate(address, memory_stream_);
    statistics_.cached -= bytes;
    statistics_.reserved -= bytes;
  };
  for (auto& [address, segment] : segments_) segment.cached = 0;
  for (const std::vector<void*>& blocks : free_) {
    for (const void* address : blocks) {
      if (Segment* const segment = segment_of(address)) ++segment->cached;
    }
  }
  for (std::size_t index = 0; index < kClasses; ++index) {
    blocks_[index] -= std::erase_if(free_[index], [&](void* address) {
      const Segment* const segment = segment_of(address);
      if (segment == nullptr) give(address, class_bytes(index));
      return segment == nullptr || segment->cached == segment->blocks;
    });
  }
  std::erase_if(segments_, [&](const auto& entry) {
    const Segment& segment = entry.second;
    if (segment.cached != segment.blocks) return false;
    give(reinterpret_cast<void*>(entry.first), segment.bytes);
    return true;
  });
}

// Makes the graph being recorded an owner of the block.
void Memory::own(void* address, std::size_t index, bool live) {
  const auto [entry, added] = owned_.try_emplace(address);
  Owned& owned = entry->second;
  try {
    if (std::ranges::find(owned.graphs, recording_) == owned.graphs.end()) owned.graphs.push_back(recording_);
  } catch (...) {
    if (added) owned_.erase(entry);
    throw;
  }
  owned.index = index;
  owned.live = live;
}

}  // namespace weft::cuda
