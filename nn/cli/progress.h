#pragma once

#include <chrono>
#include <string>

#include "weft/nn/trainer.h"

namespace weft::cli {

/// A bar with loss, accuracy, images/s and time left on stderr, redrawn at most ten times a second; nothing unless
/// stderr is a terminal (TERM=dumb counts as none; NO_COLOR leaves the colours out).
class Progress {
 public:
  Progress();
  /// True when update() would draw now.
  bool due() const;
  void update(std::int64_t epoch, std::int64_t epochs, std::int64_t step, std::int64_t steps,
              const nn::Metrics& metrics);
  /// Removes the bar.
  void clear();

 private:
  bool terminal_;
  bool color_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace weft::cli
