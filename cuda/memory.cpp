#include "cuda/memory.h"

#include <algorithm>
#include <string>

#include "weft/error.h"

namespace weft::cuda {

Memory::Memory(runtime::Stream stream) : stream_(stream), memory_stream_(runtime::create_stream()) {}

Memory::~Memory() {
  try {
    runtime::synchronize(stream_);
  } catch (const Error&) {  // the device is broken: nothing is running that could still use the blocks
  }
  give_back();
  for (const auto& [address, owned] : owned_) {
    if (!owned.live) runtime::deallocate(address, memory_stream_);
  }
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
    ++statistics_.system_allocations;
    statistics_.reserved += size;
    if (recording()) {
      try {
        own(address, index, true);
      } catch (...) {
        free_[index].push_back(address);
        statistics_.cached += size;
        throw;
      }
    }
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

// Null when there is not enough; statistics are the caller's.
void* Memory::from_system(std::size_t index) {
  std::vector<void*>& blocks = free_[index];
  if (blocks.capacity() <= blocks_[index]) blocks.reserve(std::max<std::size_t>(8, 2 * blocks.capacity()));
  void* address = runtime::allocate(class_bytes(index), memory_stream_);
  if (address == nullptr) return nullptr;
  ++blocks_[index];
  runtime::synchronize(memory_stream_);
  return address;
}

void Memory::give_back() noexcept {
  for (std::size_t index = 0; index < kClasses; ++index) {
    for (void* address : free_[index]) {
      runtime::deallocate(address, memory_stream_);
      --blocks_[index];
      statistics_.cached -= class_bytes(index);
      statistics_.reserved -= class_bytes(index);
    }
    free_[index].clear();
  }
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
