#include "faults.h"

namespace weft::cuda_libraries {

void Faults::fail(const std::string& function, int status) {
  const std::lock_guard lock(mutex_);
  failing_[function] = status;
}

void Faults::fail_call(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  failing_call_ = all_ + number;
}

void Faults::never_fail() {
  const std::lock_guard lock(mutex_);
  failing_call_ = 0;
  failing_.clear();
}

bool Faults::pending() const {
  const std::lock_guard lock(mutex_);
  return failing_call_ > all_ || !failing_.empty();
}

std::map<std::string, std::uint64_t> Faults::calls() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

std::uint64_t Faults::calls_of(const std::string& function) const {
  const std::lock_guard lock(mutex_);
  const auto found = calls_.find(function);
  return found == calls_.end() ? 0 : found->second;
}

std::uint64_t Faults::all_calls() const {
  const std::lock_guard lock(mutex_);
  return all_;
}

int Faults::enter(const char* function, int unknown) {
  const std::lock_guard lock(mutex_);
  ++calls_[function];
  if (++all_ == failing_call_) return unknown;
  const auto found = failing_.find(function);
  if (found == failing_.end()) return 0;
  const int status = found->second;
  failing_.erase(found);
  return status;
}

void LiveObjects::add(const std::string& kind, int count) {
  const std::lock_guard lock(mutex_);
  counts_[kind] += count;
}

std::map<std::string, int> LiveObjects::counts() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, int> live = counts_;
  std::erase_if(live, [](const auto& entry) { return entry.second == 0; });
  return live;
}

Faults& faults() {
  static Faults* const instance = new Faults;  // outlives every static object that frees memory
  return *instance;
}

LiveObjects& live_objects() {
  static LiveObjects* const instance = new LiveObjects;
  return *instance;
}

Driver& driver() {
  static Driver* const instance = new Driver;
  return *instance;
}

std::vector<Algorithm>& algorithms() {
  static auto* const instance = new std::vector<Algorithm>{{.refused = true}, {}};
  return *instance;
}

}  // namespace weft::cuda_libraries
