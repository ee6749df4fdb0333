#include "core/ops/conv_timing.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iterator>
#include <limits>
#include <mutex>

#include "core/device/conv_algo.h"
#include "weft/error.h"
#include "weft/graph.h"
#include "weft/quote.h"

namespace weft {

namespace {

constexpr ConvAlgo kCandidates[] = {ConvAlgo::im2col, ConvAlgo::direct, ConvAlgo::winograd, ConvAlgo::implicit_gemm};
constexpr int kRuns = 3;

std::atomic<bool> timing{false};  // read for every convolution

struct State {
  std::mutex mutex;
  std::map<std::string, ConvAlgo> choices;
};

State& state() {
  static State& instance = *new State;  // convolutions may run while the process ends
  return instance;
}

ConvAlgo parse_algo(const std::string& text) {
  for (const ConvAlgo algo : kCandidates) {
    if (text == name(algo)) return algo;
  }
  throw ValueError("add_conv_choices: unknown algorithm " + quote(text));
}

/// "cpu f32 forward n 2 c 3 k 4 groups 1 in 1x8x8 filter 1x3x3 stride 1x1x1 padding 0x1x1 dilation 1x1x1 out 1x8x8".
std::string describe(ConvPass pass, const ConvShape& s, DType dtype, const Device& device) {
  constexpr const char* kPasses[] = {"forward", "input_grad", "weight_grad"};
  std::string text = device.is_cuda() ? "cuda " : "cpu ";
  text.append(name(dtype)).append(" ").append(kPasses[static_cast<std::size_t>(pass)]);
  const auto add = [&](const char* what, std::int64_t value) {
    text.append(" ").append(what).append(" ").append(std::to_string(value));
  };
  const auto add_sizes = [&](const char* what, const std::array<std::int64_t, 3>& values) {
    add(what, values[0]);
    for (std::size_t d = 1; d < 3; ++d) text.append("x").append(std::to_string(values[d]));
  };
  add("n", s.n);
  add("c", s.c);
  add("k", s.k);
  add("groups", s.groups);
  add_sizes("in", s.in);
  add_sizes("filter", s.filter);
  add_sizes("stride", s.stride);
  add_sizes("padding", s.padding);
  add_sizes("dilation", s.dilation);
  add_sizes("out", s.out);
  return text;
}

/// The shortest of some runs, in seconds.
double seconds(const BackendHandle& device, const std::function<void()>& run) {
  using Clock = std::chrono::steady_clock;
  run();
  double shortest = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kRuns; ++i) {
    device->synchronize();
    const Clock::time_point start = Clock::now();
    run();
    device->synchronize();
    shortest = std::min(shortest, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return shortest;
}

}  // namespace

void set_conv_timing(bool on) { timing.store(on, std::memory_order_relaxed); }

bool conv_timing() { return timing.load(std::memory_order_relaxed); }

ConvChoices conv_choices() {
  const std::lock_guard lock(state().mutex);
  ConvChoices result;
  for (const auto& [work, algo] : state().choices) result.emplace(work, name(algo));
  return result;
}

void add_conv_choices(const ConvChoices& choices) {
  if (choices.size() > kMaxConvChoices) {
    throw ValueError("add_conv_choices: at most " + std::to_string(kMaxConvChoices) + " choices, got " +
                     std::to_string(choices.size()));
  }
  std::map<std::string, ConvAlgo> parsed;
  for (const auto& [work, algo] : choices) {
    if (work.size() > kMaxConvWork) {
      throw ValueError("add_conv_choices: a description of at most " + std::to_string(kMaxConvWork) + " bytes, got " +
                       std::to_string(work.size()) + " (" + quote(work) + ")");
    }
    parsed.emplace(work, parse_algo(algo));
  }
  const std::lock_guard lock(state().mutex);
  auto& kept = state().choices;
  while (!parsed.empty() && kept.size() < kMaxConvChoices) kept.insert(parsed.extract(parsed.begin()));
}

void clear_conv_choices() {
  const std::lock_guard lock(state().mutex);
  state().choices.clear();
}

ConvAlgo timed_algo(ConvPass pass, const ConvShape& shape, DType dtype, const Device& device,
                    const std::function<void(const ConvShape&)>& run) {
  const auto fits = [&](ConvAlgo algo) {
    // On the CPU implicit_gemm is im2col; on a GPU Winograd's algorithm is the bare one, which breaks the promise.
    const ConvAlgo other = device.is_cuda() ? ConvAlgo::winograd : ConvAlgo::implicit_gemm;
    return algo != other && applies(algo, shape, dtype);
  };
  if (std::count_if(std::begin(kCandidates), std::end(kCandidates), fits) == 1) return ConvAlgo::im2col;
  const std::string work = describe(pass, shape, dtype, device);
  {
    const std::lock_guard lock(state().mutex);
    const auto known = state().choices.find(work);
    if (known != state().choices.end() && fits(known->second)) return known->second;
    if (known == state().choices.end() && state().choices.size() >= kMaxConvChoices) return ConvAlgo::automatic;
  }
  if (is_recording()) return ConvAlgo::automatic;
  ConvAlgo best = ConvAlgo::im2col;
  double shortest = std::numeric_limits<double>::infinity();
  for (const ConvAlgo algo : kCandidates) {
    if (!fits(algo)) continue;
    ConvShape candidate = shape;
    candidate.algo = algo;
    const double time = seconds(backend(device), [&] { run(candidate); });
    if (time >= shortest) continue;
    shortest = time;
    best = algo;
  }
  const std::lock_guard lock(state().mutex);
  return state().choices.insert_or_assign(work, best).first->second;
}

}  // namespace weft
