#include "cpu/runtime/space.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

#include "core/device/integer.h"

namespace weft::cpu {

namespace {

constexpr std::size_t kStep = 64;                         // sizes and addresses of ranges are multiples
constexpr std::size_t kLeast = 1024;                      // bytes that are worth a free range of their own
constexpr std::size_t kAddresses = std::size_t{1} << 40;  // room for a space to grow in, addresses only

constexpr std::uintptr_t round_down(std::uintptr_t value, std::size_t step) { return value / step * step; }

void* at(std::uintptr_t address) { return reinterpret_cast<void*>(address); }

}  // namespace

// The header of every range, free or not. Free ranges form a treap by address in which each node knows the most bytes
// of a range below it.
struct alignas(kStep) Space::Range {
  std::size_t bytes;  // with this header
  Range* before;      // neighbours by address, which need not touch
  Range* after;
  Range* left;
  Range* right;
  std::size_t widest;
  bool free;

  std::uintptr_t begin() const { return reinterpret_cast<std::uintptr_t>(this); }
  std::uintptr_t end() const { return begin() + bytes; }
  std::uintptr_t priority() const {
    const std::uintptr_t mixed = begin() / kStep * 0x9E3779B97F4A7C15u;
    return (mixed ^ (mixed >> 32)) * 0xD6E8FEB86659FD93u;
  }

  void update() {
    widest = bytes;
    if (left != nullptr) widest = std::max(widest, left->widest);
    if (right != nullptr) widest = std::max(widest, right->widest);
  }

  static void split(Range* root, const Range* key, Range*& low, Range*& high) {
    if (root == nullptr) {
      low = high = nullptr;
    } else if (root < key) {
      split(root->right, key, root->right, high);
      low = root;
      root->update();
    } else {
      split(root->left, key, low, root->left);
      high = root;
      root->update();
    }
  }

  static Range* merge(Range* low, Range* high) {
    if (low == nullptr || high == nullptr) return low == nullptr ? high : low;
    Range* root = low->priority() > high->priority() ? low : high;
    if (root == low) {
      low->right = merge(low->right, high);
    } else {
      high->left = merge(low, high->left);
    }
    root->update();
    return root;
  }

  static Range* insert(Range* root, Range* range) {
    if (root == nullptr || range->priority() > root->priority()) {
      split(root, range, range->left, range->right);
      root = range;
    } else if (range < root) {
      root->left = insert(root->left, range);
    } else {
      root->right = insert(root->right, range);
    }
    root->update();
    return root;
  }

  static Range* erase(Range* root, const Range* range) {
    if (root == range) return merge(root->left, root->right);
    if (range < root) {
      root->left = erase(root->left, range);
    } else {
      root->right = erase(root->right, range);
    }
    root->update();
    return root;
  }

  /// The lowest or the highest free range of at least `bytes`.
  static Range* find(Range* root, std::size_t bytes, bool highest) {
    if (root == nullptr || root->widest < bytes) return nullptr;
    for (;;) {
      Range* first = highest ? root->right : root->left;
      if (first != nullptr && first->widest >= bytes) {
        root = first;
      } else if (root->bytes >= bytes) {
        return root;
      } else {
        root = highest ? root->left : root->right;
      }
    }
  }
};

void* Space::allocate(std::size_t bytes) noexcept {
  static_assert(sizeof(Range) == kStep);
  const std::size_t needed = round_up(std::max<std::size_t>(bytes, 1), kStep) + sizeof(Range);
  Range* found = Range::find(root_, needed, false);
  if (found == nullptr) {
    if (!grow(needed + alignment_)) return nullptr;
    found = Range::find(root_, needed, false);
  }
  root_ = Range::erase(root_, found);
  const std::uintptr_t begin = round_up(found->begin() + sizeof(Range), alignment_) - sizeof(Range);
  const std::uintptr_t end = found->end();
  Range* range = found;
  if (begin > found->begin()) {
    range = new (at(begin)) Range{};
    found->bytes = begin - found->begin();
    link(range, found);
    root_ = Range::insert(root_, found);
  }
  range->free = false;
  range->bytes = end - begin;
  if (range->bytes - needed >= kLeast) {
    range->bytes = needed;
    Range* rest = new (at(begin + needed)) Range{};
    rest->bytes = end - rest->begin();
    rest->free = true;
    link(rest, range);
    root_ = Range::insert(root_, rest);
  }
  return range + 1;
}

void Space::deallocate(void* block) noexcept { put(static_cast<Range*>(block) - 1); }

std::size_t Space::size(const void* block) noexcept { return (static_cast<const Range*>(block) - 1)->bytes; }

void Space::trim(std::size_t bytes) noexcept {
  const std::size_t aim = reserved_ - std::min(bytes, reserved_);
  while (reserved_ > aim) {
    Range* range = Range::find(root_, 2 * kUnit, true);
    if (range == nullptr || !cut(range, reserved_ - aim)) return;
  }
}

void Space::release() noexcept {
  Range* before = nullptr;
  for (Range* range = last_; range != nullptr; range = before) {
    before = range->before;
    if (range->free) cut(range, range->bytes);
  }
}

// Makes a free range of at least `bytes` of new memory and of the last range, if that is free.
bool Space::grow(std::size_t bytes) noexcept {
  std::uintptr_t hint = 0;
  if (last_ != nullptr) {
    hint = last_->end();
  } else if (void* room = mmap(nullptr, kAddresses, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
             room != MAP_FAILED) {
    munmap(room, kAddresses);
    hint = round_up(reinterpret_cast<std::uintptr_t>(room), kUnit);
  }
  const std::size_t there = last_ != nullptr && last_->free ? last_->bytes : 0;
  std::size_t mapped = round_up(bytes - std::min(bytes - 1, there), kUnit);
  void* address = hint == 0 ? nullptr : map(at(hint), mapped);
  if (address == nullptr) {
    mapped = round_up(bytes, kUnit);
    address = map(nullptr, mapped);
  }
  if (address == nullptr) return false;
  reserved_ += mapped;
  ++system_allocations_;
  Range* range = new (address) Range{};
  range->bytes = mapped;
  Range* before = last_;
  while (before != nullptr && before > range) before = before->before;
  link(range, before);
  put(range);
  return true;
}

// Memory at `hint` and nowhere else, or anywhere where that is null.
void* Space::map(void* hint, std::size_t bytes) noexcept {
  const std::size_t margin = hint == nullptr ? kUnit : 0;
  void* mapped = mmap(hint, bytes + margin, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  const auto first = reinterpret_cast<std::uintptr_t>(mapped);
  if (hint != nullptr && mapped != hint) {
    munmap(mapped, bytes);
    return nullptr;
  }
  const std::uintptr_t begin = round_up(first, kUnit);
  if (begin > first) munmap(mapped, begin - first);
  if (const std::size_t above = first + margin - begin; above > 0) munmap(at(begin + bytes), above);
  if (huge_pages_) madvise(at(begin), bytes, MADV_HUGEPAGE);
  return at(begin);
}

// Makes the range free and joins it with free neighbours that it touches.
void Space::put(Range* range) noexcept {
  if (Range* after = range->after; after != nullptr && after->free && after->begin() == range->end()) {
    root_ = Range::erase(root_, after);
    range->bytes += after->bytes;
    unlink(after);
  }
  if (Range* before = range->before; before != nullptr && before->free && before->end() == range->begin()) {
    root_ = Range::erase(root_, before);
    before->bytes += range->bytes;
    unlink(range);
    range = before;
  }
  range->free = true;
  root_ = Range::insert(root_, range);
}

void Space::link(Range* range, Range* before) noexcept {
  Range* after = before != nullptr ? before->after : first_;
  range->before = before;
  range->after = after;
  (before != nullptr ? before->after : first_) = range;
  (after != nullptr ? after->before : last_) = range;
}

void Space::unlink(Range* range) noexcept {
  (range->before != nullptr ? range->before->after : first_) = range->after;
  (range->after != nullptr ? range->after->before : last_) = range->before;
}

// Gives the highest units of a free range back, about `bytes`. False where that is none.
bool Space::cut(Range* range, std::size_t bytes) noexcept {
  const std::uintptr_t begin = range->begin();
  const std::uintptr_t end = range->end();
  const std::uintptr_t high = round_down(end, kUnit);
  std::uintptr_t low = round_up(begin, kUnit);
  if (low >= high) return false;
  if (const std::size_t wanted = round_up(bytes, kUnit); wanted < high - low) low = high - wanted;
  root_ = Range::erase(root_, range);
  Range* before = range->before;
  unlink(range);
  if (end > high) {  // noted first: the header of the range may go
    Range* rest = new (at(high)) Range{};
    rest->bytes = end - high;
    link(rest, before);
    put(rest);
  }
  const bool done = munmap(at(low), high - low) == 0;  // fails where the process has no more mappings: the bytes stay
  if (done) reserved_ -= high - low;
  const std::uintptr_t kept = done ? low : high;
  if (kept > begin) {
    Range* front = new (at(begin)) Range{};
    front->bytes = kept - begin;
    link(front, before);
    put(front);
  }
  return done;
}

}  // namespace weft::cpu
