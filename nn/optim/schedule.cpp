#include "weft/nn/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "layers/check.h"

namespace weft::nn {
namespace {

double straight(double from, double to, double share) { return std::lerp(from, to, share); }

double half_cosine(double from, double to, double share) {
  return std::lerp(from, to, (1 - std::cos(std::numbers::pi * share)) / 2);
}

}  // namespace

Schedule::Schedule(std::function<double(double)> rate) : rate_(std::move(rate)) {
  if (!rate_) throw ValueError("Schedule: the function is empty");
}

Schedule Schedule::constant(double rate) {
  require_not_negative("Schedule::constant", "the rate", rate);
  return Schedule([rate](double) { return rate; });
}

Schedule Schedule::piecewise_linear(std::vector<std::pair<double, double>> points) {
  constexpr const char* kName = "Schedule::piecewise_linear";
  if (points.empty()) throw ValueError(std::string(kName) + ": no points");
  for (std::size_t i = 0; i < points.size(); ++i) {
    require(std::isfinite(points[i].first) && (i == 0 || points[i].first > points[i - 1].first), kName, "each time",
            "above the one before", points[i].first);
    require_not_negative(kName, "the rate", points[i].second);
  }
  return Schedule([points = std::move(points)](double time) {
    const auto next = std::upper_bound(points.begin(), points.end(), time,
                                       [](double t, const auto& point) { return t < point.first; });
    if (next == points.begin()) return points.front().second;
    if (next == points.end()) return points.back().second;
    const auto& last = *(next - 1);
    return straight(last.second, next->second, (time - last.first) / (next->first - last.first));
  });
}

Schedule Schedule::cosine(const CosineOptions& options) {
  require_not_negative("Schedule::cosine", "start", options.start);
  require_not_negative("Schedule::cosine", "end", options.end);
  require(options.steps > 0 && std::isfinite(options.steps), "Schedule::cosine", "steps", "positive", options.steps);
  return Schedule([options](double time) {
    return half_cosine(options.start, options.end, std::clamp(time / options.steps, 0.0, 1.0));
  });
}

Schedule Schedule::one_cycle(const OneCycleOptions& options) {
  constexpr const char* kName = "Schedule::one_cycle";
  require_not_negative(kName, "peak", options.peak);
  require(options.steps > 1 && std::isfinite(options.steps), kName, "steps", "more than 1", options.steps);
  require(options.rising >= 0 && options.rising <= 1, kName, "rising", "in [0, 1]", options.rising);
  require(options.div_factor > 0 && std::isfinite(options.div_factor), kName, "div_factor", "positive",
          options.div_factor);
  require(options.final_div_factor > 0 && std::isfinite(options.final_div_factor), kName, "final_div_factor",
          "positive", options.final_div_factor);
  return Schedule([options](double time) {
    const double first = options.peak / options.div_factor;
    const double top = std::max(options.rising * options.steps - 1, 0.0), end = options.steps - 1;
    const auto anneal = options.linear ? straight : half_cosine;
    if (time < top) return anneal(first, options.peak, std::max(time, 0.0) / top);
    if (time >= end) return top < end ? first / options.final_div_factor : options.peak;
    return anneal(options.peak, first / options.final_div_factor, (time - top) / (end - top));
  });
}

Schedule Schedule::step(const StepOptions& options) {
  constexpr const char* kName = "Schedule::step";
  require_not_negative(kName, "start", options.start);
  require(options.step_size > 0 && std::isfinite(options.step_size), kName, "step_size", "positive", options.step_size);
  require_not_negative(kName, "gamma", options.gamma);
  return Schedule([options](double time) {
    return options.start * std::pow(options.gamma, std::floor(std::max(time, 0.0) / options.step_size));
  });
}

Schedule Schedule::multi_step(const MultiStepOptions& options) {
  constexpr const char* kName = "Schedule::multi_step";
  require_not_negative(kName, "start", options.start);
  double last = 0;
  for (const double milestone : options.milestones) {
    require(milestone >= last && std::isfinite(milestone), kName, "each milestone", "at least the one before and 0",
            milestone);
    last = milestone;
  }
  require_not_negative(kName, "gamma", options.gamma);
  return Schedule([options](double time) {
    const auto next = std::upper_bound(options.milestones.begin(), options.milestones.end(), time);
    return options.start * std::pow(options.gamma, static_cast<double>(next - options.milestones.begin()));
  });
}

Schedule Schedule::exponential(const ExponentialOptions& options) {
  require_not_negative("Schedule::exponential", "start", options.start);
  require_not_negative("Schedule::exponential", "gamma", options.gamma);
  return Schedule([options](double time) { return options.start * std::pow(options.gamma, std::max(time, 0.0)); });
}

Schedule Schedule::warmup(double steps, double start_factor, Schedule after) {
  constexpr const char* kName = "Schedule::warmup";
  require(steps > 0 && std::isfinite(steps), kName, "steps", "positive", steps);
  require(start_factor >= 0 && start_factor <= 1, kName, "start_factor", "in [0, 1]", start_factor);
  return Schedule([=, after = std::move(after)](double time) {
    if (time >= steps) return after(time - steps);
    return after(0) * straight(start_factor, 1, std::max(time, 0.0) / steps);
  });
}

}  // namespace weft::nn
