#pragma once

#include <string>
#include <vector>

#include "weft/nn/module.h"

namespace weft::nn {

struct EMAOptions {
  double decay = 0.999;
  bool warmup = true;  ///< decays of at most (1 + n)/(10 + n), where n counts the updates before
};

/// The exponential moving average of a module's parameters and buffers: average += (1 - decay)·(value - average), from
/// the values at construction on. Integers and booleans are copied instead. Averages of f16 and bf16 are f32. The count
/// of updates lies on the device, so a StepGraph records update(). Averages follow the module to another device or
/// dtype. Tensors that the module gets later have no average.
class EMA {
 public:
  /// Throws ValueError on a decay outside of [0, 1] and a module without parameters and buffers.
  explicit EMA(const Module& module, const EMAOptions& options = {});
  EMA(const EMA&) = delete;
  EMA& operator=(const EMA&) = delete;

  /// Takes the values of now into the averages. Throws ValueError while an Evaluation lives. Whatever it throws, no
  /// average has changed.
  void update();

  /// Gives the module the averages, in place, while it lives, and then the bits that it had. One may live at a time;
  /// the EMA outlives it, and the module is not moved or converted meanwhile. Throws ValueError, or NotRecordable in a
  /// recording, and the module is then unchanged.
  class Evaluation {
   public:
    explicit Evaluation(EMA& ema);
    ~Evaluation();
    Evaluation(const Evaluation&) = delete;
    Evaluation& operator=(const Evaluation&) = delete;

   private:
    EMA& ema_;
    std::vector<Array> values_, before_;
  };

  /// "average.<name>" for each parameter and buffer and "updates" (), i64. The arrays are the EMA's own, not copies.
  StateDict state_dict() const;
  /// Copies the arrays into the EMA's, converting dtype and device. Throws one FormatError that lists every missing,
  /// unexpected and misshapen name, having changed nothing.
  void load_state_dict(const StateDict& state);

 private:
  /// Moves averages and count to the module's devices and dtypes where they are not there.
  void follow();

  NamedTensors tensors_;  // the module's
  std::vector<Array> averages_;
  Array updates_;
  EMAOptions options_;
  bool evaluating_ = false;
};

}  // namespace weft::nn
