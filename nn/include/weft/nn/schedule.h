#pragma once

#include <functional>
#include <utility>
#include <vector>

namespace weft::nn {

struct CosineOptions {
  double start = 0.1;
  double end = 0;
  double steps = 1;  ///< when `end` is reached
};

struct OneCycleOptions {
  double peak = 0.1;
  double steps = 2;               ///< in all; the last one is number steps - 1
  double rising = 0.3;            ///< share of the steps before the peak (PyTorch's pct_start)
  double div_factor = 25;         ///< the first rate is peak / div_factor
  double final_div_factor = 1e4;  ///< the last rate is the first / final_div_factor
  bool linear = false;            ///< straight lines instead of half cosines
};

struct StepOptions {
  double start = 0.1;
  double step_size = 1;  ///< the time between two decays
  double gamma = 0.1;    ///< what a decay multiplies the rate with
};

struct MultiStepOptions {
  double start = 0.1;
  std::vector<double> milestones = {};  ///< times of the decays, in order; a repeated one counts twice
  double gamma = 0.1;
};

struct ExponentialOptions {
  double start = 0.1;
  double gamma = 0.9;  ///< what each unit of time multiplies the rate with
};

/// A learning rate as a function of time, in whatever unit it was made with (steps, fractional epochs). Before its
/// first and after its last time it is constant. The makers throw ValueError on options out of range.
class Schedule {
 public:
  static Schedule constant(double rate);
  /// Straight lines between {time, rate} points, whose times must increase.
  static Schedule piecewise_linear(std::vector<std::pair<double, double>> points);
  /// Loshchilov and Hutter 2017, without restarts: end + (start - end)·(1 + cos(π·t/steps))/2.
  static Schedule cosine(const CosineOptions& options);
  /// Smith and Topin 2018 in two phases, PyTorch's OneCycleLR: from the first rate to the peak at step
  /// rising·steps - 1, then to the last rate at step steps - 1. Where that is before step 0, the peak is step 0, which
  /// PyTorch has already left.
  static Schedule one_cycle(const OneCycleOptions& options);
  /// PyTorch's StepLR: start·gamma^⌊t/step_size⌋.
  static Schedule step(const StepOptions& options);
  /// PyTorch's MultiStepLR: start·gamma^(milestones up to and including t).
  static Schedule multi_step(const MultiStepOptions& options);
  /// PyTorch's ExponentialLR: start·gamma^t.
  static Schedule exponential(const ExponentialOptions& options);
  /// PyTorch's SequentialLR of LinearLR and another: a straight line from start_factor times the first rate of `after`,
  /// at time 0, to that rate at time `steps`, which is time 0 of `after`. start_factor is in [0, 1].
  static Schedule warmup(double steps, double start_factor, Schedule after);
  /// Any function. Throws ValueError on an empty one.
  explicit Schedule(std::function<double(double)> rate);

  double operator()(double time) const { return rate_(time); }

 private:
  std::function<double(double)> rate_;
};

}  // namespace weft::nn
