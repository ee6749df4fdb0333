#include "memory.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace weft::ptx_on_cpu {

namespace {

constexpr std::uint32_t kOutside = ~0u, kMany = 0x3FF + 1;  // of 11 bits for a thread
constexpr int kThreadBits = 11;

std::string hexadecimal(std::uint64_t value) {
  std::string text;
  do {
    text.insert(text.begin(), "0123456789abcdef"[value % 16]);
    value /= 16;
  } while (value > 0);
  return "0x" + text;
}

}  // namespace

DeviceMemory::DeviceMemory(std::vector<Range> ranges, bool adversarial)
    : ranges_(std::move(ranges)), adversarial_(adversarial) {
  std::sort(ranges_.begin(), ranges_.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
  if (ranges_.empty()) ranges_.push_back({0, 0});
}

bool DeviceMemory::contains(std::uintptr_t address, std::size_t bytes, bool storing) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                      [](std::uintptr_t value, const Range& range) { return value < range.begin; });
  if (after == ranges_.begin()) return false;
  const Range& range = *(after - 1);
  if (address > range.end || bytes > range.end - address || (storing && range.constant)) return false;
  latest_ = static_cast<std::size_t>(after - 1 - ranges_.begin());
  return true;
}

std::string DeviceMemory::describe(std::uintptr_t address, std::size_t bytes) const {
  const std::string what = std::to_string(bytes) + " bytes at " + hexadecimal(address);
  const Range* nearest = nullptr;
  std::uintptr_t distance = ~std::uintptr_t{0};
  for (const Range& range : ranges_) {
    const std::uintptr_t away = address < range.begin  ? range.begin - address
                                : address >= range.end ? address - range.end
                                                       : 0;
    if (away < distance) {
      distance = away;
      nearest = &range;
    }
  }
  if (nearest == nullptr) return what;
  const std::string place = address < nearest->begin ? std::to_string(distance) + " bytes before"
                            : distance == 0 && address < nearest->end
                                ? std::to_string(address - nearest->begin) + " bytes into"
                                : std::to_string(distance) + " bytes after the end of";
  return what + ", " + place + " an allocation of " + std::to_string(nearest->end - nearest->begin) + " bytes";
}

std::uint64_t DeviceMemory::word(std::uintptr_t address, std::uint64_t version) const {
  if (const auto found = history_.find(address); found != history_.end()) {
    for (const Old& old : found->second) {
      if (old.version >= version) return old.bits;
    }
  }
  std::uint64_t bits = 0;
  std::memcpy(&bits, reinterpret_cast<const void*>(address), sizeof bits);
  return bits;
}

void DeviceMemory::commit(std::uintptr_t address, std::uint64_t bits, std::uint64_t mask) {
  std::uint64_t old = 0;
  std::memcpy(&old, reinterpret_cast<const void*>(address), sizeof old);
  history_[address].push_back({version_++, old});
  const std::uint64_t now = (old & ~mask) | (bits & mask);
  std::memcpy(reinterpret_cast<void*>(address), &now, sizeof now);
}

void BlockView::load(std::uintptr_t address, void* out, std::size_t bytes) const {
  auto* to = static_cast<unsigned char*>(out);
  while (bytes > 0) {
    const std::uintptr_t word = address / 8 * 8, shift = address - word;
    const std::size_t now = std::min<std::size_t>(8 - shift, bytes);
    std::uint64_t bits = memory_->word(word, version_);
    if (const auto own = own_.find(word); own != own_.end()) {
      bits = (bits & ~own->second.mask) | own->second.bits;
    }
    std::memcpy(to, reinterpret_cast<const unsigned char*>(&bits) + shift, now);
    to += now;
    address += now;
    bytes -= now;
  }
}

void BlockView::store(int thread, std::uintptr_t address, const void* in, std::size_t bytes) {
  const auto* from = static_cast<const unsigned char*>(in);
  while (bytes > 0) {
    const std::uintptr_t word = address / 8 * 8, shift = address - word;
    const std::size_t now = std::min<std::size_t>(8 - shift, bytes);
    std::uint64_t bits = 0, mask = 0;
    std::memcpy(reinterpret_cast<unsigned char*>(&bits) + shift, from, now);
    std::memset(reinterpret_cast<unsigned char*>(&mask) + shift, 0xFF, now);
    pending_.push_back({thread, word, bits, mask});
    Own& own = own_[word];
    own.bits = (own.bits & ~mask) | bits;
    own.mask |= mask;
    from += now;
    address += now;
    bytes -= now;
  }
}

void BlockView::fence(const std::uint16_t* threads, int count) {
  std::vector<Store> kept;
  for (const Store& store : pending_) {
    if (std::binary_search(threads, threads + count, store.thread)) {
      memory_->commit(store.word, store.bits, store.mask);
    } else {
      kept.push_back(store);
    }
  }
  pending_ = std::move(kept);
  own_.clear();
  for (const Store& store : pending_) {
    Own& own = own_[store.word];
    own.bits = (own.bits & ~store.mask) | store.bits;
    own.mask |= store.mask;
  }
  version_ = memory_->version();
}

void BlockView::flush() {
  for (const Store& store : pending_) memory_->commit(store.word, store.bits, store.mask);
  pending_.clear();
  own_.clear();
}

SharedMemory::SharedMemory(const Function& function, std::string* unwritten, unsigned char fill)
    : function_(&function),
      unwritten_(unwritten),
      fill_(fill),
      bytes_(function.shared_bytes + 16),
      granules_((function.shared_bytes + 16) / function.shared_granule + 1),
      shift_(std::countr_zero(function.shared_granule)) {}

void SharedMemory::begin_block() {
  phase_ = 1;
  std::fill(bytes_.begin(), bytes_.end(), fill_);
  std::fill(granules_.begin(), granules_.end(), Granule{kOutside, 0});
  for (const SharedArray& array : function_->shared) {
    const std::size_t first = array.offset >> shift_, end = (array.offset + array.bytes + (1u << shift_) - 1) >> shift_;
    std::fill(granules_.begin() + static_cast<std::ptrdiff_t>(first),
              granules_.begin() + static_cast<std::ptrdiff_t>(end), Granule{});
  }
}

void SharedMemory::begin_phase() {
  if (++phase_ < (1u << (32 - kThreadBits)) - 1) return;
  phase_ = 2;  // all that was written keeps a phase that is over
  for (Granule& granule : granules_) {
    if (granule.writer != kOutside && granule.writer != 0) granule.writer = 1u << kThreadBits;
    granule.reader = 0;
  }
}

std::string SharedMemory::complaint(const char* what, int thread, std::uint64_t address, std::size_t bytes,
                                    int other) const {
  std::string where = "shared memory " + hexadecimal(address);
  for (const SharedArray& array : function_->shared) {
    if (address < array.offset || address >= array.offset + array.bytes) continue;
    where = "byte " + std::to_string(address - array.offset) + " of the " + std::to_string(array.bytes) +
            " of the shared array " + array.name;
  }
  return "thread " + std::to_string(thread) + " " + what + " (" + std::to_string(bytes) + " bytes, " + where +
         (other >= 0 ? ", thread " + std::to_string(other) : std::string()) + ")";
}
void SharedMemory::complain(const char* what, int thread, std::uint64_t address, std::size_t bytes, int other) const {
  throw PtxError(complaint(what, thread, address, bytes, other));
}

void SharedMemory::check_bounds(const char* what, int thread, std::uint64_t address, std::size_t bytes) const {
  if (address > function_->shared_bytes || bytes > function_->shared_bytes - address) {
    complain(what, thread, address, bytes, -1);
  }
  if (address % bytes != 0) complain("accesses shared memory that is not aligned", thread, address, bytes, -1);
}

void SharedMemory::check_load(int thread, std::uint64_t address, std::size_t bytes) {
  check_bounds("reads outside of shared memory", thread, address, bytes);
  const std::uint32_t self = phase_ << kThreadBits | static_cast<std::uint32_t>(thread);
  const std::size_t end = (address + bytes + (1u << shift_) - 1) >> shift_;
  for (std::size_t i = address >> shift_; i < end; ++i) {
    Granule& granule = granules_[i];
    if (granule.writer == kOutside) complain("reads outside of a shared array", thread, address, bytes, -1);
    if (granule.writer == 0) {
      if (unwritten_ == nullptr) complain("reads shared memory that nobody wrote", thread, address, bytes, -1);
      if (unwritten_->empty()) {
        *unwritten_ = complaint("reads shared memory that nobody wrote", thread, address, bytes, -1);
      }
    }
    if (granule.writer >> kThreadBits == phase_ && granule.writer != self) {
      complain("reads shared memory that another thread wrote since the last barrier", thread, address, bytes,
               static_cast<int>(granule.writer & ((1u << kThreadBits) - 1)));
    }
    granule.reader =
        granule.reader >> kThreadBits == phase_ && granule.reader != self ? phase_ << kThreadBits | kMany : self;
  }
}

void SharedMemory::check_store(int thread, std::uint64_t address, std::size_t bytes) {
  check_bounds("writes outside of shared memory", thread, address, bytes);
  const std::uint32_t self = phase_ << kThreadBits | static_cast<std::uint32_t>(thread);
  const std::size_t end = (address + bytes + (1u << shift_) - 1) >> shift_;
  for (std::size_t i = address >> shift_; i < end; ++i) {
    Granule& granule = granules_[i];
    if (granule.writer == kOutside) complain("writes outside of a shared array", thread, address, bytes, -1);
    if (granule.writer >> kThreadBits == phase_ && granule.writer != self) {
      complain("writes shared memory that another thread wrote since the last barrier", thread, address, bytes,
               static_cast<int>(granule.writer & ((1u << kThreadBits) - 1)));
    }
    if (granule.reader >> kThreadBits == phase_ && granule.reader != self) {
      complain("writes shared memory that another thread read since the last barrier", thread, address, bytes,
               static_cast<int>(granule.reader & ((1u << kThreadBits) - 1)));
    }
    granule.writer = self;
  }
}

}  // namespace weft::ptx_on_cpu
