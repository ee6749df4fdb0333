#include "executor.h"

#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>

#include "compare.h"
#include "cuda_on_cpu.h"
#include "frame.h"
#include "report.h"
#include "twin.h"

namespace weft::ptx_on_cpu {

namespace {

using cuda_on_cpu::KernelError;

constexpr std::uint64_t kSchedules = 12;              // schedules of each launch whose blocks communicate
constexpr std::uint64_t kSchedulesWithoutFence = 40;  // at most, until one shows it
constexpr std::uint64_t kMostFenceWork = 40'000'000;  // thread instructions of a launch that is repeated

enum class Mode { alone, beside, fences };

std::string environment(const char* name) {
  const char* const text = std::getenv(name);
  return text == nullptr ? "" : text;
}

double cpu_seconds() {  // CPU time of this thread
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

Mode mode_of_environment() {
  const std::string text = environment("WEFT_PTX_MODE");
  if (text.empty() || text == "alone") return Mode::alone;
  if (text == "beside") return Mode::beside;
  if (text == "fences") return Mode::fences;
  throw KernelError("WEFT_PTX_MODE is \"" + text + "\", not alone, beside or fences");
}

const std::vector<Range> kNoRanges;

/// The bytes of allocations, to go back to.
class Saved {
 public:
  explicit Saved(const std::vector<Range>& ranges) : ranges_(&ranges) {
    for (const Range& range : ranges) {
      const auto* const begin = reinterpret_cast<const unsigned char*>(range.begin);
      bytes_.emplace_back(begin, begin + (range.end - range.begin));
    }
  }
  void restore() const {
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
      std::memcpy(reinterpret_cast<void*>((*ranges_)[i].begin), bytes_[i].data(), bytes_[i].size());
    }
  }
  Difference compare_with_memory() const {
    Difference all;
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
      all.add(compare(bytes_[i].data(), reinterpret_cast<const unsigned char*>((*ranges_)[i].begin), bytes_[i].size()));
    }
    return all;
  }

 private:
  const std::vector<Range>* ranges_;
  std::vector<std::vector<unsigned char>> bytes_;
};

struct How {
  bool adversarial = false;
  std::uint64_t seed = 1;
  std::uint32_t left_out = kNowhere;
  std::string* unwritten = nullptr;
  unsigned char fill = 0xFF;
  bool* shares = nullptr;  // gets Launch::shares
};

class Executor {
 public:
  Executor() : mode_(mode_of_environment()), modules_(environment("WEFT_PTX")) {}
  void run(const KernelCall& call);

 private:
  const Function& kernel(const KernelCall& call);
  std::vector<Range> ranges_of(const KernelCall& call) const;
  Traits run_ptx(const KernelCall& call, const Function& entry, const std::vector<Range>& ranges);
  std::uint64_t run_once(const KernelCall& call, const Function& entry, const std::vector<Range>& ranges,
                         const How& how) const;
  void run_beside(const KernelCall& call, const Function& entry, const std::vector<Range>& ranges);
  void run_fences(const KernelCall& call, const Function& entry, const std::vector<Range>& ranges);

  std::mutex mutex_;
  Mode mode_;
  ModuleFolder modules_;
  std::unordered_map<const void*, const Function*> kernels_;
  std::uint64_t seed_ = 0;
  bool shares_ = false;  // whether blocks of the latest launch communicate
};

const Function& Executor::kernel(const KernelCall& call) {
  const Function*& known = kernels_[call.kernel];
  if (known == nullptr) {
    known = modules_.find(symbol_at(call.kernel));
    if (known == nullptr) {
      throw KernelError("kernel " + call.name + ": WEFT_PTX has no " + symbol_at(call.kernel).name);
    }
  }
  return *known;
}

// The allocations that a word of the arguments points into, and the tables of the modules.
std::vector<Range> Executor::ranges_of(const KernelCall& call) const {
  const auto live = cuda_on_cpu::device_allocations();
  std::vector<Range> ranges;
  for (std::size_t at = 0; at + 8 <= call.arguments.size(); at += 8) {
    std::uintptr_t word = 0;
    std::memcpy(&word, call.arguments.data() + at, sizeof word);
    const auto after = std::upper_bound(live.begin(), live.end(), std::pair(word, ~std::size_t{0}));
    if (after == live.begin()) continue;
    const std::uintptr_t address = (after - 1)->first;
    const std::size_t bytes = (after - 1)->second;
    if (word - address > bytes) continue;
    const bool there = std::any_of(ranges.begin(), ranges.end(), [&](const Range& r) { return r.begin == address; });
    if (!there) ranges.push_back({address, address + bytes});
  }
  return ranges;
}

std::uint64_t Executor::run_once(const KernelCall& call, const Function& entry, const std::vector<Range>& ranges,
                                 const How& how) const {
  std::vector<Range> all = ranges;
  for (const auto& [name, bytes] : entry.module->all_data()) {
    const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
    all.push_back({begin, begin + bytes.size(), true});
  }
  DeviceMemory memory(std::move(all), how.adversarial);
  Launch launch{&entry, call.blocks, call.threads, call.arguments.data(), &memory, how.left_out};
  launch.unwritten = how.unwritten;
  launch.fill = how.fill;
  // Few blocks at a time come and go, many come to the same place together.
  const int alive = how.adversarial ? how.seed % 2 == 0 ? 512 : 6 : 4;
  ptx_on_cpu::run(launch, {how.seed, alive});
  if (how.shares != nullptr) *how.shares = launch.shares;
  return launch.executed;
}

// What shared memory that nobody wrote holds must not change the result.
Traits Executor::run_ptx(const KernelCall& call, const Function& entry, const std::vector<Range>& ranges) {
  const std::vector<std::uint64_t> before = entry.executed;
  std::string unwritten;
  try {
    const Saved start(entry.shared.empty() ? kNoRanges : ranges);
    const double begin = cpu_seconds();
    const std::uint64_t executed =
        run_once(call, entry, ranges, {.seed = ++seed_, .unwritten = &unwritten, .shares = &shares_});
    note_launch(entry, executed, cpu_seconds() - begin);
    if (!unwritten.empty()) {
      const Saved first(ranges);
      start.restore();
      run_once(call, entry, ranges, {.seed = seed_, .unwritten = &unwritten, .fill = 0x3C});
      if (first.compare_with_memory().differing > 0) throw PtxError("kernel " + entry.name + ": " + unwritten);
    }
  } catch (const PtxError& error) {
    throw KernelError(error.what());
  }
  const Traits traits = traits_of(entry, before);
  note_traits(traits);
  return traits;
}

void Executor::run_beside(const KernelCall& call, const Function& entry, const std::vector<Range>& ranges) {
  const Saved before(ranges);
  const Traits traits = run_ptx(call, entry, ranges);
  const Saved after(ranges);
  before.restore();
  call.fibers();
  const Difference difference = after.compare_with_memory();
  note_difference(entry, difference, traits);
  const std::string what = excess(entry, difference, traits);
  if (what.empty()) return;
  throw KernelError("kernel " + call.name + ": the PTX and the C++ differ in " + what + " (" + entry.name + ")");
}

// Every schedule on the adversarial memory gives what the plain one gave. Then each fence that was not missed so far is
// left out: some schedule must show it.
void Executor::run_fences(const KernelCall& call, const Function& entry, const std::vector<Range>& ranges) {
  if (!entry.communicates || call.blocks < 2) {
    run_ptx(call, entry, ranges);
    return;
  }
  const Saved before(ranges);
  run_ptx(call, entry, ranges);
  const Saved right(ranges);
  if (!shares_ || !wants_fences(entry, last_executed(), kMostFenceWork)) return;
  const auto same = [&](std::uint64_t seed, std::uint32_t left_out) {
    before.restore();
    try {
      std::string unwritten;
      run_once(call, entry, ranges, {true, seed, left_out, &unwritten});
    } catch (const PtxError& error) {
      if (left_out == kNowhere) throw KernelError(error.what());
      return false;
    }
    return right.compare_with_memory().differing == 0;
  };
  for (std::uint64_t seed = 1; seed <= kSchedules; ++seed) {
    if (same(seed, kNowhere)) continue;
    right.restore();
    throw KernelError("kernel " + call.name + ": schedule " + std::to_string(seed) +
                      " on an adversarial memory gives another result (" + entry.name + ")");
  }
  for (std::uint32_t at = 0; at < entry.code.size(); ++at) {
    if (entry.code[at].control != Control::fence || fence_missed(entry, at)) continue;
    for (std::uint64_t seed = 1; seed <= kSchedulesWithoutFence; ++seed) {
      if (same(seed, at)) continue;
      note_fence(entry, at, seed);
      break;
    }
  }
  right.restore();
}

void Executor::run(const KernelCall& call) {
  const std::lock_guard lock(mutex_);
  const Function& entry = kernel(call);
  if (entry.parameter_bytes != call.arguments.size()) {
    throw KernelError("kernel " + call.name + ": " + std::to_string(call.arguments.size()) +
                      " bytes of arguments, where the PTX has " + std::to_string(entry.parameter_bytes));
  }
  const std::vector<Range> ranges = ranges_of(call);
  switch (mode_) {
    case Mode::alone:
      run_ptx(call, entry, ranges);
      break;
    case Mode::beside:
      run_beside(call, entry, ranges);
      break;
    case Mode::fences:
      run_fences(call, entry, ranges);
      break;
  }
}

}  // namespace

bool wanted() {
  static const bool set = !environment("WEFT_PTX").empty();
  return set;
}

void run_kernel(const KernelCall& call) {
  static Executor* const executor = new Executor;
  executor->run(call);
}

}  // namespace weft::ptx_on_cpu
