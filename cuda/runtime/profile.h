#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cuda/runtime/runtime.h"

// A profile holds the time of each kernel, matrix product and host copy, measured between two events of its stream. The
// environment variable WEFT_CUDA_PROFILE=FILE measures all launches of the process and writes the profile to FILE at
// the exit. Launches that a StepGraph captures or replays are not measured.

namespace weft::cuda::profile {

/// Says whether launches are measured.
extern std::atomic<bool> on;

/// Sums up all launches of one function with blocks of one size.
struct Row {
  std::string name;        ///< the name that the launch gave
  int instance = 1;        ///< a number for each function and block size of a name, in the order of first launches
  std::int64_t count = 0;  ///< launches
  std::int64_t timed = 0;  ///< launches in `us`, which leaves out the first one, that may load code, and failed ones
  double us = 0;           ///< microseconds in all
  double first_us = 0;     ///< microseconds of the first launch
  double blocks = 0;       ///< mean blocks of a launch; 0 for products and copies
  int threads = 0;         ///< threads of a block; 0 for products and copies
  runtime::KernelFacts facts;  ///< as the device of the first launch has them
};

struct Profile {
  std::vector<Row> rows;      ///< the longest `us` first
  double empty_us = 0;        ///< time between two events without work, which the time of every launch includes
  std::int64_t untimed = 0;   ///< launches whose events failed
  std::int64_t captured = 0;  ///< launches that a StepGraph captured
};

/// Forgets earlier launches and measures from now on. Where `file` is not empty, the profile is written there when the
/// process exits. Standard error says so where that fails.
void start(const std::string& file = {});
/// Waits for the launches that were measured, returns their times and measures no more.
Profile stop();
/// Writes one JSON object a line: {"what": "profile", ...}, then {"what": "kernel", ...} for each row. Throws IoError.
void write(const std::string& file, const Profile& profile);

struct Pair;

/// Measures the work that is enqueued on the stream in its scope. Its own failures are counted and not thrown.
class Scope {
 public:
  Scope(const char* name, runtime::Stream stream, const void* kernel = nullptr, std::int64_t blocks = 0,
        int threads = 0) {
    if (on.load(std::memory_order_relaxed)) [[unlikely]]
      begin(name, stream, kernel, blocks, threads);
  }
  ~Scope() {
    if (pair_ != nullptr) [[unlikely]]
      end();
  }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  void begin(const char* name, runtime::Stream stream, const void* kernel, std::int64_t blocks, int threads) noexcept;
  void end() noexcept;

  Pair* pair_ = nullptr;
};

/// Keeps the stream busy for about 150 us (a prediction). `word` is device memory of 4 bytes.
void delay(float* word, runtime::Stream stream);

}  // namespace weft::cuda::profile
