#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cuda/runtime.h"

// The time of each kernel, matrix product and host copy, between two events of its stream. The environment variable
// WEFT_CUDA_PROFILE=FILE has every launch of the process measured and the rows written to FILE at the exit. What a
// recording (StepGraph) takes up, and what it replays, is not measured.

namespace weft::cuda::profile {

/// Whether launches are measured.
extern std::atomic<bool> on;

/// All launches of one function with blocks of one size.
struct Row {
  std::string name;        ///< the launch's
  int instance = 1;        ///< numbers the functions and block sizes of a name, in the order of their first launches
  std::int64_t count = 0;  ///< launches
  std::int64_t timed = 0;  ///< launches in `us`: all but the first, which may load code, and those that failed
  double us = 0;           ///< microseconds in all
  double first_us = 0;     ///< microseconds of the first launch
  double blocks = 0;       ///< of a launch, on average; 0 for products and copies
  int threads = 0;         ///< of a block; 0 for products and copies
  runtime::KernelFacts facts;  ///< of the device of the first launch
};

struct Profile {
  std::vector<Row> rows;      ///< the longest `us` first
  double empty_us = 0;        ///< between two events with nothing between them: every time of a row has this added
  std::int64_t untimed = 0;   ///< launches whose events failed
  std::int64_t recorded = 0;  ///< launches that a recording took up
};

/// Forgets what was measured and measures from now on. Where `file` is not empty, the rows measured until then are
/// written there when the process exits; a file that cannot be written is reported on standard error.
void start(const std::string& file = {});
/// Waits for the launches that were measured, returns their times and measures no more.
Profile stop();
/// JSON objects, one a line: {"what": "profile", ...} and {"what": "kernel", ...} for each row. Throws IoError.
void write(const std::string& file, const Profile& profile);

struct Pair;

/// Measures what its scope enqueues on the stream. A failure of its own is counted and otherwise swallowed.
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

/// Keeps the stream busy for about 150 us (a prediction); `word` is device memory of 4 bytes.
void delay(float* word, runtime::Stream stream);

}  // namespace weft::cuda::profile
