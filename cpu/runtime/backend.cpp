#include "cpu/runtime/backend.h"

#include <cstring>
#include <utility>

namespace weft::cpu {

namespace {

/// Nothing to record: the work is done where it is asked for.
class Calls final : public Replay {
 public:
  explicit Calls(std::function<void()> fn) : fn_(std::move(fn)) {}
  void launch() override { fn_(); }
  std::int64_t nodes() const override { return 0; }

 private:
  std::function<void()> fn_;
};

}  // namespace

void CpuBackend::copy_from_host(void* out, const void* host, std::size_t bytes) { std::memcpy(out, host, bytes); }
void CpuBackend::copy_to_host(void* host, const void* in, std::size_t bytes) { std::memcpy(host, in, bytes); }

std::unique_ptr<Replay> CpuBackend::capture(const std::function<void()>& fn) { return std::make_unique<Calls>(fn); }

CpuBackend& backend() {
  static CpuBackend& instance = *new CpuBackend;
  return instance;
}

}  // namespace weft::cpu
